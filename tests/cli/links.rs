//! Links in the folders of the service: those of its own user lead root nowhere, those of the
//! administrator lead where they say.

use crate::harness::{House, names};
use std::fs;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::Path;

/// The service's user.
const SERVICE: u32 = 12_345;

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: only root can act beside another user's service");
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
fn served() -> House {
    let house = House::healthy();
    house.backup();
    give(&house.path("state"));
    fs::write(house.path("secret"), "of root").unwrap();
    fs::create_dir(house.path("goal")).unwrap();
    fs::write(house.path("goal/1-00000000000000ff"), "of root").unwrap();
    fs::write(house.path("goal/.20261125T030000Z-1.xml.zst.partial"), "of root").unwrap();
    house
}

fn plant(house: &House, target: &str, link: &str) {
    let link = house.path("state").join(link);
    if link.is_dir() && !link.is_symlink() {
        fs::remove_dir_all(&link).unwrap();
    } else if link.exists() {
        fs::remove_file(&link).unwrap();
    }
    symlink(house.path(target), &link).unwrap();
    lchown(&link, Some(SERVICE), Some(SERVICE)).unwrap();
}

fn assert_untouched(house: &House, what: &str) {
    assert_eq!(fs::read(house.path("secret")).unwrap(), b"of root", "{what}");
    let goal = names(&house.path("goal"));
    assert_eq!(goal, [".20261125T030000Z-1.xml.zst.partial", "1-00000000000000ff"], "{what}");
    for file in ["secret", "goal", "goal/1-00000000000000ff"] {
        assert_eq!(fs::metadata(house.path(file)).unwrap().uid(), 0, "{what}: {file}");
    }
    for name in goal {
        assert_eq!(fs::read(house.path("goal").join(&name)).unwrap(), b"of root", "{what}");
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
        let house = served();
        plant(&house, target, link);
        let done = house.run(command);
        if let Some(code) = code {
            assert_eq!(done.code, code, "{link}, {command:?}: {done:?}");
            let told = format!("{}{}", done.stdout, done.stderr);
            assert!(told.contains("symbolic link"), "{link}, {command:?}: {done:?}");
        }
        assert_untouched(&house, &format!("{link}, {command:?}"));
    }
}

#[test]
fn root_leaves_a_service_whose_links_it_refused_as_it_was() {
    if !is_root() {
        return;
    }
    let house = served();
    plant(&house, "goal", "archive/stores");
    // The job waits for its storage; nothing is written, and the other commands say what is wrong.
    let done = house.run(&["backup", "--timeout", "2s"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert_untouched(&house, "backup");
    let status = house.json(&["status"]);
    assert!(status[0]["last_error"]["message"].to_string().contains("symbolic link"), "{status}");
}

#[test]
fn an_administrator_s_links_to_a_bigger_disk_go_on_working() {
    let house = House::healthy();
    for folder in ["state", "disk/archive", "disk/stores"] {
        fs::create_dir_all(house.path(folder)).unwrap();
    }
    symlink(house.path("disk/archive"), house.path("state/archive")).unwrap();
    symlink("../stores", house.path("disk/archive/stores")).unwrap();
    if rustix::process::geteuid().is_root() {
        for folder in ["state", "disk/archive", "disk/stores"] {
            lchown(house.path(folder), Some(SERVICE), Some(SERVICE)).unwrap();
        }
    }
    house.backup();
    house.backup();
    assert_eq!(names(&house.path("disk/stores")).len(), 5);
    assert_eq!(house.json(&["snapshots"]).as_array().unwrap().len(), 2);
    let verified = house.json(&["verify"]);
    assert_eq!(verified["checked"], 2);
    assert_eq!(verified["findings"], serde_json::json!([]));
    // What root has made there belongs to the folder's owner.
    let owner = fs::metadata(house.path("disk/stores")).unwrap().uid();
    for name in names(&house.path("disk/stores")) {
        let meta = fs::symlink_metadata(house.path("disk/stores").join(&name)).unwrap();
        assert_eq!(meta.uid(), owner, "{name}");
    }
    // The numbers in it count when the database is lost.
    for part in ["nightjar.db", "nightjar.db-wal", "nightjar.db-shm"] {
        let _ = fs::remove_file(house.path("state").join(part));
    }
    fs::remove_dir_all(house.path("state/copies")).unwrap();
    house.backup();
    assert_eq!(house.manifest()["job"], 3);
}

#[test]
fn a_lost_database_is_not_rebuilt_while_a_source_cannot_be_read() {
    let house = House::healthy();
    house.backup();
    let away = house.path("away");
    let moved = std::process::Command::new("mv").arg(house.archive("stores")).arg(&away).status();
    assert!(moved.unwrap().success());
    symlink(house.path("not-mounted"), house.archive("stores")).unwrap();
    for name in names(&house.path("state")).iter().filter(|name| name.starts_with("nightjar.db")) {
        fs::remove_file(house.path("state").join(name)).unwrap();
    }
    let done = house.run(&["backup"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains("mount its disk"), "{done:?}");
    assert!(!house.path("state/nightjar.db").exists());
    // With its disk it goes on, above the numbers that were given.
    fs::remove_file(house.archive("stores")).unwrap();
    symlink(&away, house.archive("stores")).unwrap();
    house.backup();
    assert_eq!(house.manifest()["job"], 2);
}
