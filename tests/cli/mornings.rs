//! docs/restore.md: its command lines, typed as they stand there.

use crate::harness::{Done, Setup};
use nightjar::simulator::Data;
use std::fs;
use std::process::Command;

const PAGE: &str = include_str!("../../docs/restore.md");

/// The lines of the shell that a section has, in order.
fn lines(section: &str) -> Vec<&'static str> {
    let heading = format!("## {section}\n");
    let text = PAGE.split(&heading).nth(1).unwrap_or_else(|| panic!("no section {section}"));
    let text = text.split("\n## ").next().unwrap();
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(str::lines).collect()
}

/// The rest of a section, line by line.
struct Morning<'s> {
    setup: &'s Setup,
    lines: std::vec::IntoIter<&'static str>,
    id: String,
}

impl<'s> Morning<'s> {
    fn of(setup: &'s Setup, section: &str) -> Morning<'s> {
        Morning { setup, lines: lines(section).into_iter(), id: String::new() }
    }

    /// Types the next line, which must begin so, and gives consent where there is no terminal to
    /// ask on.
    fn types(&mut self, beginning: &str, code: i32) -> Done {
        let line = self.lines.next().unwrap_or_else(|| panic!("the page ends before {beginning}"));
        assert!(line.starts_with(beginning), "{line}");
        let line = line.replace("JOB_ID", &self.id);
        let mut words: Vec<&str> = line.split(' ').skip(1).collect();
        let asks = ["restore", "publish", "rollback"].contains(&words[0]);
        if asks && !words.contains(&"--dry-run") {
            words.push("--yes");
        }
        let done = self.setup.run(&words);
        assert_eq!(done.code, code, "{line}: {done:?}");
        done
    }

    fn ends(mut self) {
        assert_eq!(self.lines.next(), None, "a line of the page was not tried");
    }
}

fn is_published(setup: &Setup, data: &Data) -> bool {
    setup.service.versions("Stores").published.unwrap().data.document() == data.document()
}

#[test]
fn a_wrong_load() {
    let setup = Setup::healthy();
    let good = Data::first_places(20);
    setup.backup();
    setup.service.set_data("Stores", Data::first_places(7));
    setup.backup();
    let mut morning = Morning::of(&setup, "A wrong load");
    assert!(morning.types("nightjar status", 0).stdout.contains("suspicious"));
    morning.types("nightjar snapshots stores", 0);
    let diff = morning.types("nightjar diff stores@1 stores", 0);
    assert!(diff.stdout.contains("13 removed"), "{diff:?}");
    morning.types("nightjar versions stores", 0);
    morning.types("nightjar restore stores@1 --to stores --dry-run", 0);
    let staged = morning.types("nightjar restore stores@1 --to stores", 0);
    assert!(!is_published(&setup, &good));
    morning.id = staged.stdout.trim().rsplit(' ').next().unwrap().to_owned();
    morning.types("nightjar publish stores JOB_ID", 0);
    assert!(is_published(&setup, &good));
    morning.types("nightjar backup stores", 0);
    morning.types("nightjar diff stores@1 stores --exit-code", 0);
    morning.types("nightjar status --check", 0);
    morning.ends();
}

#[test]
fn a_deleted_source() {
    let setup = Setup::healthy();
    setup.backup();
    setup.service.delete_source("Stores");
    let failed = setup.run(&["backup"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    let mut morning = Morning::of(&setup, "A deleted source");
    assert!(morning.types("nightjar status", 0).stdout.contains("failing"));
    morning.types("nightjar restore stores --to stores --no-safety --dry-run", 0);
    morning.types("nightjar restore stores --to stores --no-safety --publish", 0);
    assert!(is_published(&setup, &Data::first_places(20)));
    morning.types("nightjar backup stores", 0);
    morning.types("nightjar diff stores@1 stores --exit-code", 0);
    morning.types("nightjar status --check", 0);
    morning.ends();
}

#[test]
fn a_damaged_disk() {
    let setup = Setup::healthy();
    setup.backup();
    let copy = setup.path("copy");
    copied(&setup.archive(""), &copy);
    let data = setup.manifests("stores").remove(0).with_extension("xml.zst");
    let mut bytes = fs::read(&data).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // A file of its own: the copy is on another disk.
    fs::remove_file(&data).unwrap();
    fs::write(&data, bytes).unwrap();
    let mut morning = Morning::of(&setup, "A damaged disk");
    morning.types("nightjar verify", 1);
    morning.types("nightjar backup stores", 0);
    let line = morning.lines.next().unwrap();
    assert_eq!(line, "cp -a /mnt/copy/archive/. /var/lib/nightjar/archive/");
    copied(&copy, &setup.archive(""));
    fs::remove_file(setup.path("state/nightjar.db")).unwrap();
    morning.types("nightjar reindex", 0);
    morning.types("nightjar verify", 0);
    morning.types("nightjar status --check", 0);
    let plan = morning.types("nightjar restore stores --to stores --dry-run", 0);
    assert!(plan.stdout.contains("20 entities"), "{plan:?}");
    morning.ends();
}

/// Copies what a folder holds into another one.
fn copied(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    let copying = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(copying.success());
}
