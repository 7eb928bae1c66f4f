//! How SQLite carries the statements out: nothing that runs in a loop may read a whole table.

use super::*;

/// The SQL statements in this module's files.
fn statements() -> Vec<String> {
    let files = [
        include_str!("../import.rs"),
        include_str!("../alerts.rs"),
        include_str!("../claim.rs"),
        include_str!("../history.rs"),
        include_str!("../jobs.rs"),
        include_str!("../clock.rs"),
        include_str!("../comparisons.rs"),
        include_str!("../maintenance.rs"),
        include_str!("../pruning.rs"),
        include_str!("../mod.rs"),
        include_str!("../orphans.rs"),
        include_str!("../persist.rs"),
        include_str!("../schedules.rs"),
    ];
    let verbs = ["SELECT ", "UPDATE ", "INSERT ", "DELETE "];
    files
        .iter()
        .flat_map(|file| file.split('"').skip(1).step_by(2))
        .filter(|text| verbs.iter().any(|verb| text.starts_with(verb)))
        .map(|text| {
            let lines = text.split("\\\n").map(str::trim_start);
            lines.collect::<Vec<_>>().concat()
        })
        .collect()
}

/// What a plan may walk from end to end: what is live, what is held, what is as short as the
/// configuration, and the history from its newest end.
fn is_bounded(step: &str, statement: &str) -> bool {
    [
        "jobs_due",
        "remote_jobs_running",
        "jobs_leased",
        "jobs_one_live",
        "jobs_restores",
        "json_each",
        "job_counts",
        "schedules",
        "alarms",
        "maintenance",
        "job_durations",
        "event_counts",
    ]
    .iter()
    .any(|short| step.contains(short))
        || step.contains("sqlite_schema")
        || step.contains("sqlite_sequence")
        || step.contains("_sqlx_migrations")
        || step.contains("CONSTANT ROW")
        || statement.contains("ORDER BY id DESC LIMIT")
}

#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    let (_folder, store) = store().await;
    let statements = statements();
    assert!(statements.len() >= 35, "only {} statements were found", statements.len());
    for statement in statements {
        let explained = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let rows = sqlx::query(explained)
            .fetch_all(&store.readers)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
        for row in rows {
            let step: String = row.try_get("detail").unwrap();
            assert!(
                !step.starts_with("SCAN ") || is_bounded(&step, &statement),
                "{statement}\n  {step}"
            );
            let sorts_jobs = step.contains("TEMP B-TREE") && statement.contains("ORDER BY due_at");
            assert!(!sorts_jobs, "{statement}\n  {step}");
        }
    }
}

#[tokio::test]
async fn due_jobs_are_found_through_the_index_of_live_jobs() {
    let (_folder, store) = store().await;
    for statement in statements().into_iter().filter(|text| text.contains("ORDER BY due_at")) {
        let explained = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let rows = sqlx::query(explained).fetch_all(&store.readers).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.try_get("detail").unwrap()).collect();
        assert!(plan.iter().any(|step| step.contains("INDEX jobs_due")), "{plan:?}");
    }
}
