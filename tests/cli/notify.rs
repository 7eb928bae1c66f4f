//! Pings and alerts when a backup begins, fails and recovers.

use crate::harness::{Setup, until};
use nightjar::simulator::{Ending, Scenario};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Records every request, by path and body.
struct Listener {
    url: String,
    received: Arc<Mutex<Vec<(String, String)>>>,
}

impl Listener {
    fn new() -> Listener {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in socket.incoming() {
                let mut stream = stream.unwrap();
                if let Some(request) = request(&mut stream) {
                    all.lock().unwrap().push(request);
                    let _ = stream.write_all(
                        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    );
                }
            }
        });
        Listener { url, received }
    }

    fn received(&self) -> Vec<(String, String)> {
        self.received.lock().unwrap().clone()
    }

    /// The JSON bodies posted to a path.
    fn messages(&self, path: &str) -> Vec<Value> {
        let received = self.received();
        let posted = received.iter().filter(|(it, _)| it == path);
        posted.map(|(_, body)| serde_json::from_str(body).unwrap()).collect()
    }

    /// The paths with this prefix, without their queries.
    fn pings(&self, path: &str) -> Vec<String> {
        let received = self.received();
        let paths = received.iter().map(|(it, _)| it.split('?').next().unwrap().to_owned());
        paths.filter(|it| it.starts_with(path)).collect()
    }
}

fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        (reader.read_line(&mut head).ok()? > 0).then_some(())?;
    }
    let lower = head.to_lowercase();
    let length = lower.split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head.split(' ').nth(1)?.to_owned(), String::from_utf8(body).ok()?))
}

fn notifying(setup: Setup, listener: &Listener) -> Setup {
    let mut webhook = toml::Table::new();
    webhook.insert("url".into(), format!("{}/hook", listener.url).into());
    setup
        .set("notify.ping", format!("{}/all", listener.url))
        .set("sources.stores.ping", format!("{}/stores", listener.url))
        .set("notify.webhooks", vec![toml::Value::Table(webhook)])
}

#[test]
fn a_successful_backup_only_pings_at_its_start_and_after_validation() {
    let listener = Listener::new();
    let setup = notifying(Setup::healthy(), &listener);
    setup.backup();
    assert_eq!(listener.pings("/stores"), ["/stores/start", "/stores"]);
    assert_eq!(listener.pings("/all"), ["/all/start", "/all"]);
    let runs: Vec<_> = listener
        .received()
        .iter()
        .map(|(path, _)| path.split("rid=").nth(1).unwrap().to_owned())
        .collect();
    assert!(runs.iter().all(|run| run.len() == 36 && *run == runs[0]), "{runs:?}");
    assert_eq!(listener.messages("/hook"), Vec::<Value>::new());
    setup.backup();
    let again = listener.received();
    let (path, _) = again.last().unwrap();
    assert!(!path.contains(&runs[0]), "the second run has an id of its own: {path}");
}

#[test]
fn a_backup_in_the_foreground_is_pinged_while_it_is_still_going_on() {
    let listener = Listener::new();
    let scenario = Scenario { pending_polls: 1_000_000, ..Scenario::default() };
    let setup = notifying(Setup::with(scenario), &listener);
    let mut backup = setup.start(&["backup"]);
    until("its beginning", || (listener.pings("/stores") == ["/stores/start"]).then_some(()));
    assert!(backup.is_running());
    let id = setup.job()["id"].to_string();
    assert_eq!(setup.run(&["cancel", &id]).code, 0);
    assert_eq!(backup.end().code, 1);
    assert_eq!(listener.pings("/stores"), ["/stores/start"], "a cancelled one is no result");
}

#[test]
fn a_failure_and_its_recovery_are_announced_once_each() {
    let listener = Listener::new();
    let scenario = Scenario { ending: Ending::aborted("No"), ..Scenario::default() };
    let setup = notifying(Setup::with(scenario), &listener).set("retry.job_attempts", 1);
    for _ in 0..2 {
        assert_eq!(setup.run(&["backup"]).code, 1);
    }
    let [broke] = &listener.messages("/hook")[..] else {
        panic!("one message: {:?}", listener.received())
    };
    assert_eq!(broke["event"], "broke");
    assert_eq!(broke["kind"], "failed");
    assert_eq!(broke["about"], "stores");
    let text = broke["message"].as_str().unwrap();
    assert!(text.contains("aborted: ") && text.contains("there is no good backup yet"), "{text}");
    assert_eq!(
        listener.pings("/stores"),
        ["/stores/start", "/stores/fail", "/stores/start", "/stores/fail"]
    );

    setup.service.set_scenario("Stores", Scenario::default());
    setup.backup();
    let messages = listener.messages("/hook");
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert_eq!(messages[1]["event"], "recovered");
    assert_eq!(messages[1]["since"], broke["since"]);
    assert_eq!(listener.pings("/all").last().unwrap(), "/all");
    setup.backup();
    assert_eq!(listener.messages("/hook").len(), 2);
}

#[test]
fn the_daemon_sends_an_alert_as_soon_as_a_job_fails() {
    let listener = Listener::new();
    let scenario = Scenario { ending: Ending::aborted("No"), ..Scenario::default() };
    let setup = notifying(Setup::with(scenario), &listener).set("retry.job_attempts", 1);
    let daemon = setup.start(&["daemon"]);
    setup.queue();
    let message = until("a message", || listener.messages("/hook").into_iter().next());
    assert_eq!(message["kind"], "failed");
    daemon.stop(Signal::TERM);
    // A restarted daemon does not repeat the alert.
    let daemon = setup.start(&["daemon"]);
    let done = until("a second failure", || {
        (setup.queue().len() == 1).then(|| setup.job_when("failed", |job| job["state"] == "failed"))
    });
    assert_eq!(done["id"], 2);
    until("its ping", || (listener.pings("/stores/fail").len() == 2).then_some(()));
    daemon.stop(Signal::TERM);
    assert_eq!(listener.messages("/hook").len(), 1);
}

#[test]
fn a_refused_key_and_a_missing_source_are_announced_as_such() {
    let listener = Listener::new();
    let setup = notifying(Setup::healthy(), &listener);
    std::fs::write(setup.path("contoso.key"), "another-key").unwrap();
    assert_eq!(setup.run(&["backup"]).code, 1);
    assert_eq!(listener.messages("/hook")[0]["kind"], "credentials");
    std::fs::write(setup.path("contoso.key"), crate::harness::KEY).unwrap();
    let setup = setup.set("sources.stores.data_source", "Vanished");
    assert_eq!(setup.run(&["backup"]).code, 1);
    let messages = listener.messages("/hook");
    assert_eq!(messages[1]["kind"], "vanished", "{messages:?}");
    assert_eq!(messages.len(), 2);
}

#[test]
fn an_unreachable_notification_channel_does_not_fail_a_backup() {
    let setup = Setup::healthy()
        .set("notify.try_timeout", "50ms")
        .set("notify.disk_low", "1000 TiB")
        .set("sources.stores.ping", "http://127.0.0.1:1/gone");
    let mut hook = toml::Table::new();
    hook.insert("run".into(), vec![toml::Value::from("/nowhere/tell")].into());
    let mut webhook = toml::Table::new();
    webhook.insert("url".into(), "https://127.0.0.1:1/".into());
    webhook.insert("secret_credential".into(), "missing".into());
    let setup = setup
        .set("notify.commands", vec![toml::Value::Table(hook)])
        .set("notify.webhooks", vec![toml::Value::Table(webhook)]);
    let done = setup.backup();
    assert!(done.stderr.contains("credential missing"), "{done:?}");
    assert!(done.took < std::time::Duration::from_secs(25), "{done:?}");
}

#[test]
fn a_test_message_reaches_every_channel_and_reports_the_results() {
    let listener = Listener::new();
    let setup = notifying(Setup::healthy(), &listener);
    let done = setup.run(&["notify", "test"]);
    assert_eq!(done.code, 0, "{done:?}");
    let place = listener.url.trim_start_matches("http://");
    assert_eq!(
        done.stdout,
        format!("ok: webhook {place}\nok: ping of {place}\nok: ping of {place}\n")
    );
    assert_eq!(listener.messages("/hook")[0]["event"], "test");
    assert_eq!(listener.pings("/stores"), ["/stores/log"]);
    assert_eq!(listener.pings("/all"), ["/all/log"]);

    let setup = setup.set("sources.stores.ping", "http://127.0.0.1:1/gone");
    let done = setup.run(&["notify", "test"]);
    assert_eq!(done.code, 3, "{done:?}");
    assert!(done.stdout.contains("FAILED: ping of 127.0.0.1:1: "), "{done:?}");
    assert!(!done.stdout.contains("gone"), "{done:?}");

    let done = Setup::healthy().run(&["notify", "test"]);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.stderr.contains("configures no notifications"), "{done:?}");
}

#[test]
fn low_disk_space_and_its_recovery_are_announced() {
    let listener = Listener::new();
    let setup = notifying(Setup::healthy(), &listener).set("notify.disk_low", "1000 TiB");
    setup.backup();
    setup.backup();
    let messages = listener.messages("/hook");
    assert_eq!(messages.len(), 1, "one disk holds both folders: {messages:?}");
    assert_eq!(messages[0]["kind"], "disk");
    let text = messages[0]["message"].as_str().unwrap();
    assert!(text.contains("free some space"), "{text}");
    let setup = setup.set("notify.disk_low", "0 B");
    setup.backup();
    assert_eq!(listener.messages("/hook").last().unwrap()["event"], "recovered");
}

#[test]
fn a_set_aside_database_is_announced_until_it_is_removed() {
    let listener = Listener::new();
    let setup = notifying(Setup::healthy(), &listener).set("notify.remind_every", "1h");
    setup.backup();
    // A set-aside file reports a damaged database until it is removed.
    std::fs::write(setup.path("state/nightjar.db.damaged-20261125T120000Z"), "x").unwrap();
    setup.backup();
    let message = listener.messages("/hook").pop().expect("a message");
    assert_eq!((&message["kind"], &message["event"]), (&"database".into(), &"broke".into()));
    std::fs::remove_file(setup.path("state/nightjar.db.damaged-20261125T120000Z")).unwrap();
    setup.backup();
    assert_eq!(listener.messages("/hook").pop().unwrap()["event"], "recovered");
}

/// A proxy that answers nothing and keeps the first line of each request.
fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let mut line = String::new();
            let _ = BufReader::new(stream.unwrap()).read_line(&mut line);
            all.lock().unwrap().push(line.trim().to_owned());
        }
    });
    (url, asked)
}

#[test]
fn nothing_for_this_machine_goes_through_a_proxy() {
    for names in
        [["HTTP_PROXY", "HTTPS_PROXY"], ["http_proxy", "https_proxy"], ["ALL_PROXY", "all_proxy"]]
    {
        let (url, asked) = proxy();
        let listener = Listener::new();
        let scenario = Scenario { ending: Ending::aborted("No"), ..Scenario::default() };
        let setup = notifying(Setup::with(scenario), &listener).set("retry.job_attempts", 1);
        let run = |setup: &Setup, arguments: &[&str]| {
            let mut command = setup.command(arguments);
            command.envs(names.map(|name| (name, url.as_str())));
            setup.start_command(command).end()
        };
        let done = run(&setup, &["backup"]);
        assert_eq!(done.code, 1, "{done:?}");
        assert_eq!(setup.job()["error"]["kind"], "aborted", "the service was asked: {done:?}");
        assert_eq!(listener.pings("/stores"), ["/stores/start", "/stores/fail"]);
        assert_eq!(listener.messages("/hook").len(), 1);
        assert_eq!(run(&setup, &["notify", "test"]).code, 0);
        assert_eq!(run(&setup, &["check", "--online"]).code, 0);
        assert_eq!(*asked.lock().unwrap(), Vec::<String>::new(), "{names:?}");

        // The proxy works: requests to other machines go through it, and it sees no path.
        let setup = setup.set("sources.stores.ping", "https://checks.example/secret-path");
        assert_eq!(run(&setup, &["notify", "test"]).code, 3);
        assert_eq!(*asked.lock().unwrap(), ["CONNECT checks.example:443 HTTP/1.1"], "{names:?}");
    }
}

#[test]
fn a_redirect_is_not_followed_and_not_a_success() {
    let target = Listener::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/secret", socket.local_addr().unwrap());
    let location = target.url.clone();
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let mut stream = stream.unwrap();
            request(&mut stream);
            let head = format!("HTTP/1.1 307 Elsewhere\r\nLocation: {location}/x\r\n");
            let _ = write!(stream, "{head}Content-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    let setup = Setup::healthy().set("sources.stores.ping", url);
    let done = setup.run(&["notify", "test"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stdout.contains("307"), "{done:?}");
    assert_eq!(target.received(), Vec::new());
}
