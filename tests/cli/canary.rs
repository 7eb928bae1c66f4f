//! A recognisable key must not leak anywhere.

use crate::harness::{Done, Process, Setup, files, free_port, until};
use nightjar::simulator::{
    AccountScenario, Changes, Damage, Data, Ending, ErrorBody, Fault, Host, JobLinks, Outcome,
    OutputUrl, Scenario, SimSource,
};
use rustix::process::Signal;
use std::fs;
use std::io::{Read as _, Write as _};

/// With characters that URLs encode.
const KEY: &str = "CanaryKey4711+/=end";
/// A part that is the same in every encoding.
const MARK: &str = "CanaryKey4711";

fn source(name: &str, scenario: Scenario) -> SimSource {
    SimSource::new(crate::harness::ACCESS_ID, name, KEY, Data::first_places(20)).scenario(scenario)
}

fn echo(status: u16) -> Fault {
    Fault::http_with(status, ErrorBody::Echo)
}

fn repeating(status: u16) -> Fault {
    let forms = [
        KEY.to_owned(),
        KEY.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"),
        KEY.replace('+', "%2b").replace('/', "%2f").replace('=', "%3d"),
        KEY.replace('/', "\\/"),
    ];
    let text = forms.map(|key| format!("No such thing: /x?key={key}&more=1, said '{key}'.\n"));
    Fault::http_with(status, ErrorBody::Text(text.concat()))
}

/// Success, failure and redirection, each with a service that repeats its input.
fn sources() -> Vec<SimSource> {
    let default = Scenario::default;
    let mut aborted = Ending::aborted(&format!("Cannot export for {KEY}"));
    if let Ending::Aborted { error_log, .. } = &mut aborted {
        *error_log = Some(format!("GET /REST/v1/x?key={KEY}\nfailed"));
    }
    let mut damaged = source("Damaged", default());
    damaged.data = damaged.data.damaged(Damage::Mismatched);
    vec![
        source("Well", default()),
        source("Redirected", Scenario { output_url: OutputUrl::Redirected, ..default() }),
        source("Stored", Scenario { output_url: OutputUrl::Storage, ..default() }),
        source("Rejected", Scenario { create: vec![echo(400)], ..default() }),
        source("Repeating", Scenario { create: vec![repeating(400)], ..default() }),
        source("Forbidden", Scenario { create: vec![echo(401)], ..default() }),
        source("Unavailable", Scenario { create: vec![echo(500); 9], ..default() }),
        source(
            "Patient",
            Scenario {
                create: vec![repeating(503)],
                status: vec![echo(500), echo(404), Fault::Refused, Fault::LostAnswer],
                result: vec![repeating(500), echo(404), Fault::BrokenHalfway],
                ..default()
            },
        ),
        source("Lost", Scenario { create: vec![Fault::LostAnswer; 9], ..default() }),
        source("Aborted", Scenario { ending: aborted, ..default() }),
        source("Xml", Scenario { status: vec![Fault::Xml; 99], ..default() }),
        source(
            "Elsewhere",
            Scenario {
                status_url: nightjar::simulator::StatusUrl::Elsewhere(format!(
                    "http://127.0.0.1:1/status?key={KEY}"
                )),
                ..default()
            },
        ),
        damaged,
    ]
}

fn is_marked(bytes: &[u8]) -> bool {
    bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes())
}

fn assert_unmarked(what: &str, text: &str) {
    if let Some(line) = text.lines().find(|line| line.contains(MARK)) {
        panic!("the key is in {what}: {line}");
    }
}

fn assert_nowhere_on_disk(setup: &Setup) {
    for path in files(&setup.path("state")) {
        let bytes = fs::read(&path).unwrap();
        assert!(!is_marked(&bytes), "the key is in {}", path.display());
        if path.extension().is_some_and(|it| it == "zst") {
            let unpacked = zstd::decode_all(bytes.as_slice()).unwrap_or_default();
            assert!(!is_marked(&unpacked), "the key is in {}", path.display());
        }
    }
}

fn assert_sent_only_to_the_account(setup: &Setup) {
    let requests = setup.service.requests();
    assert!(requests.iter().any(|it| it.host == Host::Storage), "the storage host was asked");
    for request in requests {
        let text = format!("{} {} {:?}", request.path, request.query, request.headers);
        if request.host == Host::Storage {
            assert!(!request.carries_key && !text.contains(MARK), "{request:?}");
            assert_eq!(request.header("referer"), None);
        } else {
            let headers = format!("{:?}", request.headers);
            assert!(!request.path.contains(MARK) && !headers.contains(MARK), "{request:?}");
        }
    }
}

fn assert_not_in_arguments(process: &Process) {
    let line = fs::read(format!("/proc/{}/cmdline", process.id())).unwrap();
    assert!(!line.is_empty() && !is_marked(&line));
}

fn traced(setup: &Setup, arguments: &[&str]) -> Process {
    let mut command = setup.command(arguments);
    command.env("RUST_LOG", "trace");
    setup.start_command(command)
}

fn setup() -> Setup {
    Setup::of(sources())
        .set("accounts.contoso.max_in_process", 50)
        .set("retry.job_attempts", 2)
        .set("retry.attempts", 6)
        .set("poll.deadline", "10s")
        .set("http.lost_after", "10s")
}

#[test]
fn the_key_leaks_nowhere_when_backups_succeed_or_fail() {
    let setup = setup();
    let check = |what: &str, done: &Done| {
        assert_unmarked(&format!("standard output of {what}"), &done.stdout);
        assert_unmarked(&format!("standard error of {what}"), &done.stderr);
    };
    let backup = traced(&setup, &["backup"]);
    until("the first requests", || (setup.service.requests().len() > 3).then_some(()));
    assert_not_in_arguments(&backup);
    let done = backup.end();
    assert_eq!(done.code, 3, "{}", done.stdout);
    assert!(done.stderr.len() > 2000, "tracing was asked for");
    check("backup", &done);
    for arguments in [
        &["check", "--online", "--json"][..],
        &["status", "--json"],
        &["jobs", "--json"],
        &["jobs"],
        &["snapshots", "--json"],
        &["verify", "--json"],
    ] {
        check(&format!("{arguments:?}"), &traced(&setup, arguments).end());
    }
    let mut states = Vec::new();
    for job in setup.jobs() {
        states.push(format!("{} {}", job["source"], job["state"]));
        let id = job["id"].to_string();
        for form in [&["--json"][..], &[]] {
            check("job", &setup.run(&[&["job", &id], form].concat()));
        }
    }
    for name in ["well", "redirected", "stored", "patient"] {
        assert!(states.contains(&format!("\"{name}\" \"archived\"")), "{states:?}");
    }
    assert_eq!(states.iter().filter(|it| it.contains("failed")).count(), 9, "{states:?}");
    assert_nowhere_on_disk(&setup);
    assert_sent_only_to_the_account(&setup);
}

#[test]
fn the_key_leaks_nowhere_while_a_daemon_runs() {
    let port = free_port();
    let setup = setup().set("web.listen", format!("127.0.0.1:{port}"));
    setup.queue();
    let daemon = traced(&setup, &["daemon"]);
    until("all jobs to end", || {
        setup.jobs().iter().all(|job| job["finished_at"].is_string()).then_some(())
    });
    assert_not_in_arguments(&daemon);
    for path in ["/", "/metrics", "/readyz", "/api/jobs", "/api/sources", "/api/snapshots"] {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        assert!(text.len() > 30 && !is_marked(&text), "the key is on {path}");
    }
    // While the daemon runs, its last writes are in the write-ahead log.
    assert_nowhere_on_disk(&setup);
    let done = daemon.stop(Signal::TERM);
    assert_unmarked("the daemon's output", &(done.stdout + &done.stderr));
    assert_nowhere_on_disk(&setup);
    assert_sent_only_to_the_account(&setup);
}

#[test]
fn a_key_in_the_services_links_is_neither_stored_nor_sent_to_other_hosts() {
    let names = ["Status", "Result", "Stored", "Well"];
    let setup = Setup::of(names.map(|name| source(name, Scenario::default())).into())
        .set("http.lost_after", "100ms")
        .set("retry.job_attempts", 1);
    let (endpoint, storage) = (setup.service.endpoint(), setup.service.storage_host());
    let flow = format!("{endpoint}/dataflows/DataSourceDownload");
    let key = KEY.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let change = |name: &str, scenario| setup.service.set_scenario(name, scenario);
    let default = Scenario::default;
    let status_url =
        nightjar::simulator::StatusUrl::Elsewhere(format!("{flow}/Status?key={key}&a=b"));
    change("Status", Scenario { status_url, pending_polls: 5, ..default() });
    let result = OutputUrl::Elsewhere(format!("{flow}/Result/output/succeeded?key={key}"));
    change("Result", Scenario { output_url: result, ..default() });
    let stored = OutputUrl::Elsewhere(format!("http://{storage}/exports/x.xml?key={key}&sig=1"));
    change("Stored", Scenario { output_url: stored, ..default() });
    change("Well", Scenario { output_url: OutputUrl::Redirected, ..default() });
    let backup = traced(&setup, &["backup"]);
    until("some requests", || (setup.service.requests().len() > 8).then_some(()));
    assert_nowhere_on_disk(&setup);
    let done = backup.end();
    assert_eq!(done.code, 3, "{}", done.stdout);
    assert_unmarked("the output", &(done.stdout + &done.stderr));
    let archived = setup.json(&["jobs", "--state", "archived"]);
    assert_eq!(archived.as_array().unwrap().len(), 3, "{archived}");
    assert_nowhere_on_disk(&setup);
    assert_sent_only_to_the_account(&setup);
}

/// Loads that are refused, fail, and are aborted, by a service that repeats its input.
fn changed_sources() -> Vec<SimSource> {
    let changed = |name, changes| source(name, Scenario { changes, ..Scenario::default() });
    let log = || Some(format!("POST /REST/v1/x?key={KEY}\n2 entities failed for {KEY}"));
    let mut aborted = Ending::aborted(&format!("Cannot load for {KEY}"));
    if let Ending::Aborted { error_log, .. } = &mut aborted {
        *error_log = log();
    }
    let aborted = Outcome { says: aborted, happens: false, ..Outcome::completed() };
    let failed = Outcome { failed_entities: 2, error_log: log(), ..Outcome::completed() };
    let default = Changes::default;
    vec![
        changed("Well", default()),
        changed("Refused", Changes { load: vec![repeating(400)], ..default() }),
        changed("Forbidden", Changes { load: vec![echo(401)], ..default() }),
        changed(
            "Patient",
            Changes {
                load: vec![Fault::LostAnswer],
                status: vec![echo(500), repeating(404), Fault::Refused],
                commit: vec![Fault::LostAnswer],
                ..default()
            },
        ),
        changed("Aborted", Changes { load_outcomes: vec![aborted], ..default() }),
        changed("Failed", Changes { load_outcomes: vec![failed], ..default() }),
        changed("Unlisted", Changes { versions: vec![repeating(500)], ..default() }),
    ]
}

#[test]
fn the_key_leaks_nowhere_when_data_is_put_back() {
    let setup = Setup::of(changed_sources())
        .set("accounts.contoso.max_in_process", 50)
        .set("accounts.contoso.max_jobs_per_day", 500)
        .set("http.lost_after", "1s");
    assert_eq!(setup.run(&["backup"]).code, 0);
    let account = AccountScenario { job_links: JobLinks::WithKey, ..AccountScenario::default() };
    setup.service.set_account(account);
    let run = |arguments: &[&str]| {
        let done = traced(&setup, arguments).end();
        assert_unmarked(&format!("standard output of {arguments:?}"), &done.stdout);
        assert_unmarked(&format!("standard error of {arguments:?}"), &done.stderr);
        done.code
    };
    for (source, code) in [
        ("well", 0),
        ("refused", 1),
        ("forbidden", 1),
        ("patient", 0),
        ("aborted", 1),
        ("failed", 1),
        ("unlisted", 1),
    ] {
        let arguments = ["restore", source, "--to", source, "--publish", "--yes"];
        assert_eq!(run(&arguments), code, "{source}");
        run(&["versions", source]);
        run(&["publish", source, "0123", "--yes"]);
    }
    assert_eq!(run(&["rollback", "well", "--yes"]), 0);
    for job in setup.jobs() {
        assert_unmarked("a job", &job.to_string());
        assert_unmarked("a timeline", &setup.timeline(&job["id"]));
    }
    assert_nowhere_on_disk(&setup);
    for request in setup.service.requests() {
        let headers = format!("{:?}", request.headers);
        assert!(!request.path.contains(MARK) && !headers.contains(MARK), "{request:?}");
    }
}
