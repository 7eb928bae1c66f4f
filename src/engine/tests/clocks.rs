//! Clocks that are wrong or are set.

use super::*;

#[tokio::test]
async fn a_clock_that_was_a_year_ahead_delays_nothing() {
    let mut machine = Machine::new(Scenario::default()).await;
    machine.extra = "[poll]\nmax = \"5m\"".to_owned();
    let (engine, store) = machine.start().await;
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::days(365));
    let ahead = machine.until_quiet(&engine, &store).await;
    assert_eq!(ahead.state, State::Archived);
    let (live, _) = store.job_for(by_hand(), machine.clock.now()).await.unwrap();
    engine.tick().await.unwrap();

    machine.mock.set(night() + TimeDelta::minutes(1));
    let mut ticking = engine.ticking().await.unwrap();
    ticking.sweep_now().await.unwrap();
    ticking.tick().await.unwrap();
    let done = machine.until_quiet(&engine, &store).await;
    assert_eq!((done.id, done.state), (live.id, State::Archived));
    machine.mock.set(night() + TimeDelta::days(1) + TimeDelta::minutes(1));
    let next = machine.until_quiet(&engine, &store).await;
    assert!(next.id > live.id, "the next night has its job");
    assert_eq!(next.scheduled_for, Some(machine.clock.now().min(next.created_at)));
    assert_eq!(next.state, State::Archived);
}

#[tokio::test]
async fn a_clock_that_steps_back_an_hour_runs_nothing_twice() {
    let mut machine = Machine::new(Scenario::default()).await;
    let (engine, store) = machine.start().await;
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::minutes(1));
    let first = machine.until_quiet(&engine, &store).await;
    machine.mock.set(night() - TimeDelta::hours(1));
    for _ in 0..3 {
        let mut ticking = engine.ticking().await.unwrap();
        ticking.sweep_now().await.unwrap();
        ticking.tick().await.unwrap();
        machine.mock.advance(TimeDelta::minutes(30));
    }
    assert_eq!(newest(&store).await.id, first.id);
}

#[tokio::test]
async fn a_clock_step_takes_no_job_from_a_live_worker() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    let (slow, store) = machine.start().await;
    let (other, _) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    // In each state: held by the one, stepped over by the clock, looked for by both.
    for state in [State::Queued, State::Waiting, State::Ready] {
        let held = store.claim(claim(&slow), machine.clock.now()).await.unwrap().jobs.remove(0);
        assert_eq!(held.state, state);
        for step in [TimeDelta::minutes(10), TimeDelta::days(400), TimeDelta::days(-400)] {
            machine.mock.jump(step);
            assert_eq!(other.tick().await.unwrap(), 0);
            let mut ticking = other.ticking().await.unwrap();
            ticking.sweep_now().await.unwrap();
            assert_eq!(ticking.tick().await.unwrap(), 0);
        }
        let now = store.job(held.id).await.unwrap().unwrap();
        assert_eq!((now.state, now.attempts), (held.state, 1));
        assert!(store.holds(&slow.shared.worker.name, held.id).await.unwrap());
        // It wakes up and ends its step as if nothing had happened.
        let config = slow.config();
        slow.work(&config, held, &in_flight::StepHandle::default()).await.unwrap();
        machine.mock.advance(TimeDelta::minutes(1));
    }
    let job = newest(&store).await;
    assert_eq!((job.state, job.attempts), (State::Archived, 1));
    assert_eq!(machine.simulator.count(Kind::Create), 1);
    assert_eq!(machine.simulator.count(Kind::Result), 1);
    assert!(slow.shared.archive.verify(&[], &|_| {}).findings.is_empty());
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_delay_a_poll() {
    let mut machine = Machine::new(Scenario { pending_polls: 3, ..Scenario::default() }).await;
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    let mut ticking = engine.ticking().await.unwrap();
    ticking.tick().await.unwrap();
    assert_eq!(newest(&store).await.state, State::Waiting);
    machine.mock.jump(TimeDelta::hours(-2));
    assert_eq!(ticking.tick().await.unwrap(), 0, "not due yet");
    machine.mock.advance(TimeDelta::seconds(6));
    assert_eq!(ticking.tick().await.unwrap(), 1, "due by its own wait of five seconds");
    assert_eq!(newest(&store).await.polls, 1);
}

#[tokio::test]
async fn a_clock_that_is_set_forward_uses_up_no_deadline() {
    let never = Scenario { ending: Ending::Never, ..Scenario::default() };
    let mut machine = Machine::new(never).await;
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    let mut ticking = engine.ticking().await.unwrap();
    ticking.tick().await.unwrap();
    machine.mock.jump(TimeDelta::days(365));
    for _ in 0..3 {
        ticking.tick().await.unwrap();
        machine.mock.advance(TimeDelta::minutes(5));
    }
    let job = newest(&store).await;
    assert!(matches!(job.state, State::Waiting), "{job:?}");
    machine.mock.advance(TimeDelta::hours(25));
    ticking.tick().await.unwrap();
    let error = store.job(job.id).await.unwrap().unwrap().error.unwrap();
    assert_eq!(error.kind, crate::job::ErrorKind::Deadline);
}

#[tokio::test]
async fn a_clock_that_is_set_forward_during_a_request_uses_up_no_deadline() {
    let failing = Scenario {
        status: vec![Fault::Refused, Fault::Refused],
        ending: Ending::Never,
        ..Scenario::default()
    };
    let mut machine = Machine::new(failing).await;
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::minutes(1));
    let held = store.claim(claim(&engine), machine.clock.now()).await.unwrap().jobs.remove(0);
    assert_eq!(held.state, State::Waiting);
    // The machine sleeps with the request under way, which then fails.
    machine.mock.jump(TimeDelta::days(2));
    engine.work(&engine.config(), held, &in_flight::StepHandle::default()).await.unwrap();
    let job = newest(&store).await;
    assert_eq!(job.state, State::Waiting, "{:?}", job.error);
    assert_eq!(job.first_submitted_at, Some(night() + TimeDelta::days(2)));
}
