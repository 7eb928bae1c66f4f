//! What the service makes of documents that are loaded.

use super::documents::read;
use super::*;

type Entities = Vec<Vec<(String, String)>>;

/// The entities, and their properties, in an order that depends on their values alone.
fn sorted(data: &Data) -> Entities {
    let mut entities = read(&data.document()).unwrap();
    entities.iter_mut().for_each(|entity| entity.sort());
    entities.sort();
    entities
}

/// Entities of one document that the other lacks.
fn only_in(one: &Entities, other: &Entities) -> Entities {
    one.iter().filter(|entity| !other.contains(entity)).cloned().collect()
}

#[test]
fn another_form_changes_bytes_and_no_value() {
    let data = Data::first_places(40);
    let other = Alteration::Reserialised.apply(&data);
    assert_ne!(other.document(), data.document());
    assert_eq!(sorted(&other), sorted(&data));
    assert_eq!(other.entities(), 40);
    let text = String::from_utf8(other.document().to_vec()).unwrap();
    assert!(text.contains("\"http://www.w3.org/2001/XMLSchema\""));
}

#[test]
fn each_other_alteration_changes_what_it_says() {
    let data = Data::first_places(40);
    let before = sorted(&data);
    for (alteration, lost, gained) in [
        (Alteration::ChangedValue, 1, 1),
        (Alteration::DroppedEntity, 1, 0),
        (Alteration::AddedEntity, 0, 1),
        (Alteration::ComputedLocation, 0, 0),
    ] {
        let after = sorted(&alteration.apply(&data));
        let differences = (only_in(&before, &after).len(), only_in(&after, &before).len());
        assert_eq!(differences, (lost, gained), "{alteration:?}");
    }
    let has_empty = |entity: &Vec<(String, String)>| entity.iter().any(|(_, it)| it.is_empty());
    assert!(before.iter().any(has_empty));
    let after = sorted(&Alteration::EmptyAsNull.apply(&data));
    assert!(!after.iter().any(has_empty));
    assert_eq!(after.len(), before.len());
    let other = Alteration::Replaced(Data::first_places(1)).apply(&data);
    assert_eq!(other.document(), Data::first_places(1).document());
}

#[test]
fn a_location_is_computed_where_the_schema_has_none() {
    let data = Data::first_places(20).edited(|text| {
        let lines = text.lines().filter(|it| !it.contains("Latitude") && !it.contains("Longitude"));
        lines.collect::<Vec<_>>().join("\n")
    });
    let located = Alteration::ComputedLocation.apply(&data);
    let text = String::from_utf8(located.document().to_vec()).unwrap();
    assert!(text.contains("name=\"Latitude\" type=\"xs:double\""));
    let shapes = String::from_utf8(data.document().to_vec()).unwrap().matches("<Shape>").count();
    assert_eq!((text.matches("<Latitude>").count(), shapes), (18, 18));
    let stripped: Entities = sorted(&located)
        .into_iter()
        .map(|entity| {
            let is_new = |name: &str| name == "Latitude" || name == "Longitude";
            entity.into_iter().filter(|(name, _)| !is_new(name)).collect()
        })
        .collect();
    assert_eq!(stripped, sorted(&data));
}

#[tokio::test]
async fn a_loaded_document_is_altered_when_it_is_kept() {
    let changes = Changes { kept: Some(Alteration::DroppedEntity), ..Changes::default() };
    let walk = Walk::with_changes(changes).await;
    let answer = walk.loaded("completeStaging", &Data::first_places(6)).await;
    assert_eq!(job(&answer)["processedEntityCount"], 6, "the service does not say so");
    let staged = walk.simulator.versions("Places").staged.unwrap();
    assert_eq!(staged.data.entities(), 5);
    assert_eq!(walk.simulator.changes()[0].body, Data::first_places(6).document());
}
