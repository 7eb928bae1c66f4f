//! Commands.

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn program(folder: &Path, text: &str) -> Vec<String> {
    let path = folder.join("tell");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    vec![path.display().to_string(), folder.join("got").display().to_string()]
}

#[tokio::test]
async fn a_command_gets_the_message_and_a_clean_environment() {
    let folder = tempfile::tempdir().unwrap();
    let words = program(folder.path(), "cat >\"$1\"; env >>\"$1\"");
    let delivery = only(notifier(vec![Channel::command(&words)]).send_once(&message()).await);
    assert!(delivery.result.is_ok(), "{delivery:?}");
    let got = std::fs::read_to_string(folder.path().join("got")).unwrap();
    let (json, environment) = got.split_once('}').unwrap();
    let json: serde_json::Value = serde_json::from_str(&format!("{json}}}")).unwrap();
    assert_eq!(json["about"], "stores");
    assert!(environment.contains("PATH=") && !environment.contains("CARGO"), "{environment}");
}

#[tokio::test]
async fn a_failing_command_and_a_hanging_one_have_different_errors() {
    let folder = tempfile::tempdir().unwrap();
    let words = program(folder.path(), "echo 'no such person' >&2; exit 3");
    let delivery = only(notifier(vec![Channel::command(&words)]).send_once(&message()).await);
    assert_eq!(delivery.result.unwrap_err(), "exit status: 3: no such person");
    let words = program(folder.path(), "exec /bin/sleep 600");
    let patience = Duration::from_millis(100);
    let notifier = Notifier::new(vec![Channel::command(&words)], Some(clients()), patience);
    let delivery = only(notifier.send_once(&message()).await);
    assert_eq!(delivery.result.unwrap_err(), "no answer within 100ms");
    let missing = vec!["/nowhere/tell".to_owned()];
    let delivery =
        only(notifier.clone_with(Channel::command(&missing)).send_once(&message()).await);
    assert!(delivery.result.unwrap_err().starts_with("it cannot be run: No such file"));
}

#[tokio::test]
async fn a_successful_command_does_not_wait_for_processes_that_it_leaves_running() {
    let folder = tempfile::tempdir().unwrap();
    // The sleeper keeps standard error and input open.
    let pid = folder.path().join("pid");
    let body = format!("/bin/sleep 600 & echo $! > {}; exit $2", pid.display());
    let words = program(folder.path(), &body);
    let tell = async |code: &str| {
        let words = [words.clone(), vec![code.to_owned()]].concat();
        let begun = std::time::Instant::now();
        let delivery = only(notifier(vec![Channel::command(&words)]).send_once(&message()).await);
        assert!(begun.elapsed() < Duration::from_secs(4), "it was waited for");
        delivery.result
    };
    tell("0").await.unwrap();
    assert!(is_alive(&pid), "what a command leaves running on purpose is its own business");
    end(&pid);
    assert_eq!(tell("3").await.unwrap_err(), "exit status: 3");
    end(&pid);
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_all_its_processes() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let body = format!("/bin/sleep 600 & echo $! > {}.new; mv {0}.new {0}; wait", pid.display());
    let words = program(folder.path(), &body);
    // Long enough for it to start a child process.
    let notifier = Notifier::new(vec![Channel::command(&words)], None, Duration::from_secs(2));
    let delivery = only(notifier.send_once(&message()).await);
    assert_eq!(delivery.result.unwrap_err(), "no answer within 2s");
    let begun = std::time::Instant::now();
    while is_alive(&pid) {
        assert!(begun.elapsed() < Duration::from_secs(10), "it goes on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_output_of_a_command_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let words = program(folder.path(), "head -c 1000000 /dev/zero | tr '\\0' 'x' >&2; exit 1");
    let delivery = only(notifier(vec![Channel::command(&words)]).send_once(&message()).await);
    let error = delivery.result.unwrap_err();
    assert!(error.starts_with("exit status: 1: xxx") && error.len() < 1100, "{}", error.len());
}

/// Whether the process whose number is in a file exists and is not a zombie.
fn is_alive(pid: &Path) -> bool {
    let pid = std::fs::read_to_string(pid).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

fn end(pid: &Path) {
    let pid: i32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

impl Notifier {
    fn clone_with(&self, channel: Channel) -> Notifier {
        Notifier { channels: Arc::new(vec![channel]), ..self.clone() }
    }
}
