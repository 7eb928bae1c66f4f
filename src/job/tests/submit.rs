//! What follows from a submission.

use super::*;

#[test]
fn an_accepted_submission_waits_for_the_first_poll() {
    let decision = after(&job(State::Queued), accepted(), 1);
    assert_eq!(decision.job.state, State::Waiting);
    let accepted =
        RemoteEffect::Accepted { id: Some("abc".into()), status_url: "https://h/s".into() };
    assert_eq!(decision.remote, accepted);
    assert_eq!(decision.job.first_submitted_at, Some(start()));
    assert!(!decision.job.is_submitting());
    assert_eq!(seconds_until_due(&decision, 1), 5.0);
}

#[test]
fn refusals_of_the_submission_end_the_job_at_once_and_cost_no_attempt() {
    for (kind, expected) in [
        (FailureKind::Credentials, ErrorKind::Credentials),
        (FailureKind::NotFound, ErrorKind::NotFound),
        (FailureKind::Rejected, ErrorKind::Rejected),
    ] {
        let decision = after(&job(State::Queued), failed(kind), 0);
        assert_eq!(ended_as(&decision), Some(expected));
        assert_eq!(decision.job.attempts, 0);
        assert_eq!(decision.remote, RemoteEffect::Refused);
    }
}

#[test]
fn a_limit_of_the_account_is_waited_out_without_an_attempt() {
    let mut job = job(State::Queued);
    for waits in [5.0, 10.0, 20.0] {
        job.attempts = 1;
        let decision = after(&job, failed(FailureKind::Quota), 0);
        assert_eq!(decision.job.state, State::Queued);
        assert_eq!(decision.job.attempts, 0);
        assert_eq!(decision.remote, RemoteEffect::Refused);
        assert_eq!(decision.job.waiting.as_ref().map(|wait| wait.why), Some(WaitReason::Limit));
        assert_eq!(seconds_until_due(&decision, 0), waits);
        job = decision.job;
    }
}

#[test]
fn a_service_that_is_away_is_asked_as_often_as_allowed() {
    let mut job = job(State::Queued);
    for _ in 1..8 {
        job.attempts = 1;
        let decision = after(&job, failed(FailureKind::Unavailable), 0);
        assert_eq!((decision.job.state, decision.job.attempts), (State::Queued, 0));
        job = decision.job;
    }
    job.attempts = 1;
    let decision = after(&job, failed(FailureKind::NotSent), 0);
    assert_eq!(ended_as(&decision), Some(ErrorKind::Unavailable));
}

#[test]
fn lost_answers_count_as_remote_jobs_and_are_replaced_while_allowed() {
    let lost = || {
        let failure = Failure::new(FailureKind::Lost, "no answer");
        Outcome::Failed(Failure { maybe_started: true, ..failure })
    };
    let mut job = job(State::Queued);
    let first = after(&job, lost(), 0);
    assert_eq!((first.job.state, first.job.attempts), (State::Queued, 1));
    assert_eq!(first.remote, RemoteEffect::Unanswered);
    assert_eq!(first.job.first_submitted_at, Some(start()));
    job = Job { attempts: 3, ..first.job };
    let last = after(&job, lost(), 0);
    assert_eq!(ended_as(&last), Some(ErrorKind::Unavailable));
    assert_eq!(last.job.attempts, 3);
}

#[test]
fn a_submission_that_may_have_taken_effect_counts_as_a_remote_job_whatever_its_failure() {
    for kind in FailureKind::ALL.iter().copied() {
        let failure = Failure { maybe_started: true, ..Failure::new(kind, "m") };
        let outcome = Outcome::Failed(failure);
        let first = after(&job(State::Queued), outcome.clone(), 0);
        assert_eq!((first.job.state, first.job.attempts), (State::Queued, 1), "{kind}");
        assert_eq!(first.remote, RemoteEffect::Unanswered, "{kind}");
        let last = after(&Job { attempts: 3, ..job(State::Queued) }, outcome, 0);
        let unintelligible = [FailureKind::Protocol, FailureKind::Undecodable].contains(&kind);
        let expected = if unintelligible { ErrorKind::Protocol } else { ErrorKind::Unavailable };
        assert_eq!(ended_as(&last), Some(expected), "{kind}");
    }
}

#[test]
fn a_crash_between_intent_and_answer_is_charged() {
    let decision = unanswered(&job(State::Queued), &policy(), start());
    assert_eq!(decision.job.state, State::Queued);
    assert_eq!((decision.job.attempts, decision.job.is_submitting()), (1, false));
    assert_eq!(seconds_until_due(&decision, 0), 1.0, "no sooner than a retry");
    assert_eq!(decision.remote, RemoteEffect::Unanswered);
    let last = Job { attempts: 3, ..job(State::Queued) };
    assert_eq!(ended_as(&unanswered(&last, &policy(), start())), Some(ErrorKind::Unavailable));
}

/// A job that is due for the first time.
fn new_job() -> Job {
    Job { attempts: 0, remote: None, ..job(State::Queued) }
}

fn unchanged() -> Outcome {
    Outcome::Unchanged { manifest: "/a/old.json".into(), message: "unchanged: so it is".into() }
}

#[test]
fn a_night_without_a_change_ends_with_the_older_snapshot_and_no_remote_job() {
    let change = after(&new_job(), unchanged(), 3);
    assert!(change.is_legal());
    assert_eq!((change.by, &change.remote), (Mover::Look, &RemoteEffect::Keep));
    let ended = change.job;
    assert_eq!((ended.state, ended.attempts, ended.polls), (State::Archived, 0, 0));
    assert_eq!(ended.snapshot, Some("/a/old.json".into()));
    assert_eq!(ended.finished_at, Some(start() + TimeDelta::seconds(3)));
}

#[test]
fn after_a_look_that_finds_a_change_the_job_is_submitted_at_once() {
    let note = Some("what is published is not known".to_owned());
    let change = after(&new_job(), Outcome::NotUnchanged { note }, 3);
    assert!(change.is_legal());
    assert_eq!(change.events.len(), 1);
    let next = change.job;
    assert_eq!((next.state, next.due_at), (State::Queued, start() + TimeDelta::seconds(3)));
    assert_eq!((next.attempts, next.remote), (0, None));
}

#[test]
fn a_job_that_is_cancelled_during_a_look_stays_cancelled() {
    let cancelled = cancel(&new_job(), start()).unwrap().into_job();
    assert_eq!(cancelled.state, State::Cancelled);
    assert_eq!(late(&cancelled, &after(&new_job(), unchanged(), 3)), None);
}

#[test]
fn only_the_first_submission_of_an_ordinary_backup_is_looked_at_first() {
    let looking = AccountLimits { looks_first: true, ..limits(1) };
    assert!(looks_first(&new_job(), &looking));
    assert!(!looks_first(&new_job(), &limits(1)));
    for other in [
        job(State::Queued),
        Job { attempts: 1, ..new_job() },
        Job { version: Some("v1".into()), ..new_job() },
    ] {
        assert!(!looks_first(&other, &looking));
    }
}
