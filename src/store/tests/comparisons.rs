//! Comparisons are a cache: by content, by rules, and forgotten with the content.

use super::*;
use crate::manifest::ChangeCounts;

fn pair(old: &str, new: &str) -> ContentPair {
    ContentPair { old: old.into(), new: new.into() }
}

fn comparison(old: &str, new: &str, added: u64) -> StoredComparison {
    let counts = ChangeCounts { added, removed: 1, changed: 2, unchanged: 3 };
    StoredComparison { pair: pair(old, new), counts: Some(counts) }
}

#[tokio::test]
async fn a_comparison_is_found_by_both_contents_and_the_rules() {
    let (_folder, store) = store().await;
    let (one, other) = (comparison("a", "b", 1), comparison("b", "c", 2));
    let impossible = StoredComparison { pair: pair("c", "d"), counts: None };
    for it in [&one, &other, &impossible] {
        store.record_comparison("stores", it, 1).await.unwrap();
    }
    let all = [one.clone(), other.clone(), impossible.clone()];
    assert_eq!(store.comparisons("stores", 1).await.unwrap(), all);
    assert_eq!(store.comparisons("stores", 2).await.unwrap(), []);
    assert_eq!(store.comparisons("depots", 1).await.unwrap(), []);
    let found =
        async |old, new, rules| store.comparison("stores", &pair(old, new), rules).await.unwrap();
    assert_eq!(found("a", "b", 1).await, Some(one));
    assert_eq!(found("c", "d", 1).await, Some(impossible));
    assert_eq!(found("a", "c", 1).await, None);
    assert_eq!(found("a", "b", 2).await, None);
    store.record_comparison("stores", &comparison("a", "b", 9), 2).await.unwrap();
    assert_eq!(found("a", "b", 1).await, None, "other rules replace it");
    assert_eq!(found("a", "b", 2).await, Some(comparison("a", "b", 9)));
}

#[tokio::test]
async fn comparisons_of_contents_that_are_gone_are_forgotten() {
    let (_folder, store) = store().await;
    for (source, old, new) in [("stores", "a", "b"), ("stores", "b", "c"), ("depots", "a", "b")] {
        store.record_comparison(source, &comparison(old, new, 1), 1).await.unwrap();
    }
    assert_eq!(store.forget_comparisons("stores", &["c".into()]).await.unwrap(), 1);
    assert_eq!(store.comparisons("stores", 1).await.unwrap(), [comparison("b", "c", 1)]);
    assert_eq!(store.comparisons("depots", 1).await.unwrap().len(), 1);
    assert_eq!(store.forget_comparisons("stores", &[]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_row_with_numbers_that_no_comparison_has_does_not_count() {
    let (_folder, store) = store().await;
    for spoil in ["removed = -1", "added = NULL"] {
        store.record_comparison("stores", &comparison("a", "b", 1), 1).await.unwrap();
        assert!(store.comparison("stores", &pair("a", "b"), 1).await.unwrap().is_some());
        let spoil = sqlx::AssertSqlSafe(format!("UPDATE comparisons SET {spoil}"));
        store.write(move |db| Box::pin(sqlx::query(spoil).execute(db))).await.unwrap();
        assert_eq!(store.comparison("stores", &pair("a", "b"), 1).await.unwrap(), None);
        assert_eq!(store.comparisons("stores", 1).await.unwrap(), []);
    }
}
