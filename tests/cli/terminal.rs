//! Text from outside neither controls the terminal nor forges a line.

use crate::harness::{Done, Setup, read_json};
use std::fs;

/// Clears the screen, and continues as another line.
const EVIL: &str = "x\u{1b}[2J\u{9b}31m\u{202e}\u{7f}\nFORGED: 9 snapshots verified\r";

fn is_harmless(done: &Done) {
    for text in [&done.stdout, &done.stderr] {
        assert!(!text.contains(|it: char| it != '\n' && it.is_control()), "{done:?}");
        assert!(!text.contains('\u{202e}'), "{done:?}");
        assert!(text.lines().all(|line| !line.starts_with("FORGED")), "{done:?}");
    }
}

/// Writes a text into the rows of the database.
fn poison(setup: &Setup, statements: &[&str]) {
    setup.block_on(async {
        use sqlx::ConnectOptions as _;
        let file = setup.path("state/nightjar.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
        let mut db = options.connect().await.unwrap();
        for statement in statements {
            sqlx::query(sqlx::AssertSqlSafe(*statement)).bind(EVIL).execute(&mut db).await.unwrap();
        }
        sqlx::Connection::close(db).await.unwrap();
    });
}

#[test]
fn text_from_outside_neither_controls_the_terminal_nor_forges_a_line() {
    let setup = Setup::healthy();
    setup.backup();
    let path = setup.manifests("stores").pop().unwrap();
    let mut manifest = read_json(&path);
    for member in ["checksum", "unreadable", "unproven"] {
        manifest.as_object_mut().unwrap().remove(member);
    }
    manifest["suspicious"] = serde_json::json!([EVIL]);
    manifest["generator"] = EVIL.into();
    manifest["entity_type"] = EVIL.into();
    fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    fs::write(setup.archive("stores").join(EVIL), "").unwrap();
    fs::write(setup.archive("").join(EVIL), "").unwrap();
    poison(
        &setup,
        &[
            "UPDATE events SET message = ?1, kind = ?1",
            "UPDATE jobs SET remote_id = ?1, snapshot = ?1",
        ],
    );
    let held = setup.run(&["hold", "stores", "--reason", EVIL]);
    assert_eq!(held.code, 0, "{held:?}");
    assert!(held.stdout.contains(r"x\u{1b}[2J\u{9b}31m\u{202e}\u{7f}\u{a}FORGED"), "{held:?}");
    is_harmless(&held);
    let commands: [&[&str]; 9] = [
        &["snapshots"],
        &["verify"],
        &["status"],
        &["jobs"],
        &["job", "1"],
        &["prune", "--dry-run"],
        &["prune"],
        &["doctor", "--offline"],
        &["check"],
    ];
    let mut shown = 0;
    let mut look = || {
        for command in commands {
            let done = setup.run(command);
            is_harmless(&done);
            shown += usize::from(done.stdout.contains(r"\u{1b}[2J"));
        }
    };
    look();
    poison(
        &setup,
        &["UPDATE jobs SET state = 'failed', error_kind = 'protocol', error_message = ?1"],
    );
    look();
    poison(
        &setup,
        &["UPDATE jobs SET state = 'waiting', finished_at = NULL, due_at = 1e15, \
           hold_kind = 'limit', hold_message = ?1"],
    );
    look();
    // All commands but `check` show it in at least one of the rounds.
    assert!(shown >= 16, "{shown}");
    for format in ["text", "json"] {
        is_harmless(&setup.run(&["--log-format", format, "backup", "--timeout", "1s"]));
        is_harmless(&setup.run(&["--log-format", format, "snapshots"]));
    }
}
