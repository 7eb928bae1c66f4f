//! What the daemon sends to the service manager, received on the test's own socket.

use crate::harness::{Setup, until};
use nightjar::simulator::{Kind, Scenario};
use rustix::process::Signal;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

struct Manager {
    socket: UnixDatagram,
    received: Vec<String>,
}

impl Manager {
    fn new(setup: &Setup) -> Manager {
        let socket = UnixDatagram::bind(setup.path("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Manager { socket, received: Vec::new() }
    }

    /// A socket in the abstract namespace, and its name in the environment.
    fn abstractly() -> (Manager, String) {
        let name = format!("nightjar-test-{}-{}", std::process::id(), fastrand::u64(..));
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        (Manager { socket, received: Vec::new() }, format!("@{name}"))
    }

    /// Waits for a datagram that contains this.
    fn until(&mut self, what: &str) -> String {
        loop {
            let mut buffer = [0; 4096];
            let count = self.socket.recv(&mut buffer).unwrap_or_else(|error| {
                panic!("{what} was not sent: {error}; received {:?}", self.received)
            });
            let text = String::from_utf8(buffer[..count].to_vec()).unwrap();
            self.received.push(text.clone());
            if text.contains(what) {
                return text;
            }
        }
    }
}

#[test]
fn readiness_status_reload_and_stopping_are_sent_to_the_service_manager() {
    let setup = Setup::with(Scenario { pending_polls: 1_000_000, ..Scenario::default() });
    let mut manager = Manager::new(&setup);
    let mut command = setup.command(&["daemon"]);
    command.env("NOTIFY_SOCKET", setup.path("notify"));
    let daemon = setup.start_command(command);
    manager.until("EXTEND_TIMEOUT_USEC=");
    manager.until("READY=1");
    let status = manager.until("STATUS=");
    assert!(status.contains("nothing in flight; next run stores at "), "{status}");
    daemon.signal(Signal::HUP);
    let reloading = manager.until("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "in one datagram: {reloading}");
    manager.until("READY=1");
    setup.run(&["backup", "--no-wait"]);
    manager.until("STATUS=job 1 of stores");
    // Only now, or it could end before its status was read.
    setup.service.set_scenario("Stores", Scenario::default());
    setup.until_asked(Kind::Result, 1);
    manager.until("STATUS=nothing in flight");
    let done = daemon.stop(Signal::TERM);
    assert_eq!(done.code, 0);
    manager.until("STOPPING=1");
    assert!(
        manager.received.iter().all(|text| !text.contains("WATCHDOG")),
        "{:?}",
        manager.received
    );
}

#[test]
fn a_service_manager_in_the_abstract_namespace_is_notified_too() {
    let setup = Setup::healthy();
    let (mut manager, name) = Manager::abstractly();
    let mut command = setup.command(&["daemon"]);
    command.env("NOTIFY_SOCKET", name);
    let daemon = setup.start_command(command);
    manager.until("READY=1");
    manager.until("STATUS=");
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
    manager.until("STOPPING=1");
}

#[test]
fn the_running_loop_pings_the_watchdog() {
    let setup = Setup::healthy();
    let mut manager = Manager::new(&setup);
    let mut command = setup.command(&["daemon"]);
    command.env("NOTIFY_SOCKET", setup.path("notify")).env("WATCHDOG_USEC", "200000");
    let daemon = setup.start_command(command);
    for _ in 0..3 {
        manager.until("WATCHDOG=1");
    }
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
}

#[test]
fn the_watchdog_of_another_process_is_ignored() {
    let setup = Setup::healthy();
    let mut manager = Manager::new(&setup);
    let mut command = setup.command(&["daemon"]);
    command.env("NOTIFY_SOCKET", setup.path("notify"));
    command.env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1");
    let daemon = setup.start_command(command);
    manager.until("READY=1");
    let log = until("the log", || Some(daemon.stderr()).filter(|text| text.contains("ready")));
    assert!(log.contains("is ready"));
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
    manager.until("STOPPING=1");
    assert!(
        manager.received.iter().all(|text| !text.contains("WATCHDOG")),
        "{:?}",
        manager.received
    );
}
