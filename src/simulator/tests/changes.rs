//! Loads, publications of staged versions and rollbacks.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

#[tokio::test]
async fn a_staged_load_goes_from_its_creation_to_its_publication_as_documented() {
    let walk = Walk::well().await;
    let before = walk.simulator.versions("Places").published.unwrap().job_id;
    let document = Data::first_places(7).document();
    let response = walk.load("completeStaging", document.clone()).await.unwrap();
    assert_eq!(response.status(), 201);
    let created = json(Ok(response)).await;
    let first = job(&created);
    assert_eq!(first["__type"], "DataflowJob:http://schemas.microsoft.com/search/local/ws/rest/v1");
    assert_eq!((&first["status"], &first["processedEntityCount"]), (&"Pending".into(), &0.into()));
    let id = first["id"].as_str().unwrap().to_owned();
    let url = link(&created, "self").unwrap();
    assert_eq!(url, format!("{}/dataflows/LoadDataSource/{id}", walk.simulator.endpoint()));
    let loaded = walk.followed(created).await;
    let done = job(&loaded);
    assert_eq!((&done["status"], &done["id"]), (&"Completed".into(), &id.clone().into()));
    for count in ["totalEntityCount", "processedEntityCount"] {
        assert_eq!(done[count], 7);
    }
    assert_eq!(done["failedEntityCount"], 0);
    let source = format!("{}/data/{ACCESS}/Places", walk.simulator.endpoint());
    assert_eq!(link(&loaded, "datasource").unwrap(), source);

    assert_eq!(walk.listed_versions().await, [before.clone(), id.clone()]);
    assert_eq!(walk.downloaded(None).await, Data::first_places(5).document(), "not published");
    assert_eq!(walk.downloaded(Some(&id)).await, document, "byte for byte");

    let committed = walk.commit().await.unwrap();
    assert_eq!(committed.status(), 202);
    let committed = json(Ok(committed)).await;
    assert_eq!(job(&committed)["status"], "Accepted");
    assert!(link(&committed, "self").unwrap().ends_with("/$getstatus"));
    assert_eq!(job(&walk.followed(committed).await)["status"], "Completed");
    assert_eq!(walk.listed_versions().await, [id, before], "nothing is staged any more");
    assert_eq!(walk.downloaded(None).await, document);

    let changes = walk.simulator.changes();
    let seen: Vec<_> = changes.iter().map(|it| (it.kind, it.state, it.happened)).collect();
    assert_eq!(
        seen,
        [
            (ChangeKind::Load(LoadOperation::CompleteStaging), RemoteState::Completed, true),
            (ChangeKind::Commit, RemoteState::Completed, true)
        ]
    );
    assert_eq!((&changes[0].body, changes[0].is_compressed), (&document, false));
    assert_eq!(walk.simulator.count(Kind::Load), 1);
    assert_eq!(walk.simulator.count(Kind::Commit), 1);
}

#[tokio::test]
async fn two_older_versions_are_kept_and_can_be_published_again() {
    let walk = Walk::well().await;
    let mut published = walk.listed_versions().await;
    for count in 1..=3 {
        let answer = walk.loaded("complete", &Data::first_places(count)).await;
        published.insert(0, job(&answer)["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(walk.listed_versions().await, published[..3]);
    assert_eq!(walk.roll_back(&published[3]).await.unwrap().status(), 404, "gone");
    let created = walk.roll_back(&published[2]).await.unwrap();
    assert_eq!(created.status(), 201);
    let created = json(Ok(created)).await;
    assert_eq!(job(&created)["status"], "Created");
    let done = walk.followed(created).await;
    assert_eq!(job(&done)["status"], "Completed");
    assert!(link(&done, "datasource").unwrap().ends_with("/Places"));
    assert_eq!(
        walk.listed_versions().await,
        [published[2].clone(), published[0].clone(), published[1].clone()]
    );
    assert_eq!(walk.downloaded(None).await, Data::first_places(1).document());
    assert_eq!(walk.simulator.count(Kind::Rollback), 2);
}

#[tokio::test]
async fn an_incremental_load_merges_by_primary_key() {
    let walk = Walk::well().await;
    let whole = Data::first_places(6).document();
    let text = std::str::from_utf8(&whole).unwrap();
    let entity = |index: usize| text.split("  <PlaceEntityType>").nth(index + 1).unwrap();
    let key = |index: usize| {
        let (_, rest) = entity(index).split_once("<EntityID>").unwrap();
        rest.split_once('<').unwrap().0.to_owned()
    };
    let head = text.split("  <PlaceEntityType>").next().unwrap();
    let deleted = format!(
        "<PlaceEntityType><EntityID>{}</EntityID><__deleteEntity>1</__deleteEntity>\
         </PlaceEntityType>",
        key(1)
    );
    let changed = format!("<PlaceEntityType><EntityID>{}</EntityID></PlaceEntityType>", key(2));
    let added = "<PlaceEntityType><EntityID>new</EntityID></PlaceEntityType>";
    let body = format!("{head}{deleted}{changed}{added}</MainRoot>");
    let query = format!("dataSourceName=Places&accessId={ACCESS}&loadOperation=incrementalStaging");
    let created = json(walk.post(&query, XML, body).await).await;
    let id = job(&created)["id"].as_str().unwrap().to_owned();
    assert_eq!(job(&walk.followed(created).await)["processedEntityCount"], 3);
    let merged = String::from_utf8(walk.downloaded(Some(&id)).await.to_vec()).unwrap();
    let keys: Vec<&str> =
        merged.split("<EntityID>").skip(1).map(|rest| rest.split_once('<').unwrap().0).collect();
    assert_eq!(keys, [&key(0), &key(2), &key(3), &key(4), "new"]);
    assert!(merged.contains(&changed), "replaced whole");
    assert!(merged.contains(entity(3).trim_end()), "others keep their bytes");
    assert_eq!(walk.downloaded(None).await, Data::first_places(5).document());
}

#[tokio::test]
async fn loads_may_be_compressed_and_create_sources() {
    let walk = Walk::well().await;
    let document = Data::first_places(3).document();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&document).unwrap();
    let compressed = encoder.finish().unwrap();
    let query = "dataSourceName=New&loadOperation=completeStaging";
    let binary = "application/octet-stream";
    walk.followed(json(walk.post(query, binary, compressed.clone()).await).await).await;
    let change = walk.simulator.changes().remove(0);
    assert_eq!((change.body, change.is_compressed), (document.clone(), true));
    let versions = walk.simulator.versions("New");
    assert!(versions.published.is_none());
    assert_eq!(versions.staged.unwrap().data.document(), document);

    walk.simulator.delete_source("Places");
    walk.loaded("complete", &Data::first_places(3)).await;
    assert_eq!(walk.downloaded(None).await, document, "under its former access id");
    walk.simulator.set_account(AccountScenario { new_access_ids: true, ..Default::default() });
    walk.simulator.delete_source("Places");
    walk.loaded("complete", &Data::first_places(3)).await;
    assert_eq!(walk.create().await.unwrap().status(), 404, "it has another access id now");

    let changes = Changes { accepts_gzip: false, ..Changes::default() };
    walk.simulator.set_scenario("Places", Scenario { changes, ..Scenario::default() });
    let query = "dataSourceName=Places&loadOperation=complete";
    assert_eq!(walk.post(query, binary, compressed).await.unwrap().status(), 400);
}

#[tokio::test]
async fn loads_are_refused_as_documented() {
    let walk = Walk::well().await;
    let document = Data::first_places(1).document();
    for (status, query) in [
        (400, "loadOperation=complete"),
        (400, "dataSourceName=Places"),
        (400, "dataSourceName=Places&loadOperation=completeStaged"),
        (400, "dataSourceName=a-b&loadOperation=complete"),
        (400, "dataSourceName=Places&loadOperation=completeStaging&setPublic=1"),
        (401, "dataSourceName=Places&loadOperation=complete&key=wrong"),
        (404, "dataSourceName=Unknown&loadOperation=incremental"),
        (404, "dataSourceName=Places&accessId=b0&loadOperation=incremental"),
    ] {
        assert_eq!(
            walk.post(query, XML, document.clone()).await.unwrap().status(),
            status,
            "{query}"
        );
    }
    let query = "dataSourceName=Places&loadOperation=complete";
    assert_eq!(walk.post(query, "text/html", document.clone()).await.unwrap().status(), 400);
    assert_eq!(walk.post(query, XML, "").await.unwrap().status(), 400);
    assert_eq!(walk.commit().await.unwrap().status(), 400, "nothing is staged");
    assert_eq!(walk.roll_back("nonesuch").await.unwrap().status(), 404);
    let get = format!("{}/Dataflows/LoadDataSource?{query}", walk.simulator.endpoint());
    assert_eq!(walk.get(&get).await.unwrap().status(), 405);
    let account = AccountScenario { max_sources: 1, ..AccountScenario::default() };
    walk.simulator.set_account(account);
    let query = "dataSourceName=Another&loadOperation=complete";
    let refused = walk.post(query, XML, document).await.unwrap();
    assert_eq!(refused.status(), 403);
    assert!(refused.text().await.unwrap().contains("number of data sources"));
    assert_eq!(walk.simulator.changes().len(), 0);
}

#[tokio::test]
async fn documents_that_cannot_be_loaded_abort_their_job() {
    let walk = Walk::well().await;
    let good = Data::first_places(2);
    for (data, problem) in [
        (good.damaged(Damage::Truncated), "Not readable"),
        (good.damaged(Damage::Unclosed), "ends too early"),
        (good.damaged(Damage::NoSchema), "schema"),
        (good.damaged(Damage::BadEncoding), "UTF-8"),
        (good.edited(|text| text.replace("MainRoot", "DataSource")), "different names"),
    ] {
        let answer = walk.loaded("complete", &data).await;
        assert_eq!(job(&answer)["status"], "Aborted");
        assert!(job(&answer)["errorMessage"].as_str().unwrap().contains(problem), "{answer}");
        let log = walk.fetch(&link(&answer, "output").unwrap()).await.unwrap();
        assert!(log.text().await.unwrap().contains(problem));
    }
    assert_eq!(walk.downloaded(None).await, Data::first_places(5).document());
}
