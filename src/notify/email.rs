//! Mail.

use super::Message;
use super::http::without;
use crate::secret::Secret;
use crate::settings::{Email, MailSecurity};
use crate::tls;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use lettre::message::{Mailbox, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use rustls::pki_types::CertificateDer;
use std::time::Duration;

/// The most characters of an error that are shown; the server may have written some of them.
const LONGEST_ERROR: usize = 500;

/// Sends mail through one mail server.
#[derive(Debug)]
pub(super) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
    /// The password in each form that a login sends.
    secrets: Vec<Secret>,
}

impl Mailer {
    pub(super) fn new(
        email: &Email,
        password: Option<&Secret>,
        timeout: Duration,
        ca: &[CertificateDer<'static>],
    ) -> Result<Mailer, String> {
        let tls = || -> Result<TlsParameters, String> {
            let mut parameters = TlsParameters::builder(email.server.clone());
            for certificate in ca {
                let certificate = Certificate::from_der(certificate.to_vec()).map_err(text)?;
                parameters = parameters.add_root_certificate(certificate);
            }
            parameters.build().map_err(text)
        };
        let tls = match email.security {
            MailSecurity::Tls => Tls::Wrapper(tls()?),
            MailSecurity::StartTls => Tls::Required(tls()?),
            MailSecurity::None => Tls::None,
        };
        let mut transport =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(email.server.clone())
                .port(email.port)
                .tls(tls)
                .timeout(Some(timeout));
        if let (Some(username), Some(password)) = (&email.username, password) {
            let login = Credentials::new(username.clone(), password.expose().to_owned());
            transport = transport.credentials(login);
        }
        let mailbox = |text: &String| text.parse::<Mailbox>().map_err(|it| format!("{text}: {it}"));
        Ok(Mailer {
            transport: transport.build(),
            from: mailbox(&email.from)?,
            to: email.to.iter().map(mailbox).collect::<Result<_, _>>()?,
            secrets: match (&email.username, password) {
                (Some(username), Some(password)) => as_sent(username, password),
                _ => Vec::new(),
            },
        })
    }

    pub(super) fn recipients(&self) -> String {
        self.to.iter().map(|to| to.email.to_string()).collect::<Vec<_>>().join(", ")
    }

    pub(super) async fn send(&self, message: &Message) -> Result<(), String> {
        let mut mail = lettre::Message::builder()
            .from(self.from.clone())
            .subject(message.subject())
            // Prevents automatic replies, such as out-of-office messages.
            .header(AutoSubmitted)
            .header(header::ContentType::TEXT_PLAIN);
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        let mail = mail.body(message.text()).map_err(text)?;
        let sent = self.transport.send(mail).await;
        sent.map(drop).map_err(|error| without(&self.secrets, &text(error)))
    }
}

/// A password as it is, and as the logins LOGIN and PLAIN send it: a server may repeat either.
fn as_sent(username: &str, password: &Secret) -> Vec<Secret> {
    let exposed = password.expose();
    let encoded = [BASE64.encode(exposed), BASE64.encode(format!("\0{username}\0{exposed}"))];
    let encoded = encoded.iter().filter_map(|text| Secret::new(text).ok());
    encoded.chain([password.clone()]).collect()
}

/// The explanation of a TLS error, or else an error with its causes, on one line of bounded length.
fn text(error: impl std::error::Error + 'static) -> String {
    if let Some(explanation) = tls::explanation(&error) {
        return explanation;
    }
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !said.contains(&cause_text) {
            said = format!("{said}: {cause_text}");
        }
        source = cause.source();
    }
    said.replace(char::is_control, " ").chars().take(LONGEST_ERROR).collect()
}

/// RFC 3834: marks mail that a program sends.
#[derive(Debug, Clone, Copy)]
struct AutoSubmitted;

impl header::Header for AutoSubmitted {
    fn name() -> header::HeaderName {
        header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> header::HeaderValue {
        header::HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}
