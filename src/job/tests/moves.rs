//! The table of moves: what the diagram shows, what the transitions do, and what is refused.

use super::restores::{any_change_poll, any_look, restore_for};
use super::*;
use std::collections::BTreeSet;

type Move = (Option<State>, State, Mover);

fn table() -> BTreeSet<Move> {
    EDGES.iter().flat_map(|it| it.by.iter().map(|by| (it.from, it.to, *by))).collect()
}

#[test]
fn the_diagram_in_the_documentation_is_the_table() {
    let arrows = include_str!("../mod.rs").lines().filter_map(|line| {
        let (from, rest) = line.strip_prefix("//! ")?.split_once("-->")?;
        let (to, by) = rest.split_once(':')?;
        Some((from.trim(), to.trim(), by))
    });
    let mut drawn = BTreeSet::new();
    let mut count = 0;
    for (from, to, by) in arrows {
        let from = (from != "[*]").then(|| from.parse().unwrap());
        for by in by.split(',') {
            drawn.insert((from, to.parse().unwrap(), by.trim().parse().unwrap()));
            count += 1;
        }
    }
    assert_eq!(drawn, table());
    assert_eq!((drawn.len(), EDGES.len()), (count, 24), "nothing is drawn twice");
}

#[test]
fn a_job_that_has_ended_is_moved_only_to_the_archive() {
    for edge in EDGES {
        if let Some(from) = edge.from.filter(|from| from.is_final()) {
            assert!(edge.to == State::Archived || edge.to == from, "{edge:?}");
        }
    }
    assert!(!is_legal(Some(State::Archived), State::Queued, Mover::Fetch));
    assert!(!is_legal(Some(State::Queued), State::Ready, Mover::Submit));
    assert!(!is_legal(Some(State::Queued), State::Waiting, Mover::Poll));
    assert!(!is_legal(None, State::Waiting, Mover::Create));
}

#[test]
fn each_live_state_of_a_backup_has_its_step_and_no_other_has_one() {
    for state in State::ALL {
        let step = Stage::Backup.step(*state);
        assert_eq!(step.is_some(), !state.is_final(), "{state}");
    }
}

/// Something that happens to a job, other than a step's outcome.
#[derive(Debug, Clone)]
enum Incident {
    /// Its step ends like this.
    Step(Outcomes),
    /// Its step ends like this, and a document of an earlier remote job is there.
    StepWithEarlier(Outcomes),
    /// A worker takes it, with so many jobs of the account running.
    Claim(usize),
    /// Its worker dies.
    Death,
    Cancel,
    /// It is cancelled, and then its step ends.
    Late(Outcomes),
    Import,
    /// The database is replaced by a copy that was made now.
    Copy,
    Skip,
    Wake,
    /// The clock was set back by so many seconds.
    Clock(i64),
    Account,
    Release,
}

/// An outcome for each of the steps.
#[derive(Debug, Clone)]
struct Outcomes {
    submit: Outcome,
    poll: Outcome,
    poll_change: Outcome,
    fetch: Outcome,
    check: Outcome,
    look: Outcome,
    compare: Outcome,
}

impl Outcomes {
    fn of(&self, job: &Job) -> Option<&Outcome> {
        job.step().map(|step| match step {
            JobStep::Submit => &self.submit,
            JobStep::Poll if job.stage().is_change() => &self.poll_change,
            JobStep::Poll => &self.poll,
            JobStep::Fetch => &self.fetch,
            JobStep::Check => &self.check,
            JobStep::Look => &self.look,
            JobStep::Compare => &self.compare,
        })
    }
}

fn any_step() -> impl Strategy<Value = Outcomes> {
    let panicked = || Just(Outcome::Panicked("index out of bounds".into()));
    let archived = Just(Outcome::Archived {
        manifest: "/a/stores/x.json".into(),
        message: "3 entities".into(),
        suspicious: Vec::new(),
        notes: Vec::new(),
    });
    let fetch = prop_oneof![
        4 => any_outcome(State::Ready),
        1 => Just(Outcome::Storage("full".into())),
        2 => archived,
        1 => panicked(),
    ];
    let submit = prop_oneof![
        6 => any_outcome(State::Queued),
        6 => Just(accepted()),
        1 => Just(Outcome::Retargeted),
        1 => panicked(),
    ];
    let poll = prop_oneof![
        6 => any_outcome(State::Waiting),
        1 => Just(Outcome::Retargeted),
        1 => panicked(),
    ];
    let refused = || Just(Outcome::Refused { kind: ErrorKind::Corrupt, message: "damaged".into() });
    let checked = Just(Outcome::Checked { message: "whole".into(), notes: Vec::new() });
    let check = prop_oneof![
        8 => checked,
        1 => refused(),
        1 => Just(Outcome::Storage("full".into())),
        1 => panicked(),
    ];
    let verified = Just(Outcome::Verified { message: "equal".into() });
    let compare = prop_oneof![
        6 => verified,
        1 => any_outcome(State::Ready),
        1 => refused(),
        1 => Just(Outcome::Storage("full".into())),
        1 => panicked(),
    ];
    let look = prop_oneof![8 => any_look(), 1 => any_failure(), 1 => panicked()];
    (submit, poll, any_change_poll(), fetch, check, look, compare).prop_map(
        |(submit, poll, poll_change, fetch, check, look, compare)| Outcomes {
            submit,
            poll,
            poll_change,
            fetch,
            check,
            look,
            compare,
        },
    )
}

fn any_incident() -> impl Strategy<Value = Incident> {
    prop_oneof![
        12 => any_step().prop_map(Incident::Step),
        2 => any_step().prop_map(Incident::StepWithEarlier),
        6 => (0..2usize).prop_map(Incident::Claim),
        1 => Just(Incident::Death),
        1 => Just(Incident::Cancel),
        2 => any_step().prop_map(Incident::Late),
        1 => Just(Incident::Import),
        1 => Just(Incident::Copy),
        1 => Just(Incident::Skip),
        2 => Just(Incident::Wake),
        1 => (1..9_000_000i64).prop_map(Incident::Clock),
        1 => Just(Incident::Account),
        2 => Just(Incident::Release),
    ]
}

fn archived_job(job: &Job) -> ArchivedJob {
    ArchivedJob {
        job: job.id,
        source: job.source.clone(),
        account: job.account.clone(),
        version: None,
        scheduled_for: job.scheduled_for,
        submitted_at: job.created_at,
        completed_at: job.created_at,
        remote_id: Some("abc".into()),
        expected: Some(3),
        snapshot: "/a/stores/x.json".into(),
    }
}

fn by_schedule() -> NewJob {
    NewJob {
        source: "stores".into(),
        account: "contoso".into(),
        trigger: Trigger::Schedule,
        note: "created by the schedule".into(),
    }
}

/// The job as a claim leaves it, when its submission is what comes next.
fn at_work(job: &Job, now: DateTime<Utc>) -> Job {
    match job.step() {
        Some(JobStep::Submit) if !job.is_submitting() => intended(job, now),
        _ => job.clone(),
    }
}

/// The changes that follow from an incident, one after the other.
fn happen(job: &Job, incident: &Incident, now: DateTime<Utc>) -> Vec<Change> {
    // So that jobs fail often.
    let policy = Policy { attempts: 2, job_attempts: 2, ..policy() };
    let scheduled = ScheduledTime { at: now, missed: 1 };
    match incident {
        Incident::Step(outcomes) | Incident::StepWithEarlier(outcomes) => {
            let Some(outcome) = outcomes.of(job) else { return Vec::new() };
            let change = decide(&at_work(job, now), outcome, &policy, now, 0.5);
            let is_instead = matches!(incident, Incident::StepWithEarlier(_))
                && change.job.state == State::Failed
                && job.operation == Operation::Backup;
            let earlier = Outcome::Archived {
                manifest: "/a/stores/earlier.json".into(),
                message: "3 entities".into(),
                suspicious: vec!["not proven".into()],
                notes: Vec::new(),
            };
            vec![if is_instead { archived_instead(change, &earlier) } else { change }]
        }
        Incident::Claim(running) => {
            let limits = AccountLimits { policy, ..limits(1) };
            let usage = Usage { running: vec![now; *running], ..Usage::default() };
            claim(job, &limits, &usage, now).into_iter().collect()
        }
        Incident::Death if job.step() == Some(JobStep::Submit) => {
            vec![unanswered(&at_work(job, now), &policy, now)]
        }
        Incident::Death => Vec::new(),
        Incident::Cancel => cancel(job, now).into_iter().collect(),
        Incident::Late(outcomes) => {
            let (worked, cancelled) = (at_work(job, now), cancel(job, now));
            let Some(outcome) = outcomes.of(job) else { return Vec::new() };
            let decided = decide(&worked, outcome, &policy, now, 0.5);
            let stored = cancelled.as_ref().map_or(job, Change::job);
            cancelled.iter().cloned().chain(late(stored, &decided)).collect()
        }
        Incident::Import => import_known(job, &archived_job(job)).into_iter().collect(),
        Incident::Copy => end_of_copied(job, now).into_iter().collect(),
        Incident::Skip if job.state.is_final() => Vec::new(),
        Incident::Skip => vec![account_for(Some(job), 8, by_schedule(), scheduled, now)],
        Incident::Wake => wake(job, now).into_iter().collect(),
        Incident::Clock(seconds) if !job.state.is_final() => {
            let now = now - TimeDelta::seconds(*seconds);
            correct_clock(job, TimeDelta::zero(), now).into_iter().collect()
        }
        Incident::Clock(_) => Vec::new(),
        Incident::Release => released(job).into_iter().collect(),
        Incident::Account => move_to_account(job, "fabrikam").into_iter().collect(),
    }
}

/// Checks a change, and gives the move that it makes.
fn checked(before: &Job, change: &Change) -> Move {
    let (from, next) = (change.from(), change.job());
    assert!(change.is_legal(), "{change:?}");
    assert_eq!(from, Some(before.state), "a change is for the job as it is");
    assert_eq!((next.id, &next.source), (before.id, &before.source));
    assert_eq!(next.state.is_final(), next.finished_at.is_some(), "{change:?}");
    assert_eq!(next.state == State::Failed, next.error.is_some(), "{change:?}");
    let is_step = matches!(
        change.by(),
        Mover::Submit | Mover::Poll | Mover::Fetch | Mover::Check | Mover::Look | Mover::Compare
    );
    if is_step {
        assert!(!next.is_at_step_of(before), "{change:?}");
    }
    if change.moves() {
        assert!(!change.events().is_empty(), "a move without a trace: {change:?}");
    }
    (from, next.state, change.by())
}

/// One job's life: workers wait until it is due, everything else comes at any time.
fn walk(
    new: &Job,
    incidents: &[Incident],
    seen: &mut BTreeSet<Move>,
    stages: &mut BTreeSet<(Stage, Stage)>,
) {
    let (mut job, mut now) = (new.clone(), start());
    for incident in incidents {
        if matches!(incident, Incident::Step(_) | Incident::Claim(_)) {
            now = job.due_at.max(now);
        }
        for change in happen(&job, incident, now) {
            seen.insert(checked(&job, &change));
            stages.insert((job.stage(), change.job().stage()));
            job = change.into_job();
        }
    }
}

/// Whatever happens to jobs, in whatever order: no move is outside the table, and each move of the
/// table is made by a transition.
#[test]
fn random_walks_make_the_moves_of_the_table_and_no_other() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let walks = prop::collection::vec(any_incident(), 1..30);
    let long_walks = prop::collection::vec(any_incident(), 30..90);
    let mut seen = BTreeSet::new();
    let new = create(7, by_schedule(), None, start());
    assert!(new.is_legal());
    seen.insert((new.from(), new.job().state, new.by()));
    let unknown = import_unknown(&archived_job(new.job()), true);
    assert!(unknown.is_legal() && unknown.job().scheduled_for.is_none());
    seen.insert((unknown.from(), unknown.job().state, unknown.by()));
    let mut stages = BTreeSet::new();
    for number in 0..2000 {
        let incidents = walks.new_tree(&mut runner).unwrap().current();
        walk(new.job(), &incidents, &mut seen, &mut stages);
        if number % 2 == 1 {
            continue;
        }
        let number = number / 2;
        let mut restore = restore_for(Goal::ALL[number % 3]);
        restore.safety = number % 4 < 2;
        restore.verify = number % 8 < 6;
        restore.publish |= number % 2 == 0;
        if number % 6 == 3 {
            restore.stage = Stage::Verify;
            restore.publish = number % 12 == 3;
            restore.version = Some("abc".into());
        }
        let new = create_restore(7, by_schedule(), restore, start());
        assert!(new.is_legal());
        // Longer, and mostly without what ends it early: otherwise few come far.
        let incidents = long_walks.new_tree(&mut runner).unwrap().current();
        let calm =
            |it: &Incident| !matches!(it, Incident::Cancel | Incident::Copy | Incident::Late(_));
        let incidents: Vec<_> =
            incidents.into_iter().filter(|it| calm(it) || number % 5 == 0).collect();
        walk(new.job(), &incidents, &mut seen, &mut stages);
    }
    stages.retain(|(from, to)| from != to);
    let listed: BTreeSet<_> = STAGE_MOVES.iter().copied().collect();
    assert_eq!(stages, listed, "moves between stages");
    // The answer to a poll or a submission that comes after another worker has taken the job over,
    // or after it has ended.
    let aborted = polled(Progress::Aborted { message: "m".into(), error_log_url: None });
    for state in State::ALL {
        let ended = state.is_final().then(start);
        let error = JobError { kind: ErrorKind::Aborted, message: "m".into() };
        let error = (*state == State::Failed).then_some(error);
        let stored = Job { finished_at: ended, error, ..job(*state) };
        let decided = decide(&job(State::Waiting), &aborted, &policy(), start(), 0.5);
        let change = late(&stored, &decided).unwrap();
        assert_eq!(change.remote(), &RemoteEffect::Ended);
        assert_eq!(change.job(), &stored, "only the remote job's record changes");
        seen.insert(checked(&stored, &change));
        if state.is_final() {
            seen.extend(
                import_known(&stored, &archived_job(&stored)).map(|it| checked(&stored, &it)),
            );
        }
    }
    let missing: Vec<_> = table().difference(&seen).copied().collect();
    assert_eq!(missing, [], "moves of the table that nothing makes");
    assert!(seen.is_subset(&table()));
}
