//! A file system without room.

use crate::harness::{House, names, until};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system in memory, unmounted when the test is over.
struct Mount(PathBuf);

impl Mount {
    fn at(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "nightjar-test"])
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
fn a_job_waits_for_room_and_then_goes_on() {
    let house = House::healthy();
    let disk = house.path("disk");
    let Some(_mount) = Mount::at(&disk) else {
        eprintln!("skipped: mounting a file system is not permitted here");
        return;
    };
    let archive = disk.join("archive");
    fs::create_dir_all(archive.join("stores")).unwrap();
    let house = house.set("archive_dir", archive.display().to_string());
    let filler = disk.join("filler");
    fill(&filler);

    let mut backup = house.start(&["backup"]);
    let job = house.job_when("the job to wait for room", |job| {
        job.to_string().contains("storage")
            || house.timeline(&job["id"]).to_lowercase().contains("storage")
    });
    assert_eq!(job["finished_at"], serde_json::Value::Null, "it waits while it lasts: {job}");
    assert!(backup.is_running());
    let only_unfinished = names(&archive.join("stores")).iter().all(|name| !name.ends_with(".zst"));
    assert!(only_unfinished, "nothing incomplete has a final name");

    fs::remove_file(filler).unwrap();
    let done = backup.end();
    assert_eq!(done.code, 0, "{done:?}");
    let job = house.job();
    assert_eq!(job["state"], "archived");
    assert_eq!(job["attempts"], 1, "the remote job was not at fault");
    assert_eq!(house.json(&["verify"])["ok"], true);
    until("nothing unfinished to be left", || {
        (names(&archive.join("stores")).len() == 3).then_some(())
    });
}
