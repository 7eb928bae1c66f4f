//! The fast way and the general one give the same, whatever the document and its chunks.

use super::*;
use std::fmt::Write as _;

/// All that a reader gives, as text.
fn read(
    input: impl BufRead,
    limits: &DocumentLimits,
    with_prediction: bool,
) -> Result<String, String> {
    let mut given = String::new();
    let go = || -> Result<Summary, ValidationError> {
        let mut reader = Reader::open(input, limits)?;
        if !with_prediction {
            reader = reader.without_prediction();
        }
        while let Some(entity) = reader.next_entity()? {
            let (name, number, offset) = (entity.name(), entity.number(), entity.offset());
            writeln!(given, "{name} {number} {offset} {:?}", entity.type_index()).unwrap();
            for element in entity.elements() {
                let Element { text, written, inside, flags, .. } = element;
                let (name, column) = (element.name(), element.column());
                writeln!(given, " {name} {column:?} {text:?} {written:?} {inside} {flags:?}")
                    .unwrap();
                // the first of its column is the one that is found by it
                if let Some(found) = column.filter(|_| !flags.repeated) {
                    let found = entity.get(found).unwrap();
                    assert_eq!((found.name(), found.text()), (name, text));
                }
            }
        }
        Ok(reader.finish())
    };
    match go() {
        Ok(summary) => Ok(format!("{given}{summary:?}")),
        Err(error) => Err(format!("{given}{error:?}")),
    }
}

fn validated(
    input: impl BufRead,
    limits: &DocumentLimits,
    with_prediction: bool,
) -> Result<Summary, String> {
    let reader = Reader::open(input, limits).map(|reader| match with_prediction {
        true => reader,
        false => reader.without_prediction(),
    });
    reader.and_then(Reader::validate).map_err(|error| format!("{error:?}"))
}

/// Reads and validates in both ways, at once and in chunks of these sizes, and answers whether the
/// document is valid.
///
/// # Panics
/// When they differ.
pub(crate) fn agree(document: &[u8], limits: &DocumentLimits, chunks: &[usize]) -> bool {
    let summary = validated(document, limits, false);
    assert_eq!(validated(document, limits, true), summary);
    let given = read(document, limits, false);
    assert_eq!(read(document, limits, true), given);
    for &size in chunks {
        let chunked = || BufReader::with_capacity(size, document);
        assert_eq!(validated(chunked(), limits, true), summary, "in chunks of {size}");
        assert_eq!(read(chunked(), limits, true), given, "in chunks of {size}");
    }
    summary.is_ok()
}

/// Entities, and pieces of some, that are just within or just beyond what is read the fast way.
const PIECES: [&str; 76] = [
    "<Shop>",
    "</Shop>",
    "<Shop/>",
    "<Shop />",
    "<Shop a='b'>",
    "</Shop >",
    "<Shops>",
    "<Sho>",
    "<n:Shop>",
    "</n:Shop>",
    "<Ship>",
    "</Ship>",
    "<Ship><Tons>5</Tons></Ship>",
    "<Ship><Tons>x</Tons><Tons/></Ship>",
    "<Shop><EntityID>7</EntityID></Shop>",
    "<Shop><EntityID>7</EntityID><Name>a</Name></Shop>",
    "\n  <Shop>\n    <EntityID>8</EntityID>\n    <Name>b</Name>\n  </Shop>",
    "\r\n<Shop>\r\n<EntityID>9</EntityID>\r\n</Shop>",
    "<Shop><Name>a&amp;b</Name><EntityID>c&#65;&#x2603;</EntityID><Size>&#49;</Size></Shop>",
    "<Shop><Name>a\rb</Name></Shop>",
    "<Shop><Name>a\r&amp;b</Name></Shop>",
    "<Shop><Name>a&#13;b</Name></Shop>",
    "<Shop><Name>a]]>b</Name></Shop>",
    "<Shop><Name>a]&gt;]b</Name></Shop>",
    "<Shop><Name>\u{FFFE}</Name></Shop>",
    "<Shop><Name>\u{FFEE}\u{FEFF}</Name></Shop>",
    "<Shop><Name>\u{1}</Name></Shop>",
    "<Shop><Name>&#1;</Name></Shop>",
    "<Shop><Name>&nothing;</Name></Shop>",
    "<Shop><Name>& b</Name></Shop>",
    "<Shop><Name>&amp</Name></Shop>",
    "<Shop><Name>&#00000000000000065;</Name></Shop>",
    "<Shop><Name>0123456789012345678901234567890123456789</Name></Shop>",
    "<EntityID>",
    "</EntityID>",
    "<EntityID>1</EntityID>",
    "<EntityID/>",
    "<Name>",
    "</Name>",
    "<Name/>",
    "<Name/ >",
    "<Name></Name>",
    "<Name >x</Name>",
    "<Name>x</Name >",
    "<Name>x</Nama>",
    "<Name a='b'>x</Name>",
    "<Name xsi:nil='true'/>",
    "<Name><b/></Name>",
    "<Name><![CDATA[x]]></Name>",
    "<Name>x<!-- y -->z</Name>",
    "<Size>12</Size>",
    "<Size>x</Size>",
    "<Size/>",
    "<Latitude>1.5E3</Latitude>",
    "<Open>true</Open>",
    "<Since>2011-11-17T20:38:31.5Z</Since>",
    "<Area>POINT (1 2)</Area>",
    "<Area>POINT (1 2</Area>",
    "<Other>x</Other>",
    "<Other/>",
    "<!-- c -->",
    "<?p i?>",
    "<![CDATA[",
    "]]>",
    "text",
    "\n  ",
    "\t",
    "\r\n",
    "é",
    "\u{FFFE}",
    "\0",
    "&amp;",
    "&",
    "<",
    ">",
    "</MainRoot>",
];

mod properties {
    use super::*;
    use proptest::prelude::*;

    /// Bytes that spoil what they replace.
    const SPOILERS: &[u8] = b"<>&;'\"/!?-[]=: \n\r\t\x01\x7f\xc3\xef\xff";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(192))]

        #[test]
        fn entities_of_all_forms_are_read_alike(
            pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..12),
            inside in prop::collection::vec(prop::sample::select(&PIECES[33..]), 0..6),
            spoiler in prop::option::of((any::<prop::sample::Index>(), prop::sample::select(SPOILERS))),
            limits in (0usize..50, 0u64..8, 200usize..3000, any::<u8>()),
            chunk in 1usize..3000,
        ) {
            let body = format!("{0}<Shop>{1}</Shop>{0}<Shop>{1}</Shop>", pieces.concat(), inside.concat());
            let mut text = document(&body).replace(
                "</xs:choice>",
                "<xs:element name=\"Ship\"><xs:complexType><xs:sequence><xs:element name=\"Tons\" \
                 type=\"xs:double\"/></xs:sequence></xs:complexType></xs:element></xs:choice>",
            ).into_bytes();
            let from = text.len() - body.len();
            if let Some((at, byte)) = spoiler {
                let at = from + at.index(body.len());
                text[at] = byte;
            }
            let (value, entities, entity, which) = limits;
            let mut limits = DocumentLimits::default();
            match which % 6 {
                0 => limits.max_value_bytes = value,
                1 => limits.max_entities = entities,
                2 => limits.max_entity_bytes = entity,
                3 => limits.max_bytes = (from + entity) as u64,
                _ => {}
            }
            agree(&text, &limits, &[1, 13, chunk]);
        }
    }
}
