//! The simulated service with its faults. Its state is the truth that the promises are checked
//! against.

use crate::documents::{Document, Oddity, document};
use crate::versions::Changes;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt as _, stream};
use nightjar::clock::MockClock;
use nightjar::service::{Download, Failure, FailureKind, OtherJob, Polled, Progress, Submitted};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// A result up to this much older than the submission is accepted (clocks differ), with a margin.
const TOLERANCE: TimeDelta = TimeDelta::minutes(6);

/// A number in [0, 1) that depends only on the arguments.
pub(crate) fn draw(seed: u64, what: &str, who: &str, nth: u64) -> f64 {
    let digest = Sha256::digest(format!("{seed}/{what}/{who}/{nth}"));
    let bytes: [u8; 8] = digest[..8].try_into().unwrap();
    (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The course of a remote job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
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
    pub(crate) ends: DateTime<Utc>,
    pub(crate) ending: Ending,
    document: &'static Document,
    polls: u64,
    fetches: u64,
}

/// Counters of a source's requests.
#[derive(Debug, Default)]
struct Traffic {
    submits: u64,
    /// When a submission was last refused with a request to repeat it at once.
    refused: Option<DateTime<Utc>>,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
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
    /// The process that sends requests is dead: it makes no further requests.
    pub(crate) dead: bool,
    /// The machine's wall clock, and how far it is set during the next request.
    pub(crate) mock: Option<MockClock>,
    /// Whether that clock is set wrong at times: then instants are unreliable.
    pub(crate) is_clock_wrong: bool,
    pub(crate) jump: Option<TimeDelta>,
    /// Which submissions were answered, to which worker, since it last could store the answers.
    pub(crate) answered: Vec<(u64, usize)>,
    /// How often a result was fetched that is older than its submission.
    pub(crate) stale: u64,
    /// How often a refused submission was repeated within seconds.
    pub(crate) hasty: u64,
    /// The source of each remote job that counts as an attempt of one of ours, in order.
    pub(crate) started: Vec<String>,
    /// The versions of the sources, and the jobs that change them.
    pub(crate) changes: Changes,
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
            mock: None,
            is_clock_wrong: false,
            jump: None,
            answered: Vec::new(),
            stale: 0,
            hasty: 0,
            started: Vec::new(),
            changes: Changes::default(),
        }
    }

    /// Whether this goes wrong, with this probability in percent when there is trouble.
    pub(crate) fn fails(&mut self, what: &str, who: &str, nth: u64, percent: f64) -> bool {
        let fails = draw(self.seed, what, who, nth) * 100.0 < percent * self.trouble;
        self.faults += u64::from(fails);
        fails
    }

    /// Some hours of some days: this percentage of days when there is trouble.
    pub(crate) fn is_hour_of(&self, what: &str, percent: f64) -> bool {
        let hour = self.now.timestamp() / 3600;
        let day = hour / 24;
        let begins = (draw(self.seed, what, "begin", day as u64) * 24.0) as i64;
        let lasts = (draw(self.seed, what, "length", day as u64) * 5.0) as i64;
        let comes = draw(self.seed, what, "comes", day as u64) * 100.0 < percent * self.trouble;
        comes && (begins..begins + lasts).contains(&(hour % 24))
    }

    pub(crate) fn reach(&mut self) -> Result<(), Failure> {
        self.requests += 1;
        if let (Some(mock), Some(jump)) = (&self.mock, self.jump.take()) {
            mock.jump(jump);
        }
        if self.dead {
            return Err(Failure::new(FailureKind::Lost, "the process is dead"));
        }
        // The service is unreachable.
        if self.is_hour_of("storm", 10.0) {
            self.faults += 1;
            return Err(Failure::new(FailureKind::NotSent, "the service is unreachable"));
        }
        Ok(())
    }

    /// How many remote jobs are unfinished, and how many were started in the last 24 hours.
    pub(crate) fn used(&self) -> (usize, usize) {
        let unfinished = self.remotes.iter().filter(|it| it.ends > self.now).count();
        let day = self.now - TimeDelta::hours(24);
        let started = self.remotes.iter().rev().take_while(|it| it.started > day).count();
        let (changing, changed) = self.changes.used(self.now, day);
        (unfinished + changing, started + changed)
    }

    /// Refuses what the account's limits do not allow.
    pub(crate) fn within_limits(&mut self) -> Result<(), Failure> {
        let (unfinished, started) = self.used();
        if unfinished >= self.max_in_process || started >= self.max_jobs_per_day {
            self.refusals += 1;
            let text = "the limits of the account are reached";
            return Err(Failure::new(FailureKind::Quota, text));
        }
        Ok(())
    }

    /// As services say it: at once, in a while, or tomorrow.
    pub(crate) fn retry_after(&self, what: &str, who: &str, nth: u64) -> Duration {
        let waits = [0, 0, 90, 18_000];
        Duration::from_secs(waits[(draw(self.seed, what, who, nth) * 4.0) as usize])
    }

    pub(crate) fn submit(
        &mut self,
        source: &str,
        version: Option<&str>,
    ) -> Result<Submitted, Failure> {
        self.reach()?;
        let traffic = self.traffic.entry(source.to_owned()).or_default();
        traffic.submits += 1;
        let nth = traffic.submits;
        let failure = |kind, text: &str| Err(Failure::new(kind, text));
        if self.fails("submit.not_sent", source, nth, 4.0) {
            return failure(FailureKind::NotSent, "no connection");
        }
        if self.fails("submit.busy", source, nth, 4.0) {
            let wait = Some(self.retry_after("submit.wait", source, nth));
            return Err(Failure {
                retry_after: wait,
                ..Failure::new(FailureKind::Unavailable, "busy")
            });
        }
        // Refused, for an unknown limit, and again "at once".
        if self.is_hour_of("strict", 10.0) {
            self.faults += 1;
            let traffic = self.traffic.entry(source.to_owned()).or_default();
            let is_hasty = traffic.refused.is_some_and(|at| self.now - at < TimeDelta::seconds(20));
            traffic.refused = Some(self.now);
            self.hasty += u64::from(is_hasty);
            return Err(Failure {
                retry_after: Some(Duration::ZERO),
                ..Failure::new(FailureKind::Quota, "a limit is reached, says the service")
            });
        }
        if self.fails("submit.limit", source, nth, 2.0) {
            return Err(Failure {
                retry_after: Some(self.retry_after("submit.limit wait", source, nth)),
                ..Failure::new(FailureKind::Quota, "a limit is reached, says the service")
            });
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
        self.within_limits()?;
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
            // The service does not know it: it uses no quota.
            Ending::Lost => TimeDelta::zero(),
            _ => TimeDelta::seconds((minutes * 60.0) as i64),
        };
        // In one night of three, the data has changed.
        let size = 1 + (draw(self.seed, "size", source, nth / 3) * 19.0) as usize;
        let oddity = match draw(self.seed, "oddity", source, nth) * 100.0 / self.trouble.max(1e-9) {
            0.0..8.0 => Oddity::Unreadable,
            8.0..16.0 => Oddity::Unproven,
            _ => Oddity::None,
        };
        let document = self.exported(source, version, nth / 3, document(size, oddity))?;
        self.started.push(source.to_owned());
        self.remotes.push(Remote {
            document,
            source: source.to_owned(),
            started: self.now,
            ends: self.now + takes,
            ending,
            polls: 0,
            fetches: 0,
        });
        if self.fails("submit.lost", source, nth, 3.0) {
            return Err(lost("the answer was lost; a job was started"));
        }
        let id = (self.remotes.len() - 1).to_string();
        Ok(Submitted { status_url: format!("status/{id}"), remote_id: Some(id), notes: Vec::new() })
    }

    pub(crate) fn poll(&mut self, url: &str) -> Result<Polled, Failure> {
        self.reach()?;
        let number: usize = url.trim_start_matches("status/").parse().unwrap();
        let remote = &mut self.remotes[number];
        remote.polls += 1;
        let (id, nth, is_over) = (number.to_string(), remote.polls, remote.ends <= self.now);
        let (ending, size, started) = (remote.ending, remote.document.entities, remote.started);
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
                retry_after: if draw(self.seed, "poll.at once", &id, 0) < 0.1 {
                    Some(Duration::ZERO)
                } else {
                    (draw(self.seed, "poll.wait", &id, nth) < 0.1)
                        .then(|| self.retry_after("poll.how long", &id, nth))
                },
            },
            (true, Ending::Aborted) => {
                Progress::Aborted { message: "out of luck".into(), error_log_url: None }
            }
            (true, Ending::Linkless) => Progress::Completed { result_url: None, expected: None },
            (true, _) => Progress::Completed {
                result_url: Some(format!("result/{id}")),
                expected: Some(size + u64::from(ending == Ending::Incomplete)),
            },
        };
        if !self.is_clock_wrong && self.fails("poll.other", &id, nth, 4.0) {
            return Ok(self.of_another(number, nth, progress));
        }
        Ok(Polled::ours(progress))
    }

    /// An answer about another job than the requested one: an unrelated earlier one, or the same
    /// under another name.
    fn of_another(&mut self, number: usize, nth: u64, progress: Progress) -> Polled {
        let remote = &self.remotes[number];
        let (source, started) = (remote.source.clone(), remote.started);
        let mut before = self.remotes.iter().take(number).enumerate();
        let old = before.rfind(|(_, it)| it.source == source && it.ending == Ending::Good);
        let (id, created_at, progress) = match old {
            Some((old, it)) if nth.is_multiple_of(2) && it.started < started - TOLERANCE => {
                let result_url = Some(format!("result/{old}?stale"));
                let expected = Some(it.document.entities);
                (old.to_string(), it.started, Progress::Completed { result_url, expected })
            }
            _ => (format!("{number}-as-well"), started, progress),
        };
        let other = Some(OtherJob { id, created_at: Some(created_at) });
        Polled { progress, other, notes: Vec::new() }
    }

    pub(crate) fn fetch(&mut self, url: &str) -> Result<Download, Failure> {
        self.reach()?;
        self.stale += u64::from(url.ends_with("?stale"));
        let number = url.trim_start_matches("result/").trim_end_matches("?stale");
        let number: usize = number.parse().unwrap();
        let remote = &mut self.remotes[number];
        remote.fetches += 1;
        let (id, nth, ending) = (number.to_string(), remote.fetches, remote.ending);
        let whole = remote.document.bytes.clone();
        if self.fails("fetch.busy", &id, nth, 3.0) {
            return Err(Failure::new(FailureKind::Unavailable, "busy"));
        }
        if self.fails("fetch.gone", &id, nth, 1.0) {
            return Err(Failure::new(FailureKind::NotFound, "no such result"));
        }
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
