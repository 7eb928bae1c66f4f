//! Mail, and certificates.

use super::*;
use crate::settings::{Email, MailSecurity};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;

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
