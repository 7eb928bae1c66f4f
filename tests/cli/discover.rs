//! `discover`, and `init --discover`.

use crate::harness::{ACCESS_ID, Setup, private_file, source, until};
use crate::web::Page;
use nightjar::simulator::{AccountScenario, Data, Fault, Kind, Scenario, SimSource};
use rustix::process::Signal;
use std::fs;

/// A service with three data sources, of which the configuration has the first.
fn setup() -> Setup {
    let mut setup = Setup::healthy();
    for name in ["Depots", "De$pots"] {
        setup.service.add_source(source(name, Scenario::default()));
    }
    setup.change("sources.stores.data_source", "stores");
    setup
}

/// The table that is printed for a data source.
fn table(name: &str, data_source: &str) -> String {
    format!(
        "[[sources]]\nname = \"{name}\"\naccount = \"contoso\"\naccess_id = \"{ACCESS_ID}\"\n\
         data_source = \"{data_source}\"\nschedule = \"0 2 * * *\"\n"
    )
}

#[test]
fn what_is_printed_completes_the_configuration() {
    let setup = setup();
    let done = setup.run(&["discover", "--account", "contoso"]);
    assert_eq!(done.code, 0, "{done:?}");
    let tables = [table("depots", "Depots"), table("de-pots", "De$pots")];
    assert_eq!(done.stdout, tables.join("\n"));
    setup.write_config(&format!("{}\n{}", setup.config_text(), done.stdout));
    assert_eq!(setup.json(&["check"])["valid"], true);
    let done = setup.run(&["discover"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, ""), "{done:?}");
    assert!(done.stderr.contains("lists 3 data sources; nothing to add"), "{done:?}");
    assert_eq!(setup.backup().code, 0);
    assert_eq!(setup.service.remote_jobs().len(), 3);
}

#[test]
fn every_listed_data_source_is_in_the_json_and_no_remote_job_is_started() {
    let setup = setup();
    fs::create_dir_all(setup.archive("depots")).unwrap();
    let listed = setup.json(&["discover", "--account", "contoso"]);
    let one = |name: &str, data_source: &str, configured: bool| {
        serde_json::json!({
            "account": "contoso", "name": name, "configured": configured,
            "access_id": ACCESS_ID, "data_source": data_source,
        })
    };
    let wanted = [
        one("stores", "Stores", true),
        // The archive has a folder of this name.
        one("depots-2", "Depots", false),
        one("de-pots", "De$pots", false),
    ];
    assert_eq!(listed, serde_json::json!(wanted));
    assert_eq!(setup.service.count(Kind::Create), 0);
}

#[test]
fn a_source_that_is_no_longer_listed_is_named() {
    let setup = setup();
    setup.service.delete_source("Stores");
    let done = setup.run(&["discover", "--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.document().as_array().unwrap().len(), 2);
    assert!(done.stderr.contains("stores is gone"), "{done:?}");
}

#[test]
fn a_listing_that_fails_prints_nothing() {
    let setup = setup();
    for fault in [Fault::http(503), Fault::http(401)] {
        let sources = vec![fault];
        setup.service.set_account(AccountScenario { sources, ..AccountScenario::default() });
        let done = setup.run(&["discover", "--account", "contoso"]);
        assert_eq!((done.code, done.stdout.as_str()), (1, ""), "{done:?}");
        assert!(done.stderr.contains("contoso cannot be listed"), "{done:?}");
        assert!(!done.stderr.contains("is gone"), "{done:?}");
    }
    let done = setup.run(&["discover", "--account", "fabrikam"]);
    assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{done:?}");
    assert!(done.stderr.contains("has contoso"), "{done:?}");
}

#[test]
fn a_whole_configuration_is_written_from_a_key() {
    let setup = setup();
    fs::remove_file(setup.path("config.toml")).unwrap();
    let endpoint = setup.service.endpoint();
    let init = [
        "init",
        "--account",
        "fabrikam",
        "--discover",
        "--endpoint",
        &endpoint,
        "--timezone",
        "UTC",
    ];
    let done = setup.run(&init);
    assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{done:?}");
    assert!(done.stderr.contains("put the master key into"), "{done:?}");
    private_file(&setup.path("fabrikam.key"), crate::harness::KEY);
    let done = setup.run(&init);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.stdout, format!("{}\n", setup.path("config.toml").display()));
    assert!(done.stderr.contains("fabrikam has 3 data sources"), "{done:?}");
    assert_eq!(setup.service.count(Kind::Create), 0);
    let text = setup.config_text();
    for name in ["stores", "depots", "de-pots"] {
        assert!(text.contains(&format!("\nname = \"{name}\"\naccount = \"fabrikam\"\n")), "{text}");
    }
    setup.write_config(&format!("state_dir = \"state\"\npoll.initial = \"20ms\"\n{text}"));
    assert_eq!(setup.run(&["check", "--online"]).code, 0);
    assert_eq!(setup.backup().code, 0);
    assert_eq!(setup.json(&["snapshots"]).as_array().unwrap().len(), 3);
}

#[test]
fn an_account_without_data_sources_makes_no_configuration() {
    let setup = Setup::of(vec![SimSource::new(ACCESS_ID, "Stores", "k", Data::first_places(1))]);
    setup.service.delete_source("Stores");
    fs::remove_file(setup.path("config.toml")).unwrap();
    let key = setup.path("contoso.key").display().to_string();
    let endpoint = setup.service.endpoint();
    let done = setup.run(&["init", "--discover", "--key-file", &key, "--endpoint", &endpoint]);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""), "{done:?}");
    assert!(!setup.path("config.toml").exists());
}

#[test]
fn the_daemon_looks_at_its_start_and_a_listing_that_fails_concludes_nothing() {
    let page = Page::of(setup());
    let metric = "nightjar_sources_unprotected{account=\"contoso\"} 2";
    until("the first look", || page.get("/metrics").body.contains(metric).then_some(()));
    let shown = page.get("/").body;
    assert!(shown.contains("2 data sources are not backed up"), "{shown}");
    let Page { setup, daemon, .. } = page;
    daemon.stop(Signal::TERM);
    let status = || setup.run(&["status"]).stdout;
    let message = "contoso: 2 data sources are not backed up: \"Depots\", \"De$pots\"; ";
    assert!(status().contains(message), "{}", status());
    assert!(!status().contains("no longer lists"), "{}", status());

    setup.service.delete_source("Stores");
    setup.service.delete_source("De$pots");
    let daemon = setup.start(&["daemon"]);
    until("the second look", || status().contains("1 data source is not").then_some(()));
    assert!(status().contains("stores: the service no longer lists its data source"));
    assert_eq!(setup.json(&["status"]).as_array().unwrap().len(), 1);
    daemon.stop(Signal::TERM);

    setup.service.add_source(source("New", Scenario::default()));
    let sources = vec![Fault::http(503); 99];
    setup.service.set_account(AccountScenario { sources, ..AccountScenario::default() });
    let lists = setup.service.count(Kind::List);
    let daemon = setup.start(&["daemon"]);
    until("the failing look", || {
        daemon.stderr().contains("maintenance failed: contoso").then_some(())
    });
    assert_eq!(setup.service.count(Kind::List), lists + 1);
    assert!(status().contains("1 data source is not backed up: \"Depots\""), "{}", status());
    assert!(status().contains("stores: the service no longer lists its data source"));
    daemon.stop(Signal::TERM);
    assert_eq!(setup.service.count(Kind::Create), 0);
}

#[test]
fn a_source_that_is_no_longer_listed_is_not_shown_as_protected() {
    let setup = setup();
    assert_eq!(setup.backup().code, 0);
    let vanished = |setup: &Setup| setup.json(&["status"])[0]["vanished"].clone();
    assert!(vanished(&setup).is_null());
    let page = Page::of(setup);
    let listed = "nightjar_source_vanished{source=\"stores\"} 0";
    until("the first look", || page.get("/metrics").body.contains(listed).then_some(()));
    assert!(page.get("/").body.contains("The source is protected."));
    let Page { setup, daemon, .. } = page;
    daemon.stop(Signal::TERM);
    assert_eq!(vanished(&setup), false);

    setup.service.delete_source("Stores");
    let page = Page::of(setup);
    let gone = "nightjar_source_vanished{source=\"stores\"} 1";
    until("the second look", || page.get("/metrics").body.contains(gone).then_some(()));
    let home = page.get("/").body;
    assert!(home.contains("The source has vanished from its service."), "{home}");
    assert!(!home.contains("protected") && !home.contains("verdict ok"), "{home}");
    for shown in [home, page.get("/sources/stores").body] {
        assert!(shown.contains("The service no longer lists its data source"), "{shown}");
        assert!(!shown.contains("mark ok"), "{shown}");
    }
    let sources: serde_json::Value = serde_json::from_str(&page.get("/api/sources").body).unwrap();
    assert_eq!((&sources[0]["vanished"], &sources[0]["health"]), (&true.into(), &"ok".into()));
    assert_eq!(vanished(&page.setup), true);
}

#[test]
fn an_account_that_is_not_to_be_looked_at_is_not() {
    let setup = setup().set("accounts.contoso.discover", false);
    let daemon = setup.start(&["daemon"]);
    until("the tasks", || daemon.stderr().contains("0 accounts were listed").then_some(()));
    daemon.stop(Signal::TERM);
    assert_eq!(setup.service.count(Kind::List), 0);
    assert!(!setup.run(&["status"]).stdout.contains("not backed up"));
}

#[test]
fn every_version_is_backed_up_once_and_is_not_the_source_s_newest() {
    let stores = source("Stores", Scenario::default())
        .older(vec![Data::first_places(3), Data::first_places(4)])
        .staged(Data::first_places(5));
    let setup = Setup::of(vec![stores]).set("sources.stores.versions", "all");
    let first = setup.backup();
    assert!(first.stdout.contains("stores: archived as"), "{first:?}");
    let snapshots = setup.json(&["snapshots"]);
    let shown: Vec<_> = snapshots.as_array().unwrap().iter().collect();
    let entities: Vec<_> = shown.iter().map(|it| it["entities"].as_u64().unwrap()).collect();
    assert_eq!((entities[3], entities.len()), (20, 4), "{snapshots}");
    assert_eq!(entities.iter().sum::<u64>(), 20 + 3 + 4 + 5, "{snapshots}");
    let versions = shown.iter().filter(|it| it["version"].is_string()).count();
    assert_eq!(versions, 3, "{snapshots}");
    assert_eq!(setup.json(&["status"])[0]["entities"], 20);
    assert_eq!(setup.run(&["verify"]).code, 0);
    // Each once.
    setup.backup();
    assert_eq!(setup.service.count(Kind::Create), 5);
    assert_eq!(setup.json(&["snapshots"]).as_array().unwrap().len(), 5);
}

#[test]
fn the_day_s_last_exports_are_left_for_ordinary_backups() {
    let stores = source("Stores", Scenario::default()).older(vec![Data::first_places(3)]);
    let setup = Setup::of(vec![stores])
        .set("sources.stores.versions", "all")
        .set("accounts.contoso.max_jobs_per_day", 2);
    setup.backup();
    assert_eq!(setup.service.count(Kind::Create), 1);
    setup.backup();
    assert_eq!(setup.service.count(Kind::Create), 2);
}
