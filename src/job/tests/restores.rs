//! The decisions that only restores have.

use super::*;
use std::collections::BTreeSet;

pub(super) fn restore_for(goal: Goal) -> Restore {
    let mut restore = Restore::new(goal, "stores".into());
    match goal {
        Goal::Load => {
            restore.snapshot = Some(RestoredSnapshot {
                manifest: "/a/stores/20261124T020001Z-3.json".into(),
                source: "stores".into(),
                sha256: "00".into(),
                bytes: 100,
                entities: 3,
            });
        }
        Goal::Publish | Goal::RollBack => restore.version = Some("abc".into()),
    }
    restore
}

/// Listed versions, by identifier.
type Versions<'a> = &'a [(&'a str, VersionState)];

fn version(id: &str, state: VersionState) -> ListedVersion {
    ListedVersion { id: id.into(), state, date: None }
}

fn activity(id: &str) -> RemoteActivity {
    RemoteActivity {
        id: id.into(),
        kind: ActivityKind::Load,
        name: None,
        created_at: None,
        status_url: Some("https://h/s".into()),
        ended: None,
        entities: None,
    }
}

fn looked(activities: &[&str], versions: &[(&str, VersionState)]) -> Looked {
    Looked {
        name: "Stores".into(),
        activities: activities.iter().map(|id| activity(id)).collect(),
        versions: versions.iter().map(|(id, state)| version(id, *state)).collect(),
        others: BTreeSet::new(),
    }
}

pub(super) fn any_look() -> impl Strategy<Value = Outcome> {
    let activity =
        (prop::sample::select(vec!["abc", "new"]), prop::sample::select(ActivityKind::ALL))
            .prop_map(|(id, kind)| RemoteActivity { kind, ..activity(id) });
    let linked = (activity, any::<bool>()).prop_map(|(it, linked)| RemoteActivity {
        status_url: it.status_url.clone().filter(|_| linked),
        ..it
    });
    let version = (
        prop::sample::select(vec!["abc", "abc", "old", "new"]),
        prop::sample::select(VersionState::ALL),
    )
        .prop_map(|(id, state)| version(id, state));
    let versions = prop::collection::vec(version, 0..3);
    (prop::collection::vec(linked, 0..2), versions).prop_map(|(activities, versions)| {
        let others = BTreeSet::new();
        Outcome::Looked(Looked { name: "Stores".into(), activities, versions, others })
    })
}

pub(super) fn any_change_poll() -> impl Strategy<Value = Outcome> {
    let applied = |failed| Progress::Applied { processed: Some(3), failed, error_log_url: None };
    prop_oneof![
        2 => Just(pending()),
        5 => Just(polled(applied(0))),
        1 => Just(polled(applied(1))),
        1 => any_failure(),
        1 => Just(polled(Progress::Completed { result_url: None, expected: None })),
        1 => Just(polled(Progress::Aborted { message: "m".into(), error_log_url: None })),
        1 => Just(Outcome::Panicked("index out of bounds".into())),
    ]
}

/// A restore at this step: its remote job is the first of its stage.
pub(super) fn at(goal: Goal, stage: Stage, state: State) -> Job {
    let mut restore = restore_for(goal);
    restore.stage = stage;
    restore.publish = true;
    if stage != Stage::BeforeLoad && stage != Stage::Load {
        restore.version = Some("abc".into());
    }
    Job { operation: Operation::Restore, restore: Some(Box::new(restore)), ..job(state) }
}

fn with(job: Job, change: impl FnOnce(&mut Restore)) -> Job {
    let mut job = job;
    change(job.restore.as_mut().unwrap());
    job
}

pub(super) fn restore(change: &Change) -> &Restore {
    change.job.restore.as_ref().unwrap()
}

pub(super) fn place(change: &Change) -> (Stage, State) {
    (change.job.stage(), change.job.state)
}

/// A load whose answer is not known, after a look that listed these.
fn unsettled(answered: bool) -> Job {
    let job = at(Goal::Load, Stage::BeforeLoad, State::Queued);
    let remote = job.remote.clone().map(|it| RemoteJob {
        submitting: false,
        missing_since: Some(start()),
        ..it
    });
    let job = Job { remote, first_submitted_at: Some(start()), ..job };
    with(job, |it| {
        let listed = looked(&["older"], &[("Old", VersionState::Published)]);
        it.seen = Some(listed.seen(start()));
        it.unsettled = Some(Unsettled { answered });
        it.verify = false;
    })
}

#[test]
fn a_load_is_sent_only_after_a_look_that_is_stored_with_it() {
    use VersionState::{Published, Staged};
    let job = Job { remote: None, attempts: 0, ..at(Goal::Load, Stage::BeforeLoad, State::Queued) };
    let found = looked(&["older"], &[("Old", Published), ("stale", Staged)]);
    let change = after(&job, Outcome::Looked(found.clone()), 0);
    assert_eq!(place(&change), (Stage::Load, State::Queued));
    assert_eq!(restore(&change).seen, Some(found.seen(start())));
    assert_eq!(restore(&change).published_before.as_deref(), Some("Old"));
    assert!(!change.intends_to_submit());
    let message = "version Old is published; the load replaces the staged version stale";
    assert_eq!(change.events[0].message(), message);
    let intended = claim(&change.job, &limits(1), &Usage::default(), start()).unwrap();
    assert!(intended.intends_to_submit());
    assert_eq!(restore(&intended).seen, Some(found.seen(start())));
    // A wait for quota makes the look stale.
    let usage = Usage { running: vec![start()], started: vec![start()], first: Vec::new() };
    let waits = claim(&change.job, &limits(1), &usage, start()).unwrap();
    assert_eq!(place(&waits), (Stage::BeforeLoad, State::Queued));
    assert!(waits.is_legal() && !waits.keeps_lease());
}

#[test]
fn a_restore_that_looks_first_keeps_the_next_free_place() {
    let job = Job { remote: None, attempts: 0, ..at(Goal::Load, Stage::Load, State::Queued) };
    let job = with(job, |it| it.seen = Some(looked(&[], &[]).seen(start())));
    let full = Usage { running: vec![start()], started: vec![start()], first: Vec::new() };
    let waits = claim(&job, &limits(1), &full, start()).unwrap().job;
    assert!(goes_first(&job) && goes_first(&waits));
    let not_waiting = Job { waiting: None, ..waits.clone() };
    assert!(!goes_first(&not_waiting), "it has not asked for a place yet");
    let intended = claim(&job, &limits(1), &Usage::default(), start()).unwrap().job;
    assert!(!goes_first(&intended), "its place is counted");

    let usage = Usage { first: vec![waits.id], ..Usage::default() };
    let backup = super::job(State::Queued);
    let other = |id| Job { id, remote: None, attempts: 0, ..backup.clone() };
    let younger = claim(&other(waits.id + 1), &limits(1), &usage, start()).unwrap();
    let message = format!("waits for quota: job {} goes first", waits.id);
    assert_eq!(younger.job.waiting.as_ref().map(|wait| wait.message.clone()), Some(message));
    assert!(claim(&other(waits.id + 1), &limits(2), &usage, start()).unwrap().intends_to_submit());
    assert!(claim(&other(waits.id - 1), &limits(1), &usage, start()).unwrap().intends_to_submit());
    assert!(claim(&job, &limits(1), &usage, start()).unwrap().intends_to_submit());
}

#[test]
fn a_change_whose_look_is_not_recent_is_looked_at_again() {
    use VersionState::{Older, Published, Staged};
    for (stage, listed) in [
        (Stage::BeforeLoad, ("old", Published)),
        (Stage::BeforePublish, ("abc", Staged)),
        (Stage::BeforeRollBack, ("abc", Older)),
    ] {
        let job = Job { remote: None, attempts: 0, ..at(Goal::Load, stage, State::Queued) };
        let decided = after(&job, Outcome::Looked(looked(&[], &[listed])), 0).job;
        assert_eq!(Some(decided.stage()), stage.change());
        for (seconds, is_sent) in [(0, true), (60, true), (61, false), (-1, false), (9000, false)] {
            let now = start() + TimeDelta::seconds(seconds);
            let change = claim(&decided, &limits(1), &Usage::default(), now).unwrap();
            assert!(change.is_legal());
            assert_eq!(change.intends_to_submit(), is_sent, "{stage} {seconds}");
            assert_eq!(change.keeps_lease(), is_sent, "{stage} {seconds}");
            if !is_sent {
                assert_eq!(place(&change), (stage, State::Queued));
                assert_eq!((change.job.due_at, change.job.attempts), (now, 0));
            }
        }
        // What an older version of Nightjar stored has no time.
        let unknown = with(decided, |it| it.seen.as_mut().unwrap().looked_at = None);
        assert!(
            !claim(&unknown, &limits(1), &Usage::default(), start()).unwrap().intends_to_submit()
        );
    }
}

#[test]
fn a_restore_that_is_live_in_an_older_copy_of_the_history_ends_there() {
    for (stage, state) in [
        (Stage::Check, State::Queued),
        (Stage::Load, State::Waiting),
        (Stage::Verify, State::Ready),
        (Stage::Publish, State::Queued),
    ] {
        let job = at(Goal::Load, stage, state);
        let change = end_of_copied(&job, start()).unwrap();
        assert!(change.is_legal());
        assert_eq!(ended_as(&change), Some(ErrorKind::Storage));
        assert!(!change.job().is_submitting());
        let said = change.events[0].message();
        assert!(said.contains("`nightjar versions stores` shows"), "{said}");
        assert_eq!(end_of_copied(change.job(), start()), None);
    }
    assert_eq!(end_of_copied(&super::job(State::Waiting), start()), None, "backups go on");
}

#[test]
fn a_lost_answer_is_looked_up_and_costs_an_attempt() {
    let lost = Failure { maybe_started: true, ..Failure::new(FailureKind::Lost, "broke off") };
    for (stage, before) in [
        (Stage::Load, Stage::BeforeLoad),
        (Stage::Publish, Stage::BeforePublish),
        (Stage::RollBack, Stage::BeforeRollBack),
    ] {
        let job = at(Goal::Load, stage, State::Queued);
        let change = after(&job, Outcome::Failed(lost.clone()), 0);
        assert_eq!(place(&change), (before, State::Queued));
        assert_eq!(restore(&change).unsettled, Some(Unsettled { answered: false }));
        assert_eq!((change.job.attempts, &change.remote), (1, &RemoteEffect::Unanswered));
        assert_eq!(change.job.remote.as_ref().unwrap().missing_since, Some(start()));
        // The answer broke off after its head.
        let broken = Failure { answered: true, ..lost.clone() };
        let broken = after(&job, Outcome::Failed(broken), 0);
        assert_eq!(place(&broken), (before, State::Queued));
        assert_eq!(restore(&broken).unsettled, Some(Unsettled { answered: true }));
        // The same after a dead worker.
        let taken = unanswered(&job, &policy(), start());
        assert_eq!(place(&taken), (before, State::Queued));
        assert_eq!(restore(&taken).unsettled, Some(Unsettled { answered: false }));
        assert!(change.is_legal() && taken.is_legal());
    }
}

#[test]
fn what_follows_from_an_answer_that_is_no_success() {
    let failure =
        |kind, maybe_started| Failure { maybe_started, answered: true, ..Failure::new(kind, "no") };
    for (kind, maybe_started, expected) in [
        (FailureKind::Quota, false, Ok((Stage::BeforeLoad, 0))),
        (FailureKind::Local, false, Ok((Stage::BeforeLoad, 0))),
        (FailureKind::NotSent, false, Ok((Stage::BeforeLoad, 0))),
        (FailureKind::Unavailable, true, Ok((Stage::BeforeLoad, 1))),
        (FailureKind::Protocol, true, Ok((Stage::BeforeLoad, 1))),
        (FailureKind::Unavailable, false, Err(ErrorKind::Unavailable)),
        (FailureKind::Protocol, false, Err(ErrorKind::Protocol)),
        (FailureKind::Credentials, false, Err(ErrorKind::Credentials)),
        (FailureKind::NotFound, false, Err(ErrorKind::NotFound)),
        (FailureKind::Rejected, false, Err(ErrorKind::Rejected)),
    ] {
        let job = at(Goal::Load, Stage::Load, State::Queued);
        let change = after(&job, Outcome::Failed(failure(kind, maybe_started)), 0);
        match expected {
            Ok((stage, attempts)) => {
                assert_eq!(place(&change), (stage, State::Queued), "{kind}");
                assert_eq!(change.job.attempts, attempts, "{kind}");
                let answered = maybe_started.then_some(Unsettled { answered: true });
                assert_eq!(restore(&change).unsettled, answered, "{kind}");
            }
            Err(error) => {
                assert_eq!(ended_as(&change), Some(error), "{kind}");
                assert_eq!((change.job.attempts, &change.remote), (0, &RemoteEffect::Refused));
            }
        }
    }
}

/// What becomes of a load whose answer is not known, by what is listed.
#[test]
fn only_a_load_that_no_list_shows_for_long_is_sent_again() {
    use VersionState::{Older, Published, Staged};
    let old = ("old", Published);
    #[derive(Debug)]
    struct Case<'a> {
        activities: &'a [&'a str],
        versions: Versions<'a>,
        becomes: (Stage, State),
        id: Option<&'a str>,
    }
    let case = |activities, versions, stage, state, id| Case {
        activities,
        versions,
        becomes: (stage, state),
        id,
    };
    for case in [
        case(&["older"], &[old], Stage::BeforeLoad, State::Queued, None),
        case(&["older", "new"], &[old], Stage::Load, State::Waiting, Some("new")),
        case(&["older", "new"], &[old, ("NEW", Staged)], Stage::Load, State::Waiting, Some("new")),
        case(&["older"], &[old, ("new", Staged)], Stage::Load, State::Ready, Some("new")),
        case(&["older", "new", "newer"], &[old], Stage::BeforeLoad, State::Queued, None),
        case(&["older", "new"], &[old, ("x", Staged)], Stage::BeforeLoad, State::Queued, None),
    ] {
        let found = looked(case.activities, case.versions);
        let change = after(&unsettled(false), Outcome::Looked(found), 60);
        assert_eq!(place(&change), case.becomes, "{case:?}");
        assert_eq!(restore(&change).version.as_deref(), case.id);
        // One that was found in a list is compared, whatever was asked for.
        assert_eq!(restore(&change).verify, case.id.is_some());
        assert_eq!(change.job.attempts, 1, "nothing was sent");
    }
    let nothing = || Outcome::Looked(looked(&["older"], &[old, ("older", Older)]));
    let late = 15 * 60;
    let change = after(&unsettled(false), nothing(), late - 1);
    assert_eq!(seconds_until_due(&change, late - 1), 1.0, "the last look is at the limit");
    let change = after(&unsettled(false), nothing(), late);
    assert_eq!(place(&change), (Stage::Load, State::Queued));
    assert_eq!((&change.remote, &change.job.remote), (&RemoteEffect::Ended, &None));
    // Neither after an answer, nor after the last attempt.
    let change = after(&unsettled(true), nothing(), late);
    assert_eq!(ended_as(&change), Some(ErrorKind::Unavailable));
    let change = after(&Job { attempts: 3, ..unsettled(false) }, nothing(), late);
    assert_eq!(ended_as(&change), Some(ErrorKind::Unavailable));
    let several = || Outcome::Looked(looked(&["a", "b"], &[old]));
    assert_eq!(ended_as(&after(&unsettled(false), several(), late)), Some(ErrorKind::Protocol));
}

#[test]
fn nothing_is_sent_once_another_version_is_published_than_was_shown() {
    for (goal, stage) in [(Goal::Load, Stage::BeforeLoad), (Goal::Load, Stage::BeforePublish)] {
        let shown = |shown: Option<&str>| {
            with(at(goal, stage, State::Queued), |it| {
                it.version = Some("ours".into());
                it.published_before = shown.map(str::to_owned);
            })
        };
        let versions = [("now", VersionState::Published), ("ours", VersionState::Staged)];
        let look = || Outcome::Looked(looked(&[], &versions));
        for known in [None, Some("NOW")] {
            let sent = after(&shown(known), look(), 0);
            assert_eq!(place(&sent), (stage.change().unwrap(), State::Queued));
            let before = restore(&sent).published_before.as_deref();
            assert_eq!(before, Some(known.unwrap_or("now")));
        }
        let refused = after(&shown(Some("then")), look(), 0);
        assert_eq!(refused.job.state, State::Failed);
        assert_eq!(refused.job.error.map(|error| error.kind), Some(ErrorKind::Rejected));
    }
}

#[test]
fn a_job_of_another_data_source_is_not_taken_for_ours() {
    let named = |name: &str| RemoteActivity { name: Some(name.into()), ..activity("new") };
    for (activity, taken) in [
        (named("Depots"), false),
        (named("STORES"), true),
        (RemoteActivity { kind: ActivityKind::Publish, ..activity("new") }, false),
        (RemoteActivity { kind: ActivityKind::Other, ..activity("new") }, false),
        (RemoteActivity { kind: ActivityKind::Unknown, ..activity("new") }, true),
    ] {
        let found = Looked { activities: vec![activity], ..looked(&[], &[]) };
        let change = after(&unsettled(false), Outcome::Looked(found), 60);
        assert_eq!(change.job.state == State::Waiting, taken);
    }
    let others = BTreeSet::from(["new".to_owned()]);
    for versions in [&[][..], &[("NEW", VersionState::Staged)][..]] {
        let found = Looked { others: others.clone(), ..looked(&["NEW"], versions) };
        let change = after(&unsettled(false), Outcome::Looked(found), 60);
        assert_eq!(place(&change), (Stage::BeforeLoad, State::Queued), "another job's own");
    }
}

#[test]
fn a_completed_load_is_awaited_in_the_list_and_then_compared() {
    use VersionState::{Published, Staged};
    let waiting = with(at(Goal::Load, Stage::Load, State::Waiting), |it| {
        it.version = Some("abc".into());
        it.seen = Some(looked(&[], &[("old", Published), ("stale", Staged)]).seen(start()));
    });
    let applied =
        |failed| polled(Progress::Applied { processed: Some(3), failed, error_log_url: None });
    let failed = after(&waiting, applied(1), 60);
    assert_eq!(ended_as(&failed), Some(ErrorKind::Rejected));
    assert!(failed.events.last().unwrap().message().contains("nothing was published"));
    let ready = after(&waiting, applied(0), 60).job;
    assert_eq!((ready.stage(), ready.state), (Stage::Load, State::Ready));
    let look = |versions: &[(&str, VersionState)], seconds| {
        after(&ready, Outcome::Looked(looked(&["abc"], versions)), seconds)
    };
    let late = look(&[("old", Published), ("stale", Staged)], 61);
    assert_eq!(place(&late), (Stage::Load, State::Ready));
    let never = after(&late.job, Outcome::Looked(looked(&[], &[])), 61 + 15 * 60);
    assert_eq!(ended_as(&never), Some(ErrorKind::Protocol));
    let replaced = look(&[("old", Published), ("other", Staged)], 61);
    assert_eq!(ended_as(&replaced), Some(ErrorKind::Rejected));
    let listed = look(&[("old", Published), ("ABC", Staged)], 61);
    assert_eq!(place(&listed), (Stage::Verify, State::Queued));
    assert_eq!((listed.job.attempts, listed.job.attempts_of_stage()), (1, 0));
    assert_eq!((listed.job.first_submitted_at, &listed.job.remote), (None, &None));
}

#[test]
fn a_loaded_version_that_another_user_has_published_is_not_called_staged() {
    use VersionState::{Older, Published, Staged};
    let ready = |publish| {
        with(at(Goal::Load, Stage::Load, State::Ready), |it| {
            it.version = Some("abc".into());
            it.seen = Some(looked(&[], &[("old", Published)]).seen(start()));
            (it.publish, it.verify) = (publish, false);
        })
    };
    let look = |publish, versions: Versions<'_>| {
        after(&ready(publish), Outcome::Looked(looked(&[], versions)), 1)
    };
    let said = |change: &Change| change.events.last().unwrap().message();
    let staged = look(false, &[("old", Published), ("abc", Staged)]);
    assert!(said(&staged).contains("is staged and not published"), "{}", said(&staged));
    let published = look(false, &[("abc", Published), ("old", Older)]);
    assert_eq!(published.job.state, State::Archived);
    assert_eq!(said(&published), "version abc is loaded, and another user has published it");
    let asked_for = look(true, &[("abc", Published), ("old", Older)]);
    assert_eq!(place(&asked_for), (Stage::BeforePublish, State::Queued));
    let replaced = look(true, &[("new", Published), ("abc", Older)]);
    assert_eq!(ended_as(&replaced), Some(ErrorKind::Rejected));
    assert_eq!(said(&replaced), "version abc was published, but not by this restore");
}

#[test]
fn only_an_equal_staged_version_is_published_and_only_while_it_is_staged() {
    use VersionState::{Older, Published, Staged};
    let ready = at(Goal::Load, Stage::Verify, State::Ready);
    let different = Outcome::Refused { kind: ErrorKind::Corrupt, message: "one is gone".into() };
    assert_eq!(ended_as(&after(&ready, different, 0)), Some(ErrorKind::Corrupt));
    let equal = Outcome::Verified { message: "equal".into() };
    let next = after(&ready, equal.clone(), 0);
    assert_eq!(place(&next), (Stage::BeforePublish, State::Queued));
    let staged_only = after(&with(ready, |it| it.publish = false), equal, 0);
    assert_eq!(staged_only.job.state, State::Archived);
    let look = |versions: &[(&str, VersionState)]| {
        after(&next.job, Outcome::Looked(looked(&[], versions)), 1)
    };
    let cases: [(Versions<'_>, Stage, State); 5] = [
        (&[("old", Published), ("abc", Staged)], Stage::Publish, State::Queued),
        (&[("old", Published), ("x", Staged)], Stage::BeforePublish, State::Failed),
        (&[("old", Published)], Stage::BeforePublish, State::Failed),
        (&[("old", Published), ("abc", Older)], Stage::BeforePublish, State::Failed),
        (&[("abc", Published)], Stage::BeforePublish, State::Archived),
    ];
    for (versions, stage, state) in cases {
        assert_eq!(place(&look(versions)), (stage, state), "{versions:?}");
    }
}

#[test]
fn a_publication_is_settled_by_what_is_published() {
    use VersionState::{Published, Staged};
    let look = |job: &Job, versions: &[(&str, VersionState)], seconds| {
        after(job, Outcome::Looked(looked(&[], versions)), seconds)
    };
    let completed = at(Goal::Publish, Stage::Publish, State::Ready);
    let done = look(&completed, &[("ABC", Published)], 0);
    assert_eq!(done.job.state, State::Archived);
    let not_yet = look(&completed, &[("old", Published), ("abc", Staged)], 0);
    assert_eq!(place(&not_yet), (Stage::Publish, State::Ready));
    let never = look(&not_yet.job, &[("old", Published), ("abc", Staged)], 15 * 60);
    assert_eq!(ended_as(&never), Some(ErrorKind::Protocol));
    let lost = Failure { maybe_started: true, ..Failure::new(FailureKind::Lost, "broke off") };
    let sent = at(Goal::Publish, Stage::Publish, State::Queued);
    let sent = with(sent, |it| it.seen = Some(Seen::default()));
    let lost = after(&sent, Outcome::Failed(lost), 0).job;
    assert_eq!(look(&lost, &[("abc", Published)], 9).job.state, State::Archived);
    let waits = look(&lost, &[("abc", Staged)], 9);
    assert_eq!(place(&waits), (Stage::BeforePublish, State::Queued));
    let again = look(&waits.job, &[("abc", Staged)], 15 * 60);
    assert_eq!(place(&again), (Stage::Publish, State::Queued));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever the service answers: no request for a change is sent without a look just before,
    /// none is sent again after an answer, and no more than `job_attempts` in a stage.
    #[test]
    fn no_change_is_sent_blindly_or_again_after_an_answer(
        outcomes in prop::collection::vec(
            (any_outcome(State::Queued), any_change_poll(), any_look(), any::<bool>()),
            200,
        ),
        goal in prop::sample::select(Goal::ALL),
    ) {
        let policy = policy();
        let restore = Restore { safety: false, publish: true, ..restore_for(goal) };
        let new = NewJob {
            source: "stores".into(),
            account: "contoso".into(),
            trigger: Trigger::Manual,
            note: "by hand".into(),
        };
        let mut job = create_restore(7, new, restore, start()).into_job();
        let mut now = start();
        let mut answered = std::collections::BTreeSet::new();
        let mut has_looked = false;
        for (submit, poll, look, dies) in &outcomes {
            now = now.max(job.due_at);
            let verified = Outcome::Verified { message: "equal".into() };
            let outcome = match job.step() {
                None => break,
                Some(JobStep::Check) => {
                    Outcome::Checked { message: "whole".into(), notes: Vec::new() }
                }
                Some(JobStep::Look) => look.clone(),
                Some(JobStep::Compare) => verified,
                Some(JobStep::Submit) => {
                    let stage = job.stage();
                    if stage.is_change() {
                        prop_assert!(has_looked, "sent without a look");
                        prop_assert!(!answered.contains(&stage), "sent again after an answer");
                    }
                    job = intended(&job, now);
                    if *dies {
                        job = unanswered(&job, &policy, now).into_job();
                        has_looked = false;
                        continue;
                    }
                    let is_answer = match submit {
                        Outcome::Failed(it) => !matches!(
                            it.kind,
                            FailureKind::Quota | FailureKind::Local | FailureKind::NotSent
                                | FailureKind::Lost
                        ),
                        _ => true,
                    };
                    if is_answer {
                        answered.insert(stage);
                    }
                    submit.clone()
                }
                Some(JobStep::Poll) if job.stage().is_change() => poll.clone(),
                Some(JobStep::Poll) => polled(Progress::Completed {
                    result_url: Some("https://h/r".into()),
                    expected: None,
                }),
                Some(JobStep::Fetch) => failed(FailureKind::Rejected),
            };
            has_looked = matches!(job.step(), Some(JobStep::Look));
            let change = decide(&job, &outcome, &policy, now, 0.5);
            prop_assert!(change.is_legal(), "{change:?}");
            prop_assert!(change.job.attempts_of_stage() <= policy.job_attempts);
            job = change.into_job();
        }
    }
}
