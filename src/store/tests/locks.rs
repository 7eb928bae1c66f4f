//! Locks, and what they show of other processes.

use super::*;

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
