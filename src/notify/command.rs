//! Commands that read the message as JSON on their standard input.

use super::Message;
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::time::timeout;

/// How much of a command's standard error is kept.
const LONGEST_COMPLAINT: usize = 1000;
/// How long to wait for the rest of standard error after a command has ended: processes that it
/// started may keep it open for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A program with its arguments.
#[derive(Debug)]
pub(super) struct Hook {
    words: Vec<String>,
}

impl Hook {
    pub(super) fn new(words: Vec<String>) -> Hook {
        Hook { words }
    }

    pub(super) fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Runs the command and waits for its end, but not for processes that it leaves running. If the
    /// caller stops waiting, the command is killed with all processes that it has started.
    pub(super) async fn send(&self, message: &Message) -> Result<(), String> {
        let json = serde_json::to_vec(message).map_err(|error| error.to_string())?;
        let mut child = Command::new(self.program())
            .args(self.words.iter().skip(1))
            // This process's environment may contain secrets.
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("it cannot be run: {error}"))?;
        let (input, output) = (child.stdin.take(), child.stderr.take());
        let mut complaint = Vec::new();
        let mut group = Group::of(&child);
        let status = {
            let talking = async {
                tokio::join!(write_input(input, &json), read_errors(output, &mut complaint));
            };
            tokio::pin!(talking);
            let mut has_talked = false;
            let status = tokio::select! {
                status = child.wait() => status,
                () = &mut talking => {
                    has_talked = true;
                    child.wait().await
                }
            };
            // It has ended: its process number may be reused.
            group.leave_alone();
            let status = status.map_err(|error| error.to_string())?;
            if !status.success() && !has_talked {
                // Everything that it wrote is in the pipe by now.
                let _ = timeout(LAST_WORDS, talking).await;
            }
            status
        };
        if status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&complaint).trim().replace(char::is_control, " ");
        Err(format!("{status}{}{said}", if said.is_empty() { "" } else { ": " }))
    }
}

async fn write_input(input: Option<ChildStdin>, json: &[u8]) {
    if let Some(mut input) = input {
        // A command need not read its input.
        let _ = input.write_all(json).await;
    }
}

/// Keeps the beginning of the output, and discards the rest, so that no writer blocks.
async fn read_errors(output: Option<ChildStderr>, said: &mut Vec<u8>) {
    let Some(mut output) = output else { return };
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = output.read(&mut piece).await {
        let kept = LONGEST_COMPLAINT.saturating_sub(said.len()).min(count);
        said.extend_from_slice(piece.get(..kept).unwrap_or_default());
    }
}

/// A command with all processes that it has started. Killed when dropped, unless released.
struct Group(Option<Pid>);

impl Group {
    /// The process group of the command.
    fn of(child: &Child) -> Group {
        Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    fn leave_alone(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // All of them may have ended by now.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
