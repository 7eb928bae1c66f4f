//! `verify` on damaged archives.

use crate::harness::{ACCESS_ID, Setup, read_json, source};
use nightjar::simulator::{Data, Scenario};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::PathBuf;

/// A source of each name, with one snapshot each.
fn archive_of(names: &[&str]) -> Setup {
    let setup = Setup::of(names.iter().map(|name| source(name, Scenario::default())).collect())
        .set("accounts.contoso.max_in_process", 50);
    setup.backup();
    setup
}

fn manifest(setup: &Setup, name: &str) -> PathBuf {
    setup.manifests(name).pop().expect("a manifest")
}

fn data(setup: &Setup, name: &str) -> PathBuf {
    let file = read_json(&manifest(setup, name))["stored"]["file"].as_str().unwrap().to_owned();
    setup.archive(name).join(file)
}

fn edit(setup: &Setup, name: &str, edit: impl FnOnce(&mut Value)) {
    let path = manifest(setup, name);
    let mut value = read_json(&path);
    edit(&mut value);
    fs::write(path, with_checksum(value)).unwrap();
}

/// The text of a manifest with a matching checksum.
fn with_checksum(mut manifest: Value) -> String {
    manifest.as_object_mut().unwrap().remove("checksum");
    let text = serde_json::to_string_pretty(&manifest).unwrap();
    let text = text.strip_suffix("\n}").unwrap().to_owned() + ",\n  ";
    let sum: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{text}\"checksum\": \"{sum}\"\n}}\n")
}

/// Runs `verify` and returns the findings, all of which have the documented shape.
fn findings(setup: &Setup, code: i32) -> Vec<Value> {
    let done = setup.run(&["verify", "--json"]);
    assert_eq!(done.code, code, "{done:?}");
    let verified = done.document();
    assert_eq!(verified["ok"], code == 0, "{verified}");
    assert!(verified["checked"].is_u64());
    let findings = verified["findings"].as_array().unwrap().clone();
    for finding in &findings {
        for name in ["source", "file", "kind", "severity", "message"] {
            assert!(finding[name].is_string(), "{name} in {finding}");
        }
        assert!(finding.get("snapshot").is_some(), "{finding}");
        assert!(["error", "warning", "note"].contains(&finding["severity"].as_str().unwrap()));
    }
    findings
}

fn of<'a>(findings: &'a [Value], name: &str) -> Vec<&'a Value> {
    findings.iter().filter(|finding| finding["source"] == name).collect()
}

#[test]
fn damaged_and_missing_data_are_errors() {
    let setup = archive_of(&["flipped", "truncated", "longer", "emptied", "missing", "sound"]);
    let change = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let path = data(&setup, name);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    };
    change("flipped", &|bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    change("truncated", &|bytes| bytes.truncate(bytes.len() - 7));
    change("longer", &|bytes| bytes.extend(b"more"));
    change("emptied", &|bytes| bytes.clear());
    fs::remove_file(data(&setup, "missing")).unwrap();
    let findings = findings(&setup, 1);
    for name in ["flipped", "truncated", "longer", "emptied", "missing"] {
        let found = of(&findings, name);
        assert!(found.iter().any(|finding| finding["severity"] == "error"), "{name}: {found:?}");
        let file = data(&setup, name).file_name().unwrap().to_str().unwrap().to_owned();
        assert!(
            found.iter().any(|it| it["file"].as_str().unwrap().ends_with(&file)),
            "{name}: {found:?}"
        );
    }
    assert!(of(&findings, "sound").is_empty(), "{findings:?}");
    // One source can be verified alone.
    assert_eq!(setup.run(&["verify", "sound"]).code, 0);
    assert_eq!(setup.run(&["verify", "flipped"]).code, 1);
    assert_eq!(setup.run(&["verify", "sound", "missing"]).code, 1);
}

#[test]
fn files_that_belong_to_no_snapshot_are_warnings() {
    let setup = archive_of(&["orphaned", "visited", "sound"]);
    let orphan = data(&setup, "orphaned");
    let manifest = manifest(&setup, "orphaned");
    fs::remove_file(setup.archive("orphaned/latest.json")).unwrap();
    fs::remove_file(manifest).unwrap();
    fs::write(setup.archive("visited/notes.txt"), "remember the milk").unwrap();
    let findings = findings(&setup, 0);
    assert!(findings.iter().all(|finding| finding["severity"] == "warning"), "{findings:?}");
    let orphan = orphan.file_name().unwrap().to_str().unwrap();
    let about = |name: &str, file: &str| {
        of(&findings, name).iter().any(|it| it["file"].as_str().unwrap().ends_with(file))
    };
    assert!(about("orphaned", orphan), "{findings:?}");
    assert!(about("visited", "notes.txt"), "{findings:?}");
    assert!(of(&findings, "sound").is_empty());
}

#[test]
fn a_manifest_that_contradicts_its_data_is_an_error() {
    let wrong_hash = json!("0".repeat(64));
    let claims: Vec<(&str, &str, Value)> = vec![
        ("entities", "/entities", json!(19)),
        ("content_bytes", "/content/bytes", json!(7)),
        ("content_hash", "/content/sha256", wrong_hash.clone()),
        ("stored_bytes", "/stored/bytes", json!(7)),
        ("stored_hash", "/stored/sha256", wrong_hash),
        ("stored_file", "/stored/file", json!("20200101T000000Z-1.xml.zst")),
        ("outside", "/stored/file", json!("../../nightjar.db")),
        ("source", "/source", json!("another")),
        ("job", "/job", json!(4711)),
        ("entity_type", "/entity_type", json!("Something")),
        ("primary_key", "/primary_key", json!("Latitude")),
        ("column", "/columns/0/name", json!("Something")),
        ("type", "/columns/0/type", json!("xs:double")),
    ];
    let names: Vec<&str> = claims.iter().map(|(name, ..)| *name).chain(["json"]).collect();
    let setup = archive_of(&names);
    for (name, pointer, claim) in &claims {
        edit(&setup, name, |manifest| {
            let place = manifest.pointer_mut(pointer).expect("a field of the contract");
            assert_ne!(place, claim);
            *place = claim.clone();
        });
    }
    fs::write(manifest(&setup, "json"), "{ \"source\": ").unwrap();
    let findings = findings(&setup, 1);
    let missed: Vec<&str> = names
        .iter()
        .filter(|name| of(&findings, name).iter().all(|it| it["severity"] != "error"))
        .copied()
        .collect();
    assert_eq!(missed, Vec::<&str>::new(), "{findings:#?}");
}

#[test]
fn a_manifest_without_a_required_member_or_with_a_changed_byte_is_damaged() {
    let members = ["remote_id", "scheduled_for", "expected_entities", "same_content_as"];
    let rechecked_names = members.map(|member| format!("rechecked-{member}"));
    let older_names = members.map(|member| format!("older-{member}"));
    let others = ["older", "flipped", "unchecked", "format"].map(str::to_owned);
    let names: Vec<&str> =
        rechecked_names.iter().chain(&older_names).chain(&others).map(String::as_str).collect();
    let setup = archive_of(&names);
    for (member, name) in members.iter().zip(&rechecked_names) {
        edit(&setup, name, |manifest| {
            manifest.as_object_mut().unwrap().remove(*member).expect("a promised member");
        });
    }
    let older = |name: &str, missing: &[&str]| {
        let path = manifest(&setup, name);
        let mut value = read_json(&path);
        for member in ["unreadable", "unproven", "checksum"].iter().chain(missing) {
            value.as_object_mut().unwrap().remove(*member).expect("a promised member");
        }
        fs::write(path, serde_json::to_string_pretty(&value).unwrap()).unwrap();
    };
    for (member, name) in members.iter().zip(&older_names) {
        older(name, &[member]);
    }
    older("older", &[]);
    edit(&setup, "format", |manifest| manifest["format"] = json!(0));
    // The account's access id occurs nowhere else.
    let text = fs::read_to_string(manifest(&setup, "flipped")).unwrap();
    let changed = text.replace(ACCESS_ID, &ACCESS_ID.replace('2', "3"));
    assert_ne!(text, changed);
    fs::write(manifest(&setup, "flipped"), changed).unwrap();
    let text = fs::read_to_string(manifest(&setup, "unchecked")).unwrap();
    fs::write(manifest(&setup, "unchecked"), text.replace("\"checksum\"", "\"chdcksum\"")).unwrap();

    let findings = findings(&setup, 1);
    for name in names {
        let found = of(&findings, name);
        let expected = if name == "older" { "note" } else { "error" };
        assert!(found.iter().any(|it| it["severity"] == expected), "{name}: {found:?}");
        assert_eq!(setup.run(&["verify", name]).code, i32::from(name != "older"), "{name}");
    }
}

#[test]
fn damage_to_shared_bytes_is_found_in_every_snapshot_that_shares_them() {
    let setup = Setup::healthy();
    setup.backup();
    setup.backup();
    let path = data(&setup, "stores");
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    // In place: a link to the same bytes remains a link.
    fs::write(path, bytes).unwrap();
    let findings = findings(&setup, 1);
    let snapshots: std::collections::BTreeSet<String> =
        findings.iter().map(|finding| finding["snapshot"].to_string()).collect();
    assert_eq!(snapshots.len(), 2, "{findings:?}");
}

#[test]
fn after_damage_the_next_backup_is_stored_in_full() {
    let setup = Setup::healthy();
    setup.backup();
    let path = data(&setup, "stores");
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(path, bytes).unwrap();
    // The same document again: a link to damaged data would be no backup.
    setup.backup();
    let stored = zstd::decode_all(fs::File::open(data(&setup, "stores")).unwrap());
    assert!(stored.is_ok_and(|bytes| bytes == Data::first_places(20).document()));
}
