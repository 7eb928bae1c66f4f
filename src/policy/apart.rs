//! Retention of the snapshots that no rule of [`retention`](super::retention) counts, because they
//! are not a source's backups: safety backups and other versions.
//!
//! They are counted by job alone, so that no clock and no outage ages any of them out.

use super::retention::Reasons;

/// How many other versions of a source stay, the newest. More than a service lists: one that is
/// removed while the service still has it would be backed up again.
pub const KEEP_VERSIONS: u32 = 10;

/// The reasons to keep each of these snapshots, which are given newest first, each with why a user
/// asked to keep it, if so. The newest `keep` stay, at least one. `what` names them in the reasons.
#[must_use]
pub fn reasons(held: &[Option<String>], keep: u32, what: &str) -> Vec<Reasons> {
    let keep = keep.max(1);
    let one = |(number, held): (u32, &Option<String>)| {
        let counted = (number <= keep).then(|| format!("{what} {number} of {keep}"));
        let held = held.as_ref().map(|why| format!("held: {why}"));
        counted.into_iter().chain(held).collect()
    };
    (1..).zip(held).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_newest_ones_and_held_ones_stay() {
        let held = [None, None, Some("a restore".to_owned()), None];
        assert_eq!(
            reasons(&held, 2, "safety backup"),
            [
                vec!["safety backup 1 of 2"],
                vec!["safety backup 2 of 2"],
                vec!["held: a restore"],
                vec![]
            ]
        );
        assert_eq!(reasons(&held[..1], 0, "version"), [["version 1 of 1"]]);
        assert_eq!(reasons(&[], 3, "version"), Vec::<Reasons>::new());
    }

    proptest! {
        #[test]
        fn one_goes_when_it_is_not_held_and_enough_are_newer(
            held in prop::collection::vec(any::<bool>(), 0..20), keep in 0u32..9,
        ) {
            let given: Vec<_> = held.iter().map(|held| held.then(String::new)).collect();
            let kept = reasons(&given, keep, "version");
            prop_assert_eq!(kept.len(), held.len());
            for (newer, (held, reasons)) in held.iter().zip(kept).enumerate() {
                let is_counted = newer == 0 || newer < keep as usize;
                prop_assert_eq!(reasons.is_empty(), !held && !is_counted);
            }
        }
    }
}
