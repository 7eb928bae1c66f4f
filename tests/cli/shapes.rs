//! The JSON of the commands: fields and types.

use crate::harness::{Done, Setup, instant, now, read_json, source, until};
use nightjar::simulator::{Announced, Damage, Data, Fault, Scenario};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::Path;

const STATES: [&str; 6] = ["queued", "waiting", "ready", "archived", "failed", "cancelled"];

fn assert_job_shape(job: &Value) {
    assert!(job["id"].is_i64(), "{job}");
    assert!(job["source"].is_string(), "{job}");
    assert!(STATES.contains(&job["state"].as_str().unwrap()), "{job}");
    assert!(["schedule", "manual", "catch_up"].contains(&job["trigger"].as_str().unwrap()));
    instant(&job["created_at"]);
    for name in ["scheduled_for", "finished_at"] {
        let value = job.get(name).unwrap_or_else(|| panic!("no {name} in {job}"));
        assert!(value.is_null() || instant(value) > chrono::DateTime::UNIX_EPOCH);
    }
    for name in ["polls", "attempts"] {
        assert!(job[name].is_u64(), "{name} in {job}");
    }
    for name in ["remote_id", "snapshot"] {
        let value = job.get(name).unwrap_or_else(|| panic!("no {name} in {job}"));
        assert!(value.is_null() || value.is_string(), "{name} in {job}");
    }
    let error = job.get("error").unwrap_or_else(|| panic!("no error in {job}"));
    if !error.is_null() {
        assert!(error["kind"].is_string() && error["message"].is_string(), "{job}");
    }
}

fn has_all(value: &Value, names: &[&str]) {
    for name in names {
        assert!(value.get(name).is_some(), "no {name} in {value}");
    }
}

#[test]
fn before_the_first_backup_every_list_is_an_empty_array() {
    let setup = Setup::healthy();
    assert_eq!(setup.json(&["jobs"]), json!([]));
    assert_eq!(setup.json(&["snapshots"]), json!([]));
    let verified = setup.json(&["verify"]);
    assert_eq!(verified["ok"], true);
    assert_eq!(verified["findings"], json!([]));
}

#[test]
fn a_job_has_every_documented_member() {
    let setup = Setup::healthy();
    let before = now();
    setup.backup();
    let job = setup.job();
    assert_job_shape(&job);
    assert_eq!(job["source"], "stores");
    assert_eq!(job["state"], "archived");
    assert_eq!(job["operation"], "backup");
    assert_eq!(job["trigger"], "manual");
    assert_eq!(job["scheduled_for"], Value::Null);
    assert_eq!(job["error"], Value::Null);
    assert_eq!(job["remote_id"], setup.service.remote_jobs()[0].id);
    // Two say pending, and one says completed.
    assert_eq!(job["polls"], 3);
    assert_eq!(job["attempts"], 1);
    let (created, finished) = (instant(&job["created_at"]), instant(&job["finished_at"]));
    assert!((created - before).num_seconds().abs() < 30 && created <= finished);
    let snapshot = Path::new(job["snapshot"].as_str().unwrap());
    assert!(snapshot.is_absolute());
    assert_eq!(read_json(snapshot)["job"], job["id"]);
}

#[test]
fn one_job_is_shown_with_its_timeline() {
    let setup = Setup::healthy();
    setup.backup();
    let listed = setup.job();
    let shown = setup.json(&["job", &listed["id"].to_string()]);
    assert_job_shape(&shown);
    for (name, value) in listed.as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}");
    }
    assert!(shown["timeline"].as_array().unwrap().len() >= 3, "{shown}");
    let text = setup.run(&["job", &listed["id"].to_string()]);
    assert_eq!(text.code, 0);
    assert!(text.stdout.contains("stores") && text.stdout.contains("archived"));
}

#[test]
fn a_failed_job_has_an_error_kind_and_a_message() {
    let setup = Setup::with(Scenario { create: vec![Fault::http(400)], ..Scenario::default() });
    assert_eq!(setup.run(&["backup"]).code, 1);
    let job = setup.job();
    assert_job_shape(&job);
    assert_eq!(job["state"], "failed");
    assert_eq!(job["error"]["kind"], "rejected");
    assert_eq!(job["snapshot"], Value::Null);
    instant(&job["finished_at"]);
}

#[test]
fn jobs_come_newest_first_and_can_be_chosen_by_source_state_and_number() {
    let setup = Setup::of(vec![
        source("Good", Scenario::default()),
        source("Bad", Scenario { create: vec![Fault::http(400)], ..Scenario::default() }),
    ]);
    assert_eq!(setup.run(&["backup"]).code, 3);
    assert_eq!(setup.run(&["backup", "good"]).code, 0);
    let ids: Vec<i64> = setup.jobs().iter().map(|job| job["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.is_sorted_by(|a, b| a > b), "{ids:?}");
    let good = setup.json(&["jobs", "--source", "good"]);
    assert_eq!(good.as_array().unwrap().len(), 2);
    let failed = setup.json(&["jobs", "--state", "failed"]);
    assert_eq!(failed.as_array().unwrap().len(), 1);
    assert_eq!(failed[0]["source"], "bad");
    let newest = setup.json(&["jobs", "--limit", "1"]);
    assert_eq!(newest.as_array().unwrap().len(), 1);
    assert_eq!(newest[0]["id"], ids[0]);
    assert_eq!(setup.run(&["jobs", "--state", "sleeping"]).code, 2);
}

#[test]
fn fifty_jobs_are_listed_by_default() {
    let setup = Setup::of((0..52).map(|n| source(&format!("s{n}"), Scenario::default())).collect());
    assert_eq!(setup.queue().len(), 52);
    assert_eq!(setup.jobs().len(), 50);
    assert_eq!(setup.json(&["jobs", "--limit", "51"]).as_array().unwrap().len(), 51);
}

#[test]
fn a_snapshot_has_every_documented_member() {
    let setup = Setup::healthy();
    setup.backup();
    setup.backup();
    let listed = setup.json(&["snapshots"]);
    let [newer, older] = listed.as_array().unwrap().as_slice() else { panic!("{listed}") };
    for snapshot in [newer, older] {
        has_all(snapshot, &["same_content_as", "held"]);
        assert_eq!(snapshot["source"], "stores");
        let (timestamp, job) = (snapshot["timestamp"].as_str().unwrap(), &snapshot["job"]);
        let name = format!("{timestamp}-{job}");
        assert!(snapshot["manifest"].as_str().unwrap().ends_with(&format!("{name}.json")));
        assert!(snapshot["data"].as_str().unwrap().ends_with(&format!("{name}.xml.zst")));
        assert_eq!(snapshot["entities"], 20);
        assert_eq!(snapshot["content_bytes"], Data::first_places(20).length());
        assert!(snapshot["stored_bytes"].as_u64().unwrap() > 0);
        assert_eq!(snapshot["suspicious"], json!([]));
    }
    assert!(newer["job"].as_i64() > older["job"].as_i64());
    assert_eq!(older["same_content_as"], Value::Null);
    assert!(newer["same_content_as"].is_string());
    assert_eq!(setup.json(&["snapshots", "stores"]), listed);
    assert_eq!(setup.run(&["snapshots", "unknown"]).code, 2);
}

fn only_status(setup: &Setup) -> Value {
    let status = setup.json(&["status"]);
    let [status] = status.as_array().unwrap().as_slice() else { panic!("{status}") };
    has_all(
        status,
        &[
            "source",
            "health",
            "last_success",
            "snapshot",
            "entities",
            "bytes",
            "next_run",
            "live_job",
            "last_error",
            "vanished",
        ],
    );
    status.clone()
}

#[test]
fn a_source_never_due_yet_is_new_and_not_a_problem() {
    let setup = Setup::healthy();
    let status = only_status(&setup);
    assert_eq!(status["source"], "stores");
    assert_eq!(status["health"], "new");
    assert_eq!(status["last_success"], Value::Null);
    assert!(instant(&status["next_run"]) > now());
    assert_eq!(setup.run(&["status", "--check"]).code, 0);
}

#[test]
fn a_source_with_a_good_backup_is_ok() {
    let setup = Setup::healthy();
    setup.backup();
    let status = only_status(&setup);
    assert_eq!(status["health"], "ok");
    assert!((now() - instant(&status["last_success"])).num_seconds() < 30);
    assert_eq!(status["entities"], 20);
    assert_eq!(status["bytes"], Data::first_places(20).length());
    assert!(status["snapshot"].is_string());
    assert_eq!(status["live_job"], Value::Null);
    assert_eq!(status["last_error"], Value::Null);
    assert_eq!(setup.run(&["status", "--check"]).code, 0);
}

#[test]
fn a_source_whose_last_job_failed_is_failing_and_a_problem() {
    let setup = Setup::healthy();
    setup.backup();
    setup
        .service
        .set_scenario("Stores", Scenario { create: vec![Fault::http(400)], ..Scenario::default() });
    assert_eq!(setup.run(&["backup"]).code, 1);
    let status = only_status(&setup);
    assert_eq!(status["health"], "failing");
    assert!(!status["last_success"].is_null() && !status["last_error"].is_null());
    assert_eq!(setup.run(&["status", "--check"]).code, 4);
    // Without `--check`, the exit code is 0.
    assert_eq!(setup.run(&["status"]).code, 0);
}

#[test]
fn a_source_with_a_suspicious_snapshot_is_suspicious_but_not_a_problem() {
    let setup = Setup::healthy();
    setup.backup();
    setup.service.set_data("Stores", Data::first_places(3));
    setup.backup();
    assert_eq!(only_status(&setup)["health"], "suspicious");
    assert_eq!(setup.run(&["status", "--check"]).code, 0);
}

#[test]
fn a_live_job_is_in_the_status() {
    let setup = Setup::healthy();
    setup.queue();
    assert!(!only_status(&setup)["live_job"].is_null());
}

#[test]
fn a_scheduled_time_without_a_good_snapshot_since_is_overdue_after_the_grace() {
    let setup = Setup::healthy()
        .set("sources.stores.schedule", "* * * * * *")
        .set("sources.stores.grace", "1s");
    let daemon = setup.start(&["daemon"]);
    setup.job_when("a scheduled backup", |job| job["state"] == "archived");
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
    until("the source to be overdue", || {
        (only_status(&setup)["health"] == "overdue").then_some(())
    });
    assert_eq!(setup.run(&["status", "--check"]).code, 4);
}

#[test]
fn a_valid_configuration_is_shown_with_the_next_three_runs_of_each_source() {
    let setup = Setup::healthy().set("timezone", "Europe/Berlin");
    let checked = setup.json(&["check"]);
    assert_eq!(checked["valid"], true);
    assert_eq!(checked["errors"], json!([]));
    let source = &checked["sources"][0];
    assert_eq!(source["source"], "stores");
    assert_eq!(source["schedule"], "0 2 * * *");
    assert_eq!(source["timezone"], "Europe/Berlin");
    let runs: Vec<_> = source["next_runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| chrono::DateTime::parse_from_rfc3339(run.as_str().unwrap()).unwrap())
        .collect();
    assert_eq!(runs.len(), 3);
    assert!(runs[0].to_utc() > now() && runs.is_sorted_by(|a, b| a < b));
    let hours = runs
        .iter()
        .map(|run| run.with_timezone(&chrono_tz::Europe::Berlin).format("%H:%M:%S").to_string());
    assert!(hours.into_iter().all(|hour| hour == "02:00:00"));
    assert_eq!(setup.service.requests().len(), 0, "nothing was sent without --online");
}

#[test]
fn all_configuration_mistakes_are_reported_at_once_with_their_position() {
    let setup = Setup::healthy();
    let text = setup
        .config_text()
        .replace("initial = \"20ms\"", "initial = \"soon\"")
        .replace("0 2 * * *", "61 2 * * *")
        + "\n[retension]\nkeep_last = 3\n";
    setup.write_config(&text);
    let done: Done = setup.run(&["check", "--json"]);
    assert_eq!(done.code, 2, "{done:?}");
    let checked = done.document();
    assert_eq!(checked["valid"], false);
    let errors = checked["errors"].as_array().unwrap();
    // `initial` is a key of [poll] and of [retry].
    assert!(errors.len() >= 4, "{checked}");
    let lines: Vec<&str> = text.lines().collect();
    for error in errors {
        assert!(error["file"].as_str().unwrap().ends_with("config.toml"), "{error}");
        assert!(error["message"].is_string());
        assert!(error["column"].as_u64().unwrap() >= 1);
        let line = usize::try_from(error["line"].as_u64().unwrap()).unwrap();
        let line = lines[line - 1];
        let is_wrong = ["soon", "61 2 * * *", "retension"].iter().any(|it| line.contains(it));
        assert!(is_wrong, "{error} is about the line {line:?}");
    }
    let unknown = errors.iter().find(|it| it["message"].to_string().contains("retension"));
    assert!(unknown.unwrap()["message"].to_string().contains("retention"), "{checked}");
}

#[test]
fn an_online_check_tries_the_key_and_starts_no_job() {
    let setup = Setup::healthy();
    let done = setup.run(&["check", "--online", "--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.document()["valid"], true);
    assert!(!setup.service.requests().is_empty());
    assert_eq!(setup.service.remote_jobs(), []);

    std::fs::write(setup.path("contoso.key"), "another-key").unwrap();
    let done = setup.run(&["check", "--online"]);
    assert_ne!(done.code, 0, "{done:?}");
    assert_eq!(setup.service.remote_jobs(), []);
}

#[test]
fn a_verified_archive_is_ok_and_counted() {
    let setup = Setup::healthy();
    setup.backup();
    let verified = setup.json(&["verify"]);
    assert_eq!(verified["ok"], true);
    assert_eq!(verified["checked"], 1);
    assert_eq!(verified["findings"], json!([]));
}

#[test]
fn damage_and_wrong_counts_give_the_documented_error_kind() {
    // One source for each fault, so that one run shows them all.
    let corrupt = [
        Damage::Truncated,
        Damage::Unclosed,
        Damage::Doctype,
        Damage::UndeclaredReference,
        Damage::TrailingGarbage,
        Damage::SecondRoot,
        Damage::NoSchema,
        Damage::Mismatched,
        Damage::BadEncoding,
        Damage::HtmlPage,
        Damage::Nothing,
    ];
    let incomplete = [Damage::OneFewer, Damage::OneMore];
    let sources = corrupt.iter().chain(&incomplete).map(|damage| {
        let mut source = source(&format!("{damage:?}"), Scenario::default());
        source.data = source.data.damaged(*damage);
        source
    });
    let mut more = source("Announced", Scenario::default());
    more.scenario.announced = Announced::OffBy(-1);
    let setup = Setup::of(sources.chain([more]).collect())
        .set("retry.job_attempts", 1)
        .set("accounts.contoso.max_in_process", 30);
    assert_eq!(setup.run(&["backup"]).code, 1);
    let kind = |name: &str| {
        let jobs = setup.json(&["jobs", "--source", &name.to_lowercase()]);
        jobs[0]["error"]["kind"].as_str().map(str::to_owned)
    };
    let mut wrong = Vec::new();
    let expected = corrupt
        .iter()
        .map(|damage| (format!("{damage:?}"), "corrupt"))
        .chain(incomplete.iter().map(|damage| (format!("{damage:?}"), "incomplete")))
        .chain([("Announced".to_owned(), "incomplete")]);
    for (name, expected) in expected {
        let kind = kind(&name);
        if kind.as_deref() != Some(expected) {
            wrong.push(format!("{name}: {kind:?} instead of {expected}"));
        }
        assert_eq!(setup.manifests(&name.to_lowercase()).len(), 0, "{name} is in the archive");
    }
    assert_eq!(wrong, Vec::<String>::new());
}
