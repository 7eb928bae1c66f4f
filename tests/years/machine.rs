//! A machine: a clock, a disk, a folder that outlives its processes, and the processes.

use crate::promises::{Promises, thoroughly};
use crate::world::{Service, World, draw};
use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use nightjar::archive::Archive;
use nightjar::clock::{Clock, Hands};
use nightjar::config::{self, Environment};
use nightjar::engine::{self, Engine, Ticking};
use nightjar::failpoint::{self, Point, Watching};
use nightjar::job::Trigger;
use nightjar::maintenance::{self, Maintenance};
use nightjar::service::ExportService;
use nightjar::settings::Settings;
use nightjar::store::{NewJob, Store, StoreError, lock};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// What a seed simulates.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) days: i64,
    pub(crate) sources: usize,
    pub(crate) trouble: f64,
    /// Deaths in a hundred ticks.
    deaths: f64,
    /// Whether a second process works beside the first.
    two: bool,
    /// Whether the clock jumps.
    pub(crate) clock_jumps: bool,
    /// Whether the disk fills and fails.
    bad_disk: bool,
    /// Whether retention removes much.
    pub(crate) pruning: bool,
    zone: &'static str,
    max_in_process: usize,
    max_jobs_per_day: usize,
    /// The most days that the beginning is shifted by, so that some see the clocks change.
    begin: DateTime<Utc>,
}

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
            two: chance("two") < 0.3,
            clock_jumps: chance("clock") < 0.3,
            bad_disk: chance("disk") < 0.5,
            pruning: chance("pruning") < 0.3,
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
            clock_jumps: false,
            bad_disk: true,
            pruning: false,
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
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { nights, ticks, jobs, deaths, requests, faults, disk_faults } = self;
        write!(
            f,
            "{nights} nights of a source, {jobs} jobs, {ticks} ticks, {requests} requests; {faults} \
             faults of the service, {disk_faults} of the disk, {deaths} deaths"
        )
    }
}

/// What a process's effects meet: a disk that may fail, or the process's death.
#[derive(Debug, Default)]
struct Fate {
    /// After so many more effects the process is dead.
    dies_after: Option<u32>,
    is_dead: bool,
    /// The next effects on the archive that fail.
    failing: u32,
    failures: u64,
}

/// A process.
struct Life {
    runtime: Runtime,
    ticking: Ticking,
    maintenance: Maintenance,
    store: Store,
    archive: Archive,
    _engine: Engine,
}

pub(crate) struct Machine {
    plan: Plan,
    /// Removed when all is over.
    _folder: TempDir,
    settings: Settings,
    service: Service,
    clock: Clock,
    hands: Hands,
    fate: Arc<Mutex<Fate>>,
    died: Arc<Notify>,
    _watching: Watching,
    lives: Vec<Option<Life>>,
    workers: u64,
    ticks: u64,
    deaths: u64,
    promises: Promises,
    /// Since when all goes well, by the machine's clock.
    calm_since: DateTime<Utc>,
}

/// In memory where that can be: what an fsync costs is no matter here.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => TempDir::new_in(memory).unwrap(),
        false => TempDir::new().unwrap(),
    }
}

impl Machine {
    pub(crate) fn new(plan: Plan) -> Machine {
        let folder = folder();
        let settings = settings(&plan, folder.path());
        let begin = plan.begin;
        let mut world = World::new(plan.seed, begin, plan.trouble);
        (world.max_in_process, world.max_jobs_per_day) =
            (plan.max_in_process, plan.max_jobs_per_day);
        let (clock, hands) = Clock::manual(begin);
        let (fate, died) = (Arc::new(Mutex::new(Fate::default())), Arc::new(Notify::new()));
        let service = Service(Arc::new(Mutex::new(world)));
        let watching = {
            let (fate, died, service) = (Arc::clone(&fate), Arc::clone(&died), service.clone());
            failpoint::watch(folder.path(), move |point, path| {
                meet(&fate, &died, &service, point, path)
            })
        };
        Machine {
            promises: Promises::new(&plan),
            lives: (0..if plan.two { 2 } else { 1 }).map(|_| None).collect(),
            plan,
            _folder: folder,
            settings,
            service,
            clock,
            hands,
            fate,
            died,
            _watching: watching,
            workers: 0,
            ticks: 0,
            deaths: 0,
            calm_since: begin,
        }
    }

    /// The whole simulation; what was broken, if anything.
    pub(crate) fn run(mut self) -> (Tally, Vec<String>) {
        let end = self.plan.begin + TimeDelta::days(self.plan.days);
        while self.now() < end && self.promises.hold() {
            self.happen();
            self.turn();
        }
        self.calm_down();
        self.finish()
    }

    fn chance(&self, what: &str) -> f64 {
        draw(self.plan.seed, "chance", what, self.ticks)
    }

    /// True time.
    fn now(&self) -> DateTime<Utc> {
        self.service.world().now
    }

    /// Whatever comes from outside before the next tick.
    fn happen(&mut self) {
        if self.chance("death") * 100.0 < self.plan.deaths {
            let effects = (self.chance("when") * 25.0) as u32;
            self.fate.lock().unwrap().dies_after = Some(effects);
        }
        if self.plan.bad_disk && self.chance("disk") < 0.03 {
            self.fate.lock().unwrap().failing = 1 + (self.chance("how often") * 6.0) as u32;
        }
        if self.plan.clock_jumps && self.chance("jump") < 0.005 {
            let hours = [24, 3, -1, -5, 1][(self.chance("far") * 5.0) as usize];
            self.hands.advance(TimeDelta::hours(hours));
        }
        if self.chance("hand") < 0.05 {
            self.by_hand();
        }
    }

    /// Somebody types `backup --no-wait` or `cancel`.
    fn by_hand(&mut self) {
        let source =
            &self.settings.sources[(self.chance("which") * self.plan.sources as f64) as usize];
        let (name, account) = (source.name.clone(), source.account.clone());
        let (now, cancels) = (self.clock.now(), self.chance("cancel") < 0.5);
        let Some(Some(life)) = self.lives.first() else { return };
        let store = life.store.clone();
        let done = life.runtime.block_on(async {
            let live = store.live_jobs().await?.into_iter().find(|job| job.source == name);
            match live {
                Some(job) if cancels => store.cancel(job.id, now).await.map(drop),
                _ => {
                    let note = "made by hand".to_owned();
                    let new = NewJob { source: name, account, trigger: Trigger::Manual, note };
                    store.job_for(new, now).await.map(drop)
                }
            }
        });
        // Refused by a disk that fails: whoever types it is told.
        drop(done);
    }

    /// One tick of one process, started where there is none, and time until the next.
    fn turn(&mut self) {
        self.ticks += 1;
        let which = self.ticks as usize % self.lives.len();
        if self.lives[which].is_none() {
            self.lives[which] = self.start();
        }
        let Some(life) = &mut self.lives[which] else {
            return self.pass(TimeDelta::seconds(10));
        };
        let Life { runtime, ticking, maintenance, store, archive, .. } = life;
        // The whole history is looked at in the end: none of it may be removed.
        let tasks = [maintenance::RETENTION, maintenance::COPY];
        let settings = &self.settings;
        let (fate, died) = (Arc::clone(&self.fate), Arc::clone(&self.died));
        let looks = self.ticks.is_multiple_of(7);
        let next = runtime.block_on(async {
            tokio::select! {
                biased;
                () = death(&fate, &died) => None,
                ticked = async {
                    ticking.tick().await?;
                    if looks {
                        ticking.look_around().await?;
                        maintenance.run_due(settings, &tasks).await;
                    }
                    ticking.next().await
                } => Some(ticked),
            }
        });
        if self.fate.lock().unwrap().is_dead {
            self.bury(which);
            return self.pass(TimeDelta::seconds(1 + (self.chance("dead for") * 90.0) as i64));
        }
        let checked =
            runtime.block_on(self.promises.check(store, archive, &self.settings, &self.service));
        drop(checked);
        let wait = match next {
            Some(Ok(Some(due))) => {
                (due - self.clock.now()).clamp(TimeDelta::zero(), TimeDelta::hours(2))
            }
            Some(Ok(None)) => TimeDelta::hours(2),
            Some(Err(error)) => {
                self.promises.errors(&error);
                TimeDelta::seconds(5)
            }
            None => TimeDelta::seconds(1),
        };
        // Of two processes the other one may have something to do before that.
        let has_turned = which + 1 == self.lives.len();
        let least = TimeDelta::milliseconds(10);
        self.pass(if has_turned { wait.max(least) } else { least });
    }

    /// Time passes, in whole milliseconds, as clocks tell it.
    fn pass(&mut self, time: TimeDelta) {
        let time = TimeDelta::milliseconds(time.num_milliseconds());
        self.service.world().now += time;
        self.hands.advance(time);
    }

    /// A process begins as a daemon does; `None` when it could not.
    fn start(&mut self) -> Option<Life> {
        self.workers += 1;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let settings = self.settings.clone();
        let archive = Archive::new(&settings.archive_dir, &settings.state_dir);
        let services: BTreeMap<String, Arc<dyn ExportService>> =
            BTreeMap::from([("contoso".to_owned(), Arc::new(self.service.clone()) as _)]);
        let plan = engine::Plan { settings: settings.clone(), services };
        let (clock, workers) = (self.clock.clone(), self.workers);
        let begun = runtime.block_on(async {
            let used = archive.highest_job().map_err(io::Error::other)?;
            let store = Store::open(&settings.state_dir, used).await.map_err(io::Error::other)?;
            let worker = lock::Worker::enrol(&settings.state_dir, workers)?;
            worker.sweep();
            archive.sweep(|name| worker.lives(name))?;
            let quiet = Arc::new(|_: engine::Notice<'_>| {});
            let maintenance = Maintenance::new(store.clone(), archive.clone(), clock.clone());
            let engine = Engine::new(store.clone(), archive.clone(), worker, clock, plan, quiet);
            let ticking = engine.ticking().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((ticking, maintenance, store, engine))
        });
        let is_dead = self.fate.lock().unwrap().is_dead;
        match begun {
            Ok((ticking, maintenance, store, engine)) if !is_dead => {
                Some(Life { runtime, ticking, maintenance, store, archive, _engine: engine })
            }
            _ => {
                runtime.shutdown_background();
                self.revive();
                None
            }
        }
    }

    /// The process is gone, with all that it had not yet done.
    fn bury(&mut self, which: usize) {
        let archive = Archive::new(&self.settings.archive_dir, &self.settings.state_dir);
        self.promises.check_newest(&archive, &self.settings);
        if let Some(life) = self.lives[which].take() {
            let Life { runtime, ticking, maintenance, store, _engine, .. } = life;
            drop((ticking, maintenance, store, _engine));
            runtime.shutdown_background();
        }
        // The fate is the machine's: the other process goes down with it.
        for other in self.lives.iter_mut().filter_map(Option::take) {
            other.runtime.shutdown_background();
        }
        self.revive();
    }

    /// The next process may have effects again.
    fn revive(&mut self) {
        let mut fate = self.fate.lock().unwrap();
        self.deaths += u64::from(fate.is_dead);
        (fate.is_dead, fate.dies_after) = (false, None);
        drop(fate);
        self.service.world().dead = false;
    }

    /// All goes well from now on; then every source has a good snapshot soon.
    fn calm_down(&mut self) {
        self.service.world().trouble = 0.0;
        {
            let mut fate = self.fate.lock().unwrap();
            (fate.dies_after, fate.failing) = (None, 0);
        }
        (self.plan.deaths, self.plan.bad_disk, self.plan.clock_jumps) = (0.0, false, false);
        let begun = self.clock.now();
        // Longer than the longest deadline, the longest wait for quota and the next night.
        let end = self.now() + TimeDelta::days(4);
        while self.now() < end && self.promises.hold() {
            self.turn();
        }
        self.calm_since = begun;
    }

    fn finish(mut self) -> (Tally, Vec<String>) {
        let settings = self.settings.clone();
        if self.promises.hold() && self.lives[0].is_none() {
            self.lives[0] = self.start();
        }
        if self.promises.hold()
            && let Some(Life { runtime, store, archive, .. }) = &mut self.lives[0]
        {
            let checked =
                thoroughly(store, archive, &settings, self.calm_since, &mut self.promises);
            runtime.block_on(checked);
        }
        let world = self.service.world();
        let tally = Tally {
            nights: u64::try_from(self.plan.days).unwrap() * self.plan.sources as u64,
            ticks: self.ticks,
            jobs: self.promises.jobs,
            deaths: self.deaths,
            requests: world.requests,
            faults: world.faults,
            disk_faults: self.fate.lock().unwrap().failures,
        };
        drop(world);
        for life in self.lives.into_iter().flatten() {
            life.runtime.shutdown_background();
        }
        (tally, self.promises.broken)
    }
}

/// Waits for the process's end. An earlier one's may still be heard of.
async fn death(fate: &Mutex<Fate>, died: &Notify) {
    while !fate.lock().unwrap().is_dead {
        died.notified().await;
    }
}

/// What a process meets at a point: nothing, a failing disk, or its end. After its end nothing that
/// it does has an effect.
fn meet(
    fate: &Mutex<Fate>,
    died: &Notify,
    service: &Service,
    point: Point,
    path: &Path,
) -> io::Result<()> {
    let mut fate = fate.lock().unwrap();
    if let Some(left) = &mut fate.dies_after {
        match left.checked_sub(1) {
            Some(fewer) => *left = fewer,
            None => fate.is_dead = true,
        }
    }
    if fate.is_dead {
        drop(fate);
        service.world().dead = true;
        died.notify_one();
        return Err(io::Error::other("the process is dead"));
    }
    let of_disk = !matches!(
        point,
        Point::Submit | Point::Submitted | Point::Polled | Point::Fetch | Point::Settle
    );
    let of_archive = of_disk && !path.to_string_lossy().contains("nightjar.db");
    if of_archive && fate.failing > 0 {
        fate.failing -= 1;
        fate.failures += 1;
        return Err(io::Error::from(io::ErrorKind::StorageFull));
    }
    Ok(())
}

fn settings(plan: &Plan, folder: &Path) -> Settings {
    let keep = if plan.pruning {
        "keep_last = 2\nkeep_daily = 3\nkeep_weekly = 0\nkeep_monthly = 0\nkeep_yearly = 0"
    } else {
        "keep_last = 100000"
    };
    let mut text = format!(
        "state_dir = \"state\"\ntimezone = \"{}\"\n\
         [accounts.contoso]\nkey_env = \"UNUSED\"\nmax_in_process = {}\nmax_jobs_per_day = {}\n\
         [poll]\ninitial = \"2m\"\nmax = \"40m\"\n\
         [retry]\ninitial = \"30s\"\nmax = \"20m\"\nattempts = 4\n\
         [retention]\n{keep}\n",
        plan.zone, plan.max_in_process, plan.max_jobs_per_day
    );
    // The hours in which clocks change, and a schedule that follows elapsed time.
    let schedules = ["30 2 * * *", "0 2 * * *", "15 */8 * * *", "0 0,12 * * *", "59 1 * * *"];
    for number in 0..plan.sources {
        let schedule = if plan.sources > 5 { schedules[1] } else { schedules[number % 5] };
        text.push_str(&format!(
            "[[sources]]\nname = \"s{number}\"\naccount = \"contoso\"\naccess_id = \"a\"\n\
             data_source = \"S{number}\"\nschedule = \"{schedule}\"\n"
        ));
    }
    let environment = Environment::default();
    config::parse(&text, &folder.join("config.toml"), &environment).unwrap()
}

/// Whether an error is one that a full or failing disk, or a dead process, makes.
pub(crate) fn is_excused(error: &StoreError) -> bool {
    error.is_storage() || matches!(error, StoreError::Closed)
}
