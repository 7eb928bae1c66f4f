//! Comparisons of small documents, and of random ones with a plain reference.

mod life;
mod random;

use super::*;
use std::collections::BTreeMap;

/// A document in memory.
#[derive(Debug, Clone)]
pub(super) struct Text(pub(super) String);

impl Document for Text {
    type Content<'d> = &'d [u8];

    fn name(&self) -> String {
        "text".to_owned()
    }

    fn limits(&self) -> DocumentLimits {
        DocumentLimits::default()
    }

    fn open(&self) -> io::Result<&[u8]> {
        Ok(self.0.as_bytes())
    }

    fn finish(&self, _: &[u8]) -> Result<(), String> {
        if self.0.contains("<!-- damaged -->") {
            Err("its digest differs".to_owned())
        } else {
            Ok(())
        }
    }

    fn open_again(&self) -> io::Result<Box<dyn BufRead + Send + '_>> {
        Ok(Box::new(self.0.as_bytes()))
    }
}

const COLUMNS: &str = r#"<xs:element name="EntityID" type="xs:string"/>
<xs:element name="Name" type="xs:string" minOccurs="0"/>
<xs:element name="Size" type="xs:long" minOccurs="0"/>
<xs:element name="Latitude" type="xs:double" minOccurs="0"/>
<xs:element name="Open" type="xs:boolean" minOccurs="0"/>
<xs:element name="Since" type="xs:dateTime" minOccurs="0"/>
<xs:element name="Area" type="xs:anyType" minOccurs="0"/>"#;

/// The schema's declaration of an entity type, and that of its key.
fn entity_type(name: &str, columns: &str, key: &str) -> (String, String) {
    let declaration = format!(
        r#"<xs:element name="{name}"><xs:complexType><xs:sequence>{columns}</xs:sequence></xs:complexType></xs:element>"#
    );
    let unique = format!(
        r#"<xs:unique name="{name}Key" msdata:PrimaryKey="true"><xs:selector xpath=".//{name}"/><xs:field xpath="{key}"/></xs:unique>"#
    );
    (declaration, unique)
}

fn document_of(types: &[(String, String)], entities: &str) -> Text {
    let declarations: String = types.iter().map(|(declaration, _)| declaration.as_str()).collect();
    let uniques: String = types.iter().map(|(_, unique)| unique.as_str()).collect();
    Text(format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!-- before --><d:MainRoot xmlns:d="urn:d"><xs:schema id="Shops" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:msdata="urn:schemas-microsoft-com:xml-msdata">
<xs:element name="Shops" msdata:IsDataSet="true"><xs:complexType><xs:choice minOccurs="0" maxOccurs="unbounded">{declarations}</xs:choice></xs:complexType>{uniques}</xs:element></xs:schema>
{entities}
<!-- after --></d:MainRoot>
<!-- the end -->"#
    ))
}

/// Shops with the usual columns.
fn shops(entities: &str) -> Text {
    document_of(&[entity_type("Shop", COLUMNS, "EntityID")], entities)
}

/// Shops with these columns.
fn shops_with(columns: &[(&str, &str)], entities: &str) -> Text {
    let columns: String = columns
        .iter()
        .map(|(name, r#type)| format!(r#"<xs:element name="{name}" type="xs:{type}"/>"#))
        .collect();
    document_of(&[entity_type("Shop", &columns, "EntityID")], entities)
}

fn options() -> Options {
    Options::new(std::env::temp_dir())
}

/// A change as one line.
fn line(diff: &Diff, change: &Change<'_>) -> String {
    let key = change.entity().key().unwrap_or("(none)").to_owned();
    let key = match diff.entity_type(change) {
        Some(name) => format!("{name}/{key}"),
        None => key,
    };
    let columns = diff.differences(change).into_iter().map(|column| {
        let (old, new) = (serde_json::json!(column.old), serde_json::json!(column.new));
        format!(" {}: {old} → {new}", column.name)
    });
    format!("{} {key}{}", change.word(), columns.collect::<String>())
}

/// All changes, each as one line. They are read twice.
fn lines(diff: &Diff) -> Vec<String> {
    let read = || {
        let mut changes = diff.changes().unwrap();
        let mut lines = Vec::new();
        while let Some(change) = changes.next_change().unwrap() {
            lines.push(line(diff, &change));
        }
        lines
    };
    let once = read();
    assert_eq!(read(), once);
    once
}

fn diff(old: &Text, new: &Text) -> Diff {
    compare(old, new, &options()).unwrap()
}

#[test]
fn values_are_compared_and_not_how_they_are_written() {
    let old = shops(
        "<Shop><EntityID>1</EntityID><Name>A &amp; B</Name><Size>7</Size><Latitude>0.5</Latitude>\
         <Open>true</Open><Since>2020-01-01T00:00:00Z</Since></Shop>\
         <Shop><EntityID>2</EntityID><Latitude>NaN</Latitude></Shop>",
    );
    let new = shops(
        "<Shop>\n<Latitude>NaN</Latitude><EntityID>&#50;</EntityID><Name xsi:nil='true'/></Shop><?pi?>\
         <Shop><EntityID><![CDATA[1]]></EntityID><Open>1</Open><Latitude> 5E-1 </Latitude>\
         <Name><![CDATA[A & B]]></Name><Size>+07</Size><!-- c -->\
         <Since>2020-01-01T01:00:00.0+01:00</Since>\n</Shop>",
    );
    let diff = diff(&old, &new);
    assert_eq!(diff.counts(), Counts { unchanged: 2, ..Counts::default() });
    assert!(!diff.differs());
    assert_eq!(lines(&diff), Vec::<String>::new());
}

#[test]
fn elements_inside_values_are_compared() {
    let shop = |rest: &str| shops(&format!("<Shop><EntityID>1</EntityID>{rest}</Shop>"));
    let old = shop("<Name><b x='1'>a &amp; b<c/></b>t</Name>");
    for same in [
        "<Name><b x=\"1\">a <![CDATA[& b]]><c/><!-- c --></b>t</Name>",
        "<Name><b x='&#49;'>a &#38; b<c></c></b>t</Name>",
    ] {
        assert_eq!(lines(&diff(&old, &shop(same))), Vec::<String>::new(), "{same}");
    }
    for other in [
        "<Name>t</Name>",
        "<Name>t<b x='1'>a &amp; b<c/></b></Name>",
        "<Name><b x='2'>a &amp; b<c/></b>t</Name>",
        "<Name><b>a &amp; b<c/></b>t</Name>",
        "<Name><b x='1'>a &amp; B<c/></b>t</Name>",
        "<Name><b x='1'><c/>a &amp; b</b>t</Name>",
        "<Name><b x='1'>a &amp; b</b><c/>t</Name>",
    ] {
        let found = lines(&diff(&old, &shop(other)));
        assert_eq!(found, ["changed 1 Name: \"t\" → \"t\""], "{other}");
    }
    let undeclared = |text: &str| shop(&format!("<More><b>{text}</b></More>"));
    let found = lines(&diff(&undeclared("x"), &undeclared("y")));
    assert_eq!(found, ["changed 1 More: \"\" → \"\""]);
}

#[test]
fn changes_come_in_the_order_of_the_keys_bytes() {
    let shop = |key: &str, rest: &str| format!("<Shop><EntityID>{key}</EntityID>{rest}</Shop>");
    let old = shops(
        &[shop("b", "<Name/>"), shop("é", ""), shop("a10", "<Size>1</Size>"), shop("B", "")]
            .concat(),
    );
    let new = shops(
        &[
            shop("a10", "<Size>2</Size><Name>x</Name>"),
            shop("a9", ""),
            shop("b", ""),
            shop("~", ""),
        ]
        .concat(),
    );
    let diff = diff(&old, &new);
    assert_eq!(
        lines(&diff),
        [
            "removed B",
            "changed a10 Name: null → \"x\" Size: 1 → 2",
            "added a9",
            "changed b Name: \"\" → null",
            "added ~",
            "removed é",
        ]
    );
    assert_eq!(diff.counts(), Counts { added: 2, removed: 2, changed: 2, unchanged: 0 });
    assert!(diff.differs());
}

#[test]
fn columns_of_one_side_change_no_entity_and_retyped_ones_are_compared_as_text() {
    let old = shops_with(
        &[("EntityID", "string"), ("Size", "long"), ("Code", "string"), ("Gone", "long")],
        "<Shop><EntityID>1</EntityID><Size>07</Size><Code>5</Code><Gone>1</Gone></Shop>\
         <Shop><EntityID>2</EntityID><Size>8</Size><Code>5</Code><Fresh>undeclared</Fresh></Shop>",
    );
    let new = shops_with(
        &[("Fresh", "string"), ("Code", "long"), ("EntityID", "string"), ("Size", "long")],
        "<Shop><Fresh>x</Fresh><Code>05</Code><EntityID>1</EntityID><Size>7</Size></Shop>\
         <Shop><Code>5</Code><EntityID>2</EntityID><Size>8</Size></Shop>",
    );
    let diff = diff(&old, &new);
    assert_eq!(lines(&diff), ["changed 1 Code: \"5\" → \"05\""]);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let expected = ColumnChanges {
        added: names(&["Fresh"]),
        removed: names(&["Gone"]),
        retyped: names(&["Code"]),
    };
    assert_eq!(diff.columns(), &expected);

    let mut options = options();
    options.ignore = names(&["Fresh", "Code", "Gone"]).into_iter().collect();
    let ignoring = compare(&old, &new, &options).unwrap();
    assert_eq!(ignoring.counts(), Counts { unchanged: 2, ..Counts::default() });
    assert!(!ignoring.differs());
}

#[test]
fn a_view_has_every_column() {
    let old = shops("");
    let new = shops(
        "<Shop><EntityID>1</EntityID><Size>7</Size><Size>8</Size><x:Other>o</x:Other><Latitude>INF</Latitude></Shop>",
    );
    let mut options = options();
    options.ignore.insert("Open".to_owned());
    let diff = compare(&old, &new, &options).unwrap();
    let mut changes = diff.changes().unwrap();
    let change = changes.next_change().unwrap().unwrap();
    let expected = r#"{"EntityID":"1","Name":null,"Size":7,"Latitude":"INF","Since":null,"Area":null,"Size[2]":"8","x:Other":"o"}"#;
    assert_eq!(serde_json::to_string(&diff.view(&change)).unwrap(), expected);
}

#[test]
fn what_the_schema_does_not_allow_for_is_compared_too() {
    let shop = |rest: &str| shops(&format!("<Shop><EntityID>1</EntityID>{rest}</Shop>"));
    for (old, new, expected) in [
        ("<Other>a</Other>", "<Other>b</Other>", " Other: \"a\" → \"b\""),
        ("<Other>a</Other>", "", " Other: \"a\" → null"),
        ("<Size>1</Size><Size>2</Size>", "<Size>1</Size>", " Size[2]: \"2\" → null"),
        ("<Size>1</Size><Size>2</Size>", "<Size>1</Size><Size>3</Size>", " Size[2]: \"2\" → \"3\""),
        ("<A/><B/>", "<B/><A/>", ""),
        ("<Size>x</Size>", "<Size>y</Size>", " Size: \"x\" → \"y\""),
        ("<Size>x</Size>", "<Size>1</Size>", " Size: \"x\" → 1"),
    ] {
        let diff = diff(&shop(old), &shop(new));
        let expected: Vec<_> = [expected]
            .iter()
            .filter(|it| !it.is_empty())
            .map(|it| format!("changed 1{it}"))
            .collect();
        assert_eq!(lines(&diff), expected, "{old} {new}");
    }
}

#[test]
fn several_types_are_identified_by_type_and_key() {
    let types = [
        entity_type("Shop", COLUMNS, "EntityID"),
        entity_type(
            "Depot",
            r#"<xs:element name="Code" type="xs:long"/><xs:element name="Old" type="xs:long"/>"#,
            "Code",
        ),
    ];
    let new_types = [
        entity_type("Depot", r#"<xs:element name="Code" type="xs:long"/>"#, "Code"),
        entity_type("Shop", COLUMNS, "EntityID"),
        entity_type("Booth", r#"<xs:element name="Code" type="xs:long"/>"#, "Code"),
    ];
    let old = document_of(
        &types,
        "<Shop><EntityID>1</EntityID></Shop><Depot><Code>1</Code></Depot><Depot><Code>2</Code></Depot>",
    );
    let new = document_of(
        &new_types,
        "<Booth><Code>2</Code></Booth><Depot><Code>1</Code></Depot>\
         <Shop><EntityID>1</EntityID><Name>x</Name></Shop><Shop><EntityID>2</EntityID></Shop>",
    );
    let diff = diff(&old, &new);
    assert_eq!(
        lines(&diff),
        ["changed Shop/1 Name: null → \"x\"", "added Booth/2", "removed Depot/2", "added Shop/2"]
    );
    assert_eq!(diff.columns().added, ["Booth/Code"]);
    assert_eq!(diff.columns().removed, ["Depot/Old"]);
}

#[test]
fn one_type_on_each_side_is_compared_whatever_its_name() {
    let old = shops("<Shop><EntityID>1</EntityID></Shop>");
    let new = document_of(
        &[entity_type("Store", COLUMNS, "EntityID")],
        "<Store><EntityID>1</EntityID></Store>",
    );
    assert!(!diff(&old, &new).differs());
}

#[test]
fn repeated_keys_are_matched_by_value_first() {
    let shop = |key: &str, name: &str| {
        format!("<Shop><EntityID>{key}</EntityID><Name>{name}</Name></Shop>")
    };
    let old = shops(&[shop("1", "a"), shop("1", "a"), shop("1", "b"), shop("2", "x")].concat());
    let new = shops(&[shop("1", "c"), shop("1", "a"), shop("2", "x"), shop("2", "x")].concat());
    let diff = diff(&old, &new);
    let lines = lines(&diff);
    assert_eq!(diff.counts(), Counts { added: 1, removed: 1, changed: 1, unchanged: 2 });
    assert_eq!(lines.iter().filter(|it| it.starts_with("changed 1 Name")).count(), 1, "{lines:?}");
    assert_eq!(lines.iter().filter(|it| *it == "removed 1").count(), 1, "{lines:?}");
    assert_eq!(lines.iter().filter(|it| *it == "added 2").count(), 1, "{lines:?}");
}

#[test]
fn entities_without_a_key_are_matched_by_value_alone() {
    let old = shops("<Shop><Name>a</Name></Shop><Shop><Name>a</Name></Shop><Ship><x>1</x></Ship>");
    let new = shops("<Shop><Name>b</Name></Shop><Shop><EntityID/><Name>a</Name></Shop><Shop/>");
    let diff = diff(&old, &new);
    let lines = lines(&diff);
    assert_eq!(diff.counts(), Counts { added: 3, removed: 3, changed: 0, unchanged: 0 });
    assert_eq!(lines.iter().filter(|it| *it == "added (none)").count(), 3, "{lines:?}");
    // The empty key is an empty text, and not a null.
    let same = super::compare(&old, &old, &options()).unwrap();
    assert_eq!(same.counts(), Counts { unchanged: 3, ..Counts::default() });
}

#[test]
fn other_keys_and_damaged_documents_are_refused() {
    let good = shops("<Shop><EntityID>1</EntityID></Shop>");
    let other = document_of(&[entity_type("Shop", COLUMNS, "Name")], "");
    let error = compare(&good, &other, &options()).unwrap_err();
    assert!(matches!(&error, DiffError::DifferentKeys { old: Some(old), new: Some(new) }
        if old == "EntityID" && new == "Name"));
    let damaged = Text(other.0.clone() + "<!-- damaged -->");
    for bad in [damaged, shops("<!-- damaged -->"), shops("<Shop>"), Text("no document".to_owned())]
    {
        for (old, new) in [(&good, &bad), (&bad, &good)] {
            let error = compare(old, new, &options()).unwrap_err();
            assert!(matches!(error, DiffError::Damaged { .. }), "{error}");
        }
    }
}

/// A document that is another one the second time.
struct Shifting(Text, Text);

impl Document for Shifting {
    type Content<'d> = &'d [u8];

    fn name(&self) -> String {
        "shifting".to_owned()
    }

    fn limits(&self) -> DocumentLimits {
        DocumentLimits::default()
    }

    fn open(&self) -> io::Result<&[u8]> {
        self.0.open()
    }

    fn finish(&self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn open_again(&self) -> io::Result<Box<dyn BufRead + Send + '_>> {
        self.1.open_again()
    }
}

#[test]
fn the_second_reading_is_checked_against_the_first() {
    let old = shops("");
    let first = shops("<Shop><EntityID>1</EntityID><Name>a</Name></Shop>");
    for second in [
        shops("<Shop><EntityID>1</EntityID><Name>b</Name></Shop>"),
        shops("<Shop><EntityID>2</EntityID><Name>a</Name></Shop>"),
        shops(" <Shop><EntityID>1</EntityID><Name>a</Name></Shop>"),
        Text("<a/>".to_owned()),
    ] {
        let shifting = Shifting(first.clone(), second);
        let error = match compare(&old, &shifting, &options()) {
            Ok(diff) => match diff.changes() {
                Ok(mut changes) => changes.next_change().map(|_| ()).unwrap_err(),
                Err(error) => error,
            },
            Err(error) => error,
        };
        let expected = matches!(error, DiffError::Inconsistent(_) | DiffError::Damaged { .. });
        assert!(expected, "{error}");
    }
}

#[test]
fn a_limit_keeps_the_first_changes_and_counts_all() {
    let entities = |range: std::ops::Range<u32>, name: &str| {
        let all: BTreeMap<String, String> = range
            .map(|at| {
                let key = format!("{at:03}");
                let xml = format!("<Shop><EntityID>{key}</EntityID><Name>{name}</Name></Shop>");
                (key, xml)
            })
            .collect();
        shops(&all.into_values().collect::<String>())
    };
    let (old, new) = (entities(0..60, "a"), entities(20..100, "b"));
    let all = diff(&old, &new);
    for limit in [0, 1, 19, 20, 21, 99, 100, 200] {
        let limited = compare(&old, &new, &Options { limit: Some(limit), ..options() }).unwrap();
        assert_eq!(limited.counts(), Counts { added: 40, removed: 20, changed: 40, unchanged: 0 });
        let expected: Vec<_> = lines(&all).into_iter().take(limit as usize).collect();
        assert_eq!(lines(&limited), expected);
    }
}
