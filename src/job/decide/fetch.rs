//! What follows from a fetch that failed.

use super::Next;
use crate::job::{ErrorKind, Failure, FailureKind, WaitReason};

impl Next<'_> {
    pub(super) fn fetch_failed(&mut self, failure: &Failure) {
        let most = self.policy.attempts;
        match failure.kind {
            FailureKind::Local => self.local_trouble(WaitReason::Local, &failure.message),
            FailureKind::NotFound => self.missing(failure, "result"),
            FailureKind::Credentials => self.accepted_key_refused(failure),
            FailureKind::Rejected => self.retry_up_to(most, ErrorKind::Rejected, failure),
            FailureKind::Protocol => self.retry_up_to(most, ErrorKind::Protocol, failure),
            // It arrived, and is not what was sent: another remote job may bring it whole.
            FailureKind::Undecodable => self.replace(ErrorKind::Corrupt, &failure.message),
            FailureKind::NotSent
            | FailureKind::Lost
            | FailureKind::Unavailable
            | FailureKind::Quota => self.retry_up_to(most, ErrorKind::Unavailable, failure),
        }
    }
}
