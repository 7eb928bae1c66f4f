//! The whole life of a job.

use super::*;

#[tokio::test]
async fn a_scheduled_time_becomes_a_proven_snapshot() {
    let mut machine = Machine::new(Scenario { pending_polls: 2, ..Scenario::default() }).await;
    let (engine, store) = machine.start().await;
    engine.tick().await.unwrap();
    assert_eq!(store.live_jobs().await.unwrap(), []);
    machine.mock.advance(TimeDelta::minutes(1));
    let job = machine.until_quiet(&engine, &store).await;
    assert_eq!((job.state, job.trigger), (State::Archived, Trigger::Schedule));
    assert_eq!(job.scheduled_for, Some(night() + TimeDelta::minutes(1)));
    assert_eq!((job.polls, job.attempts), (3, 1));
    assert_eq!(kinds(&store, job.id).await, ["queued", "submitted", "completed", "archived"]);
    let snapshot = engine.shared.archive.newest("one").unwrap().unwrap();
    assert_eq!(Some(&snapshot.path), job.snapshot.as_ref());
    assert_eq!((snapshot.manifest.entities, snapshot.manifest.expected_entities), (20, Some(20)));
    assert!(engine.shared.archive.verify(&[], &|_| {}).ok);
    assert_eq!(machine.simulator.count(Kind::Create), 1);
    // And the next one comes a day later, not before.
    engine.tick().await.unwrap();
    assert_eq!(store.live_jobs().await.unwrap(), []);
}

#[tokio::test]
async fn a_job_whose_answer_was_lost_is_submitted_again() {
    let lost = Scenario { create: vec![Fault::LostAnswer], ..Scenario::default() };
    let mut machine = Machine::new(lost).await;
    let mut settings = machine.settings();
    settings.accounts.get_mut("contoso").unwrap().max_in_process = 2;
    let (engine, store) = machine.start().await;
    engine.set_config(machine.config(&settings));
    store.job_for(by_hand(), night()).await.unwrap();
    let job = machine.until_quiet(&engine, &store).await;
    assert_eq!((job.state, job.attempts), (State::Archived, 2));
    assert_eq!(machine.simulator.count(Kind::Create), 2);
}

#[tokio::test]
async fn after_a_long_downtime_neither_the_remote_job_nor_the_missed_time_is_lost() {
    for completes in [true, false] {
        let ending = if completes { Ending::Completed } else { Ending::Never };
        let status = vec![Fault::Refused; 3];
        let scenario = Scenario { pending_polls: 0, status, ending, ..Scenario::default() };
        let mut machine = Machine::new(scenario).await;
        machine.extra = "[poll]\ndeadline = \"24h\"".to_owned();
        let (engine, store) = machine.start().await;
        engine.tick().await.unwrap();
        machine.mock.advance(TimeDelta::minutes(1));
        engine.tick().await.unwrap();
        let first = newest(&store).await;
        assert_eq!(first.state, State::Waiting);
        drop(engine);
        store.close().await;
        // Off for more than the deadline; then the network is up later than the program.
        machine.mock.advance(TimeDelta::hours(30));
        let (engine, store) = machine.start().await;
        let mut ticking = engine.ticking().await.unwrap();
        for _ in 0..40 {
            ticking.tick().await.unwrap();
            machine.mock.advance(TimeDelta::seconds(10));
        }
        let first = store.job(first.id).await.unwrap().unwrap();
        let expected = if completes { State::Archived } else { State::Failed };
        assert_eq!(first.state, expected, "{:?}", first.error);
        let caught_up = newest(&store).await;
        assert_eq!(caught_up.trigger, Trigger::CatchUp);
        assert_eq!(
            caught_up.scheduled_for,
            Some(night() + TimeDelta::minutes(1) + TimeDelta::days(1))
        );
    }
}

#[tokio::test]
async fn a_step_that_always_panics_fails_in_the_end() {
    for at in [JobStep::Submit, JobStep::Poll, JobStep::Fetch] {
        let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
        let (engine, store) = machine.start().await;
        let panic = move |step| -> futures_util::future::BoxFuture<'static, ()> {
            assert!(step != at, "a deterministic panic");
            Box::pin(async {})
        };
        Hooked::up(&engine, Box::new(panic));
        store.job_for(by_hand(), night()).await.unwrap();
        let job = machine.until_quiet(&engine, &store).await;
        assert_eq!(job.state, State::Failed, "{at:?}");
        let error = job.error.unwrap();
        assert_eq!(error.kind, crate::job::ErrorKind::Protocol);
        assert!(error.message.contains("panicked: a deterministic panic"), "{}", error.message);
        // A submission that panicked may have started a remote job.
        assert_eq!(job.attempts, if at == JobStep::Submit { 3 } else { 1 });
    }
}

#[tokio::test]
async fn a_job_of_a_source_that_is_not_configured_stays_as_it_is() {
    let mut machine = Machine::new(Scenario::default()).await;
    let (engine, store) = machine.start().await;
    let unconfigured = NewJob { source: "gone".into(), ..by_hand() };
    let (job, _) = store.job_for(unconfigured, night()).await.unwrap();
    engine.tick().await.unwrap();
    let after = store.job(job.id).await.unwrap().unwrap();
    assert_eq!((after.state, after.attempts), (State::Queued, 0));
    assert_eq!(machine.simulator.count(Kind::Create), 0);
}

#[tokio::test]
async fn a_job_whose_snapshot_nothing_would_find_fails_before_it_costs_an_export() {
    let mut machine = Machine::new(Scenario::default()).await;
    let (engine, store) = machine.start().await;
    // As if the archive had a file with the highest job id.
    let highest = crate::manifest::HIGHEST_JOB;
    Store::open(&machine.settings().state_dir, highest).await.unwrap().close().await;
    let job = store.job_for(by_hand(), night()).await.unwrap().0;
    assert_eq!(job.id, highest + 1);
    let job = machine.until_quiet(&engine, &store).await;
    let error = job.error.unwrap();
    assert_eq!((job.state, job.snapshot), (State::Failed, None));
    assert!(error.message.contains("is no name for a snapshot"), "{}", error.message);
    assert_eq!(machine.simulator.count(Kind::Create), 0);
    // Once it is gone, backups go on.
    drop(engine);
    store.close().await;
    let (engine, store) = machine.start().await;
    let job = store.job_for(by_hand(), night()).await.unwrap().0;
    assert_eq!(job.id, 1);
    machine.until_quiet(&engine, &store).await;
    assert_eq!(store.job(1).await.unwrap().unwrap().state, State::Archived);
}
