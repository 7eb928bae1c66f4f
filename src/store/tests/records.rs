use super::*;
use crate::job::{Outcome, WaitReason, decide};
use std::os::unix::fs::PermissionsExt;

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
async fn the_files_are_private() {
    let (folder, store) = store().await;
    made(&store, "stores").await;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{}", entry.path().display());
    }
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_as_it_is() {
    let (folder, store) = store().await;
    store
        .write(|db| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO _sqlx_migrations \
                     (version, description, installed_on, success, checksum, execution_time) \
                     VALUES (9999, 'later', '2030-01-01', 1, x'00', 0)",
                )
                .execute(db)
                .await
                .map(drop)
            })
        })
        .await
        .unwrap();
    store.close().await;
    let error = Store::open(folder.path(), 0).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 9999, .. }), "{error}");
    assert!(error.to_string().contains("newer version of nightjar"));
}

#[tokio::test]
async fn an_older_database_is_copied_before_it_is_brought_up_to_date() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(FILE);
    let mut connection =
        SqliteConnection::connect_with(&options(&path).create_if_missing(true)).await.unwrap();
    for statement in [
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
         installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, \
         checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)",
        "CREATE TABLE old (x)",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    let store = Store::open(folder.path(), 0).await.unwrap();
    made(&store, "stores").await;
    let copy = folder.path().join("nightjar.db.schema-0");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let mut copied = SqliteConnection::connect_with(&options(&copy)).await.unwrap();
    sqlx::query("SELECT x FROM old").execute(&mut copied).await.unwrap();
    copied.close().await.unwrap();
    store.close().await;
    // Downgraded, used, and upgraded again: the copy is of now.
    let mut connection = connect(&folder.path().join(FILE)).await.unwrap();
    sqlx::query("DELETE FROM _sqlx_migrations").execute(&mut connection).await.unwrap();
    sqlx::query("CREATE TABLE newer (x)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    Store::open(folder.path(), 0).await.unwrap_err();
    let mut copied = SqliteConnection::connect_with(&options(&copy)).await.unwrap();
    sqlx::query("SELECT x FROM newer").execute(&mut copied).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let folder = TempDir::new().unwrap();
    fs::write(
        folder.path().join(FILE),
        "not a database, but long enough to look like one".repeat(9),
    )
    .unwrap();
    let error = Store::open(folder.path(), 0).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains(FILE), "{error}");
}

#[tokio::test]
async fn reading_creates_nothing() {
    let folder = TempDir::new().unwrap();
    assert!(Store::open_for_reading(folder.path()).await.unwrap().is_none());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_reader_sees_a_new_database_completely_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    // A process that died while it made the database.
    fs::write(folder.path().join(FILE), "").unwrap();
    assert!(Store::open_for_reading(folder.path()).await.unwrap().is_none());
    let mut connection = connect(&folder.path().join(FILE)).await.unwrap();
    let half = MIGRATIONS.iter().take(2).cloned().collect::<Vec<_>>();
    for migration in half {
        sqlx::raw_sql(migration.sql).execute(&mut connection).await.unwrap();
    }
    for statement in [
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY)",
        "INSERT INTO _sqlx_migrations VALUES (1), (2)",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    assert!(Store::open_for_reading(folder.path()).await.unwrap().is_none());
    // One that has a history is another matter.
    let job = "INSERT INTO jobs (source, account, state, trigger, created_at, due_at) \
               VALUES ('stores', 'contoso', 'queued', 'manual', 0, 0)";
    sqlx::query(job).execute(&mut connection).await.unwrap();
    let older = Store::open_for_reading(folder.path()).await.unwrap_err();
    assert!(matches!(older, StoreError::Older { found: 2, .. }), "{older:?}");
    connection.close().await.unwrap();
}

#[test]
fn locks_end_with_their_holders() {
    let folder = TempDir::new().unwrap();
    let first = lock::daemon(folder.path()).unwrap().unwrap();
    let other = lock::daemon(folder.path()).unwrap().unwrap_err();
    assert_eq!(other, std::process::id().to_string());
    drop(first);
    assert!(lock::daemon(folder.path()).unwrap().is_ok());
}

#[test]
fn a_daemon_can_tell_a_rebuilding_from_another_daemon() {
    let folder = TempDir::new().unwrap();
    let rebuilding = lock::rebuild(folder.path()).unwrap().unwrap();
    let holder = lock::daemon(folder.path()).unwrap().unwrap_err();
    assert_eq!(holder.strip_suffix(lock::REBUILDS), Some(std::process::id().to_string().as_str()));
    drop(rebuilding);
    let daemon = lock::daemon(folder.path()).unwrap().unwrap();
    let holder = lock::rebuild(folder.path()).unwrap().unwrap_err();
    assert_eq!(holder, std::process::id().to_string());
    drop(daemon);
}

#[test]
fn workers_register_while_others_look_all_the_time() {
    let folder = TempDir::new().unwrap();
    let _one = lock::Worker::register(folder.path(), 0).unwrap();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                    assert!(lock::any_worker_alive(folder.path(), None));
                }
            });
        }
        let all: Vec<_> =
            (1..200).map(|unique| lock::Worker::register(folder.path(), unique)).collect();
        is_over.store(true, std::sync::atomic::Ordering::SeqCst);
        for worker in all {
            worker.unwrap();
        }
    });
}

#[test]
fn a_worker_is_alive_as_long_as_its_process_holds_its_file() {
    let folder = TempDir::new().unwrap();
    let me = lock::Worker::register(folder.path(), 1).unwrap();
    let other = lock::Worker::register(folder.path(), 2).unwrap();
    let name = other.name.clone();
    assert!(me.is_alive(&me.name));
    assert!(me.is_alive(&name));
    drop(other);
    assert!(!me.is_alive(&name));
    // One that was killed leaves its file, without the lock.
    fs::write(folder.path().join("workers").join("123-000000000000dead"), "").unwrap();
    me.sweep();
    assert!(!folder.path().join("workers").join("123-000000000000dead").exists());
    assert!(me.is_alive(&me.name));
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

    // Another problem of the same key: nobody has seen it yet.
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
async fn the_newest_seven_copies_are_kept_and_each_is_intact() {
    let (folder, store) = store().await;
    made(&store, "stores").await;
    let mut kept = Vec::new();
    for day in 0..9 {
        kept.push(store.keep_copy(at(day * 86_400)).await.unwrap());
    }
    kept.reverse();
    kept.truncate(7);
    assert_eq!(copies::copies(folder.path()), kept);
    let mode = fs::metadata(&kept[0]).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    store.close().await;
    let aside = copies::move_aside(folder.path(), at(0)).unwrap();
    assert_eq!(copies::moved_aside(folder.path()), [aside]);
    copies::restore(folder.path(), &kept[0]).unwrap();
    let back = Store::open(folder.path(), 0).await.unwrap();
    assert_eq!(back.integrity().await.unwrap(), Vec::<String>::new());
    assert_eq!(back.live_jobs().await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_newest_copy_is_kept_and_stays_the_newest_although_a_clock_was_ahead() {
    let (folder, store) = store().await;
    for day in 0..7 {
        store.keep_copy(at((365 + day) * 86_400)).await.unwrap();
    }
    let made = store.keep_copy(at(7 * 86_400)).await.unwrap();
    let copies = copies::copies(folder.path());
    assert_eq!((copies.len(), &copies[0]), (7, &made));
    let next = store.keep_copy(at(8 * 86_400)).await.unwrap();
    assert_eq!(copies::copies(folder.path())[..2], [next, made]);
}

#[tokio::test]
async fn a_snapshot_is_imported_once_and_ends_the_job_that_an_older_copy_has_as_live() {
    let (_folder, store) = store().await;
    let live = made(&store, "stores").await;
    let kept = |job, scheduled_for| ArchivedJob {
        job,
        source: "stores".into(),
        account: "contoso".into(),
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

/// Closes a database and overwrites the page at which its jobs begin.
async fn damage(folder: &TempDir, store: Store) {
    use std::os::unix::fs::FileExt as _;
    let row = sqlx::query("SELECT rootpage FROM sqlite_schema WHERE name = 'jobs'")
        .fetch_one(&store.readers)
        .await
        .unwrap();
    let page = u64::try_from(row.try_get::<i64, _>(0).unwrap()).unwrap();
    store.close().await;
    let file = fs::OpenOptions::new().write(true).open(folder.path().join(FILE)).unwrap();
    file.write_all_at(&[0xa5; 4096], (page - 1) * 4096).unwrap();
}

#[tokio::test]
async fn a_damaged_database_is_not_copied_and_the_good_copies_stay() {
    let (folder, store) = store().await;
    made(&store, "stores").await;
    let mut good = Vec::new();
    for day in 0..7 {
        good.insert(0, store.keep_copy(at(day * 86_400)).await.unwrap());
    }
    damage(&folder, store).await;
    let store = Store::open(folder.path(), 0).await.unwrap();
    let refused = store.keep_copy(at(7 * 86_400)).await.unwrap_err();
    assert!(refused.is_damage(), "{refused}");
    assert!(refused.to_string().contains("nightjar reindex"), "{refused}");
    assert_eq!(copies::copies(folder.path()), good);
    let left = fs::read_dir(folder.path().join("copies")).unwrap().count();
    assert_eq!(left, 7, "an unfinished copy is left");
    assert!(copies::is_suspect(folder.path()));
    copies::clear_suspect(folder.path()).unwrap();
    store.close().await;
    assert!(!copies::is_suspect(folder.path()));
}

#[tokio::test]
async fn a_write_that_meets_damage_marks_the_database_and_is_no_storage_error() {
    let (folder, store) = store().await;
    let job = made(&store, "stores").await;
    damage(&folder, store).await;
    let store = Store::open(folder.path(), 0).await.unwrap();
    let broken = store.cancel(job.id, at(0)).await.unwrap_err();
    assert!(broken.is_damage() && !broken.is_storage(), "{broken:?}");
    assert!(copies::is_suspect(folder.path()));
}

#[tokio::test]
async fn nothing_is_stored_or_copied_once_another_file_is_in_the_database_s_place() {
    let (folder, store) = store().await;
    let job = made(&store, "stores").await;
    let copy = store.keep_copy(at(0)).await.unwrap();
    let path = folder.path().join(FILE);
    let own = folder.path().join("own");
    store.check_in_place().unwrap();
    for emptied in [false, true] {
        crate::files::rename(&path, &own).unwrap();
        fs::copy(&own, &path).unwrap();
        if emptied {
            fs::write(&path, "").unwrap();
        }
        let new = NewJob {
            source: "depots".into(),
            account: "contoso".into(),
            trigger: Trigger::Manual,
            note: String::new(),
        };
        let refused = [
            store.check_in_place().unwrap_err(),
            store.job_for(new.clone(), at(1)).await.unwrap_err(),
            store.account_for(new, at(1), 0, at(1)).await.unwrap_err(),
            store.cancel(job.id, at(1)).await.unwrap_err(),
            store.holds("worker", job.id).await.unwrap_err(),
            store.keep_copy(at(90_000)).await.unwrap_err(),
        ];
        for error in refused {
            assert!(matches!(error, StoreError::Replaced { .. }), "{error:?}");
            assert!(error.is_doubtful() && !error.is_storage(), "{error:?}");
        }
        assert_eq!(copies::copies(folder.path()), std::slice::from_ref(&copy));
        assert!(copies::is_suspect(folder.path()));
        crate::files::rename(&own, &path).unwrap();
    }
    // Its own file again, with nothing of what was refused.
    assert_eq!(made(&store, "depots").await.id, job.id + 1);
}

#[tokio::test]
async fn the_remains_of_an_unfinished_copy_are_removed() {
    let (folder, store) = store().await;
    let copies = folder.path().join("copies");
    fs::create_dir(&copies).unwrap();
    fs::write(copies.join(".nightjar-20200101T000000Z.db.partial"), "half").unwrap();
    let copy = store.keep_copy(at(0)).await.unwrap();
    let left: Vec<_> = fs::read_dir(&copies).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(left, [copy]);
}

/// Overwrites the sequence that job ids come from.
async fn set_sequence(folder: &TempDir, value: &str) {
    let mut db = connect(&folder.path().join(FILE)).await.unwrap();
    let set = format!("UPDATE sqlite_sequence SET seq = {value} WHERE name = 'jobs'");
    sqlx::query(sqlx::AssertSqlSafe(set)).execute(&mut db).await.unwrap();
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_sequence_without_numbers_left_goes_back_to_those_in_use() {
    for (value, next) in [
        ("9223372036854775807", 8),
        ("9007199254740992", 8),
        ("9007199254740991", 8),
        ("-5", 8),
        ("'x'", 8),
        ("NULL", 8),
        ("0", 8),
        ("9007199254740989", 9_007_199_254_740_990),
        ("20", 21),
    ] {
        let folder = TempDir::new().unwrap();
        let store = Store::open(folder.path(), 6).await.unwrap();
        let job = store.job_for(new_job("stores"), noon()).await.unwrap().0;
        assert_eq!(job.id, 7);
        store.cancel(job.id, at(1)).await.unwrap();
        store.close().await;
        set_sequence(&folder, value).await;
        let store = Store::open(folder.path(), 6).await.unwrap();
        assert_eq!(store.job_for(new_job("stores"), at(2)).await.unwrap().0.id, next, "{value}");
        store.close().await;
    }
}

#[tokio::test]
async fn a_row_with_an_impossible_number_does_not_lead_the_next_one_astray() {
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path(), 0).await.unwrap();
    let job = store.job_for(new_job("stores"), noon()).await.unwrap().0;
    store.cancel(job.id, at(1)).await.unwrap();
    store.close().await;
    let mut db = connect(&folder.path().join(FILE)).await.unwrap();
    // Without their events and counts, which would not let the number change.
    for change in ["DELETE FROM events", "UPDATE jobs SET id = 9223372036854775807"] {
        sqlx::query(change).execute(&mut db).await.unwrap();
    }
    db.close().await.unwrap();
    let store = Store::open(folder.path(), 4).await.unwrap();
    let (job, is_new) = store.job_for(new_job("stores"), at(2)).await.unwrap();
    assert_eq!((job.id, is_new), (5, true));
    store.close().await;
}
