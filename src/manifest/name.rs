//! The name that a snapshot's files share.

use super::{HIGHEST_JOB, HOLD_SUFFIX, MANIFEST_SUFFIX};
use chrono::{DateTime, NaiveDateTime, Utc};
use std::fmt;
use std::str::FromStr;

const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// The name that a snapshot's two files share: the second its remote job was submitted, and the
/// number of its job. Of two names the greater one is newer: job numbers only ever rise, while a
/// clock may have been wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    // First: it decides which is newer.
    job: i64,
    created_at: DateTime<Utc>,
}

impl Name {
    /// The name of the snapshot that job `job` makes from a remote job submitted at `created_at`.
    pub fn new(created_at: DateTime<Utc>, job: i64) -> Name {
        let whole = DateTime::from_timestamp(created_at.timestamp(), 0).unwrap_or(created_at);
        Name { created_at: whole, job }
    }

    /// Whether it reads back from its own text. One that does not (a job number below 1 or above
    /// [`HIGHEST_JOB`], an instant outside the years of four digits) would file a snapshot that
    /// nothing finds again.
    pub fn is_valid(&self) -> bool {
        self.to_string().parse() == Ok(*self)
    }

    /// When the remote job was submitted, to the second.
    pub fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    /// The job's number.
    pub fn job(&self) -> i64 {
        self.job
    }

    /// The instant as it stands in the name.
    pub fn timestamp(&self) -> String {
        self.created_at.format(STAMP).to_string()
    }

    /// The name of the snapshot's file that ends in `suffix`.
    pub fn with(&self, suffix: &str) -> String {
        format!("{self}{suffix}")
    }

    /// The hold's name.
    pub fn hold(&self) -> String {
        format!("{self}{HOLD_SUFFIX}")
    }

    /// The manifest's name.
    pub fn manifest(&self) -> String {
        format!("{self}{MANIFEST_SUFFIX}")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.created_at.format(STAMP), self.job)
    }
}

impl FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Name, ()> {
        let (stamp, job) = text.split_once('-').ok_or(())?;
        let created_at = NaiveDateTime::parse_from_str(stamp, STAMP).map_err(|_| ())?.and_utc();
        let name = Name { created_at, job: job.parse().map_err(|_| ())? };
        // Only what this program writes: no signs, no leading zeros.
        let is_own = name.to_string() == text && (1..=HIGHEST_JOB).contains(&name.job);
        if is_own { Ok(name) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_the_submission_s_second_and_the_job() {
        let at = DateTime::parse_from_rfc3339("2026-11-25T02:00:01.987Z").unwrap().to_utc();
        let name = Name::new(at, 42);
        assert_eq!(name.to_string(), "20261125T020001Z-42");
        assert_eq!(name.with(".xml.zst"), "20261125T020001Z-42.xml.zst");
        assert_eq!("20261125T020001Z-42".parse(), Ok(name));
    }

    #[test]
    fn names_that_this_program_never_writes_are_no_names() {
        for text in [
            "20261125T020001Z",
            "20261125T020001Z-",
            "20261125T020001Z-0",
            "latest",
            "20261125T020001Z-007",
            "20261125T020001Z-+7",
            "20261325T020001Z-7",
            "20261125T020001Z-9007199254740992",
            "20261125T020001Z-9223372036854775807",
            "",
        ] {
            assert_eq!(text.parse::<Name>(), Err(()), "{text}");
        }
    }

    #[test]
    fn of_two_names_the_one_of_the_later_job_is_newer() {
        let at = |text: &str| text.parse::<Name>().unwrap();
        assert!(at("20251125T020001Z-43") > at("20261125T020001Z-42"));
    }

    proptest! {
        #[test]
        fn a_name_reads_back(seconds in 0i64..4_000_000_000, job in 1..=HIGHEST_JOB) {
            let name = Name::new(DateTime::from_timestamp(seconds, 0).unwrap(), job);
            prop_assert_eq!(name.to_string().parse(), Ok(name));
            prop_assert!(name.is_valid());
        }

        #[test]
        fn a_name_is_valid_when_its_file_is_found_again(millis: i64, job: i64) {
            let Some(at) = DateTime::from_timestamp_millis(millis) else { return Ok(()) };
            let name = Name::new(at, job);
            prop_assert_eq!(name.is_valid(), name.to_string().parse::<Name>() == Ok(name));
        }
    }
}
