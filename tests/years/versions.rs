//! What restores change at the simulated service: the versions of each data source, and the jobs
//! that load, publish and roll back.

use crate::documents::Document;
use crate::world::{World, draw};
use chrono::{DateTime, TimeDelta, Utc};
use nightjar::service::{
    ActivityKind, Failure, FailureKind, ListedVersion, Polled, Progress, RemoteActivity, Submitted,
    VersionState,
};
use std::collections::BTreeMap;

/// How many older versions the service keeps.
const OLDER: usize = 2;

/// A version of a data source.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) document: &'static Document,
    date: DateTime<Utc>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Versions {
    pub(crate) published: Option<Version>,
    pub(crate) staged: Option<Version>,
    pub(crate) older: Vec<Version>,
}

impl Versions {
    fn publish(&mut self, version: Version) {
        let former = self.published.replace(version);
        self.older.splice(0..0, former);
        self.older.truncate(OLDER);
    }

    fn all(&self) -> impl Iterator<Item = (VersionState, &Version)> {
        let published = self.published.iter().map(|it| (VersionState::Published, it));
        let staged = self.staged.iter().map(|it| (VersionState::Staged, it));
        published.chain(staged).chain(self.older.iter().map(|it| (VersionState::Older, it)))
    }
}

/// How a job that changes a source ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Good,
    Aborted,
    /// Pending for ever.
    Stuck,
    /// It says that it failed, and it happened.
    Denied,
    /// It says that it is completed, and nothing happened.
    Claimed,
    /// It says that some entities could not be loaded.
    Partly,
}

/// A job that changes a source.
#[derive(Debug, Clone)]
struct Change {
    id: String,
    source: String,
    kind: ActivityKind,
    /// What it stages or publishes.
    version: Version,
    started: DateTime<Utc>,
    ends: DateTime<Utc>,
    ending: Ending,
    /// When it appears in the account's list.
    listed_from: DateTime<Utc>,
    /// Whether another user started it.
    is_foreign: bool,
    is_settled: bool,
    polls: u64,
}

/// A version that one of ours has asked to be published.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    pub(crate) source: String,
    pub(crate) version: Version,
    pub(crate) at: DateTime<Utc>,
    /// Whether another user staged it after the versions were last listed as they are.
    pub(crate) is_unseen: bool,
}

#[derive(Debug, Default)]
struct SourceState {
    versions: Versions,
    /// Which of the contents that other users load was loaded last.
    content: Option<u64>,
    /// The versions before they were last changed, and when that was.
    former: Option<(DateTime<Utc>, Versions)>,
    /// When the staged version was staged, and when the versions were last listed as they are.
    staged: Option<DateTime<Utc>>,
    listed: Option<DateTime<Utc>>,
    requests: u64,
    /// All documents that were ever published.
    published: Vec<&'static Document>,
}

/// The versions of all sources, and the jobs that change them.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Without this, exports are made of whatever the seed draws.
    pub(crate) has_versions: bool,
    sources: BTreeMap<String, SourceState>,
    jobs: Vec<Change>,
    pub(crate) publications: Vec<Publication>,
    /// How many loads had bytes that the service never sent.
    pub(crate) invented: u64,
    lists: u64,
}

impl Changes {
    /// How many jobs of ours are unfinished, and how many were started since.
    pub(crate) fn used(&self, now: DateTime<Utc>, since: DateTime<Utc>) -> (usize, usize) {
        let ours = || self.jobs.iter().filter(|it| !it.is_foreign);
        (ours().filter(|it| it.ends > now).count(), ours().filter(|it| it.started > since).count())
    }

    /// Whether this was ever published.
    pub(crate) fn was_published(&self, source: &str, sha256: &str) -> bool {
        let state = self.sources.get(source);
        state.is_some_and(|it| it.published.iter().any(|document| document.sha256 == sha256))
    }

    /// How many loads, publications and rollbacks of ours there were.
    pub(crate) fn count(&self) -> usize {
        self.jobs.iter().filter(|it| !it.is_foreign).count()
    }

    /// The versions of a source, as they really are.
    pub(crate) fn versions(&self, source: &str) -> Versions {
        self.sources.get(source).map(|state| state.versions.clone()).unwrap_or_default()
    }

    /// What the service has made of a load.
    pub(crate) fn loaded(&self, id: &str) -> Option<&'static Document> {
        self.jobs.iter().find(|it| it.id == id).map(|it| it.version.document)
    }

    fn state(&mut self, source: &str) -> &mut SourceState {
        self.sources.entry(source.to_owned()).or_default()
    }
}

impl SourceState {
    fn change(&mut self, now: DateTime<Utc>, change: impl FnOnce(&mut Versions)) {
        self.former = Some((now, self.versions.clone()));
        change(&mut self.versions);
        if let Some(published) = &self.versions.published {
            self.published.push(published.document);
        }
    }
}

impl World {
    /// What an export gives: the document that the seed draws, which is a version of its own where
    /// sources have versions, or the version that is asked for.
    pub(crate) fn exported(
        &mut self,
        source: &str,
        version: Option<&str>,
        content: u64,
        drawn: &'static Document,
    ) -> Result<&'static Document, Failure> {
        if !self.changes.has_versions {
            return Ok(drawn);
        }
        self.settle();
        let now = self.now;
        let state = self.changes.state(source);
        if let Some(version) = version {
            let mut all = state.versions.all();
            let found = all.find(|(_, it)| it.id == version).map(|(_, it)| it.document);
            return found.ok_or_else(|| Failure::new(FailureKind::NotFound, "no such version"));
        }
        // In one night of three, another user has loaded other data.
        if state.content != Some(content) {
            state.content = Some(content);
            let id = format!("{source}-{content}");
            let version = Version { id, document: drawn, date: now };
            state.change(now, |it| it.publish(version));
        }
        Ok(state.versions.published.as_ref().map_or(drawn, |it| it.document))
    }

    /// Lets jobs that are over take effect.
    fn settle(&mut self) {
        let now = self.now;
        let mut due: Vec<usize> = (0..self.changes.jobs.len())
            .filter(|at| !self.changes.jobs[*at].is_settled && self.changes.jobs[*at].ends <= now)
            .collect();
        due.sort_by_key(|at| self.changes.jobs[*at].ends);
        for at in due {
            self.changes.jobs[at].is_settled = true;
            let Change { source, kind, version, ends, ending, .. } = self.changes.jobs[at].clone();
            if !matches!(ending, Ending::Good | Ending::Denied | Ending::Partly) {
                continue;
            }
            let state = self.changes.state(&source);
            let version = Version { date: ends, ..version };
            let id = version.id.clone();
            let is_it = |it: &Version| it.id == id;
            state.change(ends, |versions| match kind {
                ActivityKind::Load => versions.staged = Some(version),
                ActivityKind::RollBack => {
                    versions.older.retain(|it| !is_it(it));
                    versions.publish(version);
                }
                _ => {
                    if versions.staged.as_ref().is_some_and(is_it) {
                        versions.staged = None;
                    }
                    versions.publish(version);
                }
            });
            if kind == ActivityKind::Load {
                state.staged = Some(ends);
            }
        }
    }

    /// Refuses a request for a change before it has an effect, at times.
    fn refused(&mut self, source: &str, nth: u64) -> Option<Failure> {
        let wait = Some(self.retry_after("change.wait", source, nth));
        for (what, percent, kind, text) in [
            ("change.not_sent", 4.0, FailureKind::NotSent, "no connection"),
            ("change.limit", 3.0, FailureKind::Quota, "a limit is reached, says the service"),
            ("change.busy", 2.0, FailureKind::Unavailable, "busy"),
            ("change.rejected", 0.5, FailureKind::Rejected, "no"),
        ] {
            if self.fails(what, source, nth, percent) {
                let retry_after = wait.filter(|_| kind != FailureKind::NotSent);
                return Some(Failure { retry_after, ..Failure::new(kind, text) });
            }
        }
        None
    }

    /// Starts a job that changes a source, or refuses it.
    fn start_change(
        &mut self,
        source: &str,
        kind: ActivityKind,
        version: impl FnOnce(&mut World, String) -> Result<Version, Failure>,
    ) -> Result<Submitted, Failure> {
        self.reach()?;
        self.settle();
        let state = self.changes.state(source);
        state.requests += 1;
        let nth = state.requests;
        if let Some(failure) = self.refused(source, nth) {
            return Err(failure);
        }
        let lost = |kind, text: &str| Failure { maybe_started: true, ..Failure::new(kind, text) };
        if self.fails("change.unheard", source, nth, 4.0) {
            return Err(lost(FailureKind::Lost, "the answer was lost; nothing was started"));
        }
        self.within_limits()?;
        let id = format!("C{}", self.changes.jobs.len());
        let version = version(self, id.clone())?;
        let trouble = self.trouble.max(1e-9);
        let drawn = draw(self.seed, "change.ending", source, nth) * 100.0 / trouble;
        let ending = match (drawn, kind) {
            (0.0..4.0, _) => Ending::Aborted,
            (4.0..6.0, _) => Ending::Stuck,
            (6.0..8.0, _) => Ending::Denied,
            (8.0..11.0, _) => Ending::Claimed,
            (11.0..14.0, ActivityKind::Load) => Ending::Partly,
            _ => Ending::Good,
        };
        let minutes = 1.0 + draw(self.seed, "change.takes", source, nth).powi(3) * 200.0;
        let ends = match ending {
            Ending::Stuck => self.now + TimeDelta::hours(12) - TimeDelta::seconds(1),
            _ => self.now + TimeDelta::seconds((minutes * 60.0) as i64),
        };
        let hides = self.fails("change.hidden", source, nth, 10.0);
        let hidden =
            if hides { draw(self.seed, "change.hidden for", source, nth) * 90.0 } else { 0.0 };
        let job = Change {
            id: id.clone(),
            source: source.to_owned(),
            kind,
            version,
            started: self.now,
            ends,
            ending,
            listed_from: self.now + TimeDelta::seconds((hidden * 60.0) as i64),
            is_foreign: false,
            is_settled: false,
            polls: 0,
        };
        if kind == ActivityKind::Load && self.fails("change.replaced", source, nth, 4.0) {
            self.replace_later(&job, nth);
        }
        self.changes.jobs.push(job);
        self.started.push(source.to_owned());
        if self.fails("change.lost", source, nth, 5.0) {
            return Err(lost(FailureKind::Lost, "the answer was lost; a job was started"));
        }
        if self.fails("change.error", source, nth, 2.0) {
            let failure = lost(FailureKind::Unavailable, "an error, and a job was started");
            return Err(Failure { answered: true, ..failure });
        }
        Ok(Submitted {
            status_url: format!("change/{id}"),
            remote_id: (!self.fails("change.nameless", source, nth, 2.0)).then_some(id),
            notes: Vec::new(),
        })
    }

    /// Another user stages something else some time after a load.
    fn replace_later(&mut self, job: &Change, nth: u64) {
        let minutes = draw(self.seed, "change.replaced after", &job.source, nth) * 120.0;
        let ends = job.ends + TimeDelta::seconds((minutes * 60.0) as i64);
        let id = format!("{}-replaced", job.id);
        let document = job.version.document.altered(nth.is_multiple_of(2));
        self.changes.jobs.push(Change {
            version: Version { id: id.clone(), document, date: ends },
            id,
            started: ends,
            ends,
            ending: Ending::Good,
            listed_from: ends,
            is_foreign: true,
            ..job.clone()
        });
    }

    /// Stages a document; the service may keep it in another form, or another one.
    pub(crate) fn load(&mut self, source: &str, bytes: &[u8]) -> Result<Submitted, Failure> {
        let Some(document) = Document::of(bytes) else {
            self.changes.invented += 1;
            return Err(Failure::new(FailureKind::Rejected, "no such document"));
        };
        self.start_change(source, ActivityKind::Load, |world, id| {
            let nth = world.changes.state(source).requests;
            let document = if world.fails("load.altered", source, nth, 15.0) {
                document.altered(nth.is_multiple_of(2))
            } else if world.fails("load.rewritten", source, nth, 20.0) {
                document.rewritten()
            } else {
                document
            };
            Ok(Version { id, document, date: world.now })
        })
    }

    /// Publishes whatever is staged.
    pub(crate) fn publish(&mut self, source: &str) -> Result<Submitted, Failure> {
        self.start_change(source, ActivityKind::Publish, |world, _| {
            let now = world.now;
            let state = world.changes.state(source);
            let Some(version) = state.versions.staged.clone() else {
                return Err(Failure::new(FailureKind::Rejected, "nothing is staged"));
            };
            let is_unseen = state.staged > state.listed;
            let source = source.to_owned();
            let publication = Publication { source, version: version.clone(), at: now, is_unseen };
            world.changes.publications.push(publication);
            Ok(version)
        })
    }

    /// Publishes an older version again.
    pub(crate) fn roll_back(&mut self, source: &str, version: &str) -> Result<Submitted, Failure> {
        self.start_change(source, ActivityKind::RollBack, |world, _| {
            let now = world.now;
            let state = world.changes.state(source);
            let found = state.versions.older.iter().find(|it| it.id == version).cloned();
            let Some(version) = found else {
                return Err(Failure::new(FailureKind::NotFound, "no such version"));
            };
            let source = source.to_owned();
            let (at, is_unseen) = (now, false);
            let publication = Publication { source, version: version.clone(), at, is_unseen };
            world.changes.publications.push(publication);
            Ok(version)
        })
    }

    pub(crate) fn poll_change(&mut self, url: &str) -> Result<Polled, Failure> {
        self.reach()?;
        self.settle();
        let id = url.trim_start_matches("change/").to_owned();
        let at = self.changes.jobs.iter().position(|it| it.id == id).unwrap();
        self.changes.jobs[at].polls += 1;
        let Change { polls: nth, ends, ending, kind, version, .. } = self.changes.jobs[at].clone();
        for (what, kind) in [
            ("poll_change.lost", FailureKind::Lost),
            ("poll_change.busy", FailureKind::Unavailable),
            ("poll_change.nonsense", FailureKind::Protocol),
            ("poll_change.gone", FailureKind::NotFound),
        ] {
            if self.fails(what, &id, nth, 2.0) {
                return Err(Failure::new(kind, "the status could not be asked for"));
            }
        }
        let entities = version.document.entities;
        let applied = |failed| Progress::Applied {
            processed: (kind == ActivityKind::Load).then_some(entities),
            failed,
            error_log_url: None,
        };
        Ok(Polled::ours(match (ends <= self.now, ending) {
            (false, _) | (_, Ending::Stuck) => {
                Progress::Pending { word: "Pending".into(), known: true, retry_after: None }
            }
            (true, Ending::Aborted | Ending::Denied) => {
                Progress::Aborted { message: "out of luck".into(), error_log_url: None }
            }
            (true, Ending::Partly) => applied(1),
            (true, Ending::Good | Ending::Claimed) => applied(0),
        }))
    }

    fn list(&mut self, what: &str) -> Result<u64, Failure> {
        self.reach()?;
        self.settle();
        self.changes.lists += 1;
        let nth = self.changes.lists;
        for (fault, kind) in [
            ("lost", FailureKind::Lost),
            ("busy", FailureKind::Unavailable),
            ("nonsense", FailureKind::Protocol),
        ] {
            if self.fails(&format!("{what}.{fault}"), "", nth, 3.0) {
                return Err(Failure::new(kind, "the list could not be read"));
            }
        }
        Ok(nth)
    }

    /// The versions of a source, which may be those of up to an hour ago.
    pub(crate) fn list_versions(&mut self, source: &str) -> Result<Vec<ListedVersion>, Failure> {
        let nth = self.list("versions")?;
        let is_late = self.fails("versions.late", source, nth, 15.0);
        let now = self.now;
        let state = self.changes.state(source);
        let former = state.former.as_ref();
        let late = former.filter(|(at, _)| is_late && *at > now - TimeDelta::hours(1));
        let shown = late.map_or(&state.versions, |(_, versions)| versions).clone();
        if late.is_none() {
            state.listed = Some(now);
        }
        let listed = shown.all().map(|(state, version)| ListedVersion {
            id: version.id.clone(),
            state,
            date: Some(version.date),
        });
        Ok(listed.collect())
    }

    /// The account's loads, publications and rollbacks; some appear late.
    pub(crate) fn list_activities(&mut self) -> Result<Vec<RemoteActivity>, Failure> {
        let nth = self.list("activities")?;
        let has_links = !self.fails("activities.links", "", nth, 5.0);
        let now = self.now;
        let listed = self.changes.jobs.iter().filter(|it| it.listed_from <= now);
        Ok(listed
            .map(|it| RemoteActivity {
                id: it.id.clone(),
                kind: it.kind,
                name: (it.ends <= now).then(|| it.source.clone()),
                created_at: Some(it.started),
                status_url: has_links.then(|| format!("change/{}", it.id)),
                ended: Some(it.ends <= now && it.ending != Ending::Stuck),
                entities: None,
            })
            .collect())
    }
}
