//! What the head of a document, up to the end of its schema, says beside the columns.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// The namespace of schemas as it stands in some downloads of the service.
const DOUBTFUL_NAMESPACE: &str = "https://www.w3.org/2001/XMLSchema";

/// What the head of a document says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Whether the schema's namespace begins with `https`.
    pub(super) has_https_namespace: bool,
    /// The name of the element that `msdata:IsDataSet` marks.
    pub(super) data_set: Option<String>,
}

impl Head {
    /// Reads a head that the reader of documents has accepted. What cannot be read says nothing.
    pub(super) fn of(bytes: &[u8]) -> Head {
        let mut head = Head::default();
        let mut reader = Reader::from_reader(bytes);
        reader.config_mut().check_end_names = false;
        while let Ok(event) = reader.read_event() {
            match event {
                Event::Start(tag) | Event::Empty(tag) => head.read(&tag),
                Event::Eof => break,
                _ => {}
            }
        }
        head
    }

    fn read(&mut self, tag: &BytesStart<'_>) {
        let (mut name, mut is_data_set) = (None, false);
        for attribute in tag.attributes().flatten() {
            let Ok(value) = attribute.normalized_value(XmlVersion::Implicit1_0) else { continue };
            let key = attribute.key;
            if key.as_namespace_binding().is_some() && value == DOUBTFUL_NAMESPACE {
                self.has_https_namespace = true;
            }
            match key.local_name().as_ref() {
                "name" => name = Some(value.into_owned()),
                "IsDataSet" => is_data_set = value.trim().eq_ignore_ascii_case("true"),
                _ => {}
            }
        }
        if is_data_set && self.data_set.is_none() {
            self.data_set = name;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_and_the_data_set_are_found() {
        let head = |namespace: &str| {
            Head::of(
                format!(
                    "\u{feff}<?xml version='1.0'?><R><xs:schema xmlns:xs='{namespace}'>\
                     <xs:element name='Sh&#111;ps' msdata:IsDataSet='true'><xs:element name='Shop'/>\
                     </xs:element></xs:schema>"
                )
                .as_bytes(),
            )
        };
        let shops = Some("Shops".to_owned());
        let plain = head("http://www.w3.org/2001/XMLSchema");
        assert_eq!(plain, Head { has_https_namespace: false, data_set: shops.clone() });
        let doubtful = head(DOUBTFUL_NAMESPACE);
        assert_eq!(doubtful, Head { has_https_namespace: true, data_set: shops });
        assert_eq!(Head::of(b"<R"), Head::default());
    }
}
