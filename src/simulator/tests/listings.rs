//! The lists of sources, of versions and of jobs.

use super::*;

fn stored() -> Vec<SimSource> {
    let data = Data::first_places;
    vec![
        SimSource::new(ACCESS, "Places", KEY, data(5))
            .older(vec![data(4), data(3)])
            .staged(data(6)),
    ]
}

#[tokio::test]
async fn the_lists_name_sources_and_their_versions() {
    let walk = Walk::of(stored()).await;
    let endpoint = walk.simulator.endpoint();
    let sources = walk.get(&format!("{endpoint}/data?key={KEY}")).await.unwrap();
    assert_eq!(sources.headers()["content-type"], "application/atomsvc+xml; charset=utf-8");
    let sources = sources.text().await.unwrap();
    let href = format!("app:href=\"{endpoint}/data/{ACCESS}/Places/PlaceEntityType\"");
    assert!(sources.contains(&href), "{sources}");
    assert!(!sources.contains("jobId"));

    let one = format!("{endpoint}/data/{ACCESS}/Places?key={KEY}");
    let published = walk.get(&one).await.unwrap().text().await.unwrap();
    assert_eq!(ids(&published).len(), 1, "without showAllVersions");
    let one = format!("{one}&showAllVersions=true");
    let versions = walk.get(&one).await.unwrap().text().await.unwrap();
    let listed = ids(&versions);
    let known = walk.simulator.versions("Places");
    let known = known.published.iter().chain(&known.staged).chain(&known.older);
    assert_eq!(listed, known.map(|version| version.job_id.clone()).collect::<Vec<_>>());
    assert!(
        versions.contains("bsi:isStagingDataSource=\"true\" bsi:isActive=\"false\" bsi:uploaded")
    );
    assert!(versions.contains(
        "bsi:isStagingDataSource=\"false\" bsi:isActive=\"true\" \
         bsi:updated=\"2026-02-25T19:44:10Z\""
    ));
    let create =
        format!("{endpoint}/Dataflows/DataSourceDownload/{ACCESS}/Places?key={KEY}&jobid=");
    assert_eq!(walk.get(&format!("{create}{}", listed[1])).await.unwrap().status(), 202);
    assert_eq!(walk.simulator.remote_jobs()[0].version.as_deref(), Some(listed[1].as_str()));
    assert_eq!(walk.get(&format!("{create}nonesuch")).await.unwrap().status(), 404);
    assert_eq!(walk.get(&format!("{endpoint}/data?key=wrong")).await.unwrap().status(), 401);
    assert_eq!(walk.simulator.count(Kind::List), 2);
    assert_eq!(walk.simulator.count(Kind::Versions), 2);
}

#[tokio::test]
async fn each_version_is_downloaded_by_its_job_id() {
    let walk = Walk::of(stored()).await;
    let listed = walk.listed_versions().await;
    assert_eq!(walk.downloaded(None).await, Data::first_places(5).document());
    for (id, count) in listed.iter().zip([5, 6, 4, 3]) {
        assert_eq!(walk.downloaded(Some(id)).await, Data::first_places(count).document());
    }
}

#[tokio::test]
async fn sources_come_and_go_at_run_time() {
    let walk = Walk::of(vec![
        SimSource::new(ACCESS, "Places", KEY, Data::first_places(5)),
        SimSource::new("b0", "Places", KEY, Data::first_places(2)),
        SimSource::new("c0", "~`!$^_={}", KEY, Data::first_places(2)),
        SimSource::new("d0", "Drafts", KEY, Data::first_places(1)).unpublished(),
        SimSource::new("e0", "Elsewhere", "another key", Data::first_places(1)).account("other"),
    ])
    .await;
    let listed = async || {
        let url = format!("{}/data?key={KEY}", walk.simulator.endpoint());
        let text = walk.get(&url).await.unwrap().text().await.unwrap();
        let titles = text.split("<atom:title>").skip(1).step_by(2);
        titles.map(|it| it.split_once('<').unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed().await, ["Places", "Places", "~`!$^_={}"], "only published, of the account");
    walk.simulator.delete_source("~`!$^_={}");
    walk.simulator.add_source(SimSource::new("f0", "More", KEY, Data::first_places(1)));
    assert_eq!(listed().await, ["Places", "Places", "More"]);
    let gone = format!("{}/data/c0/~%60!$%5E_=%7B%7D?key={KEY}", walk.simulator.endpoint());
    assert_eq!(walk.get(&gone).await.unwrap().status(), 404);
    let draft = format!("{}/data/d0/Drafts?key={KEY}", walk.simulator.endpoint());
    let draft = walk.get(&draft).await.unwrap();
    assert_eq!((draft.status().as_u16(), ids(&draft.text().await.unwrap())), (200, Vec::new()));
    for number in 0..500 {
        let name = format!("Many{number}");
        walk.simulator.add_source(SimSource::new("aa", &name, KEY, Data::first_places(1)));
    }
    assert_eq!(listed().await.len(), 503);
}

#[tokio::test]
async fn the_job_list_has_every_change_and_no_download() {
    let walk = Walk::well().await;
    walk.downloaded(None).await;
    assert_eq!(walk.listed_jobs().await, Vec::<Value>::new());
    walk.loaded("completeStaging", &Data::first_places(2)).await;
    walk.followed(json(walk.commit().await).await).await;
    let former = walk.simulator.versions("Places").older[0].job_id.clone();
    walk.followed(json(walk.roll_back(&former).await).await).await;
    walk.load("complete", Data::first_places(1).document()).await.unwrap();

    let jobs = walk.listed_jobs().await;
    let seen = |name: &str| -> Vec<String> {
        jobs.iter().map(|job| job[name].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        seen("description"),
        [
            "DataSourceComplete",
            "DataSourceRollback",
            "DataSourcePublishFromStaged",
            "DataSourceCompleteStaging"
        ]
    );
    assert_eq!(seen("status"), ["Pending", "Completed", "Completed", "Completed"]);
    assert_eq!(seen("name"), ["Places"; 4]);
    let known = walk.simulator.changes();
    let ids: Vec<String> = known.iter().rev().map(|change| change.id.clone()).collect();
    assert_eq!(seen("id"), ids);
    let urls = |job: &Value| -> Vec<String> {
        let links = job["links"].as_array().cloned().unwrap_or_default();
        links.iter().map(|link| link["url"].as_str().unwrap().to_owned()).collect()
    };
    let endpoint = walk.simulator.endpoint();
    assert_eq!(urls(&jobs[0]), [format!("{endpoint}/dataflows/LoadDataSource/{}", ids[0])]);
    assert_eq!(
        urls(&jobs[2]),
        [
            format!("{endpoint}/data/jobs/{}/$getstatus", ids[2]),
            format!("{endpoint}/data/{ACCESS}/Places")
        ]
    );
    assert_eq!(jobs[3]["links"][1]["role"], "datasource");
    assert_eq!(
        (&jobs[3]["totalEntityCount"], &jobs[3]["failedEntityCount"]),
        (&2.into(), &0.into())
    );
    assert_eq!(jobs[2].get("failedEntityCount"), None, "a publication has no counts");
    assert!(jobs.iter().all(|job| job["createdDate"].is_string()));

    let listing = |job_links| AccountScenario { job_links, ..AccountScenario::default() };
    walk.simulator.set_account(listing(JobLinks::None));
    assert_eq!(urls(&walk.listed_jobs().await[1]).len(), 0);
    walk.simulator.set_account(listing(JobLinks::Source));
    assert_eq!(urls(&walk.listed_jobs().await[1]), [format!("{endpoint}/data/{ACCESS}/Places")]);
    walk.simulator.set_account(listing(JobLinks::OtherHost("example.org:1".into())));
    assert!(urls(&walk.listed_jobs().await[1])[1].starts_with("http://example.org:1/REST"));
    walk.simulator.set_account(listing(JobLinks::WithKey));
    assert!(urls(&walk.listed_jobs().await[1])[0].ends_with(&format!("?key={KEY}")));
    assert_eq!(walk.simulator.count(Kind::Jobs), 6);
}

#[tokio::test]
async fn the_job_list_can_be_empty_late_or_broken() {
    let walk = Walk::well().await;
    let account = |change: &dyn Fn(&mut AccountScenario)| {
        let mut account = AccountScenario::default();
        change(&mut account);
        walk.simulator.set_account(account);
    };
    walk.load("completeStaging", Data::first_places(2).document()).await.unwrap();
    account(&|it| it.no_jobs = true);
    assert_eq!(walk.listed_jobs().await.len(), 0);
    account(&|it| it.jobs_lag = 3);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(walk.listed_jobs().await.len());
    }
    assert_eq!(seen, [0, 0, 1], "the first request was the one before");
    account(&|it| it.without_names = true);
    assert_eq!(walk.listed_jobs().await[0].get("name"), None);
    account(&|it| it.jobs = vec![Fault::http(503), Fault::EndsHalfway, Fault::Xml]);
    let url = format!("{}/dataflows/ListJobs?key={KEY}", walk.simulator.endpoint());
    assert_eq!(walk.get(&url).await.unwrap().status(), 503);
    let half = walk.get(&url).await.unwrap().text().await.unwrap();
    assert!(serde_json::from_str::<Value>(&half).is_err());
    assert!(walk.get(&url).await.unwrap().text().await.unwrap().starts_with("<?xml"));
}

#[tokio::test]
async fn lists_can_be_broken_and_versions_late() {
    let walk = Walk::with_changes(Changes {
        versions: vec![Fault::http(500), Fault::EndsHalfway, Fault::LostAnswer],
        versions_lag: 2,
        ..Changes::default()
    })
    .await;
    let before = walk.simulator.versions("Places").published.unwrap().job_id;
    let url = format!("{}/data/{ACCESS}/Places?key={KEY}", walk.simulator.endpoint());
    assert_eq!(walk.get(&url).await.unwrap().status(), 500);
    assert!(!walk.get(&url).await.unwrap().text().await.unwrap().contains("</app:service>"));
    assert!(walk.get(&url).await.is_err());
    let after = walk.simulator.load_elsewhere("Places", LoadOperation::Complete, Data::Places);
    for _ in 0..2 {
        assert_eq!(walk.listed_versions().await, std::slice::from_ref(&before));
    }
    assert_eq!(walk.listed_versions().await, [after, before]);

    let sources = vec![Fault::Quota(429), Fault::BrokenHalfway];
    walk.simulator.set_account(AccountScenario { sources, ..AccountScenario::default() });
    let url = format!("{}/data?key={KEY}", walk.simulator.endpoint());
    assert_eq!(walk.get(&url).await.unwrap().status(), 429);
    assert!(walk.get(&url).await.unwrap().bytes().await.is_err());
    assert_eq!(walk.get(&url).await.unwrap().status(), 200);
}
