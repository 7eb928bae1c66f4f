//! Restores while the service misbehaves and other users interfere.

use super::restores::{Morning, error_of, wrong};
use super::*;
use crate::job::ErrorKind;
use crate::simulator::{
    AccountScenario, Act, Alteration, Changes, Interference, JobLinks, Moment, Outcome,
};

/// How a service misbehaves, and what becomes of a restore that is to publish.
struct Case {
    name: &'static str,
    changes: Changes,
    account: AccountScenario,
    /// `None` where it ends well.
    error: Option<ErrorKind>,
    loads: usize,
    commits: usize,
}

fn case(name: &'static str, error: Option<ErrorKind>, loads: usize, commits: usize) -> Case {
    let (changes, account) = (Changes::default(), AccountScenario::default());
    Case { name, changes, account, error, loads, commits }
}

fn cases() -> Vec<Case> {
    use ErrorKind::{Aborted, Corrupt, Protocol, Rejected, Unavailable};
    let load = |name, fault: Fault, error, loads, commits| {
        let mut case = case(name, error, loads, commits);
        case.changes.load = vec![fault];
        case
    };
    let commit = |name, fault: Fault, error, commits| {
        let mut case = case(name, error, 1, commits);
        case.changes.commit = vec![fault];
        case
    };
    let kept = |name, alteration, error, commits| {
        let mut case = case(name, error, 1, commits);
        case.changes.kept = Some(alteration);
        case
    };
    let ends = |name, load: Outcome, commit: Outcome, error, commits| {
        let mut case = case(name, error, 1, commits);
        case.changes.load_outcomes = vec![load];
        case.changes.commit_outcomes = vec![commit];
        case
    };
    let meanwhile = |name, at, act, error, commits| {
        let mut case = case(name, error, 1, commits);
        case.changes.interference = vec![Interference { at, act }];
        case
    };
    let (fine, none) = (Outcome::completed, Outcome::completed_without_effect);
    vec![
        load("lost after the effect", Fault::LostAnswer, None, 1, 1),
        load("lost before the effect", Fault::Refused, None, 2, 1),
        load("broken in its middle", Fault::BrokenUpload(100), None, 2, 1),
        load("over its limit", Fault::Quota(429), None, 2, 1),
        load("over its limit, as 403", Fault::Quota(403), None, 2, 1),
        load("too many sources", Fault::SourceLimit, Some(Rejected), 1, 0),
        load("an error, and no effect", Fault::http(500), Some(Unavailable), 1, 0),
        load("an error after the effect", Fault::ErrorAfter(500), None, 1, 1),
        load("refused", Fault::http(400), Some(Rejected), 1, 0),
        load("an answer cut in its middle", Fault::EndsHalfway, None, 1, 1),
        Case {
            account: AccountScenario { no_jobs: true, ..AccountScenario::default() },
            ..load("lost, and no jobs are listed", Fault::LostAnswer, None, 1, 1)
        },
        Case {
            account: AccountScenario { jobs_lag: 2, ..AccountScenario::default() },
            ..load("lost, and listed late", Fault::LostAnswer, None, 1, 1)
        },
        Case {
            account: AccountScenario {
                job_links: JobLinks::None,
                without_names: true,
                ..AccountScenario::default()
            },
            ..load("lost, and listed without links", Fault::LostAnswer, None, 1, 1)
        },
        commit("lost after the effect", Fault::LostAnswer, None, 1),
        commit("lost before the effect", Fault::Refused, None, 2),
        commit("over its limit", Fault::Quota(429), None, 2),
        commit("refused", Fault::http(400), Some(Rejected), 1),
        kept("written in another way", Alteration::Reserialised, None, 1),
        kept("with computed locations", Alteration::ComputedLocation, None, 1),
        kept("with another value", Alteration::ChangedValue, Some(Corrupt), 0),
        kept("without an entity", Alteration::DroppedEntity, Some(Corrupt), 0),
        kept("with one entity more", Alteration::AddedEntity, Some(Corrupt), 0),
        ends("failed entities", Outcome::with_failed_entities(2), fine(), Some(Rejected), 0),
        ends("an aborted load", Outcome::aborted("no"), fine(), Some(Aborted), 0),
        ends("a load without effect", none(), fine(), Some(Protocol), 0),
        ends("an aborted publication", fine(), Outcome::aborted("no"), Some(Aborted), 1),
        ends("a publication without effect", fine(), none(), Some(Protocol), 1),
        meanwhile(
            "another load before ours is compared",
            Moment::Loaded,
            Act::Stage(wrong()),
            Some(Rejected),
            0,
        ),
        meanwhile(
            "another load before ours is published",
            Moment::StagedFetched,
            Act::Stage(wrong()),
            Some(Rejected),
            0,
        ),
        Case {
            changes: Changes { versions_lag: 2, ..Changes::default() },
            ..case("versions listed late", None, 1, 1)
        },
        Case {
            changes: Changes { new_id_on_publish: true, ..Changes::default() },
            ..case("another id when published", None, 1, 1)
        },
    ]
}

#[tokio::test]
async fn whatever_the_service_does_nothing_unequal_is_published_and_nothing_is_sent_twice() {
    for Case { name, changes, account, error, loads, commits } in cases() {
        let morning = Morning::new().await;
        morning.service(changes);
        morning.machine.simulator.set_account(account);
        let job = morning.run(morning.restore()).await;
        let timeline = morning.timeline(&job).await;
        let shown = format!("{name}: {}", timeline.join("\n"));
        assert_eq!(error_of(&job), error, "{shown}");
        assert_eq!(
            (morning.posts(Kind::Load), morning.posts(Kind::Commit)),
            (loads, commits),
            "{shown}"
        );
        let published = morning.versions().published.unwrap().data.document();
        match error {
            None => assert!(published != wrong().document(), "{shown}"),
            Some(_) => assert!(published == wrong().document(), "{shown}"),
        }
        // A failed restore keeps what was published before.
        let safety = job.snapshot.clone().unwrap();
        assert_eq!(morning.is_held(&safety), error.is_some(), "{shown}");
        assert!(!morning.is_held(&morning.snapshot.path), "{shown}");
    }
}
