//! `diff` and `log`, compared with the shell commands that only read the same snapshots.

use crate::measure::{Samples, myself, shell, status, title};
use crate::pipeline::format;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use nightjar::archive::{Archive, Attempt, Incoming, Snapshot, SnapshotMeta};
use nightjar::diff::{self, Archived, Event, Night, Options, Wanted};
use nightjar::manifest::Name;
use nightjar::simulator::Data;
use std::convert::Infallible;
use std::path::Path;
use std::time::Instant;
use tempfile::TempDir;

const SOURCE: &str = "bench";
/// One entity in so many changes from one night to the next.
const SHARE: usize = 100;

fn archive(folder: &str) -> Archive {
    Archive::new(&Path::new(folder).canonicalize().unwrap(), folder.as_ref())
}

/// The document of a night: each night another one of a hundred entities is not as on the first.
fn document(text: &str, night: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for (number, entity) in text.split_inclusive("  </StoreEntityType>\n").enumerate() {
        match number % SHARE == night % SHARE && night > 0 {
            true => out.push_str(&entity.replacen("United States", &format!("Night {night}"), 1)),
            false => out.push_str(entity),
        }
    }
    out
}

/// Files a snapshot for each night, of the document of these numbers.
async fn fill(folder: &str, entities: u64, documents: &[usize]) {
    let archive = archive(folder);
    let data = Data::Synthetic { entities, dense: false }.document();
    let text = String::from_utf8(data.to_vec()).unwrap();
    for (night, version) in documents.iter().enumerate() {
        let at: DateTime<Utc> = DateTime::from_timestamp(1_700_000_000 + night as i64, 0).unwrap();
        let job = night as i64 + 1;
        let incoming = Incoming {
            source: SOURCE,
            name: Name::new(at, job),
            attempt: Attempt::new("bench", 1),
            format: format(),
            max_bytes: 1 << 30,
        };
        let chunk = Ok::<_, Infallible>(Bytes::from(document(&text, *version)));
        let chunks = futures_util::stream::iter([chunk]);
        let received = archive.receive(incoming, chunks, |_| {}).await;
        let received = received.unwrap_or_else(|_| panic!("interrupted"));
        let meta = SnapshotMeta::new(SOURCE, crate::pipeline::target().origin(), job, at, at);
        archive.file(received, meta).unwrap();
    }
}

fn snapshots(archive: &Archive) -> Vec<Snapshot> {
    archive.snapshots(SOURCE).unwrap().collect()
}

/// Compares the two newest snapshots of a folder; prints seconds, peak KiB and changes.
pub(crate) fn diff(folder: &str) {
    let archive = archive(folder);
    let snapshots = snapshots(&archive);
    let begun = Instant::now();
    let old = Archived::new(&archive, &snapshots[1], &|_| {});
    let new = Archived::new(&archive, &snapshots[0], &|_| {});
    let diff = diff::compare(&old, &new, &Options::new(std::env::temp_dir())).unwrap();
    let mut changes = diff.changes().unwrap();
    let mut columns = 0;
    while let Some(change) = changes.next_change().unwrap() {
        columns += diff.differences(&change).len();
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{seconds} {} {columns}", status(std::process::id(), "VmHWM"));
}

/// Follows the last entity through all snapshots of a folder; prints the same.
pub(crate) fn log(folder: &str, key: &str) {
    let archive = archive(folder);
    let snapshots = snapshots(&archive);
    let begun = Instant::now();
    let nights: Vec<_> = snapshots
        .iter()
        .map(|snapshot| Night {
            document: Archived::new(&archive, snapshot, &|_| {}),
            content: snapshot.manifest.content.sha256.clone(),
            keys_are_proven: true,
        })
        .collect();
    let wanted = Wanted { key: key.to_owned(), entity_type: None };
    let mut events = 0;
    diff::follow(&nights, &wanted, |event| match event {
        Event::Change { .. } => {
            events += 1;
            Ok(())
        }
        Event::Damaged(error) => Err(error),
    })
    .unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    println!("{seconds} {} {events}", status(std::process::id(), "VmHWM"));
}

/// What a child printed.
struct Measured {
    seconds: f64,
    peak_mib: f64,
    found: f64,
}

fn child(words: &[&str]) -> Measured {
    let output = myself(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    Measured { seconds: numbers[0], peak_mib: numbers[1] / 1024.0, found: numbers[2] }
}

pub(crate) async fn run(quick: bool) {
    let (entities, nights, rounds) = if quick { (20_000, 8, 3) } else { (200_000, 40, 3) };
    let folder = TempDir::new_in(".").unwrap();
    let path = folder.path().to_str().unwrap();
    fill(path, entities, &[0, 1]).await;
    title(&format!("diff: {entities} entities against {entities}, 1 % changed, wall seconds"));
    let data = format!("{path}/{SOURCE}/*.xml.zst");
    let (mut own, mut peak, mut lines, mut read) =
        (Samples::default(), Samples::default(), Samples::default(), Samples::default());
    let mut found = 0.0;
    for _ in 0..rounds {
        let measured = child(&["child-diff", path]);
        own.add(measured.seconds);
        peak.add(measured.peak_mib);
        found = measured.found;
        let two = format!("set -- {data}; diff <(zstd -qdc $1) <(zstd -qdc $2) >/dev/null; true");
        lines.add(shell(&two));
        read.add(shell(&format!(
            "for file in {data}; do zstd -qdc $file | sha256sum; done >/dev/null"
        )));
    }
    println!("nightjar, by key and value, both proven  {}", own.show());
    println!("diff of the decompressed lines           {}", lines.show());
    println!("zstd -dc | sha256sum of each             {}", read.show());
    println!("peak MiB                                 {}", peak.show());
    println!("changed values                           {found}");

    let (entities, rounds) = (20_000, rounds.min(3));
    let folder = TempDir::new_in(".").unwrap();
    let path = folder.path().to_str().unwrap();
    // Every fourth night has the content of the one before.
    let documents: Vec<_> = (0..nights).map(|night| night * 3 / 4).collect();
    fill(path, entities, &documents).await;
    let data = format!("$(ls -i {path}/{SOURCE}/*.xml.zst | sort -nuk1,1 | awk '{{print $2}}')");
    title(&format!("log: the last of {entities} entities in {nights} snapshots, wall seconds"));
    let (mut own, mut peak, mut read) =
        (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..rounds {
        let measured = child(&["child-log", path, &format!("{entities:09}")]);
        own.add(measured.seconds);
        peak.add(measured.peak_mib);
        found = measured.found;
        read.add(shell(&format!(
            "for file in {data}; do zstd -qdc $file | sha256sum; done >/dev/null"
        )));
    }
    println!("nightjar, all proven                     {}", own.show());
    println!("zstd -dc | sha256sum of each content     {}", read.show());
    println!("ratio                                    {:.2}", own.median() / read.median());
    println!("peak MiB                                 {}", peak.show());
    println!("events                                   {found}");
}
