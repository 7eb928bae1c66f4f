//! Jobs that are taken over, released or cancelled.

use super::*;

#[tokio::test]
async fn a_dead_worker_s_jobs_are_taken_over_at_once() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::minutes(1));
    let claim = Claim { owner: "123-000000000000dead".into(), ..claim(&engine) };
    let claimed = store.claim(claim, machine.clock.now()).await.unwrap();
    assert_eq!(claimed.jobs.len(), 1);
    assert_eq!(engine.tick().await.unwrap(), 1);
    assert_eq!(newest(&store).await.state, State::Ready);
}

#[tokio::test]
async fn a_job_that_its_worker_holds_without_working_on_it_is_released() {
    let mut machine = Machine::new(Scenario::default()).await;
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    assert_eq!(store.claim(claim(&engine), night()).await.unwrap().jobs.len(), 1);
    let mut ticking = engine.ticking().await.unwrap();
    assert_eq!(ticking.tick().await.unwrap(), 0);
    ticking.sweep_now().await.unwrap();
    assert_eq!(store.held(&engine.shared.worker.name).await.unwrap(), Vec::<i64>::new());
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_it_is_submitted_keeps_what_was_answered() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    let (engine, store) = machine.start().await;
    let (job, _) = store.job_for(by_hand(), night()).await.unwrap();
    let (history, now) = (store.clone(), machine.clock.now());
    let cancel = move |step| -> futures_util::future::BoxFuture<'static, ()> {
        let store = history.clone();
        Box::pin(async move {
            if step == JobStep::Submit {
                store.cancel(job.id, now).await.unwrap();
            }
        })
    };
    Hooked::up(&engine, Box::new(cancel));
    engine.tick().await.unwrap();
    assert_eq!(newest(&store).await.state, State::Cancelled);
    let last = store.timeline(job.id).await.unwrap().pop().unwrap().message;
    assert!(last.contains("had accepted the submission as remote job"), "{last}");
    assert_eq!(store.quota_used("contoso", now).await.unwrap().0, 1);
    // Its place is free as soon as a job that waits for it has asked about it.
    let mut config = (*engine.config()).clone();
    config.settings = machine.settings();
    config.services = machine.config(&config.settings).services;
    engine.set_config(config);
    store.job_for(by_hand(), now).await.unwrap();
    engine.tick().await.unwrap();
    assert!(newest(&store).await.waiting.is_some());
    engine.ticking().await.unwrap().sweep_now().await.unwrap();
    assert_eq!(machine.until_quiet(&engine, &store).await.state, State::Archived);
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_its_result_arrives_files_nothing() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    let (engine, store) = machine.start().await;
    let (job, _) = store.job_for(by_hand(), night()).await.unwrap();
    let (history, now) = (store.clone(), machine.clock.now());
    let cancel = move |step| -> futures_util::future::BoxFuture<'static, ()> {
        let store = history.clone();
        Box::pin(async move {
            if step == JobStep::Fetch {
                store.cancel(job.id, now).await.unwrap();
            }
        })
    };
    Hooked::up(&engine, Box::new(cancel));
    machine.until_quiet(&engine, &store).await;
    assert_eq!(newest(&store).await.state, State::Cancelled);
    assert_eq!(files(&machine.settings().archive_dir.join("one")), 0);
}
