//! Links in the service's directories: root does not follow those of the service's user, and follows
//! those of the administrator.

use crate::harness::{Setup, names};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::Path;

/// The service's user.
const SERVICE: u32 = 12_345;

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        // Unlike the macros' output, this is shown although the test passes.
        let _ =
            io::stderr().write_all(b"skipped: only root can act beside another user's service\n");
    }
    root
}

/// Gives a folder and all in it to the service's user.
fn give(path: &Path) {
    lchown(path, Some(SERVICE), Some(SERVICE)).unwrap();
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

/// A backed up source whose service runs as another user, and things of root beside it.
fn served() -> Setup {
    let setup = Setup::healthy();
    setup.backup();
    give(&setup.path("state"));
    fs::write(setup.path("secret"), "of root").unwrap();
    fs::create_dir(setup.path("goal")).unwrap();
    fs::write(setup.path("goal/1-00000000000000ff"), "of root").unwrap();
    fs::write(setup.path("goal/.20261125T030000Z-1.xml.zst.partial"), "of root").unwrap();
    setup
}

fn plant(setup: &Setup, target: &str, link: &str) {
    let link = setup.path("state").join(link);
    if link.is_dir() && !link.is_symlink() {
        fs::remove_dir_all(&link).unwrap();
    } else if link.exists() {
        fs::remove_file(&link).unwrap();
    }
    symlink(setup.path(target), &link).unwrap();
    lchown(&link, Some(SERVICE), Some(SERVICE)).unwrap();
}

fn assert_untouched(setup: &Setup, what: &str) {
    assert_eq!(fs::read(setup.path("secret")).unwrap(), b"of root", "{what}");
    let goal = names(&setup.path("goal"));
    assert_eq!(goal, [".20261125T030000Z-1.xml.zst.partial", "1-00000000000000ff"], "{what}");
    for file in ["secret", "goal", "goal/1-00000000000000ff"] {
        assert_eq!(fs::metadata(setup.path(file)).unwrap().uid(), 0, "{what}: {file}");
    }
    for name in goal {
        assert_eq!(fs::read(setup.path("goal").join(&name)).unwrap(), b"of root", "{what}");
    }
}

#[test]
fn root_follows_no_link_of_the_service_s_user() {
    if !is_root() {
        return;
    }
    for (target, link, command, code) in [
        ("secret", "daemon.lock", &["daemon"][..], Some(1)),
        ("secret", "open.lock", &["backup"], Some(1)),
        ("secret", "nightjar.db", &["backup"], Some(1)),
        ("secret", "nightjar.db-wal", &["backup"], Some(1)),
        ("goal", "workers", &["backup"], Some(1)),
        ("goal", "archive", &["backup"], Some(1)),
        ("goal", "archive", &["prune"], None),
        ("goal", "archive/stores", &["prune"], Some(1)),
        ("goal", "archive/stores", &["verify"], Some(1)),
        ("goal", "archive/stores", &["hold", "stores", "--reason", "x"], None),
        ("goal", "copies", &["backup"], None),
    ] {
        let setup = served();
        plant(&setup, target, link);
        let done = setup.run(command);
        if let Some(code) = code {
            assert_eq!(done.code, code, "{link}, {command:?}: {done:?}");
            let told = format!("{}{}", done.stdout, done.stderr);
            assert!(told.contains("symbolic link"), "{link}, {command:?}: {done:?}");
        }
        assert_untouched(&setup, &format!("{link}, {command:?}"));
    }
}

#[test]
fn root_changes_nothing_after_refusing_the_services_links() {
    if !is_root() {
        return;
    }
    let setup = served();
    plant(&setup, "goal", "archive/stores");
    // The job waits for its storage; nothing is written, and the other commands say what is wrong.
    let done = setup.run(&["backup", "--timeout", "2s"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert_untouched(&setup, "backup");
    let status = setup.json(&["status"]);
    assert!(status[0]["last_error"]["message"].to_string().contains("symbolic link"), "{status}");
}

#[test]
fn an_administrators_links_to_another_disk_keep_working() {
    let setup = Setup::healthy();
    for folder in ["state", "disk/archive", "disk/stores"] {
        fs::create_dir_all(setup.path(folder)).unwrap();
    }
    symlink(setup.path("disk/archive"), setup.path("state/archive")).unwrap();
    symlink("../stores", setup.path("disk/archive/stores")).unwrap();
    if rustix::process::geteuid().is_root() {
        for folder in ["state", "disk/archive", "disk/stores"] {
            lchown(setup.path(folder), Some(SERVICE), Some(SERVICE)).unwrap();
        }
    }
    setup.backup();
    setup.backup();
    assert_eq!(names(&setup.path("disk/stores")).len(), 5);
    assert_eq!(setup.json(&["snapshots"]).as_array().unwrap().len(), 2);
    let verified = setup.json(&["verify"]);
    assert_eq!(verified["checked"], 2);
    assert_eq!(verified["findings"], serde_json::json!([]));
    // What root has made there belongs to the folder's owner.
    let owner = fs::metadata(setup.path("disk/stores")).unwrap().uid();
    for name in names(&setup.path("disk/stores")) {
        let meta = fs::symlink_metadata(setup.path("disk/stores").join(&name)).unwrap();
        assert_eq!(meta.uid(), owner, "{name}");
    }
    // The numbers in it count when the database is lost.
    for part in ["nightjar.db", "nightjar.db-wal", "nightjar.db-shm"] {
        let _ = fs::remove_file(setup.path("state").join(part));
    }
    fs::remove_dir_all(setup.path("state/copies")).unwrap();
    setup.backup();
    assert_eq!(setup.manifest()["job"], 3);
}

#[test]
fn a_lost_database_is_not_rebuilt_while_a_source_cannot_be_read() {
    let setup = Setup::healthy();
    setup.backup();
    let away = setup.path("away");
    let moved = std::process::Command::new("mv").arg(setup.archive("stores")).arg(&away).status();
    assert!(moved.unwrap().success());
    symlink(setup.path("not-mounted"), setup.archive("stores")).unwrap();
    for name in names(&setup.path("state")).iter().filter(|name| name.starts_with("nightjar.db")) {
        fs::remove_file(setup.path("state").join(name)).unwrap();
    }
    let done = setup.run(&["backup"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains("mount its disk"), "{done:?}");
    assert!(!setup.path("state/nightjar.db").exists());
    // With its disk it goes on, above the numbers that were given.
    fs::remove_file(setup.archive("stores")).unwrap();
    symlink(&away, setup.archive("stores")).unwrap();
    setup.backup();
    assert_eq!(setup.manifest()["job"], 2);
}
