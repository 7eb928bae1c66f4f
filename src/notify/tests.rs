//! Every channel against a real server or program, including failures.

use super::*;
use crate::http::PlainClients;
use crate::settings::{Email, Http, MailSecurity, Webhook};
use chrono::{DateTime, TimeZone, Utc};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;
use url::Url;

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 25, 12, 0, 0).unwrap()
}

fn message() -> Message {
    let content = Content {
        kind: Some("failed".into()),
        about: "stores".into(),
        message: "the last job failed: aborted: out of luck".into(),
        since: noon(),
    };
    Message::new(Event::Broke, content, noon(), "archive-1")
}

fn clients() -> PlainClients {
    PlainClients::new(&Http::default()).unwrap()
}

fn notifier(channels: Vec<Channel>) -> Notifier {
    Notifier::new(channels, Some(clients()), Duration::from_secs(5))
}

/// A server that answers one request after the other, and the requests that it received.
fn server(
    answer: impl Fn(usize) -> &'static str + Send + 'static,
) -> (Url, mpsc::Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/hook/secret-path", listener.local_addr().unwrap()));
    let (asked, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let request = request(&mut stream);
            let _ = asked.send(request);
            let answer = answer(number);
            let _ = write!(
                stream,
                "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    });
    (url.unwrap(), requests)
}

/// The head of a request, and its body.
fn request(stream: &mut TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let length = head.to_lowercase();
    let length = length.split("content-length: ").nth(1).and_then(|it| it.lines().next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn webhook(url: Url, secret: Option<&str>) -> Channel {
    let webhook = Webhook { url: PrivateUrl::new(url), secret: None };
    Channel::webhook(&webhook, secret.map(|it| Secret::new(it).unwrap()), &clients())
}

fn only(deliveries: Vec<Delivery>) -> Delivery {
    let [delivery]: [Delivery; 1] = deliveries.try_into().unwrap();
    delivery
}

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

fn program(folder: &Path, text: &str) -> Vec<String> {
    let path = folder.join("tell");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    vec![path.display().to_string(), folder.join("got").display().to_string()]
}

#[tokio::test]
async fn a_command_gets_the_message_and_a_clean_environment() {
    let folder = tempfile::tempdir().unwrap();
    let words = program(folder.path(), "cat >\"$1\"; env >>\"$1\"");
    let delivery = only(notifier(vec![Channel::command(&words)]).send_once(&message()).await);
    assert!(delivery.result.is_ok(), "{delivery:?}");
    let got = std::fs::read_to_string(folder.path().join("got")).unwrap();
    let (json, environment) = got.split_once('}').unwrap();
    let json: serde_json::Value = serde_json::from_str(&format!("{json}}}")).unwrap();
    assert_eq!(json["about"], "stores");
    assert!(environment.contains("PATH=") && !environment.contains("CARGO"), "{environment}");
}

#[tokio::test]
async fn a_failing_command_and_a_hanging_one_have_different_errors() {
    let folder = tempfile::tempdir().unwrap();
    let words = program(folder.path(), "echo 'no such person' >&2; exit 3");
    let delivery = only(notifier(vec![Channel::command(&words)]).send_once(&message()).await);
    assert_eq!(delivery.result.unwrap_err(), "exit status: 3: no such person");
    let words = program(folder.path(), "exec /bin/sleep 600");
    let patience = Duration::from_millis(100);
    let notifier = Notifier::new(vec![Channel::command(&words)], Some(clients()), patience);
    let delivery = only(notifier.send_once(&message()).await);
    assert_eq!(delivery.result.unwrap_err(), "no answer within 100ms");
    let missing = vec!["/nowhere/tell".to_owned()];
    let delivery =
        only(notifier.clone_with(Channel::command(&missing)).send_once(&message()).await);
    assert!(delivery.result.unwrap_err().starts_with("it cannot be run: No such file"));
}

#[tokio::test]
async fn a_successful_command_does_not_wait_for_processes_that_it_leaves_running() {
    let folder = tempfile::tempdir().unwrap();
    // The sleeper keeps standard error and input open.
    let pid = folder.path().join("pid");
    let body = format!("/bin/sleep 600 & echo $! > {}; exit $2", pid.display());
    let words = program(folder.path(), &body);
    let tell = async |code: &str| {
        let words = [words.clone(), vec![code.to_owned()]].concat();
        let begun = std::time::Instant::now();
        let delivery = only(notifier(vec![Channel::command(&words)]).send_once(&message()).await);
        assert!(begun.elapsed() < Duration::from_secs(4), "it was waited for");
        delivery.result
    };
    tell("0").await.unwrap();
    assert!(is_alive(&pid), "what a command leaves running on purpose is its own business");
    end(&pid);
    assert_eq!(tell("3").await.unwrap_err(), "exit status: 3");
    end(&pid);
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_all_its_processes() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let body = format!("/bin/sleep 600 & echo $! > {}.new; mv {0}.new {0}; wait", pid.display());
    let words = program(folder.path(), &body);
    // Long enough for it to start a child process.
    let notifier = Notifier::new(vec![Channel::command(&words)], None, Duration::from_secs(2));
    let delivery = only(notifier.send_once(&message()).await);
    assert_eq!(delivery.result.unwrap_err(), "no answer within 2s");
    let begun = std::time::Instant::now();
    while is_alive(&pid) {
        assert!(begun.elapsed() < Duration::from_secs(10), "it goes on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_output_of_a_command_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let words = program(folder.path(), "head -c 1000000 /dev/zero | tr '\\0' 'x' >&2; exit 1");
    let delivery = only(notifier(vec![Channel::command(&words)]).send_once(&message()).await);
    let error = delivery.result.unwrap_err();
    assert!(error.starts_with("exit status: 1: xxx") && error.len() < 1100, "{}", error.len());
}

/// Whether the process whose number is in a file exists and is not a zombie.
fn is_alive(pid: &Path) -> bool {
    let pid = std::fs::read_to_string(pid).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

fn end(pid: &Path) {
    let pid: i32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

impl Notifier {
    fn clone_with(&self, channel: Channel) -> Notifier {
        Notifier { channels: Arc::new(vec![channel]), ..self.clone() }
    }
}

/// A mail server that accepts one mail and passes on the session.
fn mail_server() -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (said, mails) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut all, mut in_data) = (String::new(), false);
        stream.write_all(b"220 here\r\n").unwrap();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                break;
            }
            all.push_str(&line);
            let answer = match line.trim_end() {
                "." => {
                    in_data = false;
                    "250 taken"
                }
                _ if in_data => continue,
                "DATA" => {
                    in_data = true;
                    "354 go on"
                }
                "QUIT" => "221 bye",
                line if line.starts_with("EHLO") => "250-here\r\n250 AUTH PLAIN",
                _ => "250 well",
            };
            stream.write_all(format!("{answer}\r\n").as_bytes()).unwrap();
            if answer == "250 taken" {
                let _ = said.send(all.clone());
            }
        }
    });
    (port, mails)
}

fn email(port: u16, security: MailSecurity) -> Email {
    Email {
        server: "127.0.0.1".into(),
        port,
        security,
        from: "Nightjar <nightjar@example.org>".into(),
        to: vec!["ops@example.org".into(), "Archive <archive@example.org>".into()],
        username: Some("nightjar".into()),
        password: None,
    }
}

#[tokio::test]
async fn mail_has_a_subject_and_all_recipients() {
    clients();
    let (port, mails) = mail_server();
    let password = Secret::new("pass-word").unwrap();
    let settings = email(port, MailSecurity::None);
    let mail = Channel::email(&settings, Some(&password), Duration::from_secs(5), &[]).unwrap();
    let delivery = only(notifier(vec![mail]).send_once(&message()).await);
    assert!(delivery.result.is_ok(), "{delivery:?}");
    let mail = mails.recv().unwrap();
    for line in [
        "MAIL FROM:<nightjar@example.org>",
        "RCPT TO:<ops@example.org>",
        "RCPT TO:<archive@example.org>",
        "Subject: [nightjar] stores: failed (archive-1)",
        "Auto-Submitted: auto-generated",
        "stores: the last job failed: aborted: out of luck.",
    ] {
        assert!(mail.lines().any(|it| it.starts_with(line)), "{line}: {mail}");
    }
}

#[tokio::test]
async fn a_password_with_spaces_and_umlauts_is_sent_as_it_is_and_never_shown() {
    let password = Secret::new(" Grüße an alle ").unwrap();
    let (port, mails) = mail_server();
    let settings = email(port, MailSecurity::None);
    let mail = Channel::email(&settings, Some(&password), Duration::from_secs(5), &[]).unwrap();
    only(notifier(vec![mail]).send_once(&message()).await).result.unwrap();
    // printf '\0nightjar\0 Grüße an alle ' | base64
    let login = "AG5pZ2h0amFyACBHcsO8w59lIGFuIGFsbGUg";
    let all = mails.recv().unwrap();
    assert!(all.contains(&format!("AUTH PLAIN {login}\r\n")), "{all}");

    // A server that repeats its input.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        stream.write_all(b"220 here\r\n").unwrap();
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap_or(0) > 0 {
            let answer = match line.starts_with("EHLO") {
                true => "250-here\r\n250 AUTH PLAIN".to_owned(),
                false => format!("535 not {} nor  Gr\u{fc}\u{df}e an alle ", line.trim()),
            };
            let _ = stream.write_all(format!("{answer}\r\n").as_bytes());
            line.clear();
        }
    });
    let settings = email(port, MailSecurity::None);
    let mail = Channel::email(&settings, Some(&password), Duration::from_secs(5), &[]).unwrap();
    let error = only(notifier(vec![mail]).send_once(&message()).await).result.unwrap_err();
    assert!(error.contains("[secret]"), "{error}");
    assert!(!error.contains(login) && !error.contains("Grüße"), "{error}");
}

#[tokio::test]
async fn no_mail_is_sent_unencrypted() {
    clients();
    let (port, mails) = mail_server();
    let settings = email(port, MailSecurity::StartTls);
    let password = Secret::new("pass-word").unwrap();
    let mail = Channel::email(&settings, Some(&password), Duration::from_secs(5), &[]).unwrap();
    let delivery = only(notifier(vec![mail]).send_once(&message()).await);
    let error = delivery.result.unwrap_err();
    assert!(!error.contains("pass-word"), "{error}");
    assert!(mails.try_recv().is_err(), "a mail was sent unencrypted");
}

#[test]
fn each_event_has_a_subject_and_a_first_line() {
    let mut lines = Vec::new();
    for event in [Event::Broke, Event::Still, Event::Recovered, Event::Test] {
        let message = Message { event, ..message() };
        lines.push(format!("{}\n{}", message.subject(), message.text().lines().next().unwrap()));
    }
    insta::assert_snapshot!(lines.join("\n"), @r"
    [nightjar] stores: failed (archive-1)
    stores: the last job failed: aborted: out of luck.
    [nightjar] stores: still failed (archive-1)
    stores, since 2026-11-25T12:00:00Z: the last job failed: aborted: out of luck.
    [nightjar] stores: recovered (archive-1)
    stores has recovered. The problem since 2026-11-25T12:00:00Z was: the last job failed: aborted: out of luck.
    [nightjar] test message (archive-1)
    the last job failed: aborted: out of luck.
    ");
}

const SIGNATURE: &str = "4c74eab1d9e884974bc695d97d7c0f54f739d5e4f0532ca38d1ca1fbfc2755c8";

/// A TLS server for `localhost`, and the certificate of its authority.
async fn tls_server() -> (u16, CertificateDer<'static>) {
    let (key, issuer_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&issuer_key).unwrap().der().clone();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(authority, issuer_key)).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(
        vec![leaf.der().clone()],
        PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    );
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            // As a mail server that accepts no mail.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"554 go away\r\n").await;
        }
    });
    (port, root)
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_explained_by_mail_and_webhooks_alike() {
    let clients = clients();
    let (port, authority) = tls_server().await;
    let url = Url::parse(&format!("https://localhost:{port}/secret-path")).unwrap();
    let settings = Email { server: "localhost".into(), ..email(port, MailSecurity::Tls) };
    let mail = |ca: &[CertificateDer<'static>]| {
        Channel::email(&settings, None, Duration::from_secs(5), ca).unwrap()
    };
    let webhook =
        Channel::webhook(&Webhook { url: PrivateUrl::new(url), secret: None }, None, &clients);
    for channel in [mail(&[]), webhook] {
        let error = only(notifier(vec![channel]).send_once(&message()).await).result.unwrap_err();
        let expected = "its certificate is signed by an authority that this machine does not trust: \
                        set http.ca_file to a PEM file with that authority's certificate";
        assert_eq!(error, expected);
    }
    // With that remedy, the connection reaches the server.
    let delivery = only(notifier(vec![mail(&[authority])]).send_once(&message()).await);
    assert!(delivery.result.unwrap_err().contains("go away"));
}
