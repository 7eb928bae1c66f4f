//! How restores end, and what makes way for what.

use super::restores::{at, place};
use super::*;

#[test]
fn a_cancel_ends_a_restore_until_it_asks_to_publish() {
    for (stage, state, is_too_late) in [
        (Stage::Check, State::Queued, false),
        (Stage::Load, State::Waiting, false),
        (Stage::Verify, State::Ready, false),
        (Stage::BeforePublish, State::Queued, false),
        (Stage::Publish, State::Queued, true),
        (Stage::Publish, State::Waiting, true),
        (Stage::RollBack, State::Ready, true),
    ] {
        let job = at(Goal::Load, stage, state);
        assert_eq!(is_too_late_to_cancel(&job), is_too_late, "{stage} {state}");
        assert_eq!(cancel(&job, start()).is_none(), is_too_late, "{stage} {state}");
    }
    let before = Job { remote: None, ..at(Goal::Load, Stage::Publish, State::Queued) };
    assert!(cancel(&before, start()).is_some(), "its intent is not written yet");
    let staged = cancel(&at(Goal::Load, Stage::Verify, State::Waiting), start()).unwrap();
    let notes: Vec<_> = staged.events.iter().map(JobEvent::message).collect();
    assert_eq!(notes[1], "version abc stays staged; nothing was published");
}

#[test]
fn a_safety_backup_that_arrives_after_a_cancel_does_not_make_the_restore_archived() {
    let job = at(Goal::Load, Stage::Safety, State::Ready);
    let filed = Outcome::Archived {
        manifest: "/a/stores/x.json".into(),
        message: "3 entities".into(),
        suspicious: Vec::new(),
        notes: Vec::new(),
    };
    let decided = after(&job, filed, 0);
    assert_eq!(place(&decided), (Stage::BeforeLoad, State::Queued));
    let cancelled = cancel(&job, start()).unwrap();
    let named = late(cancelled.job(), &decided).unwrap();
    assert_eq!(named.job.state, State::Cancelled);
    assert_eq!(named.job.snapshot, decided.job.snapshot, "it is held, and can be found");
    assert!(named.is_legal() && late(named.job(), &decided).is_none());
}

#[test]
fn the_snapshot_is_released_at_the_end_and_the_safety_backup_only_after_a_good_one() {
    let job = at(Goal::Load, Stage::Verify, State::Ready);
    let job = Job { snapshot: Some("/a/stores/x.json".into()), ..job };
    assert_eq!(releasable(&job), []);
    let ended = |state| Job { state, finished_at: Some(start()), ..job.clone() };
    let held = |state| releasable(&ended(state)).len();
    assert_eq!((held(State::Archived), held(State::Failed), held(State::Cancelled)), (2, 1, 1));
    let done = released(&ended(State::Archived)).unwrap();
    assert_eq!(releasable(done.job()), []);
    assert_eq!(released(done.job()), None);
}

#[test]
fn a_restore_never_goes_on_to_another_destination_and_a_backup_begins_again() {
    let job = at(Goal::Load, Stage::Verify, State::Waiting);
    assert_eq!(ended_as(&after(&job, Outcome::Retargeted, 0)), Some(ErrorKind::Rejected));
    for state in [State::Waiting, State::Ready] {
        let change = after(&super::job(state), Outcome::Retargeted, 25 * 3600);
        assert_eq!((change.job.state, &change.job.remote), (State::Queued, &None));
        assert_eq!(change.remote, RemoteEffect::Keep, "it still uses quota");
        assert_eq!(change.job.first_submitted_at, None);
    }
}

#[test]
fn a_backup_of_a_version_makes_way_before_it_is_submitted() {
    let new = || NewJob {
        source: "stores".into(),
        account: "contoso".into(),
        trigger: Trigger::Manual,
        note: "by hand".into(),
    };
    let job = create_version(8, new(), "v1".into(), start()).into_job();
    let ended = supersede(&job, start()).unwrap();
    assert!(ended.is_legal());
    assert_eq!((ended.job().state, ended.events().len()), (State::Cancelled, 1));
    assert_eq!(supersede(&intended(&job, start()), start()), None);
    assert_eq!(supersede(&create(8, new(), None, start()).into_job(), start()), None);
}
