//! Reads TOML tables and collects every mistake with its position, instead of stopping at the
//! first.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::sections::{Schema, Section};
use super::values::{A_KEY_ITSELF, holds_key, kind, quoted};

/// One mistake in a configuration file. The message never contains anything that may be a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    #[serde(serialize_with = "path_as_text")]
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What was found and what was expected.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file.display(), self.line, self.column, self.message)
    }
}

/// Paths may not be valid UTF-8; a report of mistakes must not fail because of that.
fn path_as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// The most mistakes of a file that are reported one by one.
pub const MOST_MISTAKES: usize = 100;

/// Line and column, both from 1, of a byte offset; columns count characters.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..text.floor_char_boundary(offset)).unwrap_or_default();
    // no editor shows a byte order mark as a column
    let before = before.strip_prefix('\u{feff}').unwrap_or(before);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// The text of a file and the mistakes found in it so far.
pub struct Document<'t> {
    file: &'t Path,
    text: &'t str,
    schema: &'t Schema,
    /// Whether all of the text was parsed. If not, a missing key may be in a part that was not.
    whole: bool,
    found: RefCell<Vec<(usize, String)>>,
    /// The positions of its line feeds.
    ends: Vec<usize>,
}

impl<'t> Document<'t> {
    /// No mistakes yet. `whole` says whether all of the text was parsed.
    pub fn new(file: &'t Path, text: &'t str, schema: &'t Schema, whole: bool) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { file, text, schema, whole, found: RefCell::default(), ends }
    }

    /// Records a mistake at a byte offset.
    pub fn mistake(&self, at: usize, message: impl Into<String>) {
        // messages are shown on one line of a terminal
        let message = message.into().replace(char::is_control, "\u{fffd}");
        self.found.borrow_mut().push((at, message));
    }

    /// Records that something is missing, unless it may be in a part that was not parsed.
    fn missing(&self, at: usize, message: impl Into<String>) {
        if self.whole {
            self.mistake(at, message);
        }
    }

    /// The line, from 1, of a byte offset.
    fn line(&self, at: usize) -> usize {
        self.ends.partition_point(|end| *end < at) + 1
    }

    /// All mistakes, in the order of the file. If there are very many: the first ones, and one that
    /// says how many more there are.
    pub fn into_mistakes(self) -> Vec<Mistake> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|(at, _)| *at);
        let more = found.len().saturating_sub(MOST_MISTAKES);
        if more > 0 {
            found.truncate(MOST_MISTAKES + 1);
            if let Some((_, last)) = found.last_mut() {
                *last = format!("and {more} more");
            }
        }
        found
            .into_iter()
            .map(|(at, message)| {
                let (line, column) = position(self.text, at);
                Mistake { file: self.file.to_owned(), line, column, message }
            })
            .collect()
    }
}

/// One table of the file, or a missing optional one, which reads like an empty table.
#[derive(Clone, Copy)]
pub struct Table<'d> {
    doc: &'d Document<'d>,
    /// Where mistakes that concern the whole table are reported.
    pub at: usize,
    entries: Option<&'d DeTable<'d>>,
}

impl<'d> Table<'d> {
    /// Reads a table of a known kind; every key that this kind does not have is a mistake.
    pub fn new(
        doc: &'d Document<'d>,
        section: &Section,
        at: usize,
        entries: &'d DeTable<'d>,
    ) -> Self {
        Self { doc, at, entries: Some(entries) }.checked(section)
    }

    /// The table, with every key that the kind does not have recorded as a mistake.
    fn checked(self, section: &Section) -> Self {
        for (key, value) in self.entries.into_iter().flatten() {
            if !section.keys.contains(&key.get_ref().as_ref()) {
                let message = unknown(key.get_ref(), value.get_ref(), section, self.doc.schema);
                self.doc.mistake(key.span().start, message);
            }
        }
        self
    }

    /// The value of a key, parsed by `read`, whose error says what was found and expected. A wrong
    /// value is recorded as a mistake, and the result is as if the key were missing.
    pub fn get<T>(
        &self,
        key: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(key)?;
        match read(value.get_ref()) {
            Ok(value) => Some(value),
            Err(problem) => {
                // a part of a key must not be shown either
                let secret = value.get_ref().as_str().is_some_and(holds_key);
                let problem = if secret { A_KEY_ITSELF } else { &problem };
                self.doc.mistake(value.span().start, format!("`{key}`: {problem}"));
                None
            }
        }
    }

    /// Like [`get`](Self::get), but a missing key is a mistake too.
    pub fn require<T>(
        &self,
        key: &str,
        meaning: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        if self.value(key).is_none() {
            self.doc.missing(self.at, format!("`{key}` is missing: {meaning}"));
        }
        self.get(key, read)
    }

    /// The table under a key.
    pub fn table(&self, key: &str, section: &Section) -> Self {
        let absent = Self { doc: self.doc, at: self.at, entries: None };
        let Some(value) = self.value(key) else { return absent };
        let Some(entries) = value.get_ref().as_table() else {
            let found = kind(value.get_ref());
            let problem = format!("`{key}`: found {found}, expected the table {}", section.title);
            self.doc.mistake(value.span().start, problem);
            return absent;
        };
        Self::new(self.doc, section, value.span().start, entries)
    }

    /// The tables of an array under a key.
    pub fn tables(&self, key: &str, section: &Section) -> Vec<Self> {
        self.tables_by(key, section.title, |_| section.clone())
    }

    /// The tables of an array under a key, where what a table may have depends on what it says.
    pub fn tables_by(
        &self,
        key: &str,
        title: &str,
        section: impl Fn(&Self) -> Section,
    ) -> Vec<Self> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let expected = format!("expected tables that each begin with {title}");
        let Some(items) = value.get_ref().as_array() else {
            let problem = format!("`{key}`: found {}, {expected}", kind(value.get_ref()));
            self.doc.mistake(value.span().start, problem);
            return Vec::new();
        };
        let table = |item: &'d Spanned<DeValue<'d>>| {
            let at = item.span().start;
            let Some(entries) = item.get_ref().as_table() else {
                let problem = format!("`{key}`: found {}, {expected}", kind(item.get_ref()));
                self.doc.mistake(at, problem);
                return None;
            };
            let table = Self { doc: self.doc, at, entries: Some(entries) };
            Some(table.checked(&section(&table)))
        };
        items.iter().filter_map(table).collect()
    }

    /// The tables under a key whose names the user chooses. `None` stands for an entry that is not
    /// a table; that is recorded as a mistake. What a table may have depends on what it says.
    pub fn named_tables(
        &self,
        key: &str,
        title: &str,
        section: impl Fn(&Self) -> Section,
    ) -> Vec<(&'d str, Option<Self>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(entries) = value.get_ref().as_table() else {
            let found = kind(value.get_ref());
            let problem = format!("`{key}`: found {found}, expected tables {title}");
            self.doc.mistake(value.span().start, problem);
            return Vec::new();
        };
        let table = |(name, value): (&'d Spanned<_>, &'d Spanned<DeValue<'d>>)| {
            let name: &'d std::borrow::Cow<'d, str> = name.get_ref();
            let entries = value.get_ref().as_table();
            if entries.is_none() {
                let (shown, found) = (quoted(name), kind(value.get_ref()));
                let problem = format!("{shown}: found {found}, expected a table {title}");
                self.doc.mistake(value.span().start, problem);
            }
            let at = value.span().start;
            let table = entries.map(|it| Self { doc: self.doc, at, entries: Some(it) });
            (name.as_ref(), table.map(|table| table.checked(&section(&table))))
        };
        entries.iter().map(table).collect()
    }

    /// The string under a key, if it is one.
    pub fn text(&self, key: &str) -> Option<&'d str> {
        self.value(key)?.get_ref().as_str()
    }

    /// Whether the table is in the file.
    pub fn is_present(&self) -> bool {
        self.entries.is_some()
    }

    /// The position of a key, if the table has it.
    pub fn place_of(&self, key: &str) -> Option<usize> {
        Some(self.entries?.get_key_value(key)?.0.span().start)
    }

    /// The position of a key's value, or else of the table.
    pub fn place_of_value(&self, key: &str) -> usize {
        self.value(key).map_or(self.at, |value| value.span().start)
    }

    /// Whether the table has a key under which people tend to write the secret itself.
    pub fn holds_secret(&self) -> bool {
        self.entries.is_some_and(|entries| entries.keys().any(|key| is_secret(key.get_ref())))
    }

    /// Records a mistake at a byte offset.
    pub fn mistake(&self, at: usize, message: impl Into<String>) {
        self.doc.mistake(at, message);
    }

    /// Records that something is missing, unless it may be in a part that was not parsed.
    pub fn missing(&self, at: usize, message: impl Into<String>) {
        self.doc.missing(at, message);
    }

    /// The line, from 1, of a byte offset.
    pub fn line(&self, at: usize) -> usize {
        self.doc.line(at)
    }

    fn value(&self, key: &str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.entries?.get(key)
    }
}

/// The message about a key that its table does not have. Its value is not shown: it may be
/// anything, even a key of the service.
fn unknown(key: &str, value: &DeValue<'_>, section: &Section, schema: &Schema) -> String {
    if is_secret(key) {
        return A_KEY_ITSELF.to_owned();
    }
    let is_table = match value {
        DeValue::Table(_) => true,
        DeValue::Array(items) => items.first().is_some_and(|item| item.get_ref().is_table()),
        _ => false,
    };
    let what = if is_table { "table" } else { "key" };
    let place = match section.title {
        "" => String::new(),
        title => format!(" in {title}"),
    };
    format!("unknown {what} {}{place}, {}", quoted(key), schema.advice(key, is_table, section))
}

/// Whether a name is that of a secret, or may be the secret itself.
fn is_secret(key: &str) -> bool {
    const SECRETS: [&str; 4] = ["key", "secret", "password", "token"];
    let plain = key.to_ascii_lowercase();
    let plain = plain.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
    SECRETS.iter().any(|secret| plain.ends_with(secret)) || holds_key(key)
}
