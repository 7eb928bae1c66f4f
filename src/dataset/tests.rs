//! Whole documents: good ones here, broken and doubtful ones below.

mod broken;
mod doubtful;
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
