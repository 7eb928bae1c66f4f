//! Contradictions of the service's documents, and accidents around the program.

use crate::harness::{Setup, files, instant, now, source, until};
use nightjar::simulator::{
    Dates, Ending, Fault, Kind, Location, OutputLabel, OutputUrl, Scenario, StatusUrl,
};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn every_contradiction_of_the_documents_is_handled() {
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
    let setup = Setup::of(sources.collect()).set("accounts.contoso.max_in_process", 50);
    let done = setup.run(&["backup"]);
    let wrong: Vec<Value> =
        setup.jobs().into_iter().filter(|job| job["state"] != "archived").collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(done.code, 0);
    assert!(setup.jobs().iter().all(|job| job["attempts"] == 1));
}

#[test]
fn only_status_responses_count_as_polls() {
    let status = vec![Fault::http(503), Fault::http(404)];
    let setup = Setup::with(Scenario { status, ..Scenario::default() });
    setup.backup();
    assert_eq!(setup.job()["polls"], 3);
    assert_eq!(setup.service.count(Kind::Status), 5);
}

#[test]
fn a_result_on_a_foreign_host_without_encryption_is_not_fetched() {
    let output_url = OutputUrl::Elsewhere("http://storage.example.org/result.xml".into());
    let setup =
        Setup::with(Scenario { output_url, ..Scenario::default() }).set("retry.job_attempts", 1);
    assert_eq!(setup.run(&["backup"]).code, 1);
    assert_eq!(setup.job()["error"]["kind"], "protocol");
}

#[test]
fn retry_after_is_honoured_up_to_one_hour() {
    let create = vec![Fault::retry_after(503, "86400")];
    let setup = Setup::with(Scenario { create, ..Scenario::default() });
    let _backup = setup.start(&["backup"]);
    setup.until_asked(Kind::Create, 1);
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
    // Whichever field says it: the job continues in about an hour.
    let due = until("a time an hour ahead", || {
        let latest = instants(&setup.job()).into_iter().max()?;
        ((latest - now()).num_minutes() >= 5).then_some(latest)
    });
    let minutes = (due - now()).num_minutes();
    assert!((58..=60).contains(&minutes), "{minutes} minutes");
}

#[test]
fn a_source_named_twice_is_backed_up_once() {
    let setup = Setup::healthy();
    assert_eq!(setup.run(&["backup", "stores", "stores"]).code, 0);
    assert_eq!(setup.jobs().len(), 1);
}

#[test]
fn a_source_cannot_leave_the_archive_by_its_name() {
    for name in ["../stores", "a/b", "Stores", "", "-stores"] {
        let setup = Setup::healthy().set("sources.stores.name", name);
        assert_eq!(setup.run(&["check"]).code, 2, "{name:?}");
    }
}

#[test]
fn a_syntax_error_has_its_position_in_the_json() {
    let setup = Setup::healthy();
    setup.write_config(&format!("{}\n[poll\n", setup.config_text()));
    let done = setup.run(&["check", "--json"]);
    assert_eq!(done.code, 2, "{done:?}");
    let checked = done.document();
    assert_eq!(checked["valid"], false);
    let line = setup.config_text().lines().count();
    assert_eq!(checked["errors"][0]["line"], line, "{checked}");
    assert_eq!(checked["sources"], serde_json::json!([]));
}

#[test]
fn a_refused_key_in_an_online_check_is_reported_in_one_document() {
    let setup = Setup::healthy();
    crate::harness::private_file(&setup.path("contoso.key"), "not-the-key");
    let done = setup.run(&["check", "--online", "--json"]);
    assert_ne!(done.code, 0);
    assert!(done.document()["valid"].is_boolean());
}

#[test]
fn four_concurrent_backups_share_a_new_state_folder() {
    let setup = Setup::with(Scenario { pending_polls: 30, ..Scenario::default() });
    let all = [(); 4].map(|()| setup.start(&["backup"]));
    for backup in all {
        let done = backup.end();
        assert_eq!(done.code, 0, "{done:?}");
    }
    assert_eq!(setup.service.remote_jobs().len(), setup.jobs().len());
    assert_eq!(setup.json(&["verify"])["ok"], true);
}

#[test]
fn an_impossible_state_directory_is_an_error() {
    let setup = Setup::healthy();
    let state = setup.path("contoso.key/state").display().to_string();
    let setup = setup.set("state_dir", state.clone());
    for command in ["backup", "daemon"] {
        let done = setup.run(&[command]);
        assert_eq!(done.code, 1, "{command}: {done:?}");
        assert!(done.stderr.contains(&state), "{done:?}");
    }
}

#[test]
fn quarantined_files_are_private() {
    let setup = Setup::with(Scenario {
        announced: nightjar::simulator::Announced::OffBy(1),
        ..Scenario::default()
    })
    .set("retry.job_attempts", 1);
    assert_eq!(setup.run(&["backup"]).code, 1);
    let kept = files(&setup.path("state/quarantine"));
    assert_eq!(kept.len(), 1);
    let mode = fs::metadata(&kept[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

#[test]
fn a_cancelled_job_is_no_longer_polled() {
    let setup = Setup::with(Scenario {
        ending: Ending::Never,
        status_url: StatusUrl::ById,
        ..Scenario::default()
    });
    let id = setup.queue()[0].to_string();
    let daemon = setup.start(&["daemon"]);
    setup.until_asked(Kind::Status, 2);
    assert_eq!(setup.run(&["cancel", &id]).code, 0);
    let polls = setup.service.remote_jobs()[0].polls;
    setup.service.set_scenario(
        "Stores",
        Scenario { status_url: StatusUrl::ById, pending_polls: 10, ..Scenario::default() },
    );
    setup.queue();
    setup.job_when("the next backup", |job| job["state"] == "archived");
    // One request may have been under way.
    assert!(setup.service.remote_jobs()[0].polls <= polls + 1);
    assert_eq!(setup.json(&["job", &id])["state"], "cancelled");
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
}

#[test]
fn a_schedule_survives_kills_without_running_twice() {
    let setup = Setup::healthy().set("sources.stores.schedule", "* * * * * *");
    for _ in 0..4 {
        let before = setup.jobs().len();
        let daemon = setup.start(&["daemon"]);
        until("another job", || (setup.jobs().len() > before).then_some(()));
        daemon.kill();
    }
    let daemon = setup.start(&["daemon"]);
    let before = setup.jobs().len();
    until("another job", || (setup.jobs().len() > before).then_some(()));
    setup.job_when("its end", |job| job["state"] == "archived");
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
    let jobs = setup.jobs();
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
    let setup = Setup::healthy();
    let mut command = setup.command(&["daemon"]);
    command.env("RUST_LOG", "off");
    let daemon = setup.start_command(command);
    setup.queue();
    setup.job_when("the backup", |job| job["state"] == "archived");
    assert_eq!(daemon.stop(Signal::TERM).stderr, "");
}

#[test]
fn a_job_left_by_a_killed_backup_is_finished_by_the_next_daemon() {
    let setup = Setup::with(Scenario { ending: Ending::Never, ..Scenario::default() });
    let backup = setup.start(&["backup"]);
    setup.until_asked(Kind::Status, 2);
    backup.kill();
    setup.service.set_scenario("Stores", Scenario::default());
    let _daemon = setup.start(&["daemon"]);
    let job = setup.job_when("the backup", |job| job["state"] == "archived");
    assert_eq!(job["attempts"], 1);
    assert_eq!(setup.jobs().len(), 1);
}

#[test]
fn a_source_s_folder_that_cannot_be_read_hides_no_other_source() {
    let mut setup = Setup::of(vec![
        source("Stores", Scenario::default()),
        source("Depots", Scenario::default()),
    ]);
    setup.change("retention.keep_last", 1);
    setup.change("retention.keep_daily", 0);
    setup.change("retention.keep_weekly", 0);
    setup.change("retention.keep_monthly", 0);
    setup.change("retention.keep_yearly", 0);
    setup.backup();
    setup.backup();
    fs::remove_dir_all(setup.archive("depots")).unwrap();
    std::os::unix::fs::symlink("nowhere", setup.archive("depots")).unwrap();

    let done = setup.run(&["snapshots", "--json"]);
    assert_eq!(done.code, 3, "{done:?}");
    assert_eq!(done.document().as_array().unwrap().len(), 2, "{done:?}");
    assert!(done.stderr.contains("the snapshots of depots cannot be listed: "), "{done:?}");
    assert_eq!(setup.run(&["snapshots", "depots"]).code, 1);

    let done = setup.run(&["prune"]);
    assert_eq!(done.code, 3, "{done:?}");
    assert!(done.stdout.contains("1 of 2 snapshots removed."), "{done:?}");
    assert!(done.stderr.contains("depots: its snapshots cannot be read: "), "{done:?}");

    fs::remove_dir_all(setup.archive("stores")).unwrap();
    std::os::unix::fs::symlink("nowhere", setup.archive("stores")).unwrap();
    for command in ["snapshots", "prune"] {
        let done = setup.run(&[command]);
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.stderr.contains("stores: ") && done.stderr.contains("depots: "), "{done:?}");
    }
}
