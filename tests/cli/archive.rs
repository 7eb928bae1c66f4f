//! The files that a backup leaves on disk.

use crate::harness::{ACCESS_ID, Setup, each, files, instant, names, read_json};
use nightjar::simulator::{Announced, Damage, Data, OutputUrl, Scenario};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The output of `zstd -dc`, or of the library if the command is missing.
fn unpacked(path: &Path) -> Vec<u8> {
    match Command::new("zstd").arg("-dc").arg(path).output() {
        Ok(output) => {
            assert!(output.status.success(), "{output:?}");
            output.stdout
        }
        Err(_) => zstd::decode_all(fs::File::open(path).unwrap()).unwrap(),
    }
}

#[test]
fn a_snapshot_is_the_exact_bytes_and_a_manifest_that_describes_them() {
    let setup = Setup::healthy();
    setup.backup();
    let (job, document) = (setup.job(), Data::first_places(20).document());

    let entries = names(&setup.archive("stores"));
    let [manifest_name, data_name, latest] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(latest, "latest.json");
    let stem = manifest_name.strip_suffix(".json").unwrap();
    assert_eq!(data_name, &format!("{stem}.xml.zst"));
    let (timestamp, id) = stem.split_once('-').unwrap();
    assert_eq!(id, job["id"].to_string());
    let submitted = chrono::NaiveDateTime::parse_from_str(timestamp, "%Y%m%dT%H%M%SZ").unwrap();
    let created = instant(&job["created_at"]).timestamp();
    assert!(
        (created..=instant(&job["finished_at"]).timestamp())
            .contains(&submitted.and_utc().timestamp())
    );

    let data = setup.archive("stores").join(data_name);
    assert!(unpacked(&data) == document, "other bytes than were sent");
    assert!(unpacked(&data).len() > 1000);

    let manifest = read_json(&setup.archive("stores").join(manifest_name));
    assert_eq!(manifest["format"], 1);
    assert_eq!(manifest["source"], "stores");
    assert_eq!(manifest["access_id"], ACCESS_ID);
    assert_eq!(manifest["data_source"], "Stores");
    assert_eq!(manifest["job"], job["id"]);
    assert_eq!(manifest["remote_id"], job["remote_id"]);
    assert_eq!(manifest.get("scheduled_for"), Some(&Value::Null));
    assert!(instant(&manifest["created_at"]) <= instant(&manifest["completed_at"]));
    assert_eq!(manifest["entities"], 20);
    assert_eq!(manifest["expected_entities"], 20);
    assert_eq!(
        manifest["content"],
        json!({ "bytes": document.len(), "sha256": sha256(&document) })
    );
    let stored = fs::read(&data).unwrap();
    assert_eq!(manifest["stored"]["file"], data_name.as_str());
    assert_eq!(manifest["stored"]["bytes"], stored.len());
    assert_eq!(manifest["stored"]["sha256"], sha256(&stored));
    assert_eq!(manifest["stored"]["encoding"], "zstd");
    assert_eq!(manifest["suspicious"], json!([]));
    assert_eq!(manifest.get("same_content_as"), Some(&Value::Null));
    assert!(manifest["generator"].to_string().to_lowercase().contains("nightjar"));
    assert_eq!(manifest["unreadable"], json!([]));
    assert_eq!(manifest["unproven"], json!([]));
    let text = fs::read(setup.archive("stores").join(manifest_name)).unwrap();
    let before = text.windows(10).position(|part| part == b"\"checksum\"").unwrap();
    assert_eq!(manifest["checksum"], sha256(&text[..before]));
    let listed = setup.json(&["snapshots"]);
    assert_eq!(listed[0]["content_sha256"], manifest["content"]["sha256"]);

    // The schema, found by a plain text search.
    let text = String::from_utf8(document.to_vec()).unwrap();
    let entity_type = manifest["entity_type"].as_str().unwrap();
    assert_eq!(text.matches(&format!("</{entity_type}>")).count(), 20);
    let columns = manifest["columns"].as_array().unwrap();
    for column in columns {
        let (name, kind) = (column["name"].as_str().unwrap(), column["type"].as_str().unwrap());
        assert!(kind.starts_with("xs:"), "{column}");
        assert!(text.contains(&format!("name=\"{name}\" type=\"{kind}\"")), "{column}");
    }
    assert_eq!(columns.len(), text.matches("type=\"xs:").count());
    let key = manifest["primary_key"].as_str().unwrap();
    assert!(text.contains(&format!("field xpath=\"{key}\"")), "{key}");
}

#[test]
fn latest_is_a_link_to_the_newest_manifest() {
    let setup = Setup::healthy();
    for _ in 0..2 {
        setup.backup();
        let latest = setup.archive("stores/latest.json");
        let target = fs::read_link(&latest).unwrap();
        assert!(target.is_relative(), "the archive can be moved: {}", target.display());
        let newest = setup.manifests("stores").pop().unwrap();
        assert_eq!(fs::canonicalize(&latest).unwrap(), fs::canonicalize(newest).unwrap());
        assert_eq!(read_json(&latest)["job"], setup.job()["id"]);
    }
}

#[test]
fn an_encoded_transfer_is_stored_decoded() {
    let setup = Setup::with(Scenario { gzip: true, ..Scenario::default() });
    setup.backup();
    let manifest = setup.manifest();
    let data = setup.archive("stores").join(manifest["stored"]["file"].as_str().unwrap());
    assert!(unpacked(&data) == Data::first_places(20).document());
    assert_eq!(manifest["content"]["bytes"], Data::first_places(20).length());
}

#[test]
fn a_document_of_many_values_is_stored_as_it_is() {
    let setup = Setup::healthy();
    setup.service.set_data("Stores", Data::Places);
    setup.backup();
    let manifest = setup.manifest();
    assert_eq!(manifest["entities"], 3000);
    let data = setup.archive("stores").join(manifest["stored"]["file"].as_str().unwrap());
    assert!(unpacked(&data) == Data::Places.document());
}

#[test]
fn a_byte_order_mark_is_kept() {
    let setup = Setup::healthy();
    let document = Data::first_places(20).edited(|text| format!("\u{feff}{text}"));
    setup.service.set_data("Stores", document.clone());
    setup.backup();
    let manifest = setup.manifest();
    let data = setup.archive("stores").join(manifest["stored"]["file"].as_str().unwrap());
    assert!(unpacked(&data) == document.document());
}

#[test]
fn a_count_the_service_does_not_announce_is_not_expected() {
    each([Announced::Zero, Announced::Absent, Announced::Empty], |announced| {
        let setup = Setup::with(Scenario { announced: announced.clone(), ..Scenario::default() });
        setup.backup();
        let manifest = setup.manifest();
        let expected = manifest.get("expected_entities");
        assert_eq!(expected, Some(&Value::Null), "{announced:?}");
        assert_eq!(manifest["entities"], 20);
    });
}

#[test]
fn identical_snapshots_share_their_data_file() {
    let setup = Setup::healthy();
    (0..3).for_each(|_| drop(setup.backup()));
    let manifests = setup.manifests("stores");
    assert_eq!(manifests.len(), 3);
    let read: Vec<Value> = manifests.iter().map(|path| read_json(path)).collect();
    let inode = |manifest: &Value| {
        let file = setup.archive("stores").join(manifest["stored"]["file"].as_str().unwrap());
        fs::metadata(file).unwrap().ino()
    };
    for (manifest, path) in read.iter().zip(&manifests) {
        assert_eq!(inode(manifest), inode(&read[0]));
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(manifest["stored"]["file"], format!("{stem}.xml.zst"), "whole by itself");
    }
    for later in &read[1..] {
        let duplicate = later["same_content_as"].as_str().unwrap();
        let earlier = read_json(&setup.archive("stores").join(duplicate));
        assert!(earlier["job"].as_i64() < later["job"].as_i64());
        assert_eq!(earlier["content"], later["content"]);
    }
    assert_eq!(setup.json(&["verify"])["checked"], 3);
}

#[test]
fn a_changed_document_is_stored_separately() {
    let setup = Setup::healthy();
    setup.backup();
    setup.service.set_data("Stores", Data::first_places(21));
    setup.backup();
    let manifest = setup.manifest();
    assert_eq!(manifest.get("same_content_as"), Some(&Value::Null));
    assert_eq!(manifest["entities"], 21);
}

#[test]
fn a_shrunken_snapshot_is_archived_with_a_warning_and_is_no_baseline() {
    let setup = Setup::healthy();
    setup.backup();
    let suspicious = |entities: u64| {
        setup.service.set_data("Stores", Data::first_places(entities));
        let done = setup.backup();
        let manifest = setup.manifest();
        assert_eq!(manifest["entities"], entities, "it becomes the latest");
        let reasons = manifest["suspicious"].as_array().unwrap().clone();
        for reason in &reasons {
            assert!(done.stderr.contains(reason.as_str().unwrap()), "no warning: {done:?}");
        }
        let latest = read_json(&setup.archive("stores/latest.json"));
        assert_eq!(latest["entities"], entities);
        !reasons.is_empty()
    };
    assert!(suspicious(5));
    // Compared with the five before, this would be growth.
    assert!(suspicious(9));
    // Half of the twenty is not more than half.
    assert!(!suspicious(10));
    // Now ten are the baseline.
    assert!(!suspicious(6));
}

#[test]
fn fewer_entities_than_min_entities_are_suspicious() {
    let setup = Setup::healthy();
    setup.service.set_data("Stores", Data::first_places(0));
    setup.backup();
    assert_eq!(setup.manifest()["entities"], 0);
    assert_eq!(setup.manifest()["suspicious"].as_array().unwrap().len(), 1);
    let setup = Setup::healthy().set("sources.stores.min_entities", 21);
    setup.backup();
    assert_eq!(setup.manifest()["suspicious"].as_array().unwrap().len(), 1);
}

#[test]
fn the_newest_three_failed_downloads_are_quarantined_outside_the_archive() {
    let damaged = |entities| Data::first_places(entities).damaged(Damage::Mismatched);
    let setup = Setup::with(Scenario {
        next_documents: (21..26).map(damaged).collect(),
        ..Scenario::default()
    })
    .set("retry.job_attempts", 5);
    assert_eq!(setup.run(&["backup"]).code, 1);
    assert_eq!(setup.job()["error"]["kind"], "corrupt");
    assert_eq!(setup.job()["attempts"], 5);
    let kept = files(&setup.path("state/quarantine/stores"));
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert_eq!(files(&setup.archive("stores")), Vec::<std::path::PathBuf>::new());
    assert_eq!(setup.json(&["snapshots"]), json!([]));
}

#[test]
fn after_a_damaged_download_a_new_remote_job_may_succeed() {
    let setup = Setup::with(Scenario {
        next_documents: vec![Data::first_places(20).damaged(Damage::Truncated)],
        ..Scenario::default()
    });
    setup.backup();
    assert_eq!(setup.job()["attempts"], 2);
    assert_eq!(setup.manifests("stores").len(), 1);
    assert_eq!(setup.json(&["verify"])["ok"], true);
    assert_eq!(files(&setup.path("state/quarantine/stores")).len(), 1);
}

/// A document with some values that do not parse as their columns' types.
fn with_unreadable(entities: u64) -> Data {
    Data::first_places(entities).edited(|text| {
        let text = text.replacen("<Latitude>", "<Latitude>about ", 1);
        let (before, after) = text.split_once("<Longitude>").unwrap();
        let (_, after) = after.split_once("</Longitude>").unwrap();
        format!("{before}<Longitude/>{after}")
    })
}

#[test]
fn values_that_do_not_parse_as_their_type_are_archived_counted_and_suspicious_once() {
    let setup = Setup::with(Scenario::default()).set("retry.job_attempts", 3);
    setup.service.set_data("Stores", with_unreadable(20));
    let done = setup.backup();
    assert_eq!(setup.job()["attempts"], 1, "no remote job is spent on it");
    let manifest = setup.manifest();
    let data = setup.archive("stores").join(manifest["stored"]["file"].as_str().unwrap());
    assert!(unpacked(&data) == with_unreadable(20).document(), "the exact bytes");
    let unreadable = manifest["unreadable"].as_array().unwrap();
    let columns: Vec<_> = unreadable.iter().map(|one| &one["column"]).collect();
    assert_eq!(columns, ["Latitude", "Longitude"]);
    for one in unreadable {
        assert_eq!(one["values"], 1);
        assert!(one["first_key"].is_string(), "{one}");
    }
    assert_eq!(manifest["unproven"], json!([]));
    let reasons = manifest["suspicious"].as_array().unwrap();
    assert_eq!(reasons.len(), 1);
    assert!(done.stderr.contains(reasons[0].as_str().unwrap()), "no warning: {done:?}");
    let id = setup.job()["id"].to_string();
    let timeline = setup.json(&["job", &id])["timeline"].to_string();
    assert!(timeline.contains("Latitude") && timeline.contains("Longitude"), "{timeline}");

    // The same columns again give no warning; after a snapshot without them they give one again.
    setup.service.set_data("Stores", with_unreadable(21));
    setup.backup();
    assert_eq!(setup.manifest()["suspicious"], json!([]));
    assert_eq!(setup.manifest()["unreadable"].as_array().unwrap().len(), 2);
    setup.service.set_data("Stores", Data::first_places(20));
    setup.backup();
    assert_eq!(setup.manifest()["unreadable"], json!([]));
    setup.service.set_data("Stores", with_unreadable(20));
    setup.backup();
    assert_eq!(setup.manifest()["suspicious"].as_array().unwrap().len(), 1);
    assert_eq!(setup.json(&["verify"])["findings"], json!([]));
}

#[test]
fn broken_keys_and_undeclared_elements_are_retried_and_finally_archived() {
    each(
        [
            (Damage::DuplicateKey, "keys"),
            (Damage::MissingKey, "keys"),
            (Damage::EmptyKey, "keys"),
            (Damage::UnknownElement, "schema"),
            (Damage::UnknownEntity, "schema"),
        ],
        |(damage, unproven)| {
            let setup = Setup::with(Scenario::default()).set("retry.job_attempts", 2);
            let document = Data::first_places(20).damaged(damage);
            setup.service.set_data("Stores", document.clone());
            let done = setup.backup();
            let job = setup.job();
            assert_eq!(job["attempts"], 2, "{damage:?}");
            let id = job["id"].to_string();
            let timeline = setup.json(&["job", &id])["timeline"].to_string();
            assert!(timeline.contains("corrupt: "), "{damage:?}: {timeline}");
            let manifest = setup.manifest();
            assert_eq!(manifest["unproven"], json!([unproven]), "{damage:?}");
            assert_eq!(manifest["entities"], 20, "{damage:?}");
            let reason = manifest["suspicious"][0].as_str().unwrap();
            assert!(done.stderr.contains(reason), "no warning: {done:?}");
            let data = setup.archive("stores").join(manifest["stored"]["file"].as_str().unwrap());
            assert!(unpacked(&data) == document.document(), "the exact bytes");
            assert_eq!(setup.json(&["verify"])["findings"], json!([]));
        },
    );
}

#[test]
fn a_new_remote_job_may_return_a_valid_document() {
    let setup = Setup::with(Scenario {
        next_documents: vec![Data::first_places(20).damaged(Damage::DuplicateKey)],
        ..Scenario::default()
    });
    setup.backup();
    assert_eq!(setup.job()["attempts"], 2);
    assert_eq!(setup.manifest()["unproven"], json!([]));
    assert_eq!(setup.manifest()["suspicious"], json!([]));
}

#[test]
fn results_on_other_hosts_and_under_odd_names_are_fetched() {
    each(
        [OutputUrl::Redirected, OutputUrl::Storage, OutputUrl::Download, OutputUrl::Misspelt],
        |output_url| {
            let setup =
                Setup::with(Scenario { output_url: output_url.clone(), ..Scenario::default() });
            let done = setup.backup();
            assert_eq!(setup.manifest()["entities"], 20, "{output_url:?}: {done:?}");
            let leaks = setup.service.requests().into_iter().filter(|request| {
                request.host == nightjar::simulator::Host::Storage
                    && (request.carries_key || request.header("referer").is_some())
            });
            assert_eq!(leaks.count(), 0, "the storage host saw a key");
        },
    );
}

#[test]
fn after_database_loss_snapshots_come_from_the_archive_and_job_ids_continue() {
    let setup = Setup::healthy();
    setup.backup();
    setup.backup();
    let before = setup.json(&["snapshots"]);
    for path in files(&setup.path("state")) {
        if path.file_name().unwrap().to_string_lossy().starts_with("nightjar.db") {
            fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(setup.json(&["snapshots"]), before);
    setup.backup();
    assert!(setup.job()["id"].as_i64() > before[0]["job"].as_i64());
    assert_eq!(setup.json(&["snapshots"]).as_array().unwrap().len(), 3);
    assert!(setup.manifest()["same_content_as"].is_string());
}

#[test]
fn the_archive_directory_is_configurable() {
    let setup = Setup::healthy();
    let elsewhere = setup.path("elsewhere");
    let setup = setup.set("archive_dir", elsewhere.display().to_string());
    setup.backup();
    assert!(elsewhere.join("stores/latest.json").exists());
    assert!(!setup.archive("stores").exists());
}
