//! Changes that go wrong, or seem to.

use super::*;

fn changes(change: impl FnOnce(&mut Changes)) -> Changes {
    let mut changes = Changes::default();
    change(&mut changes);
    changes
}

#[tokio::test]
async fn faults_before_the_effect_start_nothing_and_faults_after_it_do() {
    let before = vec![
        Fault::Refused,
        Fault::BrokenUpload(100),
        Fault::http(503),
        Fault::http_with(500, ErrorBody::Html),
        Fault::Quota(403),
        Fault::SourceLimit,
    ];
    let after = vec![Fault::LostAnswer, Fault::ErrorAfter(500), Fault::EndsHalfway];
    let load = [before, after].concat();
    let walk = Walk::with_changes(changes(|it| it.load = load)).await;
    let post = async || walk.load("completeStaging", Data::first_places(2).document()).await;
    assert!(post().await.is_err());
    assert!(post().await.is_err());
    assert_eq!(post().await.unwrap().status(), 503);
    assert_eq!(post().await.unwrap().status(), 500);
    for text in ["limit of jobs", "number of data sources"] {
        let refused = post().await.unwrap();
        assert_eq!(refused.status(), 403);
        assert!(refused.text().await.unwrap().contains(text));
    }
    assert_eq!(walk.simulator.changes().len(), 0);
    assert!(post().await.is_err());
    assert_eq!(post().await.unwrap().status(), 500);
    let half = post().await.unwrap().text().await.unwrap();
    assert!(serde_json::from_str::<Value>(&half).is_err());
    post().await.unwrap();
    walk.listed_jobs().await;
    let changes = walk.simulator.changes();
    let answered: Vec<bool> = changes.iter().map(|it| it.creation_answered).collect();
    assert_eq!(answered, [false, false, false, true]);
    assert!(changes[..2].iter().all(|it| it.happened), "a job whose answer was lost goes on");
    assert_eq!(walk.simulator.count(Kind::Load), 10);
}

#[tokio::test]
async fn an_ignored_request_has_no_effect_and_no_answer() {
    let walk = Walk::with_changes(changes(|it| it.commit = vec![Fault::Ignored])).await;
    walk.loaded("completeStaging", &Data::first_places(2)).await;
    let mut request = Box::pin(walk.commit());
    while walk.simulator.count(Kind::Commit) == 0 {
        tokio::select! {
            biased;
            answer = &mut request => panic!("{answer:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    drop(request);
    assert_eq!(walk.simulator.changes().len(), 1);
}

#[tokio::test]
async fn jobs_end_as_configured_whatever_really_happened() {
    let cases = [
        (Outcome::completed(), "Completed", true),
        (Outcome::aborted("no"), "Aborted", false),
        (Outcome::completed_without_effect(), "Completed", false),
        (Outcome::aborted_with_effect("no"), "Aborted", true),
    ];
    for (outcome, status, happens) in cases {
        let walk = Walk::of(vec![
            SimSource::new(ACCESS, "Places", KEY, Data::first_places(5))
                .older(vec![Data::first_places(4)])
                .scenario(Scenario {
                    changes: changes(|it| {
                        it.load_outcomes = vec![outcome.clone(), Outcome::completed()];
                        it.commit_outcomes = vec![outcome.clone()];
                        it.rollback_outcomes = vec![outcome.clone()];
                    }),
                    ..Scenario::default()
                }),
        ])
        .await;
        let older = walk.simulator.versions("Places").older[0].job_id.clone();
        let answer = walk.loaded("completeStaging", &Data::first_places(2)).await;
        assert_eq!(job(&answer)["status"], status);
        assert_eq!(walk.simulator.versions("Places").staged.is_some(), happens);
        walk.loaded("completeStaging", &Data::first_places(3)).await;
        let rolled = walk.followed(json(walk.roll_back(&older).await).await).await;
        let published = || walk.simulator.versions("Places").published.unwrap();
        assert_eq!(job(&rolled)["status"], status);
        assert_eq!(published().job_id == older, happens);
        let committed = walk.followed(json(walk.commit().await).await).await;
        assert_eq!(job(&committed)["status"], status);
        assert_eq!(published().data.entities() == 3, happens);
    }
}

#[tokio::test]
async fn a_load_may_complete_without_some_entities() {
    let outcome = Outcome::with_failed_entities(2);
    let walk = Walk::with_changes(changes(|it| it.load_outcomes = vec![outcome])).await;
    let answer = walk.loaded("completeStaging", &Data::first_places(6)).await;
    let done = job(&answer);
    assert_eq!((&done["status"], &done["failedEntityCount"]), (&"Completed".into(), &2.into()));
    assert_eq!(done["processedEntityCount"], 6, "failed ones are processed too");
    assert_eq!(done["links"][2]["name"], "failed");
    let log = walk.fetch(&link(&answer, "output").unwrap()).await.unwrap();
    assert_eq!(log.text().await.unwrap(), "2 entities could not be loaded.\n");
    assert_eq!(walk.simulator.versions("Places").staged.unwrap().data.entities(), 4);
}

#[tokio::test]
async fn status_answers_have_faults_of_their_own() {
    let status = vec![Fault::http(500), Fault::OtherId, Fault::Word("Odd".into()), Fault::Xml];
    let walk = Walk::with_changes(changes(|it| {
        (it.status, it.pending_polls, it.without_source_link) = (status, 3, true);
    }))
    .await;
    let created = json(walk.load("complete", Data::first_places(2).document()).await).await;
    let url = link(&created, "self").unwrap();
    assert_eq!(walk.status(&url).await.unwrap().status(), 500);
    assert_ne!(job(&json(walk.status(&url).await).await)["id"], job(&created)["id"]);
    assert_eq!(job(&json(walk.status(&url).await).await)["status"], "Odd");
    assert!(walk.status(&url).await.unwrap().text().await.unwrap().starts_with("<?xml"));
    let done = json(walk.status(&url).await).await;
    assert_eq!(job(&done)["status"], "Completed");
    assert_eq!(link(&done, "datasource"), None);
    assert_eq!(walk.simulator.changes()[0].polls, 4);
    assert_eq!(walk.simulator.count(Kind::ChangeStatus), 5);
}

#[tokio::test]
async fn other_users_interfere_at_the_given_moment() {
    let moments =
        [Moment::LoadAccepted, Moment::Loaded, Moment::StagedFetched, Moment::CommitReceived];
    for at in moments {
        let interference = vec![Interference { at, act: Act::Stage(Data::first_places(1)) }];
        let walk = Walk::with_changes(changes(|it| it.interference = interference)).await;
        let staged = || walk.simulator.versions("Places").staged.map(|it| it.data.entities());
        let created =
            json(walk.load("completeStaging", Data::first_places(2).document()).await).await;
        assert_eq!(staged().is_some(), at == Moment::LoadAccepted);
        let id = job(&created)["id"].as_str().unwrap().to_owned();
        walk.followed(created).await;
        assert_eq!(staged(), Some(if at == Moment::Loaded { 1 } else { 2 }));
        if at == Moment::StagedFetched {
            walk.downloaded(None).await;
            assert_eq!(staged(), Some(2), "something else was fetched");
            walk.downloaded(Some(&id)).await;
            assert_eq!(staged(), Some(1));
        }
        walk.followed(json(walk.commit().await).await).await;
        let published = walk.simulator.versions("Places").published.unwrap();
        assert_eq!(published.job_id == id, at == Moment::LoadAccepted);
    }
    let at = Moment::Loaded;
    for (act, left) in [(Act::DropStaged, true), (Act::Delete, false)] {
        let interference = vec![Interference { at, act }];
        let walk = Walk::with_changes(changes(|it| it.interference = interference)).await;
        walk.loaded("completeStaging", &Data::first_places(2)).await;
        assert_eq!(walk.commit().await.unwrap().status(), if left { 400 } else { 404 });
    }
    let act = Act::Publish(Data::first_places(1));
    let interference = vec![Interference { at: Moment::Committed, act }];
    let walk = Walk::with_changes(changes(|it| it.interference = interference)).await;
    walk.loaded("completeStaging", &Data::first_places(2)).await;
    walk.followed(json(walk.commit().await).await).await;
    assert_eq!(walk.downloaded(None).await, Data::first_places(1).document());
    let elsewhere: Vec<bool> = walk.simulator.changes().iter().map(|it| it.is_elsewhere).collect();
    assert_eq!(elsewhere, [false, false, true]);
    assert_eq!(walk.listed_jobs().await.len(), 3, "their jobs are in the list too");
}

#[tokio::test]
async fn changes_count_against_the_limits_as_downloads_do() {
    let walk = Walk::well().await;
    let limits = AccountLimits { max_in_process: 2, max_per_day: 3, ..AccountLimits::default() };
    walk.simulator.set_limits(limits);
    walk.simulator.set_data("Places", Data::first_places(4));
    let load = async || walk.load("completeStaging", Data::first_places(2).document()).await;
    let created = json(load().await).await;
    assert_eq!(walk.create().await.unwrap().status(), 202);
    assert_eq!(load().await.unwrap().status(), 429, "two are in process");
    walk.followed(created).await;
    let committed = json(walk.commit().await).await;
    walk.followed(committed).await;
    let refused = walk.roll_back(&walk.simulator.versions("Places").older[0].job_id).await.unwrap();
    assert_eq!(refused.status(), 429, "three were started");
    assert!(refused.text().await.unwrap().contains("24 hour"));
    walk.simulator.next_day();
    assert_eq!(load().await.unwrap().status(), 201);
    assert_eq!(walk.simulator.peak_in_process(), 2);
}

#[tokio::test]
async fn publishing_may_give_a_version_another_id() {
    let walk = Walk::with_changes(changes(|it| it.new_id_on_publish = true)).await;
    walk.loaded("completeStaging", &Data::first_places(2)).await;
    let done = walk.followed(json(walk.commit().await).await).await;
    assert_eq!(walk.listed_versions().await[0], job(&done)["id"].as_str().unwrap());
}
