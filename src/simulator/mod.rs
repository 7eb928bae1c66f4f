//! Bing Maps Spatial Data Services, simulated on loopback: downloads, loads, publications of staged
//! versions, rollbacks and lists, written from the service's documentation alone. Every
//! contradiction and fault that a client must handle can be requested.
//!
//! `nightjar demo`, the tests and the benches use it. It shares no code with the client: it is an
//! independent implementation of the same documents.
//!
//! - **Create** (Create a Download Job): each GET of
//!   `/REST/v1/Dataflows/DataSourceDownload/{accessId}/{name}` starts a job.
//! - **Status** (Get Download Data Source Job Status): each poll advances a job. It ends after
//!   [`Scenario::pending_polls`] status responses; no clock is involved.
//! - **Result** (Get Downloaded Data): the document is the [`Data`] that the source had when the
//!   job was created: a root, an inline schema, one element for each entity.
//! - **Load** (Create a Load Data Source Job and Input Entity Data): each POST to
//!   `/REST/v1/Dataflows/LoadDataSource` starts a job. When it completes, the document is a staged
//!   or a published [`Version`], byte for byte unless [`Changes::kept`] alters it.
//! - **Publish** (Publish a Staged Data Source, `$commit`) and **roll back** (Rollback a Data
//!   Source Dataflow): a GET starts a job. [`Changes`] has the faults of these and of loads, how
//!   each job ends and whether it really happens, and what other users do meanwhile.
//! - **Lists**: the account's sources and a source's versions (Get Data Source Information, Atom),
//!   and the account's jobs (Get Job List). [`AccountScenario`] has their faults.
//!
//! [`Simulator::versions`] and [`Simulator::changes`] show the truth: what is published, staged and
//! older, and every load with its posted bytes, whatever the answers said.
//!
//! A second listener is the storage host, to which results may redirect, and which must never
//! receive a key. All requests to both are recorded.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use nightjar::simulator::{Data, Fault, Scenario, SimSource, Simulator};
//!
//! let access_id = "20181f26d9e94c81acdf9496133d4f23";
//! let source = SimSource::new(access_id, "Places", "secret", Data::Places)
//!     .scenario(Scenario { create: vec![Fault::LostAnswer], ..Scenario::default() });
//! let simulator = Simulator::start(vec![source]).await?;
//! println!("{}", simulator.endpoint());
//! # Ok(())
//! # }
//! ```

mod alteration;
mod answers;
mod change_scenario;
mod changes;
mod damage;
mod data;
mod downloads;
mod effects;
mod entities;
mod jobs;
mod listings;
mod loading;
mod places;
mod request;
mod scenario;
mod server;
mod synthetic;
#[cfg(test)]
mod tests;
mod versions;
mod world;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

pub use self::alteration::Alteration;
pub use self::change_scenario::{
    AccountScenario, Act, Changes, Interference, JobLinks, Moment, Outcome,
};
pub use self::changes::{ChangeKind, LoadOperation, RemoteChange};
pub use self::damage::Damage;
pub use self::data::{Chunks, Data};
pub use self::jobs::{RemoteJob, RemoteState};
pub use self::request::{Host, Kind, Request};
pub use self::scenario::{
    AccountLimits, Announced, Dates, Ending, ErrorBody, Fault, Location, OutputLabel, OutputUrl,
    Scenario, StatusUrl,
};
pub use self::versions::{Version, Versions};
use self::world::{Source, World};

/// A data source of the simulated account.
#[derive(Clone, Debug)]
pub struct SimSource {
    /// The id in its URLs.
    pub access_id: String,
    /// Its name there, and in the calls below; unique within one simulator.
    pub name: String,
    /// Its master key.
    pub key: String,
    /// The data that is published at first.
    pub data: Data,
    /// Whether anything is published at first.
    pub is_published: bool,
    /// Older versions that the service has at first, the newest first.
    pub older: Vec<Data>,
    /// What is staged at first.
    pub staged: Option<Data>,
    /// The account that it belongs to: any text, the same for all sources of one account.
    pub account: String,
    /// The behaviour of the service for it.
    pub scenario: Scenario,
}

impl SimSource {
    /// A source with a healthy service.
    pub fn new(access_id: &str, name: &str, key: &str, data: Data) -> Self {
        Self {
            access_id: access_id.into(),
            name: name.into(),
            key: key.into(),
            data,
            is_published: true,
            older: Vec::new(),
            staged: None,
            account: String::new(),
            scenario: Scenario::default(),
        }
    }

    /// The same with another behaviour.
    pub fn scenario(self, scenario: Scenario) -> Self {
        Self { scenario, ..self }
    }

    /// The same with versions that were published before, the newest first.
    pub fn older(self, older: Vec<Data>) -> Self {
        Self { older, ..self }
    }

    /// The same with a staged version.
    pub fn staged(self, data: Data) -> Self {
        Self { staged: Some(data), ..self }
    }

    /// The same with nothing published.
    pub fn unpublished(self) -> Self {
        Self { is_published: false, ..self }
    }

    /// The same in another account.
    pub fn account(self, account: &str) -> Self {
        Self { account: account.into(), ..self }
    }
}

/// The running service. Dropping it closes its listeners and all connections.
pub struct Simulator {
    world: Arc<Mutex<World>>,
    main: SocketAddr,
    storage: SocketAddr,
    _hosts: [AbortOnDropHandle<()>; 2],
}

impl Simulator {
    /// Starts the service and its storage host on two free ports of 127.0.0.1.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(sources: Vec<SimSource>) -> io::Result<Self> {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into(), sources).await
    }

    /// Starts the service on `address`, and its storage host on another free port of the same
    /// interface.
    ///
    /// # Errors
    /// When the port is taken, or none is free.
    pub async fn start_on(address: SocketAddr, sources: Vec<SimSource>) -> io::Result<Self> {
        let main_listener = TcpListener::bind(address).await?;
        let storage_listener = TcpListener::bind((address.ip(), 0)).await?;
        let (main, storage) = (main_listener.local_addr()?, storage_listener.local_addr()?);
        let world = Arc::new(Mutex::new(World {
            main,
            storage,
            sources: sources.into_iter().map(Source::new).collect(),
            account: AccountScenario::default(),
            jobs: Vec::new(),
            changes: Vec::new(),
            requests: Vec::new(),
            limits: None,
            jobs_before_today: 0,
            peak_in_process: 0,
        }));
        let host = |listener, host| {
            AbortOnDropHandle::new(tokio::spawn(server::serve(listener, host, world.clone())))
        };
        let hosts = [host(main_listener, Host::Main), host(storage_listener, Host::Storage)];
        Ok(Self { world, main, storage, _hosts: hosts })
    }

    /// The endpoint to configure in a client: `http://127.0.0.1:PORT/REST/v1`.
    pub fn endpoint(&self) -> String {
        format!("http://{}/REST/v1", self.main)
    }

    /// Host and port of the storage host.
    pub fn storage_host(&self) -> String {
        self.storage.to_string()
    }

    /// All requests that either host has received, in their order.
    pub fn requests(&self) -> Vec<Request> {
        self.world().requests.clone()
    }

    /// How many requests of a kind were received.
    pub fn count(&self, kind: Kind) -> usize {
        self.world().requests.iter().filter(|request| request.kind == kind).count()
    }

    /// All downloads ever created, in order.
    pub fn remote_jobs(&self) -> Vec<RemoteJob> {
        self.world().jobs.iter().map(|job| job.seen.clone()).collect()
    }

    /// The most jobs that were unfinished at one time.
    pub fn peak_in_process(&self) -> usize {
        self.world().peak_in_process
    }

    /// Sets the limits of the account; at first there are none.
    pub fn set_limits(&self, limits: AccountLimits) {
        self.world().limits = Some(limits);
    }

    /// Forgets the jobs of the last 24 hours for the daily limit.
    pub fn next_day(&self) {
        let mut world = self.world();
        world.jobs_before_today = world.jobs_ever();
    }

    /// Changes the behaviour for a source, including jobs under way.
    ///
    /// # Panics
    /// When there is no source of this name.
    pub fn set_scenario(&self, source: &str, scenario: Scenario) {
        self.change(source, |source| source.scenario = scenario);
    }

    /// Publishes other data, as a complete load by another user does: a version of its own, which
    /// later downloads export.
    ///
    /// # Panics
    /// When there is no source of this name.
    pub fn set_data(&self, source: &str, data: Data) {
        self.load_elsewhere(source, LoadOperation::Complete, data);
    }

    /// Loads a document as another user does. It is done at once, appears in the job list, and
    /// counts against no limit. An incremental load takes the whole new content here. Returns the
    /// id of the job, which is that of the version.
    ///
    /// # Panics
    /// When there is no source of this name.
    pub fn load_elsewhere(&self, source: &str, operation: LoadOperation, data: Data) -> String {
        self.at(source, |world, index| world.load_elsewhere(index, operation, data))
    }

    /// All loads, publications and rollbacks ever started, in order.
    pub fn changes(&self) -> Vec<RemoteChange> {
        self.world().changes.iter().map(|change| change.seen.clone()).collect()
    }

    /// The versions of a source.
    ///
    /// # Panics
    /// When there is no source of this name.
    pub fn versions(&self, source: &str) -> Versions {
        self.at(source, |world, index| world.source(index).versions.clone())
    }

    /// Adds a source to the account.
    pub fn add_source(&self, source: SimSource) {
        self.world().sources.push(Source::new(source));
    }

    /// Deletes a source with all its versions.
    ///
    /// # Panics
    /// When there is no source of this name.
    pub fn delete_source(&self, source: &str) {
        self.at(source, World::delete);
    }

    /// Changes the behaviour for the account as a whole.
    pub fn set_account(&self, account: AccountScenario) {
        self.world().account = account;
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Source)) {
        self.at(name, |world, index| change(world.source_mut(index)));
    }

    /// Does something with the newest source of a name that is not deleted.
    fn at<T>(&self, name: &str, act: impl FnOnce(&mut World, usize) -> T) -> T {
        let done = {
            let mut world = self.world();
            let is_it = |source: &Source| source.name == name && !source.is_deleted;
            world.sources.iter().rposition(is_it).map(|index| act(&mut world, index))
        };
        match done {
            Some(done) => done,
            #[expect(clippy::panic, reason = "documented: a mistake in a test")]
            None => panic!("the simulator has no source {name}"),
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
