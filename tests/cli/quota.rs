//! The account's quota.

use crate::harness::{Process, Setup, each, now, source, until};
use nightjar::simulator::{AccountLimits, ErrorBody, Fault, Scenario};
use rustix::process::Signal;
use serde_json::Value;

/// The latest instant anywhere in a document.
fn latest_instant(value: &Value) -> Option<chrono::DateTime<chrono::Utc>> {
    match value {
        Value::String(text) => {
            chrono::DateTime::parse_from_rfc3339(text).ok().map(|instant| instant.to_utc())
        }
        Value::Array(items) => items.iter().filter_map(latest_instant).max(),
        Value::Object(members) => members.values().filter_map(latest_instant).max(),
        _ => None,
    }
}

/// The messages about a wait for quota by Nightjar's own count, and by the service's refusal.
const WAITS: &str = "waits for quota: ";
const REFUSED: &str = "says that the quota of account contoso is used up";

fn says(process: &Process, words: &str) -> Option<()> {
    process.stderr().contains(words).then_some(())
}

fn limits(status: u16, retry_after: &str) -> Fault {
    Fault::Http {
        status,
        body: ErrorBody::Text("The limit of jobs in a 24 hour period has been exceeded.".into()),
        retry_after: Some(retry_after.into()),
    }
}

#[test]
fn a_job_over_the_daily_quota_stays_queued_and_its_backup_says_that_it_waits() {
    let setup = Setup::healthy().set("accounts.contoso.max_jobs_per_day", 1);
    setup.backup();
    let mut backup = setup.start(&["backup"]);
    until("the backup to say that it waits", || says(&backup, WAITS));
    assert!(backup.is_running());
    let job = setup.job();
    assert_eq!(job["state"], "queued");
    assert_eq!(job["attempts"], 0);
    assert_eq!(job["error"], Value::Null);
    let shown = setup.json(&["job", &job["id"].to_string()]);
    let until = latest_instant(&shown).unwrap() - now();
    assert!((23..=24).contains(&until.num_hours()), "it shows until when: {shown}");
    assert_eq!(setup.service.remote_jobs().len(), 1, "no quota was asked for in vain");
    backup.stop(Signal::INT);
    assert_eq!(setup.job()["state"], "queued");
}

#[test]
fn jobs_in_process_never_exceed_the_accounts_number() {
    let slow = Scenario { pending_polls: 4, ..Scenario::default() };
    let setup = Setup::of((0..5).map(|n| source(&format!("s{n}"), slow.clone())).collect())
        .set("accounts.contoso.max_in_process", 2);
    setup.service.set_limits(AccountLimits { max_in_process: 2, ..AccountLimits::default() });
    setup.backup();
    assert_eq!(setup.service.peak_in_process(), 2);
    assert_eq!(setup.service.count(nightjar::simulator::Kind::Create), 5, "no refusal");
    assert!(setup.jobs().iter().all(|job| job["attempts"] == 1));
}

#[test]
fn a_quota_refusal_is_waited_out_and_costs_no_attempt() {
    each([429, 403], |status| {
        let setup =
            Setup::with(Scenario { create: vec![limits(status, "1")], ..Scenario::default() })
                .set("accounts.contoso.max_jobs_per_day", 1)
                .set("retry.job_attempts", 1)
                .set("retry.attempts", 1);
        setup.backup();
        assert_eq!(setup.job()["attempts"], 1, "{status}");
        assert_eq!(setup.service.remote_jobs().len(), 1);
    });
}

#[test]
fn a_job_that_the_service_refuses_for_its_limits_stays_queued() {
    each([Fault::Quota(429), Fault::Quota(403)], |fault| {
        let setup =
            Setup::with(Scenario { create: vec![fault.clone(); 99], ..Scenario::default() })
                .set("poll.initial", "1m")
                .set("poll.max", "5m");
        let mut backup = setup.start(&["backup"]);
        until("the backup to say that it waits", || says(&backup, REFUSED));
        assert!(backup.is_running());
        let job = setup.job_when("the refusal", |job| job["attempts"] == 0);
        assert_eq!(job["state"], "queued", "{fault:?}");
        assert_eq!(job["error"], Value::Null);
    });
}

#[test]
fn a_zero_retry_after_does_not_shorten_the_configured_backoff() {
    let past = "Thu, 01 Jan 2026 00:00:00 GMT";
    let unavailable = |when: &str| vec![Fault::retry_after(503, when); 99];
    let healthy = Scenario::default;
    each(
        [
            Scenario { create: vec![limits(429, "0"); 99], ..healthy() },
            Scenario { create: vec![limits(429, past); 99], ..healthy() },
            Scenario { create: unavailable("0"), ..healthy() },
            Scenario { status: unavailable(past), pending_polls: 0, ..healthy() },
            Scenario { result: unavailable("0"), pending_polls: 0, ..healthy() },
        ],
        |scenario| {
            let setup =
                Setup::with(scenario.clone()).set("retry.initial", "30m").set("retry.max", "30m");
            let setup = match scenario.create.is_empty() {
                true => setup,
                false => setup.set("poll.initial", "30m").set("poll.max", "30m"),
            };
            let _backup = setup.start(&["backup"]);
            // Until then the database may not exist yet.
            setup.until_asked(nightjar::simulator::Kind::Create, 1);
            let job = setup.job_when("the refusal", |job| !job["hold"].is_null());
            let due = crate::harness::instant(&job["due_at"]) - now();
            assert!((29..=30).contains(&due.num_minutes()), "{job}");
        },
    );
}

#[test]
fn refusals_for_one_reason_are_one_line_of_the_timeline_with_a_count() {
    let setup =
        Setup::with(Scenario { create: vec![limits(429, "0"); 999], ..Scenario::default() });
    let backup = setup.start(&["backup"]);
    setup.until_asked(nightjar::simulator::Kind::Create, 20);
    backup.stop(Signal::INT);
    let shown = setup.json(&["job", "1"]);
    let refusals: Vec<&Value> = shown["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["kind"] == "limit")
        .collect();
    let [refusal] = refusals.as_slice() else { panic!("{shown:#}") };
    assert!(refusal["count"].as_u64().unwrap() >= 19, "{refusal}");
    let [first, last] = ["at", "last_at"].map(|name| crate::harness::instant(&refusal[name]));
    assert!(first < last, "{refusal}");
    let page = setup.run(&["job", "1"]).stdout;
    assert_eq!(page.matches("Z  limit ").count(), 1, "{page}");
    assert!(page.contains(" times, the last at "), "{page}");
}

#[test]
fn a_lost_response_uses_quota() {
    let setup = Setup::with(Scenario { create: vec![Fault::LostAnswer], ..Scenario::default() })
        .set("accounts.contoso.max_jobs_per_day", 1);
    let backup = setup.start(&["backup"]);
    until("the backup to say that it waits", || says(&backup, WAITS));
    let job = setup.job();
    assert_eq!(job["state"], "queued");
    assert_eq!(job["attempts"], 1);
    assert_eq!(setup.service.remote_jobs().len(), 1);
}

#[test]
fn a_waiting_job_can_be_cancelled_and_its_backup_ends() {
    let setup = Setup::healthy().set("accounts.contoso.max_jobs_per_day", 1);
    setup.backup();
    let backup = setup.start(&["backup"]);
    let job = setup.job_when("the second job", |job| job["state"] == "queued");
    assert_eq!(setup.run(&["cancel", &job["id"].to_string()]).code, 0);
    assert_eq!(backup.end().code, 1);
}
