//! The course of the jobs that change sources, and what they do to the versions.

use bytes::Bytes;

use super::change_scenario::{Act, Interference, Moment, Outcome};
use super::changes::{Change, ChangeKind, LoadOperation, RemoteChange};
use super::data::Data;
use super::entities::Document;
use super::jobs::{RemoteState, access_id, change_id};
use super::request::Route;
use super::scenario::Scenario;
use super::versions::{Version, Versions};
use super::world::{Source, World};

#[expect(clippy::indexing_slicing, reason = "sources and jobs stay in their lists")]
impl World {
    pub(super) fn change(&self, index: usize) -> &Change {
        &self.changes[index]
    }

    pub(super) fn source_mut(&mut self, index: usize) -> &mut Source {
        &mut self.sources[index]
    }

    pub(super) fn add_change(
        &mut self,
        seen: RemoteChange,
        source: usize,
        outcome: Outcome,
        total: u64,
    ) -> usize {
        let (index, created) = (self.changes.len(), self.next_date());
        self.changes.push(Change { seen, source, outcome, total, steps: 0, created, lists: 0 });
        self.peak_in_process = self.peak_in_process.max(self.in_process());
        index
    }

    /// Carries out a status request.
    pub(super) fn poll_change(&mut self, index: usize) {
        self.changes[index].seen.polls += 1;
        self.step_change(index);
    }

    /// Advances jobs that their client may not poll. A list of jobs or versions advances all of
    /// them; any other request those whose creation was not answered, and those whose source has a
    /// newer job.
    pub(super) fn pass_time_of_changes(&mut self, route: &Route) {
        let is_listing = matches!(route, Route::Jobs | Route::Versions { .. });
        let mut has_newer = vec![false; self.sources.len()];
        for index in (0..self.changes.len()).rev() {
            let Change { seen, source, .. } = &self.changes[index];
            let superseded = std::mem::replace(&mut has_newer[*source], true);
            let is_polled = matches!(route, Route::ChangeStatus { job } if *job == seen.id);
            let passes = is_listing || superseded || !seen.creation_answered;
            if passes && !is_polled && seen.state == RemoteState::InProcess {
                self.step_change(index);
            }
        }
    }

    /// Moves a job one step towards its end, where it takes effect.
    fn step_change(&mut self, index: usize) {
        let pending_polls = self.scenario(self.changes[index].source).changes.pending_polls;
        let change = &mut self.changes[index];
        change.steps = change.steps.saturating_add(1);
        if change.seen.state != RemoteState::InProcess || change.steps <= pending_polls {
            return;
        }
        change.seen.state = change.end();
        if change.outcome.happens && !change.seen.happened {
            self.take_effect(index);
        }
    }

    fn take_effect(&mut self, index: usize) {
        let Change { seen, source, outcome, .. } = &self.changes[index];
        let (id, source, kind) = (seen.id.clone(), *source, seen.kind);
        let changed = i64::try_from(self.next_date()).unwrap_or(0);
        let new_id = self.scenario(source).changes.new_id_on_publish.then(|| id.clone());
        let loaded = match kind {
            ChangeKind::Load(operation) => {
                Some(self.loaded(source, operation, &seen.body, outcome.failed_entities))
            }
            _ => None,
        };
        let older = seen.version.clone().unwrap_or_default();
        self.change_versions(source, |versions| match (kind, loaded) {
            (ChangeKind::Load(operation), Some(data)) => {
                let version = Version { job_id: id, data, changed };
                match operation.is_staging() {
                    true => versions.staged = Some(version),
                    false => versions.publish(version),
                }
            }
            (ChangeKind::Rollback, _) => {
                if let Some(version) = versions.take_older(&older) {
                    let job_id = new_id.unwrap_or_else(|| version.job_id.clone());
                    versions.publish(Version { job_id, changed, ..version });
                }
            }
            _ => {
                if let Some(version) = versions.staged.take() {
                    let job_id = new_id.unwrap_or_else(|| version.job_id.clone());
                    versions.publish(Version { job_id, changed, ..version });
                }
            }
        });
        self.changes[index].seen.happened = true;
        match kind {
            ChangeKind::Load(_) => self.interfere(source, Moment::Loaded),
            ChangeKind::Commit => self.interfere(source, Moment::Committed),
            ChangeKind::Rollback => {}
        }
    }

    /// What the service keeps of a posted document: its bytes, unless the load was incremental, or
    /// entities failed, or the scenario alters what is loaded.
    fn loaded(&self, source: usize, operation: LoadOperation, body: &Bytes, failed: u64) -> Data {
        let source = self.source(source);
        let mut data = Data::raw(body.clone());
        let failed = usize::try_from(failed).unwrap_or(usize::MAX);
        if failed > 0
            && let Ok(document) = Document::parse(body)
        {
            let kept = document.entities.len().saturating_sub(failed);
            let entities = document.entities.iter().take(kept).map(|entity| entity.text);
            data = Data::raw(document.with(entities));
        }
        if operation.is_incremental()
            && let Some(published) = &source.versions.published
        {
            let (old, new) = (published.data.document(), data.document());
            if let (Ok(old), Ok(new)) = (Document::parse(&old), Document::parse(&new)) {
                data = Data::raw(old.merged(&new));
            }
        }
        match &source.scenario.changes.kept {
            Some(alteration) => alteration.apply(&data),
            None => data,
        }
    }

    /// Changes the versions of a source; listings may show the former state for a while.
    fn change_versions(&mut self, source: usize, change: impl FnOnce(&mut Versions)) {
        let source = self.source_mut(source);
        let lag = source.scenario.changes.versions_lag;
        if lag > 0 && source.lagging.is_none() {
            source.lagging = Some((source.versions.clone(), lag));
        }
        change(&mut source.versions);
    }

    /// The versions that a listing shows now.
    pub(super) fn shown_versions(&mut self, source: usize) -> Versions {
        let source = self.source_mut(source);
        match source.lagging.take() {
            Some((versions, left)) => {
                if left > 1 {
                    source.lagging = Some((versions.clone(), left - 1));
                }
                versions
            }
            None => source.versions.clone(),
        }
    }

    /// Loads a document as another user does, at once: a job in the job list that counts against no
    /// limit. Returns its id.
    pub(super) fn load_elsewhere(
        &mut self,
        source: usize,
        operation: LoadOperation,
        data: Data,
    ) -> String {
        let id = change_id(self.changes.len());
        let seen = RemoteChange {
            id: id.clone(),
            kind: ChangeKind::Load(operation),
            source: self.source(source).name.clone(),
            version: None,
            body: Bytes::new(),
            is_compressed: false,
            polls: 0,
            state: RemoteState::Completed,
            happened: true,
            creation_answered: true,
            is_elsewhere: true,
        };
        let total = data.entities();
        self.add_change(seen, source, Outcome::completed(), total);
        let changed = i64::try_from(self.next_date()).unwrap_or(0);
        let job_id = id.clone();
        self.change_versions(source, |versions| {
            let version = Version { job_id, data, changed };
            match operation.is_staging() {
                true => versions.staged = Some(version),
                false => versions.publish(version),
            }
        });
        id
    }

    /// Lets other users do what the scenario has for this moment.
    pub(super) fn interfere(&mut self, source: usize, moment: Moment) {
        let all = &mut self.source_mut(source).scenario.changes.interference;
        let (due, later): (Vec<Interference>, _) =
            std::mem::take(all).into_iter().partition(|it| it.at == moment);
        *all = later;
        for interference in due {
            match interference.act {
                Act::Stage(data) => {
                    self.load_elsewhere(source, LoadOperation::CompleteStaging, data);
                }
                Act::Publish(data) => {
                    self.load_elsewhere(source, LoadOperation::Complete, data);
                }
                Act::DropStaged => self.change_versions(source, |it| it.staged = None),
                Act::Delete => self.delete(source),
            }
        }
    }

    /// Lets other users interfere if what a download gave is the staged version.
    pub(super) fn interfere_after_fetch(&mut self, job: usize) {
        let job = self.job(job);
        let (source, version) = (job.source, job.seen.version.clone());
        let staged = self.source(source).versions.staged.as_ref().map(|it| it.job_id.clone());
        if version.is_some() && version == staged {
            self.interfere(source, Moment::StagedFetched);
        }
    }

    /// Deletes a source with all its versions.
    pub(super) fn delete(&mut self, source: usize) {
        let source = self.source_mut(source);
        source.is_deleted = true;
        (source.versions, source.lagging) = (Versions::default(), None);
    }

    /// A new source without a version, for a load to a name that the account does not have.
    pub(super) fn create_source(&mut self, name: &str, key: &str) -> usize {
        let owner = self.sources.iter().find(|source| source.key == key);
        let account = owner.map(|source| source.account.clone()).unwrap_or_default();
        let former = self.sources.iter().find(|source| source.key == key && source.is_named(name));
        let index = self.sources.len();
        let (id, scenario) = match former {
            Some(it) if !self.account.new_access_ids => (it.access_id.clone(), it.scenario.clone()),
            Some(it) => (access_id(index), it.scenario.clone()),
            None => (access_id(index), Scenario::default()),
        };
        self.sources.push(Source {
            account,
            access_id: id,
            name: name.to_owned(),
            key: key.to_owned(),
            scenario,
            versions: Versions::default(),
            lagging: None,
            is_deleted: false,
        });
        index
    }
}
