use super::*;

async fn polled(bytes: Vec<u8>) -> Result<Polled, Failure> {
    let host = Host::saying(bytes).await;
    host.bing().poll(&target(), Some("8ccf2a5b"), &host.url("/status?x=%201"), noon()).await
}

async fn progress(job: &str) -> Progress {
    polled(answer(200, &[], &about(job))).await.unwrap().progress
}

#[tokio::test]
async fn the_status_is_asked_for_as_json_with_the_key_beside_what_was_there() {
    let host = Host::saying(answer(200, &[], &about(r#""status":"Pending""#))).await;
    let url = host.url("/status?x=%201&key=old");
    host.bing().poll(&target(), None, &url, noon()).await.unwrap();
    let head = &host.heads()[0];
    let expected = "GET /status?x=%201&output=json&key=CANARY%2F0123456789%2Babcdef HTTP/1.1";
    assert!(head.starts_with(expected), "{head}");
    assert!(head.contains("accept: application/json\r\n"), "{head}");
}

#[tokio::test]
async fn unknown_status_words_count_as_pending() {
    for word in ["Pending", "pending", "Created", "Accepted", "Running", "InProgress"] {
        let expected = Progress::Pending { word: word.into(), known: true, retry_after: None };
        assert_eq!(progress(&format!(r#""status":"{word}""#)).await, expected);
    }
    let odd = Progress::Pending { word: "Dreaming".into(), known: false, retry_after: None };
    assert_eq!(progress(r#""status":" Dreaming ""#).await, odd);
    let bytes = answer(200, &["retry-after: 7"], &about(r#""status":"Pending""#));
    let Progress::Pending { retry_after, .. } = polled(bytes).await.unwrap().progress else {
        panic!("not pending")
    };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_completed_job_has_its_result_and_number() {
    for (links, url) in [
        (link("output", "succeeded", "http://127.0.0.1:PPPPP/r"), Some("/r")),
        (
            r#"{"role":"output","output":"Succeeded","url":"/ouput/r?key=k"}"#.into(),
            Some("/ouput/r"),
        ),
        (link("Output", "", "https://storage.example/r?sig=a%2Bb"), Some("/r?sig=a%2Bb")),
        (link("output", "failed", "/log"), None),
        (link("self", "", "/status"), None),
        (String::new(), None),
    ] {
        let job = format!(
            r#""id":"8CCF2A5B","status":"Completed","totalEntityCount":12,"links":[{links}]"#
        );
        let Progress::Completed { result_url, expected } = progress(&job).await else {
            panic!("not completed")
        };
        assert_eq!(expected, Some(12));
        match url {
            Some(url) => assert!(result_url.unwrap().ends_with(url)),
            None => assert_eq!(result_url, None, "{links}"),
        }
    }
    for (count, announced) in [("0", None), (r#""""#, None), ("null", None), (r#""7""#, Some(7))] {
        let job = format!(r#""status":"Completed","totalEntityCount":{count}"#);
        let Progress::Completed { expected, .. } = progress(&job).await else { panic!() };
        assert_eq!(expected, announced, "{count}");
    }
}

#[tokio::test]
async fn an_aborted_job_says_why_and_where_its_log_is() {
    for word in ["Aborted", "failed", "Cancelled"] {
        let log = link("output", "failed", "/log");
        let job = format!(r#""status":"{word}","errorMessage":"no luck","links":[{log}]"#);
        let Progress::Aborted { message, error_log_url } = progress(&job).await else { panic!() };
        assert_eq!(message, "no luck");
        assert!(error_log_url.unwrap().ends_with("/log"));
    }
    let body = about(r#""status":"Aborted""#).replacen('{', r#"{"errorDetails":["a","b"],"#, 1);
    let Progress::Aborted { message, .. } = polled(answer(200, &[], &body)).await.unwrap().progress
    else {
        panic!()
    };
    assert_eq!(message, "a; b");
}

#[tokio::test]
async fn an_answer_about_another_job_says_whose_it_is_and_of_when() {
    let other = async |job: &str| {
        let polled = polled(answer(200, &[], &about(job))).await.unwrap();
        (polled.other.map(|it| (it.id, it.created_at.map(|at| at.to_rfc3339()))), polled.progress)
    };
    let (about, progress) = other(
        r#""id":"other\u001b","status":"Completed","createdDate":"Fri, 17 Nov 2011 20:38:31 GMT""#,
    )
    .await;
    let at = Some("2011-11-17T20:38:31+00:00".to_owned());
    assert_eq!(about, Some((r"other\u{1b}".to_owned(), at)));
    assert!(matches!(progress, Progress::Completed { .. }));
    let (about, progress) = other(r#""id":"other","createdDate":"soon""#).await;
    assert_eq!(about, Some(("other".to_owned(), None)));
    assert!(matches!(progress, Progress::Pending { .. }), "without a status, ours is pending");
    let (about, _) = other(r#""id":"8CCF2A5B","status":"Completed""#).await;
    assert_eq!(about, None);
}

#[tokio::test]
async fn invalid_responses_are_classified() {
    for (body, words) in [
        (String::new(), "empty body"),
        ("<html>".into(), "HTML page"),
        ("<Response/>".into(), "XML instead of JSON"),
        ("[]".into(), "not its JSON"),
        (r#"{"statusCode":200}"#.into(), "no job at all"),
        (about(r#""id":"8ccf2a5b""#), "without a status"),
    ] {
        let failure = polled(answer(200, &[], &body)).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Protocol, "{body}");
        assert!(failure.message.contains(words), "{failure}");
    }
}

#[tokio::test]
async fn a_trickling_response_times_out() {
    let brief = Duration::from_millis(400);
    let limits =
        Http { connect_timeout: brief, idle_timeout: brief, fetch_deadline: brief * 3, ..http() };
    let begun = Instant::now();
    for (said, kind) in [
        // In its head, whose bytes are never far apart.
        ("HTTP/1.1 200 OK\r\nx-never-ending: ", FailureKind::Lost),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{", FailureKind::Unavailable),
    ] {
        let host = Host::new(vec![Say::Trickle(said.into())]).await;
        let bing = client_with(&host.url("/REST/v1"), &limits);
        let polled = bing.poll(&target(), None, &host.url("/status"), noon()).await;
        assert_eq!(polled.unwrap_err().kind, kind, "{said}");
        let created = bing.submit(&target(), noon()).await.unwrap_err();
        assert!(created.maybe_started, "{created:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn failing_to_poll_differs_from_a_refusal() {
    for (status, kind) in [
        (404, FailureKind::NotFound),
        (401, FailureKind::Credentials),
        (503, FailureKind::Unavailable),
        (400, FailureKind::Rejected),
    ] {
        assert_eq!(polled(answer(status, &[], "")).await.unwrap_err().kind, kind);
    }
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{".to_vec();
    assert_eq!(polled(cut).await.unwrap_err().kind, FailureKind::Lost);
}

#[tokio::test]
async fn a_foreign_host_is_never_asked_for_a_status() {
    let foreign = Host::saying(answer(200, &[], "")).await;
    let host = Host::saying(answer(302, &[&format!("location: {}", foreign.url("/s"))], "")).await;
    for url in [foreign.url("/status"), host.url("/status")] {
        let failure = host.bing().poll(&target(), None, &url, noon()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Protocol, "{url}");
    }
    assert_eq!(foreign.heads(), Vec::<String>::new());
}
