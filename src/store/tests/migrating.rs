//! What becomes of a database that an older version has written.

use super::*;
use crate::job::Operation;
use sqlx::migrate::Migrator;
use std::borrow::Cow;

/// A database of schema 3 in this folder, with a history and jobs under way.
async fn of_schema_3(folder: &Path) {
    let older = MIGRATIONS.iter().filter(|migration| migration.version <= 3).cloned();
    let older = Migrator { migrations: Cow::Owned(older.collect()), ..Migrator::DEFAULT };
    let path = folder.join(FILE);
    files::open(&path).unwrap();
    let mut connection = connect(&path).await.unwrap();
    older.run(&mut connection).await.unwrap();
    // Each ended job was live first: what is counted is counted then.
    for (id, source, state, rest) in [
        (1, "stores", "archived", "snapshot = '/archive/stores/1.json', polls = 3, attempts = 1"),
        (2, "stores", "failed", "error_kind = 'protocol', error_message = 'no XML'"),
        (3, "stores", "cancelled", "attempts = 1"),
        (4, "stores", "queued", "due_at = 0, hold_kind = 'quota', hold_message = 'full'"),
        (
            5,
            "depots",
            "waiting",
            "lease_owner = '7-00000000000000ff', lease_until = 1, remote = 2, remote_id = 'r5', \
             status_url = 'https://service/5', attempts = 1, polls = 4, due_at = 4102444800000",
        ),
        (6, "yards", "ready", "lease_owner = '7-00000000000000ff', lease_until = 1"),
    ] {
        let made = noon() + TimeDelta::minutes(id);
        let is_ended = matches!(state, "archived" | "failed" | "cancelled");
        let finished = is_ended.then(|| row::at(made + TimeDelta::seconds(20)));
        sqlx::query(
            "INSERT INTO jobs (id, source, account, state, trigger, created_at, due_at) \
             VALUES (?1, ?2, 'contoso', 'queued', 'manual', ?3, ?3)",
        )
        .bind(id)
        .bind(source)
        .bind(row::at(made))
        .execute(&mut connection)
        .await
        .unwrap();
        let change = format!("UPDATE jobs SET state = ?, finished_at = ?, {rest} WHERE id = ?");
        sqlx::query(sqlx::AssertSqlSafe(change))
            .bind(state)
            .bind(finished)
            .bind(id)
            .execute(&mut connection)
            .await
            .unwrap();
        for kind in ["queued", "retry", "retry"] {
            sqlx::query("INSERT INTO events (job, source, at, kind, message) VALUES (?,?,?,?,?)")
                .bind(id)
                .bind(source)
                .bind(row::at(made))
                .bind(kind)
                .bind(format!("{kind} of {id}"))
                .execute(&mut connection)
                .await
                .unwrap();
        }
    }
    for (job, remote, ended) in [(1, "r1", Some(60_000)), (5, "r5", None), (3, "r3", None)] {
        sqlx::query(
            "INSERT INTO remote_jobs (job, account, started_at, remote_id, status_url, ended_at) \
             VALUES (?1, 'contoso', ?2, ?3, 'https://service/' || ?3, ?2 + ?4)",
        )
        .bind(job)
        .bind(row::at(noon()))
        .bind(remote)
        .bind(ended)
        .execute(&mut connection)
        .await
        .unwrap();
    }
    for statement in [
        "INSERT INTO events (source, at, kind, message) VALUES ('stores', 5, 'missed', 'late')",
        "INSERT INTO schedules VALUES ('stores', '0 2 * * *', 1000, 2000)",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_database_of_schema_3_keeps_all_that_it_knows() {
    let folder = TempDir::new().unwrap();
    of_schema_3(folder.path()).await;
    let store = Store::open(folder.path(), 0).await.unwrap();
    assert_eq!(store.integrity().await.unwrap(), Vec::<String>::new());

    let mut jobs = Vec::new();
    for id in 1..=6 {
        jobs.push(store.job(id).await.unwrap().unwrap());
    }
    let states: Vec<_> = jobs.iter().map(|job| job.state).collect();
    assert_eq!(
        states,
        [
            State::Archived,
            State::Failed,
            State::Cancelled,
            State::Queued,
            State::Waiting,
            State::Ready
        ]
    );
    assert_eq!(jobs[0].snapshot.as_deref(), Some(Path::new("/archive/stores/1.json")));
    assert_eq!(jobs[0].finished_at, Some(at(80)));
    assert_eq!(jobs[1].error.as_ref().unwrap().kind, ErrorKind::Protocol);
    assert_eq!(jobs[4].remote_id(), Some("r5"));
    assert_eq!(jobs[4].status_url(), Some("https://service/5"));
    assert_eq!((jobs[4].attempts, jobs[4].polls), (1, 4));
    assert_eq!(jobs[4].remote.as_ref().unwrap().record, Some(2));
    assert!(jobs.iter().all(|job| job.operation == Operation::Backup));
    // What is overdue waits for nothing; what is put off stays so, and no longer after a clock's
    // change.
    assert_eq!(jobs[3].wait, TimeDelta::zero());
    assert!(jobs[4].wait > TimeDelta::days(365), "{}", jobs[4].wait);
    assert!(jobs[..3].iter().all(|job| job.wait == TimeDelta::zero()));

    // A lease belongs to its worker until that is found dead.
    let owner = "7-00000000000000ff";
    assert_eq!(store.lease_owners().await.unwrap(), [owner]);
    assert!(store.holds(owner, 5).await.unwrap() && store.holds(owner, 6).await.unwrap());
    assert_eq!(store.release_all(owner, &[]).await.unwrap(), 2);

    for job in &jobs {
        let timeline = store.timeline(job.id).await.unwrap();
        let seen: Vec<_> = timeline.iter().map(|it| (it.kind.as_str(), it.count)).collect();
        assert_eq!(seen, [("queued", 1), ("retry", 1), ("retry", 1)]);
        assert!(timeline.iter().all(|it| it.last_at == it.at && it.at == job.created_at));
    }
    assert_eq!(store.quota_used("contoso", at(60)).await.unwrap(), (2, 3));
    let orphans = store.orphans(noon() - TimeDelta::days(1)).await.unwrap();
    assert_eq!(orphans.len(), 1, "{orphans:?}");
    assert_eq!(orphans[0].remote_id.as_deref(), Some("r3"));
    assert_eq!(jobs[3].waiting.as_ref().unwrap().message, "full");

    let counts = store.ended_counts().await.unwrap();
    let ended = |state: &str| ("stores".to_owned(), state.to_owned(), 1);
    assert_eq!(counts, [ended("archived"), ended("cancelled"), ended("failed")]);
    let events = store.event_counts().await.unwrap();
    assert!(events.contains(&("stores".into(), "retry".into(), 8)), "{events:?}");
    assert!(events.contains(&("stores".into(), "missed".into(), 1)), "{events:?}");
    let durations = store.durations().await.unwrap();
    assert_eq!(durations.iter().map(|took| took.jobs).sum::<u64>(), 1);
    let cursor = store.cursor("stores").await.unwrap().unwrap();
    assert_eq!(cursor.schedule, "0 2 * * *");
    assert_eq!(cursor.cursor.timestamp_millis(), 2000);

    // Ids go on, and the older version finds its own database in the copy.
    store.cancel(4, at(90)).await.unwrap();
    assert_eq!(made(&store, "stores").await.id, 7);
    let copy = folder.path().join("nightjar.db.schema-3");
    let mut copied = SqliteConnection::connect_with(&options(&copy)).await.unwrap();
    let row = sqlx::query(
        "SELECT max(version), (SELECT count(lease_until) FROM jobs) FROM _sqlx_migrations",
    )
    .fetch_one(&mut copied)
    .await
    .unwrap();
    let (version, leases): (i64, i64) = (row.try_get(0).unwrap(), row.try_get(1).unwrap());
    assert_eq!((version, leases), (3, 2));
}
