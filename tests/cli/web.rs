//! The status page, its API and metrics.

use crate::harness::{Process, Setup, free_port, until};
use nightjar::simulator::{Fault, Scenario};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

pub(crate) struct Page {
    pub(crate) setup: Setup,
    pub(crate) port: u16,
    pub(crate) daemon: Process,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Page {
    pub(crate) fn of(setup: Setup) -> Self {
        Self::started(setup, |setup| setup.start(&["daemon"]))
    }

    /// The page of a daemon that is started differently.
    pub(crate) fn started(setup: Setup, start: impl FnOnce(&Setup) -> Process) -> Self {
        let port = free_port();
        let setup = setup.set("web.listen", format!("127.0.0.1:{port}"));
        let daemon = start(&setup);
        until("the page", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { setup, port, daemon }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &format!("127.0.0.1:{}", self.port))
    }

    fn ask(&self, method: &str, path: &str, host: &str) -> Answer {
        self.send(&format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    }

    /// Sends exactly this and returns the answer.
    pub(crate) fn send(&self, request: &str) -> Answer {
        send(self.port, request)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.port)
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Sends exactly this to a port of this machine and returns the answer.
pub(crate) fn send(port: u16, request: &str) -> Answer {
    let mut stream = connect(port);
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
        unchunked(body)
    } else {
        body.to_owned()
    };
    Answer { status, head: head.to_lowercase(), body }
}

fn unchunked(mut rest: &str) -> String {
    let mut whole = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    whole
}

const ROUTES: [&str; 7] =
    ["/", "/healthz", "/readyz", "/metrics", "/api/jobs", "/api/sources", "/api/snapshots"];

#[test]
fn every_route_answers() {
    let setup = Setup::healthy();
    setup.backup();
    let page = Page::of(setup);
    for route in ROUTES {
        assert_eq!(page.get(route).status, 200, "{route}");
    }
    let home = page.get("/");
    assert!(home.head.contains("content-type: text/html"));
    assert!(home.body.contains("stores"));
    assert_eq!(page.get("/nowhere").status, 404);
    assert_eq!(page.ask("POST", "/api/jobs", "localhost").status, 405);
}

#[test]
fn a_source_a_job_and_a_snapshot_have_pages_that_link_to_each_other() {
    let setup = Setup::healthy();
    setup.backup();
    let manifest = setup.manifest();
    let name = setup.manifests("stores")[0].file_stem().unwrap().to_str().unwrap().to_owned();
    let data = std::fs::read(setup.archive("stores").join(format!("{name}.xml.zst"))).unwrap();
    let page = Page::of(setup);
    let home = page.get("/").body;
    assert!(home.contains("The source is protected.") && home.contains("href=\"/sources/stores\""));
    assert!(home.contains("stores, 365 nights: 1 good"), "{home}");
    let source = page.get("/sources/stores").body;
    let href = format!("/snapshots/stores/{name}");
    assert!(source.contains(&format!("href=\"{href}\"")), "{source}");
    let job = page.get("/jobs/1").body;
    assert!(job.contains("created by hand") && job.contains(&format!("href=\"{href}\"")), "{job}");
    let snapshot = page.get(&href).body;
    assert!(snapshot.contains(manifest["content"]["sha256"].as_str().unwrap()), "{snapshot}");
    assert!(snapshot.contains("20 places between") && snapshot.contains("xs:double"));
    let listed = page.get("/jobs?source=stores&state=archived").body;
    assert!(listed.contains("href=\"/jobs/1\""), "{listed}");
    assert!(!page.get("/jobs?state=failed").body.contains("href=\"/jobs/1\""));

    let raw = page.get(&format!("{href}/manifest"));
    assert_eq!(serde_json::from_str::<Value>(&raw.body).unwrap(), manifest);
    assert!(raw.head.contains("content-disposition: attachment; filename=\""), "{}", raw.head);
    let head = page.ask("HEAD", &format!("{href}/data"), "localhost");
    assert!(head.head.contains(&format!("content-length: {}\r\n", data.len())), "{}", head.head);
    let head = page.ask("HEAD", &format!("{href}/export/csv"), "localhost");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(!head.head.to_lowercase().contains("content-length"), "{}", head.head);
    let foreign = "localhost\r\nSec-Fetch-Site: cross-site";
    assert_eq!(page.ask("GET", &format!("{href}/data"), foreign).status, 403);
    for path in [
        "/sources/unknown",
        "/jobs/99",
        "/jobs/x",
        "/snapshots/stores/20200101T000000Z-1",
        "/snapshots/..%2f..%2fstate/nightjar.db",
        &format!("/snapshots/..%2fstores/{name}"),
        &format!("/snapshots/stores%2f..%2fstores/{name}/data"),
        "/snapshots/stores/..%2f..%2f..%2fcontoso.key/data",
    ] {
        assert_eq!(page.get(path).status, 404, "{path}");
    }
}

#[test]
fn a_configured_token_is_required() {
    let setup = Setup::healthy();
    crate::harness::private_file(&setup.path("page.token"), "t0ken\n");
    let token = setup.path("page.token").display().to_string();
    let page = Page::of(setup.set("web.token_file", token));
    let ask = |more: &str| page.ask("GET", "/api/jobs", &format!("backup.example.org{more}"));
    let refused = ask("");
    assert_eq!(refused.status, 401);
    assert!(refused.head.contains("www-authenticate: basic realm"), "{}", refused.head);
    for (credentials, status) in [
        ("Bearer t0ken", 200),
        ("bearer t0ken", 200),
        ("Basic YW55Ym9keTp0MGtlbg==", 200),
        ("Basic YW55Ym9keTp0MGtlbjI=", 401),
        ("Bearer t0ke", 401),
        ("Basic nonsense", 401),
        ("t0ken", 401),
    ] {
        assert_eq!(
            ask(&format!("\r\nAuthorization: {credentials}")).status,
            status,
            "{credentials}"
        );
    }
}

#[test]
fn a_token_that_no_header_can_carry_is_refused_at_the_start_and_in_a_check() {
    let setup = Setup::healthy();
    crate::harness::private_file(&setup.path("page.token"), "t0ken \n");
    let token = setup.path("page.token").display().to_string();
    let setup = setup.set("web.listen", "127.0.0.1:0").set("web.token_file", token);
    for command in ["check", "daemon"] {
        let done = setup.run(&[command]);
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.stderr.contains("it begins or ends with a blank"), "{done:?}");
        assert!(!done.stderr.contains("t0ken"), "{done:?}");
    }
}

#[test]
fn a_socket_file_is_served_and_removed() {
    use std::os::unix::net::UnixStream;
    let setup = Setup::healthy();
    let path = setup.path("page.sock");
    // A stale file of a killed daemon is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let setup = setup.set("web.listen", format!("unix:{}", path.display()));
    let daemon = setup.start(&["daemon"]);
    let mut stream = until("the page", || UnixStream::connect(&path).ok());
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: proxy.example\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("ok\n"), "{text}");
    daemon.stop(rustix::process::Signal::TERM);
    assert!(!path.exists());
}

#[test]
fn pages_load_nothing_from_other_hosts() {
    let setup = Setup::healthy();
    setup.backup();
    let page = Page::of(setup);
    let home = page.get("/");
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(home.head.contains(part), "{part}: {}", home.head);
    }
    for part in ["style=", "http:", "https:", "//"] {
        assert!(!home.body.contains(part), "{part}");
    }
    for asset in ["/style.css", "/live.js"] {
        assert_eq!(page.get(asset).status, 200, "{asset}");
        assert!(home.body.contains(asset), "{asset}");
    }
}

#[test]
fn live_jobs_are_streamed_as_they_change() {
    let page = Page::of(Setup::with(Scenario { pending_polls: 2, ..Scenario::default() }));
    let mut stream = TcpStream::connect(("127.0.0.1", page.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut text = String::new();
    let mut more = |text: &mut String| {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).unwrap();
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
    };
    while !text.contains("\r\n\r\n") {
        more(&mut text);
    }
    assert!(text.to_lowercase().contains("content-type: text/event-stream"), "{text}");
    page.setup.queue();
    while !text.contains("\"state\":\"archived\"") {
        more(&mut text);
    }
    for part in ["event: moved", "event: receiving", "\"state\":\"waiting\""] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_page_answers_with_the_json_of_the_commands() {
    let setup = Setup::healthy();
    setup.backup();
    setup.backup();
    let page = Page::of(setup);
    // After its start, a daemon stores when the source is next due.
    for (route, command) in
        [("/api/jobs", "jobs"), ("/api/sources", "status"), ("/api/snapshots", "snapshots")]
    {
        let answer = page.get(route);
        assert!(answer.head.contains("content-type: application/json"), "{route}");
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(answer, page.setup.json(&[command]), "{route}");
    }
}

#[test]
fn a_foreign_host_is_refused_everywhere() {
    let setup = Setup::healthy();
    setup.backup();
    let page = Page::of(setup);
    for route in ROUTES {
        for host in ["example.org", "example.org:80", "127.0.0.1.example.org", "10.1.2.3"] {
            let answer = page.ask("GET", route, host);
            assert!((400..500).contains(&answer.status), "{route} for {host}: {}", answer.status);
            assert!(!answer.body.contains("stores"), "{route} for {host}");
        }
    }
    let port = page.port;
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
        assert_eq!(page.ask("GET", "/healthz", &host).status, 200, "{host}");
    }
}

#[test]
fn a_failed_last_job_makes_it_unready_and_leaves_it_healthy() {
    let page =
        Page::of(Setup::with(Scenario { create: vec![Fault::http(400)], ..Scenario::default() }));
    assert_eq!(page.get("/readyz").status, 200, "nothing was due yet");
    assert_eq!(page.setup.run(&["backup"]).code, 1);
    until("it to be unready", || (page.get("/readyz").status == 503).then_some(()));
    assert_eq!(page.get("/healthz").status, 200);
    page.setup.backup();
    until("it to be ready again", || (page.get("/readyz").status == 200).then_some(()));
}

#[test]
fn an_overdue_source_makes_it_unready() {
    let setup = Setup::healthy()
        .set("sources.stores.schedule", "* * * * * *")
        .set("sources.stores.grace", "1s");
    let page = Page::of(setup);
    page.setup.job_when("a scheduled backup", |job| job["state"] == "archived");
    // From now on jobs neither fail nor end.
    let ending = nightjar::simulator::Ending::Never;
    page.setup.service.set_scenario("Stores", Scenario { ending, ..Scenario::default() });
    until("it to be unready", || (page.get("/readyz").status == 503).then_some(()));
    assert_eq!(page.get("/healthz").status, 200);
    assert_eq!(page.setup.json(&["status"])[0]["health"], "overdue");
}

#[test]
fn the_metrics_have_their_names_and_labels() {
    let setup = Setup::healthy();
    setup.backup();
    setup
        .service
        .set_scenario("Stores", Scenario { create: vec![Fault::http(400)], ..Scenario::default() });
    assert_eq!(setup.run(&["backup"]).code, 1);
    let page = Page::of(setup);
    let metrics = page.get("/metrics").body;
    let value = |name: &str, labels: &[&str]| -> Option<f64> {
        let line = metrics.lines().find(|line| {
            line.starts_with(&format!("{name}{{")) && labels.iter().all(|it| line.contains(it))
        })?;
        line.rsplit_once(' ')?.1.parse().ok()
    };
    let stores = "source=\"stores\"";
    let last = value("nightjar_last_success_timestamp_seconds", &[stores]);
    let ago = crate::harness::now().timestamp_millis() as f64 / 1000.0 - last.expect(&metrics);
    assert!((0.0..60.0).contains(&ago), "{metrics}");
    assert_eq!(value("nightjar_snapshot_entities", &[stores]), Some(20.0), "{metrics}");
    let bytes = nightjar::simulator::Data::first_places(20).length() as f64;
    assert_eq!(value("nightjar_snapshot_bytes", &[stores]), Some(bytes), "{metrics}");
    for (state, number) in [("archived", 1.0), ("failed", 1.0)] {
        let state = format!("state=\"{state}\"");
        assert_eq!(value("nightjar_jobs_total", &[stores, &state]), Some(number), "{metrics}");
    }
    for state in ["queued", "waiting", "ready"] {
        let state = format!("state=\"{state}\"");
        assert_eq!(value("nightjar_jobs_live", &[&state]), Some(0.0), "{metrics}");
    }
    for line in metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        assert!(line.rsplit_once(' ').unwrap().1.parse::<f64>().is_ok(), "{line}");
    }
}

/// The names of this program's metrics in a text.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_part(c))
        .filter(|word| word.starts_with("nightjar_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn rules_dashboard_and_documentation_name_existing_metrics() {
    let setup = Setup::healthy();
    setup.backup();
    let page = Page::of(setup);
    let there = metrics_in(&page.get("/metrics").body);
    assert!(there.len() > 15, "{there:?}");
    let documented = metrics_in(include_str!("../../docs/monitoring.md"));
    for (name, text) in [
        ("rules", include_str!("../../docs/monitoring/alerts.yml")),
        ("dashboard", include_str!("../../docs/monitoring/dashboard.json")),
        ("page", include_str!("../../docs/monitoring.md")),
    ] {
        let named = metrics_in(text);
        assert!(named.len() > 5, "{name}: {named:?}");
        for metric in named {
            assert!(there.contains(&metric), "{name}: {metric}");
        }
    }
    let of_histogram = |metric: &str| metric.starts_with("nightjar_job_duration_seconds_");
    for metric in there.iter().filter(|metric| !of_histogram(metric)) {
        assert!(documented.contains(metric), "{metric} is not documented");
    }
}

/// The names of the labels in braces.
fn labels_in(braces: &str) -> BTreeSet<String> {
    let names = braces.split(',').filter_map(|label| label.split('=').next());
    names.filter(|name| *name != "le").map(str::to_owned).collect()
}

#[test]
fn the_labels_of_every_metric_are_documented() {
    let setup = Setup::healthy();
    setup.backup();
    // Nothing has changed since the one before.
    setup.backup();
    let page = Page::of(setup);
    // Only the daemon's first look gives these metrics a value, and a scrape may come between.
    let metrics = until("the first look", || {
        let metrics = page.get("/metrics").body;
        let of_looks = ["nightjar_sources_unprotected{", "nightjar_source_vanished{"];
        of_looks.iter().all(|name| metrics.contains(name)).then_some(metrics)
    });
    let mut there: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let series = line.rsplit_once(' ').unwrap().0.trim_end_matches('}');
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let parts = ["_bucket", "_sum", "_count"];
        let name = parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
        there.entry(name).or_default().extend(labels_in(labels));
    }
    let page = include_str!("../../docs/monitoring.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `nightjar_"));
    let documented: BTreeMap<_, _> = rows
        .map(|row| {
            let metric = row.split('`').next().unwrap().trim_end_matches('}');
            let (name, labels) = metric.split_once('{').unwrap_or((metric, ""));
            (format!("nightjar_{name}"), labels_in(labels))
        })
        .collect();
    let there: BTreeMap<_, _> = there.into_iter().map(|(name, of)| (name.to_owned(), of)).collect();
    assert_eq!(documented, there);
}

#[test]
fn metrics_come_in_the_requested_format() {
    let setup = Setup::healthy();
    setup.backup();
    let page = Page::of(setup);
    let plain = page.get("/metrics");
    assert!(plain.head.contains("content-type: text/plain; version=0.0.4"), "{}", plain.head);
    assert!(!plain.body.contains("# EOF"));
    assert!(plain.body.contains("nightjar_snapshot_entities{source=\"stores\"} 20\n"));
    assert!(
        plain.body.contains("nightjar_job_duration_seconds_bucket{source=\"stores\",le=\"10\"} 1")
    );
    let accept = "localhost\r\nAccept: application/openmetrics-text;version=1.0.0,*/*;q=0.1";
    let open = page.ask("GET", "/metrics", accept);
    assert!(open.head.contains("content-type: application/openmetrics-text"), "{}", open.head);
    assert!(open.body.ends_with("# EOF\n"));
}

#[test]
fn hostile_text_of_the_service_is_no_markup_on_the_page() {
    let setup = Setup::with(Scenario {
        ending: nightjar::simulator::Ending::aborted("<script>alert(1)</script>"),
        ..Scenario::default()
    })
    .set("retry.job_attempts", 1);
    assert_eq!(setup.run(&["backup"]).code, 1);
    let page = Page::of(setup);
    let home = page.get("/");
    assert!(home.body.contains("script&gt;alert(1)"), "{}", home.body);
    assert!(!home.body.contains("<script>alert"), "{}", home.body);
}
