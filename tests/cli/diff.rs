//! `diff` and `log`: what they print, their exit codes, and what is left when something fails.

use crate::harness::{Done, Setup, names, read_json};
use nightjar::simulator::Data;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

const COLUMNS: [(&str, &str); 6] = [
    ("EntityID", "string"),
    ("Name", "string"),
    ("Size", "long"),
    ("Latitude", "double"),
    ("Longitude", "double"),
    ("Area", "anyType"),
];

/// A document of shops with these columns, whose key is the first of them.
fn document(columns: &[(&str, &str)], entities: &str) -> Data {
    let key = columns[0].0;
    let columns: String = columns
        .iter()
        .map(|(name, kind)| {
            format!(r#"<xs:element name="{name}" type="xs:{kind}" minOccurs="0"/>"#)
        })
        .collect();
    Data::raw(format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<MainRoot><xs:schema id="Shops" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:msdata="urn:schemas-microsoft-com:xml-msdata">
<xs:element name="Shops" msdata:IsDataSet="true"><xs:complexType><xs:choice minOccurs="0" maxOccurs="unbounded">
<xs:element name="Shop"><xs:complexType><xs:sequence>{columns}</xs:sequence></xs:complexType></xs:element>
</xs:choice></xs:complexType><xs:unique name="Key" msdata:PrimaryKey="true"><xs:selector xpath=".//Shop"/><xs:field xpath="{key}"/></xs:unique>
</xs:element></xs:schema>
{entities}</MainRoot>"#
    ))
}

fn shop(key: &str, rest: &str) -> String {
    format!("<Shop><EntityID>{key}</EntityID>{rest}</Shop>\n")
}

/// A source that is backed up once for each of these documents.
fn nights(documents: &[Data]) -> Setup {
    let setup = Setup::healthy();
    for document in documents {
        setup.service.set_data("Stores", document.clone());
        setup.backup();
    }
    setup
}

/// Two nights with a change of each kind.
fn two_nights() -> Setup {
    nights(&[
        document(
            &COLUMNS,
            &[
                shop("a", "<Name>Old &amp; new</Name><Size>7</Size>"),
                shop("b", "<Latitude>1.5</Latitude><Longitude>2</Longitude>"),
                shop("c", "<Area>POINT (7 8)</Area>"),
            ]
            .concat(),
        ),
        document(
            &COLUMNS,
            &[
                shop("c", "<Area><![CDATA[POINT (7 8)]]></Area>"),
                shop("d", "<Size>9007199254740993</Size><Latitude>NaN</Latitude><Name/>"),
                shop("a", "<Size>8</Size>"),
            ]
            .concat(),
        ),
    ])
}

fn run(setup: &Setup, code: i32, arguments: &[&str]) -> Done {
    let done = setup.run(arguments);
    assert_eq!(done.code, code, "{arguments:?}: {done:?}");
    done
}

/// The data file of the newest manifest but `back`.
fn data(setup: &Setup, back: usize) -> PathBuf {
    let manifests = setup.manifests("stores");
    let manifest = read_json(&manifests[manifests.len() - 1 - back]);
    setup.archive("stores").join(manifest["stored"]["file"].as_str().unwrap())
}

fn damage(setup: &Setup, back: usize) {
    let path = data(setup, back);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn lines_have_one_order_and_values_of_their_types() {
    let setup = two_nights();
    let done = run(&setup, 0, &["diff", "stores"]);
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert!(lines[0].ends_with(": 1 added, 1 removed, 1 changed, 1 unchanged"), "{done:?}");
    assert_eq!(
        lines[1..],
        ["~ a  Name: Old & new → null", "~ a  Size: 7 → 8", "- b", "+ d"],
        "{done:?}"
    );
    assert_eq!(run(&setup, 0, &["diff", "stores@1", "stores@2"]).stdout, done.stdout);
    let ignoring = run(&setup, 0, &["diff", "stores", "--ignore", "Name", "--ignore", "Size"]);
    assert!(ignoring.stdout.contains("0 changed, 2 unchanged"), "{ignoring:?}");
    run(&setup, 1, &["diff", "stores", "--exit-code"]);
    run(&setup, 0, &["diff", "stores@2", "stores@2", "--exit-code"]);
}

#[test]
fn json_has_everything_that_differs() {
    let setup = two_nights();
    let diff = setup.json(&["diff", "stores"]);
    let members: Vec<&String> = diff.as_object().unwrap().keys().collect();
    let expected = ["added", "changed", "columns", "counts", "new", "old", "removed"];
    assert_eq!(members, expected, "{diff}");
    for (side, job) in [("old", 1), ("new", 2)] {
        let timestamp = diff[side]["timestamp"].as_str().unwrap();
        assert!(timestamp.len() == 16 && timestamp.ends_with('Z'), "{diff}");
        assert_eq!(
            diff[side],
            json!({ "source": "stores", "timestamp": timestamp, "job": job, "entities": 3 })
        );
    }
    assert_eq!(diff["columns"], json!({ "added": [], "removed": [], "retyped": [] }));
    let counts = json!({ "added": 1, "removed": 1, "changed": 1, "unchanged": 1 });
    assert_eq!(diff["counts"], counts);
    let entity = |key: &str, size: Value, latitude: Value, longitude: Value, name: Value| {
        json!([{ "key": key, "entity": {
            "EntityID": key, "Name": name, "Size": size, "Latitude": latitude,
            "Longitude": longitude, "Area": null,
        } }])
    };
    let null = Value::Null;
    assert_eq!(
        diff["added"],
        entity("d", json!(9_007_199_254_740_993_i64), json!("NaN"), null.clone(), json!(""))
    );
    assert_eq!(diff["removed"], entity("b", null.clone(), json!(1.5), json!(2.0), null));
    let columns =
        json!({ "Name": { "old": "Old & new", "new": null }, "Size": { "old": 7, "new": 8 } });
    assert_eq!(diff["changed"], json!([{ "key": "a", "columns": columns }]));
}

#[test]
fn geojson_has_each_kind_as_features() {
    let setup = two_nights();
    let folder = setup.path("out");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("changes.geojson");
    let shown = file.to_str().unwrap();
    run(&setup, 0, &["diff", "stores", "--geojson", shown]);
    let features = read_json(&file)["features"].as_array().unwrap().clone();
    let brief: Vec<Value> = features
        .iter()
        .map(|it| json!([it["id"], it["properties"]["change"], it["geometry"]["coordinates"]]))
        .collect();
    assert_eq!(
        brief,
        [
            json!(["a", "changed", null]),
            json!(["b", "removed", [2, 1.5]]),
            json!(["d", "added", null])
        ]
    );
    assert_eq!(features[0]["properties"]["Size"], 8);
    let before = fs::read(&file).unwrap();
    let refused = run(&setup, 2, &["diff", "stores", "--geojson", shown]);
    assert!(refused.stderr.contains("--force"), "{refused:?}");
    run(&setup, 0, &["diff", "stores", "--geojson", shown, "--force", "--ignore", "Size"]);
    assert_ne!(fs::read(&file).unwrap(), before);
    assert!(!fs::read_to_string(&file).unwrap().contains("Size"));
    assert_eq!(names(&folder), ["changes.geojson"]);
}

#[test]
fn columns_of_one_snapshot_are_named_and_count_for_the_exit_code() {
    let mut columns = COLUMNS;
    columns[2] = ("Size", "string");
    columns[3] = ("Fresh", "string");
    let setup = nights(&[
        document(&COLUMNS, &shop("a", "<Size>7</Size><Latitude>1</Latitude>")),
        document(&columns, &shop("a", "<Size>7</Size><Fresh>x</Fresh>")),
    ]);
    let done = run(&setup, 1, &["diff", "stores", "--exit-code"]);
    assert!(done.stdout.ends_with(": 0 added, 0 removed, 0 changed, 1 unchanged\n"), "{done:?}");
    assert!(done.stderr.contains("only in the new snapshot: Fresh"), "{done:?}");
    let columns = json!({ "added": ["Fresh"], "removed": ["Latitude"], "retyped": ["Size"] });
    assert_eq!(setup.json(&["diff", "stores"])["columns"], columns);
    let ignore = ["--ignore", "Fresh", "--ignore", "Latitude", "--ignore", "Size"];
    run(&setup, 0, &[&["diff", "stores", "--exit-code"], &ignore[..]].concat());
}

#[test]
fn old_is_the_newest_earlier_snapshot_with_other_content() {
    let one = document(&COLUMNS, &shop("a", "<Size>1</Size>"));
    let two = document(&COLUMNS, &shop("a", "<Size>2</Size>"));
    let setup = nights(&[one.clone(), two.clone(), two]);
    assert_eq!(setup.json(&["diff", "stores"])["old"]["job"], 1);
    assert_eq!(setup.json(&["diff", "stores@2"])["old"]["job"], 1);
    let first = run(&setup, 2, &["diff", "stores@1"]);
    assert!(first.stderr.contains("no earlier snapshot with other content"), "{first:?}");
    run(&setup, 2, &["diff", "nowhere"]);
    run(&setup, 2, &["diff", "stores", "--ignore", "EntityID"]);
    run(&setup, 2, &["diff"]);
}

#[test]
fn other_primary_keys_are_refused() {
    let mut columns = COLUMNS;
    columns.swap(0, 1);
    let setup = nights(&[
        document(&COLUMNS, &shop("a", "<Name>x</Name>")),
        document(&columns, &shop("a", "<Name>x</Name>")),
    ]);
    let done = run(&setup, 2, &["diff", "stores"]);
    assert!(done.stderr.contains("primary keys differ: EntityID before, Name now"), "{done:?}");
}

#[test]
fn a_damaged_snapshot_prints_and_leaves_nothing() {
    for back in [0, 1] {
        let setup = two_nights();
        damage(&setup, back);
        let file = setup.path("changes.geojson");
        for more in [&["--json"][..], &["--geojson", file.to_str().unwrap()], &[]] {
            let done = run(&setup, 1, &[&["diff", "stores"], more].concat());
            assert_eq!(done.stdout, "");
            assert!(done.stderr.contains("is damaged"), "{done:?}");
        }
        assert!(!file.exists());
    }
}

#[test]
fn a_thousand_lines_are_printed_unless_all_are_wanted() {
    let shops = |count: u32| (0..count).map(|at| shop(&at.to_string(), "")).collect::<String>();
    let setup = nights(&[
        document(&COLUMNS, ""),
        document(&COLUMNS, &shops(1000)),
        document(&COLUMNS, &shops(1100)),
    ]);
    let done = run(&setup, 0, &["diff", "stores@1", "stores@2"]);
    assert_eq!((done.stdout.lines().count(), done.stderr.as_str()), (1001, ""), "{done:?}");
    let done = run(&setup, 0, &["diff", "stores@1", "stores"]);
    assert_eq!(done.stdout.lines().count(), 1001);
    assert!(done.stdout.starts_with("stores@") && done.stdout.contains(": 1100 added"));
    assert!(done.stderr.contains("--all"), "{done:?}");
    assert_eq!(
        run(&setup, 0, &["diff", "stores@1", "stores", "--all"]).stdout.lines().count(),
        1101
    );
    assert_eq!(
        setup.json(&["diff", "stores@1", "stores"])["added"].as_array().unwrap().len(),
        1100
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let shops: String = (0..20_000).map(|at| shop(&at.to_string(), "")).collect();
    let setup = nights(&[document(&COLUMNS, ""), document(&COLUMNS, &shops)]);
    let mut command = setup.command(&["diff", "stores", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(done.stderr.is_empty(), "{done:?}");
}

#[test]
fn nothing_in_a_value_reaches_the_terminal_as_a_command() {
    let setup = nights(&[
        document(&COLUMNS, &shop("a&#10;b", "<Name>x</Name>")),
        document(&COLUMNS, &shop("a&#10;b", "<Name>&#x9b;31m&#10;- forged</Name>")),
    ]);
    let done = run(&setup, 0, &["diff", "stores"]);
    assert_eq!(done.stdout.lines().count(), 2, "{done:?}");
    assert!(done.stdout.contains(r"~ a\u{a}b  Name: x → \u{9b}31m\u{a}- forged"), "{done:?}");
}

#[test]
fn a_log_has_the_nights_in_which_an_entity_changed() {
    let of = |rest: &str| document(&COLUMNS, &[shop("0", ""), shop("a", rest)].concat());
    let without = document(&COLUMNS, &shop("0", ""));
    let one = of("<Size>1</Size>");
    let setup = nights(&[
        without.clone(),
        one.clone(),
        of(" <Size>+1</Size>"),
        of("<Size>2</Size><Name>x</Name>"),
        without,
        one,
    ]);
    let done = run(&setup, 0, &["log", "stores", "a"]);
    let lines: Vec<&str> =
        done.stdout.lines().map(|line| line.split_once("  ").unwrap().1).collect();
    assert_eq!(
        lines,
        ["added", "removed", "changed  Name: null → x", "changed  Size: +1 → 2", "added"]
    );
    let log = setup.json(&["log", "stores", "a"]);
    let listed = setup.json(&["snapshots", "stores"]);
    let changes: Vec<Value> =
        log.as_array().unwrap().iter().map(|it| it["change"].clone()).collect();
    assert_eq!(changes, ["added", "removed", "changed", "added"]);
    for (entry, place) in log.as_array().unwrap().iter().zip([0, 1, 2, 4]) {
        let timestamp = listed[place]["timestamp"].as_str().unwrap();
        assert_eq!(entry["timestamp"], timestamp, "{log}");
        assert_eq!(entry["snapshot"], format!("stores@{timestamp}"), "{log}");
        assert_eq!(entry.as_object().unwrap().len(), 4, "{log}");
    }
    assert_eq!(
        log[2]["columns"],
        json!({ "Name": { "old": null, "new": "x" }, "Size": { "old": 1, "new": 2 } })
    );
    assert_eq!(log[3]["columns"]["Size"], json!({ "old": null, "new": 1 }));
    assert_eq!(log[1]["columns"]["Name"], json!({ "old": "x", "new": null }));

    let unknown = run(&setup, 1, &["log", "stores", "z"]);
    assert!(unknown.stderr.contains("an entity with the key \"z\""), "{unknown:?}");
    let unknown = run(&setup, 1, &["log", "stores", "z", "--json"]);
    assert_eq!(unknown.document(), json!([]));
    run(&setup, 2, &["log", "nowhere", "a"]);
}

#[test]
fn a_log_shows_the_rest_where_a_snapshot_is_damaged() {
    let of = |size: u32| document(&COLUMNS, &shop("a", &format!("<Size>{size}</Size>")));
    let setup = nights(&[of(1), of(2), of(3)]);
    damage(&setup, 1);
    let done = run(&setup, 1, &["log", "stores", "a"]);
    assert!(done.stdout.contains("changed  Size: 1 → 3"), "{done:?}");
    assert!(done.stderr.contains("is damaged"), "{done:?}");
    assert_eq!(run(&setup, 1, &["log", "stores", "a", "--json"]).document()[1]["change"], "added");

    let manifest = setup.manifests("stores").into_iter().nth(1).unwrap();
    fs::write(&manifest, "{}").unwrap();
    let done = run(&setup, 1, &["log", "stores", "a"]);
    assert!(done.stdout.contains("changed  Size: 1 → 3"), "{done:?}");
    assert!(done.stderr.contains("cannot be used"), "{done:?}");
}

#[test]
fn snapshots_with_the_same_content_are_read_once() {
    let of = |size: u32| document(&COLUMNS, &shop("a", &format!("<Size>{size}</Size>")));
    let setup = nights(&[of(1), of(2), of(1)]);
    // The newest has the content of the first; only one of the two can be read.
    let duplicate = data(&setup, 0);
    let bytes = fs::read(&duplicate).unwrap();
    fs::remove_file(data(&setup, 2)).unwrap();
    fs::write(&duplicate, bytes).unwrap();
    let done = run(&setup, 0, &["log", "stores", "a"]);
    let changed = done.stdout.lines().filter(|line| line.contains("changed")).count();
    assert_eq!((changed, done.stdout.lines().count()), (2, 3), "{done:?}");
}
