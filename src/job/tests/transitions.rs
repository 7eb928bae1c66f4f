//! Transitions that no step makes.

use super::*;

fn queued() -> Job {
    Job { attempts: 0, remote: None, ..job(State::Queued) }
}

fn messages(change: &Change) -> Vec<(&'static str, String)> {
    change.events().iter().map(|it| (it.kind().as_str(), it.message())).collect()
}

fn now() -> DateTime<Utc> {
    start() + TimeDelta::minutes(1)
}

fn new_job() -> NewJob {
    NewJob {
        source: "stores".into(),
        account: "contoso".into(),
        trigger: Trigger::CatchUp,
        note: "catch-up for a missed run".into(),
    }
}

#[test]
fn a_scheduled_time_becomes_a_job_that_is_due_at_once() {
    let scheduled = ScheduledTime { at: start(), missed: 1 };
    let change = account_for(None, 9, new_job(), scheduled, now());
    let job = change.job();
    assert_eq!((job.id, job.state, job.operation), (9, State::Queued, Operation::Backup));
    assert_eq!((job.scheduled_for, job.trigger), (Some(start()), Trigger::CatchUp));
    assert_eq!((job.created_at, job.due_at, job.wait), (now(), now(), TimeDelta::zero()));
    assert_eq!((job.attempts, &job.remote, &job.waiting), (0, &None, &None));
    let note = "catch-up for a missed run (and one earlier time that was missed)";
    assert_eq!(messages(&change), [("queued", note.to_owned())]);
}

#[test]
fn a_scheduled_time_is_skipped_while_a_job_is_live() {
    let scheduled = ScheduledTime { at: start(), missed: 2 };
    let live = job(State::Waiting);
    let change = account_for(Some(&live), 9, new_job(), scheduled, now());
    assert_eq!((change.job(), change.keeps_lease()), (&live, true));
    let message = "the scheduled time 2026-11-25T02:00:00Z (and 2 earlier times that were missed) \
                   is skipped: this job is still live";
    assert_eq!(messages(&change), [("skipped", message.to_owned())]);
}

#[test]
fn the_intent_to_submit_is_charged_before_anything_is_sent() {
    let waiting = Some(Wait { why: WaitReason::Quota, message: "waits for quota: x".into() });
    let waited = Job { waiting, wait: TimeDelta::hours(9), ..queued() };
    let change = claim(&waited, &limits(1), &Usage::default(), now()).unwrap();
    assert!(change.intends_to_submit() && change.keeps_lease());
    let next = change.job();
    assert_eq!((next.due_at, next.wait), (now(), TimeDelta::zero()), "the wait is over");
    assert_eq!((next.state, next.attempts, &next.waiting), (State::Queued, 1, &None));
    let requested = Some("stores".to_owned());
    assert_eq!(next.remote, Some(RemoteJob { requested, ..RemoteJob::intended(now()) }));
    assert!(next.is_submitting());
    assert_eq!(next.submitted_at(), now());
    assert_eq!(messages(&change), []);
}

#[test]
fn a_job_without_quota_waits_until_it_may_be_free_and_says_so_once() {
    let usage = Usage { running: vec![start()], started: vec![start()], first: Vec::new() };
    let change = claim(&queued(), &limits(1), &usage, now()).unwrap();
    assert!(!change.intends_to_submit() && !change.keeps_lease());
    let next = change.job();
    let until = start() + LONGEST_REMOTE_JOB;
    assert_eq!((next.due_at, next.wait, next.attempts), (until, until - now(), 0));
    assert_eq!(next.waiting.as_ref().unwrap().why, WaitReason::Quota);
    let [(kind, message)] = messages(&change).try_into().unwrap();
    assert_eq!(kind, "quota");
    assert!(message.starts_with("waits for quota: "), "{message}");
    assert!(message.ends_with("; until 2026-11-25T14:00:00Z"), "{message}");
    let again = claim(next, &limits(1), &usage, now()).unwrap();
    assert_eq!(messages(&again), []);
    // A limit of 0 allows none ever: it is looked at again after a day.
    let never = claim(&queued(), &limits(0), &Usage::default(), now()).unwrap();
    assert_eq!(never.job().due_at, now() + TimeDelta::hours(24));
}

#[test]
fn only_a_submission_needs_more_than_a_lease() {
    for state in State::ALL.iter().filter(|state| **state != State::Queued) {
        assert_eq!(claim(&job(*state), &limits(1), &Usage::default(), now()), None, "{state}");
    }
    let left = claim(&job(State::Queued), &limits(1), &Usage::default(), now()).unwrap();
    assert_eq!(left.by(), Mover::Takeover, "a dead worker's submission");
    assert_eq!(left.remote(), &RemoteEffect::Unanswered);
}

#[test]
fn a_started_remote_job_counts_twice_against_its_account() {
    let mut usage = Usage { first: vec![7, 8], ..Usage::default() };
    usage.start(7, start());
    let first = vec![8];
    assert_eq!(usage, Usage { running: vec![start()], started: vec![start()], first });
}

#[test]
fn only_what_waits_for_quota_is_woken() {
    let waits = |why, seconds| Job {
        due_at: now() + TimeDelta::seconds(seconds),
        wait: TimeDelta::seconds(seconds),
        waiting: Some(Wait { why, message: "m".into() }),
        ..queued()
    };
    let change = wake(&waits(WaitReason::Quota, 60), now()).unwrap();
    assert_eq!((change.job().due_at, change.job().wait), (now(), TimeDelta::zero()));
    assert_eq!(change.job().waiting.as_ref().unwrap().why, WaitReason::Quota);
    assert_eq!(wake(&waits(WaitReason::Quota, 0), now()), None);
    assert_eq!(wake(&waits(WaitReason::Limit, 60), now()), None);
    assert_eq!(wake(&Job { due_at: now() + TimeDelta::hours(1), ..queued() }, now()), None);
}

#[test]
fn a_live_job_follows_its_source_to_another_account() {
    let change = move_to_account(&job(State::Ready), "fabrikam").unwrap();
    assert_eq!(change.job().account, "fabrikam");
    assert!(change.keeps_lease());
    assert_eq!(move_to_account(&job(State::Ready), "contoso"), None);
    assert_eq!(move_to_account(&job(State::Failed), "fabrikam"), None);
}

#[test]
fn a_cancel_ends_a_live_job_and_frees_it() {
    for state in State::ALL {
        let job = job(*state);
        let Some(change) = cancel(&job, now()) else {
            assert!(state.is_final());
            continue;
        };
        assert!(!state.is_final() && !change.keeps_lease());
        let next = change.job();
        assert_eq!((next.state, next.finished_at), (State::Cancelled, Some(now())));
        assert_eq!(next.remote, job.remote, "it goes on at the service");
        assert_eq!(change.remote(), &RemoteEffect::Keep);
        assert_eq!(messages(&change), [("cancelled", "cancelled by a user".to_owned())]);
    }
}

#[test]
fn an_answer_that_comes_after_a_cancel_is_kept_once() {
    let submitting = job(State::Queued);
    let decided = decide(&submitting, &accepted(), &policy(), now(), 0.5);
    let cancelled = cancel(&submitting, now()).unwrap().into_job();
    let change = late(&cancelled, &decided).unwrap();
    assert_eq!((change.job(), change.moves()), (&cancelled, false));
    assert_eq!((change.remote(), change.record()), (decided.remote(), Some(1)));
    let [(kind, message)] = messages(&change).try_into().unwrap();
    assert_eq!(kind, "note");
    assert!(message.contains("had accepted the submission as remote job abc"), "{message}");
    let pending = after(&job(State::Waiting), pending(), 0);
    assert_eq!(late(&cancelled, &pending), None, "it says nothing new");
    // A commit that was reported as failed had been stored: the job has the answer already.
    assert_eq!(late(decided.job(), &decided), None);
}

#[test]
fn an_answer_that_comes_after_a_takeover_that_failed_the_job_is_kept() {
    let submitting = Job { attempts: 3, ..job(State::Queued) };
    let failed = unanswered(&submitting, &policy(), now()).into_job();
    assert_eq!((failed.state, failed.is_submitting()), (State::Failed, false));
    let decided = decide(&submitting, &accepted(), &policy(), now(), 0.5);
    let change = late(&failed, &decided).unwrap();
    assert_eq!((change.job(), change.is_legal()), (&failed, true));
    assert_eq!((change.remote(), change.record()), (decided.remote(), Some(1)));
    assert_eq!(messages(&change).len(), 1);
}

#[test]
fn a_snapshot_that_was_filed_before_the_cancel_stays_archived() {
    let outcome = Outcome::Archived {
        manifest: "/a/stores/x.json".into(),
        message: "3 entities".into(),
        suspicious: Vec::new(),
        notes: Vec::new(),
    };
    let ready = job(State::Ready);
    let decided = decide(&ready, &outcome, &policy(), now(), 0.5);
    let cancelled = cancel(&ready, start()).unwrap().into_job();
    let change = late(&cancelled, &decided).unwrap();
    let next = change.job();
    assert_eq!((next.state, next.finished_at), (State::Archived, Some(start())));
    assert_eq!(next.snapshot, decided.job().snapshot);
    let message = "the snapshot was in the archive before the cancel".to_owned();
    assert_eq!(messages(&change), [("archived", message)]);
    for state in State::ALL.iter().filter(|state| **state != State::Cancelled) {
        assert_eq!(late(&job(*state), &decided), None, "{state}");
    }
}

fn snapshot() -> ArchivedJob {
    ArchivedJob {
        job: 7,
        source: "stores".into(),
        account: "contoso".into(),
        version: None,
        scheduled_for: Some(start()),
        submitted_at: start(),
        completed_at: now(),
        remote_id: Some("abc".into()),
        expected: Some(3),
        snapshot: "/a/stores/x.json".into(),
    }
}

#[test]
fn the_import_of_an_unknown_job_makes_it_archived() {
    let change = import_unknown(&snapshot(), false);
    let job = change.job();
    assert_eq!((job.state, job.attempts), (State::Archived, 1));
    assert_eq!((job.scheduled_for, job.trigger), (Some(start()), Trigger::Schedule));
    assert_eq!((job.created_at, job.finished_at), (start(), Some(now())));
    assert_eq!((job.remote_id(), job.expected()), (Some("abc"), Some(3)));
    assert_eq!((job.submitted_at(), job.is_submitting()), (start(), false));
    assert_eq!(change.remote(), &RemoteEffect::Imported);
    assert_eq!(messages(&change), [("archived", "found in the archive".to_owned())]);
    assert_eq!(import_unknown(&snapshot(), true).job().scheduled_for, None, "a time has one job");
    let by_hand = ArchivedJob { scheduled_for: None, ..snapshot() };
    assert_eq!(import_unknown(&by_hand, false).job().trigger, Trigger::Manual);
}

#[test]
fn the_import_of_a_known_job_ends_it_as_archived() {
    let waiting = Some(Wait { why: WaitReason::Retry, message: "m".into() });
    let error = Some(JobError { kind: ErrorKind::Aborted, message: "m".into() });
    let known = Job { waiting, error, ..job(State::Queued) };
    let change = import_known(&known, &snapshot()).unwrap();
    let next = change.job();
    assert_eq!((next.state, next.finished_at), (State::Archived, Some(now())));
    assert_eq!((&next.waiting, &next.error, next.is_submitting()), (&None, &None, false));
    assert_eq!(next.snapshot, Some("/a/stores/x.json".into()));
    assert!(!change.keeps_lease());
    assert_eq!(import_known(&job(State::Archived), &snapshot()), None);
    let of_another = ArchivedJob { source: "depots".into(), ..snapshot() };
    assert_eq!(import_known(&known, &of_another), None);
}

#[test]
fn every_text_from_outside_is_redacted() {
    let key = "SECRET";
    let outcome = Outcome::Polled(Polled {
        progress: Progress::Aborted { message: format!("no {key}"), error_log_url: None },
        other: None,
        notes: vec![format!("a note with {key}")],
    });
    let last = Job { attempts: 3, ..job(State::Waiting) };
    let mut change = decide(&last, &outcome, &policy(), now(), 0.5);
    let other = || OtherJob { id: format!("x{key}"), created_at: None };
    let ours = || Some(format!("o{key}"));
    change.prepend([
        JobEvent::ErrorLog(format!("log {key}")),
        JobEvent::Submitted { id: ours(), attempt: 1 },
        JobEvent::AcceptedLate { id: ours() },
        JobEvent::UnknownStatus { word: key.into() },
        JobEvent::AnswerAboutAnother { other: other(), ours: ours() },
        JobEvent::ResultOfAnother { other: other(), ours: ours() },
        JobEvent::Waits { why: WaitReason::Retry, reason: key.into(), until: now() },
        JobEvent::Archived { message: key.into() },
        JobEvent::Suspicious { reason: key.into() },
    ]);
    change.job.waiting = Some(Wait { why: WaitReason::Retry, message: key.into() });
    assert!(format!("{change:?}").contains(key));
    change.map_texts(|text| text.replace(key, "•"));
    assert!(!format!("{change:?}").contains(key), "{change:?}");
    let shown: Vec<_> = messages(&change);
    assert!(shown.iter().all(|(_, message)| !message.contains(key)), "{shown:?}");
}

#[test]
fn a_verdict_stays_the_same_when_the_clock_is_corrected_and_the_corrected_times_stay() {
    let outcome = Outcome::Unproven { kind: ErrorKind::Corrupt, message: "m".into() };
    let with = |first_submitted_at| Job { first_submitted_at, ..job(State::Ready) };
    let (old, young) = (Some(start() - TimeDelta::hours(25)), Some(start()));
    for (seen, stored, state) in [
        (old, old, State::Failed),
        (old, young, State::Failed),
        (young, old, State::Queued),
        (young, young, State::Queued),
    ] {
        let (seen, stored) = (with(seen), with(stored));
        let change = decide_as_seen(&stored, &seen, &outcome, &policy(), now(), 0.5);
        assert_eq!(change.job().state, state);
        assert_eq!(change.job().first_submitted_at, stored.first_submitted_at);
    }
    // A 404 that is new sets its own time.
    let missing = failed(FailureKind::NotFound);
    let seen = job(State::Waiting);
    let change = decide_as_seen(&seen, &seen, &missing, &policy(), now(), 0.5);
    assert_eq!(change, decide(&seen, &missing, &policy(), now(), 0.5));
    assert_eq!(missing_since(change.job()), Some(now()));
}

#[test]
fn only_a_missed_time_that_is_not_caught_up_with_makes_no_job() {
    for (missed, catch_up, trigger) in [
        (false, false, Some(Trigger::Schedule)),
        (false, true, Some(Trigger::Schedule)),
        (true, false, None),
        (true, true, Some(Trigger::CatchUp)),
    ] {
        assert_eq!(trigger_for(missed, catch_up).map(|it| it.0), trigger, "{missed} {catch_up}");
    }
}
