//! Copies of the database, damage to it, and its replacement.

use super::*;
use std::os::unix::fs::PermissionsExt;

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
