//! Nights that differ much from the last good one.

use super::*;
use crate::archive::Snapshot;

/// A machine that allows this much to change, and has archived 20 places.
async fn machine(max_change: &str) -> (Machine, Engine, Store) {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    let (engine, store) = machine.start().await;
    let mut config = (*engine.config()).clone();
    config.settings.accounts.get_mut("contoso").unwrap().max_in_process = 10;
    config.settings.sources[0].max_change = Some(max_change.parse().unwrap());
    engine.set_config(config);
    night_of(&machine, &engine, &store, Data::first_places(20)).await;
    (machine, engine, store)
}

/// Backs this up. Returns the snapshot and the notes in its job's timeline.
async fn night_of(
    machine: &Machine,
    engine: &Engine,
    store: &Store,
    data: Data,
) -> (Snapshot, Vec<String>) {
    machine.simulator.set_data("One", data);
    machine.mock.advance(TimeDelta::minutes(1));
    store.job_for(by_hand(), machine.clock.now()).await.unwrap();
    let job = machine.until_quiet(engine, store).await;
    assert_eq!(job.state, State::Archived, "{job:?}");
    let timeline = store.timeline(job.id).await.unwrap();
    let notes = timeline.into_iter().filter(|it| it.kind == "note").map(|it| it.message);
    let snapshot = engine.shared.archive.newest("one").unwrap().unwrap();
    assert_eq!(snapshot.manifest.job, job.id);
    (snapshot, notes.collect())
}

/// The first 20 places, this many of them with another name.
fn renamed(count: usize) -> Data {
    Data::first_places(20).edited(|text| text.replacen("</Name>", "!</Name>", count))
}

#[tokio::test]
async fn a_night_that_changes_more_than_the_allowed_part_is_suspicious() {
    let (machine, engine, store) = machine("0.3").await;
    let (snapshot, notes) = night_of(&machine, &engine, &store, renamed(6)).await;
    assert_eq!(snapshot.manifest.suspicious, Vec::<String>::new());
    assert_eq!(notes, Vec::<String>::new());
    // Against the last good one: seven other names than there.
    let other = Data::first_places(20).edited(|text| {
        let at = text.rfind("<Name>").unwrap();
        let (begin, end) = text.split_at(at);
        begin.replacen("</Name>", "!</Name>", 12) + end
    });
    let (snapshot, _) = night_of(&machine, &engine, &store, other.clone()).await;
    assert_eq!(snapshot.manifest.suspicious, Vec::<String>::new(), "six more of twenty");
    let reason = "0 added, 0 removed and 12 changed of 20 entities before: 60 %, more than \
                  max_change = 0.3";
    for _ in 0..2 {
        let (snapshot, _) = night_of(&machine, &engine, &store, Data::first_places(20)).await;
        assert_eq!(snapshot.manifest.suspicious, [reason], "a suspicious night is no baseline");
    }
    let (snapshot, notes) = night_of(&machine, &engine, &store, other).await;
    assert_eq!((snapshot.manifest.suspicious.len(), notes.len()), (0, 0));
}

#[tokio::test]
async fn what_cannot_be_compared_is_archived_with_a_note() {
    let (machine, engine, store) = machine("0.0").await;
    let data = engine.shared.archive.newest("one").unwrap().unwrap().data();
    let length = std::fs::metadata(&data).unwrap().len();
    std::fs::write(&data, vec![0; usize::try_from(length).unwrap()]).unwrap();
    let (snapshot, notes) = night_of(&machine, &engine, &store, renamed(3)).await;
    assert_eq!(snapshot.manifest.suspicious, Vec::<String>::new());
    assert!(notes[0].starts_with("how much has changed is not known: one@"), "{notes:?}");
    assert!(engine.shared.archive.verify(&[], &|_| {}).findings.len() == 1);
    let other_key = Data::first_places(20).edited(|text| text.replace("EntityID", "OtherID"));
    let (snapshot, notes) = night_of(&machine, &engine, &store, other_key).await;
    assert_eq!(snapshot.manifest.suspicious, Vec::<String>::new());
    assert!(
        notes[0].contains("the primary keys differ: EntityID before, OtherID now"),
        "{notes:?}"
    );
}

#[tokio::test]
async fn a_document_from_the_quarantine_is_compared_too() {
    let (machine, engine, store) = machine("0.1").await;
    let doubtful = Data::first_places(20).damaged(Damage::DuplicateKey);
    let (snapshot, notes) = night_of(&machine, &engine, &store, doubtful).await;
    let reasons = &snapshot.manifest.suspicious;
    assert!(!reasons.iter().any(|reason| reason.contains("max_change")), "{reasons:?}");
    assert!(notes.iter().all(|note| !note.contains("not known")), "{notes:?}");
}

#[tokio::test]
async fn a_comparison_is_cancelled_with_its_step() {
    let (machine, engine, store) = machine("0.5").await;
    machine.simulator.set_data("One", renamed(1));
    store.job_for(by_hand(), machine.clock.now()).await.unwrap();
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::minutes(1));
    engine.tick().await.unwrap();
    let job = newest(&store).await;
    assert_eq!(job.step(), Some(JobStep::Fetch));
    assert_eq!(store.claim(claim(&engine), machine.clock.now()).await.unwrap().jobs.len(), 1);
    let config = engine.config();
    let source = config.settings.source("one").unwrap();
    let service = &config.services["contoso"];
    let handle = in_flight::StepHandle::default();
    // Another download is compared: this one waits for it.
    let busy = engine.shared.comparing.lock().await;
    let (config, target) = (&*config, &source.target);
    let work = step::Work { config, source, service, target, job: &job, handle: &handle };
    let fetch = engine.fetch(&work);
    let (effect, ()) = tokio::join!(fetch, async {
        while machine.simulator.count(Kind::Result) < 2 {
            tokio::task::yield_now().await;
        }
        handle.cancel.cancel();
    });
    assert!(effect.is_none(), "the download is made again");
    drop(busy);
    let handle = in_flight::StepHandle::default();
    let effect = engine.fetch(&step::Work { handle: &handle, ..work }).await;
    assert!(matches!(effect.unwrap().outcome, crate::job::Outcome::Archived { .. }));
}
