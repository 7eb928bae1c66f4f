//! The life of one entity.

use super::*;

/// The events, each as one line; nights are numbered from the oldest.
fn follow_all(documents: &[&Text], key: &str, entity_type: Option<&str>) -> Vec<String> {
    let nights: Vec<_> = documents
        .iter()
        .rev()
        .map(|document| Night {
            document: (*document).clone(),
            content: document.0.clone(),
            keys_are_proven: false,
        })
        .collect();
    let wanted = Wanted { key: key.to_owned(), entity_type: entity_type.map(str::to_owned) };
    let mut lines = Vec::new();
    let followed = follow(&nights, &wanted, |event| {
        lines.push(match event {
            Event::Change { night, kind, columns } => {
                let place = nights.iter().position(|it| std::ptr::eq(it, night)).unwrap();
                let columns = columns
                    .iter()
                    .map(|column| format!(" {}: {} → {}", column.name, column.old, column.new));
                let columns: String = columns.collect();
                format!("{} {kind:?}{columns}", nights.len() - place)
            }
            Event::Damaged(error) => error.to_string(),
        });
        Ok::<_, DiffError>(())
    });
    if let Err(error) = followed {
        lines.push(error.to_string());
    }
    lines
}

fn shop(rest: &str) -> Text {
    shops(&format!(
        "<Shop><EntityID>0</EntityID></Shop><Shop><EntityID>1</EntityID>{rest}</Shop><Shop/>"
    ))
}

#[test]
fn a_life_is_reported_newest_first() {
    let (none, one, other) = (shops("<Shop/>"), shop("<Size>1</Size>"), shop("<Size>2</Size>"));
    let same = shop("<!-- the same --><Size>+1</Size>");
    let nights = [&none, &one, &same, &other, &other, &none, &one, &one];
    assert_eq!(
        follow_all(&nights, "1", None),
        [
            "7 Added EntityID: null → 1 Size: null → 1",
            "6 Removed EntityID: 1 → null Size: 2 → null",
            "4 Changed Size: +1 → 2",
            "2 Added EntityID: null → 1 Size: null → 1",
        ]
    );
    assert_eq!(
        follow_all(&nights[1..5], "1", None),
        ["3 Changed Size: +1 → 2", "1 Added EntityID: null → 1 Size: null → 1"]
    );
    assert_eq!(follow_all(&nights, "2", None), Vec::<String>::new());
    assert_eq!(follow_all(&[], "1", None), Vec::<String>::new());
}

#[test]
fn a_damaged_night_is_named_and_the_others_are_compared() {
    let (one, other) = (shop("<Size>1</Size>"), shop("<Size>2</Size>"));
    let damaged = shop("<!-- damaged --><Size>3</Size>");
    let lines = follow_all(&[&one, &damaged, &other], "1", None);
    let [damage, changed, added] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(damage.contains("text is damaged: its digest differs"), "{lines:?}");
    assert_eq!(changed, "3 Changed Size: 1 → 2");
    assert!(added.starts_with("1 Added"), "{lines:?}");
}

#[test]
fn a_column_of_one_side_changes_nothing() {
    let old = shops_with(
        &[("EntityID", "string"), ("Gone", "long")],
        "<Shop><EntityID>1</EntityID><Gone>1</Gone></Shop>",
    );
    let new = shops_with(
        &[("EntityID", "string"), ("Fresh", "long")],
        "<Shop><EntityID>1</EntityID><Fresh>1</Fresh></Shop>",
    );
    assert_eq!(follow_all(&[&old, &new], "1", None).len(), 1);
}

#[test]
fn of_several_types_one_must_be_chosen() {
    let types =
        [entity_type("Shop", COLUMNS, "EntityID"), entity_type("Depot", COLUMNS, "EntityID")];
    let one = document_of(
        &types,
        "<Depot><EntityID>1</EntityID></Depot><Shop><EntityID>1</EntityID></Shop>",
    );
    let other = document_of(
        &types,
        "<Depot><EntityID>1</EntityID></Depot><Shop><EntityID>1</EntityID><Size>1</Size></Shop>",
    );
    let unchosen = follow_all(&[&one, &other], "1", None);
    assert!(unchosen[0].contains("(Shop, Depot): choose one with --entity"), "{unchosen:?}");
    assert_eq!(
        follow_all(&[&one, &other], "1", Some("Shop")),
        ["2 Changed Size: null → 1", "1 Added EntityID: null → 1"]
    );
    assert_eq!(follow_all(&[&one, &other], "1", Some("Depot")), ["1 Added EntityID: null → 1"]);
    assert_eq!(follow_all(&[&one, &other], "1", Some("Booth")), Vec::<String>::new());
}

#[test]
fn entities_of_one_key_are_matched_by_their_values_first() {
    let night = |sizes: &[u8]| {
        let shops_of_one_key: String = sizes
            .iter()
            .map(|size| format!("<Shop><EntityID>1</EntityID><Size>{size}</Size></Shop>"))
            .collect();
        shops(&shops_of_one_key)
    };
    let life = |nights: &[&[u8]]| {
        let nights: Vec<_> = nights.iter().map(|sizes| night(sizes)).collect();
        follow_all(&nights.iter().collect::<Vec<_>>(), "1", None)
    };
    let added = |size: u8| format!("1 Added EntityID: null → 1 Size: null → {size}");
    assert_eq!(life(&[&[1, 2], &[2, 1]]), [added(1), added(2)]);
    assert_eq!(life(&[&[1, 2, 2], &[2, 1, 2]]), [added(1), added(2), added(2)]);
    assert_eq!(life(&[&[1, 2], &[2, 3]])[..1], ["2 Changed Size: 1 → 3"]);
    assert_eq!(life(&[&[1], &[2, 1]])[..1], ["2 Added EntityID: null → 1 Size: null → 2"]);
    assert_eq!(life(&[&[1, 1], &[1]])[..1], ["2 Removed EntityID: 1 → null Size: 1 → null"]);
}
