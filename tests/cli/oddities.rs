//! Contradictions of the service's documents, and accidents around the program.

use crate::harness::{House, files, instant, now, source, until};
use nightjar::simulator::{
    Dates, Ending, Fault, Kind, Location, OutputLabel, OutputUrl, Scenario, StatusUrl,
};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn every_contradiction_of_the_documents_is_survived() {
    let default = Scenario::default;
    let odd: Vec<(&str, Scenario)> = vec![
        ("created200", Scenario { created_status: 200, ..default() }),
        ("created201", Scenario { created_status: 201, ..default() }),
        ("mark", Scenario { byte_order_mark: true, ..default() }),
        ("members", Scenario { extra_members: true, ..default() }),
        ("slashes", Scenario { plain_slashes: true, ..default() }),
        ("counts", Scenario { empty_counts: true, ..default() }),
        ("failures", Scenario { failed_entities: 7, ..default() }),
        ("word", Scenario { pending_word: "Accepted".into(), ..default() }),
        ("linkless", Scenario { linkless_polls: 1, ..default() }),
        ("weekday", Scenario { dates: Dates::WrongWeekday, ..default() }),
        ("blank", Scenario { dates: Dates::LeadingBlank, ..default() }),
        ("null", Scenario { dates: Dates::NullCompleted, ..default() }),
        ("nonsense", Scenario { dates: Dates::Nonsense, ..default() }),
        ("undated", Scenario { dates: Dates::Absent, ..default() }),
        ("header", Scenario { self_link: false, ..default() }),
        ("relative", Scenario { self_link: false, location: Location::Relative, ..default() }),
        ("both", Scenario { location: Location::ById, ..default() }),
        ("link", Scenario { location: Location::Absent, ..default() }),
        ("byid", Scenario { status_url: StatusUrl::ById, ..default() }),
        ("query", Scenario { status_url: StatusUrl::WithQuery, ..default() }),
        ("output", Scenario { output_label: OutputLabel::Output, ..default() }),
        ("capital", Scenario { output_label: OutputLabel::Capitalised, ..default() }),
        ("misspelt", Scenario { output_url: OutputUrl::MisspeltInLink, ..default() }),
        ("unsized", Scenario { content_length: false, ..default() }),
        ("instant", Scenario { pending_polls: 0, ..default() }),
    ];
    let sources = odd.iter().map(|(name, scenario)| source(name, scenario.clone()));
    let house = House::of(sources.collect()).set("accounts.contoso.max_in_process", 50);
    let done = house.run(&["backup"]);
    let wrong: Vec<Value> =
        house.jobs().into_iter().filter(|job| job["state"] != "archived").collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(done.code, 0);
    assert!(house.jobs().iter().all(|job| job["attempts"] == 1));
}

#[test]
fn polls_are_status_answers_and_failures_to_ask_are_none() {
    let status = vec![Fault::http(503), Fault::http(404)];
    let house = House::with(Scenario { status, ..Scenario::default() });
    house.backup();
    assert_eq!(house.job()["polls"], 3);
    assert_eq!(house.service.count(Kind::Status), 5);
}

#[test]
fn a_result_on_a_foreign_host_without_encryption_is_not_fetched() {
    let output_url = OutputUrl::Elsewhere("http://storage.example.org/result.xml".into());
    let house =
        House::with(Scenario { output_url, ..Scenario::default() }).set("retry.job_attempts", 1);
    assert_eq!(house.run(&["backup"]).code, 1);
    assert_eq!(house.job()["error"]["kind"], "protocol");
}

#[test]
fn retry_after_is_honoured_up_to_one_hour() {
    let create = vec![Fault::retry_after(503, "86400")];
    let house = House::with(Scenario { create, ..Scenario::default() });
    let _backup = house.start(&["backup"]);
    house.until_asked(Kind::Create, 1);
    fn instants(value: &Value) -> Vec<chrono::DateTime<chrono::Utc>> {
        match value {
            Value::String(text) if chrono::DateTime::parse_from_rfc3339(text).is_ok() => {
                vec![instant(value)]
            }
            Value::Array(items) => items.iter().flat_map(instants).collect(),
            Value::Object(members) => members.values().flat_map(instants).collect(),
            _ => Vec::new(),
        }
    }
    // Whatever the field is called: the job goes on in about an hour.
    let due = until("a time an hour ahead", || {
        let latest = instants(&house.job()).into_iter().max()?;
        ((latest - now()).num_minutes() >= 5).then_some(latest)
    });
    let minutes = (due - now()).num_minutes();
    assert!((58..=60).contains(&minutes), "{minutes} minutes");
}

#[test]
fn a_source_named_twice_is_backed_up_once() {
    let house = House::healthy();
    assert_eq!(house.run(&["backup", "stores", "stores"]).code, 0);
    assert_eq!(house.jobs().len(), 1);
}

#[test]
fn a_source_cannot_leave_the_archive_by_its_name() {
    for name in ["../stores", "a/b", "Stores", "", "-stores"] {
        let house = House::healthy().set("sources.stores.name", name);
        assert_eq!(house.run(&["check"]).code, 2, "{name:?}");
    }
}

#[test]
fn a_syntax_error_has_its_place_in_the_json() {
    let house = House::healthy();
    house.write_config(&format!("{}\n[poll\n", house.config_text()));
    let done = house.run(&["check", "--json"]);
    assert_eq!(done.code, 2, "{done:?}");
    let checked = done.document();
    assert_eq!(checked["valid"], false);
    let line = house.config_text().lines().count();
    assert_eq!(checked["errors"][0]["line"], line, "{checked}");
    assert_eq!(checked["sources"], serde_json::json!([]));
}

#[test]
fn a_refused_key_in_an_online_check_is_told_in_one_document() {
    let house = House::healthy();
    crate::harness::private_file(&house.path("contoso.key"), "not-the-key");
    let done = house.run(&["check", "--online", "--json"]);
    assert_ne!(done.code, 0);
    assert!(done.document()["valid"].is_boolean());
}

#[test]
fn four_backups_at_once_on_a_new_state_folder_get_along() {
    let house = House::with(Scenario { pending_polls: 30, ..Scenario::default() });
    let all = [(); 4].map(|()| house.start(&["backup"]));
    for backup in all {
        let done = backup.end();
        assert_eq!(done.code, 0, "{done:?}");
    }
    assert_eq!(house.service.remote_jobs().len(), house.jobs().len());
    assert_eq!(house.json(&["verify"])["ok"], true);
}

#[test]
fn a_state_folder_that_cannot_be_is_told_and_no_success() {
    let house = House::healthy();
    let state = house.path("contoso.key/state").display().to_string();
    let house = house.set("state_dir", state.clone());
    for command in ["backup", "daemon"] {
        let done = house.run(&[command]);
        assert_eq!(done.code, 1, "{command}: {done:?}");
        assert!(done.stderr.contains(&state), "{done:?}");
    }
}

#[test]
fn what_is_kept_aside_is_private() {
    let house = House::with(Scenario {
        announced: nightjar::simulator::Announced::OffBy(1),
        ..Scenario::default()
    })
    .set("retry.job_attempts", 1);
    assert_eq!(house.run(&["backup"]).code, 1);
    let kept = files(&house.path("state/quarantine"));
    assert_eq!(kept.len(), 1);
    let mode = fs::metadata(&kept[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

#[test]
fn a_cancelled_job_is_asked_about_no_more() {
    let house = House::with(Scenario {
        ending: Ending::Never,
        status_url: StatusUrl::ById,
        ..Scenario::default()
    });
    let id = house.queue()[0].to_string();
    let daemon = house.start(&["daemon"]);
    house.until_asked(Kind::Status, 2);
    assert_eq!(house.run(&["cancel", &id]).code, 0);
    let polls = house.service.remote_jobs()[0].polls;
    house.service.set_scenario(
        "Stores",
        Scenario { status_url: StatusUrl::ById, pending_polls: 10, ..Scenario::default() },
    );
    house.queue();
    house.job_when("the next backup", |job| job["state"] == "archived");
    // One question may have been under way.
    assert!(house.service.remote_jobs()[0].polls <= polls + 1);
    assert_eq!(house.json(&["job", &id])["state"], "cancelled");
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
}

#[test]
fn a_schedule_survives_kills_without_a_time_coming_twice() {
    let house = House::healthy().set("sources.stores.schedule", "* * * * * *");
    for _ in 0..4 {
        let before = house.jobs().len();
        let daemon = house.start(&["daemon"]);
        until("another job", || (house.jobs().len() > before).then_some(()));
        daemon.kill();
    }
    let daemon = house.start(&["daemon"]);
    let before = house.jobs().len();
    until("another job", || (house.jobs().len() > before).then_some(()));
    house.job_when("its end", |job| job["state"] == "archived");
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
    let jobs = house.jobs();
    let mut times: Vec<_> = jobs.iter().map(|job| instant(&job["scheduled_for"])).collect();
    let all = times.len();
    times.sort_unstable();
    times.dedup();
    assert_eq!(times.len(), all, "{jobs:#?}");
    // Each killed job was finished by a later daemon.
    let unfinished = jobs.iter().filter(|job| job["state"] != "archived").count();
    assert!(unfinished <= 1, "{jobs:#?}");
}

#[test]
fn the_log_filter_is_obeyed() {
    let house = House::healthy();
    let mut command = house.command(&["daemon"]);
    command.env("RUST_LOG", "off");
    let daemon = house.start_command(command);
    house.queue();
    house.job_when("the backup", |job| job["state"] == "archived");
    assert_eq!(daemon.stop(Signal::TERM).stderr, "");
}

#[test]
fn a_job_left_by_a_killed_backup_is_finished_by_the_next_daemon() {
    let house = House::with(Scenario { ending: Ending::Never, ..Scenario::default() });
    let backup = house.start(&["backup"]);
    house.until_asked(Kind::Status, 2);
    backup.kill();
    house.service.set_scenario("Stores", Scenario::default());
    let _daemon = house.start(&["daemon"]);
    let job = house.job_when("the backup", |job| job["state"] == "archived");
    assert_eq!(job["attempts"], 1);
    assert_eq!(house.jobs().len(), 1);
}
