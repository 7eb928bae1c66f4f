//! `prune`, `hold` and `unhold`.

use crate::harness::Setup;
use serde_json::Value;

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
