//! A machine: a clock, a disk, a folder that outlives its processes, and the processes.

mod plan;
mod restoring;

pub(crate) use self::plan::{Jumps, Plan, Tally};

use crate::maintenance::is_off;
use crate::promises::{Promises, thoroughly};
use crate::service::{Pause, Service};
use crate::world::{World, draw};
use chrono::{DateTime, TimeDelta, Utc};
use nightjar::archive::Archive;
use nightjar::clock::{Clock, MockClock};
use nightjar::config::{self, Environment};
use nightjar::engine::{self, Engine, Ticking};
use nightjar::failpoint::{self, Point, Watching};
use nightjar::job::Trigger;
use nightjar::maintenance::{self, Maintenance, Task};
use nightjar::service::ExportService;
use nightjar::settings::Settings;
use nightjar::store::{NewJob, Store, StoreError, lock};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// What a process's effects meet: a disk that may fail, or the process's death.
#[derive(Debug, Default)]
struct Faults {
    /// After so many more effects the process is dead.
    dies_after: Option<u32>,
    is_dead: bool,
    /// The next effects on the archive that fail.
    failing: u32,
    failures: u64,
}

/// What of a daemon works: its engine, and its maintenance beside that.
struct Daemon {
    ticking: Ticking,
    maintenance: Maintenance,
}

/// A tick under way, which gives its daemon back.
type Work = Pin<Box<dyn Future<Output = (Daemon, Result<Option<DateTime<Utc>>, StoreError>)>>>;

/// A process. It is either at rest or at work.
struct Process {
    runtime: Runtime,
    /// At rest.
    daemon: Option<Daemon>,
    /// At work, and stopped.
    stopped: Option<Stopped>,
    worker: String,
    number: u64,
    pause: Arc<Pause>,
    store: Store,
    archive: Archive,
    _engine: Engine,
}

struct Stopped {
    work: Work,
    /// What it holds.
    jobs: Vec<i64>,
    /// True time.
    until: DateTime<Utc>,
}

/// How a turn of a process ended.
enum TickResult {
    Died,
    /// In the middle of a request.
    Stopped(Work),
    Done(Result<Option<DateTime<Utc>>, StoreError>),
}

pub(crate) struct Machine {
    plan: Plan,
    /// Removed when all is over.
    _folder: TempDir,
    settings: Settings,
    service: Service,
    clock: Clock,
    mock: MockClock,
    faults: Arc<Mutex<Faults>>,
    died: Arc<Notify>,
    _watching: Watching,
    processes: Vec<Option<Process>>,
    workers: u64,
    ticks: u64,
    deaths: u64,
    stops: u64,
    jumps: u64,
    /// Whether nothing goes wrong any more.
    is_calm: bool,
    /// When a process last looked for what no sign tells of, by true time.
    looked: DateTime<Utc>,
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
        let (clock, mock) = Clock::manual(begin);
        world.mock = Some(mock.clone());
        world.changes.has_versions = plan.restores;
        world.is_clock_wrong = plan.jumps != Jumps::Never;
        let (faults, died) = (Arc::new(Mutex::new(Faults::default())), Arc::new(Notify::new()));
        let world = Arc::new(Mutex::new(world));
        let service = Service { world, pause: Arc::default(), worker: 0 };
        let watching = {
            let (faults, died, service) = (Arc::clone(&faults), Arc::clone(&died), service.clone());
            failpoint::watch(folder.path(), move |point, path| {
                meet(&faults, &died, &service, point, path)
            })
        };
        Machine {
            promises: Promises::new(&plan),
            processes: (0..if plan.two { 2 } else { 1 }).map(|_| None).collect(),
            plan,
            _folder: folder,
            settings,
            service,
            clock,
            mock,
            faults,
            died,
            _watching: watching,
            workers: 0,
            ticks: 0,
            deaths: 0,
            stops: 0,
            jumps: 0,
            is_calm: false,
            looked: begin,
            calm_since: begin,
        }
    }

    /// The whole simulation; what was broken, if anything.
    pub(crate) fn run(mut self) -> (Tally, Vec<String>) {
        let end = self.plan.begin + TimeDelta::days(self.plan.days);
        while self.now() < end && self.promises.hold() {
            self.happen();
            match self.plan.pruning.is_some() && self.chance("verify") < 0.01 {
                true => self.verify_beside(),
                false => self.turn(),
            }
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
            self.faults.lock().unwrap().dies_after = Some(effects);
        }
        if self.plan.bad_disk && self.chance("disk") < 0.03 {
            self.faults.lock().unwrap().failing = 1 + (self.chance("how often") * 6.0) as u32;
        }
        let rate = if self.plan.jumps == Jumps::Far { 0.02 } else { 0.005 };
        if self.chance("jump") < rate {
            self.set_clock();
        }
        if self.plan.stops && self.chance("stop") < 0.02 {
            let which = (self.chance("which stops") * self.processes.len() as f64) as usize;
            let is_any_stopped = self.processes.iter().flatten().any(|it| it.stopped.is_some());
            if let Some(process) = &self.processes[which]
                && !is_any_stopped
            {
                process.pause.close();
            }
        }
        if self.chance("hand") < 0.05 {
            self.by_hand();
        }
        if self.plan.restores && self.chance("restore") < 0.1 {
            self.restore_by_hand();
        }
        if self.chance("cancel in the middle") < 0.25 {
            self.cancel_in_the_middle();
        }
    }

    /// Sets the wall clock, between two steps or in the middle of the next request.
    fn set_clock(&mut self) {
        let far = self.chance("far");
        let by = match self.plan.jumps {
            Jumps::Never => return,
            Jumps::Hours => TimeDelta::hours([24, 3, -1, -5, 1][(far * 5.0) as usize]),
            Jumps::Far => {
                // From a minute to a year.
                let minutes = 1.0 * (525_600.0_f64).powf(self.chance("how far"));
                TimeDelta::seconds((minutes * 60.0) as i64) * if far < 0.5 { 1 } else { -1 }
            }
        };
        self.jumps += 1;
        match self.plan.jumps == Jumps::Far && self.chance("within") < 0.7 {
            true => self.service.world().jump = Some(by),
            false => self.mock.jump(by),
        }
    }

    /// A user runs `backup --no-wait` or `cancel`.
    fn by_hand(&mut self) {
        let source =
            &self.settings.sources[(self.chance("which") * self.plan.sources as f64) as usize];
        let (name, account) = (source.name.clone(), source.account.clone());
        let (now, cancels) = (self.clock.now(), self.chance("cancel") < 0.5);
        let Some(process) = self.processes.iter().flatten().find(|it| it.stopped.is_none()) else {
            return;
        };
        let store = process.store.clone();
        let done = process.runtime.block_on(async {
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
        // Refused by a disk that fails: the command reports it.
        drop(done);
    }

    /// A user cancels a job while the process that works on it is stopped in the middle of that.
    fn cancel_in_the_middle(&mut self) {
        let stopped = self.processes.iter().flatten().find_map(|it| it.stopped.as_ref());
        let Some(job) = stopped.and_then(|stopped| stopped.jobs.first().copied()) else { return };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let cancelled = runtime.block_on(async {
            let store = Store::open(&self.settings.state_dir, 0).await?;
            let cancelled = store.cancel(job, self.clock.now()).await;
            store.close().await;
            cancelled
        });
        // Refused by a disk that fails: the command reports it.
        drop(cancelled);
    }

    /// One tick of one process, started where there is none, and time until the next.
    fn turn(&mut self) {
        self.ticks += 1;
        if self.plan.is_off_at_four && is_off(self.clock.now(), self.settings.timezone) {
            (0..self.processes.len()).for_each(|which| self.end(which));
            return self.pass(TimeDelta::minutes(20));
        }
        let mut which = self.ticks as usize % self.processes.len();
        if let Some(wakes) = self.wakes(which) {
            which = (which + 1) % self.processes.len();
            if self.wakes(which).is_some() {
                return self.pass(wakes - self.now());
            }
        }
        if self.processes[which].is_none() {
            self.processes[which] = self.start();
        }
        if self.processes[which].is_none() {
            return self.pass(TimeDelta::seconds(10));
        }
        let (jumps, looks_at) = (self.mock.now() - self.now(), self.now());
        let turned = self.work(which);
        let next = match turned {
            TickResult::Died => {
                self.reap();
                return self.pass(TimeDelta::seconds(1 + (self.chance("dead for") * 90.0) as i64));
            }
            TickResult::Stopped(work) => {
                self.stop(which, work);
                return self.pass(TimeDelta::milliseconds(10));
            }
            TickResult::Done(next) => next,
        };
        let is_set = jumps != self.mock.now() - self.now();
        self.check(which, next.is_ok() && !is_set && self.looked == looks_at);
        let longest = if self.is_calm { TimeDelta::hours(1) } else { TimeDelta::hours(2) };
        let wait = match next {
            Ok(Some(due)) => (due - self.clock.now()).clamp(TimeDelta::zero(), longest),
            Ok(None) => longest,
            Err(error) => {
                self.promises.errors(&error);
                TimeDelta::seconds(5)
            }
        };
        // Of two processes the other one may have something to do before that.
        let wakes = (0..self.processes.len()).find_map(|which| self.wakes(which));
        let others_turn = which + 1 != self.processes.len() && wakes.is_none();
        let wait = wakes.map_or(wait, |wakes| wait.min(wakes - self.now()));
        let least = TimeDelta::milliseconds(10);
        self.pass(if others_turn { least } else { wait.max(least) });
    }

    /// When a process that is stopped goes on, by true time.
    fn wakes(&self, which: usize) -> Option<DateTime<Utc>> {
        let until = self.processes[which].as_ref()?.stopped.as_ref()?.until;
        (until > self.now()).then_some(until)
    }

    /// Lets a process work until its tick is done, it dies, or it is stopped.
    fn work(&mut self, which: usize) -> TickResult {
        let looks = self.ticks.is_multiple_of(7) || self.now() - self.looked > TimeDelta::hours(1);
        if looks {
            self.looked = self.now();
        }
        let Some(process) = &mut self.processes[which] else { return TickResult::Died };
        let settings = self.settings.clone();
        // The whole history is looked at in the end: none of it may be removed.
        let keeps_history = |task: &Task| task.name != maintenance::HISTORY.name;
        let tasks: Vec<Task> = maintenance::TASKS.into_iter().filter(keeps_history).collect();
        let mut work: Work = match (process.stopped.take(), process.daemon.take()) {
            (Some(stopped), _) => {
                process.pause.open();
                stopped.work
            }
            (None, Some(mut daemon)) => Box::pin(async move {
                let Daemon { ticking, maintenance } = &mut daemon;
                let next = async {
                    ticking.tick().await?;
                    if looks {
                        ticking.sweep_now().await?;
                        maintenance.run_due(&settings, &tasks).await;
                    }
                    ticking.next().await
                };
                let next = next.await;
                (daemon, next)
            }),
            (None, None) => unreachable!("a process is at rest or at work"),
        };
        let (faults, died) = (Arc::clone(&self.faults), Arc::clone(&self.died));
        let (pause, store, worker) = (Arc::clone(&process.pause), &process.store, &process.worker);
        let done = process.runtime.block_on(async {
            tokio::select! {
                biased;
                () = death(&faults, &died) => None,
                done = &mut work => Some(done),
                () = pause.stops() => {
                    // Whatever else it does ends first: no process is stopped within a transaction,
                    // which would stop all others too.
                    tokio::select! {
                        biased;
                        () = death(&faults, &died) => None,
                        done = &mut work => Some(done),
                        () = holds_one(store, worker) => None,
                    }
                }
            }
        });
        if self.faults.lock().unwrap().is_dead {
            let _entered = process.runtime.enter();
            drop(work);
            return TickResult::Died;
        }
        match done {
            None => TickResult::Stopped(work),
            Some((daemon, next)) => {
                process.daemon = Some(daemon);
                TickResult::Done(next)
            }
        }
    }

    /// A process is stopped in the middle of a request, for a minute to some hours.
    fn stop(&mut self, which: usize, work: Work) {
        self.stops += 1;
        let minutes = 1.0 * 400.0_f64.powf(self.chance("stopped for"));
        let until = self.now() + TimeDelta::seconds((minutes * 60.0) as i64);
        let Some(process) = &mut self.processes[which] else { return };
        // Remote jobs that it has started by now belong to its job, even if another job is created.
        let archive = &process.archive;
        let started = self.promises.check_effects(&process.store, archive, &self.service);
        drop(process.runtime.block_on(started));
        let jobs =
            process.runtime.block_on(process.store.held(&process.worker)).unwrap_or_default();
        process.stopped = Some(Stopped { work, jobs, until });
    }

    /// The promises, after a tick of this process. Due times must be right where it has just looked
    /// whether the clock is, and it was not set since.
    fn check(&mut self, which: usize, is_right: bool) {
        let Some(process) = &self.processes[which] else { return };
        let Process { runtime, store, archive, number, .. } = process;
        self.promises.answered(&self.service, *number);
        let now = self.clock.now();
        let checked =
            self.promises.check(store, archive, &self.settings, &self.service, now, is_right);
        // What a failing disk keeps from being read is looked at next time.
        drop(runtime.block_on(checked));
        for stopped in self.processes.iter().flatten() {
            if let Some(Stopped { jobs, .. }) = &stopped.stopped {
                let kept = self.promises.is_left_alone(store, &stopped.worker, jobs);
                drop(runtime.block_on(kept));
            }
        }
    }

    /// A user runs `verify` and, before the first file is read, `prune`; the daemon goes on
    /// meanwhile.
    fn verify_beside(&mut self) {
        let archive = Archive::new(&self.settings.archive_dir, &self.settings.state_dir);
        let (reached, at_files) = mpsc::channel();
        let (go_on, gone_on) = mpsc::channel::<()>();
        let gone_on = Mutex::new(gone_on);
        let verified = std::thread::scope(|scope| {
            let reader = archive.clone();
            let verifying = scope.spawn(move || {
                reader.verify(&[], &|_| {
                    let _ = reached.send(());
                    let _ = gone_on.lock().unwrap().recv();
                })
            });
            let _ = at_files.recv();
            let now = self.clock.now();
            for source in &self.settings.sources {
                let pruned = archive
                    .plan_pruning(&source.name, &source.retention, source.timezone, now)
                    .and_then(|plan| archive.prune(&plan));
                // The command reports a disk that fails here.
                drop(pruned);
            }
            self.turn();
            drop(go_on);
            verifying.join().unwrap()
        });
        self.promises.verified(&verified);
    }

    /// Time passes, in whole milliseconds, as clocks tell it.
    fn pass(&mut self, time: TimeDelta) {
        let time = TimeDelta::milliseconds(time.num_milliseconds());
        self.service.world().now += time;
        self.mock.advance(time);
        if self.is_calm && self.processes.iter().flatten().any(|it| it.stopped.is_none()) {
            self.promises.maintenance.runs_well(time);
        }
    }

    /// A process begins as a daemon does; `None` when it could not.
    fn start(&mut self) -> Option<Process> {
        self.workers += 1;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let settings = self.settings.clone();
        let archive = Archive::new(&settings.archive_dir, &settings.state_dir);
        let pause = Arc::<Pause>::default();
        let service =
            Service { pause: Arc::clone(&pause), worker: self.workers, ..self.service.clone() };
        let services: BTreeMap<String, Arc<dyn ExportService>> =
            BTreeMap::from([("contoso".to_owned(), Arc::new(service) as _)]);
        let config = engine::EngineConfig { settings: settings.clone(), services };
        let (clock, workers) = (self.clock.clone(), self.workers);
        let begun = runtime.block_on(async {
            let used = archive.highest_job().map_err(io::Error::other)?;
            let store = Store::open(&settings.state_dir, used).await.map_err(io::Error::other)?;
            let worker = lock::Worker::register(&settings.state_dir, workers)?;
            let name = worker.name.clone();
            worker.sweep();
            archive.sweep(|name| worker.is_alive(name))?;
            let quiet = Arc::new(|_: engine::Notice<'_>| {});
            let maintenance = Maintenance::new(store.clone(), archive.clone(), clock.clone());
            let engine = Engine::new(store.clone(), archive.clone(), worker, clock, config, quiet);
            let ticking = engine.ticking().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((Daemon { ticking, maintenance }, store, engine, name))
        });
        let is_dead = self.faults.lock().unwrap().is_dead;
        match begun {
            Ok((daemon, store, engine, worker)) if !is_dead => Some(Process {
                runtime,
                daemon: Some(daemon),
                number: self.workers,
                stopped: None,
                worker,
                pause,
                store,
                archive,
                _engine: engine,
            }),
            _ => {
                runtime.shutdown_background();
                self.revive();
                None
            }
        }
    }

    /// The process is gone, with all that it had not yet done.
    fn reap(&mut self) {
        let archive = Archive::new(&self.settings.archive_dir, &self.settings.state_dir);
        self.promises.check_newest(&archive, &self.settings);
        // The whole machine is down: its other process ends too.
        (0..self.processes.len()).for_each(|other| self.end(other));
        self.revive();
    }

    /// Ends a process, with all that it had not yet done.
    fn end(&mut self, which: usize) {
        if let Some(process) = self.processes[which].take() {
            let Process { runtime, daemon, stopped, store, _engine, .. } = process;
            {
                let _entered = runtime.enter();
                drop((daemon, stopped, store, _engine));
            }
            runtime.shutdown_background();
        }
    }

    /// The next process may have effects again.
    fn revive(&mut self) {
        let mut faults = self.faults.lock().unwrap();
        self.deaths += u64::from(faults.is_dead);
        (faults.is_dead, faults.dies_after) = (false, None);
        drop(faults);
        let mut world = self.service.world();
        world.dead = false;
        world.answered.clear();
    }

    /// All goes well from now on; then every source has a good snapshot soon.
    fn calm_down(&mut self) {
        self.service.world().trouble = 0.0;
        {
            let mut faults = self.faults.lock().unwrap();
            (faults.dies_after, faults.failing) = (None, 0);
        }
        (self.plan.deaths, self.plan.bad_disk, self.plan.jumps) = (0.0, false, Jumps::Never);
        (self.plan.stops, self.is_calm) = (false, true);
        self.service.world().jump = None;
        let now = self.now();
        for process in self.processes.iter_mut().flatten() {
            match &mut process.stopped {
                Some(stopped) => stopped.until = now,
                None => process.pause.open(),
            }
        }
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
        if self.promises.hold() && self.processes[0].is_none() {
            self.processes[0] = self.start();
        }
        if self.promises.hold()
            && let Some(Process { runtime, store, archive, .. }) = &mut self.processes[0]
        {
            let (since, service) = (self.calm_since, &self.service);
            let checked = thoroughly(store, archive, &settings, since, service, &mut self.promises);
            runtime.block_on(checked);
        }
        let (stops, jumps) = (self.stops, self.jumps);
        let pruned = self.promises.maintenance.pruned;
        let world = self.service.world();
        let tally = Tally {
            nights: u64::try_from(self.plan.days).unwrap() * self.plan.sources as u64,
            ticks: self.ticks,
            jobs: self.promises.jobs,
            deaths: self.deaths,
            requests: world.requests,
            faults: world.faults,
            disk_faults: self.faults.lock().unwrap().failures,
            stops,
            jumps,
            pruned,
            changes: world.changes.count() as u64,
            restored: self.promises.restored,
        };
        drop(world);
        (0..self.processes.len()).for_each(|which| self.end(which));
        (tally, self.promises.broken)
    }
}

/// Waits for the process's end. The end of an earlier one may still be reported.
async fn death(faults: &Mutex<Faults>, died: &Notify) {
    while !faults.lock().unwrap().is_dead {
        died.notified().await;
    }
}

/// Waits until a worker holds no more than one job.
async fn holds_one(store: &Store, worker: &str) {
    while store.held(worker).await.is_ok_and(|held| held.len() > 1) {
        tokio::task::yield_now().await;
    }
}

/// What a process meets at a point: nothing, a failing disk, or its end. After its end nothing that
/// it does has an effect.
fn meet(
    faults: &Mutex<Faults>,
    died: &Notify,
    service: &Service,
    point: Point,
    path: &Path,
) -> io::Result<()> {
    let mut faults = faults.lock().unwrap();
    if let Some(left) = &mut faults.dies_after {
        match left.checked_sub(1) {
            Some(fewer) => *left = fewer,
            None => faults.is_dead = true,
        }
    }
    if faults.is_dead {
        drop(faults);
        service.world().dead = true;
        died.notify_one();
        return Err(io::Error::other("the process is dead"));
    }
    let of_disk = !matches!(
        point,
        Point::Submit
            | Point::Submitted
            | Point::Polled
            | Point::Fetch
            | Point::Settle
            | Point::RestoreChecked
            | Point::RestoreLook
            | Point::RestoreLooked
            | Point::LoadSubmit
            | Point::LoadSubmitted
            | Point::VerifyCompared
            | Point::PublishSubmit
            | Point::PublishSubmitted
            | Point::RollBackSubmit
            | Point::RollBackSubmitted
    );
    let of_archive = of_disk && !path.to_string_lossy().contains("nightjar.db");
    if of_archive && faults.failing > 0 {
        faults.failing -= 1;
        faults.failures += 1;
        return Err(io::Error::from(io::ErrorKind::StorageFull));
    }
    Ok(())
}

fn settings(plan: &Plan, folder: &Path) -> Settings {
    let keep = plan.pruning.unwrap_or("keep_last = 100000");
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
