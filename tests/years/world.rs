//! The service, with all its moods. What it knows is the truth that the promises are held against.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use nightjar::service::{
    Download, ExportService, Failure, FailureKind, Polled, Progress, Submitted, Target,
};
use nightjar::simulator::Data;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

/// The documents of 1 to 20 entities, with their digests.
pub(crate) static DOCUMENTS: LazyLock<Vec<(Bytes, String)>> = LazyLock::new(|| {
    let document = |count| {
        let document = Data::first_places(count).document();
        let digest = Sha256::digest(&document).iter().map(|byte| format!("{byte:02x}")).collect();
        (document, digest)
    };
    (1..=20).map(document).collect()
});

/// A number in [0, 1) that depends on nothing but these.
pub(crate) fn draw(seed: u64, what: &str, who: &str, nth: u64) -> f64 {
    let digest = Sha256::digest(format!("{seed}/{what}/{who}/{nth}"));
    let bytes: [u8; 8] = digest[..8].try_into().unwrap();
    (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64
}

/// How a remote job goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Good,
    Aborted,
    /// Pending for ever.
    Stuck,
    /// Its status is unknown from the beginning.
    Lost,
    /// Fewer entities than announced.
    Incomplete,
    /// Cut off in the middle.
    Corrupt,
    /// Completed, without a link.
    Linkless,
}

#[derive(Debug, Clone)]
pub(crate) struct Remote {
    pub(crate) source: String,
    pub(crate) started: DateTime<Utc>,
    ends: DateTime<Utc>,
    ending: Ending,
    /// How many entities.
    size: usize,
    polls: u64,
    fetches: u64,
}

/// What a source's requests are counted by.
#[derive(Debug, Default)]
struct Traffic {
    submits: u64,
}

#[derive(Debug)]
pub(crate) struct World {
    seed: u64,
    /// True time; the machine's clock may differ.
    pub(crate) now: DateTime<Utc>,
    /// From 0, when all is well, to 1.
    pub(crate) trouble: f64,
    pub(crate) max_in_process: usize,
    pub(crate) max_jobs_per_day: usize,
    pub(crate) remotes: Vec<Remote>,
    traffic: BTreeMap<String, Traffic>,
    /// How often the service had to refuse because of its limits.
    pub(crate) refusals: u64,
    pub(crate) requests: u64,
    pub(crate) faults: u64,
    /// The process that asks is dead: nothing more is heard of it.
    pub(crate) dead: bool,
}

impl World {
    pub(crate) fn new(seed: u64, now: DateTime<Utc>, trouble: f64) -> World {
        World {
            seed,
            now,
            trouble,
            max_in_process: 10,
            max_jobs_per_day: 50,
            remotes: Vec::new(),
            traffic: BTreeMap::new(),
            refusals: 0,
            requests: 0,
            faults: 0,
            dead: false,
        }
    }

    /// Whether this goes wrong, of so many in a hundred when there is trouble.
    fn fails(&mut self, what: &str, who: &str, nth: u64, percent: f64) -> bool {
        let fails = draw(self.seed, what, who, nth) * 100.0 < percent * self.trouble;
        self.faults += u64::from(fails);
        fails
    }

    /// Some hours of some days nobody is at home.
    fn is_away(&self) -> bool {
        let hour = self.now.timestamp() / 3600;
        let day = hour / 24;
        let begins = (draw(self.seed, "storm", "begin", day as u64) * 24.0) as i64;
        let lasts = (draw(self.seed, "storm", "length", day as u64) * 5.0) as i64;
        let comes = draw(self.seed, "storm", "comes", day as u64) < 0.1 * self.trouble;
        comes && (begins..begins + lasts).contains(&(hour % 24))
    }

    fn reach(&mut self) -> Result<(), Failure> {
        self.requests += 1;
        if self.dead {
            return Err(Failure::new(FailureKind::Lost, "the process is dead"));
        }
        if self.is_away() {
            self.faults += 1;
            return Err(Failure::new(FailureKind::NotSent, "nobody is at home"));
        }
        Ok(())
    }

    /// How many remote jobs are unfinished, and how many were started in the last 24 hours.
    pub(crate) fn used(&self) -> (usize, usize) {
        let unfinished = self.remotes.iter().filter(|it| it.ends > self.now).count();
        let day = self.now - TimeDelta::hours(24);
        (unfinished, self.remotes.iter().rev().take_while(|it| it.started > day).count())
    }

    fn submit(&mut self, source: &str) -> Result<Submitted, Failure> {
        self.reach()?;
        let traffic = self.traffic.entry(source.to_owned()).or_default();
        traffic.submits += 1;
        let nth = traffic.submits;
        let failure = |kind, text: &str| Err(Failure::new(kind, text));
        if self.fails("submit.not_sent", source, nth, 4.0) {
            return failure(FailureKind::NotSent, "no connection");
        }
        if self.fails("submit.busy", source, nth, 4.0) {
            let wait = Some(Duration::from_secs(90));
            return Err(Failure {
                retry_after: wait,
                ..Failure::new(FailureKind::Unavailable, "busy")
            });
        }
        if self.fails("submit.limit", source, nth, 2.0) {
            return failure(FailureKind::Quota, "a limit is reached, says the service");
        }
        for (what, kind) in [
            ("submit.credentials", FailureKind::Credentials),
            ("submit.rejected", FailureKind::Rejected),
            ("submit.unknown", FailureKind::NotFound),
        ] {
            if self.fails(what, source, nth, 0.5) {
                return failure(kind, "no");
            }
        }
        let lost =
            |text: &str| Failure { maybe_started: true, ..Failure::new(FailureKind::Lost, text) };
        if self.fails("submit.unheard", source, nth, 3.0) {
            return Err(lost("the answer was lost; nothing was started"));
        }
        let (unfinished, started) = self.used();
        if unfinished >= self.max_in_process || started >= self.max_jobs_per_day {
            self.refusals += 1;
            return failure(FailureKind::Quota, "the limits of the account are reached");
        }
        let ending = match draw(self.seed, "ending", source, nth) * 100.0 / self.trouble.max(1e-9) {
            0.0..5.0 => Ending::Aborted,
            5.0..8.0 => Ending::Stuck,
            8.0..10.0 => Ending::Lost,
            10.0..13.0 => Ending::Incomplete,
            13.0..16.0 => Ending::Corrupt,
            16.0..17.0 => Ending::Linkless,
            _ => Ending::Good,
        };
        let minutes = 1.0 + draw(self.seed, "takes", source, nth).powi(3) * 300.0;
        let longest = TimeDelta::hours(12) - TimeDelta::seconds(1);
        let takes = match ending {
            Ending::Stuck => longest,
            // Nobody knows it: it holds no place.
            Ending::Lost => TimeDelta::zero(),
            _ => TimeDelta::seconds((minutes * 60.0) as i64),
        };
        // One night in three, something has changed.
        let size = 1 + (draw(self.seed, "size", source, nth / 3) * 19.0) as usize;
        self.remotes.push(Remote {
            source: source.to_owned(),
            started: self.now,
            ends: self.now + takes,
            ending,
            size,
            polls: 0,
            fetches: 0,
        });
        if self.fails("submit.lost", source, nth, 3.0) {
            return Err(lost("the answer was lost; a job was started"));
        }
        let id = (self.remotes.len() - 1).to_string();
        Ok(Submitted { status_url: format!("status/{id}"), remote_id: Some(id), notes: Vec::new() })
    }

    fn poll(&mut self, url: &str) -> Result<Polled, Failure> {
        self.reach()?;
        let number: usize = url.trim_start_matches("status/").parse().unwrap();
        let remote = &mut self.remotes[number];
        remote.polls += 1;
        let (id, nth, is_over) = (number.to_string(), remote.polls, remote.ends <= self.now);
        let (ending, size, started) = (remote.ending, remote.size, remote.started);
        for (what, kind) in [
            ("poll.lost", FailureKind::Lost),
            ("poll.not_sent", FailureKind::NotSent),
            ("poll.busy", FailureKind::Unavailable),
            ("poll.nonsense", FailureKind::Protocol),
        ] {
            if self.fails(what, &id, nth, 2.0) {
                return Err(Failure::new(kind, "the status could not be asked for"));
            }
        }
        let is_young = self.now - started < TimeDelta::minutes(10);
        if ending == Ending::Lost || (is_young && self.fails("poll.early", &id, nth, 20.0)) {
            return Err(Failure::new(FailureKind::NotFound, "no such job"));
        }
        let progress = match (is_over, ending) {
            (false, _) | (_, Ending::Stuck) => Progress::Pending {
                word: "Pending".into(),
                known: !self.fails("poll.word", &id, nth, 2.0),
                retry_after: None,
            },
            (true, Ending::Aborted) => {
                Progress::Aborted { message: "out of luck".into(), error_log_url: None }
            }
            (true, Ending::Linkless) => Progress::Completed { result_url: None, expected: None },
            (true, _) => Progress::Completed {
                result_url: Some(format!("result/{id}")),
                expected: Some(size as u64 + u64::from(ending == Ending::Incomplete)),
            },
        };
        Ok(Polled::ours(progress))
    }

    fn fetch(&mut self, url: &str) -> Result<Download, Failure> {
        self.reach()?;
        let number: usize = url.trim_start_matches("result/").parse().unwrap();
        let remote = &mut self.remotes[number];
        remote.fetches += 1;
        let (id, nth, size, ending) =
            (number.to_string(), remote.fetches, remote.size, remote.ending);
        if self.fails("fetch.busy", &id, nth, 3.0) {
            return Err(Failure::new(FailureKind::Unavailable, "busy"));
        }
        if self.fails("fetch.gone", &id, nth, 1.0) {
            return Err(Failure::new(FailureKind::NotFound, "no such result"));
        }
        let whole = DOCUMENTS[size - 1].0.clone();
        let middle = whole.len() / 2;
        let mut chunks: Vec<Result<Bytes, Failure>> = vec![Ok(whole.slice(..middle))];
        if self.fails("fetch.broken", &id, nth, 5.0) {
            chunks.push(Err(Failure::new(FailureKind::Lost, "the connection broke")));
        } else if ending != Ending::Corrupt {
            chunks.push(Ok(whole.slice(middle..)));
        }
        Ok(Download {
            length: None,
            chunks: stream::iter(chunks).boxed(),
            notes: Vec::new(),
            validator: None,
        })
    }
}

/// The service as the engine asks it.
#[derive(Debug, Clone)]
pub(crate) struct Service(pub(crate) Arc<Mutex<World>>);

impl Service {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }
}

impl ExportService for Service {
    fn submit<'a>(
        &'a self,
        target: &'a Target,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Submitted, Failure>> {
        async { self.world().submit(&target.data_source) }.boxed()
    }

    fn poll<'a>(
        &'a self,
        _: &'a Target,
        _: Option<&'a str>,
        status_url: &'a str,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Polled, Failure>> {
        async { self.world().poll(status_url) }.boxed()
    }

    fn fetch<'a>(
        &'a self,
        _: &'a Target,
        result_url: &'a str,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Download, Failure>> {
        async { self.world().fetch(result_url) }.boxed()
    }

    fn error_log<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<String, Failure>> {
        async { Ok("why it was aborted".to_owned()) }.boxed()
    }

    fn try_key<'a>(
        &'a self,
        _: &'a Target,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        async { Ok(()) }.boxed()
    }
}
