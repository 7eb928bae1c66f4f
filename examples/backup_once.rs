//! Backs up one data source once, with the library alone: no daemon, no database, no configuration.
//! `cargo run --example backup_once -- ENDPOINT ACCESS_ID DATA_SOURCE KEY_FILE FOLDER`
//!
//! To try it, start `cargo run --example simulator` and take the arguments from what it prints.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program is its own edge")]

use chrono::Utc;
use nightjar::archive::{Archive, Attempt, Incoming, Snapshot, SnapshotMeta};
use nightjar::manifest::Name;
use nightjar::secret::Key;
use nightjar::service::bing::{Bing, DataSource};
use nightjar::service::http::HttpClients;
use nightjar::service::{ExportService, Progress, Target};
use nightjar::settings::Http;
use std::error::Error;
use std::time::Duration;

/// Exports the target and files the result as the newest snapshot of `source`.
pub(crate) async fn backup(
    service: &dyn ExportService,
    target: &Target,
    archive: &Archive,
    source: &str,
) -> Result<Snapshot, Box<dyn Error>> {
    let (job, created_at) = (archive.highest_job()? + 1, Utc::now());
    let submitted = service.submit(target, created_at).await?;
    let (id, url) = (submitted.remote_id, submitted.status_url);
    let (result_url, expected) = loop {
        match service.poll(target, id.as_deref(), &url, Utc::now()).await?.progress {
            Progress::Pending { .. } => tokio::time::sleep(Duration::from_secs(1)).await,
            Progress::Completed { result_url: Some(url), expected } => break (url, expected),
            other => return Err(format!("the export ended without a result: {other:?}").into()),
        }
    };
    let download = service.fetch(target, &result_url, Utc::now()).await?;
    let incoming = Incoming {
        source,
        name: Name::new(created_at, job),
        attempt: Attempt::new("example", 1),
        format: service.format(target),
        max_bytes: 2 << 30,
    };
    let received = archive.receive(incoming, download.chunks, |_| {}).await?;
    let meta = SnapshotMeta::new(source, target.origin(), job, created_at, Utc::now());
    Ok(archive.file(received, SnapshotMeta { remote_id: id, expected, ..meta })?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, access_id, data_source, key_file, folder] = arguments.as_slice() else {
        return Err("expected ENDPOINT ACCESS_ID DATA_SOURCE KEY_FILE FOLDER".into());
    };
    let key = Key::new(&std::fs::read_to_string(key_file)?)?;
    let clients = HttpClients::new(&Http::default())?;
    let service = Bing::new("example", &endpoint.parse()?, key, clients);
    let (access_id, data_source) = (access_id.clone(), data_source.clone());
    let target = DataSource { access_id, data_source, version: None }.into();
    let archive = Archive::new(folder.as_ref(), folder.as_ref());
    archive.prepare()?;
    let snapshot = backup(&service, &target, &archive, "example").await?;
    println!("{}: {} entities", snapshot.data().display(), snapshot.manifest.entities);
    Ok(())
}
