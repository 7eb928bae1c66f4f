//! What the tests share, and what holds for all steps.

mod fetch;
mod kinds;
mod moves;
mod poll;
mod restore_ends;
mod restores;
mod submit;
mod transitions;

use super::*;
use crate::policy::backoff::Backoff;
use crate::policy::quota::Quota;
use chrono::{TimeDelta, TimeZone};
use proptest::prelude::*;
use std::time::Duration;

fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 25, 2, 0, 0).unwrap()
}

fn policy() -> Policy {
    Policy {
        poll: Backoff {
            initial: Duration::from_secs(5),
            max: Duration::from_mins(5),
            factor: 2.0,
            jitter: 0.2,
        },
        deadline: Duration::from_hours(24),
        retry: Backoff {
            initial: Duration::from_secs(1),
            max: Duration::from_mins(5),
            factor: 2.0,
            jitter: 0.2,
        },
        attempts: 8,
        job_attempts: 3,
        lost_after: Duration::from_mins(15),
    }
}

pub(super) fn job(state: State) -> Job {
    let sent = state != State::Queued;
    Job {
        wait: TimeDelta::zero(),
        id: 7,
        operation: Operation::Backup,
        version: None,
        restore: None,
        source: "stores".into(),
        account: "contoso".into(),
        state,
        trigger: Trigger::Schedule,
        scheduled_for: Some(start()),
        created_at: start(),
        finished_at: None,
        due_at: start(),
        waiting: None,
        // A queued job is decided upon once its intent is written: that counts already.
        attempts: 1,
        polls: 0,
        rounds: 0,
        failures: 0,
        first_submitted_at: sent.then(start),
        remote: Some(RemoteJob {
            record: Some(1),
            submitting: !sent,
            id: sent.then(|| "abc".into()),
            status_url: sent.then(|| "https://h/s".into()),
            result_url: (state == State::Ready).then(|| "https://h/r".into()),
            ..RemoteJob::intended(start())
        }),
        error: None,
        snapshot: None,
    }
}

/// Decides without jitter.
fn after(job: &Job, outcome: Outcome, seconds: i64) -> Change {
    decide(job, &outcome, &policy(), start() + TimeDelta::seconds(seconds), 0.5)
}

fn failed(kind: FailureKind) -> Outcome {
    Outcome::Failed(Failure::new(kind, "so it is"))
}

fn pending() -> Outcome {
    polled(Progress::Pending { word: "Pending".into(), known: true, retry_after: None })
}

fn polled(progress: Progress) -> Outcome {
    Outcome::Polled(Polled::ours(progress))
}

fn accepted() -> Outcome {
    Outcome::Submitted(Submitted {
        remote_id: Some("abc".into()),
        status_url: "https://h/s".into(),
        notes: Vec::new(),
    })
}

fn limits(max_in_process: u32) -> AccountLimits {
    let quota = Quota { max_in_process, max_jobs_per_day: 9 };
    AccountLimits { quota, policy: policy(), requested: "stores".into(), looks_first: false }
}

/// The job as it is once its intent to submit is stored.
fn intended(job: &Job, now: DateTime<Utc>) -> Job {
    let limits = limits(1);
    let mut change = claim(job, &limits, &Usage::default(), now).unwrap();
    assert!(change.intends_to_submit() && change.keeps_lease() && change.is_legal());
    change.set_record(1);
    change.into_job()
}

fn missing_since(job: &Job) -> Option<DateTime<Utc>> {
    job.remote.as_ref().unwrap().missing_since
}

fn seconds_until_due(decision: &Change, from: i64) -> f64 {
    let from = start() + TimeDelta::seconds(from);
    (decision.job.due_at - from).num_milliseconds() as f64 / 1000.0
}

fn ended_as(decision: &Change) -> Option<ErrorKind> {
    assert_eq!(decision.job.state, State::Failed, "{decision:?}");
    assert!(decision.job.finished_at.is_some());
    decision.job.error.as_ref().map(|error| error.kind)
}

#[test]
fn a_longer_retry_after_overrides_the_backoff() {
    let wish = Some(Duration::from_secs(777));
    let progress = Progress::Pending { word: "Pending".into(), known: true, retry_after: wish };
    assert_eq!(seconds_until_due(&after(&job(State::Waiting), polled(progress), 0), 0), 777.0);
    for (state, kind) in [
        (State::Queued, FailureKind::Quota),
        (State::Queued, FailureKind::Unavailable),
        (State::Waiting, FailureKind::Unavailable),
        (State::Ready, FailureKind::Unavailable),
    ] {
        let failure = Failure { retry_after: wish, ..Failure::new(kind, "later") };
        let decision = after(&job(state), Outcome::Failed(failure), 0);
        assert_eq!(seconds_until_due(&decision, 0), 777.0, "{state} {kind:?}");
    }
}

#[test]
fn a_retry_after_never_shortens_a_wait_and_is_capped_at_an_hour() {
    let waits = |wish: Duration| {
        let progress =
            Progress::Pending { word: "Pending".into(), known: true, retry_after: Some(wish) };
        let polled = after(&job(State::Waiting), polled(progress), 0);
        let refused = |state, kind, maybe_started| {
            let failure =
                Failure { retry_after: Some(wish), maybe_started, ..Failure::new(kind, "later") };
            after(&job(state), Outcome::Failed(failure), 0)
        };
        [
            polled,
            refused(State::Queued, FailureKind::Quota, false),
            refused(State::Queued, FailureKind::Unavailable, false),
            refused(State::Queued, FailureKind::Lost, true),
            refused(State::Waiting, FailureKind::Quota, false),
            refused(State::Waiting, FailureKind::NotFound, false),
            refused(State::Ready, FailureKind::Unavailable, false),
        ]
        .map(|decision| seconds_until_due(&decision, 0))
    };
    let own = [10.0, 5.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    assert_eq!(waits(Duration::ZERO), own);
    assert_eq!(waits(Duration::from_millis(500)), own);
    let day = waits(Duration::from_hours(24));
    // A 404 is looked at again when it would count as lost.
    assert_eq!(day, [3600.0, 3600.0, 3600.0, 3600.0, 3600.0, 900.0, 3600.0]);
}

#[test]
fn a_wait_has_its_reason_apart_from_its_time() {
    let decision = after(&job(State::Queued), failed(FailureKind::Quota), 0);
    let [event] = decision.events.as_slice() else { panic!("{decision:?}") };
    assert_eq!(event.reason(), Some("so it is"));
    assert_eq!(event.message(), "so it is; next try at 2026-11-25T02:00:05Z");
}

#[test]
fn a_lack_of_local_resources_costs_no_attempt_and_ends_no_job() {
    for state in [State::Queued, State::Waiting, State::Ready] {
        let attempts = u32::from(state != State::Queued);
        let mut job = job(state);
        let mut waits = Vec::new();
        for _ in 0..50 {
            job.attempts = 1;
            let decision = after(&job, failed(FailureKind::Local), 25 * 3600);
            assert_eq!((decision.job.state, decision.job.attempts), (state, attempts));
            assert_eq!((decision.job.failures, decision.job.polls), (0, 0));
            assert_eq!(decision.job.waiting.as_ref().map(|wait| wait.why), Some(WaitReason::Local));
            waits.push(seconds_until_due(&decision, 25 * 3600));
            job = decision.job;
        }
        assert_eq!((waits[0], waits[1], waits[49]), (1.0, 2.0, 300.0), "as other retries");
    }
}

#[test]
fn a_key_that_was_accepted_is_refused_three_times_before_it_is_believed() {
    for state in [State::Waiting, State::Ready] {
        let mut job = job(state);
        for _ in 0..2 {
            job = after(&job, failed(FailureKind::Credentials), 0).job;
            assert_eq!(job.state, state);
        }
        let decision = after(&job, failed(FailureKind::Credentials), 0);
        assert_eq!(ended_as(&decision), Some(ErrorKind::Credentials));
    }
}

#[test]
fn a_404_may_pass_and_one_that_lasts_means_a_lost_remote_job() {
    for state in [State::Waiting, State::Ready] {
        let young = after(&job(state), failed(FailureKind::NotFound), 0);
        assert_eq!(young.job.state, state);
        let still = after(&young.job, failed(FailureKind::NotFound), 14 * 60 + 59);
        assert_eq!(still.job.state, state);
        assert_eq!(seconds_until_due(&still, 14 * 60 + 59), 1.0);
        let lost = after(&still.job, failed(FailureKind::NotFound), 15 * 60);
        assert_eq!((lost.job.state, lost.remote), (State::Queued, RemoteEffect::Ended));
        assert_eq!(lost.job.remote, None);
        let last = Job { attempts: 3, ..still.job };
        let given_up = after(&last, failed(FailureKind::NotFound), 15 * 60);
        assert_eq!(ended_as(&given_up), Some(ErrorKind::NotFound));
    }
}

fn any_failure() -> impl Strategy<Value = Outcome> {
    let kinds = prop::sample::select(FailureKind::ALL);
    (kinds, prop::option::of(0u64..4000), any::<bool>()).prop_map(|(kind, wish, maybe)| {
        Outcome::Failed(Failure {
            retry_after: wish.map(Duration::from_secs),
            maybe_started: maybe && matches!(kind, FailureKind::Lost | FailureKind::Protocol),
            answered: !matches!(
                kind,
                FailureKind::Local | FailureKind::NotSent | FailureKind::Lost
            ),
            ..Failure::new(kind, "x")
        })
    })
}

/// What can come of the step that a state asks for.
fn any_outcome(state: State) -> BoxedStrategy<Outcome> {
    match state {
        State::Queued => prop_oneof![
            any_failure().prop_filter("a limit may last for ever", |outcome| !matches!(
                outcome,
                Outcome::Failed(Failure { kind: FailureKind::Quota, .. })
            )),
            Just(accepted()),
        ]
        .boxed(),
        State::Waiting => prop_oneof![
            3 => Just(pending()),
            2 => any_failure(),
            1 => Just(polled(Progress::Completed { result_url: None, expected: None })),
            1 => Just(polled(Progress::Completed {
                result_url: Some("https://h/r".into()),
                expected: Some(1),
            })),
            1 => Just(polled(Progress::Aborted { message: "m".into(), error_log_url: None })),
        ]
        .boxed(),
        _ => prop_oneof![
            any_failure(),
            Just(Outcome::Unproven { kind: ErrorKind::Corrupt, message: "m".into() }),
            Just(Outcome::Unproven { kind: ErrorKind::Incomplete, message: "m".into() }),
        ]
        .boxed(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the service does, short of limits and full disks, a job comes to its end, never
    /// makes more remote jobs than allowed, and is always in a state that makes sense.
    #[test]
    fn every_job_ends_and_stays_consistent(
        outcomes in prop::collection::vec(
            (any_outcome(State::Queued), any_outcome(State::Waiting), any_outcome(State::Ready)),
            600,
        ),
        random in 0.0f64..1.0,
    ) {
        let policy = policy();
        let mut job = Job { attempts: 0, remote: None, ..job(State::Queued) };
        let mut now = start();
        for (queued, waiting, ready) in &outcomes {
            let outcome = match job.step() {
                Some(JobStep::Submit) => {
                    job = intended(&job, now);
                    queued
                }
                Some(JobStep::Poll) => waiting,
                Some(JobStep::Fetch) => ready,
                Some(JobStep::Check | JobStep::Look | JobStep::Compare) | None => break,
            };
            let decision = decide(&job, outcome, &policy, now, random);
            prop_assert!(decision.is_legal(), "{decision:?}");
            let next = &decision.job;
            prop_assert!(next.attempts <= policy.job_attempts);
            prop_assert!(next.polls >= job.polls);
            prop_assert!(!next.is_submitting());
            prop_assert_eq!(next.state.is_final(), next.finished_at.is_some());
            prop_assert_eq!(next.state == State::Failed, next.error.is_some());
            prop_assert!(next.due_at >= now);
            match next.state {
                State::Waiting => prop_assert!(next.status_url().is_some()),
                State::Ready => prop_assert!(next.result_url().is_some()),
                _ => {}
            }
            if job.state != next.state {
                prop_assert!(!decision.events.is_empty(), "a transition without a trace");
            }
            now = next.due_at.max(now);
            job = decision.job;
        }
        // More steps than a deadline of 24 hours and waits of up to 5 minutes leave time for.
        prop_assert!(job.state.is_final(), "still {} at {now}", job.state);
    }
}
