//! Random documents, random damage, and the same answer whatever the reader's chunks.

use super::*;
use proptest::prelude::*;
use std::fmt::Write as _;

/// The same answer, whatever the reader's chunks.
fn chunked(bytes: &[u8]) -> Result<Summary, String> {
    let validate_with = |capacity| {
        validate(BufReader::with_capacity(capacity, bytes), &DocumentLimits::default())
            .map_err(|error| error.to_string())
    };
    let whole = validate(bytes, &DocumentLimits::default()).map_err(|error| error.to_string());
    for capacity in [1, 2, 7, 64 << 10] {
        assert_eq!(
            validate_with(capacity),
            whole,
            "{capacity}: {}",
            String::from_utf8_lossy(bytes)
        );
    }
    whole
}

/// Text of characters that XML allows, written in a random mixture of the ways to write it.
fn written_text() -> impl Strategy<Value = String> {
    let c = any::<char>().prop_filter("legal", |c| markup::is_char(*c));
    let c = prop_oneof![c, prop::char::ranges(vec!['\t'..='\n', ' '..='~'].into())];
    prop::collection::vec((c, 0..4), 0..30).prop_map(|parts| {
        let mut out = String::new();
        for (c, way) in parts {
            match (c, way) {
                ('&', 0) => out.push_str("&amp;"),
                ('<', 0) => out.push_str("&lt;"),
                ('>', 0) => out.push_str("&gt;"),
                (c, 1) => write!(out, "<![CDATA[{c}]]>").unwrap(),
                (c, 2) => write!(out, "&#x{:x};<!-- & -->", u32::from(c)).unwrap(),
                ('&' | '<' | '>', _) | (_, 0) => write!(out, "&#{};", u32::from(c)).unwrap(),
                (c, _) => out.push(c),
            }
        }
        out
    })
}

fn written_entity() -> impl Strategy<Value = String> {
    use prop::option::of;
    let instant =
        "[12][0-9]{3}-0[1-9]-[012][1-8]T[01][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,7})?Z?";
    (of(written_text()), of(any::<i64>()), of(any::<f32>()), of(any::<bool>()), of(instant))
        .prop_map(|(name, size, latitude, open, since)| {
            let mut out = String::new();
            let mut put = |column: &str, value: Option<String>| {
                if let Some(value) = value {
                    writeln!(out, " <{column}>{value}</{column}>").unwrap();
                }
            };
            put("Name", name);
            put("Size", size.map(|v| v.to_string()));
            put("Latitude", latitude.filter(|v| v.is_finite()).map(|v| format!("{v:E}")));
            put("Open", open.map(|v| v.to_string()));
            put("Since", since);
            out
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_counted(entities in prop::collection::vec(written_entity(), 0..12), tail in "[ \n]{0,3}(<!-- x -->)?") {
        let body: String = (1..)
            .zip(&entities)
            .map(|(n, values)| format!("<Shop><EntityID>{n}</EntityID>{values}</Shop>"))
            .collect();
        let text = document(&body) + &tail;
        let summary = chunked(text.as_bytes()).map_err(TestCaseError::fail)?;
        prop_assert_eq!(summary.entities, entities.len() as u64);
        prop_assert_eq!(summary.bytes, text.len() as u64);
    }

    #[test]
    fn any_cut_makes_a_document_invalid(values in written_entity(), cut in any::<prop::sample::Index>()) {
        let text = shop(&values);
        let cut = cut.index(text.trim_end().len());
        prop_assert!(chunked(&text.as_bytes()[..cut]).is_err());
    }

    #[test]
    fn a_doubled_key_is_found_wherever_it_is(one in 1..20, between in 1..20, after in 0..20) {
        let other = one + between;
        let body: String = (1..=other + after)
            .map(|n| format!("<Shop><EntityID>{}</EntityID></Shop>", if n == other { one } else { n }))
            .collect();
        let summary = chunked(document(&body).as_bytes()).map_err(TestCaseError::fail)?;
        let what = format!("entities {one} and {other} have the same");
        prop_assert_eq!(summary.unproven(), [Unproven::Keys]);
        prop_assert_eq!(&summary.warnings[0].what, &what);
    }

    #[test]
    fn any_change_of_one_byte_gives_the_same_result_in_any_chunks(at in any::<prop::sample::Index>(), byte in prop_oneof![any::<u8>(), prop::sample::select(&b"<>&;'\"/!?-[]=: \n\xef"[..])]) {
        let mut bytes = shop("<Name a='b'>A &amp; <![CDATA[ü]]><!-- c -->☃</Name><?pi?>").into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = chunked(&bytes);
    }

    #[test]
    fn any_jumble_of_markup_gives_the_same_result_in_any_chunks(parts in prop::collection::vec(prop::sample::select(&["<", ">", "</", "/>", "<!", "<!--", "--", "-->", "<![CDATA[", "]]", "]]>", "<?", "?>", "<?xml", " version='1.0'", "&", ";", "#", "x", "'", "\"", "=", " ", "a", "<a>", "</a>", "<!DOCTYPE", "[", "]", "<!ENTITY", "ü", "\u{FEFF}", "<r><schema>"][..]), 0..14)) {
        let _ = chunked(parts.concat().as_bytes());
    }
}
