//! A download that resumes where it broke off, if the service can identify the file as unchanged.

use super::step::{pause, random};
use crate::job::Policy;
use crate::service::{Download, ExportService, Failure, FailureKind, Target};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};

/// A download in progress.
pub(super) struct ResumableDownload<'a> {
    pub(super) service: &'a dyn ExportService,
    pub(super) target: &'a Target,
    pub(super) url: &'a str,
    pub(super) policy: Policy,
    pub(super) download: Download,
    /// Called for each interruption that was resumed.
    pub(super) notes: &'a (dyn Fn(String) + Sync),
    /// Bytes so far.
    pub(super) offset: u64,
}

impl<'a> ResumableDownload<'a> {
    /// Its bytes. If they break off, the rest is requested with the same waits and as many attempts
    /// as any failed request; after that the failure is returned.
    pub(super) fn chunks(self) -> impl Stream<Item = Result<Bytes, Failure>> + 'a {
        stream::unfold(Some(self), |download| async move {
            let mut download = download?;
            let chunk = download.next().await?;
            let goes_on = chunk.is_ok();
            Some((chunk, goes_on.then_some(download)))
        })
    }

    async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        let chunk = match self.download.chunks.next().await? {
            Ok(chunk) => chunk,
            Err(broke) => match self.resumed(&broke).await {
                Some(chunk) => chunk,
                None => return Some(Err(broke)),
            },
        };
        self.offset += chunk.len() as u64;
        Some(Ok(chunk))
    }

    /// The first bytes of the rest.
    async fn resumed(&mut self, broke: &Failure) -> Option<Bytes> {
        let validator = self.download.validator.clone()?;
        if broke.kind != FailureKind::Lost || self.offset == 0 {
            return None;
        }
        for failures in 0..self.policy.attempts.saturating_sub(1) {
            pause(self.policy.retry.wait(failures, random())).await;
            let rest = self.service.resume(self.target, self.url, self.offset, &validator).await;
            let begun = match rest {
                Ok(mut rest) => {
                    let first = rest.chunks.next().await;
                    self.download = rest;
                    first?
                }
                Err(failure) => Err(failure),
            };
            match begun {
                Ok(chunk) => {
                    (self.notes)(format!("{broke}; it goes on from there"));
                    return Some(chunk);
                }
                Err(failure) if passes(&failure) => {}
                Err(failure) => {
                    tracing::info!(%failure, "the download starts over");
                    return None;
                }
            }
        }
        None
    }
}

/// Whether another attempt may succeed.
fn passes(failure: &Failure) -> bool {
    use FailureKind::{Lost, NotSent, Unavailable};
    matches!(failure.kind, Lost | NotSent | Unavailable)
}
