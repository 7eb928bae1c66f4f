//! How much nights change, on the page, in `status` and in metrics; and what the page exports.

use crate::harness::{Setup, until};
use crate::web::Page;
use nightjar::simulator::Data;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

/// A source that is backed up once for each of these documents.
fn nights(documents: &[Data]) -> Setup {
    let setup = Setup::healthy();
    for document in documents {
        setup.service.set_data("Stores", document.clone());
        setup.backup();
    }
    setup
}

/// Twenty places; 25 of which two have another name; the same again.
fn three_nights() -> Setup {
    let first = Data::first_places(20);
    let second =
        Data::first_places(25).edited(|text| text.replacen("</Name>", "&lt;b&gt;</Name>", 2));
    nights(&[first, second.clone(), second])
}

/// The names of the snapshots, oldest first.
fn snapshots(setup: &Setup) -> Vec<String> {
    let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    setup.manifests("stores").iter().map(|path| stem(path)).collect()
}

fn changes(setup: &Setup) -> Value {
    setup.json(&["status"])[0]["changes"].clone()
}

#[test]
fn a_backup_counts_what_has_changed_since_the_one_before() {
    let setup = nights(&[Data::first_places(20)]);
    assert_eq!(changes(&setup), Value::Null, "there is none before it");
    setup.service.set_data("Stores", Data::first_places(17));
    setup.backup();
    assert_eq!(changes(&setup), json!({ "added": 0, "removed": 3, "changed": 0 }));
    let text = setup.run(&["status"]).stdout;
    assert!(text.contains("CHANGES") && text.contains("+0 -3 ~0"), "{text}");
    setup.backup();
    assert_eq!(changes(&setup), json!({ "added": 0, "removed": 0, "changed": 0 }));
    // What is stored is only a copy: without it, it is counted again.
    fs::remove_file(setup.path("state/nightjar.db")).unwrap();
    assert_eq!(setup.run(&["reindex"]).code, 0);
    assert_eq!(changes(&setup), json!({ "added": 0, "removed": 0, "changed": 0 }));
    setup.service.set_data("Stores", Data::first_places(20));
    setup.backup();
    assert_eq!(changes(&setup), json!({ "added": 3, "removed": 0, "changed": 0 }));
}

#[test]
fn a_daemon_counts_every_night_and_the_page_shows_it() {
    let setup = three_nights();
    let names = snapshots(&setup);
    // Counted again by the daemon.
    fs::remove_file(setup.path("state/nightjar.db")).unwrap();
    assert_eq!(setup.run(&["reindex"]).code, 0);
    let page = Page::of(setup);
    let counted = "nightjar_snapshot_changes{source=\"stores\",kind=\"added\"} 0";
    until("the newest night", || page.get("/metrics").body.contains(counted).then_some(()));
    let sentence = "5 added, 0 removed, 2 changed";
    let source = until("all nights", || {
        Some(page.get("/sources/stores").body).filter(|body| body.contains(sentence))
    });
    assert!(source.contains("Changes: 0 added, 0 removed, 0 changed in the newest"), "{source}");
    assert!(source.contains("<rect class=\"added\"") && source.contains("<rect class=\"changed\""));
    assert!(page.get("/").body.contains("<dt>Changes</dt>"));
    // Both nights with the new content are compared with the first.
    for name in &names[1..] {
        let href = format!("/snapshots/stores/{name}");
        let shown = until("the comparison", || {
            Some(page.get(&href).body)
                .filter(|body| body.contains("of the first") || body.contains("Where"))
        });
        let link = format!("href=\"/snapshots/stores/{}\"", names[0]);
        assert!(shown.contains(&link) && shown.contains(sentence), "{shown}");
        assert!(shown.contains("18 unchanged"), "{shown}");
        assert!(shown.contains("&lt;b&gt;") && !shown.contains("<b>"), "{shown}");
        assert!(shown.contains("places: 5 added, 0 removed, 2 changed between"), "{shown}");
        assert_eq!(shown.matches("<span class=\"mark changed\">").count(), 2, "{shown}");
    }
    let oldest = page.get(&format!("/snapshots/stores/{}", names[0])).body;
    assert!(oldest.contains("There is no earlier snapshot with other content."), "{oldest}");
    // A new night is counted soon after it is archived.
    page.setup.service.set_data("Stores", Data::first_places(24));
    let id = page.setup.queue()[0];
    page.setup.job_when("the new night", |job| job["id"] == id && job["state"] == "archived");
    let expected = json!({ "added": 0, "removed": 1, "changed": 2 });
    until("its changes", || (changes(&page.setup) == expected).then_some(()));
}

#[test]
fn a_damaged_or_removed_snapshot_before_is_said_on_the_page() {
    let setup = nights(&[10, 11, 12].map(Data::first_places));
    let (names, files) = (snapshots(&setup), setup.manifests("stores"));
    let page = Page::of(setup);
    let href = |at: usize| format!("/snapshots/stores/{}", names[at]);
    let data = files[0].with_extension("xml.zst");
    let length = fs::metadata(&data).unwrap().len();
    fs::write(&data, vec![0; usize::try_from(length).unwrap()]).unwrap();
    let shown = until("the comparison", || {
        Some(page.get(&href(1)).body).filter(|body| body.contains("cannot be shown"))
    });
    assert!(shown.contains("is damaged"), "{shown}");
    assert!(shown.contains("1 added, 0 removed, 0 changed"), "the counts are stored: {shown}");
    fs::remove_file(&files[1]).unwrap();
    assert_eq!(page.get(&href(1)).status, 404);
    let shown = page.get(&href(2)).body;
    assert!(shown.contains(&format!("href=\"{}\"", href(0))), "{shown}");
    assert!(!shown.contains("1 added, 0 removed, 0 changed"), "it had another one before: {shown}");
}

#[test]
fn more_changes_than_max_change_make_a_night_suspicious() {
    let setup = nights(&[Data::first_places(20)]).set("sources.stores.max_change", 0.3);
    setup.service.set_data("Stores", Data::first_places(27));
    let done = setup.backup();
    let reason = "7 added, 0 removed and 0 changed of 20 entities before: 35 %, more than \
                  max_change = 0.3";
    assert_eq!(setup.manifest()["suspicious"], json!([reason]), "{done:?}");
    assert_eq!(setup.json(&["status"])[0]["health"], "suspicious");
    assert_eq!(changes(&setup)["added"], 7);
    setup.service.set_data("Stores", Data::first_places(26));
    setup.backup();
    assert_eq!(setup.manifest()["suspicious"], json!([]), "six of twenty are allowed");
}

/// The bytes of an answer, head and all, however it ends.
fn raw(port: u16, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut bytes = Vec::new();
    // A connection that breaks ends it too.
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

fn is_complete(answer: &[u8]) -> bool {
    answer.ends_with(b"\r\n0\r\n\r\n")
}

#[test]
fn exports_are_those_of_the_command() {
    let setup = three_nights();
    let name = snapshots(&setup).pop().unwrap();
    let page = Page::of(setup);
    let href = format!("/snapshots/stores/{name}");
    let shown = page.get(&href).body;
    for (format, media) in [("geojson", "application/geo+json"), ("csv", "text/csv; charset=utf-8")]
    {
        let path = format!("{href}/export/{format}");
        assert!(shown.contains(&format!("href=\"{path}\"")), "{shown}");
        let answer = page.get(&path);
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains(&format!("content-type: {media}")), "{}", answer.head);
        let file = format!("attachment; filename=\"stores-{name}.{format}\"").to_lowercase();
        assert!(answer.head.contains(&file), "{}", answer.head);
        assert!(is_complete(&raw(page.port, &path)));
        let command = ["export", "stores", "--format", format, "--output", "-"];
        assert_eq!(answer.body, page.setup.run(&command).stdout, "{format}");
        let head = page
            .send(&format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        for (line, status) in [
            (format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site"), 403),
            (format!("GET {path} HTTP/1.1\r\nHost: example.org"), 403),
            (format!("GET {path} HTTP/1.0\r\nHost: localhost"), 505),
            (format!("POST {path} HTTP/1.1\r\nHost: localhost"), 405),
        ] {
            let answer = page.send(&format!("{line}\r\nConnection: close\r\n\r\n"));
            assert_eq!(answer.status, status, "{line}");
        }
    }
    for path in [
        format!("{href}/export/xml"),
        format!("{href}/export/geopackage"),
        "/snapshots/stores/20200101T000000Z-1/export/csv".to_owned(),
        format!("/snapshots/..%2fstores/{name}/export/csv"),
    ] {
        assert_eq!(page.get(&path).status, 404, "{path}");
    }
}

#[test]
fn an_export_of_a_damaged_snapshot_never_looks_complete() {
    let setup = nights(&[Data::first_places(3000), Data::first_places(20)]);
    let (names, files) = (snapshots(&setup), setup.manifests("stores"));
    let page = Page::of(setup);
    for (file, name) in files.iter().zip(&names) {
        // The checksum at the end is all that differs.
        let data = file.with_extension("xml.zst");
        let mut bytes = fs::read(&data).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&data, bytes).unwrap();
        for format in ["geojson", "csv"] {
            let answer = raw(page.port, &format!("/snapshots/stores/{name}/export/{format}"));
            let is_refused = answer.starts_with(b"HTTP/1.1 500 ");
            assert!(is_refused || !is_complete(&answer), "{format} of {name}");
        }
    }
}

#[test]
fn slow_readers_of_exports_are_few_and_free_their_places() {
    let setup = nights(&[Data::Places]);
    let name = snapshots(&setup).pop().unwrap();
    let page = Page::of(setup);
    let path = format!("/snapshots/stores/{name}/export/geojson");
    let ask = |stream: &mut TcpStream| {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
    };
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream = page.connect();
        ask(&mut stream);
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200");
        slow.push(stream);
    }
    let busy = page.get(&path);
    assert_eq!(busy.status, 503);
    assert!(busy.head.contains("retry-after: 5"), "{}", busy.head);
    // The rest of the page is not in their way.
    assert_eq!(page.get("/api/sources").status, 200);
    slow.pop();
    until("a place", || raw(page.port, &path).starts_with(b"HTTP/1.1 200").then_some(()));
    let mut rest = Vec::new();
    slow[0].read_to_end(&mut rest).unwrap();
    assert!(is_complete(&rest), "the other one gets all of it");
    let port = page.port;
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..12).map(|_| scope.spawn(|| raw(port, &path))).collect();
        for answer in asked {
            let answer = answer.join().unwrap();
            let is_busy = answer.starts_with(b"HTTP/1.1 503");
            assert!(is_busy || (answer.starts_with(b"HTTP/1.1 200") && is_complete(&answer)));
        }
    });
}
