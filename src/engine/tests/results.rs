//! What arrives, and what becomes of it.

use super::*;

#[tokio::test]
async fn a_snapshot_that_was_filed_before_a_crash_is_taken_as_it_is() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::minutes(1));
    engine.tick().await.unwrap();
    let job = newest(&store).await;
    assert_eq!(job.step(), Some(JobStep::Fetch));
    // The file is there, and then the power goes.
    let config = engine.config();
    let source = config.settings.source("one").unwrap();
    let service = &config.services["contoso"];
    let handle = in_flight::StepHandle::default();
    assert_eq!(store.claim(claim(&engine), machine.clock.now()).await.unwrap().jobs.len(), 1);
    let (config, target) = (&*config, &source.target);
    let work = step::Work { config, source, service, target, job: &job, handle: &handle };
    let effect = engine.fetch(&work).await.unwrap();
    assert!(matches!(effect.outcome, crate::job::Outcome::Archived { .. }));
    drop(engine);
    let (engine, store) = machine.start().await;
    engine.tick().await.unwrap();
    let job = newest(&store).await;
    assert_eq!(job.state, State::Archived);
    assert_eq!(machine.simulator.count(Kind::Result), 1);
    let last = store.timeline(job.id).await.unwrap().pop().unwrap().message;
    assert!(last.contains("found in the archive: it was filed before"), "{last}");
}

#[tokio::test]
async fn an_archive_that_cannot_be_written_is_waited_for() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    let (engine, store) = machine.start().await;
    let archive = machine.settings().archive_dir;
    store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::minutes(1));
    engine.tick().await.unwrap();
    std::fs::write(&archive, "in the way").unwrap();
    for _ in 0..20 {
        engine.tick().await.unwrap();
        machine.mock.advance(TimeDelta::minutes(5));
    }
    let job = newest(&store).await;
    assert_eq!((job.state, job.attempts), (State::Ready, 1));
    assert!(job.waiting.unwrap().message.contains("cannot be written"));
    std::fs::remove_file(&archive).unwrap();
    engine.tick().await.unwrap();
    assert_eq!(newest(&store).await.state, State::Archived);
}

#[tokio::test]
async fn a_whole_document_is_archived_when_later_remote_jobs_come_to_nothing() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    machine.simulator.set_data("One", Data::first_places(20).damaged(Damage::DuplicateKey));
    let (engine, store) = machine.start().await;
    let mut config = (*engine.config()).clone();
    config.settings.accounts.get_mut("contoso").unwrap().max_in_process = 10;
    engine.set_config(config);
    store.job_for(by_hand(), night()).await.unwrap();
    while newest(&store).await.attempts < 2 {
        engine.tick().await.unwrap();
        machine.mock.advance(TimeDelta::minutes(1));
    }
    // The last two remote jobs are aborted.
    machine.simulator.set_scenario(
        "One",
        Scenario { ending: Ending::aborted("no"), pending_polls: 0, ..Scenario::default() },
    );
    let job = machine.until_quiet(&engine, &store).await;
    assert_eq!((job.state, job.attempts, &job.error), (State::Archived, 3, &None));
    let snapshot = engine.shared.archive.newest("one").unwrap().unwrap();
    assert_eq!(Some(&snapshot.path), job.snapshot.as_ref());
    assert_eq!(snapshot.manifest.unproven, [crate::dataset::Unproven::Keys]);
    assert!(!snapshot.manifest.suspicious.is_empty());
    assert_eq!(snapshot.manifest.remote_id, None);
    assert!(engine.shared.archive.verify(&[], &|_| {}).findings.is_empty());
    let kinds = kinds(&store, job.id).await;
    assert!(kinds.ends_with(&["note".into(), "archived".into(), "suspicious".into()]), "{kinds:?}");
}

#[tokio::test]
async fn a_key_in_the_result_is_neither_stored_nor_shown() {
    let long = format!("{}{KEY}", "x".repeat(45));
    let echoes = [format!("Invalid key {KEY}"), long, format!("<Root>&{KEY};</Root>")];
    for echo in echoes {
        let said = Fault::http_with(200, ErrorBody::Text(echo));
        let scenario = Scenario { pending_polls: 0, result: vec![said; 9], ..Scenario::default() };
        let mut machine = Machine::new(scenario).await;
        let (engine, store) = machine.start().await;
        store.job_for(by_hand(), night()).await.unwrap();
        let mut config = (*engine.config()).clone();
        config.settings.accounts.get_mut("contoso").unwrap().max_in_process = 10;
        engine.set_config(config);
        let job = machine.until_quiet(&engine, &store).await;
        assert_eq!(job.error.as_ref().unwrap().kind, crate::job::ErrorKind::Corrupt);
        let timeline = store.timeline(job.id).await.unwrap();
        let texts = format!("{job:?} {timeline:?}");
        assert!(texts.contains("[key]"), "{texts}");
        assert!(!texts.contains("CANARY-0"), "{texts}");
    }
}

#[tokio::test]
async fn a_result_that_announces_more_than_it_may_have_is_not_waited_for() {
    let lying = vec![Fault::LengthTooLong(1 << 60); 9];
    let scenario = Scenario { pending_polls: 0, result: lying, ..Scenario::default() };
    let mut machine = Machine::new(scenario).await;
    machine.extra = "[http]\nmax_bytes = \"1 MiB\"\n[retry]\nattempts = 2".to_owned();
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    let job = machine.until_quiet(&engine, &store).await;
    assert_eq!(job.error.unwrap().kind, crate::job::ErrorKind::Unavailable);
}

#[tokio::test]
async fn an_incomplete_export_is_kept_aside_and_made_again() {
    let wrong = Scenario {
        announced: crate::simulator::Announced::OffBy(1),
        pending_polls: 0,
        ..Scenario::default()
    };
    let mut machine = Machine::new(wrong).await;
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    let job = machine.until_quiet(&engine, &store).await;
    assert_eq!((job.state, job.attempts), (State::Failed, 3));
    let error = job.error.unwrap();
    assert_eq!(error.kind, crate::job::ErrorKind::Incomplete);
    assert!(error.message.contains("20 entities arrived, 21 were announced"), "{}", error.message);
    let quarantine = machine.settings().state_dir.join("quarantine/one");
    assert_eq!(files(&quarantine), 3);
    assert_eq!(files(&machine.settings().archive_dir.join("one")), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_concurrent_fetches_do_not_interfere() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    let mut settings = machine.settings();
    settings.accounts.get_mut("contoso").unwrap().max_in_process = 10;
    let one = settings.sources[0].clone();
    let names: Vec<String> = (0..10).map(|number| format!("s{number}")).collect();
    let named = |name: &String| Source {
        name: name.clone(),
        target: data_source(&name.to_uppercase()),
        ..one.clone()
    };
    settings.sources = names.iter().map(named).collect();
    let (engine, store) = machine.start().await;
    engine.set_config(machine.config(&settings));
    for name in &names {
        let new = NewJob { source: name.clone(), ..by_hand() };
        store.job_for(new, night()).await.unwrap();
    }
    machine.until_quiet(&engine, &store).await;
    let jobs = store.jobs(&Filter { limit: 50, ..Filter::default() }).await.unwrap();
    for job in jobs {
        assert_eq!(job.state, State::Archived);
        assert_eq!(kinds(&store, job.id).await.len(), 4, "a step was taken twice");
    }
}
