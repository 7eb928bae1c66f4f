mod moves;
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

/// The job as it is once its intent to submit is stored.
fn intended(job: &Job, now: DateTime<Utc>) -> Job {
    let limits =
        AccountLimits { quota: Quota { max_in_process: 1, max_jobs_per_day: 1 }, policy: policy() };
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
fn polls_spread_out_up_to_the_maximum() {
    let mut job = after(&job(State::Queued), accepted(), 0).job;
    let mut waits = Vec::new();
    for _ in 0..8 {
        let decision = after(&job, pending(), 0);
        waits.push(seconds_until_due(&decision, 0));
        job = decision.job;
    }
    assert_eq!(waits, [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0]);
    assert_eq!(job.polls, 8);
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
fn an_unknown_status_word_is_noted_once() {
    let odd =
        || polled(Progress::Pending { word: "Dreaming".into(), known: false, retry_after: None });
    let first = after(&job(State::Waiting), odd(), 0);
    assert_eq!(first.events.len(), 1);
    assert!(first.events[0].message().contains("Dreaming"));
    assert_eq!(after(&first.job, odd(), 10).events, []);
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
fn a_crash_between_intent_and_answer_is_charged() {
    let decision = unanswered(&job(State::Queued), &policy(), start());
    assert_eq!(decision.job.state, State::Queued);
    assert_eq!((decision.job.attempts, decision.job.is_submitting()), (1, false));
    assert_eq!(seconds_until_due(&decision, 0), 1.0, "no sooner than a retry");
    assert_eq!(decision.remote, RemoteEffect::Unanswered);
    let last = Job { attempts: 3, ..job(State::Queued) };
    assert_eq!(ended_as(&unanswered(&last, &policy(), start())), Some(ErrorKind::Unavailable));
}

/// A status answer about another job, created so many seconds after our submission.
fn about_another(progress: Progress, created: Option<i64>) -> Outcome {
    let created_at = created.map(|seconds| start() + TimeDelta::seconds(seconds));
    let other = Some(OtherJob { id: "xyz".into(), created_at });
    Outcome::Polled(Polled { other, ..Polled::ours(progress) })
}

fn completed() -> Progress {
    Progress::Completed { result_url: Some("https://h/r".into()), expected: Some(3) }
}

#[test]
fn the_result_of_another_job_is_taken_when_it_is_no_older_than_the_submission() {
    for created in [-300, 0, 999] {
        let decision = after(&job(State::Waiting), about_another(completed(), Some(created)), 60);
        assert_eq!(decision.job.state, State::Ready, "{created}");
        assert_eq!(decision.remote, RemoteEffect::Ended);
        let [note, _] = decision.events.as_slice() else { panic!("{decision:?}") };
        assert!(note.message().contains("xyz") && note.message().contains("abc"), "{note:?}");
    }
}

#[test]
fn any_other_answer_about_another_job_counts_as_pending_and_is_noted_once() {
    let aborted = Progress::Aborted { message: "no".into(), error_log_url: None };
    let pending = Progress::Pending { word: "?".into(), known: false, retry_after: None };
    for (progress, created) in [
        (completed(), Some(-301)),
        (completed(), None),
        (aborted, Some(0)),
        (pending, Some(0)),
        (Progress::Completed { result_url: None, expected: None }, None),
    ] {
        let answer = || about_another(progress.clone(), created);
        let first = after(&job(State::Waiting), answer(), 0);
        assert_eq!((first.job.state, &first.remote), (State::Waiting, &RemoteEffect::Keep));
        assert_eq!(seconds_until_due(&first, 0), 10.0, "as a pending one");
        assert_eq!((first.job.rounds, first.job.polls, first.job.failures), (1, 1, 0));
        let [note] = first.events.as_slice() else { panic!("{first:?}") };
        assert_eq!(note.kind(), EventKind::Note);
        let wait = first.job.waiting.as_ref().unwrap();
        assert_eq!((wait.why, &wait.message), (WaitReason::OtherJob, &note.message()));
        let second = after(&first.job, answer(), 10);
        assert_eq!((second.job.state, second.events), (State::Waiting, Vec::new()));
        let late = after(&second.job, answer(), 24 * 3600);
        assert_eq!(ended_as(&late), Some(ErrorKind::Deadline));
        assert_eq!(late.job.waiting, None);
        assert!(late.job.error.unwrap().message.contains("xyz"));
    }
}

#[test]
fn failing_to_ask_never_fails_the_job_before_its_deadline() {
    let mut job = job(State::Waiting);
    for _ in 0..50 {
        job = after(&job, failed(FailureKind::Unavailable), 60).job;
        assert_eq!(job.state, State::Waiting);
    }
    // And the count starts again with the first answer.
    assert_eq!(after(&job, pending(), 60).job.failures, 0);
    let late = after(&job, failed(FailureKind::Lost), 24 * 3600);
    assert_eq!(ended_as(&late), Some(ErrorKind::Deadline));
    assert!(late.job.error.unwrap().message.contains("so it is"));
}

#[test]
fn the_deadline_is_looked_at_exactly_when_it_comes() {
    let nearly = 24 * 3600 - 10;
    let decision = after(&Job { rounds: 9, ..job(State::Waiting) }, pending(), nearly);
    assert_eq!(seconds_until_due(&decision, nearly), 10.0);
    assert_eq!(ended_as(&after(&decision.job, pending(), nearly + 10)), Some(ErrorKind::Deadline));
}

#[test]
fn a_result_that_is_there_when_the_deadline_comes_is_fetched() {
    let done = Progress::Completed { result_url: Some("https://h/r".into()), expected: Some(3) };
    let decision = after(&job(State::Waiting), polled(done), 25 * 3600);
    assert_eq!(decision.job.state, State::Ready);
    assert_eq!(decision.job.expected(), Some(3));
    assert_eq!(decision.remote, RemoteEffect::Ended);
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

#[test]
fn an_answer_ends_the_count_of_a_404() {
    let missing = after(&job(State::Waiting), failed(FailureKind::NotFound), 0);
    assert!(missing_since(&missing.job).is_some());
    assert_eq!(missing_since(&after(&missing.job, pending(), 60).job), None);
}

#[test]
fn what_the_service_aborts_is_replaced_while_allowed() {
    let aborted = || polled(Progress::Aborted { message: "no luck".into(), error_log_url: None });
    let decision = after(&job(State::Waiting), aborted(), 0);
    assert_eq!((decision.job.state, decision.remote), (State::Queued, RemoteEffect::Ended));
    let last = after(&Job { attempts: 3, ..job(State::Waiting) }, aborted(), 0);
    assert_eq!(ended_as(&last), Some(ErrorKind::Aborted));
    assert!(last.job.error.unwrap().message.contains("no luck"));
}

#[test]
fn nothing_is_submitted_again_once_the_time_is_over() {
    let aborted = polled(Progress::Aborted { message: "late".into(), error_log_url: None });
    let decision = after(&job(State::Waiting), aborted, 24 * 3600);
    assert_eq!(ended_as(&decision), Some(ErrorKind::Aborted));
}

#[test]
fn completion_without_a_link_is_asked_about_three_times_more() {
    let empty = || polled(Progress::Completed { result_url: None, expected: Some(1) });
    let mut job = job(State::Waiting);
    for _ in 0..3 {
        job = after(&job, empty(), 0).job;
        assert_eq!(job.state, State::Waiting);
    }
    assert_eq!(after(&job, empty(), 0).job.state, State::Queued);
    let last = after(&Job { attempts: 3, ..job }, empty(), 0);
    assert_eq!(ended_as(&last), Some(ErrorKind::Protocol));
}

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

fn any_failure() -> impl Strategy<Value = Outcome> {
    let kinds = prop::sample::select(vec![
        FailureKind::NotSent,
        FailureKind::Lost,
        FailureKind::Unavailable,
        FailureKind::Quota,
        FailureKind::Credentials,
        FailureKind::NotFound,
        FailureKind::Rejected,
        FailureKind::Protocol,
    ]);
    (kinds, prop::option::of(0u64..4000), any::<bool>()).prop_map(|(kind, wish, maybe)| {
        Outcome::Failed(Failure {
            retry_after: wish.map(Duration::from_secs),
            maybe_started: maybe && matches!(kind, FailureKind::Lost | FailureKind::Protocol),
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
                None => break,
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
        // More steps than a deadline of 24 hours and waits of up to 5 minutes leave room for.
        prop_assert!(job.state.is_final(), "still {} at {now}", job.state);
    }
}
