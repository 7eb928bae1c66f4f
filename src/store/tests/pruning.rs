use super::*;
use std::collections::BTreeSet;

const NO_JOBS: BTreeSet<i64> = BTreeSet::new();
const NO_SOURCE: BTreeSet<String> = BTreeSet::new();

fn days_ago(days: i64) -> DateTime<Utc> {
    noon() - TimeDelta::days(days)
}

/// A job for each of so many days, the newest one today.
async fn nightly(store: &Store, source: &str, days: i64) {
    let jobs: Vec<_> = (0..days).rev().map(|ago| (days_ago(ago), State::Archived)).collect();
    store.add_ended_jobs(&new_job(source), &jobs).await.unwrap();
}

async fn all(store: &Store) -> Vec<Job> {
    store.jobs(&Filter { limit: 1_000_000, ..Filter::default() }).await.unwrap()
}

async fn rows(store: &Store, table: &str) -> i64 {
    let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query(count).fetch_one(&store.readers).await.unwrap().try_get(0).unwrap()
}

/// As many nights as there is something to remove, all at the same instant.
async fn prune_all(store: &Store, keep: &BTreeSet<i64>, now: DateTime<Utc>) -> PrunedHistory {
    let mut all = PrunedHistory::default();
    loop {
        let one = store.prune_history(keep, &NO_SOURCE, now).await.unwrap();
        if one == PrunedHistory::default() {
            return all;
        }
        all.jobs += one.jobs;
        all.events += one.events;
    }
}

#[tokio::test]
async fn jobs_are_removed_with_all_their_rows_after_four_hundred_days() {
    let (_folder, store) = store().await;
    let half_hours =
        (0..500 * 4).rev().map(|six| (noon() - TimeDelta::hours(6 * six), State::Failed));
    store.add_ended_jobs(&new_job("often"), &half_hours.collect::<Vec<_>>()).await.unwrap();
    nightly(&store, "stores", 410).await;
    let pruned = prune_all(&store, &NO_JOBS, noon()).await;
    let (often, stores) = (500 * 4 - (400 * 4 + 1), 410 - 401);
    assert_eq!(pruned, PrunedHistory { jobs: often + stores, events: 0 });
    let left = all(&store).await;
    assert!(left.iter().all(|job| job.finished_at >= Some(days_ago(400))));
    assert_eq!(left.len(), 400 * 4 + 1 + 401);
    assert_eq!(rows(&store, "remote_jobs").await, left.len() as i64);
    assert_eq!(rows(&store, "events").await, 4 * left.len() as i64);
    assert_eq!(prune_all(&store, &NO_JOBS, noon()).await, PrunedHistory::default());
    // What is counted stays counted, and ids go on.
    let counts = store.ended_counts().await.unwrap();
    assert!(counts.contains(&("often".into(), "failed".into(), 2000)), "{counts:?}");
    assert!(counts.contains(&("stores".into(), "archived".into(), 410)), "{counts:?}");
    let took: u64 = store.durations().await.unwrap().iter().map(|took| took.jobs).sum();
    assert_eq!(took, 410);
    assert_eq!(made(&store, "stores").await.id, 2411);
}

#[tokio::test]
async fn ids_are_not_used_again_when_the_newest_job_is_removed() {
    let (_folder, store) = store().await;
    nightly(&store, "stores", 401).await;
    let gone = all(&store).await;
    let ids = gone.iter().map(|job| job.id).collect();
    assert_eq!(store.remove_jobs(ids).await.unwrap(), 401);
    assert_eq!(made(&store, "stores").await.id, 402);
}

#[tokio::test]
async fn a_clock_that_is_far_ahead_for_a_night_leaves_a_year_of_nights() {
    let (_folder, store) = store().await;
    nightly(&store, "stores", 600).await;
    prune_all(&store, &NO_JOBS, noon() + TimeDelta::days(20_000)).await;
    let left = all(&store).await;
    assert_eq!(left.len(), 400);
    assert_eq!(left.last().unwrap().created_at, days_ago(399));
}

#[tokio::test]
async fn a_clock_that_is_two_years_ahead_for_a_night_costs_two_days() {
    let (_folder, store) = store().await;
    let half_hours =
        (0..400 * 48).rev().map(|n| (noon() - TimeDelta::minutes(30 * n), State::Failed));
    store.add_ended_jobs(&new_job("often"), &half_hours.collect::<Vec<_>>()).await.unwrap();
    let ahead = noon() + TimeDelta::days(730);
    let pruned = store.prune_history(&NO_JOBS, &NO_SOURCE, ahead).await.unwrap();
    assert_eq!(pruned.jobs, 2 * 48);
    let pruned = store.prune_history(&NO_JOBS, &NO_SOURCE, noon()).await.unwrap();
    assert_eq!(pruned, PrunedHistory::default());
}

#[tokio::test]
async fn neither_what_stays_nor_an_odd_time_keeps_newer_jobs_from_going() {
    let (_folder, store) = store().await;
    // The first is in the archive; the second seems to have ended long before it was made.
    nightly(&store, "stores", 500).await;
    sqlx::query("UPDATE jobs SET finished_at = ? WHERE id = 2")
        .bind(row::at(days_ago(9000)))
        .execute(&mut connect(&store.path).await.unwrap())
        .await
        .unwrap();
    let first = store.prune_history(&BTreeSet::from([1]), &NO_SOURCE, noon()).await.unwrap();
    assert_eq!(first.jobs, 2);
    assert_eq!(prune_all(&store, &BTreeSet::from([1]), noon()).await.jobs, 500 - 401 - 1 - 2);
}

#[tokio::test]
async fn the_jobs_of_a_source_that_is_skipped_stay() {
    let (_folder, store) = store().await;
    for source in ["depots", "stores"] {
        nightly(&store, source, 402).await;
    }
    let skip = BTreeSet::from(["depots".to_owned()]);
    assert_eq!(store.prune_history(&NO_JOBS, &skip, noon()).await.unwrap().jobs, 1);
    let left = all(&store).await;
    assert_eq!(left.iter().filter(|job| job.source == "depots").count(), 402);
    assert_eq!(store.sources_with_snapshots().await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_in_the_archive_or_live_or_of_another_clock_stays() {
    let (_folder, store) = store().await;
    let ahead = noon() + TimeDelta::days(30);
    let old = [(days_ago(900), State::Archived), (days_ago(899), State::Archived)];
    store.add_ended_jobs(&new_job("stores"), &old).await.unwrap();
    store.add_ended_jobs(&new_job("stores"), &[(ahead, State::Archived)]).await.unwrap();
    let live = store.job_for(new_job("stores"), days_ago(800)).await.unwrap().0;
    nightly_after(&store).await;
    let pruned = prune_all(&store, &BTreeSet::from([1]), noon()).await;
    assert_eq!(pruned.jobs, 1);
    let kept: Vec<_> = all(&store).await.iter().map(|job| job.id).filter(|id| *id <= 4).collect();
    assert_eq!(kept, [4, 3, 1]);
    assert_eq!(live.id, 4);
    // Neither time is run again.
    store.start_schedule("stores", "s", days_ago(1000)).await.unwrap();
    let accounted = store.account_for(new_job("stores"), ahead, 0, noon()).await.unwrap();
    assert_eq!(accounted, Accounted::Already);
}

/// Enough newer jobs that the oldest are not kept for being few.
async fn nightly_after(store: &Store) {
    for ago in (0..400).rev() {
        let time = days_ago(ago) + TimeDelta::seconds(1);
        sqlx::query(
            "INSERT INTO jobs (source, account, state, trigger, scheduled_for, created_at, \
             finished_at, due_at) VALUES ('stores', 'contoso', 'failed', 'schedule', ?1, ?1, ?1, ?1)",
        )
        .bind(row::at(time))
        .execute(&mut connect(&store.path).await.unwrap())
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn the_quota_s_records_of_the_last_day_stay() {
    let (_folder, store) = store().await;
    nightly(&store, "stores", 450).await;
    // Its remote job was started while the clock was behind, and counts all the same.
    sqlx::query("UPDATE remote_jobs SET started_at = ?, ended_at = NULL WHERE job = 1")
        .bind(row::at(at(-3600)))
        .execute(&mut connect(&store.path).await.unwrap())
        .await
        .unwrap();
    let used = store.quota_used("contoso", noon()).await.unwrap();
    assert_eq!(used, (1, 2));
    assert_eq!(prune_all(&store, &NO_JOBS, noon()).await.jobs, 450 - 401 - 1);
    assert_eq!(store.quota_used("contoso", noon()).await.unwrap(), used);
}

#[tokio::test]
async fn events_without_a_job_are_removed_at_the_same_age() {
    let (_folder, store) = store().await;
    store.start_schedule("stores", "s", days_ago(1000)).await.unwrap();
    for ago in (300..700).rev() {
        store.record_missed("stores", days_ago(ago), 1, days_ago(ago)).await.unwrap();
    }
    let pruned = prune_all(&store, &NO_JOBS, noon()).await;
    assert_eq!(pruned, PrunedHistory { jobs: 0, events: 299 });
    assert_eq!(rows(&store, "events").await, 101);
    let counts = store.event_counts().await.unwrap();
    assert_eq!(counts, [("stores".to_owned(), "missed".to_owned(), 400)]);
}

#[tokio::test]
async fn the_database_stops_growing_once_its_history_is_full() {
    let (_folder, store) = store().await;
    let mut sizes = Vec::new();
    for night in (0..1600).rev() {
        let times = (0..6).map(|four| days_ago(night) + TimeDelta::hours(4 * four));
        let jobs: Vec<_> = times.map(|time| (time, State::Archived)).collect();
        store.add_ended_jobs(&new_job("often"), &jobs).await.unwrap();
        if night % 100 == 0 {
            prune_all(&store, &NO_JOBS, days_ago(night)).await;
            let row = sqlx::query("PRAGMA page_count").fetch_one(&store.readers).await.unwrap();
            sizes.push(row.try_get::<i64, _>(0).unwrap());
        }
    }
    let pages = |at: usize| sizes[at] as f64;
    assert!(pages(sizes.len() - 1) < 1.3 * pages(5), "{sizes:?}");
}
