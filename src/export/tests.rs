use super::*;
use serde_json::{Value as Json, json};

/// A document with these entity types: a name and columns of a name and a type each. The first
/// column is the key.
pub(super) fn document(types: &[(&str, &[(&str, &str)])], entities: &str) -> String {
    let mut schema = String::from(
        "<xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" \
         xmlns:msdata=\"urn:schemas-microsoft-com:xml-msdata\">\
         <xs:element name=\"Data\" msdata:IsDataSet=\"true\"><xs:complexType><xs:choice>",
    );
    for (name, columns) in types {
        schema += &format!("<xs:element name=\"{name}\"><xs:complexType><xs:sequence>");
        for (column, r#type) in *columns {
            schema +=
                &format!("<xs:element name=\"{column}\" type=\"xs:{type}\" minOccurs=\"0\"/>");
        }
        schema += "</xs:sequence></xs:complexType></xs:element>";
    }
    schema += "</xs:choice></xs:complexType>";
    for (name, columns) in types {
        schema += &format!(
            "<xs:unique name=\"{name}Key\" msdata:PrimaryKey=\"true\">\
             <xs:selector xpath=\".//{name}\"/><xs:field xpath=\"{}\"/></xs:unique>",
            columns[0].0
        );
    }
    format!("<Root>{schema}</xs:element></xs:schema>{entities}</Root>")
}

/// One entity type with every kind of column.
const PLACE: [(&str, &str); 9] = [
    ("EntityID", "string"),
    ("Name", "string"),
    ("Latitude", "double"),
    ("Longitude", "double"),
    ("Count", "long"),
    ("Open", "boolean"),
    ("Since", "dateTime"),
    ("Shape", "anyType"),
    ("Other", "anyType"),
];

pub(super) fn options() -> Options {
    Options {
        geometry: GeometryFrom::First,
        entity: None,
        table: None,
        replace: false,
        excel: false,
    }
}

/// Exports a document that a manifest describes rightly.
pub(super) fn export(
    format: &str,
    options: &Options,
    document: &str,
) -> Result<(String, Written), ExportError> {
    let limits = DocumentLimits::default();
    let entities = crate::dataset::validate(document.as_bytes(), &limits).unwrap().entities;
    let snapshot = Snapshot {
        source: "places".to_owned(),
        created_at: DateTime::UNIX_EPOCH,
        entities,
        keys_are_proven: true,
    };
    let mut out = Vec::new();
    let format = ExportFormat::named(format).unwrap();
    let target = Target::Stream(&mut out);
    let facts = match format.scan {
        Some(_) => scan(document.as_bytes(), &limits, format, options)?,
        None => Facts::default(),
    };
    let written = write(document.as_bytes(), &limits, &snapshot, format, options, facts, target)?;
    Ok((String::from_utf8(out).unwrap(), written))
}

fn places(entities: &[&str]) -> String {
    let entities: Vec<_> = entities.iter().map(|it| format!("<Place>{it}</Place>")).collect();
    document(&[("Place", &PLACE)], &entities.concat())
}

fn kinds(written: &Written) -> Vec<(String, Kind, u64)> {
    written.changes.iter().map(|it| (it.column.clone(), it.kind, it.count)).collect()
}

fn features(entities: &[&str], options: &Options) -> (Vec<Json>, Written) {
    let (text, written) = export("geojson", options, &places(entities)).unwrap();
    let mut collection: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(collection["type"], "FeatureCollection");
    let Json::Array(features) = collection["features"].take() else { panic!("{collection}") };
    (features, written)
}

#[test]
fn numbers_that_64_bits_do_not_hold_are_null_in_json_and_text_in_csv() {
    let entity = "<EntityID>1</EntityID><Latitude>1e400</Latitude><Longitude>1e-400</Longitude>";
    let (features, written) = features(&[entity], &options());
    let expected = ["Latitude", "Longitude"].map(|column| (column.to_owned(), Kind::OutOfRange, 1));
    assert_eq!(kinds(&written), expected);
    let properties = &features[0]["properties"];
    assert_eq!((&properties["Latitude"], &features[0]["geometry"]), (&Json::Null, &Json::Null));
    let (text, written) = export("csv", &options(), &places(&[entity])).unwrap();
    assert!(text.contains("1e400,1e-400"), "{text}");
    assert_eq!(kinds(&written), []);
}

#[test]
fn elements_inside_a_value_are_counted() {
    let entity = "<EntityID>1</EntityID><Name><b>old</b>t</Name><Shape><b/>POINT (1 2)</Shape>\
        <Other>POINT (3 4)</Other>";
    let (features, written) = features(&[entity], &options());
    assert_eq!(features[0]["properties"]["Name"], "t");
    assert_eq!(
        kinds(&written),
        [
            ("Name".to_owned(), Kind::ElementsDropped, 1),
            ("Shape".to_owned(), Kind::ElementsDropped, 1),
        ]
    );
    assert!(written.changes.iter().all(|change| change.lossy));
}

#[test]
fn coordinates_of_another_reference_system_are_no_geometry() {
    let entity = "<EntityID>1</EntityID><Shape>SRID=3857;POINT (100 50)</Shape>";
    let (features, written) = features(&[entity], &options());
    assert_eq!(features[0]["geometry"], Json::Null);
    assert_eq!(features[0]["properties"]["Shape"], "SRID=3857;POINT (100 50)");
    assert_eq!(kinds(&written), [("Shape".to_owned(), Kind::GeometryUnsupported, 1)]);
}

#[test]
fn a_feature_has_every_column_but_the_one_that_became_its_geometry() {
    let entity = "<EntityID>a/1</EntityID><Name>Caf&#233; &lt;b&gt;</Name><Latitude>1</Latitude>\
        <Longitude>2</Longitude><Count>-9223372036854775808</Count><Open>1</Open>\
        <Since>2026-11-25T02:00:00.50+01:00</Since><Shape>POINT (3 4)</Shape>";
    let (features, written) = features(&[entity], &options());
    assert_eq!(
        features,
        [json!({
            "type": "Feature",
            "id": "a/1",
            "geometry": { "type": "Point", "coordinates": [3, 4] },
            "properties": {
                "EntityID": "a/1",
                "Name": "Café <b>",
                "Latitude": 1,
                "Longitude": 2,
                "Count": i64::MIN,
                "Open": true,
                "Since": "2026-11-25T02:00:00.50+01:00",
                "Other": null,
            },
        })]
    );
    assert_eq!((written.rows, written.without_geometry, kinds(&written)), (1, 0, vec![]));
}

#[test]
fn the_geometry_comes_from_the_first_geography_with_a_value_or_from_latitude_and_longitude() {
    let place = "<Latitude>1</Latitude><Longitude>2</Longitude>";
    for (entity, chosen, expected) in [
        ("<Shape>POINT (3 4)</Shape><Other>POINT (5 6)</Other>", "first", json!([3, 4])),
        ("<Other>POINT (5 6)</Other>", "first", json!([5, 6])),
        ("", "first", json!([2, 1])),
        ("<Shape>POINT (3 4)</Shape>", "latlon", json!([2, 1])),
        ("<Shape>POINT (3 4)</Shape>", "none", Json::Null),
        ("<Shape>POINT (3 4)</Shape>", "Other", Json::Null),
        ("<Other>POINT (5 6)</Other>", "Other", json!([5, 6])),
    ] {
        let geometry = match chosen {
            "first" => GeometryFrom::First,
            "latlon" => GeometryFrom::LatLon,
            "none" => GeometryFrom::Nothing,
            column => GeometryFrom::Column(column.to_owned()),
        };
        let entity = format!("<EntityID>1</EntityID>{place}{entity}");
        let (features, written) = features(&[&entity], &Options { geometry, ..options() });
        let found = &features[0]["geometry"];
        assert_eq!(found.get("coordinates").cloned().unwrap_or_default(), expected, "{entity}");
        assert_eq!(written.without_geometry, u64::from(expected.is_null()));
        let properties = features[0]["properties"].as_object().unwrap();
        let is_shape = expected == json!([3, 4]);
        assert_eq!(properties.contains_key("Shape"), !is_shape, "{entity} {chosen}");
    }
}

#[test]
fn a_place_out_of_range_or_without_one_coordinate_is_not_a_geometry() {
    for place in [
        "<Latitude>90.5</Latitude><Longitude>2</Longitude>",
        "<Latitude>1</Latitude><Longitude>-180.5</Longitude>",
        "<Latitude>1</Latitude>",
        "<Latitude>NaN</Latitude><Longitude>2</Longitude>",
    ] {
        let (features, written) =
            features(&[&format!("<EntityID>1</EntityID>{place}")], &options());
        assert_eq!(features[0]["geometry"], Json::Null, "{place}");
        assert_eq!(written.without_geometry, 1);
    }
}

#[test]
fn text_that_is_not_a_geometry_stays_as_a_property_and_is_counted() {
    let (features, written) = features(
        &[
            "<EntityID>1</EntityID><Latitude>1</Latitude><Longitude>2</Longitude>\
             <Shape>behind the mill</Shape>",
            "<EntityID>2</EntityID><Shape>CURVEPOLYGON (CIRCULARSTRING (0 0, 1 1, 2 0, 0 0))</Shape>",
        ],
        &options(),
    );
    assert_eq!(features[0]["geometry"], Json::Null);
    assert_eq!(features[0]["properties"]["Shape"], "behind the mill");
    assert!(features[1]["properties"]["Shape"].as_str().unwrap().starts_with("CURVEPOLYGON"));
    let shape = || "Shape".to_owned();
    assert_eq!(
        kinds(&written),
        [(shape(), Kind::GeometryUnreadable, 1), (shape(), Kind::GeometryUnsupported, 1)]
    );
    assert_eq!(written.changes[0].examples, ["1"]);
    assert!(written.changes.iter().all(|change| change.lossy));
}

#[test]
fn infinite_numbers_are_null_and_unreadable_values_stay_as_text() {
    let (features, written) = features(
        &[
            "<EntityID>1</EntityID><Latitude>INF</Latitude><Longitude>north</Longitude><Count>many</Count>",
        ],
        &options(),
    );
    let properties = &features[0]["properties"];
    assert_eq!(properties["Latitude"], Json::Null);
    assert_eq!((&properties["Longitude"], &properties["Count"]), (&json!("north"), &json!("many")));
    assert_eq!(kinds(&written), [("Latitude".to_owned(), Kind::NotFinite, 1)]);
}

#[test]
fn elements_that_the_schema_does_not_declare_and_repeated_ones_are_counted() {
    let (features, written) = features(
        &["<EntityID>1</EntityID><Name>a</Name><Name>b</Name><Extra>x</Extra>"],
        &options(),
    );
    assert_eq!(features[0]["properties"]["Name"], "a");
    assert!(features[0]["properties"].get("Extra").is_none());
    let change = |name: &str, kind| (name.to_owned(), kind, 1);
    assert_eq!(
        kinds(&written),
        [change("Extra", Kind::Undeclared), change("Name", Kind::Repeated)]
    );
}

#[test]
fn a_sequence_has_the_same_features_behind_record_separators() {
    let entities = ["<EntityID>1</EntityID>", "<EntityID>2</EntityID><Shape>POINT (1 2)</Shape>"];
    let (sequence, _) = export("geojsonseq", &options(), &places(&entities)).unwrap();
    let (collection, _) = features(&entities, &options());
    let texts: Vec<Json> = sequence
        .split('\u{1e}')
        .skip(1)
        .map(|text| serde_json::from_str(text.strip_suffix('\n').unwrap()).unwrap())
        .collect();
    assert_eq!(texts, collection);
    let (empty, _) = export("geojsonseq", &options(), &places(&[])).unwrap();
    assert_eq!(empty, "");
}

#[test]
fn csv_tells_nulls_from_empty_strings() {
    let text = "<EntityID>1</EntityID><Name></Name>";
    let other = "<EntityID>2</EntityID><Name>a,\"b\"&#13;&#10;c</Name><Shape>POINT(1 2)</Shape>";
    let (csv, written) = export("csv", &options(), &places(&[text, other])).unwrap();
    assert_eq!(
        csv,
        "EntityID,Name,Latitude,Longitude,Count,Open,Since,Shape,Other\r\n\
         1,\"\",,,,,,,\r\n\
         2,\"a,\"\"b\"\"\r\nc\",,,,,,POINT(1 2),\r\n"
    );
    assert_eq!(kinds(&written), []);
}

#[test]
fn csv_keeps_the_text_of_every_geography_and_counts_nothing() {
    let entities = [
        "<EntityID>1</EntityID><Shape>behind the mill</Shape>",
        "<EntityID>2</EntityID><Shape>POINT Z (1 2 3)</Shape><Other>FULLGLOBE</Other>",
    ];
    let (csv, written) = export("csv", &options(), &places(&entities)).unwrap();
    assert!(
        csv.contains(",behind the mill,") && csv.contains(",POINT Z (1 2 3),FULLGLOBE"),
        "{csv}"
    );
    assert_eq!((kinds(&written), written.without_geometry), (vec![], 1));
}

#[test]
fn csv_for_spreadsheets_has_a_mark_and_no_formulas() {
    let excel = Options { excel: true, ..options() };
    let entities = [
        "<EntityID>1</EntityID><Name>=1+1</Name><Count>-5</Count>",
        "<EntityID>2</EntityID><Count>-x</Count>",
    ];
    let (csv, written) = export("csv", &excel, &places(&entities)).unwrap();
    assert!(csv.starts_with('\u{feff}'));
    assert!(csv.contains("\r\n1,'=1+1,,,-5,"), "{csv}");
    assert!(csv.contains("\r\n2,,,,'-x,"), "{csv}");
    let change = |name: &str| (name.to_owned(), Kind::FormulaEscaped, 1);
    assert_eq!(kinds(&written), [change("Count"), change("Name")]);
    assert!(written.changes[0].lossy);
}

fn documents(entities: &[&str]) -> (Vec<Json>, Written) {
    let (text, written) = export("cosmos", &options(), &places(entities)).unwrap();
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), written)
}

#[test]
fn a_cosmos_document_has_an_id_a_location_and_all_columns() {
    let (found, written) = documents(&[
        "<EntityID>a/b?#\\%</EntityID><Count>9007199254740993</Count>\
         <Shape>POLYGON ((0 0, 0 9, 9 9, 0 0))</Shape>",
        "<EntityID>2</EntityID><Shape>MULTIPOINT (1 2, 3 4)</Shape>",
        "<EntityID>3</EntityID><Shape>POINT EMPTY</Shape>",
    ]);
    assert_eq!(found[0]["id"], "a%2Fb%3F%23%5C%25");
    assert_eq!(found[0]["EntityID"], "a/b?#\\%");
    assert_eq!(found[0]["Count"], "9007199254740993");
    assert_eq!(found[0]["location"]["coordinates"], json!([[[0, 0], [9, 9], [0, 9], [0, 0]]]));
    assert!(found[0].get("Shape").is_none());
    assert_eq!(
        (&found[1]["location"], &found[1]["Shape"]),
        (&Json::Null, &json!("MULTIPOINT (1 2, 3 4)"))
    );
    assert_eq!(found[2]["location"], Json::Null);
    let change = |name: &str, kind, count| (name.to_owned(), kind, count);
    assert_eq!(
        kinds(&written),
        [
            change("Count", Kind::NumberAsText, 1),
            change("EntityID", Kind::IdEncoded, 1),
            change("Shape", Kind::RingOrientation, 1),
            change("Shape", Kind::GeometryUnsupported, 2),
        ]
    );
}

#[test]
fn columns_with_names_of_the_destination_get_a_suffix() {
    let columns = [("id", "string"), ("_ts", "string"), ("location", "string"), ("id_2", "string")];
    let entity = "<T><id>1</id><_ts>2</_ts><location>3</location><id_2>4</id_2></T>";
    let (text, _) = export("cosmos", &options(), &document(&[("T", &columns)], entity)).unwrap();
    let found: Json = serde_json::from_str(&text).unwrap();
    let expected = json!({
        "id": "1", "location": null, "id_2": "1", "_ts_2": "2", "location_2": "3", "id_2_2": "4"
    });
    assert_eq!(found, expected);
}

#[test]
fn a_document_without_a_key_cannot_become_one_of_cosmos() {
    let document = places(&["<EntityID>1</EntityID>", "<Name>x</Name>"]);
    let error = export("cosmos", &options(), &document).unwrap_err();
    assert!(error.to_string().starts_with("entity 2 has no primary key"), "{error}");
    assert_eq!(export("geojson", &options(), &document).unwrap().1.rows, 2);
}

#[test]
fn several_entity_types_are_distinguished_or_chosen() {
    let (a, b) = ([("Id", "string"), ("entity_type", "long")], [("Key", "long")]);
    let types: [(&str, &[(&str, &str)]); 2] = [("A", &a), ("B", &b)];
    let document =
        document(&types, "<A><Id>1</Id><entity_type>5</entity_type></A><B><Key>2</Key></B>");
    let (text, _) = export("geojson", &options(), &document).unwrap();
    let collection: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(
        collection["features"][0]["properties"],
        json!({ "entity_type": "A", "Id": "1", "entity_type_2": 5 })
    );
    assert_eq!(collection["features"][1]["properties"], json!({ "entity_type": "B", "Key": 2 }));

    let error = export("csv", &options(), &document).unwrap_err().to_string();
    assert!(error.contains("(A, B)") && error.contains("--entity"), "{error}");
    let only = Options { entity: Some("B".to_owned()), ..options() };
    let (csv, written) = export("csv", &only, &document).unwrap();
    assert_eq!((csv.as_str(), written.entities, written.rows), ("Key\r\n2\r\n", 2, 1));
    let unknown = Options { entity: Some("C".to_owned()), ..options() };
    let error = export("csv", &unknown, &document).unwrap_err();
    assert!(matches!(&error, ExportError::Choice(text) if text.contains("A, B")), "{error}");
}

#[test]
fn another_number_of_entities_than_the_manifest_counts_is_damage() {
    let document = places(&["<EntityID>1</EntityID>"]);
    let snapshot = Snapshot {
        source: "places".to_owned(),
        created_at: DateTime::UNIX_EPOCH,
        entities: 2,
        keys_are_proven: true,
    };
    let (limits, format) = (DocumentLimits::default(), ExportFormat::named("csv").unwrap());
    let mut out = Vec::new();
    let target = Target::Stream(&mut out);
    let facts = Facts::default();
    let error = write(document.as_bytes(), &limits, &snapshot, format, &options(), facts, target);
    assert!(matches!(error.unwrap_err(), ExportError::Damaged(_)));
}

#[test]
fn the_ending_of_a_file_gives_its_format() {
    for (file, format) in [
        ("a.geojson", Some("geojson")),
        ("a.GEOJSONL", Some("geojsonseq")),
        ("b.csv", Some("csv")),
        ("b.xml", Some("xml")),
        ("b.json", None),
        ("csv", None),
    ] {
        assert_eq!(ExportFormat::of_file(file).map(|format| format.name), format, "{file}");
    }
}

#[test]
fn the_page_about_commands_has_every_format_with_its_endings() {
    let page = include_str!("../../docs/commands.md");
    let table = page.split("| `--format` | file | contents |\n").nth(1).unwrap();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let quoted = |cell: Option<&str>| -> Vec<String> {
        cell.unwrap().split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let documented: Vec<_> = rows
        .map(|row| {
            let mut cells = row.split('|').skip(1);
            (quoted(cells.next()), quoted(cells.next()))
        })
        .collect();
    let owned =
        |texts: &[&str]| -> Vec<String> { texts.iter().map(|it| (*it).to_owned()).collect() };
    let known: Vec<_> = EXPORT_FORMATS
        .iter()
        .map(|format| (owned(&[format.name]), owned(format.endings)))
        .collect();
    assert_eq!(documented, known);
}

#[test]
fn cosmos_refuses_two_documents_of_one_id() {
    let columns: &[(&str, &str)] = &[("EntityID", "string")];
    let types = [("Place", columns), ("Road", columns)];
    let entity = |name: &str, key: &str| format!("<{name}><EntityID>{key}</EntityID></{name}>");
    let refused = |entities: &[String], options: &Options| match export(
        "cosmos",
        options,
        &document(&types, &entities.concat()),
    ) {
        Err(ExportError::Impossible(message)) => message,
        other => panic!("{other:?}"),
    };
    let both = [entity("Place", "1"), entity("Place", "2"), entity("Road", "2")];
    assert_eq!(
        refused(&both, &options()),
        "two documents would have the id 2, of two entity types; choose one with --entity"
    );
    let place = Options { entity: Some("Place".to_owned()), ..options() };
    let (text, _) = export("cosmos", &place, &document(&types, &both.concat())).unwrap();
    assert_eq!(text.lines().count(), 2);
    let one = [entity("Place", "1"), entity("Road", "7"), entity("Road", "7")];
    assert_eq!(
        refused(&one, &options()),
        "two entities have the key 7, and cosmos needs an id for each document"
    );
    let (text, _) = export("cosmos", &place, &document(&types, &one.concat())).unwrap();
    assert_eq!(text.lines().count(), 1);
}
