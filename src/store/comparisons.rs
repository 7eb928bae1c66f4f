//! How much changed from one content of a source to another.

use super::{Result, Store};
use crate::manifest::ChangeCounts;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

/// The contents of two snapshots of one source, each as its SHA-256 in lower-case hexadecimal
/// digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContentPair {
    /// The one before.
    pub old: String,
    /// The one after it.
    pub new: String,
}

/// What is known of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredComparison {
    /// What was compared.
    pub pair: ContentPair,
    /// The result; `None` where the two cannot be compared.
    pub counts: Option<ChangeCounts>,
}

impl Store {
    /// All comparisons of a source that were counted by these rules.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn comparisons(&self, source: &str, rules: u32) -> Result<Vec<StoredComparison>> {
        let rows = sqlx::query("SELECT * FROM comparisons WHERE source = ? AND rules = ?")
            .bind(source)
            .bind(rules)
            .fetch_all(&self.readers)
            .await?;
        let rows = rows.iter().map(stored).collect::<sqlx::Result<Vec<_>>>()?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// One comparison, if it was counted by these rules.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn comparison(
        &self,
        source: &str,
        pair: &ContentPair,
        rules: u32,
    ) -> Result<Option<StoredComparison>> {
        let row = sqlx::query(
            "SELECT * FROM comparisons WHERE source = ? AND new = ? AND old = ? AND rules = ?",
        )
        .bind(source)
        .bind(&pair.new)
        .bind(&pair.old)
        .bind(rules)
        .fetch_optional(&self.readers)
        .await?;
        Ok(row.as_ref().map(stored).transpose()?.flatten())
    }

    /// Stores a comparison that was counted by these rules, in place of an earlier one.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn record_comparison(
        &self,
        source: &str,
        comparison: &StoredComparison,
        rules: u32,
    ) -> Result<()> {
        let (source, comparison) = (source.to_owned(), comparison.clone());
        self.write(move |db| {
            Box::pin(async move {
                let StoredComparison { pair, counts } = comparison;
                let number = |of: fn(ChangeCounts) -> u64| {
                    counts.map(|counts| i64::try_from(of(counts)).unwrap_or(i64::MAX))
                };
                sqlx::query(
                    "INSERT INTO comparisons \
                     (source, new, old, rules, added, removed, changed, unchanged) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (source, new, old) \
                     DO UPDATE SET rules = ?4, added = ?5, removed = ?6, changed = ?7, \
                     unchanged = ?8",
                )
                .bind(&source)
                .bind(&pair.new)
                .bind(&pair.old)
                .bind(rules)
                .bind(number(|it| it.added))
                .bind(number(|it| it.removed))
                .bind(number(|it| it.changed))
                .bind(number(|it| it.unchanged))
                .execute(db)
                .await
                .map(drop)
            })
        })
        .await
    }

    /// Removes the comparisons of a source whose new content is none of these. Returns how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_comparisons(&self, source: &str, contents: &[String]) -> Result<u64> {
        let (source, contents) = (source.to_owned(), serde_json::json!(contents).to_string());
        self.write(move |db| {
            Box::pin(async move {
                let query = sqlx::query(
                    "DELETE FROM comparisons \
                     WHERE source = ? AND new NOT IN (SELECT value FROM json_each(?))",
                );
                let removed = query.bind(&source).bind(&contents).execute(db).await?;
                Ok(removed.rows_affected())
            })
        })
        .await
    }
}

/// A row; `None` if it has numbers that no comparison has.
fn stored(row: &SqliteRow) -> sqlx::Result<Option<StoredComparison>> {
    let number = |name: &str| row.try_get::<Option<i64>, _>(name);
    let numbers = [number("added")?, number("removed")?, number("changed")?, number("unchanged")?];
    let pair = ContentPair { old: row.try_get("old")?, new: row.try_get("new")? };
    if numbers == [None; 4] {
        return Ok(Some(StoredComparison { pair, counts: None }));
    }
    let counted = numbers.map(|number| number.and_then(|number| u64::try_from(number).ok()));
    let [Some(added), Some(removed), Some(changed), Some(unchanged)] = counted else {
        return Ok(None);
    };
    let counts = Some(ChangeCounts { added, removed, changed, unchanged });
    Ok(Some(StoredComparison { pair, counts }))
}
