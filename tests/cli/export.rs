//! `export`: files, exit codes, and what is left when something fails. What each format contains is
//! tested beside the formats, and checked with other programs in `tests/interop`.

use crate::harness::{ACCESS_ID, KEY, Setup, names, read_json, until};
use nightjar::export::EXPORT_FORMATS;
use nightjar::simulator::{Data, SimSource};
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A source of twenty places, backed up once.
fn backed_up() -> Setup {
    let setup = Setup::healthy();
    setup.backup();
    setup
}

/// A new empty folder for exports.
fn folder(setup: &Setup) -> PathBuf {
    let folder = setup.path("exports");
    fs::create_dir(&folder).unwrap();
    folder
}

#[test]
fn the_ending_chooses_the_format_and_an_existing_file_is_kept() {
    let setup = backed_up();
    let folder = folder(&setup);
    let file = folder.join("stores.geojson");
    let done = setup.run(&["export", "stores", "--output", file.to_str().unwrap()]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.contains("20 rows written to"), "{done:?}");
    assert_eq!(read_json(&file)["features"].as_array().unwrap().len(), 20);

    let before = fs::read(&file).unwrap();
    let csv = ["export", "stores", "--format", "csv", "--output", file.to_str().unwrap()];
    let refused = setup.run(&csv);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("--force"), "{refused:?}");
    assert_eq!(fs::read(&file).unwrap(), before);
    let forced = setup.run(&[&csv[..], &["--force"]].concat());
    assert_eq!(forced.code, 0, "{forced:?}");
    assert!(fs::read(&file).unwrap().starts_with(b"EntityID,"));
    assert_eq!(names(&folder), ["stores.geojson"], "nothing else is left");
}

#[test]
fn a_file_may_have_the_longest_name() {
    let setup = backed_up();
    let folder = folder(&setup);
    for ending in [".csv", ".gpkg"] {
        let name = "n".repeat(255 - ending.len()) + ending;
        let file = folder.join(&name);
        let done = setup.run(&["export", "stores", "--output", file.to_str().unwrap()]);
        assert_eq!(done.code, 0, "{done:?}");
        assert_eq!(names(&folder), [name.as_str()]);
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn xml_is_the_document_as_it_was_sent() {
    let setup = backed_up();
    let done = setup.run(&["export", "stores", "--format", "xml", "--output", "-"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.stdout.as_bytes(), &Data::first_places(20).document()[..]);
}

#[test]
fn a_damaged_snapshot_leaves_no_file() {
    let setup = backed_up();
    let folder = folder(&setup);
    let manifest = setup.manifests("stores").pop().unwrap();
    let name = read_json(&manifest)["stored"]["file"].as_str().unwrap().to_owned();
    let data = setup.archive("stores").join(name);
    let whole = fs::read(&data).unwrap();
    for place in [0, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        fs::write(&data, damaged).unwrap();
        for format in &EXPORT_FORMATS {
            let (format, streams) = (format.name, format.streams);
            let file = folder.join("out");
            let arguments =
                ["export", "stores", "--format", format, "--output", file.to_str().unwrap()];
            let done = setup.run(&arguments);
            assert_eq!(done.code, 1, "{format}, byte {place}: {done:?}");
            assert!(done.stderr.contains("the snapshot is damaged"), "{done:?}");
            assert_eq!(names(&folder), Vec::<String>::new());
            let streamed = setup.run(&["export", "stores", "--format", format, "--output", "-"]);
            assert_eq!(streamed.code, if streams { 1 } else { 2 }, "{format}, byte {place}");
        }
    }
    fs::write(&data, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(setup.run(&["export", "stores", "--format", "csv", "--output", "-"]).code, 1);
}

#[test]
fn wrong_usage_is_explained() {
    let setup = backed_up();
    for (arguments, says) in [
        (&["--format", "shapefile", "--output", "x"][..], "invalid value 'shapefile'"),
        (&["--output", "x.json"], "gives no format: add --format"),
        (&["--output", "x.csv", "--geometry", "Shop"], "has no column \"Shop\""),
        (&["--output", "x.csv", "--entity", "Shop"], "has no entity type \"Shop\""),
        (&["--output", "x.csv", "--table", "t"], "--table is for postgis and azure-sql"),
        (&["--output", "x.gpkg", "--replace"], "--replace is for postgis and azure-sql"),
        (&["--format", "postgis", "--output", "x", "--csv-excel"], "--csv-excel is for csv"),
    ] {
        let done = setup.run(&[&["export", "stores"], arguments].concat());
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.stderr.contains(says), "{done:?}");
    }
    let done = setup.run(&["export", "nowhere", "--format", "csv", "--output", "-"]);
    assert_eq!(done.code, 2, "{done:?}");
    let done = setup.run(&["export", "stores", "--output", "/nonexistent/x.csv"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains("/nonexistent"), "{done:?}");
}

#[test]
fn values_without_an_exact_form_are_reported_and_strict_refuses_them() {
    let setup = backed_up();
    let folder = folder(&setup);
    let (file, report) = (folder.join("stores.jsonl"), folder.join("report.json"));
    let arguments = ["export", "stores", "--format", "cosmos", "--output", file.to_str().unwrap()];
    let done = setup.run(&[&arguments[..], &["--report", report.to_str().unwrap()]].concat());
    assert_eq!(done.code, 3, "{done:?}");
    let report = read_json(&report);
    assert_eq!(report["format"], "cosmos");
    assert!(report["snapshot"].as_str().unwrap().starts_with("stores@"), "{report}");
    assert_eq!((&report["entities"], &report["written"]), (&json!(20), &json!(20)));
    let lossy: Vec<&Value> = report["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["lossy"] == true)
        .collect();
    assert_eq!(lossy.len(), 1, "{report}");
    assert_eq!(lossy[0]["kind"], "geometry_unsupported");
    assert!(lossy[0]["count"].as_u64().unwrap() > 0);
    assert!(!lossy[0]["examples"].as_array().unwrap().is_empty());
    assert!(done.stderr.contains("not exact: Shape:"), "{done:?}");

    fs::remove_file(&file).unwrap();
    let strict = setup.run(&[&arguments[..], &["--strict"]].concat());
    assert_eq!(strict.code, 1, "{strict:?}");
    assert!(strict.stderr.contains("--strict"), "{strict:?}");
    assert_eq!(names(&folder), ["report.json"]);
}

#[test]
fn a_snapshot_is_exported_by_its_manifests_path_without_its_source_in_the_configuration() {
    let setup = backed_up();
    let manifest = setup.manifests("stores").pop().unwrap();
    let done =
        setup.run(&["export", manifest.to_str().unwrap(), "--format", "csv", "--output", "-"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.stdout.lines().count(), 21);
}

#[test]
fn the_umask_decides_who_may_read_an_export() {
    let setup = backed_up();
    let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode() & 0o777;
    let other = setup.path("other");
    fs::write(&other, "").unwrap();
    for name in ["stores.csv", "stores.gpkg"] {
        let file = setup.path(name);
        assert_eq!(setup.run(&["export", "stores", "--output", file.to_str().unwrap()]).code, 0);
        assert_eq!(mode(&file), mode(&other), "{name}");
    }
}

#[test]
fn files_that_an_export_must_not_replace_stay() {
    let setup = backed_up();
    let folder = folder(&setup);
    let pipe = folder.join("pipe");
    mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    let manifest = setup.manifests("stores").pop().unwrap();
    let data =
        setup.archive("stores").join(read_json(&manifest)["stored"]["file"].as_str().unwrap());
    let (text, link) = (folder.join("text"), folder.join("link"));
    fs::write(&text, "mine").unwrap();
    std::os::unix::fs::symlink(&data, &link).unwrap();
    let before = fs::read(&data).unwrap();
    let database = setup.path("state/nightjar.db");
    for (output, report, says) in [
        (&pipe, None, "is a device, a pipe or a socket"),
        (&folder, None, "is a folder"),
        (&data, None, "is in the archive folder"),
        (&link, None, "is in the archive folder"),
        (&database, None, "is in the state folder"),
        (&folder.join("new.csv"), Some(&data), "is in the archive folder"),
        (&folder.join("new.csv"), Some(&folder.join("new.csv")), "are the same file"),
    ] {
        let mut arguments = vec!["export", "stores", "--format", "csv", "--force", "--output"];
        arguments.push(output.to_str().unwrap());
        arguments.extend(report.iter().flat_map(|it| ["--report", it.to_str().unwrap()]));
        let done = setup.run(&arguments);
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.stderr.contains(says), "{says}: {done:?}");
    }
    let output = folder.join("new.csv");
    let arguments = ["export", "stores", "--output", output.to_str().unwrap(), "--report"];
    let done = setup.run(&[&arguments[..], &[text.to_str().unwrap()]].concat());
    assert_eq!(done.code, 2, "an existing report needs --force: {done:?}");
    let done = setup.run(&[&arguments[..], &["/nonexistent/report"]].concat());
    assert_eq!(done.code, 1, "{done:?}");
    assert_eq!(fs::read(&data).unwrap(), before);
    assert_eq!(fs::read(&text).unwrap(), b"mine");
    assert_eq!(names(&folder), ["link", "pipe", "text"]);
}

#[test]
fn a_damaged_manifest_is_a_failure() {
    let setup = backed_up();
    let manifest = setup.manifests("stores").pop().unwrap();
    let mut text = fs::read(&manifest).unwrap();
    text[10] ^= 1;
    fs::write(&manifest, text).unwrap();
    let path = manifest.to_str().unwrap();
    let done = setup.run(&["export", path, "--format", "csv", "--output", "-"]);
    assert_eq!(done.code, 1, "{done:?}");
}

#[test]
fn an_interrupted_export_leaves_no_hidden_file() {
    let stores = SimSource::new(ACCESS_ID, "Stores", KEY, Data::first_places(3000));
    let setup = Setup::of(vec![stores]);
    setup.backup();
    let folder = folder(&setup);
    let report = folder.join("report.json");
    let arguments = ["export", "stores", "--format", "xml", "--output", "-", "--report"];
    // More than a pipe holds, which is not read: the export waits.
    let mut export = setup
        .command(&[&arguments[..], &[report.to_str().unwrap()]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the hidden report", || {
        names(&folder).iter().any(|name| name.ends_with(".partial")).then_some(())
    });
    kill_process(Pid::from_child(&export), Signal::TERM).unwrap();
    assert_eq!(export.wait().unwrap().code(), Some(1));
    assert_eq!(names(&folder), Vec::<String>::new());
}
