//! Which version of a data source a snapshot came from, and when that makes a download needless.

use super::{Manifest, Origin};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The version that the service listed before a remote job was submitted and after it was
/// completed: the one that the snapshot came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedVersion {
    /// The identifier of the remote job that loaded it.
    pub job_id: String,
    /// When it was loaded or published, as listed.
    pub date: DateTime<Utc>,
}

/// Whether a download would bring what a source's newest snapshot has: it is good, it came from the
/// version that is listed now, of the same data source, and it was downloaded less than `every`
/// ago. One that is dated in the future says nothing.
#[must_use]
pub fn is_unchanged(
    newest: &Manifest,
    origin: &Origin,
    listed: &PublishedVersion,
    every: Duration,
    now: DateTime<Utc>,
) -> bool {
    let every = TimeDelta::from_std(every).unwrap_or(TimeDelta::MAX);
    let age = now - newest.created_at;
    newest.role.is_ordinary()
        && newest.suspicious.is_empty()
        && newest.origin == *origin
        && newest.published_version.as_ref() == Some(listed)
        && age >= TimeDelta::zero()
        && age < every
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Role;

    fn day(days: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000 + days)
    }

    fn version(job_id: &str, days: i64) -> PublishedVersion {
        PublishedVersion { job_id: job_id.to_owned(), date: day(days) }
    }

    #[test]
    fn only_a_good_snapshot_of_the_listed_version_is_as_new_as_a_download() {
        let text = include_bytes!("../../tests/corpus/manifest/one.json");
        let newest = Manifest {
            created_at: day(10),
            published_version: Some(version("5bb0", 3)),
            ..Manifest::read(text).unwrap().manifest
        };
        let week = Duration::from_hours(7 * 24);
        let is_unchanged = |newest: &Manifest, listed: &PublishedVersion, days: i64| {
            is_unchanged(newest, &newest.origin, listed, week, day(days))
        };
        let listed = version("5bb0", 3);
        for (days, expected) in [(9, false), (10, true), (11, true), (16, true), (17, false)] {
            assert_eq!(is_unchanged(&newest, &listed, days), expected, "{days}");
        }
        assert!(!is_unchanged(&newest, &version("5bb1", 3), 11));
        assert!(!is_unchanged(&newest, &version("5bb0", 4), 11));
        for other in [
            Manifest { published_version: None, ..newest.clone() },
            Manifest { suspicious: vec!["too few".into()], ..newest.clone() },
            Manifest { role: Role::Safety, ..newest.clone() },
        ] {
            assert!(!is_unchanged(&other, &listed, 11));
        }
        let another = Origin { data_source: "T".into(), ..newest.origin.clone() };
        assert!(!super::is_unchanged(&newest, &another, &listed, week, day(11)));
    }
}
