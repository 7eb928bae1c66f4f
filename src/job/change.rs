//! What every transition returns: the job's next row, the events, and what becomes of its remote
//! job's record. The store persists it as one.

use super::{Job, JobEvent, Mover, Operation, RemoteEffect, Stage, State, is_legal};

/// A change of one job. Only the transitions of this module make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub(super) by: Mover,
    pub(super) from: Option<State>,
    pub(super) from_stage: Stage,
    pub(super) record: Option<i64>,
    pub(super) job: Job,
    pub(super) events: Vec<JobEvent>,
    pub(super) remote: RemoteEffect,
}

impl Change {
    /// A change of an existing job, in which nothing has changed yet.
    pub(super) fn of(job: &Job, by: Mover) -> Change {
        Change {
            by,
            from: Some(job.state),
            from_stage: job.stage(),
            record: job.remote.as_ref().and_then(|remote| remote.record),
            job: job.clone(),
            events: Vec::new(),
            remote: RemoteEffect::Keep,
        }
    }

    /// A job that does not exist yet.
    pub(super) fn new_job(job: Job, by: Mover, event: JobEvent) -> Change {
        Change { from: None, events: vec![event], ..Change::of(&job, by) }
    }

    /// Who makes the change.
    pub fn by(&self) -> Mover {
        self.by
    }

    /// The state that the job must be in; `None` when it must not exist yet.
    pub fn from(&self) -> Option<State> {
        self.from
    }

    /// The job as it is from now on.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The job as it is from now on.
    pub fn into_job(self) -> Job {
        self.job
    }

    /// What to add to its timeline.
    pub fn events(&self) -> &[JobEvent] {
        &self.events
    }

    /// What becomes of the record of the remote job that the job had before.
    pub fn remote(&self) -> &RemoteEffect {
        &self.remote
    }

    /// The record that [`Change::remote`] is about; `None` where there is none.
    pub fn record(&self) -> Option<i64> {
        self.record
    }

    /// Whether the job's state is another one than before.
    pub fn moves(&self) -> bool {
        self.from != Some(self.job.state)
    }

    /// Whether the tables of moves have this one.
    pub fn is_legal(&self) -> bool {
        is_legal(self.from, self.job.state, self.by)
            && self.from_stage.may_become(self.job.stage())
            && (self.job.restore.is_none() || self.job.operation == Operation::Restore)
    }

    /// The stage that the job was in.
    pub fn from_stage(&self) -> Stage {
        self.from_stage
    }

    /// Whether the job stays with the worker that holds it. Otherwise it is free from now on.
    pub fn keeps_lease(&self) -> bool {
        match self.by {
            Mover::Claim => self.intends_to_submit(),
            Mover::Skip | Mover::Wake | Mover::Clock | Mover::Account | Mover::Late => true,
            Mover::Create
            | Mover::Submit
            | Mover::Poll
            | Mover::Fetch
            | Mover::Check
            | Mover::Look
            | Mover::Compare
            | Mover::Release
            | Mover::Takeover
            | Mover::Cancel
            | Mover::Import => false,
        }
    }

    /// Whether this writes the intent to submit: the worker sends the submission next.
    pub fn intends_to_submit(&self) -> bool {
        self.remote == RemoteEffect::Started
    }

    /// Puts the number of its new record into the job's remote job.
    pub fn set_record(&mut self, record: i64) {
        if let Some(remote) = &mut self.job.remote {
            remote.record = Some(record);
        }
    }

    /// Adds what happened during the step, before what follows from it.
    pub fn prepend(&mut self, events: impl IntoIterator<Item = JobEvent>) {
        self.events.splice(0..0, events);
    }

    /// Replaces every text for people by what `map` makes of it.
    pub fn map_texts(&mut self, map: impl Fn(&str) -> String) {
        let error = self.job.error.iter_mut().map(|error| &mut error.message);
        let wait = self.job.waiting.iter_mut().map(|wait| &mut wait.message);
        error.chain(wait).for_each(|text| *text = map(text));
        self.events.iter_mut().for_each(|event| event.map_texts(&map));
    }

    /// A change that no transition makes, to see it refused.
    #[cfg(test)]
    pub(crate) fn forged(job: &Job, by: Mover, to: State) -> Change {
        let mut change = Change::of(job, by);
        change.job.state = to;
        change
    }
}
