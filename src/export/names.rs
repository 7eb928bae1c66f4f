//! Names that a target can hold, each once.

use std::collections::BTreeSet;

/// The rules of a target for the names of its columns or tables.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Whether names that differ only in case are the same there.
    pub(super) ignores_case: bool,
    /// Bytes that a name may have.
    pub(super) most_bytes: usize,
}

/// Names for these columns in their order. One that is taken, by an earlier column or because it is
/// `reserved`, gets `_2`, `_3` and so on.
pub(super) fn unique<'n>(
    names: impl IntoIterator<Item = &'n str>,
    reserved: &[&str],
    rules: Rules,
) -> Vec<String> {
    let same = |name: &str| if rules.ignores_case { name.to_lowercase() } else { name.to_owned() };
    let mut taken: BTreeSet<String> = reserved.iter().map(|name| same(name)).collect();
    let mut unique = Vec::new();
    for name in names {
        let mut candidate = cut(name, rules.most_bytes).to_owned();
        let mut number = 2_u64;
        while taken.contains(&same(&candidate)) {
            let suffix = format!("_{number}");
            let most = rules.most_bytes.saturating_sub(suffix.len());
            candidate = format!("{}{suffix}", cut(name, most));
            number += 1;
        }
        taken.insert(same(&candidate));
        unique.push(candidate);
    }
    unique
}

/// The beginning of a name, of at most so many bytes.
pub(super) fn cut(name: &str, most: usize) -> &str {
    name.get(..name.floor_char_boundary(most)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(
        names: &[&str],
        reserved: &[&str],
        ignores_case: bool,
        most_bytes: usize,
    ) -> Vec<String> {
        unique(names.iter().copied(), reserved, Rules { ignores_case, most_bytes })
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        assert_eq!(named(&["a", "A", "a_2", "á"], &[], false, 63), ["a", "A", "a_2", "á"]);
        assert_eq!(named(&["a", "A", "a_2", "a"], &[], true, 63), ["a", "A_2", "a_2_2", "a_3"]);
        assert_eq!(named(&["geom", "x"], &["geom"], true, 63), ["geom_2", "x"]);
        assert_eq!(named(&["long", "lone", "long"], &[], true, 3), ["lon", "l_2", "l_3"]);
        assert_eq!(named(&["ööa", "ööb"], &[], true, 4), ["öö", "ö_2"]);
    }
}
