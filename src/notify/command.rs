//! Commands that get the message as JSON on their standard input.

use super::Message;
use std::process::Stdio;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// How much of what a command complains about is kept.
const LONGEST_COMPLAINT: u64 = 1000;

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

    /// Runs it and waits for its end. It is killed when nobody waits any more.
    pub(super) async fn send(&self, message: &Message) -> Result<(), String> {
        let json = serde_json::to_vec(message).map_err(|error| error.to_string())?;
        let mut child = Command::new(self.program())
            .args(self.words.iter().skip(1))
            // What is in this process's environment may be secret.
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("it cannot be run: {error}"))?;
        let (input, output) = (child.stdin.take(), child.stderr.take());
        let writing = async {
            if let Some(mut input) = input {
                // One that does not read its input has its reasons.
                let _ = input.write_all(&json).await;
            }
        };
        let reading = async {
            let mut said = Vec::new();
            if let Some(output) = output {
                let mut output = output.take(LONGEST_COMPLAINT);
                let _ = output.read_to_end(&mut said).await;
                // The rest is read too, so that it does not wait for a reader.
                let _ = tokio::io::copy(&mut output.into_inner(), &mut tokio::io::sink()).await;
            }
            said
        };
        let ((), said, ended) = tokio::join!(writing, reading, child.wait());
        match ended.map_err(|error| error.to_string())? {
            status if status.success() => Ok(()),
            status => {
                let said = String::from_utf8_lossy(&said).trim().replace(char::is_control, " ");
                Err(format!("{status}{}{said}", if said.is_empty() { "" } else { ": " }))
            }
        }
    }
}
