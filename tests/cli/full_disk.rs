//! A full file system.

use crate::harness::{Setup, names, until};
use nightjar::simulator::{Ending, Fault, Kind, Scenario};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small in-memory file system, unmounted when the test ends.
struct Mount(PathBuf);

impl Mount {
    fn at(path: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "nightjar-test"])
            .arg(path)
            .output();
        mounted.is_ok_and(|it| it.status.success()).then(|| Self(path.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    while file.write_all(&[b'x'; 4096]).is_ok() {}
}

#[test]
fn a_job_waits_for_free_space_and_then_continues() {
    let setup = Setup::healthy();
    let disk = setup.path("disk");
    let Some(_mount) = Mount::at(&disk, "256k") else {
        eprintln!("skipped: mounting a file system is not permitted here");
        return;
    };
    let archive = disk.join("archive");
    fs::create_dir_all(archive.join("stores")).unwrap();
    let setup = setup.set("archive_dir", archive.display().to_string());
    let filler = disk.join("filler");
    fill(&filler);

    let mut backup = setup.start(&["backup"]);
    let job = setup.job_when("the job to wait for space", |job| {
        job.to_string().contains("storage")
            || setup.timeline(&job["id"]).to_lowercase().contains("storage")
    });
    assert_eq!(job["finished_at"], serde_json::Value::Null, "it waits while it lasts: {job}");
    assert!(backup.is_running());
    let only_unfinished = names(&archive.join("stores")).iter().all(|name| !name.ends_with(".zst"));
    assert!(only_unfinished, "nothing incomplete has a final name");

    fs::remove_file(filler).unwrap();
    let done = backup.end();
    assert_eq!(done.code, 0, "{done:?}");
    let job = setup.job();
    assert_eq!(job["state"], "archived");
    assert_eq!(job["attempts"], 1, "the remote job was not at fault");
    assert_eq!(setup.json(&["verify"])["ok"], true);
    until("nothing unfinished to be left", || {
        (names(&archive.join("stores")).len() == 3).then_some(())
    });
}

#[test]
fn a_daemon_survives_a_full_disk_under_its_database() {
    let setup = Setup::with(Scenario { ending: Ending::Never, ..Scenario::default() });
    let disk = setup.path("disk");
    let Some(_mount) = Mount::at(&disk, "16m") else {
        eprintln!("skipped: mounting a file system is not permitted here");
        return;
    };
    let archive = setup.path("archive").display().to_string();
    let setup = setup
        .set("state_dir", disk.join("state").display().to_string())
        .set("archive_dir", archive);
    setup.queue();
    let mut daemon = setup.start(&["daemon"]);
    setup.until_asked(Kind::Status, 2);
    let filler = disk.join("filler");
    fill(&filler);
    // Each response is stored, so that the disk soon becomes full.
    setup.service.set_scenario(
        "Stores",
        Scenario { status: vec![Fault::Word("Resting".into()); 40], ..Scenario::default() },
    );
    let asked = setup.service.requests().len();
    until("an error, or more requests", || {
        let in_trouble = daemon.stderr().contains("full");
        (in_trouble || setup.service.requests().len() > asked + 20).then_some(())
    });
    assert!(daemon.is_running(), "{}", daemon.stderr());
    fs::remove_file(filler).unwrap();
    let said = daemon.stderr();
    let job = setup.job_when(&said, |job| !job["finished_at"].is_null());
    assert_eq!(job["state"], "archived", "{job}");
    assert!(daemon.is_running());
    assert_eq!(daemon.stop(rustix::process::Signal::TERM).code, 0);
}
