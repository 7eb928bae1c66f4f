use super::azure_text::literal;
use crate::export::tests::{document, export, options};
use crate::export::{ExportError, GeometryFrom, Kind, Options, Written};

const PLACE: [(&str, &str); 5] = [
    ("EntityID", "string"),
    ("Number", "double"),
    ("Since", "dateTime"),
    ("Shape", "anyType"),
    ("geom", "string"),
];

fn places(entities: &[&str]) -> String {
    let entities: Vec<_> = entities.iter().map(|it| format!("<Place>{it}</Place>")).collect();
    document(&[("Place", &PLACE)], &entities.concat())
}

fn script(format: &str, entities: &[&str]) -> (String, Written) {
    export(format, &options(), &places(entities)).unwrap()
}

fn refusal(format: &str, options: &Options, document: &str) -> String {
    match export(format, options, document) {
        Err(ExportError::Impossible(message) | ExportError::Choice(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn kinds(written: &Written) -> Vec<(&str, Kind)> {
    written.changes.iter().map(|it| (it.column.as_str(), it.kind)).collect()
}

/// The lines from the one that begins with `first` to the one that is `last`.
fn part<'s>(script: &'s str, first: &str, last: &str) -> Vec<&'s str> {
    let lines = script.lines().skip_while(|line| !line.starts_with(first));
    let mut lines: Vec<_> = lines.collect();
    let end = lines.iter().position(|line| *line == last).expect("the last line");
    lines.truncate(end + 1);
    lines
}

#[test]
fn a_table_has_typed_columns_and_copies_what_the_document_says() {
    let (script, written) = script(
        "postgis",
        &[
            "<EntityID>a\\b</EntityID><Number>-0.5E-9</Number>\
             <Since>2026-11-25T02:00:00.5+01:00</Since><Shape>Point(1 2)</Shape><geom>\n\t</geom>",
            "<EntityID>b</EntityID><Number>NaN</Number><Since>12345-01-01T00:00:00Z</Since>\
             <Shape>\\.</Shape><geom></geom>",
        ],
    );
    assert_eq!(
        part(&script, "CREATE TABLE", "\\."),
        [
            "CREATE TABLE \"places\" (",
            "    \"EntityID\" text,",
            "    \"Number\" double precision,",
            "    \"Since\" timestamptz,",
            "    \"Shape\" geometry(Geometry,4326),",
            "    \"Shape_text\" text,",
            "    \"geom_2\" text,",
            "    \"geom\" geometry(Geometry,4326)",
            ");",
            "COPY \"places\" FROM stdin;",
            "a\\\\b\t-5e-10\t2026-11-25 01:00:00.500+00\t\
             0101000020E6100000000000000000F03F0000000000000040\t\\N\t\\n\\t\t\
             0101000020E6100000000000000000F03F0000000000000040",
            "b\tNaN\t\\N\t\\N\t\\\\.\t\t\\N",
            "\\.",
        ]
    );
    assert!(script.contains("ALTER TABLE \"places\" ADD PRIMARY KEY (\"EntityID\");\n"));
    assert!(script.ends_with("ANALYZE \"places\";\nCOMMIT;\n"));
    let expected = [("Shape", Kind::GeometryUnreadable), ("Since", Kind::OutOfRange)];
    assert_eq!(kinds(&written), expected);
}

#[test]
fn rows_of_azure_sql_are_expressions() {
    let (script, written) = script(
        "azure-sql",
        &[
            "<EntityID>a'</EntityID><Number>7</Number><Since>2026-11-25T02:00:00</Since>\
             <Shape>POLYGON ((0 0, 0 1, 1 1))</Shape><geom>x</geom>",
            "<EntityID>b</EntityID><Number>5e-324</Number><Shape>POINT (1 90.5)</Shape>",
            "<EntityID>c</EntityID><Number>INF</Number>",
        ],
    );
    assert_eq!(
        part(
            &script,
            "CREATE TABLE",
            "INSERT INTO [dbo].[places__nightjar_staging] \
             ([EntityID],[Number],[Since],[Shape],[Shape_text],[geom_2],[geom]) VALUES"
        ),
        [
            "CREATE TABLE [dbo].[places__nightjar_staging] (",
            "    [EntityID] nvarchar(450) COLLATE Latin1_General_100_BIN2 NOT NULL,",
            "    [Number] float NULL,",
            "    [Since] datetime2(3) NULL,",
            "    [Shape] geography NULL,",
            "    [Shape_text] nvarchar(max) NULL,",
            "    [geom_2] nvarchar(2560) NULL,",
            "    [geom] geography NULL,",
            "    PRIMARY KEY CLUSTERED ([EntityID])",
            ");",
            "GO",
            "INSERT INTO [dbo].[places__nightjar_staging] \
             ([EntityID],[Number],[Since],[Shape],[Shape_text],[geom_2],[geom]) VALUES",
        ]
    );
    let shape = "geography::STGeomFromText(N'POLYGON ((0 0, 1 1, 0 1, 0 0))',4326)";
    assert_eq!(
        part(&script, "(N'a''", "GO"),
        [
            &format!(
                "(N'a''',7e0,'2026-11-25T02:00:00.000',{shape},NULL,N'x',{shape}.MakeValid()),"
            ),
            "(N'b',NULL,CAST(NULL AS datetime2(3)),CAST(NULL AS geography),N'POINT (1 90.5)',NULL,\
             CAST(NULL AS geography)),",
            "(N'c',NULL,CAST(NULL AS datetime2(3)),CAST(NULL AS geography),NULL,NULL,\
             CAST(NULL AS geography));",
            "GO",
        ]
    );
    let expected = [
        ("Number", Kind::NotFinite),
        ("Number", Kind::OutOfRange),
        ("Shape", Kind::RingOrientation),
        ("Shape", Kind::OutOfRange),
        ("Since", Kind::ZoneAssumed),
    ];
    assert_eq!(kinds(&written), expected);
}

#[test]
fn literals_hold_nothing_that_sqlcmd_changes() {
    const COLLATE: &str = " COLLATE Latin1_General_100_BIN2";
    let replaced = |text: &str, character: u32| {
        format!("REPLACE(N'{text}'{COLLATE},N'\u{e000}',NCHAR({character}))")
    };
    for (text, expected) in [
        ("", "N''".to_owned()),
        ("it's $1 (x)", "N'it''s $1 (x)'".to_owned()),
        ("\\", "N'\\'".to_owned()),
        ("a\nGO\nb", replaced("a\u{e000}GO\u{e000}b", 10)),
        ("a\\\rb", replaced("a\\\u{e000}b", 13)),
        ("$(x)$", replaced("\u{e000}(x)\u{e000}", 36)),
        ("\u{e000}\n", format!("REPLACE(N'\u{e000}\u{e001}'{COLLATE},N'\u{e001}',NCHAR(10))")),
        (
            "'\n$(",
            format!(
                "REPLACE(REPLACE(N'''\u{e000}\u{e001}('{COLLATE},\
                 N'\u{e000}',NCHAR(10)),N'\u{e001}',NCHAR(36))"
            ),
        ),
    ] {
        let mut out = Vec::new();
        literal(text, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{text:?}");
    }
}

#[test]
fn keys_that_a_destination_takes_for_one_are_no_primary_key() {
    // Validation compares keys before line ends are made one.
    let twice = places(&["<EntityID>a\r\nb</EntityID>", "<EntityID>a\nb</EntityID>"]);
    for (format, index) in [
        ("postgis", "CREATE INDEX ON \"places\" (\"EntityID\");"),
        ("azure-sql", "CREATE INDEX [key_index] ON [dbo].[places__nightjar_staging] ([EntityID]);"),
    ] {
        let (script, _) = export(format, &options(), &twice).unwrap();
        assert!(script.contains("-- Not a primary key: "), "{script}");
        assert!(script.contains(index), "{script}");
        assert!(!script.contains("PRIMARY KEY "), "{script}");
    }
    let blanks = places(&["<EntityID>a</EntityID>", "<EntityID>a  </EntityID>"]);
    assert!(refusal("azure-sql", &options(), &blanks).contains("blanks at the end"));
    export("postgis", &options(), &blanks).unwrap();
}

#[test]
fn a_key_that_is_a_number_is_one_only_if_no_two_spellings_are_equal() {
    let numbers = |keys: [&str; 2]| {
        let entities = keys.map(|key| format!("<Place><Id>{key}</Id></Place>"));
        document(&[("Place", &[("Id", "long")])], &entities.concat())
    };
    for (keys, postgis, azure) in [
        (["1", "02"], "\"Id\" bigint", "[Id] bigint NOT NULL"),
        (["1", "01"], "\"Id\" text", "[Id] nvarchar(450) COLLATE"),
        (["1", "x"], "\"Id\" text", "[Id] nvarchar(450) COLLATE"),
    ] {
        for (format, column) in [("postgis", postgis), ("azure-sql", azure)] {
            let (script, written) = export(format, &options(), &numbers(keys)).unwrap();
            assert!(script.contains(column), "{keys:?}: {script}");
            assert_eq!(written.changes, []);
        }
    }
}

#[test]
fn keys_are_as_long_as_an_index_holds() {
    let place = |key: String| places(&[&format!("<EntityID>{key}</EntityID>")]);
    for (format, fits, does_not) in [
        ("postgis", "x".repeat(2692), "x".repeat(2693)),
        ("azure-sql", "🦉".repeat(225), "🦉".repeat(225) + "x"),
    ] {
        export(format, &options(), &place(fits)).unwrap();
        assert!(refusal(format, &options(), &place(does_not)).contains("a primary key has"));
    }
}

#[test]
fn several_entity_types_have_a_table_each_and_rows_in_any_order() {
    let types: [(&str, &[(&str, &str)]); 2] =
        [("Shop", &[("Id", "string")]), ("shop", &[("Id", "string")])];
    let entities = "<Shop><Id>1</Id></Shop><shop><Id>2</Id></shop><Shop><Id>3</Id></Shop>";
    let (script, _) = export("postgis", &options(), &document(&types, entities)).unwrap();
    assert_eq!(
        part(&script, "COPY", "3\t\\N"),
        [
            "COPY \"places_Shop\" FROM stdin;",
            "1\t\\N",
            "\\.",
            "COPY \"places_shop\" FROM stdin;",
            "2\t\\N",
            "\\.",
            "COPY \"places_Shop\" FROM stdin;",
            "3\t\\N",
        ]
    );
    let (script, _) = export("azure-sql", &options(), &document(&types, entities)).unwrap();
    for name in ["[places_Shop]", "[places_shop_2]", "[places_shop_nearby_2]"] {
        assert!(script.contains(name), "{name} in {script}");
    }
    let one = Options { entity: Some("shop".to_owned()), ..options() };
    let (script, written) = export("postgis", &one, &document(&types, entities)).unwrap();
    assert!(script.contains("COPY \"places\" FROM stdin;\n2\t\\N\n"), "{script}");
    assert_eq!((written.entities, written.rows), (3, 1));
}

#[test]
fn the_user_names_the_table_and_its_schema() {
    let wanted = |name: &str| Options { table: Some(name.to_owned()), ..options() };
    let document = places(&["<EntityID>a</EntityID>"]);
    let (script, _) = export("postgis", &wanted("My \"x.y.z"), &document).unwrap();
    assert!(script.contains("CREATE SCHEMA IF NOT EXISTS \"My \"\"x\";"), "{script}");
    assert!(script.contains("CREATE TABLE \"My \"\"x\".\"y.z\" ("), "{script}");
    assert!(!script.contains("DROP"), "{script}");
    let (script, _) = export("azure-sql", &wanted("a]'b.c"), &document).unwrap();
    assert!(script.contains("THROW 50000, N'c exists already.', 1;"), "{script}");
    assert!(script.contains("CREATE SCHEMA [a]]''b]"), "{script}");
    assert!(script.contains("EXEC sp_rename N'[a]]''b].[c__nightjar_staging]', N'c';"), "{script}");
    for name in ["", ".x", "x.", "a\nb", "a$(b)", &"x".repeat(129)] {
        for format in ["postgis", "azure-sql"] {
            let message = refusal(format, &wanted(name), &document);
            assert!(message.contains("of a table or schema"), "{message}");
        }
    }
    let long = "x".repeat(63);
    let (script, _) = export("postgis", &wanted(&long), &document).unwrap();
    for name in ["", "_nearby", "_bbox", "_intersects"] {
        let name = format!("\"{}{name}\"", "x".repeat(63 - name.len()));
        assert!(script.contains(&name), "{name} in {script}");
    }
}

#[test]
fn an_existing_table_is_dropped_only_if_the_user_says_so() {
    let replace = Options { replace: true, ..options() };
    let document = places(&["<EntityID>a</EntityID>"]);
    let (script, _) = export("postgis", &replace, &document).unwrap();
    assert!(script.contains(
        "DROP FUNCTION IF EXISTS \"places_intersects\"(text);\nDROP TABLE IF EXISTS \"places\";\n\
         CREATE TABLE \"places\" ("
    ));
    assert!(!script.contains("CASCADE"), "what others made of the table stays");
    let (script, _) = export("azure-sql", &replace, &document).unwrap();
    assert!(!script.contains("exists already"), "{script}");
    assert!(script.contains(
        "BEGIN TRANSACTION;\nGO\nDROP FUNCTION IF EXISTS [dbo].[places_nearby];\n\
         DROP FUNCTION IF EXISTS [dbo].[places_bbox];\n\
         DROP FUNCTION IF EXISTS [dbo].[places_intersects];\n\
         DROP TABLE IF EXISTS [dbo].[places];\nEXEC sp_rename "
    ));
}

#[test]
fn without_a_geometry_there_is_nothing_to_search() {
    let none = Options { geometry: GeometryFrom::Nothing, ..options() };
    let document = places(&["<EntityID>a</EntityID><Shape>POINT (1 2)</Shape>"]);
    for format in ["postgis", "azure-sql"] {
        let (script, written) = export(format, &none, &document).unwrap();
        assert!(!script.contains("FUNCTION") && !script.contains("geom_index"), "{script}");
        assert_eq!(written.without_geometry, 1);
    }
}

#[test]
fn a_table_has_only_so_many_columns() {
    let names: Vec<_> = (0..1600).map(|number| format!("c{number}")).collect();
    let columns: Vec<_> = names.iter().map(|name| (name.as_str(), "string")).collect();
    let entity = "<Place><c0>a</c0></Place>";
    for (format, most) in [("postgis", 1600), ("azure-sql", 1024)] {
        // One is for `geom`.
        let fits = document(&[("Place", &columns[..most - 1])], entity);
        export(format, &options(), &fits).unwrap();
        let message =
            refusal(format, &options(), &document(&[("Place", &columns[..most])], entity));
        assert!(message.contains(&format!("allows {most}")), "{message}");
    }
}

#[test]
fn empty_members_are_left_out_of_the_geometry_that_is_searched() {
    let shape = "<EntityID>a</EntityID><Shape>GEOMETRYCOLLECTION (POINT EMPTY, POINT (1 2), \
        GEOMETRYCOLLECTION (POINT EMPTY), MULTIPOLYGON EMPTY)</Shape>";
    let (script, written) = script("azure-sql", &[shape]);
    assert!(
        script.contains(
            "STGeomFromText(N'GEOMETRYCOLLECTION (POINT EMPTY, POINT (1 2), \
         GEOMETRYCOLLECTION (POINT EMPTY), MULTIPOLYGON EMPTY)',4326),NULL,"
        ),
        "{script}"
    );
    assert!(
        script.contains("STGeomFromText(N'GEOMETRYCOLLECTION (POINT (1 2))',4326).MakeValid()"),
        "{script}"
    );
    assert_eq!(written.changes, []);
}
