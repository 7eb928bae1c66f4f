//! The archive pipeline compared with shell pipes that neither validate nor sync.

use crate::measure::{Samples, myself, processor_time, shell, start, status, title};
use chrono::{DateTime, Utc};
use nightjar::archive::{Archive, Attempt, Incoming, SnapshotMeta};
use nightjar::clock::Clock;
use nightjar::dataset::{self, DocumentLimits};
use nightjar::format::Format;
use nightjar::manifest::Name;
use nightjar::secret::Key;
use nightjar::service::bing::{Bing, DataSource};
use nightjar::service::http::HttpClients;
use nightjar::service::{ExportService, Progress, Target};
use nightjar::settings::Http;
use nightjar::simulator::{Data, Scenario, SimSource, Simulator};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{Cursor, Write};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const KEY: &str = "bench-key";
const SOURCE: &str = "Bench";

/// Serves one document of this many entities until it is killed.
pub(crate) async fn serve(words: &[&str]) {
    let entities = words[0].parse().unwrap();
    let made = Data::Synthetic { entities, dense: words[1] == "dense" };
    // Whole in memory: generating it must not compete with receiving it.
    let data = Data::Raw { document: made.document(), entities };
    let source = SimSource::new("bench", SOURCE, KEY, data)
        .scenario(Scenario { pending_polls: 0, ..Scenario::default() });
    let simulator = Simulator::start(vec![source]).await.unwrap();
    println!("{}", simulator.endpoint());
    std::future::pending::<()>().await;
}

fn client(endpoint: &str) -> Bing {
    let clients = HttpClients::new(&Http::default()).unwrap();
    Bing::new("bench", &endpoint.parse().unwrap(), Key::new(KEY).unwrap(), clients)
}

/// What the service sends.
pub(crate) fn format() -> &'static dyn Format {
    client("http://localhost:1").format(&target())
}

pub(crate) fn target() -> Target {
    DataSource { access_id: "bench".into(), data_source: SOURCE.into(), version: None }.into()
}

fn now() -> DateTime<Utc> {
    Clock::system().now()
}

/// Starts a remote job and waits for the URL of its result.
async fn result_url(bing: &Bing) -> String {
    let submitted = bing.submit(&target(), now()).await.unwrap();
    loop {
        let polled = bing.poll(&target(), None, &submitted.status_url, now()).await.unwrap();
        if let Progress::Completed { result_url: Some(url), .. } = polled.progress {
            return url;
        }
    }
}

/// Receives, validates and files results into a folder, this many at once, and prints processor
/// seconds and peak KiB.
pub(crate) async fn receive(words: &[&str]) {
    let (endpoint, url, folder) = (words[0], words[1], words[2]);
    let bing = client(endpoint);
    let archive = Archive::new(fs::canonicalize(folder).unwrap().as_path(), folder.as_ref());
    let at_once: i64 = words[3].parse().unwrap();
    let one = async |job: i64| {
        let source = format!("bench-{job}");
        let at = now();
        let attempt = Attempt::new("bench", u64::try_from(job).unwrap());
        let download = bing.fetch(&target(), url, at).await.unwrap();
        let incoming = Incoming {
            source: &source,
            name: Name::new(at, job),
            attempt,
            format: bing.format(&target()),
            max_bytes: Http::default().max_bytes,
        };
        let received = archive
            .receive(incoming, download.chunks, |_| {})
            .await
            .unwrap_or_else(|_| panic!("interrupted"));
        let meta = SnapshotMeta::new(&source, target().origin(), job, at, at);
        let archive = archive.clone();
        tokio::task::spawn_blocking(move || archive.file(received, meta)).await.unwrap().unwrap();
    };
    futures_util::future::join_all((1..=at_once).map(one)).await;
    let me = std::process::id();
    println!("{} {}", processor_time(me).as_secs_f64(), status(me, "VmHWM"));
}

/// The parts of the pipeline, each alone on one core: their sum is the least that it can cost.
pub(crate) fn parts(url: &str) {
    let document = {
        let output = Command::new("curl").args(["-sf", url]).output().unwrap();
        assert!(output.status.success());
        output.stdout
    };
    let timed = |work: &mut dyn FnMut()| {
        let before = processor_time(std::process::id());
        let begun = Instant::now();
        work();
        // Ticks are coarse; on one busy thread the wall clock is finer.
        let ticks = processor_time(std::process::id()) - before;
        ticks.max(begun.elapsed().min(ticks + Duration::from_millis(10))).as_secs_f64()
    };
    let mut digest = Vec::new();
    let hash = timed(&mut || digest = Sha256::digest(&document).to_vec());
    let validate = timed(&mut || {
        dataset::validate(Cursor::new(&document), &DocumentLimits::default()).unwrap();
    });
    let mut stored = Vec::new();
    let compress = timed(&mut || stored = zstd::encode_all(Cursor::new(&document), 3).unwrap());
    let write = timed(&mut || {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&stored).unwrap();
    });
    println!("{hash} {validate} {compress} {write} {}", digest.len());
}

struct Served {
    child: std::process::Child,
    endpoint: String,
    url: String,
}

impl Served {
    fn start(entities: &str, form: &str) -> Served {
        let (child, endpoint) = start(myself(&["child-serve", entities, form]));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let url = runtime.block_on(result_url(&client(&endpoint)));
        Served { child, endpoint, url }
    }

    fn with_key(&self) -> String {
        let mark = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{mark}key={KEY}", self.url)
    }

    /// Wall seconds, processor seconds, peak KiB.
    fn receive(&self, at_once: u32) -> (f64, f64, f64) {
        let folder = TempDir::new_in(".").unwrap();
        let begun = Instant::now();
        let output = myself(&[
            "child-receive",
            &self.endpoint,
            &self.url,
            folder.path().to_str().unwrap(),
            &at_once.to_string(),
        ])
        .output()
        .unwrap();
        let wall = begun.elapsed().as_secs_f64();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let mut numbers = text.split_whitespace().map(|word| word.parse::<f64>().unwrap());
        (wall, numbers.next().unwrap(), numbers.next().unwrap())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn run(quick: bool) {
    let (entities, rounds) = if quick { ("20000", 3) } else { ("200000", 7) };
    for form in ["prose", "dense"] {
        title(&format!("pipeline: {entities} entities, {form}, wall seconds over loopback"));
        let served = Served::start(entities, form);
        let url = served.with_key();
        let folder = TempDir::new_in(".").unwrap();
        let out = folder.path().join("out.zst");
        let out = out.display();
        let pipe = |digest: &str| {
            format!(
                "set -o pipefail; curl -sf '{url}' | tee >({digest} >{out}.sum) | zstd -q -3 -f -o {out}"
            )
        };
        let mut wall: [Samples; 4] = Default::default();
        let mut processor = Samples::default();
        let mut sum = Samples::default();
        for _ in 0..rounds {
            let (own, cpu, _) = served.receive(1);
            wall[0].add(own);
            processor.add(cpu);
            wall[1].add(shell(&pipe("sha256sum")));
            wall[2].add(shell(&pipe("openssl dgst -sha256")));
            let begun = Instant::now();
            let output = myself(&["child-parts", &url]).output().unwrap();
            wall[3].add(begun.elapsed().as_secs_f64());
            let text = String::from_utf8(output.stdout).unwrap();
            let parts: Vec<f64> =
                text.split_whitespace().take(4).map(|word| word.parse().unwrap()).collect();
            let received = curl_processor_time(&url);
            sum.add(parts.iter().sum::<f64>() + received);
        }
        println!("nightjar, all proven and on disk      {}", wall[0].show());
        println!("curl | tee sha256sum | zstd -3        {}", wall[1].show());
        println!("curl | tee openssl sha256 | zstd -3   {}", wall[2].show());
        println!("ratio to sha256sum pipe   {:.2}", wall[0].median() / wall[1].median());
        println!("ratio to openssl pipe     {:.2}", wall[0].median() / wall[2].median());
        println!("processor seconds         {}", processor.show());
        println!("sum of its parts          {}", sum.show());
        println!("ratio                     {:.2}", processor.median() / sum.median());
    }
}

fn curl_processor_time(url: &str) -> f64 {
    let script = format!("TIMEFORMAT='%U %S'; time curl -sf -o /dev/null '{url}'");
    let output = Command::new("bash").arg("-c").arg(script).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    text.split_whitespace().map(|word| word.parse::<f64>().unwrap()).sum()
}

pub(crate) fn memory(quick: bool) {
    title("memory: peak resident MiB while receiving");
    let sizes: &[(&str, u32)] = if quick {
        &[("20000", 1), ("20000", 10)]
    } else {
        &[("20000", 1), ("200000", 1), ("200000", 10)]
    };
    for (entities, at_once) in sizes {
        let served = Served::start(entities, "prose");
        let mut peak = Samples::default();
        for _ in 0..3 {
            peak.add(served.receive(*at_once).2 / 1024.0);
        }
        println!("{at_once:2} at once of {entities:>6} entities   {}", peak.show());
    }
}
