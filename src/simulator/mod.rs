//! Bing Maps Spatial Data Services, simulated on loopback: the DataSourceDownload dataflow and the
//! lists of sources, written from the service's documentation alone. Every contradiction and fault
//! that a client must handle can be requested.
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

mod answers;
mod damage;
mod data;
mod jobs;
mod places;
mod request;
mod scenario;
mod server;
mod synthetic;
#[cfg(test)]
mod tests;
mod world;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

pub use self::damage::Damage;
pub use self::data::{Chunks, Data};
pub use self::jobs::{RemoteJob, RemoteState};
pub use self::request::{Host, Kind, Request};
pub use self::scenario::{
    AccountLimits, Announced, Dates, Ending, ErrorBody, Fault, Location, OutputLabel, OutputUrl,
    Scenario, StatusUrl,
};
use self::world::World;

/// A data source of the simulated account.
#[derive(Clone, Debug)]
pub struct SimSource {
    /// The id in its URLs.
    pub access_id: String,
    /// Its name there, and in the calls below; unique within one simulator.
    pub name: String,
    /// Its master key.
    pub key: String,
    /// The data that its jobs export.
    pub data: Data,
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
            scenario: Scenario::default(),
        }
    }

    /// The same with another behaviour.
    pub fn scenario(self, scenario: Scenario) -> Self {
        Self { scenario, ..self }
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
            sources,
            jobs: Vec::new(),
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

    /// All jobs ever created, in order.
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
        world.jobs_before_today = world.jobs.len();
    }

    /// Changes the behaviour for a source, including jobs under way.
    ///
    /// # Panics
    /// When there is no source of this name.
    pub fn set_scenario(&self, source: &str, scenario: Scenario) {
        self.change(source, |source| source.scenario = scenario);
    }

    /// Changes what later jobs of a source export.
    ///
    /// # Panics
    /// When there is no source of this name.
    pub fn set_data(&self, source: &str, data: Data) {
        self.change(source, |source| source.data = data);
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut SimSource)) {
        let found = {
            let mut world = self.world();
            world.sources.iter_mut().find(|source| source.name == name).map(change)
        };
        assert!(found.is_some(), "the simulator has no source {name}");
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
