//! Documents that are broken, too large, or cut short.

use super::*;

#[test]
fn every_kind_of_malformed_document_is_found() {
    let not_utf8 = |bytes: &[u8]| {
        let text = shop("<Name>@@</Name>");
        let (before, after) = text.split_once("@@").unwrap();
        [before.as_bytes(), bytes, after.as_bytes()].concat()
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (not_utf8(b"\xff"), "not UTF-8"),
        (not_utf8(b"\xc0\xaf"), "not UTF-8"),
        (not_utf8(b"\xed\xa0\x80"), "not UTF-8"),
        (not_utf8(b"caf\xe9"), "not UTF-8"),
        (not_utf8(b"\0"), "U+0000"),
        (not_utf8(b"\x1b"), "U+001B"),
        (not_utf8("\u{FFFE}".as_bytes()), "\\u{fffe} is not allowed"),
        (not_utf8(b"<![CDATA[\x01]]>"), "U+0001"),
        (not_utf8(b"<!--\x02-->"), "U+0002"),
        (not_utf8(b"<?pi \x03?>"), "U+0003"),
        (not_utf8(b"]]>"), "\"]]>\" in text"),
        (not_utf8(b"a & b"), "\"&\" that begins no entity"),
        (not_utf8(b"a &amp b"), "\"&\" that begins no entity"),
        (not_utf8(b"&nbsp;"), "&nbsp; stands for no legal character"),
        (not_utf8(b"&#0;"), "&#0; stands"),
        (not_utf8(b"&#xFFFF;"), "&#xFFFF; stands"),
        (not_utf8(b"&#xD83D;&#xDE00;"), "&#xD83D; stands"),
        (not_utf8(b"&;"), "&; stands"),
        (not_utf8(b"&evil\x1b[2J;"), "&evil\\u{1b}[2J; stands"),
        (not_utf8(b"<!-- a -- b -->"), "`--`"),
        (not_utf8(b"<!-- a --->"), "`--`"),
        (not_utf8(b"<?xml version='1.0'?>"), "not the very beginning"),
        (not_utf8(b"<?XML a?>"), "illegal name"),
        (not_utf8(b"<? a?>"), "illegal name"),
        (not_utf8(b"<??>"), "illegal name"),
        (not_utf8(b"<!ELEMENT a>"), "not well-formed"),
        (not_utf8(b"<![cdata[x]]>"), "not well-formed"),
        (not_utf8(b"</Shop>"), "</Shop> closes <Name>"),
        (not_utf8(b"</name>"), "</name> closes <Name>"),
        (not_utf8(b"</>"), "</> closes <Name>"),
        (not_utf8(b"</ Name>"), "</ Name> closes <Name>"),
        (not_utf8(b"</Name a='1'>"), "closes <Name>"),
        (not_utf8(b"</Name><>"), "\"\" is no name"),
        (not_utf8(b"</Name>< Size>"), "\"\" is no name"),
        (not_utf8(b"</Name><1/>"), "\"1\" is no name"),
        (not_utf8(b"</Name><Size/ >"), "\"Size/\" is no name"),
        (not_utf8(b"</Name><a<b>"), "\"a<b\" is no name"),
        (not_utf8(b"</Name><Size a='1' a='2'>"), "<Size> has an attribute given twice"),
        (not_utf8(b"</Name><Size a=1>"), "an attribute value without quotes"),
        (not_utf8(b"</Name><Size a>"), "an attribute without a value"),
        (not_utf8(b"</Name><Size a='1'b='2'>"), "no blank before an attribute"),
        (not_utf8(b"</Name><Size a='<'>"), "\"<\" in an attribute value"),
        (not_utf8(b"</Name><Size a='&x;'>"), "an unknown entity in an attribute value"),
        (shop("").replace("1.0", "2.0").into(), "wrong version"),
        (shop("").replace("UTF-8", "utf-16").into(), "the encoding is utf-16, not UTF-8"),
        (shop("").replace("UTF-8", "windows-1252").into(), "the encoding is windows-1252"),
        (format!(" {}", shop("")).into(), "not the very beginning"),
        (format!("\u{FEFF}\u{FEFF}{}", shop("")).into(), "byte order mark"),
        (b"\xef\xbbx<r/>".to_vec(), "broken byte order mark"),
        (b"\xff\xfe<\0r\0/\0>\0".to_vec(), "UTF-16"),
        (b"\xfe\xff\0<\0r\0/\0>".to_vec(), "UTF-16"),
        (b"<\0r\0/\0>\0".to_vec(), "no name"),
        (b"</r>".to_vec(), "</r> closes nothing"),
    ];
    for (bytes, fragment) in cases {
        let error = invalid(&bytes, fragment);
        assert!(matches!(error, ValidationError::Malformed { .. }), "{fragment}: {error:?}");
    }
}

#[test]
fn nothing_may_follow_the_root_element() {
    for (tail, fragment) in [
        ("garbage", "with text: \"garbage\""),
        ("\n\n&#32;", "with text"),
        ("<![CDATA[ ]]>", "with text"),
        ("<MainRoot></MainRoot>", "with <MainRoot>"),
        ("<again/>", "with <again>"),
    ] {
        let error = invalid(document("") + tail, fragment);
        assert!(matches!(error, ValidationError::Trailing { .. }), "{error:?}");
    }
    invalid(document("") + "</MainRoot>", "closes nothing");
    invalid(document("") + "<?xml version='1.0'?>", "not the very beginning");
    invalid(document("") + "\0", "U+0000");
}

#[test]
fn every_limit_holds() {
    let text = shop("<Name>0123456789</Name>");
    let size = text.len() as u64;
    let with = |change: &dyn Fn(&mut DocumentLimits)| {
        let mut limits = DocumentLimits::default();
        change(&mut limits);
        validate(text.as_bytes(), &limits).map_err(|error| error.to_string())
    };
    let said = |result: Result<Summary, String>| result.unwrap_err();
    assert!(with(&|l| l.max_bytes = size).is_ok());
    assert!(said(with(&|l| l.max_bytes = size - 1)).contains("goes on after its size limit"));
    assert!(with(&|l| l.max_value_bytes = 10).is_ok());
    assert!(said(with(&|l| l.max_value_bytes = 9)).contains("a value of more than 9 bytes"));
    assert!(with(&|l| l.max_entities = 1).is_ok());
    assert!(said(with(&|l| l.max_entities = 0)).contains("more than 0 entities"));
    assert!(with(&|l| l.max_columns = 7).is_ok());
    assert!(said(with(&|l| l.max_columns = 6)).contains("the schema has too many columns"));
    assert!(said(with(&|l| l.max_columns = 0)).contains("too many elements"));
    assert!(with(&|l| l.max_depth = 8).is_ok());
    assert!(said(with(&|l| l.max_depth = 7)).contains("nested too deeply"));
    let schema = SCHEMA.len();
    assert!(with(&|l| l.max_schema_bytes = schema).is_ok());
    assert!(said(with(&|l| l.max_schema_bytes = schema / 2)).contains("schema goes on after"));
    assert!(with(&|l| l.max_name_bytes = 20).is_ok());
    assert!(said(with(&|l| l.max_name_bytes = 13)).contains("the name of an element has more"));
    let long = document("").replace("\"Size\"", "\"SizeSizeSizeSize\"");
    let limits = DocumentLimits { max_name_bytes: 15, ..DocumentLimits::default() };
    let error = validate(long.as_bytes(), &limits).unwrap_err();
    assert!(error.to_string().contains("too long a name"), "{error}");
    assert!(with(&|l| (l.max_name_bytes, l.max_tag_bytes) = (20, 200)).is_ok());
    assert!(
        said(with(&|l| (l.max_name_bytes, l.max_tag_bytes) = (20, 100)))
            .contains("the attributes of a tag")
    );
}

/// `head`, then `byte` for ever.
fn endless(head: &str, byte: u8) -> impl BufRead + '_ {
    BufReader::new(head.as_bytes().chain(std::io::repeat(byte)))
}

#[test]
fn markup_and_text_without_an_end_do_not_fill_the_memory() {
    let limits = DocumentLimits { max_value_bytes: 1 << 20, ..DocumentLimits::default() };
    let open = document("").replace("\n</MainRoot>\n", "");
    for head in [
        "",
        "<",
        "<a ",
        "<a b='",
        "<!--",
        "<?a ",
        "<!DOCTYPE a [",
        &format!("{open}<Shop><EntityID>"),
        &format!("{open}<Shop><EntityID>&"),
        &format!("{open}<Shop><EntityID><![CDATA["),
        &format!("{open}<Shop>"),
        &format!("{open}</MainRoot>"),
    ] {
        let error = validate(endless(head, b' '), &limits).expect_err(head);
        assert!(matches!(error, ValidationError::TooLarge { .. }), "{head}: {error}");
    }
    // many small pieces of one value, of comments, of a schema
    for (head, repeated) in [
        (format!("{open}<Shop><EntityID>"), "<![CDATA[xxxx]]>"),
        (format!("{open}<Shop><EntityID>"), "&amp;"),
        ("<r><schema>".to_owned(), "<a/>"),
        ("<r><schema>".to_owned(), "<a>"),
        ("<r>".to_owned(), "<!-- -->"),
        (open.clone(), "<a>"),
        (format!("{open}<Shop><EntityID>1</EntityID><Colour>"), "<a>"),
        (format!("{open}<Shop><EntityID>"), "<a>"),
        ("<r>".to_owned(), "<a>"),
        ("<r><schema>".to_owned(), "<!-- -->"),
        ("<r><schema>".to_owned(), "<?a b?>"),
        ("<r><schema>".to_owned(), "text"),
    ] {
        let limits = DocumentLimits { max_bytes: 8 << 20, ..limits.clone() };
        let text = head.clone() + &repeated.repeat((8 << 20) / repeated.len() + 1);
        let error = validate(text.as_bytes(), &limits).expect_err(&head);
        assert!(matches!(error, ValidationError::TooLarge { .. }), "{head} {repeated}: {error}");
    }
}

#[test]
fn a_broken_connection_is_not_a_validation_error() {
    struct Reset;
    impl Read for Reset {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "reset by peer"))
        }
    }
    let text = shop("<Name>A &amp; B</Name>");
    for cut in 0..=text.len() {
        let reader = BufReader::new(text.as_bytes()[..cut].chain(Reset));
        let Err(ValidationError::Io(error)) = validate(reader, &DocumentLimits::default()) else {
            panic!("cut at {cut}: no transport error");
        };
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(error.to_string(), "reset by peer");
    }
}

#[test]
fn every_proper_prefix_of_a_document_is_invalid() {
    let text = format!(
        "\u{FEFF}{}",
        shop("<Name a='b'>A &amp; <![CDATA[ü]]><!-- c -->☃</Name><?pi?><Size>12</Size>")
    );
    let whole = text.trim_end().len();
    for cut in 0..whole {
        let error = run(&text.as_bytes()[..cut]).expect_err(&text[..text.floor_char_boundary(cut)]);
        assert!(
            matches!(
                error,
                ValidationError::Truncated { .. }
                    | ValidationError::Root { .. }
                    | ValidationError::Malformed { .. }
            ),
            "cut at {cut}: {error}"
        );
        // from the schema on, the error says what it is
        let schema = text.find("<xs:schema").unwrap() + 10;
        assert!(
            cut < schema || matches!(error, ValidationError::Truncated { .. }),
            "cut at {cut}: {error}"
        );
    }
    assert!(run(&text.as_bytes()[..whole]).is_ok());
}
