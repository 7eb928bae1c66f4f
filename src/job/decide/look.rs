//! What follows from a look at what the service lists.

use super::Next;
use crate::job::policy::is_past_deadline;
use crate::job::{
    ActivityKind, ErrorKind, Failure, FailureKind, JobEvent, Looked, RemoteActivity, RemoteEffect,
    Restore, Seen, Stage, State, VersionState, WaitReason,
};

/// What lists show of a request whose answer is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trace {
    /// Nothing.
    None,
    /// One remote job that was not listed before.
    Activity(RemoteActivity),
    /// One staged version that was not listed before.
    Staged(String),
    /// Several: nothing tells which one is ours.
    Several,
}

impl Next<'_> {
    pub(super) fn looked(&mut self, looked: &Looked) {
        match self.stage() {
            Stage::BeforeLoad => self.before_load(looked),
            Stage::Load => self.after_load(looked),
            Stage::BeforePublish => self.before_move(looked, VersionState::Staged),
            Stage::BeforeRollBack => self.before_move(looked, VersionState::Older),
            Stage::Publish | Stage::RollBack => self.after_move(looked),
            Stage::Backup | Stage::Check | Stage::Safety | Stage::Verify => {
                self.fail(ErrorKind::Protocol, "a look that this stage does not ask for");
            }
        }
    }

    /// Fails a look that could not be made.
    pub(super) fn look_failed(&mut self, failure: &Failure) {
        let most = self.policy.attempts;
        let before = self.change.job.clone();
        let has_sent = before.remote.is_some();
        match failure.kind {
            FailureKind::Local => self.local_trouble(WaitReason::Local, &failure.message),
            FailureKind::Credentials => self.accepted_key_refused(failure),
            FailureKind::NotFound => self.retry_up_to(most, ErrorKind::NotFound, failure),
            FailureKind::Rejected => self.retry_up_to(most, ErrorKind::Rejected, failure),
            FailureKind::Protocol | FailureKind::Undecodable => {
                self.retry_up_to(most, ErrorKind::Protocol, failure);
            }
            FailureKind::NotSent
            | FailureKind::Lost
            | FailureKind::Unavailable
            | FailureKind::Quota => match has_sent {
                // Failing to ask is not failing: only the deadline ends this.
                true if !is_past_deadline(&before, self.policy, self.now) => self.retry(failure),
                _ => self.retry_up_to(most, ErrorKind::Unavailable, failure),
            },
        }
    }

    fn state_of_restore(&self) -> Restore {
        let restore = self.change.job.restore.as_deref().cloned();
        restore.unwrap_or_else(|| Restore::new(crate::job::Goal::Load, String::new()))
    }

    /// Sends the request that this stage decides upon, as a new attempt.
    fn send(&mut self, looked: &Looked, change: Stage) {
        let restore = self.state_of_restore();
        let first = restore.seen.is_none();
        let published = looked.first(VersionState::Published).map(|it| it.id.clone());
        if let (Some(expected), Some(published)) = (&restore.published_before, &published)
            && !expected.eq_ignore_ascii_case(published)
        {
            let message = format!(
                "version {published} is published now, not {expected} as when this was asked for: \
                 nothing is overwritten that was not shown"
            );
            return self.fail(ErrorKind::Rejected, &message);
        }
        if first {
            let staged = looked.first(VersionState::Staged).map(|it| it.id.as_str());
            let message = listed(change, published.as_deref(), staged);
            self.event(JobEvent::Looked { message });
        }
        let now = self.now;
        self.restore(|it| {
            it.seen = Some(looked.seen(now));
            it.unsettled = None;
            it.published_before = it.published_before.take().or(published);
        });
        self.change.job.remote = None;
        self.go_on_in(change, State::Queued);
    }

    fn before_load(&mut self, looked: &Looked) {
        let restore = self.state_of_restore();
        let Some(unsettled) = restore.unsettled else {
            return self.send(looked, Stage::Load);
        };
        let seen = restore.seen.unwrap_or_default();
        match trace(&seen, looked, ActivityKind::Load) {
            Trace::Activity(activity) => self.take_over(&activity, Stage::Load),
            Trace::Staged(id) => {
                let note = format!(
                    "the service lists a staged version {id} that was not there before; \
                     assuming it is ours, it is compared in any case"
                );
                self.event(JobEvent::Note(note));
                self.change.remote = RemoteEffect::Ended;
                self.restore(|it| {
                    it.version = Some(id);
                    it.unsettled = None;
                    it.require_verification();
                });
                self.go_on_in(Stage::Load, State::Ready);
            }
            Trace::Several => {
                let message = "the service lists several loads that were not there before; it \
                               is not clear yet which one is ours";
                if !self.look_again(message) {
                    let message = "the load's answer was lost, and the service lists several new \
                                   loads: cannot tell which one is ours, so nothing is sent again";
                    self.fail(ErrorKind::Protocol, message);
                }
            }
            Trace::None => self.nothing_listed(looked, unsettled.answered, Stage::Load),
        }
    }

    /// A request that was sent stands in no list.
    fn nothing_listed(&mut self, looked: &Looked, answered: bool, change: Stage) {
        if self.look_again("the service does not list the request yet; it may still come") {
            return;
        }
        let patience = self.patience();
        let job = &self.change.job;
        let is_last = job.attempts_of_stage() >= self.policy.job_attempts
            || is_past_deadline(job, self.policy, self.now);
        let why = match (answered, is_last) {
            (true, _) => "it was answered, so it is not sent again",
            (false, true) => "no attempt is left",
            (false, false) => {
                let note = format!(
                    "the service has not listed the request for {patience}: it never arrived, and \
                     is sent again"
                );
                self.event(JobEvent::Note(note));
                self.change.remote = RemoteEffect::Ended;
                return self.send(looked, change);
            }
        };
        self.change.remote = RemoteEffect::Ended;
        let message = format!("the service has not listed the request for {patience}, and {why}");
        self.fail(ErrorKind::Unavailable, &message);
    }

    /// Goes on with a remote job that was found in the account's list.
    fn take_over(&mut self, activity: &RemoteActivity, change: Stage) {
        let id = activity.id.clone();
        let note = format!(
            "the service lists remote job {id}, which was not there before; \
             assuming it is ours"
        );
        self.event(JobEvent::Note(note));
        self.restore(|it| {
            it.unsettled = None;
            if change == Stage::Load {
                it.version = Some(id.clone());
                it.require_verification();
            }
        });
        let remote = self.change.job.remote.as_mut();
        if let Some(remote) = remote {
            remote.missing_since = None;
            remote.id = Some(id.clone());
            remote.status_url.clone_from(&activity.status_url);
        }
        let Some(status_url) = activity.status_url.clone() else {
            // What it becomes is seen in the list of versions.
            return self.go_on_in(change, State::Ready);
        };
        self.change.remote = RemoteEffect::Accepted { id: Some(id), status_url };
        self.go_on_in(change, State::Waiting);
    }

    fn after_load(&mut self, looked: &Looked) {
        let restore = self.state_of_restore();
        let seen = restore.seen.clone().unwrap_or_default();
        let staged = looked.first(VersionState::Staged);
        let other = staged.filter(|it| !seen.has_version(&it.id)).map(|it| it.id.clone());
        let listed = restore.version.as_ref().and_then(|id| looked.version(id));
        let ours = match (&restore.version, other) {
            (Some(id), _) if listed.is_some() => id.clone(),
            // The service gave the load no identifier.
            (None, Some(id)) => {
                self.restore(Restore::require_verification);
                id
            }
            (Some(id), Some(other)) => {
                let message = format!(
                    "version {other} is staged now, not {id}: another load has replaced it"
                );
                return self.fail(ErrorKind::Rejected, &message);
            }
            (_, None) => {
                if !self.look_again("the service does not list the loaded version yet") {
                    let message = format!(
                        "the service has not listed the loaded version as staged for {}",
                        self.patience()
                    );
                    self.fail(ErrorKind::Protocol, &message);
                }
                return;
            }
        };
        match listed.map(|it| it.state) {
            Some(VersionState::Staged) | None => {
                self.event(JobEvent::Looked { message: format!("version {ours} is loaded") });
            }
            Some(VersionState::Published) => {
                let note = format!("version {ours} is loaded, and another user has published it");
                self.event(JobEvent::Note(note));
                self.restore(|it| it.published_elsewhere = true);
            }
            Some(VersionState::Older) => {
                self.restore(|it| it.published_elsewhere = true);
                let message =
                    format!("another user has published version {ours}, and then another one");
                return self.fail(ErrorKind::Rejected, &message);
            }
        }
        self.restore(|it| it.version = Some(ours));
        if self.state_of_restore().verify {
            return self.begin_stage(Stage::Verify);
        }
        let note = "the staged version is not compared, as was asked for".to_owned();
        self.event(JobEvent::Note(note));
        self.after_verify();
    }

    /// The staged version is as it should be, as far as it was to be compared.
    pub(super) fn after_verify(&mut self) {
        let restore = self.state_of_restore();
        if restore.publish {
            return self.begin_stage(Stage::BeforePublish);
        }
        let version = restore.version.unwrap_or_default();
        if restore.published_elsewhere {
            let message = format!("version {version} is loaded, and another user has published it");
            return self.restored(message);
        }
        let source = &self.change.job.source;
        let message = format!(
            "version {version} is staged and not published; `nightjar publish {source} {version}` \
             publishes it"
        );
        self.restored(message);
    }

    fn restored(&mut self, message: String) {
        self.event(JobEvent::Restored { message });
        self.end(State::Archived);
    }

    /// A version is to be published that must be in this state.
    fn before_move(&mut self, looked: &Looked, wanted: VersionState) {
        let restore = self.state_of_restore();
        let id = restore.version.clone().unwrap_or_default();
        let change = self.stage().change().unwrap_or(Stage::Publish);
        let listed = looked.version(&id).map(|it| it.state);
        if listed == Some(VersionState::Published) {
            if restore.unsettled.is_some() {
                self.change.remote = RemoteEffect::Ended;
            }
            return self.published(id);
        }
        let Some(unsettled) = restore.unsettled else {
            if listed == Some(wanted) {
                return self.send(looked, change);
            }
            let now = looked.first(wanted).map(|it| it.id.as_str());
            return self.fail(ErrorKind::Rejected, &not_there(&id, wanted, now));
        };
        let kind = match change {
            Stage::RollBack => ActivityKind::RollBack,
            _ => ActivityKind::Publish,
        };
        let seen = restore.seen.unwrap_or_default();
        match trace(&seen, looked, kind) {
            Trace::Activity(activity) => self.take_over(&activity, change),
            Trace::None if listed == Some(wanted) => {
                self.nothing_listed(looked, unsettled.answered, change);
            }
            Trace::None | Trace::Staged(_) | Trace::Several => {
                if !self.look_again("the service does not list the version as published yet") {
                    self.fail(ErrorKind::Unavailable, &never_published(&id, &self.patience()));
                }
            }
        }
    }

    fn after_move(&mut self, looked: &Looked) {
        let id = self.state_of_restore().version.unwrap_or_default();
        let published = looked.first(VersionState::Published).map(|it| it.id.clone());
        // A service may give the version the identifier of the job that published it.
        let names = [Some(id.as_str()), self.change.job.remote_id()];
        let is_ours = |published: &String| {
            names.iter().flatten().any(|name| name.eq_ignore_ascii_case(published))
        };
        if let Some(published) = published.filter(is_ours) {
            return self.published(published);
        }
        if !self.look_again("the service does not list the version as published yet") {
            self.fail(ErrorKind::Protocol, &never_published(&id, &self.patience()));
        }
    }

    fn published(&mut self, id: String) {
        let before = self.state_of_restore().published_before;
        let message = match before.filter(|before| !before.eq_ignore_ascii_case(&id)) {
            Some(before) => format!("version {id} is published; before that it was {before}"),
            None => format!("version {id} is published"),
        };
        self.restore(|it| it.version = Some(id));
        self.restored(message);
    }
}

/// What the lists show of a request of this kind that was sent after `seen` was read.
fn trace(seen: &Seen, looked: &Looked, kind: ActivityKind) -> Trace {
    let may_be_ours = |it: &&RemoteActivity| {
        let is_kind = it.kind == kind || it.kind == ActivityKind::Unknown;
        let name = it.name.as_ref();
        let is_name = name.is_none_or(|name| name.eq_ignore_ascii_case(&looked.name));
        // A version that was there before has its own load, however late that is listed.
        let is_new = !seen.has_activity(&it.id) && !seen.has_version(&it.id);
        is_kind && is_name && is_new && !looked.is_of_another(&it.id)
    };
    let mut activities = looked.activities.iter().filter(may_be_ours);
    let staged = looked.first(VersionState::Staged).filter(|_| kind == ActivityKind::Load);
    let staged = staged.filter(|it| !seen.has_version(&it.id) && !looked.is_of_another(&it.id));
    let staged = staged.map(|it| it.id.clone());
    match (activities.next(), activities.next(), staged) {
        (None, _, None) => Trace::None,
        (None, _, Some(id)) => Trace::Staged(id),
        (Some(one), None, None) => Trace::Activity(one.clone()),
        (Some(one), None, Some(id)) if one.id.eq_ignore_ascii_case(&id) => {
            Trace::Activity(one.clone())
        }
        (Some(_), ..) => Trace::Several,
    }
}

fn listed(change: Stage, published: Option<&str>, staged: Option<&str>) -> String {
    let published = match published {
        Some(id) => format!("version {id} is published"),
        None => "nothing is published".to_owned(),
    };
    match (change, staged) {
        (Stage::Load, Some(id)) => {
            format!("{published}; the load replaces the staged version {id}")
        }
        (Stage::Load, None) => format!("{published}; nothing is staged"),
        (Stage::Publish, Some(id)) => {
            format!("{published}; version {id} is staged and is published next")
        }
        _ => published,
    }
}

fn not_there(id: &str, wanted: VersionState, now: Option<&str>) -> String {
    match (wanted, now) {
        (VersionState::Staged, Some(now)) => {
            format!("version {now} is staged now, not {id}: nothing is published")
        }
        (VersionState::Staged, None) => {
            format!("version {id} is not staged any more: nothing is published")
        }
        _ => format!("version {id} is not among the older versions: nothing is rolled back"),
    }
}

fn never_published(id: &str, patience: &str) -> String {
    format!("the service has not listed version {id} as published for {patience}")
}
