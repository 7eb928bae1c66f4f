//! The content of the documents.

use std::collections::HashSet;

use bytes::Bytes;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::super::{Damage, Data};

/// Reads a document strictly: entities, the names of their columns, and all texts.
pub(super) fn read(document: &Bytes) -> Result<Vec<Vec<(String, String)>>, String> {
    let text = std::str::from_utf8(document).map_err(|error| error.to_string())?;
    let mut reader = Reader::from_str(text);
    let (mut path, mut entities, mut value) = (Vec::<String>::new(), Vec::new(), String::new());
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(start) => {
                path.push(start.local_name().as_ref().to_owned());
                value.clear();
                if path.len() == 2 && path[1] != "schema" {
                    entities.push(Vec::new());
                }
            }
            Event::End(_) => {
                let name = path.pop().unwrap_or_default();
                if path.len() == 2 && path[1] != "schema" {
                    entities.last_mut().unwrap().push((name, value.clone()));
                }
            }
            Event::Text(text) => value.push_str(&text),
            Event::CData(text) => value.push_str(&text),
            Event::GeneralRef(name) => match name.resolve_char_ref() {
                Ok(Some(letter)) => value.push(letter),
                _ => value.push_str(quick_xml::escape::resolve_predefined_entity(&name).unwrap()),
            },
            Event::Eof => return Ok(entities),
            _ => {}
        }
    }
}

#[test]
fn the_places_are_real_and_hold_every_kind_of_value() {
    let entities = read(&Data::Places.document()).unwrap();
    assert_eq!(entities.len() as u64, Data::Places.entities());
    let keys: HashSet<&str> = entities.iter().map(|entity| entity[0].1.as_str()).collect();
    assert_eq!(keys.len(), 3000);
    let of = |name: &str, column: &str| {
        let entity = entities.iter().find(|entity| entity[1].1 == name).unwrap();
        entity.iter().find(|(key, _)| key == column).map(|(_, value)| value.as_str())
    };
    assert_eq!(of("Tokyo", "AlternateName"), Some("東京"));
    assert_eq!(of("Athens", "Latitude"), Some("37.98376"));
    assert_eq!(of("Paris", "AlternateName"), Some(""), "no other script is used there");
    assert_eq!(of("Sulţānah", "AlternateName"), None, "unknown");
    assert!(of("Tokyo", "Notes").unwrap().contains("Japan & in its zone: \"Asia/Tokyo\" <=>"));
    assert!(entities.iter().flatten().any(|(_, value)| value.contains("☃ winter & summer ☀")));
    for kind in [
        "POINT",
        "LINESTRING",
        "POLYGON",
        "MULTIPOINT",
        "MULTILINESTRING",
        "MULTIPOLYGON",
        "GEOMETRYCOLLECTION",
        "POINT( ( ",
    ] {
        let shapes = entities.iter().flatten().filter(|(name, _)| name == "Shape");
        assert!(shapes.into_iter().any(|(_, value)| value.starts_with(kind)), "{kind}");
    }
}

#[test]
fn synthetic_documents_are_as_long_as_they_say_and_each_key_is_there_once() {
    for dense in [false, true] {
        // More than are rendered once, so that templates return.
        for entities in [0, 1, 20_000] {
            let data = Data::Synthetic { entities, dense };
            let chunks: Vec<Bytes> = data.chunks().collect();
            assert!(chunks.iter().rev().skip(1).rev().skip(1).all(|chunk| chunk.len() >= 65_536));
            let document = data.document();
            assert_eq!(document.len() as u64, data.length());
            let read = read(&document).unwrap();
            let keys: HashSet<&str> = read.iter().map(|entity| entity[0].1.as_str()).collect();
            assert_eq!((read.len() as u64, keys.len() as u64), (entities, entities));
            assert!(read.iter().all(|entity| entity.len() == if dense { 39 } else { 14 }));
        }
        let data = Data::Synthetic { entities: 200_000, dense };
        assert!((295_000_000..308_000_000).contains(&data.length()), "{}", data.length());
    }
}

#[test]
fn synthetic_prose_compresses_as_prose_does() {
    // Three repetitions of the templates must not help a fast compressor.
    let document = Data::Synthetic { entities: 25_000, dense: false }.document();
    let ratio = document.len() as f64 / zstd::bulk::compress(&document, 3).unwrap().len() as f64;
    assert!((4.0..5.0).contains(&ratio), "{ratio}");
}

#[test]
fn damage_does_what_it_says_and_leaves_the_announcement_alone() {
    let good = Data::first_places(9);
    let entities = |damage| read(&good.damaged(damage).document());
    let keys = |entities: &[Vec<(String, String)>]| -> Vec<String> {
        entities.iter().map(|entity| entity[0].1.clone()).collect()
    };
    let all = keys(&read(&good.document()).unwrap());
    for damage in [
        Damage::Truncated,
        Damage::Unclosed,
        Damage::DuplicateKey,
        Damage::MissingKey,
        Damage::EmptyKey,
        Damage::UnknownElement,
        Damage::UnknownEntity,
        Damage::BadValue,
        Damage::Doctype,
        Damage::UndeclaredReference,
        Damage::TrailingGarbage,
        Damage::SecondRoot,
        Damage::NoSchema,
        Damage::Mismatched,
        Damage::BadEncoding,
        Damage::HtmlPage,
        Damage::Nothing,
        Damage::OneFewer,
        Damage::OneMore,
    ] {
        let damaged = good.damaged(damage);
        assert_ne!(damaged.document(), good.document(), "{damage:?}");
        assert_eq!(damaged.entities(), 9, "{damage:?}");
    }
    assert!(entities(Damage::Mismatched).is_err());
    assert!(entities(Damage::BadEncoding).is_err());
    assert!(entities(Damage::Truncated).is_err());
    assert_eq!(entities(Damage::Unclosed).unwrap().len(), 4);
    assert_eq!(entities(Damage::OneFewer).unwrap().len(), 8);
    assert_eq!(keys(&entities(Damage::OneMore).unwrap())[5], "one-more");
    assert_eq!(keys(&entities(Damage::DuplicateKey).unwrap())[4], all[0]);
    assert_eq!(keys(&entities(Damage::EmptyKey).unwrap())[4], "");
    assert_eq!(entities(Damage::MissingKey).unwrap()[4][0].0, "Name");
    assert_eq!(entities(Damage::UnknownElement).unwrap()[4][0].0, "Surprise");
    let text = |damage| String::from_utf8(good.damaged(damage).document().to_vec()).unwrap();
    assert!(text(Damage::BadValue).contains("<Latitude>north</Latitude>"));
    assert!(text(Damage::Doctype).contains("<!DOCTYPE"));
    assert!(text(Damage::UnknownEntity).contains("<Other/>"));
    assert!(text(Damage::UndeclaredReference).contains("&nonesuch;"));
    assert!(text(Damage::TrailingGarbage).ends_with("</MainRoot>\nand more"));
    assert!(!text(Damage::NoSchema).contains("schema"));
}

#[test]
fn an_edited_document_is_announced_as_it_is() {
    let edited = Data::first_places(4).edited(|text| {
        text.replacen("  <PlaceEntityType>", "  <PlaceEntityType/>\n  <PlaceEntityType>", 1)
    });
    assert_eq!(edited.entities(), 5);
    assert_eq!(Data::first_places(0).edited(|text| text).entities(), 0);
}
