//! `prune`, `hold` and `unhold`.

use crate::harness::{Setup, read_json};
use serde_json::Value;
use std::fs;

fn setup() -> Setup {
    let mut setup = Setup::healthy();
    for rule in ["keep_daily", "keep_weekly", "keep_monthly", "keep_yearly"] {
        setup.change(&format!("retention.{rule}"), 0);
    }
    setup.change("retention.keep_last", 2);
    for _ in 0..4 {
        assert_eq!(setup.backup().code, 0);
    }
    setup
}

fn jobs(document: &Value) -> Vec<i64> {
    document.as_array().unwrap().iter().map(|line| line["job"].as_i64().unwrap()).collect()
}

#[test]
fn a_dry_run_shows_the_plan_that_is_then_carried_out() {
    let setup = setup();
    let plan = setup.json(&["prune", "--dry-run"]);
    assert_eq!(jobs(&setup.json(&["snapshots"])), [4, 3, 2, 1]);
    let going: Vec<i64> = plan
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["keep"] == false)
        .map(|line| line["job"].as_i64().unwrap())
        .collect();
    assert_eq!(going, [2, 1]);
    for line in plan.as_array().unwrap() {
        let reasons = line["reasons"].as_array().unwrap();
        assert_eq!(line["keep"] == true, !reasons.is_empty(), "{line}");
    }
    assert_eq!(setup.json(&["prune"]), plan);
    assert_eq!(jobs(&setup.json(&["snapshots"])), [4, 3]);
    assert_eq!(setup.json(&["verify"])["findings"], Value::Array(Vec::new()));
    let again = setup.run(&["prune"]);
    assert_eq!(again.code, 0);
    assert!(again.stdout.contains("0 of 2 snapshots removed."), "{}", again.stdout);
}

#[test]
fn a_held_snapshot_stays_until_it_is_released() {
    let setup = setup();
    assert_eq!(setup.run(&["hold", "stores@1", "--reason", "the auditors"]).code, 0);
    let held: Vec<bool> = setup
        .json(&["snapshots"])
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["held"].as_bool().unwrap())
        .collect();
    assert_eq!(held, [false, false, false, true]);
    assert_eq!(setup.run(&["prune"]).code, 0);
    assert_eq!(jobs(&setup.json(&["snapshots"])), [4, 3, 1]);
    assert_eq!(setup.json(&["verify"])["findings"], Value::Array(Vec::new()));
    assert_eq!(setup.run(&["unhold", "stores@1"]).code, 0);
    assert_eq!(setup.run(&["prune"]).code, 0);
    assert_eq!(jobs(&setup.json(&["snapshots"])), [4, 3]);
    for unknown in ["stores@1", "others", "stores@2020-01-01", "no/such/manifest.json"] {
        assert_eq!(setup.run(&["unhold", unknown]).code, 2, "{unknown}");
    }
}

#[test]
fn a_newest_snapshot_dated_long_after_the_others_gives_a_warning() {
    let setup = setup();
    assert_eq!(setup.run(&["prune", "--dry-run"]).stderr, "");
    // All but the newest become years old, as a clock that is ahead would show them.
    for path in setup.manifests("stores").iter().take(3) {
        let mut manifest = read_json(path);
        let members = manifest.as_object_mut().unwrap();
        for newer in ["checksum", "unreadable", "unproven"] {
            members.remove(newer);
        }
        let name = format!("20200105T020000Z-{}", manifest["job"]);
        let data = setup.archive("stores").join(manifest["stored"]["file"].as_str().unwrap());
        fs::copy(&data, setup.archive("stores").join(format!("{name}.xml.zst"))).unwrap();
        fs::remove_file(data).unwrap();
        fs::remove_file(path).unwrap();
        manifest["created_at"] = "2020-01-05T02:00:00Z".into();
        manifest["stored"]["file"] = format!("{name}.xml.zst").into();
        let path = setup.archive("stores").join(format!("{name}.json"));
        fs::write(path, manifest.to_string()).unwrap();
    }
    for arguments in [&["prune", "--dry-run"][..], &["prune"]] {
        let done = setup.run(arguments);
        assert_eq!(done.code, 0, "{done:?}");
        let warning = "warning: stores: the newest snapshot is dated ";
        assert_eq!(done.stderr.matches(warning).count(), 1, "{}", done.stderr);
        assert!(done.stderr.contains("(2020-01-05T02:00:00Z)"), "{}", done.stderr);
        assert!(done.stdout.contains("2 of 4 snapshots"), "{}", done.stdout);
    }
}
