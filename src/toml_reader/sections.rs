//! Which tables and keys a file may have, and suggestions for unknown ones.

use std::borrow::Cow;

/// A kind of table.
#[derive(Debug, Clone)]
pub struct Section {
    /// Its header as users write it; empty for the top of the file.
    pub title: &'static str,
    /// All keys that it may have.
    pub keys: Cow<'static, [&'static str]>,
}

impl Section {
    /// A table that may have these keys.
    pub const fn new(title: &'static str, keys: &'static [&'static str]) -> Section {
        Section { title, keys: Cow::Borrowed(keys) }
    }

    /// The same table, if it may have these keys too.
    pub fn with(&self, more: &[&'static str]) -> Section {
        Section { title: self.title, keys: [&self.keys, more].concat().into() }
    }
}

/// All that a file may have.
#[derive(Debug)]
pub struct Schema {
    /// Every kind of table. The kinds of one title stand together.
    pub sections: Vec<Section>,
    /// The keys that hold tables; all others hold values.
    pub tables: &'static [&'static str],
}

/// How similar a name must be to be suggested, and how similar if it belongs to another table.
const ALIKE: f64 = 0.75;
const VERY_ALIKE: f64 = 0.9;

impl Schema {
    /// Whether a known key holds a table or tables.
    pub fn holds_tables(&self, key: &str) -> bool {
        self.tables.contains(&key)
    }

    /// The suggestion for an unknown key or table in `section`: the table that it belongs to, the
    /// nearest known key of this section or of another, or all known keys.
    pub fn advice(&self, key: &str, is_table: bool, section: &Section) -> String {
        let mut places: Vec<_> = self
            .sections
            .iter()
            .filter(|place| place.keys.contains(&key) && self.holds_tables(key) == is_table)
            .map(|place| match place.title {
                "" => "at the top of the file, before the first [table]".to_owned(),
                title => format!("in {title}"),
            })
            .collect();
        places.dedup();
        if !places.is_empty() {
            return format!("it belongs {}", places.join(" or "));
        }
        if let [near, ..] = nearest(key, section.keys.iter().copied()).as_slice() {
            return format!("did you mean `{near}`?");
        }
        let elsewhere = self
            .sections
            .iter()
            .flat_map(|place| place.keys.iter().map(|known| (*known, place.title)));
        let elsewhere = elsewhere
            .filter(|(known, _)| self.holds_tables(known) == is_table)
            .map(|(known, title)| (likeness(key, known), known, title))
            .filter(|(likeness, ..)| *likeness >= VERY_ALIKE)
            .max_by(|(a, ..), (b, ..)| a.total_cmp(b));
        match elsewhere {
            Some((_, near, "")) => format!("did you mean `{near}` at the top of the file?"),
            Some((_, near, title)) => format!("did you mean `{near}` in {title}?"),
            None => format!("known here: {}", section.keys.join(", ")),
        }
    }
}

/// The known names most similar to a text, best first, at most three; case is ignored. A name that
/// contains the text, or is contained in it, counts as similar.
pub fn nearest<'k>(text: &str, known: impl Iterator<Item = &'k str>) -> Vec<&'k str> {
    let text = text.to_lowercase();
    let mut near: Vec<_> = known
        .map(|name| (likeness(&text, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    near.into_iter().map(|(_, name)| name).take(3).collect()
}

fn likeness(a: &str, b: &str) -> f64 {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if short.len() >= 3 && long.contains(short) {
        return 0.8 + 0.2 * short.len() as f64 / long.len() as f64;
    }
    strsim::jaro_winkler(a, b)
}
