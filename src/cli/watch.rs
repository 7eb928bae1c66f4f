//! Showing how jobs come along: bars on a terminal, lines elsewhere. What is shown is what the
//! store says, so that a job which another process works on is shown just the same.

use crate::engine::{Notice, Observer};
use crate::job::{Job, State};
use crate::store::{Store, StoreError, TimelineEvent};
use chrono::{DateTime, Utc};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often the store is asked.
const REFRESH: Duration = Duration::from_millis(500);
/// Events that a bar shows well enough by itself.
const SHOWN_BY_BAR: [&str; 4] = ["queued", "submitted", "completed", "archived"];

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
        bar.set_prefix(format!("{} (job {})", job.source, job.id));
        self.shown().insert(job.id, Shown { bar, events: 0, receiving: false });
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
        let news = timeline.get(shown.events..).unwrap_or_default();
        shown.events = timeline.len();
        for event in news {
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
            shown.bar.set_message(sentence(job, now));
            shown.bar.tick();
        }
        if job.state.is_final() {
            shown.bar.finish();
        }
    }

    fn say(&self, job: &Job, event: &TimelineEvent) {
        let line = format!("{} (job {}): {}", job.source, job.id, event.message);
        match &self.bars {
            Some(_) if SHOWN_BY_BAR.contains(&event.kind.as_str()) => {}
            Some(bars) => drop(bars.println(line)),
            None => eprintln!("{line}"),
        }
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<i64, Shown>> {
        lock(&self.shown)
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
    match job.state {
        State::Queued => "queued".to_owned(),
        State::Waiting => format!("the service is working ({polls}{next})"),
        State::Ready => "the export is ready".to_owned(),
        State::Archived => format!("archived after {polls}"),
        State::Failed => "failed".to_owned(),
        State::Cancelled => "cancelled".to_owned(),
    }
}
