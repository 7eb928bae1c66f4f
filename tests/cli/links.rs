//! Links in the service's directories: root does not follow links of the service's user, and
//! follows links of the administrator.

use crate::harness::{Setup, files, names, until};
use nightjar::simulator::{Kind, Scenario};
use rustix::process::Signal;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

/// The service's user.
const SERVICE: u32 = 12_345;

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        // Unlike the output of macros, this is shown even if the test passes.
        let _ =
            io::stderr().write_all(b"skipped: only root can act beside another user's service\n");
    }
    root
}

/// Gives a folder and its content to the service's user.
fn give(path: &Path) {
    lchown(path, Some(SERVICE), Some(SERVICE)).unwrap();
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

/// A source with a backup whose service runs as another user, and files of root beside it.
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
fn root_follows_no_link_of_the_services_user() {
    if !is_root() {
        return;
    }
    for (target, link, command, refused) in [
        ("secret", "daemon.lock", &["daemon"][..], true),
        ("secret", "open.lock", &["backup"], true),
        ("secret", "nightjar.db", &["backup"], false),
        ("secret", "nightjar.db-wal", &["backup"], false),
        ("goal", "workers", &["backup"], true),
        ("goal", "archive", &["backup"], true),
        ("goal", "archive", &["prune"], true),
        ("goal", "archive/stores", &["prune"], false),
        ("goal", "archive/stores", &["verify"], false),
        ("goal", "archive/stores", &["hold", "stores", "--reason", "x"], true),
        ("goal", "copies", &["backup"], false),
    ] {
        let setup = served();
        plant(&setup, target, link);
        let done = setup.run(command);
        if refused {
            assert_ne!(done.code, 0, "{link}, {command:?}: {done:?}");
        }
        assert_untouched(&setup, &format!("{link}, {command:?}"));
    }
}

/// The lines of a process's status with these names.
fn process_status(id: u32, name: &str) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn root_works_as_the_owner_of_the_state_folder() {
    if !is_root() {
        return;
    }
    // Below a folder that is closed to the owner, as systemd's is, and below an open one.
    for mode in [0o700, 0o755] {
        let setup = Setup::with(Scenario { pending_polls: 1_000_000, ..Scenario::default() });
        fs::set_permissions(setup.path("."), fs::Permissions::from_mode(mode)).unwrap();
        // Only root can read the configuration too.
        fs::set_permissions(setup.path("config.toml"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::create_dir(setup.path("state")).unwrap();
        give(&setup.path("state"));
        let backup = setup.start(&["backup"]);
        setup.until_asked(Kind::Status, 1);
        let id = backup.id();
        let owner = SERVICE.to_string();
        let tasks = fs::read_dir(format!("/proc/{id}/task")).unwrap();
        assert!(tasks.count() > 1);
        assert_eq!(process_status(id, "Uid:"), [&owner[..]; 4]);
        assert_eq!(process_status(id, "Gid:"), [&owner[..]; 4]);
        assert_eq!(process_status(id, "Groups:"), [&owner[..]]);
        for set in ["CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(process_status(id, set), ["0000000000000000"], "{set}");
        }
        drop(backup);
    }
}

#[test]
fn files_that_root_creates_belong_to_the_services_user() {
    if !is_root() {
        return;
    }
    for mode in [0o700, 0o755] {
        let setup = served();
        fs::set_permissions(setup.path("."), fs::Permissions::from_mode(mode)).unwrap();
        // Only root can read the key, here as in practice.
        let key = fs::metadata(setup.path("contoso.key")).unwrap();
        assert_eq!((key.uid(), key.mode() & 0o777), (0, 0o600));
        setup.backup();
        assert_eq!(setup.json(&["snapshots"]).as_array().unwrap().len(), 2);
        let held = setup.run(&["hold", "stores", "--reason", "x"]);
        assert_eq!(held.code, 0, "{held:?}");
        for command in [&["reindex"][..], &["prune"], &["verify"], &["status"], &["jobs"]] {
            let done = setup.run(command);
            assert_eq!(done.code, 0, "{command:?}: {done:?}");
        }
        let doctor = setup.run(&["doctor", "--offline"]);
        assert!(doctor.stdout.contains("the key of account contoso can be read"), "{doctor:?}");
        for file in files(&setup.path("state")) {
            let owner = fs::symlink_metadata(&file).unwrap().uid();
            assert_eq!(owner, SERVICE, "{}", file.display());
        }
        assert_untouched(&setup, "served");
    }
}

#[test]
fn root_overwrites_no_file_through_a_second_name() {
    if !is_root() {
        return;
    }
    for part in ["nightjar.db-wal", "nightjar.db-shm", "nightjar.db-journal"] {
        for command in [&["backup"][..], &["status"], &["reindex"]] {
            let setup = served();
            let _ = fs::remove_file(setup.path("state").join(part));
            fs::set_permissions(setup.path("secret"), fs::Permissions::from_mode(0o644)).unwrap();
            fs::hard_link(setup.path("secret"), setup.path("state").join(part)).unwrap();
            setup.run(command);
            assert_untouched(&setup, &format!("{part}, {command:?}"));
            let mode = fs::metadata(setup.path("secret")).unwrap().mode() & 0o777;
            assert_eq!(mode, 0o644, "{part}, {command:?}");
        }
    }
}

#[test]
fn root_creates_no_file_through_a_link_of_the_service() {
    if !is_root() {
        return;
    }
    for link in ["copies", "rebuilding"] {
        for command in [&["backup"][..], &["reindex"]] {
            let setup = served();
            fs::set_permissions(setup.path("goal"), fs::Permissions::from_mode(0o755)).unwrap();
            if link == "rebuilding" {
                fs::write(setup.path("state/nightjar.db"), "damaged").unwrap();
            }
            plant(&setup, "goal", link);
            setup.run(command);
            assert_untouched(&setup, &format!("{link}, {command:?}"));
        }
    }
}

#[test]
fn an_archive_that_is_closed_to_the_owner_of_the_state_is_an_error_with_a_remedy() {
    if !is_root() {
        return;
    }
    let setup = Setup::healthy();
    let mut setup = setup;
    let archive = setup.path("archive").display().to_string();
    setup.change("archive_dir", archive.clone());
    for folder in ["state", "archive"] {
        fs::create_dir(setup.path(folder)).unwrap();
    }
    fs::set_permissions(setup.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    give(&setup.path("state"));
    let done = setup.run(&["backup"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains(&format!("type `chown -R {SERVICE} {archive}`")), "{done:?}");
    assert_eq!(names(&setup.path("archive")), [""; 0]);
    give(&setup.path("archive"));
    setup.backup();
}

#[test]
fn a_daemon_of_root_keeps_its_configuration_where_only_root_can_read_the_new_one() {
    if !is_root() {
        return;
    }
    let setup = Setup::healthy();
    fs::set_permissions(setup.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(setup.path("state")).unwrap();
    give(&setup.path("state"));
    let daemon = setup.start(&["daemon"]);
    until("a daemon that is ready", || daemon.stderr().contains("is ready").then_some(()));
    daemon.signal(Signal::HUP);
    until("a refused reload", || {
        let stderr = daemon.stderr();
        let refused = stderr.contains("the configuration was not reloaded: account `contoso`");
        (refused && stderr.contains("was started as root")).then_some(())
    });
    setup.backup();
}

#[test]
fn root_changes_nothing_after_refusing_the_services_links() {
    if !is_root() {
        return;
    }
    let setup = served();
    plant(&setup, "goal", "archive/stores");
    // The job waits for its storage; nothing is written, and the other commands report the problem.
    let done = setup.run(&["backup", "--timeout", "2s"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert_untouched(&setup, "backup");
    let jobs = setup.jobs();
    assert!(jobs[0].to_string().contains("Permission denied"), "{jobs:?}");
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
    // Files that root has created there belong to the folder's owner.
    let owner = fs::metadata(setup.path("disk/stores")).unwrap().uid();
    for name in names(&setup.path("disk/stores")) {
        let meta = fs::symlink_metadata(setup.path("disk/stores").join(&name)).unwrap();
        assert_eq!(meta.uid(), owner, "{name}");
    }
    // The job ids in it count when the database is lost.
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
    // With its disk it continues, with ids above those already used.
    fs::remove_file(setup.archive("stores")).unwrap();
    symlink(&away, setup.archive("stores")).unwrap();
    setup.backup();
    assert_eq!(setup.manifest()["job"], 2);
}
