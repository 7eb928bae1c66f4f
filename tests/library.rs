//! The service, the archive and the formats as a library: what the example does.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../examples/backup_once.rs"]
#[allow(dead_code, reason = "its main function is not called")]
mod backup_once;

use backup_once::backup;
use nightjar::archive::Archive;
use nightjar::secret::Key;
use nightjar::service::bing::{Bing, DataSource};
use nightjar::service::http::HttpClients;
use nightjar::settings::Http;
use nightjar::simulator::{Damage, Data, Scenario, SimSource, Simulator};

const KEY: &str = "key-of-the-simulated-service";

/// Backs up what a simulated service exports.
async fn backed_up(data: Data, scenario: Scenario) -> (Result<u64, String>, Vec<String>) {
    let source = SimSource::new("20181f26", "Stores", KEY, data).scenario(scenario);
    let simulator = Simulator::start(vec![source]).await.unwrap();
    let (access_id, data_source) = ("20181f26".into(), "Stores".into());
    let target = DataSource { access_id, data_source, version: None }.into();
    let clients = HttpClients::new(&Http::default()).unwrap();
    let endpoint = simulator.endpoint().parse().unwrap();
    let service = Bing::new("example", &endpoint, Key::new(KEY).unwrap(), clients);
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::new(&folder.path().join("archive"), folder.path());
    archive.prepare().unwrap();
    let filed = backup(&service, &target, &archive, "stores").await;
    let verification = archive.verify(&[], &|_| {});
    let findings = verification.findings.into_iter().map(|finding| finding.message).collect();
    let filed = filed.map_err(|error| error.to_string());
    if let Ok(snapshot) = &filed {
        assert_eq!(archive.newest("stores").unwrap().as_ref(), Some(snapshot));
        assert_eq!(snapshot.manifest.origin.name(), "Stores");
    } else {
        assert_eq!(archive.newest("stores").unwrap(), None);
    }
    (filed.map(|snapshot| snapshot.manifest.entities), findings)
}

#[tokio::test]
async fn one_source_is_backed_up_without_a_daemon() {
    let scenario = Scenario { pending_polls: 1, ..Scenario::default() };
    let (filed, findings) = backed_up(Data::first_places(20), scenario).await;
    assert_eq!((filed, findings), (Ok(20), Vec::new()));
}

#[tokio::test]
async fn an_invalid_result_is_not_filed() {
    let scenario = Scenario { pending_polls: 0, ..Scenario::default() };
    let cut = Data::first_places(20).damaged(Damage::Truncated);
    let (filed, findings) = backed_up(cut, scenario).await;
    assert!(filed.is_err(), "{filed:?}");
    assert_eq!(findings, Vec::<String>::new());
}
