//! The listings of an account and of a data source's versions.

use super::*;
use crate::service::{Listing as _, VersionState};

fn service(workspaces: &str) -> String {
    format!(
        "<app:service xmlns:app='http://www.w3.org/2007/app' xmlns:atom='http://www.w3.org/2005/Atom' \
         xmlns:bsi='http://schemas.microsoft.com/bing/spatial/2010/11/odata'>{workspaces}</app:service>"
    )
}

fn version(id: &str, is_active: bool, is_staging: bool) -> String {
    format!(
        "<app:workspace bsi:isStagingDataSource='{is_staging}' bsi:isActive='{is_active}' \
         bsi:updated='2013-02-25T19:44:10Z'><atom:title>Stores</atom:title>\
         <atom:jobId>{id}</atom:jobId>\
         <app:collection app:href='https://elsewhere.example/REST/v1/data/20181f26/Stores/Shops'/>\
         </app:workspace>"
    )
}

#[tokio::test]
async fn versions_are_listed_without_an_effect() {
    let body = service(&[version("1a", false, true), version("2b", true, false)].concat());
    let host = Host::saying(answer(200, &["content-type: application/atomsvc+xml"], &body)).await;
    let versions = host.bing().versions(&target(), noon()).await.unwrap();
    let states: Vec<_> = versions.iter().map(|it| (it.id.as_str(), it.state)).collect();
    assert_eq!(states, [("2b", VersionState::Published), ("1a", VersionState::Staged)]);
    let date = DateTime::parse_from_rfc3339("2013-02-25T19:44:10Z").unwrap().to_utc();
    assert_eq!(versions[0].date, Some(date));
    let [head] = &*host.heads() else { panic!("{:?}", host.heads()) };
    assert!(
        head.starts_with("GET /REST/v1/data/20181f26/Stores?showAllVersions=true&key="),
        "{head}"
    );
}

#[tokio::test]
async fn an_account_s_data_sources_are_listed_with_their_keys() {
    let workspace = |address: &str| {
        format!("<app:workspace><app:collection app:href='{address}'/></app:workspace>")
    };
    let many: String = (0..25)
        .map(|n| workspace(&format!("http://dev.virtualearth.net/REST/v1/data/{n:04}/S%60{n}/T")))
        .collect();
    let host = Host::saying(answer(200, &[], &service(&many))).await;
    let sources = host.bing().sources(noon()).await.unwrap();
    assert_eq!(sources.len(), 25);
    assert_eq!(sources[24].origin.name(), "S`24");
    let keys = [("access_id", "0024".to_owned()), ("data_source", "S`24".to_owned())];
    assert_eq!(sources[24].keys, keys);
    assert!(host.heads()[0].starts_with("GET /REST/v1/data?key="), "{:?}", host.heads());
    let holds_key = service(&workspace("http://h/REST/v1/data/1/CANARY%2F0123456789%2Babcdef"));
    let failure = Host::saying(answer(200, &[], &holds_key)).await;
    let failure = failure.bing().sources(noon()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Protocol);
    assert_clean(&failure.message);
}

#[tokio::test]
async fn a_listing_that_cannot_be_read_whole_is_a_failure() {
    let whole = service(&version("1a", true, false));
    let cut = |at: usize| whole[..at].to_owned();
    for (bytes, kind) in [
        (answer(200, &[], ""), FailureKind::Protocol),
        (answer(200, &[], "<html><body>Sign in</body></html>"), FailureKind::Protocol),
        (answer(200, &[], "{\"d\":{}}"), FailureKind::Protocol),
        (answer(200, &[], &cut(whole.len() - 20)), FailureKind::Protocol),
        (answer(200, &[], &service(&version("", true, false))), FailureKind::Protocol),
        (answer(200, &[], &service(&version("a&#10;b", true, false))), FailureKind::Protocol),
        (answer(200, &[], "{\"statusCode\":401}"), FailureKind::Credentials),
        (answer(401, &[], ""), FailureKind::Credentials),
        (answer(404, &[], ""), FailureKind::NotFound),
        (answer(503, &[], ""), FailureKind::Unavailable),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n<service".to_vec(), FailureKind::Lost),
    ] {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        let host = Host::saying(bytes).await;
        let failure = host.bing().versions(&target(), noon()).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{shown}: {failure}");
        assert!(!failure.maybe_started);
    }
}

#[tokio::test]
async fn a_listing_larger_than_any_account_s_is_not_read_to_its_end() {
    let long = answer(200, &[], &service(&"<!-- much -->".repeat(1 << 20)));
    let host = Host::saying(long).await;
    let patient = Http { idle_timeout: Duration::from_mins(1), ..http() };
    let bing = client_with(&host.url("/REST/v1"), &patient);
    let failure = bing.versions(&target(), noon()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Protocol);
    assert!(failure.message.contains("larger than any account's"), "{failure}");
}
