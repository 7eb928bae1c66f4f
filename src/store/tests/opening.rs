//! How the database is opened, and by whom.

use super::*;
use std::os::unix::fs::PermissionsExt;

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
