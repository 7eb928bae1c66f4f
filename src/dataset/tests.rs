//! Whole documents: good ones, broken ones, and every start of one.

mod random;
mod reader;
pub(crate) mod ways;

use super::*;
use std::io::{BufRead, BufReader, Read};

const SCHEMA: &str = r#"<xs:schema id="Shops" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:msdata="urn:schemas-microsoft-com:xml-msdata">
<xs:element name="Shops" msdata:IsDataSet="true"><xs:complexType><xs:choice minOccurs="0" maxOccurs="unbounded">
<xs:element name="Shop"><xs:complexType><xs:sequence>
<xs:element name="EntityID" type="xs:string"/>
<xs:element name="Name" type="xs:string" minOccurs="0"/>
<xs:element name="Size" type="xs:long" minOccurs="0"/>
<xs:element name="Latitude" type="xs:double" minOccurs="0"/>
<xs:element name="Open" type="xs:boolean" minOccurs="0"/>
<xs:element name="Since" type="xs:dateTime" msdata:DateTimeMode="Utc" minOccurs="0"/>
<xs:element name="Area" type="xs:anyType" minOccurs="0"/>
</xs:sequence></xs:complexType></xs:element></xs:choice></xs:complexType>
<xs:unique name="Key" msdata:PrimaryKey="true"><xs:selector xpath=".//Shop"/><xs:field xpath="EntityID"/></xs:unique>
</xs:element></xs:schema>"#;

/// A document with `entities` in it.
fn document(entities: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<MainRoot>\n{SCHEMA}\n{entities}\n</MainRoot>\n"
    )
}

/// A document with one entity that has `values` beside its key.
fn shop(values: &str) -> String {
    document(&format!("<Shop><EntityID>1</EntityID>{values}</Shop>"))
}

fn run(document: impl AsRef<[u8]>) -> Result<Summary, ValidationError> {
    validate(document.as_ref(), &DocumentLimits::default())
}

#[track_caller]
fn invalid(document: impl AsRef<[u8]>, fragment: &str) -> ValidationError {
    let error = run(document).expect_err(fragment);
    let text = error.to_string();
    assert!(text.contains(fragment), "{text:?} does not say {fragment:?}");
    assert!(text.chars().count() < 300 && !text.contains(char::is_control), "{text:?}");
    error
}

/// The first warning about a document that is whole.
#[track_caller]
fn warned(document: impl AsRef<[u8]>, unproven: Unproven, fragment: &str) -> Warning {
    let summary = run(document).unwrap_or_else(|error| panic!("{fragment}: {error}"));
    let warning = summary.warnings.into_iter().find(|warning| warning.unproven == unproven);
    let warning = warning.unwrap_or_else(|| panic!("no warning: {fragment}"));
    let text = warning.to_string();
    assert!(text.contains(fragment), "{text:?} does not say {fragment:?}");
    assert!(text.chars().count() < 300 && !text.contains(char::is_control), "{text:?}");
    warning
}

/// Columns with unreadable values, as (name, values, first key); the document is proven otherwise.
#[track_caller]
fn unreadable(document: impl AsRef<[u8]>) -> Vec<(String, u64, Option<String>)> {
    let summary = run(document).unwrap();
    assert_eq!(summary.warnings, []);
    summary.unreadable.into_iter().map(|it| (it.column, it.values, it.first_key)).collect()
}

#[test]
fn a_summary_says_what_the_document_holds() {
    let text = document(
        "<Shop><EntityID>1</EntityID><Name>A &amp; B</Name><Size>-7</Size><Latitude>4.5E1</Latitude>\
         <Open>True</Open><Since>2011-11-17T20:38:31.5</Since><Area>POINT (1 2)</Area></Shop>\
         <Shop><EntityID>2</EntityID></Shop>",
    );
    let summary = run(&text).unwrap();
    assert_eq!(summary.root, "MainRoot");
    assert_eq!(summary.entity_type, "Shop");
    assert_eq!(summary.primary_key, "EntityID");
    assert_eq!(summary.entities, 2);
    assert_eq!(summary.bytes, text.len() as u64);
    let columns: Vec<_> = summary.columns.iter().map(|c| (&*c.name, &*c.r#type)).collect();
    assert_eq!(
        columns,
        [
            ("EntityID", "xs:string"),
            ("Name", "xs:string"),
            ("Size", "xs:long"),
            ("Latitude", "xs:double"),
            ("Open", "xs:boolean"),
            ("Since", "xs:dateTime"),
            ("Area", "xs:anyType"),
        ]
    );
    let json = serde_json::to_string(&summary.columns[0]).unwrap();
    assert_eq!(json, r#"{"name":"EntityID","type":"xs:string"}"#);
}

#[test]
fn every_valid_way_to_write_a_document_passes() {
    let cases = [
        ("no entities", document("")),
        ("a byte order mark", format!("\u{FEFF}{}", document(""))),
        ("no declaration", document("").split_once("?>\n").unwrap().1.to_owned()),
        (
            "comments and processing instructions all over",
            document(
                "<?a b?><!-- <c> & --><Shop><!--d--><EntityID><!--e-->1<?f?></EntityID></Shop>",
            )
            .replace("<MainRoot>", "<!--x--><?y z?><MainRoot><!--first-->")
                + "<!-- after --> <?after?>\n",
        ),
        ("https namespace", document("").replace("http://www.w3.org", "https://www.w3.org")),
        ("another namespace", document("").replace("2001/XMLSchema", "2000/10/XMLSchema")),
        ("no data set that says so", document("").replace(" msdata:IsDataSet=\"true\"", "")),
        ("US-ASCII", document("").replace("UTF-8", "us-ascii")),
        ("a key instead of a unique", document("").replace("xs:unique", "xs:key")),
        ("a key in another case", document("").replace("xpath=\"EntityID\"", "xpath=\"EntityId\"")),
        ("nested groups of columns", {
            let nested = document("").replace("<xs:sequence>", "<xs:sequence><xs:choice>");
            nested.replace("</xs:sequence>", "</xs:choice></xs:sequence>")
        }),
        ("a named type of entities", {
            let named = document("<Shop><EntityID>1</EntityID><Size>2</Size></Shop>");
            let (before, rest) = named.split_once("<xs:element name=\"Shop\">").unwrap();
            let (complex, after) = rest.split_once("</xs:element></xs:choice>").unwrap();
            let complex = complex.replace("<xs:complexType>", "<xs:complexType name=\"T\">");
            format!("{before}<xs:element name=\"Shop\" type=\"m:T\"/></xs:choice>{after}")
                .replace("</xs:schema>", &format!("{complex}</xs:schema>"))
        }),
        ("another prefix", document("").replace("xs:", "xsd:")),
        (
            "the default namespace",
            document("").replace("<xs:", "<").replace("</xs:", "</").replace("xmlns:xs", "xmlns"),
        ),
        (
            "the namespace on the root",
            document("")
                .replace("<MainRoot", "<MainRoot xmlns:xs='http://www.w3.org/2001/XMLSchema'"),
        ),
        ("types without a prefix", document("").replace("\"xs:", "\"")),
        ("a prefixed root", document("").replace("MainRoot", "r:Main.Root-é")),
        ("prefixed entities", document("<n:Shop><n:EntityID>1</n:EntityID></n:Shop>")),
        ("entities named like keywords", {
            let named = document("<Shop><EntityID>1</EntityID></Shop>").replace("EntityID", "xml");
            named.replace("Shop", "schema")
        }),
        ("an empty text, self-closed or not", shop("<Name/>") + &" ".repeat(9)),
        ("nil", shop("<Size xsi:nil=\"true\"/><Open xsi:nil='1'></Open>")),
        ("not nil", shop("<Size xsi:nil=\"false\">1</Size>")),
        (
            "CDATA and references",
            shop("<Name>a&lt;<![CDATA[<b>&amp;]]]]>&#x2603;&#10;]]&gt;</Name>"),
        ),
        ("a number in pieces", shop("<Size>1<!-- -->2<![CDATA[3]]>&#52;</Size>")),
        ("a blank in a tag", shop("<Name >x</Name\n>")),
        ("columns in another order", document("<Shop><Size>1</Size><EntityID>1</EntityID></Shop>")),
        ("a selector that does not fit", document("").replace(".//Shop", ".//Shops")),
        ("a selector with a prefix", document("").replace(".//Shop", "./mstns:Shop")),
        (
            "a key with prefix and dots",
            document("").replace("\"EntityID\"/></xs:un", "\"./@m:EntityID\"/></xs:un"),
        ),
        ("keys that differ in case or blanks", {
            let keys = ["a", "A", " a", "a ", "ä"];
            document(&keys.map(|k| format!("<Shop><EntityID>{k}</EntityID></Shop>")).concat())
        }),
    ];
    for (what, text) in cases {
        let summary = run(&text).unwrap_or_else(|error| panic!("{what}: {error}\n{text}"));
        assert_eq!((summary.warnings, summary.unreadable), (vec![], vec![]), "{what}\n{text}");
        assert_eq!(summary.columns.len(), 7, "{what}");
    }
}

#[test]
fn a_restricted_type_is_read_as_its_base() {
    let restricted = "<xs:element name=\"Name\"><xs:simpleType><xs:restriction base=\"xs:string\">\
                      <xs:maxLength value=\"50\"/></xs:restriction></xs:simpleType></xs:element>";
    let text = document("")
        .replace("<xs:element name=\"Name\" type=\"xs:string\" minOccurs=\"0\"/>", restricted);
    assert_eq!(run(&text).unwrap().columns[1].r#type, "xs:string");
    let text = text.replace("base=\"xs:string\"", "base=\"xs:int\"");
    assert_eq!(run(&text).unwrap().columns[1].r#type, "xs:int");
}

#[test]
fn several_entity_types_have_their_own_columns_and_keys() {
    let schema = r#"<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="D" IsDataSet="true">
        <xs:complexType><xs:choice>
        <xs:element name="A"><xs:complexType><xs:sequence><xs:element name="Id" type="xs:string"/><xs:element name="N" type="xs:long"/></xs:sequence></xs:complexType></xs:element>
        <xs:element name="B"><xs:complexType><xs:sequence><xs:element name="Key" type="xs:long"/><xs:element name="N" type="xs:string"/></xs:sequence></xs:complexType></xs:element>
        </xs:choice></xs:complexType>
        <xs:unique name="b"><xs:selector xpath=".//B"/><xs:field xpath="Key"/></xs:unique>
        <xs:unique name="a"><xs:selector xpath=".//A"/><xs:field xpath="Id"/></xs:unique>
        </xs:element></xs:schema>"#;
    let text = |entities: &str| format!("<R>{schema}{entities}</R>");
    let summary = run(text("<A><Id>1</Id><N>2</N></A><B><Key>1</Key><N>x</N></B>")).unwrap();
    assert_eq!((&*summary.entity_type, &*summary.primary_key, summary.entities), ("A", "Id", 2));
    let one = |column: &str, key: &str| vec![(column.to_owned(), 1, Some(key.to_owned()))];
    assert_eq!(unreadable(text("<A><Id>1</Id><N>x</N></A>")), one("N", "1"));
    assert_eq!(unreadable(text("<B><Key>x</Key><N>x</N></B>")), one("B/Key", "x"));
    let twice = text("<A><Id>1</Id></A><B><Key>1</Key></B><B><Key>1</Key></B>");
    warned(twice, Unproven::Keys, "entities 2 and 3");
    let keyless = text("<A/><A/>").replace(".//A", ".//C");
    warned(keyless, Unproven::Keys, "no unique names the key of entity type A");
    let same = text("<A><Id>1</Id></A>").replace("\"B\"", "\"A\"");
    warned(same, Unproven::Schema, "two entity types are named A");
}

#[test]
fn other_kinds_of_documents_are_recognised() {
    for (text, fragment) in [
        ("", "the document is empty"),
        (" \n", "no root element"),
        ("\u{FEFF}", "no root element"),
        ("<!-- nothing -->", "no root element"),
        ("{\"error\":\"gone\"}", "begins with text: \"{\"error\":\"gone\"}\""),
        ("Service unavailable", "begins with text: \"Service unavailable\""),
        ("<MainRoot/>", "<MainRoot> is empty"),
        ("<MainRoot></MainRoot>", "<MainRoot> has no schema"),
        (
            "<Response><StatusCode>500</StatusCode></Response>",
            "<Response> begins with <StatusCode>",
        ),
        ("<html><head/></html>", "<html> begins with <head>, and has no schema"),
        ("<html><body><p>gone<br></body></html>", "<html> begins with <body>"),
        ("<html><body>", "<html> begins with <body>"),
        ("<r>text</r>", "begins with text: \"text\""),
        ("<r>&amp;</r>", "<r> begins with text"),
    ] {
        let error = invalid(text, fragment);
        assert!(matches!(error, ValidationError::Root { .. }), "{error:?}");
    }
    for text in [
        "<!DOCTYPE html><html></html>",
        "<!doctype html>\n<html></html>",
        "<!DOCTYPE r [<!ENTITY a \"b\"><!ENTITY c SYSTEM 'file:///etc/passwd'>]><r>&c;</r>",
    ] {
        assert!(matches!(invalid(text, "DOCTYPE"), ValidationError::Dtd { .. }));
    }
}

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
fn an_incomplete_or_contradictory_schema_leaves_a_warning() {
    use Unproven::{Keys, Schema};
    let good = document("<Shop><EntityID>1</EntityID><Size>1</Size></Shop>");
    for (from, to, unproven, fragment) in [
        ("xs:choice", "xs:group", Schema, "the schema has no entity type"),
        ("<xs:element name=\"Shop\">", "<xs:element>", Schema, "an entity type has no name"),
        ("xs:sequence", "xs:group", Schema, "entity type Shop has no columns"),
        ("name=\"Size\"", "", Schema, "a column has no name"),
        ("name=\"Size\"", "name=\"a b\"", Schema, "a column has the impossible name \"a b\""),
        ("name=\"Size\"", "name=\"Name\"", Schema, "two columns are named Name"),
        ("xs:unique", "xs:other", Keys, "no unique names the key of entity type Shop"),
        ("<xs:field xpath=\"EntityID\"/>", "", Keys, "without a field/@xpath"),
        ("<xs:field xpath=\"EntityID\"/>", "<xs:field xpath=\"Id\"/>", Keys, "key Id is no column"),
        (
            "<xs:field xpath=\"EntityID\"/>",
            "<xs:field xpath=\"EntityID\"/><xs:field xpath=\"Name\"/>",
            Keys,
            "several fields",
        ),
    ] {
        let text = good.replace(from, to);
        assert_ne!(text, good, "{from}");
        warned(&text, unproven, fragment);
        assert_eq!(run(&text).unwrap().entities, 1, "{fragment}");
    }
    let summary = run("<r><schema/><n:Shop/><n:Shop/></r>").unwrap();
    assert_eq!((&*summary.entity_type, &*summary.primary_key, summary.entities), ("Shop", "", 2));
    assert_eq!(summary.unproven(), [Schema]);
}

#[test]
fn entities_under_another_name_than_the_schemas_are_counted_all_the_same() {
    let other = document("<shop><EntityID>1</EntityID></shop>\n<shop/>");
    let summary = run(&other).unwrap();
    assert_eq!((&*summary.entity_type, summary.entities), ("shop", 2));
    assert_eq!(summary.unproven(), [Unproven::Schema]);
    let mixed = document("<Other><Shop/></Other><Shop><EntityID>1</EntityID></Shop>");
    let summary = run(&mixed).unwrap();
    assert_eq!((&*summary.entity_type, summary.entities), ("Shop", 1));
}

#[test]
fn a_misplaced_element_or_text_leaves_a_warning_with_its_entity() {
    use Unproven::Schema;
    let warning = warned(
        document("<Shop><EntityID>1</EntityID></Shop>\n<Ship/>"),
        Schema,
        "<Ship>: the schema has no such entity type",
    );
    assert_eq!(warning.location.entity, Some(2));
    let unknown = shop("<Colour><deep>red</deep></Colour><Size>1</Size>");
    let warning = warned(unknown, Schema, "<Colour>: the schema has no such column");
    assert_eq!(warning.location.entity, Some(1));
    let warning = warned(shop("<Name>a<b>c</b></Name>"), Schema, "<b>: a value holds no elements");
    assert_eq!(warning.location.element.as_deref(), Some("Name"));
    warned(shop("<Name><EntityID/></Name>"), Schema, "a value holds no elements");
    for text in ["x", "&#32;", "<![CDATA[x]]>"] {
        warned(document(text), Schema, "between elements");
        let warning = warned(shop(text), Schema, "between elements (at byte ");
        assert_eq!(warning.location.entity, Some(1));
    }
    for before in ["text", "&amp;", "<Meta><a/></Meta>"] {
        let text = document("").replace("<MainRoot>", &format!("<MainRoot>{before}"));
        warned(text, Schema, "before the schema");
    }
    for (value, fragment) in [
        ("<Size>1</Size><Size>1</Size>", "given before in this entity"),
        ("<Name/><Name/>", "given before in this entity"),
        ("<EntityID>2</EntityID>", "given before in this entity"),
    ] {
        warned(shop(value), Schema, fragment);
    }
    // only the first is told, however many there are
    let many = document(&"<Ship><a/></Ship>".repeat(1000));
    let warning = warned(many, Schema, "<Ship>");
    assert_eq!(warning.location.entity, Some(1));
}

#[test]
fn values_that_do_not_read_as_their_type_are_counted_for_each_column() {
    let text = document(
        "<Shop><EntityID>1</EntityID><Size>1</Size></Shop>\
         <Shop><Size/><Open>yes</Open><EntityID>b&amp;2</EntityID></Shop>\
         <Shop><EntityID>3</EntityID><Size>12x</Size><Size2/></Shop>"
            .replace("<Size2/>", "")
            .as_str(),
    );
    let (two, key) = (2, Some("b&2".to_owned()));
    let expected = [("Size".to_owned(), two, key.clone()), ("Open".to_owned(), 1, key)];
    assert_eq!(unreadable(&text), expected);
    for (value, column) in [
        ("<Size/>", "Size"),
        ("<Size></Size>", "Size"),
        ("<Latitude>north</Latitude>", "Latitude"),
        ("<Open>maybe</Open>", "Open"),
        ("<Since>2011-02-29T00:00:00</Since>", "Since"),
        ("<Since>2011-02-28 00:00:00</Since>", "Since"),
        ("<Area>POINT (1 2</Area>", "Area"),
        ("<Area>SPHERE (1 2)</Area>", "Area"),
        ("<Area><gml:Point xmlns:gml='g'>1 2</gml:Point></Area>", "Area"),
        ("<Size xsi:nil='true'>1</Size>", "Size"),
        ("<Name xsi:nil='true'>1</Name>", "Name"),
        (&format!("<Size>{}</Size>", "9".repeat(5000)), "Size"),
    ] {
        let expected = [(column.to_owned(), 1, Some("1".to_owned()))];
        assert_eq!(unreadable(shop(value)), expected, "{value}");
    }
    let long = document(&format!("<Shop><Size/><EntityID>{}</EntityID></Shop>", "é".repeat(5000)));
    assert_eq!(unreadable(long)[0].2.as_ref().unwrap().len(), 256);
    let keyless = run(document("<Shop><Size/></Shop>")).unwrap();
    assert_eq!(keyless.unreadable[0].first_key, None);
}

#[test]
fn missing_and_duplicate_keys_leave_a_warning() {
    let with = |keys: &[&str]| {
        document(&keys.iter().map(|key| format!("<Shop>{key}</Shop>")).collect::<String>())
    };
    let one = "<EntityID>a&amp;b</EntityID>";
    for (text, fragment) in [
        (with(&[one, "<Name>x</Name>"]), "the entity has none (at byte "),
        (with(&[one, ""]), "entity 2, element <EntityID>"),
        (document("<Shop/>"), "the entity has none"),
        (document("<Shop/><Shop/>"), "the entity has none"),
        (with(&["<EntityID/>"]), "the entity has none"),
        (with(&["<EntityID></EntityID>"]), "the entity has none"),
        (with(&["<EntityID><![CDATA[]]></EntityID>"]), "the entity has none"),
        (with(&["<EntityID xsi:nil='true'/>"]), "the entity has none"),
        (
            with(&[
                "<EntityID>x</EntityID>",
                one,
                "<EntityID>y</EntityID>",
                "<EntityID><![CDATA[a&b]]></EntityID>",
            ]),
            "entities 2 and 4 have the same",
        ),
    ] {
        warned(&text, Unproven::Keys, fragment);
        let entities = text.matches("<Shop>").count() + text.matches("<Shop/>").count();
        assert_eq!(run(&text).unwrap().entities, entities as u64);
    }
    let location = warned(with(&[one, one]), Unproven::Keys, "same").location;
    assert_eq!(location.entity, Some(2));
    let both = run(with(&["<Colour/>", one, one])).unwrap();
    assert_eq!(both.unproven(), [Unproven::Keys, Unproven::Schema]);
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
        // from the schema on, it is always told as what it is
        let schema = text.find("<xs:schema").unwrap() + 10;
        assert!(
            cut < schema || matches!(error, ValidationError::Truncated { .. }),
            "cut at {cut}: {error}"
        );
    }
    assert!(run(&text.as_bytes()[..whole]).is_ok());
}
