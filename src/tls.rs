//! Additional trusted certificates, and explanations of TLS errors.

use crate::files;
use chrono::{DateTime, Utc};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{AlertDescription, CertificateError, RootCertStore};
use std::error::Error;
use std::io::{self, Read as _};
use std::path::Path;

/// The largest file of certificates; a whole system's has some hundred kilobytes.
const LARGEST_FILE: u64 = 8 << 20;
/// How many names of a certificate are shown.
const NAMES_SHOWN: usize = 3;
/// How many characters of a name are shown; DNS names are not longer.
const LONGEST_NAME: usize = 255;

/// Why a file of certificates cannot be used: the end of a sentence that begins with the file.
#[derive(Debug, thiserror::Error)]
pub enum CaFileError {
    /// It is missing, or this process may not read it.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// A folder, a pipe or a device.
    #[error("is not a regular file")]
    NotAFile,
    /// Probably not a file of certificates.
    #[error("is larger than {} MiB, expected certificates alone", LARGEST_FILE >> 20)]
    TooLarge,
    /// It has no content.
    #[error("is empty, expected certificates as PEM")]
    Empty,
    /// It contains no certificate.
    #[error(
        "holds no certificate; expected PEM, whose parts begin with -----BEGIN CERTIFICATE-----"
    )]
    NoCertificate,
    /// It is damaged.
    #[error("is no PEM that can be read: {0}")]
    NotPem(String),
    /// One of the certificates is damaged.
    #[error("holds a certificate that cannot be decoded, number {number}: {reason}")]
    Undecodable {
        /// Its number, from 1.
        number: usize,
        /// The decoder's reason.
        reason: String,
    },
}

/// The certificates of a PEM file: at least one, and each can be decoded.
///
/// # Errors
/// The file cannot be read, or has no valid certificates.
pub fn read_ca_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, CaFileError> {
    let opened = files::open_secret(path).map_err(CaFileError::Unreadable)?;
    let file = opened.ok_or(CaFileError::NotAFile)?;
    let mut pem = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut pem).map_err(CaFileError::Unreadable)?;
    if pem.len() as u64 > LARGEST_FILE {
        return Err(CaFileError::TooLarge);
    }
    certificates(&pem)
}

/// The certificates of a PEM text: at least one, and each can be decoded.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CaFileError> {
    if pem.trim_ascii().is_empty() {
        return Err(CaFileError::Empty);
    }
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| CaFileError::NotPem(error.to_string()))?;
    if found.is_empty() {
        return Err(CaFileError::NoCertificate);
    }
    let mut store = RootCertStore::empty();
    for (at, certificate) in found.iter().enumerate() {
        store.add(certificate.clone()).map_err(|error| CaFileError::Undecodable {
            number: at + 1,
            reason: error.to_string(),
        })?;
    }
    Ok(found)
}

/// The explanation of the TLS error among the causes of an error, with a remedy; `None` if there is
/// none.
pub fn explanation(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = tls_error(error) {
            return Some(explain(found));
        }
        cause = error.source();
    }
    None
}

/// The TLS error that an error is or wraps, even if it is not reported as its source.
fn tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    error.downcast_ref().or_else(|| tls_error(error.downcast_ref::<io::Error>()?.get_ref()?))
}

fn explain(error: &rustls::Error) -> String {
    use rustls::Error as Tls;
    match error {
        Tls::InvalidCertificate(problem) => of_certificate(problem),
        Tls::AlertReceived(AlertDescription::ProtocolVersion) => {
            "it supports no secure version of TLS: 1.2 or 1.3 is needed".to_owned()
        }
        Tls::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::BadCertificate,
        ) => {
            "it requires a certificate from its clients, which Nightjar does not support".to_owned()
        }
        Tls::AlertReceived(AlertDescription::UnrecognisedName) => {
            "it does not serve this host name".to_owned()
        }
        Tls::AlertReceived(AlertDescription::HandshakeFailure) | Tls::PeerIncompatible(_) => {
            "it has no encryption in common with this program: TLS 1.2 or 1.3 with current ciphers \
             is needed"
                .to_owned()
        }
        Tls::AlertReceived(alert) => format!("it refuses the encrypted connection ({alert:?})"),
        Tls::InvalidMessage(_) => "the server there does not speak TLS: check the port, and \
                                   whether it is http rather than https"
            .to_owned(),
        Tls::NoCertificatesPresented => "it presents no certificate".to_owned(),
        Tls::NoApplicationProtocol => "it does not speak HTTP".to_owned(),
        other => format!("the encrypted connection failed ({other})"),
    }
}

fn of_certificate(problem: &CertificateError) -> String {
    match problem {
        CertificateError::UnknownIssuer => {
            "its certificate is signed by an authority that this machine does not trust: set \
             http.ca_file to a PEM file with that authority's certificate"
                .to_owned()
        }
        CertificateError::Expired => format!("its certificate has expired: {RENEW}"),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("its certificate expired at {}: {RENEW}", instant(*not_after))
        }
        CertificateError::NotValidYet => format!("its certificate is not valid yet: {CLOCKS}"),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("its certificate is not valid before {}: {CLOCKS}", instant(*not_before))
        }
        CertificateError::NotValidForName => {
            format!("its certificate is for another host name: {NAME}")
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            format!("its certificate is for {}, not for {expected}: {NAME}", names(presented))
        }
        CertificateError::Revoked => {
            "its certificate has been revoked: it must be replaced there".to_owned()
        }
        CertificateError::BadSignature => {
            "its certificate is not signed by the authority that it names: either it is forged, or \
             http.ca_file holds another authority of the same name"
                .to_owned()
        }
        CertificateError::BadEncoding => {
            "its certificate is damaged: it must be replaced there".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not meant for servers: it must be replaced there".to_owned()
        }
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => {
            "it is unknown whether its certificate has been revoked".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its certificate is signed in a way that is not supported (outdated, most likely): it \
             must be replaced there"
                .to_owned()
        }
        // It comes from the verifier below, whose types are not public.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "it presents the certificate of an authority (CA), not of a server: give the server \
             a certificate of its own, and set http.ca_file to the authority that signed it"
                .to_owned()
        }
        other => format!("its certificate is not accepted ({other})"),
    }
}

const RENEW: &str = "it must be renewed there, or this machine's clock is wrong";
const CLOCKS: &str = "its clock or this machine's is wrong";
const NAME: &str = "use the address that the certificate names";

fn instant(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let instant: Option<DateTime<Utc>> = DateTime::from_timestamp(seconds, 0);
    instant.map_or_else(|| "an unknown time".to_owned(), |at| at.format("%F %T UTC").to_string())
}

/// The names in a certificate, which are untrusted input.
fn names(presented: &[String]) -> String {
    let shown = |name: &String| -> String {
        // Such as `DnsName("example.org")`.
        let inner = name.split('"').nth(1).unwrap_or(name);
        inner.chars().filter(|c| c.is_ascii_graphic()).take(LONGEST_NAME).collect()
    };
    let mut names: Vec<_> = presented.iter().take(NAMES_SHOWN).map(shown).collect();
    match presented.len() {
        0 => return "no host name".to_owned(),
        all if all > NAMES_SHOWN => names.push(format!("{} others", all - NAMES_SHOWN)),
        _ => {}
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;
    use std::sync::Arc;
    use std::time::Duration;

    fn said(problem: CertificateError) -> String {
        // As callers see it: inside an error of the connection.
        let inner = io::Error::other(rustls::Error::InvalidCertificate(problem));
        explanation(&io::Error::new(io::ErrorKind::InvalidData, inner)).unwrap()
    }

    fn time(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[derive(Debug, thiserror::Error)]
    #[error("CaUsedAsEndEntity")]
    struct CaUsedAsEndEntity;

    #[test]
    fn every_certificate_error_is_explained() {
        use rustls::{CertificateError as E, OtherError};
        let expected = ServerName::try_from("example.org").unwrap();
        let presented = ["a", "b", "c", "d", "e"].map(|it| format!("DnsName(\"{it}.example\")"));
        for (problem, words) in [
            (E::UnknownIssuer, "does not trust: set http.ca_file"),
            (E::Expired, "has expired"),
            (
                E::ExpiredContext { time: time(9), not_after: time(1_700_000_000) },
                "expired at 2023-11-14 22:13:20 UTC",
            ),
            (E::NotValidYet, "not valid yet"),
            (
                E::NotValidYetContext { time: time(9), not_before: time(4_000_000_000) },
                "not valid before 2096-10-02 07:06:40 UTC",
            ),
            (E::NotValidForName, "another host name"),
            (
                E::NotValidForNameContext {
                    expected: expected.clone(),
                    presented: presented.into(),
                },
                "is for a.example, b.example, c.example, 2 others, not for example.org",
            ),
            (
                E::NotValidForNameContext { expected, presented: Vec::new() },
                "is for no host name, not for example.org",
            ),
            (E::Revoked, "revoked"),
            (E::BadSignature, "not signed by the authority"),
            (E::BadEncoding, "damaged"),
            (E::InvalidPurpose, "not meant for servers"),
            (E::UnknownRevocationStatus, "it is unknown whether"),
            (E::Other(OtherError(Arc::new(CaUsedAsEndEntity))), "certificate of its own"),
            (E::ApplicationVerificationFailure, "is not accepted ("),
        ] {
            let said = said(problem);
            assert!(said.contains(words), "{said}");
            assert!(!said.contains("Other(") && !said.contains("UnknownIssuer"), "{said}");
        }
    }

    #[test]
    fn tls_errors_are_explained_and_other_errors_are_not() {
        use rustls::{Error as E, InvalidMessage};
        for (error, words) in [
            (E::AlertReceived(AlertDescription::ProtocolVersion), "1.2 or 1.3"),
            (E::AlertReceived(AlertDescription::HandshakeFailure), "no encryption in common"),
            (E::AlertReceived(AlertDescription::CertificateRequired), "from its clients"),
            (E::AlertReceived(AlertDescription::UnrecognisedName), "host name"),
            (E::AlertReceived(AlertDescription::InternalError), "refuses"),
            (E::InvalidMessage(InvalidMessage::InvalidContentType), "not speak TLS"),
            (E::NoCertificatesPresented, "no certificate"),
            (E::DecryptError, "failed ("),
        ] {
            let said = explanation(&error).unwrap();
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(explanation(&io::Error::other("something else")), None);
        assert_eq!(explanation(&io::Error::from_raw_os_error(5)), None);
    }

    #[test]
    fn a_file_of_certificates_holds_at_least_one_and_each_can_be_decoded() {
        let key = rcgen::KeyPair::generate().unwrap();
        let one = rcgen::CertificateParams::new(vec!["a".into()]).unwrap().self_signed(&key);
        let pem = one.unwrap().pem();
        assert_eq!(certificates(format!("{pem}\n# a remark\n{pem}").as_bytes()).unwrap().len(), 2);
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cut = pem.replace("-----END CERTIFICATE-----", "");
        for (text, words) in [
            (String::new(), "is empty"),
            (" \n".to_owned(), "is empty"),
            ("no PEM at all".to_owned(), "holds no certificate"),
            (key.serialize_pem(), "holds no certificate"),
            (cut, "is no PEM"),
            (format!("{pem}{damaged}"), "cannot be decoded, number 2"),
        ] {
            let error = certificates(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        for (path, words) in [("/nowhere/ca.pem", "cannot be read"), ("/", "not a regular file")] {
            let error = read_ca_file(Path::new(path)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
