//! A configuration and snapshots, for the unit tests of several modules.

use crate::archive::{Archive, Attempt, Incoming, SnapshotMeta};
use crate::config::{self, Environment};
use crate::format::DATASET;
use crate::manifest::{Name, Origin};
use crate::settings::Settings;
use crate::simulator::Data;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream;
use std::path::Path;

/// Two sources on one account: `stores`, due every night at two, and `other`, due once a year. The
/// state is in the folder `state` below this one.
const TWO_SOURCES: &str = r#"
    state_dir = "state"
    [accounts.contoso]
    key_env = "UNUSED"
    [[sources]]
    name = "stores"
    account = "contoso"
    access_id = "20181f26"
    data_source = "Stores"
    schedule = "0 2 * * *"
    [[sources]]
    name = "other"
    account = "contoso"
    access_id = "20181f26"
    data_source = "Other"
    schedule = "@yearly"
"#;

/// The settings of [`TWO_SOURCES`], with all paths below a folder.
pub(crate) fn settings(folder: &Path) -> Settings {
    let file = folder.join("config.toml");
    config::parse(TWO_SOURCES, &file, &Environment::default()).unwrap()
}

/// Files a snapshot of five entities of `stores`, made by this job at this instant, which is
/// suspicious if there are reasons.
pub(crate) async fn file_snapshot(
    archive: &Archive,
    job: i64,
    at: DateTime<Utc>,
    suspicious: &[&str],
) {
    let suspicious = suspicious.iter().map(|reason| (*reason).to_owned()).collect();
    file_with(archive, SnapshotMeta { suspicious, ..snapshot_meta(job, at) }, 5).await;
}

/// That of an ordinary snapshot of `stores`.
pub(crate) fn snapshot_meta(job: i64, at: DateTime<Utc>) -> SnapshotMeta {
    let (access_id, data_source) = ("20181f26".into(), "Stores".into());
    let origin = Origin { access_id, data_source, version: None };
    SnapshotMeta::new("stores", &origin, job, at, at)
}

/// Files a snapshot of so many entities.
pub(crate) async fn file_with(archive: &Archive, meta: SnapshotMeta, entities: u64) {
    file_document(archive, meta, &Data::first_places(entities)).await;
}

/// Files a snapshot with this document.
pub(crate) async fn file_document(archive: &Archive, meta: SnapshotMeta, data: &Data) {
    let document = data.document().to_vec();
    let chunks = stream::iter([Ok::<_, ()>(Bytes::from(document))]);
    let name = Name::new(meta.created_at, meta.job);
    let attempt = Attempt::new("1-0123456789abcdef", meta.job.unsigned_abs());
    let source = meta.source.as_str();
    let incoming = Incoming { source, name, attempt, format: &DATASET, max_bytes: 1 << 20 };
    let received = archive.receive(incoming, chunks, |_| {}).await.unwrap();
    archive.file(received, meta).unwrap();
}
