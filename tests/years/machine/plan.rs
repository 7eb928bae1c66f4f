//! What a seed simulates, and what happened in it.

use crate::world::draw;
use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use std::fmt;

/// How far the wall clock is set at times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Jumps {
    Never,
    /// By hours.
    Hours,
    /// By anything from minutes to a year, either way, in the middle of requests too.
    Far,
}

/// What a seed simulates.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) days: i64,
    pub(crate) sources: usize,
    pub(crate) trouble: f64,
    /// Deaths in a hundred ticks.
    pub(super) deaths: f64,
    /// Whether a second process works beside the first.
    pub(super) two: bool,
    /// Whether processes are stopped in the middle of a request, and go on hours later.
    pub(super) stops: bool,
    /// How far the wall clock is set.
    pub(crate) jumps: Jumps,
    /// Whether the disk fills and fails.
    pub(super) bad_disk: bool,
    /// What retention keeps, if it is not everything.
    pub(crate) pruning: Option<&'static str>,
    /// Whether sources have versions, and users restore.
    pub(super) restores: bool,
    /// Whether the machine is off every night while maintenance is due.
    pub(super) is_off_at_four: bool,
    pub(super) zone: &'static str,
    pub(super) max_in_process: usize,
    pub(super) max_jobs_per_day: usize,
    /// The first instant: another one for each seed, so that some see the clocks change.
    pub(super) begin: DateTime<Utc>,
}

/// Policies that remove much in a week or two.
const POLICIES: [&str; 4] = [
    "keep_last = 2\nkeep_daily = 3\nkeep_weekly = 0\nkeep_monthly = 0\nkeep_yearly = 0",
    "keep_last = 1\nkeep_daily = 0\nkeep_weekly = 0\nkeep_monthly = 0\nkeep_yearly = 0",
    "keep_last = 0\nkeep_daily = 2\nkeep_weekly = 2\nkeep_monthly = 1\nkeep_yearly = 0",
    "keep_last = 3\nkeep_daily = 0\nkeep_weekly = 1\nkeep_monthly = 3\nkeep_yearly = 2",
];

impl Plan {
    /// Each seed another mixture.
    pub(crate) fn of_seed(seed: u64) -> Plan {
        let chance = |what: &str| draw(seed, "plan", what, 0);
        let zones = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"];
        let begin = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap();
        Plan {
            seed,
            days: 8,
            sources: 1 + (chance("sources") * 4.0) as usize,
            trouble: chance("trouble"),
            deaths: if chance("dies") < 0.7 { chance("deaths") * 12.0 } else { 0.0 },
            two: chance("two") < 0.4,
            stops: chance("stops") < 0.5,
            jumps: match chance("clock") {
                0.0..0.2 => Jumps::Hours,
                0.2..0.5 => Jumps::Far,
                _ => Jumps::Never,
            },
            bad_disk: chance("disk") < 0.5,
            pruning: (chance("pruning") < 0.5).then(|| POLICIES[(chance("policy") * 4.0) as usize]),
            restores: chance("restores") < 0.5,
            is_off_at_four: chance("off") < 0.2,
            zone: zones[(chance("zone") * zones.len() as f64) as usize],
            max_in_process: 1 + (chance("in_process") * 5.0) as usize,
            max_jobs_per_day: 4 + (chance("per_day") * 20.0) as usize,
            begin: begin + TimeDelta::days((chance("begin") * 365.0) as i64),
        }
    }

    /// Many sources for many days.
    pub(crate) fn large(seed: u64, days: i64) -> Plan {
        Plan {
            days,
            sources: 25,
            trouble: 0.5,
            deaths: 0.5,
            two: false,
            stops: false,
            jumps: Jumps::Never,
            bad_disk: true,
            pruning: None,
            restores: true,
            is_off_at_four: false,
            max_in_process: 10,
            max_jobs_per_day: 50,
            ..Plan::of_seed(seed)
        }
    }
}

/// What happened in a campaign.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) nights: u64,
    pub(crate) ticks: u64,
    pub(crate) jobs: u64,
    pub(crate) deaths: u64,
    pub(crate) requests: u64,
    pub(crate) faults: u64,
    pub(crate) disk_faults: u64,
    pub(crate) stops: u64,
    pub(crate) jumps: u64,
    pub(crate) pruned: u64,
    /// Loads, publications and rollbacks.
    pub(crate) changes: u64,
    /// Restores that ended well.
    pub(crate) restored: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.nights += other.nights;
        self.ticks += other.ticks;
        self.jobs += other.jobs;
        self.deaths += other.deaths;
        self.requests += other.requests;
        self.faults += other.faults;
        self.disk_faults += other.disk_faults;
        self.stops += other.stops;
        self.jumps += other.jumps;
        self.pruned += other.pruned;
        self.changes += other.changes;
        self.restored += other.restored;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { nights, ticks, jobs, deaths, requests, faults, disk_faults, .. } = self;
        let Tally { stops, jumps, pruned, changes, restored, .. } = self;
        write!(
            f,
            "{nights} nights of a source, {jobs} jobs, {ticks} ticks, {requests} requests; {faults} \
             faults of the service, {disk_faults} of the disk; {deaths} deaths, {stops} stops, \
             {jumps} jumps of the clock; {pruned} snapshots pruned; {changes} loads, publications \
             and rollbacks, {restored} restores that ended well"
        )
    }
}
