use super::*;
use rustix::fs::{CWD, Mode, mkfifoat};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use tempfile::TempDir;

/// Another user's number.
const OTHER: u32 = 12_345;

/// Whether the test can act as two users. Prints a note if it cannot.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        // Unlike the output of macros, this is shown even if the test passes.
        let _ =
            io::stderr().write_all(b"skipped: only root can make what belongs to another user\n");
    }
    root
}

/// A folder of another user in a folder of root.
fn service_folder() -> (TempDir, std::path::PathBuf) {
    let top = TempDir::new().unwrap();
    let folder = top.path().join("state");
    fs::create_dir(&folder).unwrap();
    chown(&folder, Some(OTHER), Some(OTHER)).unwrap();
    (top, folder)
}

/// A link that the other user has made.
fn planted(target: &Path, link: &Path) {
    symlink(target, link).unwrap();
    lchown(link, Some(OTHER), Some(OTHER)).unwrap();
}

#[test]
fn created_files_are_private() {
    let folder = TempDir::new().unwrap();
    let inner = folder.path().join("a/b");
    make_folder(&inner).unwrap();
    make_folder(&inner).unwrap();
    create(&inner.join("file")).unwrap();
    create_new(&inner.join("new")).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inner), 0o700);
    assert_eq!(mode(inner.parent().unwrap()), 0o700);
    assert_eq!(mode(&inner.join("file")), 0o600);
    assert_eq!(mode(&inner.join("new")), 0o600);
}

#[test]
fn an_opened_file_keeps_what_it_holds_and_a_created_one_does_not() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "text").unwrap();
    open(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"text");
    let new = create_new(&path).unwrap_err();
    assert_eq!(new.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"text");
    create(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[test]
fn files_made_by_root_belong_to_the_directorys_owner() {
    let folder = TempDir::new().unwrap();
    let ours = fs::metadata(folder.path()).unwrap().uid();
    // Only root can change a folder's owner; other users create files of their own.
    let owner = match chown(folder.path(), Some(OTHER), Some(OTHER)) {
        Ok(()) => OTHER,
        Err(_) => ours,
    };
    make_folder(&folder.path().join("a/b")).unwrap();
    create(&folder.path().join("a/b/file")).unwrap();
    create_new(&folder.path().join("a/b/new")).unwrap();
    super::symlink(Path::new("file"), &folder.path().join("a/b/link")).unwrap();
    for made in ["a", "a/b", "a/b/file", "a/b/new", "a/b/link"] {
        let meta = fs::symlink_metadata(folder.path().join(made)).unwrap();
        assert_eq!(meta.uid(), owner, "{made}");
    }
}

#[test]
fn relative_paths_and_paths_with_dots_resolve_correctly() {
    assert!(Folder::open(Path::new(".")).is_ok());
    assert!(Folder::open(Path::new("src")).is_ok());
    let folder = TempDir::new().unwrap();
    make_folder(&folder.path().join("a/b")).unwrap();
    create(&folder.path().join("a/b/../file")).unwrap();
    assert!(folder.path().join("a/file").is_file());
    assert!(read(&folder.path().join("a/..")).is_err());
    assert_eq!(Folder::open(&folder.path().join("a/file")).unwrap_err().kind(), {
        io::ErrorKind::NotADirectory
    });
}

#[test]
fn a_link_of_the_programs_own_user_is_followed() {
    let top = TempDir::new().unwrap();
    let path = |name: &str| top.path().join(name);
    fs::create_dir(path("disk")).unwrap();
    symlink("disk", path("archive")).unwrap();
    symlink(path("archive"), path("again")).unwrap();
    make_folder(&path("again/stores")).unwrap();
    create(&path("archive/stores/file")).unwrap();
    assert!(path("disk/stores/file").is_file());
    symlink("disk/lock", path("lock")).unwrap();
    open(&path("lock")).unwrap();
    assert!(path("disk/lock").is_file());
    // A name that is itself replaced is used as it is; nothing is created or read through a link.
    assert_eq!(create_new(&path("lock")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(read(&path("lock")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    remove(&path("lock")).unwrap();
    assert!(path("disk/lock").is_file());
    symlink("round", path("round")).unwrap();
    assert!(make_folder(&path("round")).is_err());
    assert!(open(&path("round")).is_err());
}

#[test]
fn no_link_of_another_user_is_followed() {
    if !is_root() {
        return;
    }
    let (top, state) = service_folder();
    let secret = top.path().join("secret");
    fs::write(&secret, "of root").unwrap();
    let goal = top.path().join("goal");
    fs::create_dir(&goal).unwrap();
    fs::write(goal.join("precious"), "of root").unwrap();
    planted(&secret, &state.join("daemon.lock"));
    planted(&goal.join("made"), &state.join("dangling"));
    planted(&goal, &state.join("workers"));
    for name in ["daemon.lock", "dangling", "workers/precious", "workers/new"] {
        let path = state.join(name);
        let found = [
            open(&path).map(drop),
            create(&path).map(drop),
            create_new(&path).map(drop),
            read(&path).map(drop),
            check_regular(&path),
        ];
        for (index, result) in found.iter().enumerate() {
            assert!(result.is_err(), "{name}, {index}");
        }
    }
    assert!(make_folder(&state.join("workers")).is_err());
    assert!(make_folder(&state.join("workers/deep")).is_err());
    assert!(remove(&state.join("workers/precious")).is_err());
    assert!(rename(&state.join("daemon.lock"), &state.join("workers/x")).is_err());
    assert!(sync_folder(&state.join("workers")).is_err());
    let error = open(&state.join("daemon.lock")).unwrap_err().to_string();
    assert!(error.contains("daemon.lock is a symbolic link of user 12345"), "{error}");
    let error = open(&state.join("workers/x")).unwrap_err().to_string();
    assert!(error.contains("workers is a symbolic link of user 12345"), "{error}");
    assert_eq!(fs::read(&secret).unwrap(), b"of root");
    assert_eq!(fs::metadata(&secret).unwrap().uid(), 0);
    assert_eq!(fs::read_dir(&goal).unwrap().count(), 1);
    // A link that root has made in the same place is the administrator's choice.
    symlink(&goal, state.join("archive")).unwrap();
    create(&state.join("archive/file")).unwrap();
    assert!(goal.join("file").is_file());
}

#[test]
fn root_opens_no_file_through_a_second_name_in_a_users_folder() {
    if !is_root() {
        return;
    }
    let (top, state) = service_folder();
    let secret = top.path().join("secret");
    fs::write(&secret, "of root").unwrap();
    fs::hard_link(&secret, state.join("daemon.lock")).unwrap();
    let error = create(&state.join("daemon.lock")).unwrap_err().to_string();
    assert!(error.contains("has other names"), "{error}");
    assert_eq!(fs::read(&secret).unwrap(), b"of root");
    // Nor a link of root to which another user gave a second name.
    symlink(top.path(), top.path().join("link")).unwrap();
    fs::hard_link(top.path().join("link"), state.join("link")).unwrap();
    assert!(Folder::open(&state.join("link")).is_err());
}

#[test]
fn pipes_devices_and_directories_are_refused_without_blocking() {
    let top = TempDir::new().unwrap();
    let pipe = top.path().join("pipe");
    mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    for path in [pipe.as_path(), Path::new("/dev/null"), top.path()] {
        assert!(read(path).is_err(), "{}", path.display());
        assert!(open(path).is_err(), "{}", path.display());
        assert!(create(path).is_err(), "{}", path.display());
        assert!(check_regular(path).is_err(), "{}", path.display());
    }
}

#[test]
fn an_opened_directory_stays_the_same_when_its_path_changes() {
    let top = TempDir::new().unwrap();
    let path = |name: &str| top.path().join(name);
    make_folder(&path("stores")).unwrap();
    let folder = Folder::open(&path("stores")).unwrap();
    files_rename(&path("stores"), &path("moved"));
    fs::create_dir(path("elsewhere")).unwrap();
    symlink("elsewhere", path("stores")).unwrap();
    folder.create_new("file").unwrap();
    assert!(path("moved/file").is_file());
    folder.hard_link("file", &folder, "other").unwrap();
    folder.remove("file").unwrap();
    let names: Vec<_> = folder.entries().unwrap().map(|entry| entry.unwrap().name).collect();
    assert_eq!(names, ["other"]);
    for name in ["", ".", "..", "a/b", "/a", "../moved/other", "other/"] {
        assert!(folder.read(name).is_err(), "{name}");
        assert!(folder.create_new(name).is_err(), "{name}");
    }
}

fn files_rename(from: &Path, to: &Path) {
    super::rename(from, to).unwrap();
}

#[test]
fn child_processes_do_not_inherit_a_folder_that_is_being_listed() {
    let top = TempDir::new().unwrap();
    let folder = Folder::open(top.path()).unwrap();
    let _entries = folder.entries().unwrap();
    let _lock = folder.lock().unwrap();
    let listed = std::process::Command::new("ls").arg("-l").arg("/proc/self/fd").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("/dev/null") || listed.contains(" 1 -> "), "{listed}");
    assert!(!listed.contains(top.path().to_str().unwrap()), "{listed}");
}

#[test]
fn each_entry_says_what_it_is() {
    let top = TempDir::new().unwrap();
    fs::write(top.path().join("file"), "").unwrap();
    fs::create_dir(top.path().join("folder")).unwrap();
    symlink("nowhere", top.path().join("link")).unwrap();
    mkfifoat(CWD, top.path().join("pipe"), Mode::RUSR).unwrap();
    let folder = Folder::open(top.path()).unwrap();
    let mut found: Vec<_> = folder
        .entries()
        .unwrap()
        .map(|entry| entry.map(|it| (it.name.into_string().unwrap(), it.kind)).unwrap())
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [
        ("file", EntryKind::File),
        ("folder", EntryKind::Folder),
        ("link", EntryKind::Link),
        ("pipe", EntryKind::Other),
    ];
    assert_eq!(found, expected.map(|(name, kind)| (name.to_owned(), kind)));
    assert_eq!(folder.read_link("link").unwrap(), Path::new("nowhere"));
    assert!(folder.read_link("file").is_err());
}
