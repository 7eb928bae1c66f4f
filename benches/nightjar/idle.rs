//! An idle daemon compared with a process that has the same libraries and no work.

use crate::measure::{io, myself, processor_time, start, status, title, wake_ups};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// tokio, sqlx and axum, at rest.
pub(crate) async fn bare(folder: &str) {
    let options = SqliteConnectOptions::new()
        .filename(format!("{folder}/bare.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePoolOptions::new().max_connections(2).connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE t (x)").execute(&pool).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("ready");
    let app = axum::Router::new().route("/", axum::routing::get(|| async { "ok" }));
    axum::serve(listener, app).await.unwrap();
}

struct Seen {
    resident: u64,
    wakes: f64,
    processor: f64,
    writes: u64,
}

fn watch(process: u32, seconds: u64) -> Seen {
    // The effects of starting up settle first.
    std::thread::sleep(Duration::from_secs(5));
    let (wakes, cpu, writes) =
        (wake_ups(process), processor_time(process), io(process, "write_bytes"));
    std::thread::sleep(Duration::from_secs(seconds));
    Seen {
        resident: status(process, "VmRSS"),
        wakes: (wake_ups(process) - wakes) as f64 / seconds as f64,
        processor: (processor_time(process) - cpu).as_secs_f64() / seconds as f64,
        writes: io(process, "write_bytes") - writes,
    }
}

pub(crate) fn run(quick: bool) {
    let seconds = if quick { 20 } else { 300 };
    title(&format!("idle: {seconds} s with nothing due"));
    let folder = TempDir::new_in(".").unwrap();
    let path = folder.path().to_str().unwrap();
    let mut config = "state_dir = \"state\"\n[web]\nlisten = \"127.0.0.1:0\"\n\
                      [accounts.bench]\nkey_file = \"key\"\n"
        .to_owned();
    for number in 0..5 {
        config.push_str(&format!(
            "[[sources]]\nname = \"s{number}\"\naccount = \"bench\"\naccess_id = \"bench\"\n\
             data_source = \"Bench\"\nschedule = \"0 0 31 12 *\"\n"
        ));
    }
    fs::write(folder.path().join("config.toml"), config).unwrap();
    fs::write(folder.path().join("key"), "bench-key").unwrap();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_nightjar"))
        .args(["daemon", "--config", &format!("{path}/config.toml")])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut bare, _) = start(myself(&["child-bare", path]));
    let (own, other) = std::thread::scope(|scope| {
        let own = scope.spawn(|| watch(daemon.id(), seconds));
        let other = scope.spawn(|| watch(bare.id(), seconds));
        (own.join().unwrap(), other.join().unwrap())
    });
    for child in [&mut daemon, &mut bare] {
        let _ = child.kill();
        let _ = child.wait();
    }
    let row = |name: &str, own: f64, other: f64, unit: &str| {
        println!("{name:22} nightjar {own:8.2}   bare {other:8.2} {unit}");
    };
    row("resident", own.resident as f64 / 1024.0, other.resident as f64 / 1024.0, "MiB");
    println!("ratio                  {:.2}", own.resident as f64 / other.resident as f64);
    row("wake-ups a second", own.wakes, other.wakes, "");
    row("processor", own.processor * 100.0, other.processor * 100.0, "% of one core");
    row("bytes written", own.writes as f64, other.writes as f64, "");
}
