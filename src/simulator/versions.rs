//! The versions of a data source: the published one, up to two older ones, and a staged one.

use super::data::Data;

/// How many versions the service keeps besides the published and the staged one. One page of its
/// documentation says two, another three.
const OLDER: usize = 2;

/// One version of a data source.
#[derive(Clone, Debug)]
pub struct Version {
    /// The id of the job that it came from, which listings give as `atom:jobId`.
    pub job_id: String,
    /// Its content, as downloads give it.
    pub data: Data,
    /// When it was loaded or published: seconds on the simulated calendar.
    pub(super) changed: i64,
}

/// All versions of a data source.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    /// What queries and plain downloads give.
    pub published: Option<Version>,
    /// What was loaded to be published later.
    pub staged: Option<Version>,
    /// What was published before, the newest first.
    pub older: Vec<Version>,
}

impl Versions {
    /// The version of a job.
    pub fn find(&self, job_id: &str) -> Option<&Version> {
        self.published
            .iter()
            .chain(&self.staged)
            .chain(&self.older)
            .find(|version| version.job_id.eq_ignore_ascii_case(job_id))
    }

    /// Publishes a version; the one that was published becomes the newest of the older ones.
    pub(super) fn publish(&mut self, version: Version) {
        if let Some(former) = self.published.replace(version) {
            self.older.insert(0, former);
            self.older.truncate(OLDER);
        }
    }

    /// Takes the older version of a job.
    pub(super) fn take_older(&mut self, job_id: &str) -> Option<Version> {
        let is_it = |version: &Version| version.job_id.eq_ignore_ascii_case(job_id);
        self.older.iter().position(is_it).map(|index| self.older.remove(index))
    }
}
