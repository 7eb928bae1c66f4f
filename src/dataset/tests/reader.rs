//! The reader's entities, as exports and comparisons use them.

use super::*;

/// Each entity as one line: type, then the elements with their values.
fn show(document: &str) -> Vec<String> {
    let mut reader = Reader::open(document.as_bytes(), &DocumentLimits::default()).unwrap();
    let mut lines = Vec::new();
    while let Some(entity) = reader.next_entity().unwrap() {
        let elements = entity.elements().map(|element| {
            let mark = match (element.column(), element.is_repeated()) {
                (None, _) => "?",
                (_, true) => "+",
                _ => "",
            };
            format!(" {mark}{}={:?}", element.name(), element.value())
        });
        lines.push(format!("{}:{}", entity.name(), elements.collect::<String>()));
    }
    assert!(reader.next_entity().unwrap().is_none());
    lines
}

#[test]
fn an_entity_has_typed_values_in_the_order_of_the_document() {
    let text = document(
        "<Shop><EntityID>1</EntityID><Name>A &amp; B</Name><Size> -7 </Size><Latitude>4.5E1</Latitude>\
         <Open>True</Open><Area>POINT (1 2)</Area></Shop><Shop/>\
         <Shop><Size>many</Size><Name/><EntityID>2</EntityID></Shop>",
    );
    assert_eq!(
        show(&text),
        [
            "Shop: EntityID=Text(\"1\") Name=Text(\"A & B\") Size=Integer(-7) Latitude=Double(45.0) \
             Open=Boolean(true) Area=Geometry(\"POINT (1 2)\")",
            "Shop:",
            "Shop: Size=Unreadable(\"many\") Name=Text(\"\") EntityID=Text(\"2\")",
        ]
    );
}

#[test]
fn columns_are_found_by_their_position() {
    let text = document(
        "<Shop><EntityID>1</EntityID><Size>1</Size><Open>1</Open></Shop>\
         <Shop><Open>0</Open><Size xsi:nil='true'/><Size>3</Size><EntityID/><EntityID>2</EntityID></Shop>",
    );
    let mut reader = Reader::open(text.as_bytes(), &DocumentLimits::default()).unwrap();
    let shop = reader.schema().first().unwrap();
    assert_eq!((shop.name(), shop.key(), shop.position("size")), ("Shop", Some(0), None));
    let columns = ["EntityID", "Name", "Size", "Open"].map(|name| shop.position(name).unwrap());
    let [id, name, size, open] = columns;
    let first = reader.next_entity().unwrap().unwrap();
    assert_eq!((first.key(), first.number(), first.type_index()), (Some("1"), 1, Some(0)));
    assert_eq!(first.offset() as usize, text.find("<Shop>").unwrap());
    assert_eq!(first.value(name), Value::Null);
    assert_eq!(first.value(size), Value::Integer(1));
    assert_eq!(first.value(open), Value::Boolean(true));
    assert!(first.get(name).is_none() && first.get(1000).is_none());
    let second = reader.next_entity().unwrap().unwrap();
    // of a column given twice the first counts; of a key the first that there is
    assert_eq!((second.value(size), second.value(id)), (Value::Null, Value::Text("")));
    assert_eq!(second.key(), Some("2"));
    assert!(second.get(size).unwrap().is_nil());
}

#[test]
fn what_the_schema_does_not_declare_is_marked() {
    let text = document(
        "<Shop><EntityID>1</EntityID><n:Colour a='b'>r<b>x</b>&#101;d<!-- c --></n:Colour><None/></Shop>\
         <n:Ship>text<Name>Ann</Name><Size><Size/></Size></n:Ship>\
         <Shop><Name>a<b>c</b>d</Name><Area><Point/></Area><Name>e</Name></Shop>",
    );
    assert_eq!(
        show(&text),
        [
            "Shop: EntityID=Text(\"1\") ?n:Colour=Text(\"red\") ?None=Text(\"\")",
            "Ship: ?Name=Text(\"Ann\") ?Size=Text(\"\")",
            "Shop: Name=Text(\"ad\") Area=Unreadable(\"\") +Name=Text(\"e\")",
        ]
    );
    let mut reader = Reader::open(text.as_bytes(), &DocumentLimits::default()).unwrap();
    let entity = reader.next_entity().unwrap().unwrap();
    let holds: Vec<bool> = entity.elements().map(|it| it.holds_elements()).collect();
    assert_eq!(holds, [false, true, false]);
    let ship = reader.next_entity().unwrap().unwrap();
    assert!(ship.entity_type().is_none() && ship.type_index().is_none() && ship.get(0).is_none());
    while reader.next_entity().unwrap().is_some() {}
    let summary = reader.finish();
    assert_eq!((summary.entities, &*summary.entity_type), (2, "Shop"));
    assert_eq!(summary.warnings.len(), 1);
}

#[test]
fn text_is_exact_to_the_byte() {
    for (written, text) in [
        ("a\r\nb\rc\n", "a\nb\nc\n"),
        ("a&#13;\r\n", "a\r\n"),
        ("<![CDATA[\r\n<x>]]>&#xD;&#xA;", "\n<x>\r\n"),
        (" \t é☃&lt;&gt;&quot;&apos;&amp;&#x1F600; ", " \t é☃<>\"'&\u{1F600} "),
        ("a<!-- b -->c<?d e?>f", "acf"),
    ] {
        let text_of = |document: &str| {
            let mut reader = Reader::open(document.as_bytes(), &DocumentLimits::default()).unwrap();
            let entity = reader.next_entity().unwrap().unwrap();
            entity.elements().last().unwrap().text().to_owned()
        };
        assert_eq!(text_of(&shop(&format!("<Name>{written}</Name>"))), text, "{written:?}");
        assert_eq!(text_of(&shop(&format!("<Other>{written}</Other>"))), text, "{written:?}");
    }
}

#[test]
fn several_types_have_their_own_columns() {
    let text = document("<Ship><Tons>5</Tons></Ship><Shop><Size>5</Size></Shop>").replace(
        "</xs:choice>",
        "<xs:element name=\"Ship\"><xs:complexType><xs:sequence><xs:element name=\"Tons\" \
         type=\"xs:double\"/></xs:sequence></xs:complexType></xs:element></xs:choice>",
    );
    assert_eq!(show(&text), ["Ship: Tons=Double(5.0)", "Shop: Size=Integer(5)"]);
    let mut reader = Reader::open(text.as_bytes(), &DocumentLimits::default()).unwrap();
    assert_eq!(reader.schema().types().len(), 2);
    let ship = reader.next_entity().unwrap().unwrap();
    assert_eq!((ship.type_index(), ship.entity_type().unwrap().key()), (Some(1), None));
}

#[test]
fn an_entity_is_held_up_to_its_limit() {
    let text = shop(&format!("<Name>{}</Name>", "x".repeat(1000)));
    let limits = |max_entity_bytes| DocumentLimits { max_entity_bytes, ..Default::default() };
    let next = |document: &str, most| {
        let mut reader = Reader::open(document.as_bytes(), &limits(most)).unwrap();
        reader.next_entity().map(|entity| entity.is_some()).map_err(|error| error.to_string())
    };
    assert_eq!(next(&text, 1500), Ok(true));
    let error = next(&text, 1000).unwrap_err();
    assert!(error.contains("an entity of more than 1000 bytes (at byte "), "{error}");
    // whatever it is made of
    assert!(next(&shop(&"<a/>".repeat(1000)), 10_000).is_err());
    assert!(validate(text.as_bytes(), &limits(0)).is_ok(), "validation holds a value at most");
    // of an undeclared element as much is kept as of a value
    let limits = DocumentLimits { max_value_bytes: 10, ..Default::default() };
    let text = shop("<Other>0123456789</Other><More>01234&#53;67890</More>");
    let mut reader = Reader::open(text.as_bytes(), &limits).unwrap();
    let entity = reader.next_entity().unwrap().unwrap();
    let kept: Vec<_> = entity.elements().skip(1).map(|it| (it.text(), it.is_cut())).collect();
    assert_eq!(kept, [("0123456789", false), ("012345", true)]);
}
