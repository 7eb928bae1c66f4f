//! What is written of jobs, and what is read of it.

use super::*;
use crate::job::{Change, Mover, Outcome, WaitReason, decide};

#[tokio::test]
async fn a_source_has_at_most_one_live_job() {
    let (_folder, store) = store().await;
    let (job, is_new) = store.job_for(new_job("stores"), noon()).await.unwrap();
    assert!(is_new);
    assert_eq!(store.job_for(new_job("stores"), at(1)).await.unwrap(), (job.clone(), false));
    assert_eq!(store.live_jobs().await.unwrap(), [job]);
}

#[tokio::test]
async fn a_scheduled_time_is_accounted_for_once() {
    let (_folder, store) = store().await;
    store.start_schedule("stores", "0 2 * * * UTC", noon()).await.unwrap();
    let account = |time| store.account_for(new_job("stores"), time, 0, time);
    let Accounted::Job(job) = account(at(10)).await.unwrap() else { panic!("no job") };
    assert_eq!(job.scheduled_for, Some(at(10)));
    assert_eq!(account(at(10)).await.unwrap(), Accounted::Already);
    assert_eq!(account(at(9)).await.unwrap(), Accounted::Already);
    assert_eq!(account(at(20)).await.unwrap(), Accounted::Skipped(job.id));
    let last = store.timeline(job.id).await.unwrap().pop().unwrap();
    assert_eq!(last.kind, "skipped");
    assert!(last.message.contains("2026-11-25T12:00:20Z"), "{}", last.message);
    assert_eq!(store.cursor("stores").await.unwrap().unwrap().cursor, at(20));
}

#[tokio::test]
async fn missed_times_can_be_recorded_without_a_job() {
    let (_folder, store) = store().await;
    store.start_schedule("stores", "0 2 * * * UTC", noon()).await.unwrap();
    assert!(store.record_missed("stores", at(10), 2, at(100)).await.unwrap());
    assert!(!store.record_missed("stores", at(10), 2, at(100)).await.unwrap());
    assert_eq!(store.live_jobs().await.unwrap(), []);
}

#[tokio::test]
async fn a_changed_schedule_restarts_and_an_unchanged_one_does_not() {
    let (_folder, store) = store().await;
    assert_eq!(store.cursor("stores").await.unwrap(), None);
    store.start_schedule("stores", "0 2 * * * UTC", noon()).await.unwrap();
    store.start_schedule("stores", "0 2 * * * UTC", at(50)).await.unwrap();
    assert_eq!(store.cursor("stores").await.unwrap().unwrap().since, noon());
    store.start_schedule("stores", "0 3 * * * UTC", at(60)).await.unwrap();
    let cursor = store.cursor("stores").await.unwrap().unwrap();
    assert_eq!((cursor.since, cursor.cursor), (at(60), at(60)));
}

#[tokio::test]
async fn a_live_job_can_be_cancelled_once() {
    let (_folder, store) = store().await;
    let job = submitting(&store, "stores", "a").await;
    assert_eq!(store.cancel(job.id, at(1)).await.unwrap(), Cancelled::Now);
    assert_eq!(store.cancel(job.id, at(2)).await.unwrap(), Cancelled::Before(State::Cancelled));
    assert_eq!(store.cancel(99, at(2)).await.unwrap(), Cancelled::Unknown);
    let job = store.job(job.id).await.unwrap().unwrap();
    assert_eq!((job.state, job.finished_at), (State::Cancelled, Some(at(1))));
    assert_eq!(store.held("a").await.unwrap(), Vec::<i64>::new());
}

#[tokio::test]
async fn what_was_filed_before_the_cancel_stays_archived() {
    let (_folder, store) = store().await;
    let job = submitting(&store, "stores", "a").await;
    store.cancel(job.id, at(1)).await.unwrap();
    let snapshot = PathBuf::from("/archive/stores/x.json");
    let late = async |seconds| {
        let outcome = Outcome::Archived {
            manifest: snapshot.clone(),
            message: "3 entities".into(),
            suspicious: Vec::new(),
            notes: Vec::new(),
        };
        let decision = move |job: &Job| decide(job, &outcome, &policy(), at(seconds), 0.5);
        store.conclude(job.clone(), "a", decision, at(seconds)).await.unwrap().is_some()
    };
    assert!(late(2).await);
    assert!(!late(3).await);
    let stored = store.job(job.id).await.unwrap().unwrap();
    assert_eq!((stored.state, stored.snapshot), (State::Archived, Some(snapshot)));
    assert_eq!(stored.finished_at, Some(at(1)));
    let last = store.timeline(job.id).await.unwrap().pop().unwrap();
    assert_eq!(last.kind, "archived");
    assert!(last.message.contains("before the cancel"), "{}", last.message);
    let ended: Vec<_> =
        store.ended_counts().await.unwrap().into_iter().filter(|(.., jobs)| *jobs > 0).collect();
    assert_eq!(ended, [("stores".to_owned(), "archived".to_owned(), 1)], "it counts once");
}

#[tokio::test]
async fn an_ended_restore_that_cannot_be_decoded_does_not_keep_the_others() {
    use crate::job::{Goal, Restore};
    let (_folder, store) = store().await;
    for (source, spoil) in
        [("a", "'{\"released\":false}'"), ("b", "'no JSON'"), ("stores", "restore")]
    {
        let restore = Restore::new(Goal::Load, "x".into());
        store.create_restore(new_job(source), restore, noon()).await.unwrap();
        let set = format!(
            "UPDATE jobs SET restore = {spoil}, state = 'failed', finished_at = 1, \
                           error_kind = 'storage', error_message = 'm' WHERE source = '{source}'"
        );
        let set = sqlx::query(sqlx::AssertSqlSafe(set));
        store.write(move |db| Box::pin(set.execute(db))).await.unwrap();
    }
    let sources: Vec<_> =
        store.unreleased().await.unwrap().into_iter().map(|job| job.source).collect();
    assert_eq!(sources, ["stores"]);
}

#[tokio::test]
async fn changes_of_other_jobs_are_known_by_their_identifiers() {
    let (_folder, store) = store().await;
    let add = "INSERT INTO remote_jobs (job, account, started_at, remote_id, is_change) \
               VALUES (1, 'contoso', 1, 'Ours', 1), (2, 'contoso', 1, 'Theirs', 1), \
                      (2, 'contoso', 1, 'export', 0), (2, 'contoso', 1, NULL, 1)";
    for source in ["one", "two"] {
        let restore = crate::job::Restore::new(crate::job::Goal::Load, "x".into());
        store.create_restore(new_job(source), restore, noon()).await.unwrap();
    }
    store.write(move |db| Box::pin(sqlx::query(add).execute(db))).await.unwrap();
    let others = store.remote_ids_of_others(1).await.unwrap();
    assert_eq!(others, BTreeSet::from(["theirs".to_owned()]));
}

#[tokio::test]
async fn the_history_is_listed_newest_first_and_by_source_and_state() {
    let (_folder, store) = store().await;
    let one = made(&store, "one").await;
    store.cancel(one.id, at(1)).await.unwrap();
    let again = made(&store, "one").await;
    let two = made(&store, "two").await;
    let ids = |source: Option<&str>, state, limit| {
        let filter = Filter { source: source.map(str::to_owned), state, limit, before: None };
        let store = store.clone();
        async move {
            let jobs = store.jobs(&filter).await.unwrap();
            jobs.into_iter().map(|job| job.id).collect::<Vec<_>>()
        }
    };
    assert_eq!(ids(None, None, 50).await, [two.id, again.id, one.id]);
    assert_eq!(ids(None, None, 1).await, [two.id]);
    assert_eq!(ids(Some("one"), None, 50).await, [again.id, one.id]);
    assert_eq!(ids(None, Some(State::Cancelled), 50).await, [one.id]);
    assert_eq!(ids(Some("one"), Some(State::Queued), 50).await, [again.id]);
    assert_eq!(store.first_job("one").await.unwrap(), Some(noon()));
    assert_eq!(store.first_job("none").await.unwrap(), None);
    // Cancelling says nothing about how the source is doing.
    assert_eq!(store.last_ended("one").await.unwrap(), None);
    let counts = store.ended_counts().await.unwrap();
    assert_eq!(counts, [("one".to_owned(), "cancelled".to_owned(), 1)]);
}

#[tokio::test]
async fn job_numbers_go_on_above_the_archive_s() {
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path(), 41).await.unwrap();
    assert_eq!(made(&store, "stores").await.id, 42);
    store.close().await;
    let store = Store::open(folder.path(), 7).await.unwrap();
    assert_eq!(made(&store, "others").await.id, 43);
}

#[tokio::test]
async fn two_processes_writing_at_once_lose_nothing() {
    let folder = TempDir::new().unwrap();
    let one = Store::open(folder.path(), 0).await.unwrap();
    let two = Store::open(folder.path(), 0).await.unwrap();
    let make = |store: Store, name: &'static str| async move {
        for number in 0..40 {
            made(&store, &format!("{name}-{number}")).await;
        }
    };
    tokio::join!(make(one.clone(), "a"), make(two.clone(), "b"), make(one.clone(), "c"));
    assert_eq!(two.live_jobs().await.unwrap().len(), 120);
    assert!(one.wal_fingerprint().is_some());
}

#[tokio::test]
async fn a_failing_write_does_not_take_others_of_its_commit_with_it() {
    let (_folder, store) = store().await;
    let broken = store.write(|db| {
        Box::pin(async move {
            sqlx::query("INSERT INTO events (source, at, kind, message) VALUES ('x', 0, 'k', 'm')")
                .execute(&mut *db)
                .await?;
            sqlx::query("SELECT * FROM nowhere").execute(db).await.map(drop)
        })
    });
    let (broken, made) = tokio::join!(broken, store.job_for(new_job("stores"), noon()));
    assert!(matches!(broken, Err(StoreError::Sql(_))));
    assert!(made.unwrap().1);
    let rows = sqlx::query("SELECT count(*) FROM events WHERE source = 'x'")
        .fetch_one(&store.readers)
        .await
        .unwrap();
    assert_eq!(rows.try_get::<i64, _>(0).unwrap(), 0);
}

#[tokio::test]
async fn an_alert_is_claimed_by_one_process_and_kept_until_it_is_over() {
    let (_folder, store) = store().await;
    let first = SentAlert {
        key: "source/stores".into(),
        kind: "overdue".into(),
        about: "stores".into(),
        message: "late".into(),
        since: at(0),
        sent_at: at(0),
        acknowledged: false,
    };
    assert!(store.claim_alert(&first, None).await.unwrap());
    assert!(!store.claim_alert(&first, None).await.unwrap(), "another process has claimed it");
    store.acknowledge_alert(&first.key).await.unwrap();
    let acknowledged = SentAlert { acknowledged: true, ..first };
    assert_eq!(store.sent_alerts().await.unwrap(), std::slice::from_ref(&acknowledged));

    let later = at(0) + TimeDelta::days(1);
    let still = SentAlert { sent_at: later, message: "still late".into(), ..acknowledged };
    assert!(store.claim_alert(&still, Some(at(0))).await.unwrap());
    assert!(!store.claim_alert(&still, Some(at(0))).await.unwrap());
    assert_eq!(store.sent_alerts().await.unwrap(), std::slice::from_ref(&still));

    // Another problem of the same key: no channel has accepted it yet.
    let last = later + TimeDelta::hours(1);
    let other =
        SentAlert { kind: "failed".into(), sent_at: last, acknowledged: false, ..still.clone() };
    assert!(store.claim_alert(&other, Some(later)).await.unwrap());
    assert_eq!(store.sent_alerts().await.unwrap(), std::slice::from_ref(&other));

    assert!(!store.end_alert(&other.key, later).await.unwrap(), "it was sent again since");
    assert!(store.end_alert(&other.key, last).await.unwrap());
    assert!(!store.end_alert(&other.key, last).await.unwrap());
    assert_eq!(store.sent_alerts().await.unwrap(), []);
}

#[tokio::test]
async fn a_snapshot_is_imported_once_and_ends_the_job_that_an_older_copy_has_as_live() {
    let (_folder, store) = store().await;
    let live = made(&store, "stores").await;
    let kept = |job, scheduled_for| ArchivedJob {
        job,
        source: "stores".into(),
        account: "contoso".into(),
        version: None,
        scheduled_for,
        submitted_at: at(10),
        completed_at: at(20),
        remote_id: Some("r".into()),
        expected: Some(3),
        snapshot: "/archive/stores/x.json".into(),
    };
    let all = || vec![kept(live.id, None), kept(7, Some(at(0))), kept(9, Some(at(0)))];
    assert_eq!(store.import_archived(all(), at(30)).await.unwrap(), 3);
    assert_eq!(store.import_archived(all(), at(30)).await.unwrap(), 0);
    assert_eq!(store.live_jobs().await.unwrap(), []);
    let job = async |id| store.job(id).await.unwrap().unwrap();
    assert_eq!(job(live.id).await.state, State::Archived);
    assert_eq!(job(7).await.scheduled_for, Some(at(0)));
    assert_eq!(job(9).await.scheduled_for, None, "a time has one job");
    assert_eq!(store.quota_used("contoso", at(60)).await.unwrap(), (0, 2));
    let counts = store.ended_counts().await.unwrap();
    assert_eq!(counts, [("stores".to_owned(), "archived".to_owned(), 3)]);
    assert_eq!(made(&store, "stores").await.id, 10);

    store.advance_schedule("stores", "daily", at(0), at(100)).await.unwrap();
    store.advance_schedule("stores", "daily", at(0), at(50)).await.unwrap();
    let cursor = store.cursor("stores").await.unwrap().unwrap();
    assert_eq!((cursor.since, cursor.cursor), (at(0), at(100)));
}

#[tokio::test]
async fn waits_in_a_row_for_one_reason_are_one_line_with_a_count() {
    let (_folder, store) = store().await;
    let job = made(&store, "stores").await;
    let add = async |event: JobEvent, seconds: i64| {
        let job = job.clone();
        let add = store.write(move |db| {
            Box::pin(async move {
                super::super::persist::add_event(db, &job, &event, at(seconds)).await
            })
        });
        add.await.unwrap();
    };
    let wait = |why, reason: &str, until| {
        let reason = reason.to_owned();
        JobEvent::Waits { why, reason, until: at(until) }
    };
    let limit = |reason: &str, until| wait(WaitReason::Limit, reason, until);
    let note = || JobEvent::Note("full".to_owned());
    // Two reasons that take turns repeat, too.
    for second in 1..=100 {
        let reason = ["full", "busy"][usize::try_from(second % 2).unwrap()];
        add(limit(reason, second), second).await;
    }
    add(wait(WaitReason::Retry, "full", 101), 101).await;
    add(note(), 102).await;
    add(note(), 103).await;
    add(limit("full", 104), 104).await;

    let lines = store.timeline(job.id).await.unwrap();
    let lines: Vec<_> = lines
        .iter()
        .skip(1)
        .map(|line| (line.kind.as_str(), line.message.as_str(), line.count, line.at, line.last_at))
        .collect();
    assert_eq!(
        lines,
        [
            ("limit", "busy; next try at 2026-11-25T12:01:39Z", 50, at(1), at(99)),
            ("limit", "full; next try at 2026-11-25T12:01:40Z", 50, at(2), at(100)),
            ("retry", "full; next try at 2026-11-25T12:01:41Z", 1, at(101), at(101)),
            ("note", "full", 1, at(102), at(102)),
            ("note", "full", 1, at(103), at(103)),
            ("limit", "full; next try at 2026-11-25T12:01:44Z", 1, at(104), at(104)),
        ]
    );
    let counts = store.event_counts().await.unwrap();
    let count = |kind: &str| counts.iter().find(|(_, it, _)| it == kind).map(|(.., count)| *count);
    assert_eq!(
        (count("limit"), count("retry"), count("note")),
        (Some(101), Some(1), Some(2)),
        "metrics count each"
    );
}

#[tokio::test]
async fn reading_for_the_page_takes_no_connection_from_others() {
    let (_folder, store) = store().await;
    let page = store.for_page();
    let job = made(&store, "stores").await;
    // The page is busy with as much as it may be.
    let first = page.readers.acquire().await.unwrap();
    let second = page.readers.acquire().await.unwrap();
    assert_eq!(store.job(job.id).await.unwrap().unwrap().id, job.id);
    assert_eq!(store.live_jobs().await.unwrap().len(), 1);
    tokio::time::pause();
    let error = page.job(job.id).await.unwrap_err();
    assert!(error.is_busy(), "{error}");
    assert!(error.is_storage(), "passing trouble: {error}");
    tokio::time::resume();
    drop((first, second));
    assert_eq!(page.job(job.id).await.unwrap().unwrap().id, job.id);
    page.close_reading().await;
    assert_eq!(store.job(job.id).await.unwrap().unwrap().id, job.id, "others go on");
}

#[tokio::test]
async fn a_read_for_the_page_that_takes_too_long_is_ended() {
    let (_folder, store) = store().await;
    let page = store.for_page();
    for _ in 0..2 {
        let endless = sqlx::query(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
        );
        let error = StoreError::from(endless.fetch_one(&page.readers).await.unwrap_err());
        assert!(error.is_busy(), "{error}");
    }
    assert!(page.live_jobs().await.unwrap().is_empty(), "its connections are as good as before");
}

#[tokio::test]
async fn lists_go_on_before_a_job_and_timelines_end_with_the_newest_lines() {
    let (_folder, store) = store().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(made(&store, &format!("s{number}")).await.id);
    }
    let filter = Filter { limit: 2, before: Some(ids[3]), ..Filter::default() };
    let listed: Vec<i64> = store.jobs(&filter).await.unwrap().iter().map(|job| job.id).collect();
    assert_eq!(listed, [ids[2], ids[1]]);
    store.cancel(ids[0], at(5)).await.unwrap();
    let newest = store.newest_events(ids[0], 1).await.unwrap();
    assert_eq!(newest.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["cancelled"]);
    let all = store.newest_events(ids[0], 9).await.unwrap();
    let kinds: Vec<_> = all.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["cancelled", "queued"]);
}

#[tokio::test]
async fn a_move_that_the_table_does_not_have_is_refused_and_nothing_is_stored() {
    let (_folder, store) = store().await;
    let job = submitting(&store, "stores", "a").await;
    let forged = |job: &Job| Change::forged(job, Mover::Poll, State::Ready);
    let refused = store.conclude(job.clone(), "a", forged, at(1)).await.unwrap_err();
    let StoreError::IllegalMove(illegal) = &refused else { panic!("{refused:?}") };
    assert_eq!((illegal.job, illegal.from), (job.id, Some(State::Queued)));
    assert_eq!((illegal.to, illegal.by), (State::Ready, Mover::Poll));
    assert!(!refused.is_storage() && !refused.is_doubtful(), "trying again would not help");
    assert!(refused.to_string().contains("may not become ready"), "{refused}");
    assert_eq!(store.job(job.id).await.unwrap().unwrap(), job);
    assert_eq!(store.timeline(job.id).await.unwrap().len(), 1);
    assert_eq!(store.held("a").await.unwrap(), [job.id], "it stays with its worker");
}

#[tokio::test]
async fn a_write_that_panics_stores_nothing_and_leaves_the_database_open() {
    let (_folder, store) = store().await;
    let job = submitting(&store, "stores", "a").await;
    let panics = |_: &Job| -> Change { panic!("index out of bounds") };
    let error = store.conclude(job.clone(), "a", panics, at(1)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Panicked(why) if why.contains("index out of bounds")));
    assert!(!error.is_storage() && !error.is_doubtful(), "it is not tried again");
    assert_eq!(store.job(job.id).await.unwrap(), Some(job.clone()));
    let ended = Outcome::Panicked("index out of bounds".into());
    let decision = move |job: &Job| decide(job, &ended, &policy(), at(2), 0.5);
    assert!(store.conclude(job, "a", decision, at(2)).await.unwrap().is_some());
}
