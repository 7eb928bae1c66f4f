//! What every service must do, whatever its protocol is. The tests of each service run it against a
//! simulated form of the service.

use super::{
    ActivityKind, ExportService, Failure, FailureKind, ListedVersion, LoadDocument, LoadMode,
    Polled, Progress, Submitted, Target, VersionState,
};
use crate::format::Input;
use bytes::Bytes;
use chrono::{DateTime, TimeZone, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::sync::Arc;

/// A simulated service, which exports one target.
pub(crate) trait Simulated {
    /// A new client with a key that the service accepts.
    fn client(&self) -> Arc<dyn ExportService>;
    /// A client with another key, which the service refuses.
    fn client_with_wrong_key(&self) -> Arc<dyn ExportService>;
    /// A client of an address where nothing listens.
    fn client_of_nothing(&self) -> Arc<dyn ExportService>;
    /// What it exports.
    fn target(&self) -> Target;
    /// What its results are.
    fn document(&self) -> Vec<u8>;
    /// The key that the service accepts.
    fn key(&self) -> String;
    /// How many remote jobs have been started.
    fn remote_jobs(&self) -> usize;
    /// How many requests have been received.
    fn requests(&self) -> usize;
}

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 25, 12, 0, 0).unwrap()
}

/// All of it, for a service that completes its jobs after a few polls.
pub(crate) async fn check(service: &impl Simulated) {
    a_job_is_started_once_and_continued_by_any_client(service).await;
    a_key_is_tried_without_effect(service).await;
    a_wrong_key_is_named_as_such(service).await;
    what_was_not_sent_had_no_effect(service).await;
    a_foreign_target_is_refused_without_a_request(service).await;
    changes_that_were_not_sent_had_no_effect(service).await;
    no_foreign_target_is_changed_or_listed(service).await;
    a_load_is_staged_published_and_rolled_back(service).await;
    a_lost_job_is_a_failure(service).await;
    the_key_is_removed_from_any_text(service);
}

/// Polls until the remote job has ended; every poll is by a new client, as after a restart.
async fn ended(service: &impl Simulated, id: Option<&str>, status_url: &str) -> Polled {
    for _ in 0..20 {
        let client = service.client();
        let polled = client.poll(&service.target(), id, status_url, noon()).await.unwrap();
        if !matches!(polled.progress, Progress::Pending { .. }) {
            return polled;
        }
    }
    panic!("the remote job does not end");
}

async fn a_job_is_started_once_and_continued_by_any_client(service: &impl Simulated) {
    let target = service.target();
    let before = service.remote_jobs();
    let submitted = service.client().submit(&target, noon()).await.unwrap();
    assert_eq!(service.remote_jobs(), before + 1);
    assert!(!submitted.status_url.contains(&service.key()));
    let polled = ended(service, submitted.remote_id.as_deref(), &submitted.status_url).await;
    assert_eq!(polled.other, None);
    let Progress::Completed { result_url: Some(url), expected } = polled.progress else {
        panic!("the remote job did not complete: {polled:?}");
    };
    assert!(!url.contains(&service.key()));
    // Fetching has no effect: it can be repeated.
    for _ in 0..2 {
        let client = service.client();
        let download = client.fetch(&target, &url, noon()).await.unwrap();
        let length = download.length;
        let pieces: Vec<Bytes> = download.chunks.try_collect().await.unwrap();
        let result = pieces.concat();
        assert_eq!(result, service.document());
        assert!(length.is_none_or(|length| length == result.len() as u64));
        let input = Input::of_reader(result.as_slice());
        let summary = client.format(&target).validate(input, result.len() as u64).unwrap();
        assert!(expected.is_none_or(|expected| expected == summary.entities));
    }
    assert_eq!(service.remote_jobs(), before + 1);
}

async fn a_key_is_tried_without_effect(service: &impl Simulated) {
    let before = service.remote_jobs();
    service.client().try_key(&service.target(), noon()).await.unwrap();
    assert_eq!(service.remote_jobs(), before);
}

async fn a_wrong_key_is_named_as_such(service: &impl Simulated) {
    let before = service.remote_jobs();
    let (client, target) = (service.client_with_wrong_key(), service.target());
    let failure = client.submit(&target, noon()).await.unwrap_err();
    assert_eq!((failure.kind, failure.maybe_started), (FailureKind::Credentials, false));
    let failure = client.try_key(&target, noon()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Credentials);
    if let (Some(restoring), Some(listing)) = (client.restoring(), client.listing()) {
        let document = loaded(service);
        for failure in [
            restoring.load(&target, LoadMode::Whole, document, noon()).await.unwrap_err(),
            restoring.publish(&target, noon()).await.unwrap_err(),
            restoring.activities(noon()).await.unwrap_err(),
            listing.versions(&target, noon()).await.unwrap_err(),
        ] {
            assert_eq!((failure.kind, failure.maybe_started), (FailureKind::Credentials, false));
            assert!(!failure.message.contains(&service.key()), "{failure}");
        }
    }
    assert_eq!(service.remote_jobs(), before);
}

async fn what_was_not_sent_had_no_effect(service: &impl Simulated) {
    let failure = service.client_of_nothing().submit(&service.target(), noon()).await.unwrap_err();
    assert_eq!((failure.kind, failure.maybe_started), (FailureKind::NotSent, false));
    assert!(!failure.message.contains(&service.key()), "{failure}");
}

async fn a_foreign_target_is_refused_without_a_request(service: &impl Simulated) {
    let before = service.requests();
    let foreign = Target::new(service.target().origin().clone(), "another service's request");
    let failure: Failure = service.client().submit(&foreign, noon()).await.unwrap_err();
    assert_eq!((failure.kind, failure.maybe_started), (FailureKind::Protocol, false));
    assert_eq!(service.requests(), before);
}

fn loaded(service: &impl Simulated) -> LoadDocument {
    let bytes = Bytes::from(service.document());
    LoadDocument { length: bytes.len() as u64, chunks: stream::iter([Ok(bytes)]).boxed() }
}

async fn changes_that_were_not_sent_had_no_effect(service: &impl Simulated) {
    let (client, target) = (service.client_of_nothing(), service.target());
    let Some(restoring) = client.restoring() else { return };
    for failure in [
        restoring.load(&target, LoadMode::Whole, loaded(service), noon()).await.unwrap_err(),
        restoring.publish(&target, noon()).await.unwrap_err(),
        restoring.roll_back(&target, "8ccf2a5b", noon()).await.unwrap_err(),
    ] {
        assert_eq!((failure.kind, failure.maybe_started), (FailureKind::NotSent, false));
        assert!(!failure.message.contains(&service.key()), "{failure}");
    }
    let failure = restoring.activities(noon()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NotSent);
}

async fn no_foreign_target_is_changed_or_listed(service: &impl Simulated) {
    let before = service.requests();
    let client = service.client();
    let foreign = Target::new(service.target().origin().clone(), "another service's request");
    let mut failures = Vec::new();
    if let Some(restoring) = client.restoring() {
        let document = loaded(service);
        failures.extend([
            restoring.load(&foreign, LoadMode::Whole, document, noon()).await.unwrap_err(),
            restoring.publish(&foreign, noon()).await.unwrap_err(),
            restoring.roll_back(&foreign, "8ccf2a5b", noon()).await.unwrap_err(),
        ]);
    }
    if let Some(listing) = client.listing() {
        failures.push(listing.versions(&foreign, noon()).await.unwrap_err());
        failures.push(listing.at_version(&foreign, "8ccf2a5b").unwrap_err());
    }
    for failure in failures {
        assert_eq!((failure.kind, failure.maybe_started), (FailureKind::Protocol, false));
    }
    assert_eq!(service.requests(), before);
}

/// Polls a change until it has ended; every poll is by a new client, as after a restart.
async fn applied(service: &impl Simulated, submitted: &Submitted) {
    let (id, url) = (submitted.remote_id.as_deref(), &submitted.status_url);
    assert!(!url.contains(&service.key()));
    for _ in 0..20 {
        let client = service.client();
        let restoring = client.restoring().unwrap();
        let polled = restoring.poll_change(&service.target(), id, url, noon()).await.unwrap();
        assert_eq!(polled.other, None);
        match polled.progress {
            Progress::Pending { .. } => {}
            Progress::Applied { failed: 0, .. } => return,
            other => panic!("the change was not applied: {other:?}"),
        }
    }
    panic!("the change does not end");
}

async fn versions(service: &impl Simulated) -> Vec<ListedVersion> {
    let client = service.client();
    client.listing().unwrap().versions(&service.target(), noon()).await.unwrap()
}

fn ids_in(versions: &[ListedVersion], state: VersionState) -> Vec<&str> {
    let found = versions.iter().filter(|version| version.state == state);
    found.map(|version| version.id.as_str()).collect()
}

async fn a_load_is_staged_published_and_rolled_back(service: &impl Simulated) {
    let (client, target) = (service.client(), service.target());
    let (Some(listing), Some(restoring)) = (client.listing(), client.restoring()) else { return };
    let sources = listing.sources(noon()).await.unwrap();
    let own = sources.iter().find(|source| source.origin == *target.origin()).unwrap();
    assert!(!own.keys.is_empty());
    let before = versions(service).await;
    let [first] = *ids_in(&before, VersionState::Published) else { panic!("{before:?}") };
    let listed_before = restoring.activities(noon()).await.unwrap();

    let load = restoring.load(&target, LoadMode::Whole, loaded(service), noon()).await.unwrap();
    applied(service, &load).await;
    let staged = versions(service).await;
    assert_eq!(ids_in(&staged, VersionState::Published), [first], "a load publishes nothing");
    let [second] = *ids_in(&staged, VersionState::Staged) else { panic!("{staged:?}") };
    assert_ne!(first, second);
    let activities = restoring.activities(noon()).await.unwrap();
    let is_new = |id: &str| listed_before.iter().all(|activity| activity.id != id);
    let new: Vec<_> = activities.iter().filter(|activity| is_new(&activity.id)).collect();
    let [activity] = &*new else { panic!("{new:?}") };
    assert_eq!((activity.kind, activity.ended), (ActivityKind::Load, Some(true)));
    assert_eq!(load.remote_id.as_deref(), Some(activity.id.as_str()));

    // The staged version is exported by its identifier, exactly as it was loaded.
    let at_version = listing.at_version(&target, second).unwrap();
    assert_eq!(at_version.origin().version.as_deref(), Some(second));
    let export = client.submit(&at_version, noon()).await.unwrap();
    let polled = ended(service, export.remote_id.as_deref(), &export.status_url).await;
    let Progress::Completed { result_url: Some(url), .. } = polled.progress else {
        panic!("the export did not complete: {polled:?}")
    };
    let download = client.fetch(&at_version, &url, noon()).await.unwrap();
    let pieces: Vec<Bytes> = download.chunks.try_collect().await.unwrap();
    assert_eq!(pieces.concat(), service.document());

    applied(service, &restoring.publish(&target, noon()).await.unwrap()).await;
    let published = versions(service).await;
    assert_eq!(ids_in(&published, VersionState::Published), [second]);
    assert_eq!(ids_in(&published, VersionState::Staged), Vec::<&str>::new());
    assert_eq!(ids_in(&published, VersionState::Older), [first]);
    applied(service, &restoring.roll_back(&target, first, noon()).await.unwrap()).await;
    assert_eq!(ids_in(&versions(service).await, VersionState::Published), [first]);
}

async fn a_lost_job_is_a_failure(service: &impl Simulated) {
    let (client, target) = (service.client(), service.target());
    let submitted = client.submit(&target, noon()).await.unwrap();
    let unknown = format!("{}0000", submitted.status_url);
    let failure = client.poll(&target, Some("0000"), &unknown, noon()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NotFound, "{failure}");
    for url in ["", "no URL", "mailto:a@b"] {
        assert!(client.poll(&target, None, url, noon()).await.is_err(), "{url:?}");
        assert!(client.fetch(&target, url, noon()).await.is_err(), "{url:?}");
    }
}

fn the_key_is_removed_from_any_text(service: &impl Simulated) {
    let key = service.key();
    let text = service.client().redact(&format!("before {key} after"));
    assert!(text.starts_with("before ") && text.ends_with(" after"), "{text}");
    assert!(!text.contains(&key));
}
