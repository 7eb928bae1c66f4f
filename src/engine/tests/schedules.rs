//! Scheduled times, and configurations that change them.

use super::*;

#[tokio::test]
async fn a_time_that_comes_while_a_job_is_live_is_skipped() {
    let never = Scenario { ending: Ending::Never, ..Scenario::default() };
    let mut machine = Machine::new(never).await;
    machine.extra = "[poll]\ndeadline = \"72h\"\n".into();
    let (engine, store) = machine.start().await;
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::minutes(1));
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::days(1));
    engine.tick().await.unwrap();
    let live = store.live_jobs().await.unwrap();
    assert_eq!(live.len(), 1);
    assert!(kinds(&store, live[0].id).await.contains(&"skipped".to_owned()));
}

#[tokio::test]
async fn after_downtime_the_newest_missed_time_is_made_up_for_once() {
    let mut machine = Machine::new(Scenario::default()).await;
    let (engine, store) = machine.start().await;
    engine.tick().await.unwrap();
    drop(engine);
    store.close().await;
    machine.mock.advance(TimeDelta::days(3));
    let (engine, store) = machine.start().await;
    let job = machine.until_quiet(&engine, &store).await;
    assert_eq!((job.state, job.trigger), (State::Archived, Trigger::CatchUp));
    assert_eq!(job.scheduled_for, Some(night() + TimeDelta::days(2) + TimeDelta::minutes(1)));
    let first = &store.timeline(job.id).await.unwrap()[0].message;
    assert!(first.contains("2 earlier times"), "{first}");
    assert_eq!(store.jobs(&Filter { limit: 9, ..Filter::default() }).await.unwrap().len(), 1);
}

#[tokio::test]
async fn without_catch_up_nothing_is_made_up_for() {
    let mut machine = Machine::new(Scenario::default()).await;
    let mut settings = machine.settings();
    settings.sources[0].catch_up = false;
    let (engine, store) = machine.start().await;
    engine.set_config(machine.config(&settings));
    engine.tick().await.unwrap();
    // The machine slept: the scheduled time was missed.
    machine.mock.advance(TimeDelta::hours(3));
    engine.tick().await.unwrap();
    assert_eq!(store.live_jobs().await.unwrap(), []);
    assert_eq!(store.cursor("one").await.unwrap().unwrap().cursor, night() + TimeDelta::minutes(1));
}

#[tokio::test]
async fn a_configuration_that_could_not_be_applied_is_applied_by_the_next_try() {
    let mut machine = Machine::new(Scenario::default()).await;
    let (engine, store) = machine.start().await;
    let mut run = engine.begin(Scope::Everything).await.unwrap();
    let mut settings = machine.settings();
    settings.sources[0].name = "two".into();
    engine.set_config(machine.config(&settings));
    let failing = {
        let database = machine.settings().state_dir.join(crate::store::FILE);
        crate::failpoint::watch(&database, |point, _| match point {
            crate::failpoint::Point::StoreBegin => Err(std::io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        })
    };
    let stop = CancellationToken::new();
    let event = engine.next_event(&mut run, &stop).await;
    assert!(engine.handle(&mut run, event).await.unwrap_err().is_storage());
    drop(failing);
    let event = engine.next_event(&mut run, &stop).await;
    assert!(matches!(event, run::Event::ConfigChanged(_)), "{event:?}");
    assert!(engine.handle(&mut run, event).await.unwrap().is_continue());
    assert!(store.cursor("two").await.unwrap().is_some(), "the new source is scheduled");
}

#[tokio::test]
async fn a_sweep_that_failed_is_done_again_and_a_stop_needs_no_database() {
    let mut machine = Machine::new(Scenario::default()).await;
    let (engine, _store) = machine.start().await;
    let mut run = engine.begin(Scope::Everything).await.unwrap();
    let stop = CancellationToken::new();
    machine.mock.advance(TimeDelta::minutes(2));
    let polls = engine.next_event(&mut run, &stop).await;
    assert!(matches!(polls, run::Event::Timer(timers::Timer::PollChanges)), "{polls:?}");
    std::fs::remove_file(machine.settings().state_dir.join(crate::store::FILE)).unwrap();
    for _ in 0..2 {
        let sweep = engine.next_event(&mut run, &stop).await;
        assert!(matches!(sweep, run::Event::Timer(timers::Timer::Sweep)), "{sweep:?}");
        assert!(engine.handle(&mut run, sweep).await.is_err());
    }
    stop.cancel();
    let event = engine.next_event(&mut run, &stop).await;
    assert!(matches!(event, run::Event::Stop), "{event:?}");
    assert!(engine.handle(&mut run, event).await.unwrap().is_break());
}

#[tokio::test]
async fn a_new_configuration_s_sources_are_scheduled_from_then_on() {
    let mut machine = Machine::new(Scenario::default()).await;
    let (engine, store) = machine.start().await;
    engine.tick().await.unwrap();
    let mut settings = machine.settings();
    let mut two = settings.sources[0].clone();
    two.name = "two".into();
    two.target = data_source("Two");
    two.schedule = Schedule::parse("1 2 * * *").unwrap();
    settings.sources.push(two);
    engine.set_config(machine.config(&settings));
    engine.tick().await.unwrap();
    machine.mock.set(night() + TimeDelta::minutes(2));
    engine.tick().await.unwrap();
    let sources: Vec<_> =
        store.live_jobs().await.unwrap().into_iter().map(|job| job.source).collect();
    assert_eq!(sources, ["one", "two"]);
}

#[test]
fn a_time_noticed_late_was_missed() {
    let schedule = Schedule::parse("0 2 * * *").unwrap();
    let two = night() + TimeDelta::minutes(1);
    let day = TimeDelta::days(1);
    let found = |cursor, started, now| due(&schedule, chrono_tz::UTC, cursor, started, now);
    assert_eq!(found(night(), night(), two - TimeDelta::seconds(1)), None);
    let met = Some(Due { time: two, earlier: 0, missed: false });
    assert_eq!(found(night(), night(), two), met);
    assert_eq!(found(night(), night(), two + TimeDelta::seconds(119)), met);
    let missed = Some(Due { time: two, earlier: 0, missed: true });
    assert_eq!(found(night(), night(), two + TimeDelta::seconds(121)), missed);
    assert_eq!(found(night(), two, two), missed, "it came before the engine was there");
    assert_eq!(
        found(night(), night(), two + day * 4),
        Some(Due { time: two + day * 4, earlier: 4, missed: false })
    );
    assert_eq!(found(two, night(), two + TimeDelta::hours(9)), None);
}

#[tokio::test]
async fn retention_is_applied_at_four_and_not_before() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    machine.extra = "[retention]\nkeep_last = 1\nkeep_daily = 0\nkeep_weekly = 0\n\
                     keep_monthly = 0\nkeep_yearly = 0\n"
        .into();
    let (engine, store) = machine.start().await;
    let settings = machine.settings();
    let mut maintenance =
        Maintenance::new(store.clone(), engine.shared.archive.clone(), machine.clock.clone());
    maintenance.run_due(&settings, &TASKS).await;
    for _ in 0..3 {
        store.job_for(by_hand(), machine.clock.now()).await.unwrap();
        machine.until_quiet(&engine, &store).await;
    }
    let archive = engine.shared.archive.clone();
    let left = async |maintenance: &mut Maintenance, hours: i64| {
        machine.mock.set(night() + TimeDelta::hours(hours));
        maintenance.run_due(&settings, &TASKS).await;
        archive.names("one").unwrap().len()
    };
    assert_eq!(left(&mut maintenance, 2).await, 3);
    assert_eq!(left(&mut maintenance, 3).await, 1);
}
