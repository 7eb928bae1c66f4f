//! What follows from a fetch.

use super::*;

#[test]
fn a_download_that_breaks_is_tried_as_often_as_allowed() {
    let mut job = job(State::Ready);
    for _ in 1..8 {
        job = after(&job, failed(FailureKind::Lost), 0).job;
        assert_eq!(job.state, State::Ready);
    }
    assert_eq!(ended_as(&after(&job, failed(FailureKind::Lost), 0)), Some(ErrorKind::Unavailable));
}

#[test]
fn a_result_that_fails_validation_is_exported_again_while_allowed() {
    for kind in [ErrorKind::Incomplete, ErrorKind::Corrupt] {
        let unproven = || Outcome::Unproven { kind, message: "half of it".into() };
        let decision = after(&job(State::Ready), unproven(), 0);
        assert_eq!((decision.job.state, decision.job.remote), (State::Queued, None));
        let last = after(&Job { attempts: 3, ..job(State::Ready) }, unproven(), 0);
        assert_eq!(ended_as(&last), Some(kind));
    }
}

#[test]
fn the_last_attempt_is_the_one_that_nothing_may_replace() {
    let policy = policy();
    let late = start() + TimeDelta::from_std(policy.deadline).unwrap();
    for (attempts, now, expected) in [
        (1, start(), false),
        (2, start(), false),
        (3, start(), true),
        (4, start(), true),
        (1, late, true),
    ] {
        let job = Job { attempts, first_submitted_at: Some(start()), ..job(State::Ready) };
        assert_eq!(is_last_attempt(&job, &policy, now), expected, "{attempts} {now}");
        let unproven = Outcome::Unproven { kind: ErrorKind::Corrupt, message: "m".into() };
        let state = decide(&job, &unproven, &policy, now, 0.5).job.state;
        assert_eq!(state == State::Failed, expected, "the decision agrees");
    }
}

#[test]
fn a_full_disk_is_waited_out_for_as_long_as_it_takes() {
    let mut job = job(State::Ready);
    for _ in 0..100 {
        let decision = after(&job, Outcome::Storage("full".into()), 0);
        assert_eq!(decision.job.state, State::Ready);
        assert_eq!(decision.job.waiting.as_ref().map(|wait| wait.why), Some(WaitReason::Storage));
        job = decision.job;
    }
    assert_eq!(job.attempts, 1);
}

#[test]
fn a_filed_snapshot_ends_the_job_well() {
    let outcome = Outcome::Archived {
        manifest: "/a/stores/x.json".into(),
        message: "3 entities".into(),
        suspicious: vec!["few".into()],
        notes: vec!["1 value".into()],
    };
    let decision = after(&job(State::Ready), outcome, 9);
    assert_eq!(decision.job.state, State::Archived);
    assert_eq!(decision.job.finished_at, Some(start() + TimeDelta::seconds(9)));
    assert_eq!(decision.job.snapshot, Some("/a/stores/x.json".into()));
    let kinds: Vec<_> = decision.events.iter().map(|event| event.kind().as_str()).collect();
    assert_eq!(kinds, ["archived", "note", "suspicious"]);
}
