//! The words for what goes wrong and what happens, and the pages that list them.

use super::*;
use crate::tests::pages::first_column;
use std::collections::BTreeSet;

#[test]
fn every_error_kind_is_documented_once_and_no_other_one() {
    let page = include_str!("../../../docs/commands.md");
    let kinds: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(first_column(page, "### Error kinds"), kinds);
}

#[test]
fn every_event_kind_is_documented_once_and_no_other_one() {
    let documented = first_column(include_str!("../../../docs/logging.md"), "### Events");
    let kinds: BTreeSet<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(documented.iter().copied().collect::<BTreeSet<_>>(), kinds);
    assert_eq!(documented.len(), kinds.len(), "{documented:?}");
}

#[test]
fn the_page_about_metrics_names_existing_event_kinds() {
    let page = include_str!("../../../docs/monitoring.md");
    let row = page.lines().find(|line| line.starts_with("| `nightjar_job_events_total")).unwrap();
    let meaning = row.split('|').nth(3).unwrap();
    let named: Vec<_> = meaning.split('`').skip(1).step_by(2).collect();
    assert!(named.len() > 3, "{meaning}");
    for kind in named {
        assert!(kind.parse::<EventKind>().is_ok(), "{kind}");
    }
}
