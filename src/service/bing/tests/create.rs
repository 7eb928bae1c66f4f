use super::*;

const OWN: &str = "http://127.0.0.1:PPPPP/status/8ccf2a5b";

fn pending(url: &str) -> String {
    about(&format!(r#""id":"8ccf2a5b","status":"Pending","links":[{}]"#, link("self", "", url)))
}

#[tokio::test]
async fn any_2xx_with_a_link_is_a_success() {
    for status in [200, 201, 202] {
        let host = Host::saying(answer(status, &[], &pending(OWN))).await;
        let target = DataSource { version: Some("0123".into()), ..source() }.into();
        let submitted = host.bing().submit(&target, noon()).await.unwrap();
        assert_eq!(submitted.remote_id.as_deref(), Some("8ccf2a5b"));
        assert_eq!(submitted.status_url, host.url("/status/8ccf2a5b"));
        assert_eq!(submitted.notes, Vec::<String>::new());
        let heads = host.heads();
        assert_eq!(heads.len(), 1);
        assert!(
            heads[0].starts_with(
                "GET /REST/v1/Dataflows/DataSourceDownload/20181f26/Stores\
                 ?output=json&jobId=0123&key=CANARY%2F0123456789%2Babcdef HTTP/1.1\r\n"
            ),
            "{}",
            heads[0]
        );
    }
}

#[tokio::test]
async fn the_location_header_serves_where_the_link_is_missing() {
    for (location, body) in [
        ("location: http://127.0.0.1:PPPPP/status/8ccf2a5b", about(r#""id":"8ccf2a5b""#)),
        ("location: /status/8ccf2a5b", about(r#""id":"8ccf2a5b","links":[]"#)),
        ("Location: /status/8ccf2a5b?key=leaked", String::new()),
        ("location: ../../../../../status/8ccf2a5b", "<html>Created</html>".into()),
    ] {
        let submitted = created(answer(201, &[location], &body)).await.unwrap();
        assert!(submitted.status_url.ends_with("/status/8ccf2a5b"), "{}", submitted.status_url);
    }
}

#[tokio::test]
async fn of_two_status_urls_the_one_with_the_job_id_is_used() {
    let location = ["location: /status/8ccf2a5b"];
    let by_name = pending("http://127.0.0.1:PPPPP/status/Stores");
    let submitted = created(answer(201, &location, &by_name)).await.unwrap();
    assert!(submitted.status_url.ends_with("/status/8ccf2a5b"));
    assert!(submitted.notes[0].contains("/status/Stores"), "{:?}", submitted.notes);
    let both = created(answer(201, &["location: /status/Stores"], &pending(OWN))).await.unwrap();
    assert!(both.status_url.ends_with("/status/8ccf2a5b"));
}

#[tokio::test]
async fn a_status_url_on_another_host_is_not_used_and_may_have_cost_a_job() {
    for url in ["https://elsewhere.example/status", "http://localhost:PPPPP/status"] {
        let failure = created(answer(201, &[], &pending(url))).await.unwrap_err();
        assert_eq!((failure.kind, failure.maybe_started), (FailureKind::Protocol, true));
        assert!(failure.message.contains("not on the host"), "{failure}");
    }
}

#[tokio::test]
async fn a_byte_order_mark_and_new_members_change_nothing() {
    let body = format!("\u{feff}{}", pending(OWN).replacen('{', r#"{"novel":[{}],"#, 1));
    assert!(created(answer(202, &[], &body)).await.is_ok());
}

#[tokio::test]
async fn refusals_are_classified_and_start_no_job() {
    let said = |text: &str| format!(r#"{{"statusCode":0,"errorDetails":["{text}"]}}"#);
    for (status, body, kind) in [
        (400, said("bad request"), FailureKind::Rejected),
        (401, said("no key"), FailureKind::Credentials),
        (403, said("forbidden"), FailureKind::Credentials),
        (403, said("The daily job limit is exceeded"), FailureKind::Quota),
        (404, said("no such source"), FailureKind::NotFound),
        (410, said("gone"), FailureKind::NotFound),
        (408, said("slow"), FailureKind::Unavailable),
        (429, said("slow down"), FailureKind::Unavailable),
        (429, said("quota used up"), FailureKind::Quota),
        (500, said("oops"), FailureKind::Unavailable),
        (503, said("later"), FailureKind::Unavailable),
        (503, said("too many jobs"), FailureKind::Quota),
        (503, "<html><h1>Down</h1></html>".into(), FailureKind::Unavailable),
        (500, String::new(), FailureKind::Unavailable),
    ] {
        let failure = created(answer(status, &[], &body)).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{status} {body}: {failure}");
        assert!(!failure.maybe_started, "{status} {body}");
        assert!(failure.message.contains(&status.to_string()), "{failure}");
    }
}

#[tokio::test]
async fn a_proxy_that_lost_the_answer_may_have_started_a_job() {
    for status in [502, 504, 520, 524] {
        let failure = created(answer(status, &[], "upstream timeout")).await.unwrap_err();
        assert_eq!((failure.kind, failure.maybe_started), (FailureKind::Unavailable, true));
    }
}

#[tokio::test]
async fn the_status_in_the_body_wins_over_the_http_status() {
    for (body, kind) in [
        (r#"{"statusCode":401,"errorDetails":["x"]}"#, FailureKind::Credentials),
        (r#"{"statusCode":500}"#, FailureKind::Unavailable),
        (r#"{"statusCode":404}"#, FailureKind::NotFound),
        (
            r#"{"statusCode":200,"authenticationResultCode":"InvalidCredentials"}"#,
            FailureKind::Credentials,
        ),
    ] {
        let failure = created(answer(200, &[], body)).await.unwrap_err();
        assert_eq!((failure.kind, failure.maybe_started), (kind, false), "{body}");
    }
}

#[tokio::test]
async fn a_success_without_content_may_have_cost_a_job() {
    for (body, words) in [
        ("", "empty body"),
        ("<!DOCTYPE html><p>Welcome", "HTML page"),
        ("<?xml version=\"1.0\"?><Response/>", "XML instead of JSON"),
        ("{\"statusCode\":201,\"resourceSets\":[", "breaks off"),
        ("{\"statusCode\":201}", "does not say where"),
    ] {
        let failure = created(answer(201, &[], body)).await.unwrap_err();
        assert_eq!((failure.kind, failure.maybe_started), (FailureKind::Protocol, true), "{body}");
        assert!(failure.message.contains(words), "{failure}");
    }
}

#[tokio::test]
async fn a_request_is_sent_only_once() {
    let cut = b"HTTP/1.1 201 Created\r\ncontent-length: 999\r\n\r\n{\"statusCode\"".to_vec();
    for say in [Say::Nothing, Say::Silence, Say::Bytes(cut), Say::Bytes(b"HTTP/1.1 2".to_vec())] {
        let host = Host::new(vec![say.clone()]).await;
        let failure = host.bing().submit(&target(), noon()).await.unwrap_err();
        assert_eq!((failure.kind, failure.maybe_started), (FailureKind::Lost, true), "{say:?}");
        assert_eq!(host.heads().len(), 1, "{say:?}");
    }
}

#[tokio::test]
async fn a_truncated_body_is_accepted_if_the_headers_suffice() {
    let cut = b"HTTP/1.1 201 Created\r\nlocation: /s/1\r\ncontent-length: 999\r\n\r\n{".to_vec();
    assert!(created(cut).await.unwrap().status_url.ends_with("/s/1"));
}

#[tokio::test]
async fn an_unreachable_host_received_no_request() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let bing = client(&format!("http://127.0.0.1:{port}/REST/v1"));
    let failure = bing.submit(&target(), noon()).await.unwrap_err();
    assert_eq!((failure.kind, failure.maybe_started), (FailureKind::NotSent, false));
    assert!(failure.message.contains("could not be reached"), "{failure}");
}

#[tokio::test]
async fn retry_after_is_read_in_both_forms_and_capped() {
    for (header, seconds) in [
        ("retry-after: 120", Some(120)),
        ("retry-after: 99999", Some(3600)),
        ("retry-after: Wed, 25 Nov 2026 12:01:30 GMT", Some(90)),
        ("retry-after: Wed, 25 Nov 2026 11:00:00 GMT", Some(0)),
        ("retry-after: soon", None),
        ("x-nothing: 1", None),
    ] {
        let failure = created(answer(503, &[header], "")).await.unwrap_err();
        assert_eq!(failure.retry_after, seconds.map(Duration::from_secs), "{header}");
    }
}

#[tokio::test]
async fn a_redirect_is_followed_on_the_host_alone() {
    let to_itself = answer(307, &["location: /REST/v2/there"], "");
    let host = Host::new(vec![Say::Bytes(to_itself), Say::Bytes(answer(201, &[], &pending(OWN)))]);
    let host = host.await;
    host.bing().submit(&target(), noon()).await.unwrap();
    assert!(host.heads()[1].starts_with("GET /REST/v2/there?key="), "{}", host.heads()[1]);
    let elsewhere = Host::saying(answer(201, &[], &pending(OWN))).await;
    let location = format!("location: {}", elsewhere.url("/x"));
    let failure = created(answer(302, &[&location], "")).await.unwrap_err();
    assert_eq!((failure.kind, failure.maybe_started), (FailureKind::Protocol, false));
    assert_eq!(elsewhere.heads(), Vec::<String>::new());
    let round = created(answer(302, &["location: /again"], "")).await.unwrap_err();
    assert!(round.message.contains("redirects more than"), "{round}");
}

#[tokio::test]
async fn a_key_is_tried_without_starting_anything() {
    let host = Host::saying(answer(200, &[], "<service/>")).await;
    host.bing().try_key(&target(), noon()).await.unwrap();
    assert!(host.heads()[0].starts_with("GET /REST/v1/data/20181f26/Stores?showAllVersions=true&"));
    let refused = Host::saying(answer(401, &[], "")).await;
    let failure = refused.bing().try_key(&target(), noon()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Credentials);
    assert!(failure.message.contains("[accounts.contoso]"), "{failure}");
}
