//! Damages a valid document in the ways that a complete download can be wrong.

/// A fault of a document; none changes how many entities the service announces. Some break the
/// document, some leave its keys or its schema unproven, and one leaves a value that does not read
/// as its column's type (`docs/archive-format.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Ends in the middle of an entity.
    Truncated,
    /// Ends between two entities, before the root's end tag.
    Unclosed,
    /// Two entities have the same key.
    DuplicateKey,
    /// An entity has no key.
    MissingKey,
    /// An entity's key is empty.
    EmptyKey,
    /// An entity has an element that the schema does not know.
    UnknownElement,
    /// Another element than the schema's stands among the entities.
    UnknownEntity,
    /// A latitude is no number.
    BadValue,
    /// A document type declaration.
    Doctype,
    /// A reference to an entity that is not declared.
    UndeclaredReference,
    /// Text follows the root.
    TrailingGarbage,
    /// A second root follows the first.
    SecondRoot,
    /// The schema is missing.
    NoSchema,
    /// An end tag does not match its start tag.
    Mismatched,
    /// Bytes that are not UTF-8.
    BadEncoding,
    /// A web server's HTML page.
    HtmlPage,
    /// Nothing at all.
    Nothing,
    /// One entity less than announced.
    OneFewer,
    /// One entity more than announced.
    OneMore,
}

/// A document cut up around its entities.
pub(super) struct Parts<'a> {
    /// All before the schema.
    prologue: &'a str,
    schema: &'a str,
    pub(super) entity_type: &'a str,
    key: &'a str,
    /// Each with the blanks before it.
    entities: Vec<&'a str>,
    /// All after the last entity.
    epilogue: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let (prologue, rest) = text.split_at(text.find("<xs:schema").unwrap_or(0));
        let end = "</xs:schema>";
        let (schema, mut epilogue) = rest.split_at(rest.find(end).map_or(0, |at| at + end.len()));
        let entity_type = between(schema, "xpath=\".//", "\"");
        let key = between(schema, "field xpath=\"", "\"");
        let end = format!("</{entity_type}>");
        let mut entities = Vec::new();
        while let Some(at) = epilogue.find(&end) {
            let (entity, rest) = epilogue.split_at(at + end.len());
            entities.push(entity);
            epilogue = rest;
        }
        Self { prologue, schema, entity_type, key, entities, epilogue }
    }

    /// The document with `damage` done to the entity in its middle, or around there.
    pub(super) fn damaged(&self, damage: Damage) -> Vec<u8> {
        let entity = self.entities.get(self.middle()).copied().unwrap_or_default();
        let opening = format!("<{}>", self.entity_type);
        let key = self.key_element(self.key_of(entity));
        let swap = |from: &str, to: &str| self.with(&entity.replacen(from, to, 1));
        let whole = || self.with(entity);

        let text = match damage {
            Damage::Truncated => {
                let half: String = entity.chars().take(entity.chars().count() / 2).collect();
                self.before_middle() + &half
            }
            Damage::Unclosed => self.before_middle(),
            Damage::DuplicateKey => {
                let first = self.entities.first().copied().unwrap_or_default();
                swap(&key, &self.key_element(self.key_of(first)))
            }
            Damage::MissingKey => swap(&key, ""),
            Damage::EmptyKey => swap(&key, &self.key_element("")),
            Damage::UnknownElement => swap(&opening, &format!("{opening}<Surprise>1</Surprise>")),
            Damage::UnknownEntity => swap(&opening, &format!("<Other/>{opening}")),
            Damage::BadValue => {
                let number = between(entity, "<Latitude>", "<");
                swap(&format!("<Latitude>{number}<"), "<Latitude>north<")
            }
            Damage::Doctype => whole().replacen(
                "<MainRoot>",
                "<!DOCTYPE MainRoot [<!ENTITY name \"value\">]>\n<MainRoot>",
                1,
            ),
            Damage::UndeclaredReference => swap(&key, &self.key_element("&nonesuch;")),
            Damage::TrailingGarbage => whole() + "and more",
            Damage::SecondRoot => whole() + "<MainRoot></MainRoot>",
            Damage::NoSchema => whole().replacen(self.schema, "", 1),
            Damage::Mismatched => swap(&format!("</{}>", self.entity_type), "</Mismatched>"),
            Damage::BadEncoding => return self.badly_encoded(entity, &key),
            Damage::HtmlPage => {
                return super::answers::html_page(503).to_vec();
            }
            Damage::Nothing => String::new(),
            Damage::OneFewer => self.with(""),
            Damage::OneMore => {
                let another = entity.replacen(&key, &self.key_element("one-more"), 1);
                self.with(&format!("{entity}{another}"))
            }
        };
        text.into_bytes()
    }

    /// An overlong start byte and one that never occurs, in the place of a key.
    fn badly_encoded(&self, entity: &str, key: &str) -> Vec<u8> {
        let (before, after) = entity.split_once(key).unwrap_or((entity, ""));
        let (opening, closing) = (format!("<{}>", self.key), format!("</{}>", self.key));
        let mut bytes = self.before_middle().into_bytes();
        for piece in [before.as_bytes(), opening.as_bytes(), b"\xc3\x28\xff", closing.as_bytes()] {
            bytes.extend_from_slice(piece);
        }
        bytes.extend_from_slice(after.as_bytes());
        bytes.extend_from_slice(self.after_middle().as_bytes());
        bytes
    }

    fn middle(&self) -> usize {
        self.entities.len() / 2
    }

    fn before_middle(&self) -> String {
        let entities = self.entities.iter().take(self.middle()).copied();
        [self.prologue, self.schema].into_iter().chain(entities).collect()
    }

    fn after_middle(&self) -> String {
        let entities = self.entities.iter().skip(self.middle() + 1).copied();
        entities.chain([self.epilogue]).collect()
    }

    /// The document with `entity` in the place of the middle one.
    fn with(&self, entity: &str) -> String {
        self.before_middle() + entity + &self.after_middle()
    }

    fn key_of(&self, entity: &'a str) -> &'a str {
        between(entity, &format!("<{}>", self.key), "<")
    }

    fn key_element(&self, text: &str) -> String {
        let key = self.key;
        format!("<{key}>{text}</{key}>")
    }
}

/// What stands between two marks; nothing when they are not there.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split_once(before)
        .and_then(|(_, rest)| rest.split_once(after))
        .map_or("", |(found, _)| found)
}
