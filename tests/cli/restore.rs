//! `restore`, `publish`, `versions` and `rollback`: what they show, ask, do and print.

use crate::harness::{ACCESS_ID, KEY, Setup, names, read_json, source};
use nightjar::simulator::{
    AccountScenario, Alteration, ChangeKind, Changes, Data, Fault, LoadOperation, Outcome,
    Scenario, SimSource,
};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

pub(crate) fn good() -> Data {
    Data::first_places(20)
}

pub(crate) fn wrong() -> Data {
    Data::first_places(7)
}

/// A source with a good night, then a wrong load by a colleague.
pub(crate) fn wrong_load() -> Setup {
    wrong_load_with(Changes::default())
}

pub(crate) fn wrong_load_with(changes: Changes) -> Setup {
    let setup = Setup::with(Scenario { changes, ..Scenario::default() });
    setup.backup();
    setup.service.set_data("Stores", wrong());
    setup
}

pub(crate) fn published(setup: &Setup) -> Data {
    setup.service.versions("Stores").published.unwrap().data
}

pub(crate) fn staged(setup: &Setup) -> Option<Data> {
    setup.service.versions("Stores").staged.map(|version| version.data)
}

pub(crate) fn is(data: &Data, other: &Data) -> bool {
    data.document() == other.document()
}

pub(crate) fn loads(setup: &Setup) -> usize {
    let changes = setup.service.changes();
    changes
        .iter()
        .filter(|change| {
            change.kind == ChangeKind::Load(LoadOperation::CompleteStaging)
                || change.kind == ChangeKind::Load(LoadOperation::IncrementalStaging)
        })
        .count()
}

pub(crate) fn safety_backups(setup: &Setup) -> Vec<PathBuf> {
    let manifests = setup.manifests("stores").into_iter();
    manifests.filter(|path| read_json(path)["safety"] == json!(true)).collect()
}

#[test]
fn a_wrong_load_is_put_right_step_by_step() {
    let setup = wrong_load();
    let done = setup.run(&["restore", "stores", "--to", "stores", "--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(is(&published(&setup), &wrong()), "nothing is published yet");
    assert!(is(&staged(&setup).unwrap(), &good()));
    let last = done.stdout.lines().last().unwrap();
    let command = last.split("nightjar publish stores ").nth(1).unwrap_or_else(|| panic!("{last}"));
    let id = setup.service.versions("Stores").staged.unwrap().job_id;
    assert_eq!(command, id);
    let [safety] = &*safety_backups(&setup) else { panic!("{done:?}") };
    assert!(done.stdout.contains(safety.to_str().unwrap()), "{done:?}");
    assert_eq!(setup.job()["operation"], "restore");

    let done = setup.run(&["publish", "stores", &id, "--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.contains(&format!("published now: {id}")), "{done:?}");
    assert!(is(&published(&setup), &good()));
    assert_eq!(loads(&setup), 1);

    let back = setup.run(&["rollback", "stores", "--yes"]);
    assert_eq!(back.code, 0, "{back:?}");
    assert!(is(&published(&setup), &wrong()));
}

#[test]
fn a_restore_publishes_at_once_when_asked_to() {
    let setup = wrong_load();
    let done = setup.run(&["restore", "stores", "--to", "stores", "--publish", "--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.contains("is published"), "{done:?}");
    assert!(done.stdout.ends_with("to undo it: nightjar rollback stores\n"), "{done:?}");
    assert!(is(&published(&setup), &good()));
    let held = names(&setup.archive("stores")).into_iter().filter(|name| name.ends_with(".hold"));
    assert_eq!(held.collect::<Vec<_>>(), Vec::<String>::new(), "nothing stays held");
    let after = setup.run(&["backup", "stores"]);
    assert_eq!(after.code, 0, "{after:?}");
    let diff = setup.run(&["diff", "stores@1", "stores", "--exit-code"]);
    assert_eq!(diff.code, 0, "what is published is what was restored: {diff:?}");
}

#[test]
fn some_entities_are_restored_beside_what_is_published() {
    let setup = wrong_load();
    let key = {
        let text = String::from_utf8(good().document().to_vec()).unwrap();
        let last = text.rfind("<EntityID>").unwrap() + "<EntityID>".len();
        text[last..].split('<').next().unwrap().to_owned()
    };
    let arguments = ["restore", "stores@1", "--to", "stores", "--yes", "--publish", "--only", &key];
    let done = setup.run(&arguments);
    assert_eq!(done.code, 0, "{done:?}");
    let now = published(&setup);
    assert_eq!(now.entities(), 8, "{done:?}");
    let unknown = setup.run(&["restore", "stores@1", "--to", "stores", "--yes", "--only", "x-1"]);
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(unknown.stderr.contains("no entity x-1"), "{unknown:?}");
}

#[test]
fn a_plan_is_shown_and_nothing_is_started_without_consent() {
    let setup = wrong_load();
    let before = setup.service.remote_jobs().len();
    let jobs = setup.jobs().len();
    setup.service.load_elsewhere("Stores", LoadOperation::CompleteStaging, wrong());
    let changes = setup.service.changes().len();
    let staged = setup.service.versions("Stores").staged.unwrap().job_id;
    for (arguments, code) in [
        (vec!["restore", "stores", "--to", "stores", "--dry-run"], 0),
        (vec!["restore", "stores", "--to", "stores", "--dry-run", "--publish", "--yes"], 0),
        (vec!["restore", "stores", "--to", "stores"], 2),
        (vec!["publish", "stores", &staged], 2),
        (vec!["rollback", "stores"], 2),
    ] {
        let done = setup.run(&arguments);
        assert_eq!(done.code, code, "{arguments:?}: {done:?}");
        if arguments[0] == "restore" {
            assert!(done.stdout.contains(&format!("OVERWRITES version {staged}")), "{done:?}");
            assert!(done.stdout.contains("20 entities"), "{done:?}");
            assert!(done.stdout.contains("WARNING: the root element"), "{done:?}");
        }
        if code == 2 {
            assert!(done.stderr.contains("--yes"), "{arguments:?}: {done:?}");
        }
    }
    assert_eq!(setup.service.changes().len(), changes);
    assert_eq!(setup.service.remote_jobs().len(), before);
    assert_eq!(setup.jobs().len(), jobs);
}

#[test]
fn versions_are_listed_with_what_is_known_of_them() {
    let other = SimSource::new(ACCESS_ID, "Other", KEY, good()).unpublished();
    let setup = Setup::of(vec![source("Stores", Scenario::default()), other]);
    setup.service.set_data("Stores", wrong());
    setup.service.load_elsewhere("Stores", LoadOperation::CompleteStaging, good());
    let listed = setup.json(&["versions", "stores"]);
    let listed = listed.as_array().unwrap();
    let states: Vec<_> = listed.iter().map(|version| version["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["published", "staged", "older"]);
    let truth = setup.service.versions("Stores");
    assert_eq!(listed[1]["job_id"], json!(truth.staged.unwrap().job_id));
    assert_eq!(listed[1]["entities"], json!(20));
    assert_eq!(listed[0]["entities"], json!(7));
    assert!(listed[0]["date"].as_str().unwrap().ends_with('Z'), "{listed:?}");
    assert_eq!(setup.json(&["versions", "other"]), json!([]));
    let shown = setup.run(&["versions", "stores"]);
    assert!(shown.stdout.contains("ENTITIES") && shown.stdout.lines().count() == 4, "{shown:?}");
    assert!(setup.service.changes().iter().all(|change| change.is_elsewhere));
}

#[test]
fn versions_are_listed_although_the_job_list_fails() {
    let setup = Setup::healthy();
    let jobs = vec![Fault::http(500)];
    setup.service.set_account(AccountScenario { jobs, ..AccountScenario::default() });
    let done = setup.run(&["versions", "stores", "--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.document()[0]["entities"], Value::Null);
    assert!(done.stderr.contains("list of jobs"), "{done:?}");
}

#[test]
fn what_the_arguments_name_wrongly_is_refused_without_a_job() {
    let setup = wrong_load();
    setup.service.load_elsewhere("Stores", LoadOperation::CompleteStaging, wrong());
    let published = setup.service.versions("Stores").published.unwrap().job_id;
    let changes = setup.service.changes().len();
    for (arguments, words) in [
        (vec!["restore", "nothing", "--to", "stores", "--yes"], "no such source"),
        (vec!["restore", "stores@99", "--to", "stores", "--yes"], "no snapshot"),
        (vec!["restore", "stores", "--to", "others", "--yes"], "no source others"),
        (vec!["restore", "stores", "--yes"], "--to"),
        (vec!["publish", "stores", "0123", "--yes"], "is not staged"),
        (vec!["publish", "stores", &published, "--yes"], "is not staged"),
        (vec!["rollback", "stores", "--to", "0123", "--yes"], "no version 0123"),
        (vec!["rollback", "stores", "--to", &published, "--yes"], "published already"),
        (vec!["versions", "others"], "no source others"),
    ] {
        let done = setup.run(&arguments);
        assert_eq!(done.code, 2, "{arguments:?}: {done:?}");
        assert!(done.stderr.contains(words), "{arguments:?}: {done:?}");
    }
    assert_eq!(setup.service.changes().len(), changes);
}

#[test]
fn a_damaged_snapshot_is_never_sent() {
    let setup = wrong_load();
    let manifest = setup.manifests("stores").remove(0);
    let data = manifest.with_extension("xml.zst");
    let mut bytes = fs::read(&data).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&data, bytes).unwrap();
    for extra in ["--yes", "--dry-run"] {
        let done = setup.run(&["restore", "stores", "--to", "stores", extra]);
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.stderr.contains("damaged"), "{done:?}");
    }
    assert_eq!(loads(&setup), 0);
}

#[test]
fn a_staged_version_that_differs_is_not_published() {
    let changes = Changes { kept: Some(Alteration::ChangedValue), ..Changes::default() };
    let setup = wrong_load_with(changes);
    let done = setup.run(&["restore", "stores", "--to", "stores", "--publish", "--yes"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stdout.contains("FAILED: corrupt"), "{done:?}");
    assert!(done.stdout.contains("which stays held"), "{done:?}");
    assert!(is(&published(&setup), &wrong()));
}

#[test]
fn entities_that_the_service_could_not_load_are_a_failure() {
    let outcomes = vec![Outcome::with_failed_entities(2)];
    let setup = wrong_load_with(Changes { load_outcomes: outcomes, ..Changes::default() });
    let done = setup.run(&["restore", "stores", "--to", "stores", "--publish", "--yes"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stdout.contains("FAILED: rejected"), "{done:?}");
    assert!(is(&published(&setup), &wrong()));
}

#[test]
fn a_lost_answer_makes_no_second_load() {
    for load in [vec![Fault::LostAnswer], vec![Fault::http(500)]] {
        let setup = wrong_load_with(Changes { load, ..Changes::default() });
        let setup = setup.set("http.lost_after", "200ms");
        let done = setup.run(&["restore", "stores", "--to", "stores", "--publish", "--yes"]);
        assert!(loads(&setup) <= 1, "{done:?}");
        if loads(&setup) == 1 && done.code == 0 {
            assert!(is(&published(&setup), &good()), "{done:?}");
        } else {
            assert!(is(&published(&setup), &wrong()), "{done:?}");
        }
    }
}

#[test]
fn a_wrong_key_or_a_service_that_is_down_ends_before_a_job() {
    let setup = wrong_load();
    let jobs = setup.jobs().len();
    fs::write(setup.path("contoso.key"), "another-key").unwrap();
    let arguments: [&[&str]; 4] = [
        &["restore", "stores", "--to", "stores", "--yes"],
        &["publish", "stores", "0123", "--yes"],
        &["rollback", "stores", "--yes"],
        &["versions", "stores"],
    ];
    for command in arguments {
        let done = setup.run(command);
        assert_eq!(done.code, 1, "{command:?}: {done:?}");
        assert!(done.stderr.contains("refuses the key of account contoso"), "{done:?}");
        assert!(!done.stderr.contains("another-key") && !done.stdout.contains("another-key"));
    }
    let setup = setup.set("accounts.contoso.endpoint", "http://127.0.0.1:1/REST/v1");
    for command in arguments {
        let done = setup.run(command);
        assert_eq!(done.code, 1, "{command:?}: {done:?}");
        assert!(done.stderr.contains("could not be reached"), "{done:?}");
    }
    assert_eq!(setup.jobs().len(), jobs);
}

#[test]
fn a_restore_waits_for_no_live_backup_but_names_it() {
    let setup = wrong_load();
    setup.queue();
    let done = setup.run(&["restore", "stores@1", "--to", "stores", "--yes"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains("live job 2 (backup, queued)"), "{done:?}");
    assert_eq!(loads(&setup), 0);
}

#[test]
fn a_deleted_source_is_made_again_without_a_safety_backup() {
    let setup = wrong_load();
    setup.service.delete_source("Stores");
    let refused = setup.run(&["restore", "stores", "--to", "stores", "--publish", "--yes"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("--no-safety"), "{refused:?}");
    let arguments = ["restore", "stores", "--to", "stores", "--no-safety", "--publish", "--yes"];
    let done = setup.run(&arguments);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.contains("creates the data source Stores"), "{done:?}");
    assert!(is(&published(&setup), &good()));
}

#[test]
fn a_snapshot_is_restored_from_a_copy_of_the_archive() {
    let setup = wrong_load();
    let manifest = setup.manifests("stores").remove(0);
    let data = manifest.with_extension("xml.zst");
    let elsewhere = setup.path("elsewhere/stores");
    fs::create_dir_all(&elsewhere).unwrap();
    for file in [&manifest, &data] {
        fs::copy(file, elsewhere.join(file.file_name().unwrap())).unwrap();
    }
    fs::remove_dir_all(setup.archive("stores")).unwrap();
    let copied = elsewhere.join(manifest.file_name().unwrap());
    let done = setup.run(&["restore", copied.to_str().unwrap(), "--to", "stores", "--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(is(&staged(&setup).unwrap(), &good()));
    fs::remove_file(&copied).unwrap();
    let gone = setup.run(&["restore", copied.to_str().unwrap(), "--to", "stores", "--yes"]);
    assert_eq!(gone.code, 2, "{gone:?}");
    assert_eq!(loads(&setup), 1);
}

#[test]
fn a_source_that_comes_back_under_another_access_id_is_published_once_it_is_configured() {
    let setup = wrong_load();
    let account = AccountScenario { new_access_ids: true, ..AccountScenario::default() };
    setup.service.set_account(account);
    setup.service.delete_source("Stores");
    let setup = setup.set("http.lost_after", "200ms");
    let arguments = ["restore", "stores", "--to", "stores", "--no-safety", "--publish", "--yes"];
    let done = setup.run(&arguments);
    assert_eq!(done.code, 1, "{done:?}");
    assert_eq!(loads(&setup), 1);
    assert!(setup.service.versions("Stores").published.is_none());
    let timeline = setup.timeline(&setup.job()["id"]);
    let access_id = timeline.split("access_id is ").nth(1).unwrap_or_else(|| panic!("{timeline}"));
    let access_id = access_id.split(',').next().unwrap().to_owned();
    assert_ne!(access_id, ACCESS_ID);
    let setup = setup.set("sources.stores.access_id", access_id);
    let listed = setup.json(&["versions", "stores"]);
    assert_eq!(listed[0]["state"], "staged", "{listed}");
    let id = listed[0]["job_id"].as_str().unwrap();
    let done = setup.run(&["publish", "stores", id, "--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(is(&published(&setup), &good()));
}
