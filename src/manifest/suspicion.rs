//! Why a validated snapshot may still be wrong.

use super::ChangeCounts;
use crate::dataset::Unreadable;

/// Why unreadable values make a snapshot suspicious: the columns that had none in the previous
/// snapshot, suspicious or not. A column that already had some is not reported again.
pub fn newly_unreadable(found: &[Unreadable], before: Option<&[Unreadable]>) -> Option<String> {
    /// How many columns are named.
    const NAMED: usize = 5;
    let known = |one: &&Unreadable| {
        before.unwrap_or_default().iter().any(|earlier| earlier.column == one.column)
    };
    let fresh: Vec<&Unreadable> = found.iter().filter(|one| !known(one)).collect();
    if fresh.is_empty() {
        return None;
    }
    let named: Vec<String> = fresh.iter().take(NAMED).map(ToString::to_string).collect();
    let more = match fresh.len().saturating_sub(NAMED) {
        0 => String::new(),
        1 => ", and 1 column more".to_owned(),
        more => format!(", and {more} columns more"),
    };
    Some(format!(
        "values that do not read as their column's type, where the snapshot before had none: {}{more}",
        named.join(", ")
    ))
}

/// Why a validated snapshot is suspicious. `baseline` is the number of entities in the last
/// snapshot that was not suspicious itself.
pub fn suspicions(
    entities: u64,
    min_entities: u64,
    max_shrink: f64,
    baseline: Option<u64>,
) -> Vec<String> {
    let mut reasons = Vec::new();
    if entities < min_entities {
        reasons.push(format!("{entities} entities, fewer than min_entities = {min_entities}"));
    }
    if let Some(before) = baseline
        && entities < before
    {
        let lost = (before - entities) as f64 / before as f64;
        if lost > max_shrink {
            reasons.push(format!(
                "{entities} entities after {before}: {:.0} % lost, more than max_shrink = {max_shrink}",
                lost * 100.0
            ));
        }
    }
    reasons
}

/// Why a validated snapshot is suspicious that differs from the last one that was not suspicious
/// itself: more than the part `max_change` of that one's entities were added, removed or changed.
pub fn changed_much(counts: &ChangeCounts, max_change: f64) -> Option<String> {
    let (differing, before) = (counts.differing(), counts.before());
    if differing == 0 || differing as f64 <= max_change * before as f64 {
        return None;
    }
    let part = match before {
        0 => String::new(),
        before => format!(": {:.0} %", differing as f64 / before as f64 * 100.0),
    };
    let ChangeCounts { added, removed, changed, .. } = counts;
    Some(format!(
        "{added} added, {removed} removed and {changed} changed of {before} entities before{part}, \
         more than max_change = {max_change}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_changes_than_the_allowed_part_are_suspicious() {
        let of = |added, removed, changed, unchanged, max_change| {
            changed_much(&ChangeCounts { added, removed, changed, unchanged }, max_change)
        };
        assert_eq!(of(1, 1, 1, 8, 0.3), None, "3 of 10 are the allowed part itself");
        assert_eq!(
            of(1, 1, 2, 7, 0.3).unwrap(),
            "1 added, 1 removed and 2 changed of 10 entities before: 40 %, more than max_change = 0.3"
        );
        assert_eq!(of(0, 0, 0, 10, 0.0), None);
        assert!(of(0, 0, 1, 199_999, 0.0).is_some());
        assert_eq!(of(0, 0, 0, 0, 0.3), None);
        let first = of(5, 0, 0, 0, 1.0).unwrap();
        assert!(first.contains("of 0 entities before, more than max_change = 1"), "{first}");
        assert!(of(11, 0, 0, 10, 1.0).is_some(), "more were added than there were");
        assert_eq!(of(10, 0, 0, 10, 1.0), None);
    }

    #[test]
    fn columns_that_were_unreadable_before_give_no_warning() {
        let column = |name: &str, values| Unreadable {
            column: name.to_owned(),
            values,
            first_key: Some("7".to_owned()),
        };
        assert_eq!(newly_unreadable(&[], None), None);
        let before = [column("Size", 900)];
        assert_eq!(newly_unreadable(&[column("Size", 1)], Some(&before)), None);
        let all = [column("Open", 1), column("Size", 2)];
        let reason = newly_unreadable(&all, Some(&before)).unwrap();
        assert!(reason.ends_with(": 1 value of column Open (first: key \"7\")"), "{reason}");
        let reason = newly_unreadable(&all, None).unwrap();
        assert!(reason.contains("Open") && reason.contains("2 values of column Size"), "{reason}");
        let many: Vec<_> = (0..4096).map(|at| column(&format!("C{at}"), 1)).collect();
        let reason = newly_unreadable(&many, None).unwrap();
        assert!(reason.len() < 400 && reason.ends_with("and 4091 columns more"), "{reason}");
    }

    #[test]
    fn fewer_than_the_least_and_a_large_loss_are_suspicious() {
        assert_eq!(suspicions(10, 1, 0.5, Some(20)), Vec::<String>::new());
        assert_eq!(
            suspicions(9, 1, 0.5, Some(20)),
            ["9 entities after 20: 55 % lost, more than max_shrink = 0.5"]
        );
        assert_eq!(suspicions(0, 1, 1.0, None), ["0 entities, fewer than min_entities = 1"]);
        assert_eq!(suspicions(5, 0, 0.0, Some(5)), Vec::<String>::new());
    }
}
