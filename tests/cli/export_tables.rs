//! `export` in formats that are tables with types: GeoPackage and GeoParquet. What the files
//! contain is tested beside the formats, and by other programs in `tests/interop`.

use crate::harness::{Setup, names, read_json};
use serde_json::json;
use std::fs;
use std::path::PathBuf;

/// A source of twenty places, backed up once, and an empty folder.
fn backed_up() -> (Setup, PathBuf) {
    let setup = Setup::healthy();
    setup.backup();
    let folder = setup.path("exports");
    fs::create_dir(&folder).unwrap();
    (setup, folder)
}

#[test]
fn the_ending_chooses_the_format_and_the_file_is_whole() {
    let (setup, folder) = backed_up();
    for (name, at, magic) in [("a.gpkg", 68, b"GPKG"), ("a.parquet", 0, b"PAR1")] {
        let file = folder.join(name);
        let report = setup.path("report.json");
        let arguments = [
            "export",
            "stores",
            "--output",
            file.to_str().unwrap(),
            "--report",
            report.to_str().unwrap(),
        ];
        let done = setup.run(&arguments);
        assert_eq!(done.code, 0, "{done:?}");
        let bytes = fs::read(&file).unwrap();
        assert_eq!(&bytes[at..at + 4], magic, "{name}");
        let report = read_json(&report);
        assert_eq!((&report["entities"], &report["written"]), (&json!(20), &json!(20)));
        let kinds: Vec<_> =
            report["changes"].as_array().unwrap().iter().map(|change| &change["kind"]).collect();
        assert_eq!(kinds, ["zone_assumed"], "{report}");

        assert_eq!(setup.run(&arguments).code, 2, "an existing file is kept");
        assert_eq!(setup.run(&[&arguments[..], &["--force", "--strict"]].concat()).code, 0);
        assert_eq!(fs::read(&file).unwrap(), bytes, "the same snapshot gives the same bytes");
    }
    assert_eq!(names(&folder), ["a.gpkg", "a.parquet"], "nothing else is left");
}

#[test]
fn only_formats_that_are_written_front_to_back_go_to_standard_output() {
    let (setup, folder) = backed_up();
    let done = setup.run(&["export", "stores", "--format", "geopackage", "--output", "-"]);
    assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{done:?}");
    assert!(done.stderr.contains("name a file"), "{done:?}");

    let file = folder.join("a.parquet");
    assert_eq!(setup.run(&["export", "stores", "--output", file.to_str().unwrap()]).code, 0);
    let arguments = ["export", "stores", "--format", "geoparquet", "--output", "-"];
    let streamed = setup.command(&arguments).output().unwrap();
    assert_eq!(streamed.status.code(), Some(0));
    assert!(streamed.stdout == fs::read(&file).unwrap(), "the same bytes");
}
