//! Quotas, and orphaned remote jobs that use them.

use super::*;
use crate::job::EventKind;

#[tokio::test]
async fn a_lost_answer_counts_against_the_quota() {
    let lost = Scenario { create: vec![Fault::LostAnswer], ..Scenario::default() };
    let mut machine = Machine::new(lost).await;
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::seconds(30));
    engine.tick().await.unwrap();
    let job = newest(&store).await;
    assert_eq!((job.state, job.attempts), (State::Queued, 1));
    assert_eq!(job.due_at, night() + TimeDelta::hours(12));
    assert!(job.waiting.unwrap().message.contains("concurrent job is in use"));
}

#[tokio::test]
async fn a_wait_for_quota_is_published_once_for_each_reason() {
    let (seen, observed) = std::sync::mpsc::channel();
    let mut machine = Machine::new(Scenario { pending_polls: 9, ..Scenario::default() }).await;
    let observer: Observer = Arc::new(move |notice| {
        if let Notice::Moved { job, events } = notice {
            for event in events {
                let _ = seen.send((job.id, event.kind(), event.message()));
            }
        }
    });
    let (engine, store) = machine.start_observed(observer).await;
    let (first, _) = store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    store.cancel(first.id, machine.clock.now()).await.unwrap();
    let (second, _) = store.job_for(by_hand(), night()).await.unwrap();
    for _ in 0..2 {
        engine.tick().await.unwrap();
        store.reconsider_quota(machine.clock.now()).await.unwrap();
    }
    let waits: Vec<_> = observed.try_iter().filter(|(job, ..)| *job == second.id).collect();
    let message = "waits for quota: the account's only concurrent job is in use; until \
                   2026-11-25T13:59:00Z";
    assert_eq!(waits, [(second.id, EventKind::Quota, message.to_owned())]);
    assert_eq!(kinds(&store, second.id).await, ["queued", "quota"]);
}

#[tokio::test]
async fn a_young_remote_job_that_is_not_found_still_uses_quota() {
    let unknown = Scenario {
        status: std::iter::repeat_n(Fault::http(404), 2).collect(),
        ..Scenario::default()
    };
    let mut machine = Machine::new(unknown).await;
    let (engine, store) = machine.start().await;
    let (first, _) = store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    store.cancel(first.id, machine.clock.now()).await.unwrap();
    let (second, _) = store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    let held = async || store.job(second.id).await.unwrap().unwrap().waiting.is_some();
    let config = engine.config();
    engine.poll_orphans(&config).await.unwrap();
    engine.tick().await.unwrap();
    assert!(held().await, "it may be running, and just not be known yet");
    machine.mock.advance(TimeDelta::minutes(16));
    engine.poll_orphans(&config).await.unwrap();
    engine.tick().await.unwrap();
    assert!(!held().await);
}

#[tokio::test]
async fn the_quota_of_a_cancelled_job_is_freed_when_its_remote_job_ends() {
    let mut machine = Machine::new(Scenario { pending_polls: 1, ..Scenario::default() }).await;
    let (engine, store) = machine.start().await;
    let (first, _) = store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    store.cancel(first.id, machine.clock.now()).await.unwrap();
    let (second, _) = store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    let held = async || store.job(second.id).await.unwrap().unwrap().waiting.is_some();
    assert!(held().await);
    let config = engine.config();
    // Once it says pending, then that it is done.
    engine.poll_orphans(&config).await.unwrap();
    engine.tick().await.unwrap();
    assert!(held().await);
    engine.poll_orphans(&config).await.unwrap();
    engine.tick().await.unwrap();
    assert!(!held().await);
    assert_eq!(machine.until_quiet(&engine, &store).await.state, State::Archived);
    assert_eq!(store.orphans(night()).await.unwrap(), []);
}

#[tokio::test]
async fn a_raised_quota_is_noticed_by_a_reload_and_by_a_restart() {
    for restarts in [false, true] {
        let mut machine = Machine::new(Scenario::default()).await;
        machine.extra = String::new();
        let (mut engine, mut store) = machine.start().await;
        let mut settings = machine.settings();
        settings.accounts.get_mut("contoso").unwrap().max_jobs_per_day = 1;
        engine.set_config(machine.config(&settings));
        store.job_for(by_hand(), night()).await.unwrap();
        assert_eq!(machine.until_quiet(&engine, &store).await.state, State::Archived);
        let (second, _) = store.job_for(by_hand(), machine.clock.now()).await.unwrap();
        engine.tick().await.unwrap();
        let waits = store.job(second.id).await.unwrap().unwrap();
        assert_eq!(waits.waiting.unwrap().why, crate::job::WaitReason::Quota);
        assert!(waits.due_at > machine.clock.now() + TimeDelta::hours(23));
        if restarts {
            drop(engine);
            store.close().await;
            (engine, store) = machine.start().await;
        } else {
            engine.set_config(machine.config(&machine.settings()));
        }
        engine.tick().await.unwrap();
        assert_eq!(newest(&store).await.state, State::Waiting, "restarts: {restarts}");
    }
}

#[tokio::test]
async fn orphaned_remote_jobs_are_asked_about_once_at_a_time() {
    let silent = Scenario { status: vec![Fault::Silence], ..Scenario::default() };
    let mut machine = Machine::new(silent).await;
    let (engine, store) = machine.start().await;
    let (first, _) = store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    store.cancel(first.id, machine.clock.now()).await.unwrap();
    store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    let mut run = engine.begin(Scope::Everything).await.unwrap();
    engine.begin_orphan_query(&mut run);
    while machine.simulator.count(Kind::Status) == 0 {
        tokio::task::yield_now().await;
    }
    let first = run.orphans.task.as_ref().unwrap().id();
    engine.begin_orphan_query(&mut run);
    assert_eq!(
        run.orphans.task.as_ref().unwrap().id(),
        first,
        "the first question is not answered yet"
    );
    run.orphans.stop.cancel();
    run.orphans.task.take().unwrap().await.unwrap();
    engine.begin_orphan_query(&mut run);
    assert!(run.orphans.task.is_some());
}
