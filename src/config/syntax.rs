//! Messages about lines that are not TOML, and how to read the others in spite of them.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, Error};

/// Whether the error is a repeated name, which hides nothing of the file.
pub(super) fn repeats(error: &Error) -> bool {
    error.message() == "duplicate key"
}

/// The first problem of each line, with its byte offset; later ones follow from it.
pub(super) fn problems(errors: &[&Error], text: &str) -> Vec<(usize, String)> {
    let mut lines = BTreeSet::new();
    errors
        .iter()
        .map(|error| (place(error, text), error.message()))
        .filter(|(at, _)| lines.insert(line_start(text, *at)))
        .map(|(at, message)| (at, format!("not TOML: {}", in_plain_words(message, text, at))))
        .collect()
}

/// The text with every faulty line replaced by blanks, so that offsets stay the same. `None` if one
/// of them begins a table: the keys below it would end up in another table.
pub(super) fn without_lines_of(errors: &[&Error], text: &str) -> Option<String> {
    let broken: BTreeSet<_> = errors.iter().map(|it| line_start(text, place(it, text))).collect();
    let mut start = 0;
    let mut rest = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if !broken.contains(&start) {
            rest.push_str(line);
        } else if line.trim_start().starts_with('[') {
            return None;
        } else {
            rest.extend(line.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        }
        start += line.len();
    }
    Some(rest)
}

/// The table of a text that has no errors except repeated names.
pub(super) fn parse(text: &str) -> Option<Spanned<DeTable<'_>>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    errors.iter().all(repeats).then_some(root)
}

fn place(error: &Error, text: &str) -> usize {
    let at = error.span().map_or(text.len(), |span| span.start);
    // an error at the end of the file is reported on its last line
    at.min(text.trim_end().len())
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..text.floor_char_boundary(at)).and_then(|it| it.rfind('\n')).map_or(0, |it| it + 1)
}

/// A plain message for common mistakes, or else the parser's own. None of the parser's messages
/// contains text of the file.
fn in_plain_words<'m>(message: &'m str, text: &str, at: usize) -> &'m str {
    let rest = text.get(at..).and_then(|rest| rest.lines().next()).unwrap_or_default().trim();
    match message.split_once(',').map_or(message, |(what, _)| what) {
        "string values must be quoted" if rest.is_empty() || rest.starts_with('#') => {
            "the value is missing"
        }
        "string values must be quoted" => "a string must be in quotes, such as \"text\"",
        "invalid basic string" => "the string has no closing quote, expected `\"`",
        "key with no value" => "found no `=`, expected NAME = VALUE",
        "unexpected key or value" => "found more after the value, expected the line to end",
        _ => message,
    }
}
