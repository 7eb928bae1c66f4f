//! Over real TLS, with an authority of the test's own.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use tokio_rustls::TlsAcceptor;

/// A server for the name `localhost` with a certificate for `name` that is good until this year,
/// and its authority in a file.
async fn serve(name: &str, until: i32, authority: &Path) -> (u16, AbortOnDropHandle<()>) {
    let issuer_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&issuer_key).unwrap();
    std::fs::write(authority, root.pem()).unwrap();
    let issuer = Issuer::new(params, issuer_key);
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    leaf.not_after = date_time_ymd(until, 1, 1);
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    serve_as(leaf.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap()).await
}

async fn serve_as(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> (u16, AbortOnDropHandle<()>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut buffer = vec![0; 16 << 10];
            let _ = stream.read(&mut buffer).await;
            let body = about(&format!(
                r#""id":"1","links":[{}]"#,
                link("self", "", &format!("http://localhost:{port}/s"))
            ));
            let _ = stream.write_all(&answer(201, &[], &body)).await;
            let _ = stream.shutdown().await;
        }
    });
    (port, AbortOnDropHandle::new(task))
}

async fn submit(port: u16, ca_file: Option<&Path>) -> Result<Submitted, Failure> {
    let http = Http { ca_file: ca_file.map(Path::to_owned), ..http() };
    let bing = client_with(&format!("https://localhost:{port}/REST/v1"), &http);
    bing.submit(&target(), noon()).await
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_configured() {
    let folder = tempfile::TempDir::new().unwrap();
    let authority = folder.path().join("ca.pem");
    let (port, _server) = serve("localhost", 4000, &authority).await;
    let submitted = submit(port, Some(&authority)).await.unwrap();
    // The link was given without TLS, and is asked with it.
    assert_eq!(submitted.status_url, format!("https://localhost:{port}/s"));
}

#[tokio::test]
async fn an_unknown_authority_or_a_wrong_name_is_refused() {
    let folder = tempfile::TempDir::new().unwrap();
    let authority = folder.path().join("ca.pem");
    let (port, _server) = serve("localhost", 4000, &authority).await;
    let unknown = submit(port, None).await.unwrap_err();
    assert_eq!(unknown.kind, FailureKind::NotSent);
    assert!(unknown.message.contains("set http.ca_file to"), "{unknown}");
    let (port, _server) = serve("elsewhere.example", 4000, &authority).await;
    let wrong = submit(port, Some(&authority)).await.unwrap_err();
    assert_eq!(wrong.kind, FailureKind::NotSent);
    let words = "its certificate is for elsewhere.example, not for localhost";
    assert!(wrong.message.contains(words), "{wrong}");
    let (port, _server) = serve("localhost", 2020, &authority).await;
    let expired = submit(port, Some(&authority)).await.unwrap_err();
    assert_eq!(expired.kind, FailureKind::NotSent);
    let words = "its certificate expired at 2020-01-01 00:00:00 UTC";
    assert!(expired.message.contains(words), "{expired}");
}

#[tokio::test]
async fn unusable_certificates_and_plain_http_are_explained() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("ca.pem");
    // As people make them: an authority that serves by itself.
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = params.self_signed(&key).unwrap();
    std::fs::write(&path, own.pem()).unwrap();
    let (port, _server) =
        serve_as(own.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap()).await;
    let failure = submit(port, Some(&path)).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NotSent);
    assert!(failure.message.contains("an authority (CA), not of a server"), "{failure}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let _plain = AbortOnDropHandle::new(tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(&answer(400, &[], "speak up")).await.unwrap();
        std::future::pending::<()>().await;
    }));
    let failure = submit(port, None).await.unwrap_err();
    assert!(failure.message.contains("does not speak TLS"), "{failure}");
}

#[tokio::test]
async fn an_unknown_host_name_is_reported_as_such() {
    // RFC 6761: there is never such a name
    let failure =
        client("https://nightjar.invalid/REST/v1").submit(&target(), noon()).await.unwrap_err();
    assert_eq!((failure.kind, failure.maybe_started), (FailureKind::NotSent, false));
    assert!(failure.message.contains("nightjar.invalid could not be reached"), "{failure}");
}

#[test]
fn an_unusable_ca_file_is_named() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("ca.pem");
    for (text, words) in [
        (None, "cannot be read"),
        (Some(""), "is empty"),
        (Some("no certificate"), "holds no certificate"),
    ] {
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let http = Http { ca_file: Some(path.clone()), ..http() };
        let error = HttpClients::new(&http).unwrap_err().to_string();
        assert!(error.contains("ca.pem") && error.contains(words), "{error}");
    }
}
