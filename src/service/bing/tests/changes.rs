//! Loads, publications and rollbacks.

use super::*;
use crate::service::{LoadDocument, LoadMode};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use std::io;

const STATUS: &str = "http://127.0.0.1:PPPPP/REST/v1/dataflows/LoadDataSource/8ccf2a5b";

fn accepted() -> Vec<u8> {
    let links = link("self", "", STATUS);
    let job = format!(r#""id":"8ccf2a5b","status":"Pending","links":[{links}]"#);
    answer(201, &[], &about(&job))
}

fn document(chunks: Vec<io::Result<Bytes>>, length: usize) -> LoadDocument {
    LoadDocument { length: length as u64, chunks: stream::iter(chunks).boxed() }
}

fn small() -> LoadDocument {
    document(vec![Ok("<a>".into()), Ok("é</a>".into())], "<a>é</a>".len())
}

/// What a change is.
#[derive(Debug, Clone, Copy)]
enum Change {
    Load,
    Publish,
    RollBack,
}

const CHANGES: [Change; 3] = [Change::Load, Change::Publish, Change::RollBack];

async fn make(bing: &Bing, change: Change) -> Result<Submitted, Failure> {
    let target = target();
    match change {
        Change::Load => bing.load(&target, LoadMode::Whole, small(), noon()).await,
        Change::Publish => bing.publish(&target, noon()).await,
        Change::RollBack => bing.roll_back(&target, "{60754cca}", noon()).await,
    }
}

async fn made(change: Change, say: Say) -> (Host, Result<Submitted, Failure>) {
    let host = Host::new(vec![say]).await;
    let result = make(&host.bing(), change).await;
    (host, result)
}

#[tokio::test]
async fn a_load_posts_the_exact_bytes_once() {
    let key = "key=CANARY%2F0123456789%2Babcdef HTTP/1.1\r\n";
    for (mode, query) in [
        (LoadMode::Whole, "loadOperation=completeStaging&input=xml&output=json"),
        (
            LoadMode::Entities,
            "loadOperation=incrementalStaging&input=xml&output=json&accessId=20181f26",
        ),
    ] {
        let host = Host::saying(accepted()).await;
        let submitted = host.bing().load(&target(), mode, small(), noon()).await.unwrap();
        assert_eq!(submitted.remote_id.as_deref(), Some("8ccf2a5b"));
        assert_eq!(submitted.status_url, host.url("/REST/v1/dataflows/LoadDataSource/8ccf2a5b"));
        let [head] = &*host.heads() else { panic!("{:?}", host.heads()) };
        let line =
            format!("POST /REST/v1/Dataflows/LoadDataSource?dataSourceName=Stores&{query}&{key}");
        assert!(head.starts_with(&line), "{head}");
        assert!(head.contains("content-type: application/xml\r\n"), "{head}");
        assert!(head.contains("content-length: 9\r\n"), "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
        assert_eq!(host.bodies(), ["<a>é</a>".as_bytes()]);
    }
}

#[tokio::test]
async fn a_publication_and_a_rollback_are_gets_that_start_a_job() {
    for (change, path) in [
        (Change::Publish, "/REST/v1/data/20181f26/Stores/$commit?output=json&key="),
        (
            Change::RollBack,
            "/REST/v1/Dataflows/DataSourceRollback/60754cca/Stores?output=json&key=",
        ),
    ] {
        let (host, submitted) = made(change, Say::Bytes(accepted())).await;
        assert_eq!(submitted.unwrap().remote_id.as_deref(), Some("8ccf2a5b"));
        let [head] = &*host.heads() else { panic!("{:?}", host.heads()) };
        assert!(head.starts_with(&format!("GET {path}")), "{head}");
    }
}

#[tokio::test]
async fn a_rollback_to_what_is_no_version_is_refused_without_a_request() {
    let host = Host::saying(accepted()).await;
    for version in ["", "../x", "8ccf?x", "zz"] {
        let failure = host.bing().roll_back(&target(), version, noon()).await.unwrap_err();
        assert_eq!((failure.kind, failure.maybe_started), (FailureKind::Rejected, false));
        let failure = host.bing().at_version(&target(), version).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Rejected);
    }
    assert_eq!(host.heads(), Vec::<String>::new());
    let at = host.bing().at_version(&target(), "{60754CCA-0000}").unwrap();
    assert_eq!(at.origin().version.as_deref(), Some("60754CCA-0000"));
}

#[tokio::test]
async fn refusals_of_changes_are_classified() {
    let said = |text: &str| format!(r#"{{"statusCode":0,"errorDetails":["{text}"]}}"#);
    let full = "The account already has the maximum of 25 published data sources.";
    for (status, body, kind, maybe_started) in [
        (400, said("the schema has no primary key"), FailureKind::Rejected, false),
        (401, said("no key"), FailureKind::Credentials, false),
        (403, said("forbidden"), FailureKind::Credentials, false),
        (403, said("The daily job limit is exceeded"), FailureKind::Quota, false),
        (408, said("slow"), FailureKind::Unavailable, false),
        (413, "<html>Request Entity Too Large</html>".into(), FailureKind::Rejected, false),
        (415, said("content type"), FailureKind::Rejected, false),
        (429, said("slow down"), FailureKind::Quota, false),
        (429, String::new(), FailureKind::Quota, false),
        (404, said("no such source"), FailureKind::NotFound, false),
        (500, said("oops"), FailureKind::Unavailable, true),
        (502, "upstream".into(), FailureKind::Unavailable, true),
        (503, said("later"), FailureKind::Unavailable, false),
        (504, "upstream".into(), FailureKind::Unavailable, true),
        (200, r#"{"statusCode":500}"#.into(), FailureKind::Unavailable, true),
        (200, r#"{"statusCode":503}"#.into(), FailureKind::Unavailable, false),
        (200, r#"{"statusCode":400,"errorDetails":["bad"]}"#.into(), FailureKind::Rejected, false),
        (201, String::new(), FailureKind::Protocol, true),
    ] {
        for change in CHANGES {
            let (_, result) = made(change, Say::Bytes(answer(status, &[], &body))).await;
            let failure = result.unwrap_err();
            let expected = (kind, maybe_started, true);
            assert_eq!(
                (failure.kind, failure.maybe_started, failure.answered),
                expected,
                "{status} {body}: {failure}"
            );
            assert_clean(&failure.message);
        }
    }
    let (_, result) = made(Change::Load, Say::Bytes(answer(403, &[], &said(full)))).await;
    let failure = result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Rejected);
    assert!(failure.message.contains(full), "{failure}");
}

#[tokio::test]
async fn a_change_is_sent_only_once() {
    let cut = b"HTTP/1.1 201 Created\r\ncontent-length: 999\r\n\r\n{\"statusCode\"".to_vec();
    for (say, answered) in [
        (Say::Nothing, false),
        (Say::Silence, false),
        (Say::Bytes(cut), true),
        (Say::Bytes(b"HTTP/1.1 2".to_vec()), false),
    ] {
        for change in CHANGES {
            let (host, result) = made(change, say.clone()).await;
            let failure = result.unwrap_err();
            let expected = (FailureKind::Lost, true);
            assert_eq!((failure.kind, failure.maybe_started), expected, "{change:?} {say:?}");
            assert_eq!(failure.answered, answered, "{change:?} {say:?}");
            assert_eq!(host.heads().len(), 1, "{change:?} {say:?}");
            assert_clean(&failure.message);
        }
    }
}

#[tokio::test]
async fn what_never_reached_the_service_changed_nothing() {
    let bing = client("http://127.0.0.1:1/REST/v1");
    for change in CHANGES {
        let failure = make(&bing, change).await.unwrap_err();
        assert_eq!((failure.kind, failure.maybe_started), (FailureKind::NotSent, false));
    }
}

#[tokio::test]
async fn no_change_is_sent_where_a_redirect_leads() {
    for (status, maybe_started) in
        [(301, false), (302, false), (303, true), (307, false), (308, false)]
    {
        for change in CHANGES {
            let to_itself = answer(status, &["location: /REST/v2/there"], "");
            let (host, result) = made(change, Say::Bytes(to_itself)).await;
            let failure = result.unwrap_err();
            let expected = (FailureKind::Protocol, maybe_started, true);
            let found = (failure.kind, failure.maybe_started, failure.answered);
            assert_eq!(found, expected, "{change:?} {status}");
            assert_eq!(host.heads().len(), 1, "{change:?} {status}");
        }
    }
}

#[tokio::test]
async fn a_document_that_cannot_be_read_is_not_loaded() {
    let bad = || Err(io::Error::other("the archive's file is damaged"));
    for document in [
        document(vec![Ok("<a>".into()), bad()], 9),
        document(vec![Ok("<a>".into()), Ok("é</a>".into()), bad()], 9),
    ] {
        let host = Host::saying(accepted()).await;
        let failure =
            host.bing().load(&target(), LoadMode::Whole, document, noon()).await.unwrap_err();
        assert_eq!((failure.kind, failure.maybe_started), (FailureKind::Local, false));
        assert!(failure.message.contains("the archive's file is damaged"), "{failure}");
        assert!(host.bodies().iter().all(|body| body.len() < 9), "{:?}", host.bodies());
    }
}

#[tokio::test]
async fn a_large_document_is_sent_however_long_it_takes() {
    // A chunk each 60 ms, twice the idle timeout in all.
    let piece = Bytes::from(vec![b'x'; 1 << 20]);
    let beat = tokio::time::interval(Duration::from_millis(60));
    let chunks = stream::unfold((beat, 10), move |(mut beat, left)| {
        let piece = piece.clone();
        async move {
            beat.tick().await;
            (left > 0).then_some((Ok(piece), (beat, left - 1)))
        }
    });
    let document = LoadDocument { length: 10 << 20, chunks: chunks.boxed() };
    let host = Host::saying(accepted()).await;
    host.bing().load(&target(), LoadMode::Whole, document, noon()).await.unwrap();
    assert_eq!(host.bodies()[0].len(), 10 << 20);
}

#[tokio::test]
async fn a_service_that_takes_no_more_of_the_document_is_not_waited_for() {
    let endless = stream::repeat_with(|| Ok(Bytes::from(vec![b'x'; 1 << 20])));
    let document = LoadDocument { length: 1 << 40, chunks: endless.boxed() };
    // It accepts the connection, and reads nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bing = client(&format!("http://{}/REST/v1", listener.local_addr().unwrap()));
    let failure = bing.load(&target(), LoadMode::Whole, document, noon()).await.unwrap_err();
    assert_eq!((failure.kind, failure.maybe_started), (FailureKind::Lost, true));
    assert!(failure.message.contains("nothing more"), "{failure}");
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_document_counts() {
    let early = Say::Early(answer(401, &[], ""));
    let host = Host::new(vec![early]).await;
    let failure = make(&host.bing(), Change::Load).await.unwrap_err();
    assert_eq!((failure.kind, failure.maybe_started), (FailureKind::Credentials, false));
}

async fn polled(body: &str) -> Result<Polled, Failure> {
    let host = Host::saying(answer(200, &[], body)).await;
    host.bing().poll_change(&target(), Some("8ccf2a5b"), &host.url("/status"), noon()).await
}

#[tokio::test]
async fn a_completed_change_says_how_many_entities_failed() {
    let log = link("output", "failed", "http://127.0.0.1:PPPPP/log?key=x");
    for (counts, processed, failed) in [
        (r#","processedEntityCount":12,"failedEntityCount":0"#, Some(12), 0),
        (r#","processedEntityCount":"12","failedEntityCount":"3""#, Some(12), 3),
        (r#","processedEntityCount":0,"failedEntityCount":null"#, None, 0),
        (r#","processedEntityCount":"","failedEntityCount":"""#, None, 0),
        ("", None, 0),
    ] {
        let job = format!(r#""id":"8CCF2A5B","status":"Completed","links":[{log}]{counts}"#);
        let Progress::Applied { processed: p, failed: f, error_log_url } =
            polled(&about(&job)).await.unwrap().progress
        else {
            panic!("{counts}")
        };
        assert_eq!((p, f), (processed, failed), "{counts}");
        assert!(error_log_url.unwrap().ends_with("/log"));
    }
    for count in ["-1", "\"many\"", "1.5", "[]"] {
        let job = format!(r#""status":"Completed","failedEntityCount":{count}"#);
        let failure = polled(&about(&job)).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Protocol, "{count}");
    }
}

#[tokio::test]
async fn a_change_s_status_is_read_as_an_export_s() {
    let pending = polled(&about(r#""id":"8ccf2a5b","status":"Accepted""#)).await.unwrap();
    let expected = Progress::Pending { word: "Accepted".into(), known: true, retry_after: None };
    assert_eq!(pending, Polled::ours(expected));
    let aborted = about(r#""id":"8ccf2a5b","status":"Aborted","errorMessage":"bad row""#);
    let Progress::Aborted { message, .. } = polled(&aborted).await.unwrap().progress else {
        panic!("not aborted")
    };
    assert_eq!(message, "bad row");
    let other = polled(&about(r#""id":"0000","status":"Completed""#)).await.unwrap();
    assert_eq!(other.other.unwrap().id, "0000");
    let odd = polled(&about("")).await.unwrap_err();
    assert_eq!(odd.kind, FailureKind::Protocol);
}

#[tokio::test]
async fn another_access_id_of_what_was_loaded_is_noted() {
    let service = |url: &str| {
        let links = link("dataSource", "service", url);
        about(&format!(r#""id":"8ccf2a5b","status":"Completed","links":[{links}]"#))
    };
    let notes = async |url| polled(&service(url)).await.unwrap().notes;
    let none = Vec::<String>::new();
    assert_eq!(notes("https://h.example/REST/v1/data/20181F26/Stores").await, none);
    assert_eq!(notes("https://h.example/REST/v1/dataflows/x").await, none);
    let [note] = &*notes("https://h.example/REST/v1/data/0edf86ad/Stores").await else { panic!() };
    assert!(note.contains("access_id is 0edf86ad"), "{note}");
    let [note] = &*notes("http://h.example/data/CANARY%2F0123456789%2Babcdef/S").await else {
        panic!()
    };
    assert_clean(note);
}

/// A host that answers a request after its head, and then does this with what still comes.
async fn early(answer: Vec<u8>, reads_on: bool) -> Bing {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/REST/v1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(&answer).await.unwrap();
        if reads_on {
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    });
    client(&endpoint)
}

#[tokio::test]
async fn an_answer_amid_a_large_document_counts_if_the_service_reads_on() {
    let large = || {
        let chunks = (0..64).map(|_| Ok(Bytes::from(vec![b'x'; 1 << 20]))).collect();
        document(chunks, 64 << 20)
    };
    let too_large = answer(413, &[], "<html>Request Entity Too Large</html>");
    let bing = early(too_large.clone(), true).await;
    let failure = bing.load(&target(), LoadMode::Whole, large(), noon()).await.unwrap_err();
    assert_eq!((failure.kind, failure.maybe_started), (FailureKind::Rejected, false), "{failure}");
    // Otherwise the system may drop the answer with the connection.
    let bing = early(too_large, false).await;
    let failure = bing.load(&target(), LoadMode::Whole, large(), noon()).await.unwrap_err();
    let is_lost = (failure.kind, failure.maybe_started) == (FailureKind::Lost, true);
    assert!(is_lost || failure.kind == FailureKind::Rejected, "{failure}");
}
