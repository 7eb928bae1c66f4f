//! The status page under attack: half-sent requests, stalled readers, more requests than it can
//! answer, and forged requests. Backups are not affected. All traffic stays on loopback and is
//! limited in number and time.

use crate::harness::{Process, Setup, names, private_file, until};
use crate::web::{Page, send};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A setup with this many failed jobs beside the first, archived one.
fn with_history(jobs: u32) -> Setup {
    let setup = Setup::healthy();
    setup.backup();
    add_history(&setup, jobs);
    setup
}

fn add_history(setup: &Setup, jobs: u32) {
    use sqlx::Connection as _;
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(setup.path("state/nightjar.db"));
    setup.block_on(async {
        let mut database = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query(
            "INSERT INTO jobs (source, account, state, trigger, created_at, finished_at, due_at, \
             error_kind, error_message) \
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
             SELECT 'stores', 'contoso', 'failed', 'manual', i, i, i, 'rejected', \
             printf('%.300c', 'x') FROM n",
        )
        .bind(jobs)
        .execute(&mut database)
        .await
        .unwrap();
        database.close().await.unwrap();
    });
}

/// A daemon with a low limit of open files.
fn with_files(setup: &Setup, files: u32) -> Process {
    let plain = setup.command(&["daemon"]);
    let mut command = Command::new("sh");
    command.env_clear().env("PATH", "/usr/bin:/bin").current_dir(setup.path(""));
    command.arg("-c").arg(format!("ulimit -n {files} && exec \"$0\" \"$@\""));
    command.arg(plain.get_program()).args(plain.get_args());
    setup.start_command(command)
}

/// Makes the daemon back up once, and checks that nothing disturbed it.
fn back_up_undisturbed(setup: &Setup) {
    let ids = setup.queue();
    let job = until("the backup", || {
        let job = setup.json(&["job", &ids[0].to_string()]);
        job["finished_at"].is_string().then_some(job)
    });
    assert_eq!(job["state"], "archived", "{job:#}");
    assert_eq!(job["attempts"], 1, "{job:#}");
    for event in job["timeline"].as_array().unwrap() {
        assert!(!["retry", "storage"].contains(&event["kind"].as_str().unwrap()), "{job:#}");
    }
}

fn log_is_quiet(daemon: &Process) {
    let log = daemon.stderr();
    for word in ["\"level\":\"ERROR\"", "\"level\":\"WARN\"", "panicked"] {
        assert!(!log.contains(word), "{log}");
    }
}

/// Resident memory in KiB.
fn memory(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn half_sent_requests_block_neither_readers_nor_backups() {
    let page = Page::started(Setup::healthy(), |setup| with_files(setup, 100));
    let half_sent: Vec<TcpStream> = (0..300)
        .map(|number| {
            let mut stream = page.connect();
            // Some have sent nothing at all.
            if number % 3 > 0 {
                stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n").unwrap();
            }
            stream
        })
        .collect();
    back_up_undisturbed(&page.setup);
    assert_eq!(page.get("/healthz").status, 200);
    assert_eq!(page.get("/api/jobs").status, 200);
    log_is_quiet(&page.daemon);
    drop(half_sent);
}

#[test]
fn a_socket_file_has_the_same_limits() {
    let setup = Setup::healthy();
    let path = setup.path("page.sock");
    let setup = setup.set("web.listen", format!("unix:{}", path.display()));
    let daemon = with_files(&setup, 100);
    let connect = || {
        // Unlike an address, a socket file refuses connections when too many are waiting.
        let stream = until("a connection", || UnixStream::connect(&path).ok());
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    let half_sent: Vec<UnixStream> = (0..200)
        .map(|_| {
            let mut stream = connect();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: proxy.example\r\n").unwrap();
            stream
        })
        .collect();
    back_up_undisturbed(&setup);
    for (hosts, status) in
        [("Host: proxy.example\r\n", 200), ("Host: a.example\r\nHost: b.example\r\n", 400)]
    {
        let mut stream = connect();
        write!(stream, "GET /api/jobs HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
    }
    log_is_quiet(&daemon);
    drop(half_sent);
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
    assert!(!path.exists());
}

#[test]
fn an_incomplete_request_times_out() {
    let page = Page::of(Setup::healthy());
    let mut stream = page.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-More: ").unwrap();
    let begun = Instant::now();
    // Sending a little more now and then does not help.
    let ended = until("its end", || {
        let _ = stream.write_all(b"x");
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        match stream.read(&mut [0; 256]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            ended => Some(ended),
        }
    });
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert!(begun.elapsed() > Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn stalled_readers_use_little_memory_and_are_evicted() {
    let page = Page::of(with_history(12_000));
    assert_eq!(page.get("/api/jobs?limit=10000").status, 200);
    let before = memory(&page.daemon);
    let stalled: Vec<TcpStream> = (0..200)
        .map(|number| {
            let mut stream = page.connect();
            let path = ["/api/jobs?limit=10000", "/jobs", "/api/snapshots", "/"][number % 4];
            write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            stream
        })
        .collect();
    // Other readers get answers meanwhile.
    for path in ["/", "/jobs", "/api/jobs?limit=10000", "/metrics", "/api/sources"] {
        assert_eq!(page.get(path).status, 200, "{path}");
    }
    back_up_undisturbed(&page.setup);
    let grown = memory(&page.daemon).saturating_sub(before);
    assert!(grown < 48 << 10, "grown by {grown} KiB");
    log_is_quiet(&page.daemon);
    drop(stalled);
}

#[test]
fn a_flooded_page_does_not_disturb_backups() {
    let page = Page::of(with_history(12_000));
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..24 {
            let (port, over, answered) = (page.port, &over, &answered);
            scope.spawn(move || {
                let paths = [
                    "/",
                    "/jobs",
                    "/sources/stores",
                    "/api/jobs?limit=10000",
                    "/metrics",
                    "/jobs?state=archived&source=stores",
                ];
                for path in paths.iter().cycle().skip(number).take(3000) {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let answer = send(
                        port,
                        &format!(
                            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                        ),
                    );
                    assert!([200, 503].contains(&answer.status), "{path}: {}", answer.status);
                    assert!(
                        answer.status == 200 || answer.head.contains("retry-after: "),
                        "{path}: {}",
                        answer.head
                    );
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..5 {
            back_up_undisturbed(&page.setup);
        }
        assert_eq!(page.get("/healthz").status, 200);
        over.store(true, Ordering::Relaxed);
    });
    assert!(answered.into_inner() > 24);
    log_is_quiet(&page.daemon);
    let Page { setup, daemon, .. } = page;
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
    drop(setup);
}

#[test]
fn event_streams_leave_most_connections_to_others() {
    let setup = Setup::healthy();
    setup.backup();
    // 96 files are 24 connections, 6 of them for event streams.
    let page = Page::started(setup, |setup| with_files(setup, 96));
    let mut followers = Vec::new();
    let mut refused = 0;
    for _ in 0..24 {
        let mut stream = page.connect();
        write!(stream, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        match &head {
            b"HTTP/1.1 200" => followers.push(stream),
            b"HTTP/1.1 503" => refused += 1,
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }
    assert_eq!((followers.len(), refused), (6, 18));
    assert_eq!(page.get("/healthz").status, 200);
}

#[test]
fn open_connections_do_not_delay_a_stop() {
    let page = Page::of(with_history(5000));
    let open: Vec<TcpStream> = ["/events", "/api/jobs?limit=10000", "/healthz", ""]
        .into_iter()
        .map(|path| {
            let mut stream = page.connect();
            if !path.is_empty() {
                write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
                assert!(stream.read(&mut [0; 64]).unwrap() > 0);
            }
            stream
        })
        .collect();
    let Page { setup, daemon, .. } = page;
    let stopped = daemon.stop(Signal::TERM);
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert!(!stopped.stderr.contains("panicked"), "{stopped:?}");
    assert!(!names(&setup.path("state")).contains(&"nightjar.db-wal".to_owned()), "left open");
    drop(open);
}

#[test]
fn a_request_that_names_another_host_in_any_way_is_refused() {
    let setup = Setup::healthy();
    setup.backup();
    let page = Page::of(setup);
    let port = page.port;
    let here = format!("127.0.0.1:{port}");
    for (request, status) in [
        (format!("GET /api/jobs HTTP/1.1\r\nHost: {here}\r\n"), 200),
        (format!("GET http://{here}/api/jobs HTTP/1.1\r\nHost: {here}\r\n"), 200),
        (format!("GET /api/jobs HTTP/1.1\r\nHost: [::1]:{port}\r\n"), 200),
        (format!("GET /api/jobs HTTP/1.1\r\nHost: LOCALHOST:{port}\r\n"), 200),
        (format!("GET /api/jobs HTTP/1.1\r\nHost: {here}\r\nHost: evil.example\r\n"), 400),
        (format!("GET /api/jobs HTTP/1.1\r\nHost: evil.example\r\nHost: {here}\r\n"), 400),
        (format!("GET /api/jobs HTTP/1.1\r\nHost: {here}\r\nHost: {here}\r\n"), 400),
        ("GET /api/jobs HTTP/1.1\r\n".to_owned(), 400),
        ("GET /api/jobs HTTP/1.0\r\n".to_owned(), 403),
        ("GET /api/jobs HTTP/1.1\r\nHost:\r\n".to_owned(), 403),
        (format!("GET http://evil.example/api/jobs HTTP/1.1\r\nHost: {here}\r\n"), 403),
        (format!("GET http://evil.example:{port}/api/jobs HTTP/1.1\r\nHost: {here}\r\n"), 403),
        (format!("GET http://{here}/api/jobs HTTP/1.1\r\nHost: evil.example\r\n"), 403),
        (format!("GET /api/jobs HTTP/1.1\r\nHost: localhost.:{port}\r\n"), 403),
        (format!("GET /api/jobs HTTP/1.1\r\nHost: evil.example.:{port}\r\n"), 403),
        (format!("GET /api/jobs HTTP/1.1\r\nHost: [::1].evil.example:{port}\r\n"), 403),
        (format!("GET /api/jobs HTTP/1.1\r\nHost: localhost:{port}@evil.example\r\n"), 403),
    ] {
        let answer = page.send(&format!("{request}Connection: close\r\n\r\n"));
        assert_eq!(answer.status, status, "{request}");
        assert_eq!(answer.body.contains("stores"), status == 200, "{request}");
        for header in ["content-security-policy: ", "cache-control: no-store", "nosniff"] {
            assert!(answer.head.contains(header), "{request}: {}", answer.head);
        }
    }
}

#[test]
fn odd_requests_are_answered_cheaply() {
    let setup = Setup::healthy();
    setup.backup();
    let page = Page::of(setup);
    let long = "x".repeat(5000);
    let endless = "x".repeat(70_000);
    for (line, statuses) in [
        ("HEAD /", &[200][..]),
        ("HEAD /api/jobs?limit=10000", &[200]),
        ("POST /api/jobs", &[405]),
        ("DELETE /jobs/1", &[405]),
        ("BREW /", &[405]),
        ("OPTIONS *", &[405]),
        ("CONNECT localhost:80", &[400, 405]),
        ("GET /api/jobs?limit=0", &[200]),
        ("GET /api/jobs?limit=4294967295", &[200]),
        ("GET /api/jobs?limit=99999999999999999999", &[400]),
        ("GET /api/jobs?limit=-1", &[400]),
        ("GET /api/jobs?limit=1&limit=2", &[400]),
        ("GET /api/jobs?state=%00", &[400]),
        ("GET /api/jobs?source=%ff%fe%00", &[200]),
        ("GET /jobs?source=%ff&state=%zz", &[200]),
        ("GET /jobs/%ff%fe", &[400]),
        ("GET /jobs/-9223372036854775809", &[404]),
        ("GET /jobs/9223372036854775807", &[404]),
        ("GET /snapshots/%2e%2e/%2e%2e", &[404]),
        ("GET /snapshots/stores/%00/data", &[404]),
        ("GET //evil.example/", &[404]),
        (&format!("GET /jobs?source={long}"), &[414]),
        (&format!("GET /{endless}"), &[414, 431]),
    ] {
        let begun = Instant::now();
        let answer =
            page.send(&format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        let shown: String = line.chars().take(60).collect();
        assert!(statuses.contains(&answer.status), "{shown}: {}", answer.status);
        assert!(begun.elapsed() < Duration::from_secs(5), "{shown}: {:?}", begun.elapsed());
        assert!(!line.starts_with("HEAD") || answer.body.is_empty(), "{shown}");
    }
    let many = "X-One: 1\r\n".repeat(300);
    let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    assert_eq!(page.send(&head).status, 431);
    log_is_quiet(&page.daemon);
}

#[test]
fn a_request_body_is_not_read() {
    let page = Page::of(Setup::healthy());
    for (line, status) in [("GET /healthz", 200), ("POST /healthz", 405)] {
        let mut stream = page.connect();
        write!(stream, "{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {text}");
        assert!(text.to_lowercase().contains("connection: close"), "{line}: {text}");
    }
}

#[test]
fn a_long_list_equals_the_commands_output() {
    let page = Page::of(with_history(230));
    for limit in [0, 1, 49, 50, 51, 100, 150, 231, 10_000] {
        for filter in ["", "&source=stores", "&state=failed", "&source=stores&state=failed"] {
            let listed = page.get(&format!("/api/jobs?limit={limit}{filter}"));
            let listed: Value = serde_json::from_str(&listed.body).unwrap();
            let mut command = vec!["jobs", "--limit"];
            let limit = limit.to_string();
            command.push(&limit);
            for part in filter.split('&').filter(|part| !part.is_empty()) {
                let (name, value) = part.split_once('=').unwrap();
                command.push(if name == "source" { "--source" } else { "--state" });
                command.push(value);
            }
            assert_eq!(listed, page.setup.json(&command), "{limit}{filter}");
        }
    }
}

#[test]
fn only_regular_files_of_the_archive_are_served() {
    let setup = Setup::healthy();
    setup.backup();
    private_file(&setup.path("secret"), "a secret\n");
    let manifest = setup.manifests("stores")[0].clone();
    let name = manifest.file_stem().unwrap().to_str().unwrap().to_owned();
    let data = manifest.with_file_name(format!("{name}.xml.zst"));
    let length = std::fs::metadata(&data).unwrap().len();
    let page = Page::of(setup);
    let href = format!("/snapshots/stores/{name}");
    let secret = page.setup.path("secret");
    let text = std::fs::read_to_string(&manifest).unwrap();

    // A manifest that names another file.
    let up = "../../../secret";
    let hostile = text.replace(&format!("{name}.xml.zst"), up);
    assert_ne!(hostile, text);
    std::fs::write(&manifest, &hostile).unwrap();
    for path in [href.clone(), format!("{href}/data"), format!("{href}/manifest")] {
        let answer = page.get(&path);
        assert_eq!((answer.status, answer.body.contains("a secret")), (404, false), "{path}");
    }
    std::fs::write(&manifest, &text).unwrap();

    let whole = page.send(&format!(
        "HEAD {href}/data HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    ));
    assert!(whole.head.contains(&format!("content-length: {length}\r\n")), "{}", whole.head);

    // A link in place of the data, then something that is not a file.
    std::fs::remove_file(&data).unwrap();
    symlink(&secret, &data).unwrap();
    let answer = page.get(&format!("{href}/data"));
    assert_eq!((answer.status, answer.body.contains("a secret")), (404, false));
    std::fs::remove_file(&data).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &data, rustix::fs::Mode::RUSR).unwrap();
    assert_eq!(page.get(&format!("{href}/data")).status, 404);

    // A link in place of the manifest.
    std::fs::remove_file(&manifest).unwrap();
    symlink(&secret, &manifest).unwrap();
    let answer = page.get(&format!("{href}/manifest"));
    assert_eq!((answer.status, answer.body.contains("a secret")), (404, false));
}
