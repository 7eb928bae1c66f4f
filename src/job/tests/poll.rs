//! What follows from a poll.

use super::*;

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
fn an_unknown_status_word_is_noted_once() {
    let odd =
        || polled(Progress::Pending { word: "Dreaming".into(), known: false, retry_after: None });
    let first = after(&job(State::Waiting), odd(), 0);
    assert_eq!(first.events.len(), 1);
    assert!(first.events[0].message().contains("Dreaming"));
    assert_eq!(after(&first.job, odd(), 10).events, []);
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
fn only_a_backup_of_what_is_published_takes_the_result_of_another_job() {
    let backup = job(State::Waiting);
    let version = Job { version: Some("v".into()), ..backup.clone() };
    let of_stage = |stage| {
        let restore = Restore { stage, ..restores::restore_for(Goal::Load) };
        let operation = Operation::Restore;
        Job { operation, restore: Some(Box::new(restore)), ..backup.clone() }
    };
    for waiting in [version, of_stage(Stage::Safety), of_stage(Stage::Verify)] {
        let decision = after(&waiting, about_another(completed(), Some(60)), 60);
        assert_eq!(decision.job.state, State::Waiting, "{waiting:?}");
        let why = decision.job.waiting.map(|wait| wait.why);
        assert_eq!(why, Some(WaitReason::OtherJob));
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
fn an_answer_ends_the_count_of_a_404() {
    let missing = after(&job(State::Waiting), failed(FailureKind::NotFound), 0);
    assert!(missing_since(&missing.job).is_some());
    assert_eq!(missing_since(&after(&missing.job, pending(), 60).job), None);
}
