//! Webhooks and pings.

use super::*;

const SIGNATURE: &str = "4c74eab1d9e884974bc695d97d7c0f54f739d5e4f0532ca38d1ca1fbfc2755c8";

#[tokio::test]
async fn a_webhook_gets_signed_json() {
    let (url, requests) = server(|_| "204 No Content");
    let delivery = only(notifier(vec![webhook(url, Some("s3cret"))]).send(&message()).await);
    assert!(delivery.result.is_ok() && !delivery.channel.contains("secret"), "{delivery:?}");
    let (head, body) = requests.recv().unwrap();
    assert!(head.starts_with("POST /hook/secret-path HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    assert!(head.contains("x-nightjar-timestamp: 2026-11-25T12:00:00Z\r\n"), "{head}");
    let signature = http::signature(&Secret::new("s3cret").unwrap(), "2026-11-25T12:00:00Z", &body);
    assert!(head.contains(&format!("x-nightjar-signature: sha256={}\r\n", signature.unwrap())));
    insta::assert_snapshot!(body.replace(env!("CARGO_PKG_VERSION"), "[version]"), @r#"{"event":"broke","kind":"failed","about":"stores","message":"the last job failed: aborted: out of luck","since":"2026-11-25T12:00:00Z","at":"2026-11-25T12:00:00Z","host":"archive-1","generator":"nightjar [version]"}"#);
}

#[test]
fn a_signature_is_what_openssl_makes_of_time_and_body() {
    // printf '2026-11-25T12:00:00Z.{}' | openssl dgst -sha256 -hmac s3cret
    let signature = http::signature(&Secret::new("s3cret").unwrap(), "2026-11-25T12:00:00Z", "{}");
    assert_eq!(signature.unwrap(), SIGNATURE);
}

#[tokio::test]
async fn a_temporary_failure_of_a_webhook_is_retried() {
    let (url, requests) = server(|number| if number == 0 { "503 Busy" } else { "200 OK" });
    let delivery = only(notifier(vec![webhook(url, None)]).send(&message()).await);
    assert!(delivery.result.is_ok(), "{delivery:?}");
    assert_eq!(requests.try_iter().count(), 2);
}

#[tokio::test]
async fn a_failed_delivery_gives_the_reason_without_the_address() {
    let (url, _requests) = server(|_| "410 Gone");
    let delivery = only(notifier(vec![webhook(url, None)]).send_once(&message()).await);
    assert_eq!(delivery.result.unwrap_err(), "it answered 410 Gone");
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = Url::parse(&format!("http://{gone}/secret-path")).unwrap();
    let delivery = only(notifier(vec![webhook(url, None)]).send_once(&message()).await);
    let error = delivery.result.unwrap_err();
    assert!(error.contains("refused") && !error.contains("secret-path"), "{error}");
}

#[tokio::test]
async fn a_delivery_without_an_answer_ends_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let patience = Duration::from_millis(100);
    let notifier = Notifier::new(vec![webhook(url, None)], Some(clients()), patience);
    let delivery = only(notifier.send_once(&message()).await);
    assert_eq!(delivery.result.unwrap_err(), "no answer within 100ms");
}

#[tokio::test]
async fn pings_of_one_check_keep_their_order_and_carry_the_run() {
    let (url, requests) = server(|number| if number == 0 { "500 No" } else { "200 OK" });
    let notifier = notifier(Vec::new());
    let check = PrivateUrl::new(url);
    let run = run_id("stores/7/1");
    for phase in [Phase::Start, Phase::Success, Phase::Fail] {
        notifier.ping(&check, phase, run.clone(), format!("{phase:?}"));
    }
    notifier.finish(Duration::from_secs(20)).await;
    let seen: Vec<_> = requests
        .try_iter()
        .map(|(head, body)| format!("{} {body}", head.split(' ').nth(1).unwrap()))
        .collect();
    let path = "/hook/secret-path";
    assert_eq!(
        seen,
        [
            format!("{path}/start?rid={run} Start"),
            format!("{path}/start?rid={run} Start"),
            format!("{path}?rid={run} Success"),
            format!("{path}/fail?rid={run} Fail"),
        ]
    );
}

#[test]
fn a_run_has_one_uuid() {
    assert_eq!(run_id("stores/7/1"), run_id("stores/7/1"));
    assert_ne!(run_id("stores/7/1"), run_id("stores/8/1"));
    let id = run_id("stores/7/1");
    let parts: Vec<_> = id.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12]);
    assert_eq!(&id[14..15], "8", "{id}");
    assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
    // The digest of the text, with the version and the variant of a UUID.
    assert_eq!(id, "96507311-cb46-8709-b8c9-5c9035aee455");
}
