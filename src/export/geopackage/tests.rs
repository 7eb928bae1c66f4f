mod pages;

use super::super::tests::{document, options};
use super::super::{ExportFormat, Facts, Kind, Snapshot, Written, write};
use super::*;
use crate::dataset::DocumentLimits;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};
use std::path::Path;
use tokio::runtime::{Builder, Runtime};

/// What `ogr` and others call a table's columns, by their types.
const PLACE: [(&str, &str); 8] = [
    ("EntityID", "string"),
    ("FID", "string"),
    ("Count", "long"),
    ("Size", "double"),
    ("Open", "boolean"),
    ("Since", "dateTime"),
    ("Shape", "anyType"),
    ("Other", "anyType"),
];

fn export(
    source: &str,
    document: &str,
    keys_are_proven: bool,
    file: &Path,
) -> Result<Written, ExportError> {
    let limits = DocumentLimits::default();
    let entities = crate::dataset::validate(document.as_bytes(), &limits).unwrap().entities;
    let created_at = DateTime::UNIX_EPOCH;
    let snapshot = Snapshot { source: source.to_owned(), created_at, entities, keys_are_proven };
    let format = ExportFormat::named("geopackage").unwrap();
    let target = Target::File(file.to_owned());
    write(document.as_bytes(), &limits, &snapshot, format, &options(), Facts::default(), target)
}

/// A database to look into.
struct Opened {
    runtime: Runtime,
    connection: SqliteConnection,
}

impl Opened {
    fn at(file: &Path) -> Opened {
        let runtime = Builder::new_current_thread().build().unwrap();
        let options = SqliteConnectOptions::new().filename(file).read_only(true);
        let connection = runtime.block_on(options.connect()).unwrap();
        Opened { runtime, connection }
    }

    /// The rows of a query, all values as SQLite writes them as literals.
    fn rows(&mut self, columns: &str, rest: &str) -> Vec<Vec<String>> {
        let columns: Vec<_> = columns.split(' ').collect();
        let quoted: Vec<_> = columns.iter().map(|it| format!("quote({it})")).collect();
        let sql = AssertSqlSafe(format!("SELECT {} {rest}", quoted.join(", ")));
        let rows = self.runtime.block_on(sqlx::query(sql).fetch_all(&mut self.connection)).unwrap();
        let cells =
            |row: sqlx::sqlite::SqliteRow| (0..columns.len()).map(|it| row.get(it)).collect();
        rows.into_iter().map(cells).collect()
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn rows_have_typed_columns_and_the_index_has_their_bounds() {
    let folder = folder();
    let file = folder.path().join("odd name?%.gpkg");
    let entities = "<Place><EntityID>a</EntityID><FID></FID><Count>-5</Count><Size>-0</Size>\
         <Open>true</Open><Since>2026-11-25T02:00:00.1239+01:00</Since>\
         <Shape>LINESTRING (1 2, 3 0)</Shape><Other>POINT(9 9)</Other></Place>\
         <Place><EntityID>b</EntityID><Count>x</Count><Size>NaN</Size>\
         <Since>12026-01-01T00:00:00Z</Since><Shape>nowhere</Shape></Place>\
         <Place><EntityID>c</EntityID><Size>-INF</Size><Shape>POINT EMPTY</Shape></Place>";
    let written = export("places", &document(&[("Place", &PLACE)], entities), true, &file).unwrap();
    let mut opened = Opened::at(&file);
    let columns =
        "fid \"EntityID\" \"FID_2\" \"Count\" \"Size\" \"Open\" \"Since\" \"Shape\" \"Other\"";
    let since = "'2026-11-25T01:00:00.123Z'";
    assert_eq!(
        opened.rows(columns, "FROM places ORDER BY fid"),
        [
            ["1", "'a'", "''", "-5", "0.0", "1", since, "NULL", "'POINT(9 9)'"],
            ["2", "'b'", "NULL", "NULL", "NULL", "NULL", "NULL", "'nowhere'", "NULL"],
            ["3", "'c'", "NULL", "NULL", "-9.0e+999", "NULL", "NULL", "NULL", "NULL"],
        ]
    );
    let size = sqlx::query_scalar("SELECT Size FROM places").fetch_one(&mut opened.connection);
    let size: f64 = opened.runtime.block_on(size).unwrap();
    assert_eq!(size.to_bits(), (-0.0_f64).to_bits(), "minus zero keeps its sign");
    let empty = "X'47500011E6100000";
    let geometries = opened.rows("geom", "FROM places ORDER BY fid");
    assert!(geometries[2][0].starts_with(empty), "{geometries:?}");
    assert_eq!(geometries[1], ["NULL"]);
    let bounds = opened.rows("id minx maxx miny maxy", "FROM rtree_places_geom");
    assert_eq!(bounds, [["1", "1.0", "3.0", "0.0", "2.0"]]);
    let contents = opened.rows(
        "table_name data_type last_change min_x min_y max_x max_y srs_id",
        "FROM gpkg_contents",
    );
    let date = "'1970-01-01T00:00:00.000Z'";
    assert_eq!(contents, [["'places'", "'features'", date, "1.0", "0.0", "3.0", "2.0", "4326"]]);
    let kinds: Vec<_> = written.changes.iter().map(|it| (it.column.as_str(), it.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("Count", Kind::Unreadable),
            ("Shape", Kind::GeometryUnreadable),
            ("Since", Kind::OutOfRange),
            ("Since", Kind::FractionCut),
            ("Size", Kind::NotFinite),
        ]
    );
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "no journal is left: {left:?}");
}

#[test]
fn each_entity_type_has_a_table_whose_name_is_allowed_and_its_own() {
    let folder = folder();
    let columns: [(&str, &str); 1] = [("Id", "string")];
    let types: [(&str, &[(&str, &str)]); 2] = [("Shop", &columns), ("shop", &columns)];
    let two =
        document(&types, "<Shop><Id>1</Id></Shop><shop><Id>2</Id></shop><shop><Id>3</Id></shop>");
    for (source, tables) in [
        ("places", ["'places_Shop'", "'places_shop_2'"]),
        ("gpkg_x", ["'_gpkg_x_Shop'", "'_gpkg_x_shop_2'"]),
        ("sqlite_x", ["'_sqlite_x_Shop'", "'_sqlite_x_shop_2'"]),
        ("rtree_x", ["'_rtree_x_Shop'", "'_rtree_x_shop_2'"]),
    ] {
        let file = folder.path().join(source);
        export(source, &two, true, &file).unwrap();
        let mut opened = Opened::at(&file);
        let found = opened.rows("table_name", "FROM gpkg_contents ORDER BY rowid");
        assert_eq!(found.concat(), tables);
        let second = tables[1].replace('\'', "\"");
        assert_eq!(opened.rows("\"Id\"", &format!("FROM {second}")).concat(), ["'2'", "'3'"]);
    }
}

#[test]
fn the_index_on_the_key_is_unique_where_the_values_are() {
    let folder = folder();
    let of = |key: &'static str, keys: [&str; 2]| {
        let rows = keys.map(|it| format!("<Place><Id>{it}</Id></Place>")).concat();
        document(&[("Place", &[("Id", key)])], &rows)
    };
    for (number, (document, proven, unique)) in [
        (of("string", ["1", "01"]), true, "1"),
        (of("long", ["1", "2"]), true, "1"),
        (of("long", ["1", "01"]), true, "0"),
        (of("string", ["1", "2"]), false, "0"),
    ]
    .into_iter()
    .enumerate()
    {
        let file = folder.path().join(number.to_string());
        export("places", &document, proven, &file).unwrap();
        let mut opened = Opened::at(&file);
        let found = opened.rows("\"unique\"", "FROM pragma_index_list('places')");
        assert_eq!(found, [[unique]], "{document}");
        assert_eq!(opened.rows("integrity_check", "FROM pragma_integrity_check"), [["'ok'"]]);
    }
}

#[test]
fn a_file_that_cannot_be_written_is_an_error() {
    let folder = folder();
    let many: String = (0..5_000).map(|it| format!("<Place><Id>{it}</Id></Place>")).collect();
    let document = document(&[("Place", &[("Id", "string")])], &many);
    let nowhere = folder.path().join("missing").join("file.gpkg");
    let error = export("places", &document, true, &nowhere).unwrap_err();
    assert!(matches!(error, ExportError::Io(_)), "{error}");
}

#[test]
fn more_columns_than_a_table_holds_are_an_error() {
    let folder = folder();
    let names: Vec<_> = (0..1999).map(|it| format!("c{it}")).collect();
    let columns: Vec<_> = names.iter().map(|name| (name.as_str(), "string")).collect();
    let wide =
        |count: usize| document(&[("Place", &columns[..count])], "<Place><c0>1</c0></Place>");
    let file = folder.path().join("wide.gpkg");
    export("places", &wide(1998), true, &file).unwrap();
    assert_eq!(Opened::at(&file).rows("c0", "FROM places"), [["'1'"]]);
    let error = export("places", &wide(1999), true, &file).unwrap_err().to_string();
    assert!(error.contains("1999 columns"), "{error}");
}
