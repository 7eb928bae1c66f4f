//! Documents that can be read, but not wholly proven.

use super::*;

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
    // only the first is kept, however many there are
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
