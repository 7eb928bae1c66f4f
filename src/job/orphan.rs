//! What the answer about an orphaned remote job means: one whose job has ended or has replaced it.

use super::{Failure, FailureKind, Polled, Progress};
use std::time::Duration;

/// Whether an orphaned remote job has ended, so that it no longer uses quota. `age` is how long ago
/// it was started. One that is not found has ended, unless it is younger than `lost_after`: the
/// service may not know it yet, although it uses quota. An answer about another remote job says
/// nothing about this one.
pub fn orphan_has_ended(
    answer: &Result<Polled, Failure>,
    age: Duration,
    lost_after: Duration,
) -> bool {
    match answer {
        Ok(polled) if polled.other.is_some() => false,
        Ok(polled) => !matches!(polled.progress, Progress::Pending { .. }),
        Err(failure) => failure.kind == FailureKind::NotFound && age >= lost_after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::OtherJob;

    #[test]
    fn only_an_end_or_an_old_remote_job_that_is_not_found_frees_its_quota() {
        let pending =
            || Progress::Pending { word: "Pending".into(), known: true, retry_after: None };
        let aborted = || Progress::Aborted { message: "no".into(), error_log_url: None };
        let completed = || Progress::Completed { result_url: None, expected: None };
        let failed = |kind| Err(Failure::new(kind, "so it is"));
        let of_another = |progress| {
            let other = Some(OtherJob { id: "x".into(), created_at: None });
            Ok(Polled { other, ..Polled::ours(progress) })
        };
        let (lost_after, second) = (Duration::from_mins(15), Duration::from_secs(1));
        for (answer, young, old) in [
            (Ok(Polled::ours(pending())), false, false),
            (Ok(Polled::ours(aborted())), true, true),
            (Ok(Polled::ours(completed())), true, true),
            (of_another(aborted()), false, false),
            (of_another(completed()), false, false),
            (failed(FailureKind::NotFound), false, true),
            (failed(FailureKind::Unavailable), false, false),
            (failed(FailureKind::Credentials), false, false),
            (failed(FailureKind::Protocol), false, false),
        ] {
            let ended = |age| orphan_has_ended(&answer, age, lost_after);
            assert_eq!((ended(lost_after - second), ended(lost_after)), (young, old), "{answer:?}");
        }
    }
}
