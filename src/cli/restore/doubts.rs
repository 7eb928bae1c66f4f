//! What the service's documents doubt about a document that is to be loaded.

use super::document::{Document, Found};
use super::plan::counted;
use crate::cli::output::count;
use crate::service::LoadRules;

/// What the service's documents doubt about a document. It is loaded as it is all the same.
pub(super) fn doubts(document: &Document, rules: &LoadRules) -> Vec<String> {
    let mut doubts = Vec::new();
    if document.head.has_https_namespace {
        doubts.push(
            "the schema's namespace begins with https; the service's documents show loads with \
             http, and do not say whether it takes the other one back"
                .to_owned(),
        );
    }
    let root = &document.root;
    if document.head.data_set.as_ref() == Some(root) {
        doubts.push(format!(
            "the root element and the data set are both called {root}; the service's documents \
             demand different names"
        ));
    } else if rules.download_root == Some(root) {
        doubts.push(format!(
            "the root element has the generic name {root}, as in downloads; the service's \
             documents show loads with a name of their own, and do not say whether it takes this \
             one back"
        ));
    }
    let found = |found: &Found, what: &str, said: &str| {
        let (column, key) = found.first.as_ref()?;
        let values = counted(found.count, "value", "values");
        Some(format!("{values} {what} (the first in {column} of entity {key}); {said}"))
    };
    doubts.extend(found(
        &document.markup,
        "with what looks like HTML",
        "the service's documents say that it cannot be stored",
    ));
    doubts.extend(found(
        &document.long_keys,
        &format!("of the primary key longer than {} characters", rules.key_length),
        "the service's documents allow no longer ones",
    ));
    doubts.extend(found(
        &document.long_texts,
        &format!("longer than {} characters", rules.text_length),
        "the service's documents allow no longer ones",
    ));
    let names: Vec<_> =
        document.columns.iter().filter(|name| !(rules.allows_column)(name)).collect();
    if let Some(name) = names.first() {
        doubts.push(format!(
            "{} that the service's documents do not allow in a load, such as {name}",
            count(names.len(), "column name")
        ));
    }
    let is_computed = |name: &&String| {
        rules.computed_columns.iter().any(|computed| computed.eq_ignore_ascii_case(name))
    };
    let columns = document.columns.iter().filter(|name| !is_computed(name)).count();
    if columns > rules.columns {
        doubts.push(format!(
            "{columns} columns; the service's documents allow {} beside {}",
            rules.columns,
            rules.computed_columns.join(" and ")
        ));
    }
    doubts
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::head::Head;
    use super::*;

    pub(in super::super) fn rules() -> LoadRules {
        LoadRules {
            bytes: 1 << 20,
            entities: 1000,
            key_length: 50,
            text_length: 2560,
            columns: 350,
            allows_column: |name| !name.starts_with("__"),
            download_root: Some("MainRoot"),
            computed_columns: &["Latitude", "Longitude"],
            staged_days: 30,
        }
    }

    pub(in super::super) fn document() -> Document {
        Document {
            root: "Places".into(),
            head: Head { has_https_namespace: false, data_set: Some("Data".into()) },
            columns: vec!["EntityID".into(), "Latitude".into()],
            bytes: 1000,
            entities: 20,
            ..Document::default()
        }
    }

    #[test]
    fn a_document_as_the_service_s_documents_show_them_is_not_doubted() {
        assert_eq!(doubts(&document(), &rules()), Vec::<String>::new());
    }

    #[test]
    fn each_difference_from_the_service_s_documents_is_doubted() {
        let found = Found { count: 2, first: Some(("Name".into(), "a".into())) };
        let https = Head { has_https_namespace: true, data_set: None };
        let same_name = Head { has_https_namespace: false, data_set: Some("Places".into()) };
        for (document, words) in [
            (Document { head: https, ..document() }, "begins with https"),
            (Document { root: "MainRoot".into(), ..document() }, "generic name MainRoot"),
            (Document { head: same_name, ..document() }, "both called Places"),
            (
                Document { markup: found.clone(), ..document() },
                "2 values with what looks like HTML",
            ),
            (Document { long_keys: found.clone(), ..document() }, "longer than 50"),
            (Document { long_texts: found, ..document() }, "longer than 2560"),
            (Document { columns: vec!["__x".into()], ..document() }, "1 column name that"),
            (Document { columns: vec!["c".into(); 351], ..document() }, "351 columns"),
        ] {
            let doubts = doubts(&document, &rules());
            assert!(doubts.len() == 1 && doubts[0].contains(words), "{words}: {doubts:?}");
        }
    }
}
