//! The size of the database after ten years: 25 nightly sources and one with a run every half hour.
//!
//! `cargo test --test history -- --ignored --nocapture` prints the figures.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that prints what it measures")]

use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use nightjar::archive::Archive;
use nightjar::clock::Clock;
use nightjar::config::{self, Environment};
use nightjar::maintenance::{HISTORY, Maintenance};
use nightjar::store::Store;
use sqlx::{Connection as _, Row as _, SqliteConnection};
use tempfile::TempDir;

/// The jobs of one night, with the timelines of successful nights.
const JOBS: &str = "\
    WITH RECURSIVE often (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM often WHERE n < 47), \
    nightly (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM nightly WHERE n < 25), \
    due (source, at) AS ( \
        SELECT 'source-of-every-half-hour', ?1 + n * 1800000 FROM often \
        UNION ALL SELECT 'source-of-every-night-' || n, ?1 + 7200000 FROM nightly) \
    INSERT INTO jobs (source, account, state, trigger, scheduled_for, created_at, due_at, attempts, \
        polls, submitting, remote_id, status_url, result_url, first_submitted_at, submitted_at, \
        expected, snapshot) \
    SELECT source, 'contoso', 'ready', 'schedule', at, at, at, 1, 5, 0, \
        '4a9ddc3c95cb4d2a8c6f5d1f0f0a1b2c', \
        'https://spatial.virtualearth.net/REST/v1/dataflows/GetDataSource/' || \
            '4a9ddc3c95cb4d2a8c6f5d1f0f0a1b2c', \
        'https://spatial.virtualearth.net/REST/v1/dataflows/GetDataSource/' || \
            '4a9ddc3c95cb4d2a8c6f5d1f0f0a1b2c/output', \
        at, at, 20000, '/var/lib/nightjar/archive/' || source || '/20261125T020001Z-100000.json' \
    FROM due";
const REMOTE: &str = "\
    INSERT INTO remote_jobs (job, account, started_at, remote_id, status_url, ended_at) \
    SELECT id, account, created_at, remote_id, status_url, created_at + 90000 \
    FROM jobs WHERE state = 'ready'";
const EVENTS: &str = "\
    INSERT INTO events (job, source, at, kind, message) \
    SELECT jobs.id, source, created_at, json_each.value ->> 0, json_each.value ->> 1 \
    FROM jobs, json_each('[[\"queued\", \"made by the schedule\"], \
        [\"submitted\", \"submitted as remote job 4a9ddc3c95cb4d2a8c6f5d1f0f0a1b2c (attempt 1)\"], \
        [\"completed\", \"the service has finished: 20000 entities are announced\"], \
        [\"archived\", \"20000 entities, 12345678 bytes, archived as 20261125T020001Z-100000\"]]') \
    WHERE state = 'ready'";
const END: &str = "\
    UPDATE jobs SET state = 'archived', finished_at = created_at + 95000 WHERE state = 'ready'";

fn begin() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 25, 0, 0, 0).unwrap()
}

#[tokio::test]
#[ignore = "it takes minutes; docs/commands.md quotes it"]
async fn ten_years_of_nights_stay_small() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config.toml");
    let settings =
        config::parse("state_dir = \"state\"\n", &file, &Environment::default()).unwrap();
    let store = Store::open(&settings.state_dir, 0).await.unwrap();
    let archive = Archive::new(&settings.archive_dir, &settings.state_dir);
    archive.prepare().unwrap();
    let (clock, mock) = Clock::manual(begin());
    let mut maintenance = Maintenance::new(store.clone(), archive, clock);
    let database = settings.state_dir.join("nightjar.db");
    let mut connection =
        SqliteConnection::connect(&format!("sqlite://{}", database.display())).await.unwrap();
    // A source cannot have two live jobs; here the jobs of a night are created before any has
    // ended.
    sqlx::query("DROP INDEX jobs_one_live").execute(&mut connection).await.unwrap();
    let mut sizes = Vec::new();
    for day in 0..3650 {
        let midnight = begin() + TimeDelta::days(day);
        let mut night = connection.begin().await.unwrap();
        sqlx::query(JOBS).bind(midnight.timestamp_millis()).execute(&mut *night).await.unwrap();
        for statement in [REMOTE, EVENTS, END] {
            sqlx::query(statement).execute(&mut *night).await.unwrap();
        }
        night.commit().await.unwrap();
        mock.set(midnight + TimeDelta::hours(28));
        // A week's jobs at a time: single nights would take longer, and less space.
        if day % 7 == 6 {
            assert_eq!(maintenance.run_due(&settings, &[HISTORY]).await, ["history"]);
        }
        if day % 365 == 364 {
            let row = sqlx::query(
                "SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM events), page_count * 4096 \
                 FROM pragma_page_count",
            )
            .fetch_one(&mut connection)
            .await
            .unwrap();
            let [jobs, events, bytes] = [0, 1, 2].map(|column| row.get::<i64, _>(column));
            println!(
                "after {:2} years: {jobs} jobs, {events} events, {} MiB",
                (day + 1) / 365,
                bytes >> 20
            );
            sizes.push(bytes);
        }
    }
    assert_eq!(store.maintenance_runs().await.unwrap()["history"].failures, 0);
    let counts = store.ended_counts().await.unwrap();
    assert_eq!(counts.iter().map(|(_, _, jobs)| jobs).sum::<i64>(), 3650 * 73, "all are counted");
    assert!(sizes[9] <= sizes[1] + sizes[1] / 10, "it grows: {sizes:?}");
    assert!(sizes[9] < 64 << 20, "{sizes:?}");
    store.close().await;
}
