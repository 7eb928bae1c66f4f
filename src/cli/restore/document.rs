//! What a restore would load: reads a snapshot once to its end, checks it against its manifest, and
//! notes what the service's documents doubt.

use super::head::Head;
use crate::archive::{Archive, Snapshot};
use crate::cli::Problem;
use crate::cli::output::bytes_bar;
use crate::dataset::{DocumentLimits, Entity, Reader, ValidationError, Value};
use crate::service::LoadRules;
use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};

/// The most bytes of a head that are read for what the schema declares.
const LARGEST_HEAD: u64 = 4 << 20;

/// The document that a restore would load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Document {
    /// The root element's name, as written.
    pub(super) root: String,
    pub(super) head: Head,
    /// Names of the columns of all entity types.
    pub(super) columns: Vec<String>,
    /// Bytes to load.
    pub(super) bytes: u64,
    /// Entities to load.
    pub(super) entities: u64,
    /// Primary keys that were asked for and that the snapshot lacks.
    pub(super) missing: Vec<String>,
    /// Values that look like markup.
    pub(super) markup: Found,
    /// Primary keys that are longer than documented.
    pub(super) long_keys: Found,
    /// Texts that are longer than documented.
    pub(super) long_texts: Found,
}

/// How often something was found, and where first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) count: u64,
    /// The column and the primary key of the first one.
    pub(super) first: Option<(String, String)>,
}

impl Found {
    fn note(&mut self, column: &str, entity: &Entity<'_>) {
        self.count += 1;
        if self.first.is_none() {
            self.first = Some((column.to_owned(), entity.key().unwrap_or("none").to_owned()));
        }
    }
}

/// Reads the document that a restore of this snapshot would load: all of it, or the entities of
/// these primary keys.
///
/// # Errors
/// The snapshot is damaged, or this version cannot read it.
pub(super) fn read(
    archive: &Archive,
    snapshot: &Snapshot,
    only: &BTreeSet<&str>,
    rules: &LoadRules,
) -> Result<Document, Problem> {
    let name = format!("{}@{}", snapshot.manifest.source, snapshot.manifest.name());
    let damaged = |what: &dyn std::fmt::Display| {
        Problem::failed(format!(
            "{name} is damaged, and is not restored: {what}; `nightjar verify {}` says more",
            snapshot.manifest.source
        ))
    };
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::Unsupported => Problem::failed(format!("{name} cannot be read: {error}")),
        _ => damaged(&error),
    };
    let length = snapshot.manifest.content.bytes;
    let bar = bytes_bar(length);
    let progress = |bytes| bar.set_position(bytes);
    let mut content = archive.proven_content(snapshot, &progress).map_err(unreadable)?;
    let surveyed = survey(&mut content, length, only, rules).map_err(|error| damaged(&error))?;
    content.finish().map_err(|what| damaged(&what))?;
    bar.finish_and_clear();
    let (mut document, head_bytes) = surveyed;
    let mut head = Vec::new();
    let content = archive.content(snapshot, head_bytes.min(LARGEST_HEAD)).map_err(unreadable)?;
    content.take(LARGEST_HEAD).read_to_end(&mut head).map_err(unreadable)?;
    document.head = Head::of(&head);
    if only.is_empty() {
        document.bytes = length;
    }
    Ok(document)
}

/// The document without its head, and the length of that.
fn survey(
    content: impl BufRead,
    max_bytes: u64,
    only: &BTreeSet<&str>,
    rules: &LoadRules,
) -> Result<(Document, u64), ValidationError> {
    let limits = DocumentLimits { max_bytes, ..DocumentLimits::default() };
    let mut reader = Reader::open(content, &limits)?;
    let head_bytes = reader.position();
    let types = reader.schema().types();
    let columns = types.iter().flat_map(|it| it.fields()).map(|it| it.column.name.clone());
    let mut document = Document {
        root: reader.root().to_owned(),
        columns: columns.collect(),
        bytes: head_bytes + "</>".len() as u64 + reader.root().len() as u64,
        ..Document::default()
    };
    let mut missing = only.clone();
    while let Some(entity) = reader.next_entity()? {
        let key = entity.key();
        let is_wanted = only.is_empty() || key.is_some_and(|key| only.contains(key));
        if !is_wanted {
            continue;
        }
        if let Some(key) = key {
            missing.remove(key);
        }
        document.entities += 1;
        document.note(&entity, rules);
        let begin = entity.offset();
        document.bytes += reader.position() - begin;
    }
    document.missing = missing.into_iter().map(str::to_owned).collect();
    Ok((document, head_bytes))
}

impl Document {
    fn note(&mut self, entity: &Entity<'_>, rules: &LoadRules) {
        let key_column = entity.entity_type().and_then(|it| it.key());
        for element in entity.elements() {
            let Value::Text(text) = element.value() else { continue };
            if looks_like_markup(text) {
                self.markup.note(element.name(), entity);
            }
            // A character has at least a byte: most texts are short enough without counting.
            let is_longer = |most: usize| text.len() > most && text.chars().count() > most;
            if element.column() == key_column && is_longer(rules.key_length) {
                self.long_keys.note(element.name(), entity);
            }
            if is_longer(rules.text_length) {
                self.long_texts.note(element.name(), entity);
            }
        }
    }
}

/// Whether a text holds what a browser would take for a tag, a comment or a declaration.
fn looks_like_markup(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('<') {
        let begins = |first: char| first.is_ascii_alphabetic() || matches!(first, '/' | '!' | '?');
        if after.starts_with(begins) && after.contains('>') {
            return true;
        }
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::doubts::tests::rules;
    use super::*;

    fn text(values: &[&str]) -> String {
        let shops: String = values.iter().map(|value| format!("<Shop>{value}</Shop>\n")).collect();
        format!(
            r#"<MainRoot><xs:schema id="Shops" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:msdata="urn:schemas-microsoft-com:xml-msdata"><xs:element name="Shops" msdata:IsDataSet="true"><xs:complexType><xs:choice><xs:element name="Shop"><xs:complexType><xs:sequence><xs:element name="ID" type="xs:string"/><xs:element name="Name" type="xs:string"/></xs:sequence></xs:complexType></xs:element></xs:choice></xs:complexType><xs:unique name="Key" msdata:PrimaryKey="true"><xs:selector xpath=".//Shop"/><xs:field xpath="ID"/></xs:unique></xs:element></xs:schema>{shops}</MainRoot>"#
        )
    }

    fn surveyed(document: &str, only: &[&str]) -> Document {
        let only = only.iter().copied().collect();
        survey(document.as_bytes(), 1 << 20, &only, &rules()).unwrap().0
    }

    #[test]
    fn a_part_is_counted_as_it_will_be_loaded() {
        let whole = text(&["<ID>a</ID><Name>A</Name>", "<ID>b</ID>", "<ID>c</ID>"]);
        let part = surveyed(&whole, &["c", "a", "x"]);
        assert_eq!((part.entities, part.missing), (2, vec!["x".to_owned()]));
        let head = whole.find("<Shop>").unwrap() as u64;
        let entities = "<Shop><ID>a</ID><Name>A</Name></Shop><Shop><ID>c</ID></Shop></MainRoot>";
        assert_eq!(part.bytes, head + entities.len() as u64);
        assert_eq!(part.root, "MainRoot");
        assert_eq!(part.columns, ["ID", "Name"]);
        assert_eq!(surveyed(&whole, &[]).entities, 3);
    }

    #[test]
    fn doubtful_values_are_counted_with_the_first_of_them() {
        let long = "k".repeat(rules().key_length + 1);
        let name = "é".repeat(rules().text_length);
        let document = surveyed(
            &text(&[
                "<ID>a</ID><Name>1 &lt; 2 &gt; 1</Name>",
                "<ID>b</ID><Name>&lt;b&gt;bold&lt;/b&gt;</Name>",
                "<ID>c</ID><Name><![CDATA[<br/>]]></Name>",
                &format!("<ID>{long}</ID><Name>{name}</Name>"),
                &format!("<ID>d</ID><Name>{name}!</Name>"),
            ]),
            &[],
        );
        let found = |count, column: &str, key: &str| Found {
            count,
            first: Some((column.to_owned(), key.to_owned())),
        };
        assert_eq!(document.markup, found(2, "Name", "b"));
        assert_eq!(document.long_keys, found(1, "ID", &long));
        assert_eq!(document.long_texts, found(1, "Name", "d"));
        // Only what would be loaded counts.
        let document = surveyed(&text(&["<ID>a</ID>", "<ID>b</ID><Name>&lt;i&gt;</Name>"]), &["a"]);
        assert_eq!(document.markup, Found::default());
    }

    #[test]
    fn markup_is_what_a_browser_takes_for_it() {
        for text in ["<b>", "a </p>", "<!-- -->", "<?php ?>", "a < b <i>c"] {
            assert!(looks_like_markup(text), "{text}");
        }
        for text in ["", "a < b", "a <b", "3<4>2", "<>", "a > b", "<3"] {
            assert!(!looks_like_markup(text), "{text}");
        }
    }
}
