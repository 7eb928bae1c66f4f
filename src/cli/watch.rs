//! Showing how jobs come along: bars on a terminal, lines elsewhere. What is shown is what the
//! store says, so that a job which another process works on is shown just the same.

use super::output;
use crate::engine::{Notice, Observer};
use crate::job::{EventKind, Job, Stage, State};
use crate::printable::one_line;
use crate::store::{Store, StoreError, TimelineEvent};
use chrono::{DateTime, TimeDelta, Utc};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often the store is asked.
const REFRESH: Duration = Duration::from_millis(500);
/// How often a wait that goes on for the same reason is said again.
const REPEAT: TimeDelta = TimeDelta::minutes(1);
/// Events that a bar shows well enough by itself.
const SHOWN_BY_BAR: [EventKind; 4] =
    [EventKind::Queued, EventKind::Submitted, EventKind::Completed, EventKind::Archived];

/// Shows jobs.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    store: Store,
    bars: Option<MultiProgress>,
    shown: Arc<Mutex<BTreeMap<i64, Shown>>>,
}

#[derive(Debug)]
struct Shown {
    bar: ProgressBar,
    events: usize,
    /// The newest event's count when it was last said, and when that was.
    said: (u32, DateTime<Utc>),
    receiving: bool,
}

impl Watch {
    pub(super) fn new(store: Store) -> Watch {
        let bars = stderr().is_terminal().then(MultiProgress::new);
        Watch { store, bars, shown: Arc::default() }
    }

    /// Begins to show a job.
    pub(super) fn add(&self, job: &Job) {
        let bar = match &self.bars {
            Some(bars) => bars.add(ProgressBar::new_spinner()),
            None => ProgressBar::hidden(),
        };
        bar.set_prefix(one_line(&format!("{} (job {})", job.source, job.id)).into_owned());
        self.shown().insert(
            job.id,
            Shown { bar, events: 0, said: (0, DateTime::UNIX_EPOCH), receiving: false },
        );
    }

    /// Shows the bytes of the downloads that this process does itself.
    pub(super) fn observer(&self) -> Observer {
        let shown = Arc::clone(&self.shown);
        Arc::new(move |notice| {
            if let Notice::Receiving { job, bytes, length } = notice
                && let Some(shown) = lock(&shown).get_mut(&job)
            {
                if !shown.receiving {
                    shown.receiving = true;
                    shown.bar.set_style(receiving(length));
                    shown.bar.set_length(length.unwrap_or(0));
                }
                shown.bar.set_position(bytes);
            }
        })
    }

    /// Shows changes until it is dropped.
    pub(super) async fn keep_showing(&self, now: impl Fn() -> DateTime<Utc>) {
        let mut beat = tokio::time::interval(REFRESH);
        loop {
            beat.tick().await;
            if let Err(error) = self.refresh(now()).await {
                tracing::warn!(%error, "cannot read the progress");
            }
        }
    }

    /// Shows what has changed.
    pub(super) async fn refresh(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let ids: Vec<i64> = self.shown().keys().copied().collect();
        for id in ids {
            let timeline = self.store.timeline(id).await?;
            if let Some(job) = self.store.job(id).await? {
                self.show(&job, &timeline, now);
            }
        }
        Ok(())
    }

    fn show(&self, job: &Job, timeline: &[TimelineEvent], now: DateTime<Utc>) {
        let mut all = self.shown();
        let Some(shown) = all.get_mut(&job.id) else { return };
        let new_events = to_say(timeline, shown.events, shown.said, now);
        shown.events = timeline.len();
        for event in new_events {
            shown.said = (event.count, now);
            self.say(job, event);
        }
        if shown.bar.is_finished() {
            return;
        }
        if job.state != State::Ready {
            shown.receiving = false;
        }
        if !shown.receiving {
            shown.bar.set_style(waiting());
            shown.bar.set_message(one_line(&sentence(job, now)).into_owned());
            shown.bar.tick();
        }
        if job.state.is_final() {
            shown.bar.finish();
        }
    }

    fn say(&self, job: &Job, event: &TimelineEvent) {
        let line = format!("{} (job {}): {}", job.source, job.id, event.message);
        match &self.bars {
            Some(_) if SHOWN_BY_BAR.iter().any(|kind| kind.as_str() == event.kind) => {}
            Some(bars) => drop(bars.println(one_line(&line))),
            None => output::note(line),
        }
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<i64, Shown>> {
        lock(&self.shown)
    }
}

/// The events of a timeline that are to be said, where so many were said before, the last one at
/// this instant and with this count. What happens again for the same reason counts on in one event:
/// that one is said again, but not too often.
fn to_say(
    timeline: &[TimelineEvent],
    events: usize,
    (count, at): (u32, DateTime<Utc>),
    now: DateTime<Utc>,
) -> &[TimelineEvent] {
    let new_events = timeline.get(events..).unwrap_or_default();
    let Some(last) = timeline.get(..events).and_then(|old| old.last()) else { return new_events };
    let is_repeated = last.count > count && (now - at >= REPEAT || now < at);
    match (new_events, is_repeated) {
        ([], true) => timeline.get(events.saturating_sub(1)..).unwrap_or_default(),
        (new_events, _) => new_events,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn waiting() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix}: {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn receiving(length: Option<u64>) -> ProgressStyle {
    let template = match length {
        Some(_) => "{spinner} {prefix}: {bar:30} {bytes} of {total_bytes}, {bytes_per_sec}",
        None => "{spinner} {prefix}: {bytes} received, {bytes_per_sec}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// What a job is doing now.
fn sentence(job: &Job, now: DateTime<Utc>) -> String {
    let next = (job.due_at - now).num_seconds();
    let next = if next > 0 { format!(", next poll in {next} s") } else { String::new() };
    if let Some(wait) = &job.waiting {
        return format!("{}{next}", wait.message);
    }
    let polls = match job.polls {
        1 => "1 poll".to_owned(),
        polls => format!("{polls} polls"),
    };
    if let Some(restore) = job.restore.as_ref().filter(|_| !job.state.is_final()) {
        return format!("{} ({polls}{next})", doing(restore.stage));
    }
    match job.state {
        State::Queued => "queued".to_owned(),
        State::Waiting => format!("the service is working ({polls}{next})"),
        State::Ready => "the export is ready".to_owned(),
        State::Archived => format!("archived after {polls}"),
        State::Failed => "failed".to_owned(),
        State::Cancelled => "cancelled".to_owned(),
    }
}

/// What a restore is doing in a stage.
fn doing(stage: Stage) -> &'static str {
    match stage {
        Stage::Backup => "backing up",
        Stage::Check => "reading the snapshot",
        Stage::Safety => "backing up what is published",
        Stage::BeforeLoad => "looking at what the service has",
        Stage::Load => "loading",
        Stage::Verify => "comparing the staged version",
        Stage::BeforePublish | Stage::BeforeRollBack => "looking at what is published",
        Stage::Publish => "publishing",
        Stage::RollBack => "rolling back",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn event(kind: &str, count: u32) -> TimelineEvent {
        TimelineEvent {
            at: at(0),
            kind: kind.to_owned(),
            message: format!("{kind} {count}"),
            count,
            last_at: at(0),
        }
    }

    #[test]
    fn a_wait_that_goes_on_is_said_again_once_a_minute() {
        let said = |timeline: &[TimelineEvent], events, said, now| -> Vec<String> {
            let new_events = to_say(timeline, events, said, at(now));
            new_events.iter().map(|event| event.message.clone()).collect()
        };
        let two = [event("queued", 1), event("retry", 1)];
        assert_eq!(said(&two, 0, (0, at(0)), 0), ["queued 1", "retry 1"]);
        assert_eq!(said(&two, 1, (1, at(0)), 0), ["retry 1"]);
        assert_eq!(said(&two, 2, (1, at(0)), 600), Vec::<String>::new(), "nothing has happened");
        let again = [event("queued", 1), event("retry", 7)];
        assert_eq!(said(&again, 2, (1, at(0)), 59), Vec::<String>::new());
        assert_eq!(said(&again, 2, (1, at(0)), 60), ["retry 7"]);
        assert_eq!(said(&again, 2, (7, at(60)), 600), Vec::<String>::new());
        // The clock was set back.
        assert_eq!(said(&again, 2, (1, at(9000)), 60), ["retry 7"]);
        let more = [event("queued", 1), event("retry", 8), event("submitted", 1)];
        assert_eq!(said(&more, 2, (7, at(60)), 90), ["submitted 1"]);
        assert_eq!(said(&[], 0, (0, at(0)), 0), Vec::<String>::new());
    }
}
