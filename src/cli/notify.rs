//! `nightjar notify test`: tests the notification channels.

use super::{Common, Problem, clock, exit, output};
use crate::alerts::{self, Channels};
use crate::notify::{Delivery, Message, Phase};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Arguments {
    /// Send a test message to every channel, and a line to the log of every check
    Test,
}

pub(super) async fn run(common: &Common, Arguments::Test: &Arguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    let Channels { notifier, problems } = alerts::channels(&settings);
    let message = Message::test(clock().now(), &alerts::host());
    let mut deliveries = notifier.send_once(&message).await;
    let checks = settings.sources.iter().map(|source| &source.ping).chain([&settings.notify.ping]);
    for check in checks.flatten() {
        deliveries.push(notifier.try_ping(check, Phase::Log, &message.message).await);
    }
    if deliveries.is_empty() && problems.is_empty() {
        return Err(Problem::usage(format!(
            "{} configures no notifications: add a [notify] table with `ping`, [[notify.webhooks]], \
             [notify.email] or [[notify.commands]]",
            settings.file.display()
        )));
    }
    let mut failed = problems.len();
    let all = problems.len() + deliveries.len();
    for problem in &problems {
        output::line(format!("FAILED: {problem}"))?;
    }
    for Delivery { channel, result } in &deliveries {
        let line = match result {
            Ok(()) => format!("ok: {channel}"),
            Err(error) => {
                failed += 1;
                format!("FAILED: {channel}: {error}")
            }
        };
        output::line(line)?;
    }
    Ok(match failed {
        0 => exit::DONE,
        count if count == all => exit::FAILED,
        _ => exit::PARTLY,
    })
}
