//! A service that keeps to its documentation.

use tokio::net::TcpStream;

use super::*;

#[tokio::test]
async fn a_job_goes_from_its_creation_to_its_data_as_documented() {
    let walk = Walk::new(Data::Places, Scenario::default()).await;

    let response = walk.create().await.unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let text = response.text().await.unwrap();
    assert!(text.contains(r#""url":"http:\/\/127.0.0.1:"#), "{text}");
    let created: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(created["statusCode"], 201);
    assert_eq!(created["statusDescription"], "Created");
    assert_eq!(created["authenticationResultCode"], "ValidCredentials");
    let first = job(&created);
    assert_eq!(first["__type"], "DataflowJob:http://schemas.microsoft.com/search/local/ws/rest/v1");
    assert_eq!((&first["status"], &first["totalEntityCount"]), (&"Pending".into(), &0.into()));
    assert_eq!(first["createdDate"], "Sun, 01 Mar 2026 00:00:00 GMT");
    assert!(first.get("completedDate").is_none());
    let url = link(&created, "self").unwrap();
    assert_eq!(url, location);
    assert_eq!(url, format!("{}/dataflows/DataSourceDownload/Places", walk.simulator.endpoint()));

    for _ in 0..2 {
        let answer = json(walk.status(&url).await).await;
        assert_eq!(job(&answer)["status"], "Pending");
        assert_eq!(link(&answer, "output"), None);
    }
    let answer = json(walk.status(&url).await).await;
    let done = job(&answer);
    assert_eq!(done["status"], "Completed");
    assert_eq!((&done["totalEntityCount"], &done["id"]), (&3000.into(), &first["id"]));
    assert_eq!(done["completedDate"], "Sun, 01 Mar 2026 00:01:00 GMT");
    assert_eq!(done["links"][1]["name"], "succeeded");

    let data = walk.fetch(&link(&answer, "output").unwrap()).await.unwrap();
    assert_eq!(data.headers()["content-type"], "application/xml");
    let length = data.content_length();
    let document = data.bytes().await.unwrap();
    assert_eq!(document, Data::Places.document());
    assert_eq!(length, Some(Data::Places.length()));

    let kinds: Vec<Kind> = walk.simulator.requests().iter().map(|request| request.kind).collect();
    assert_eq!(kinds, [Kind::Create, Kind::Status, Kind::Status, Kind::Status, Kind::Result]);
    let remote = walk.simulator.remote_jobs();
    assert_eq!(remote.len(), 1);
    assert_eq!((remote[0].polls, remote[0].state), (3, RemoteState::Completed));
    assert!(remote[0].creation_answered);
}

#[tokio::test]
async fn each_create_request_starts_a_job_and_a_shared_status_url_means_the_newest() {
    let walk = Walk::well().await;
    let first = json(walk.create().await).await;
    let second = json(walk.create().await).await;
    assert_eq!(link(&first, "self"), link(&second, "self"));
    assert_ne!(job(&first)["id"], job(&second)["id"]);
    let answer = json(walk.status(&link(&first, "self").unwrap()).await).await;
    assert_eq!(job(&answer)["id"], job(&second)["id"]);
    assert_eq!(walk.simulator.remote_jobs().len(), 2);
    assert_eq!(walk.simulator.peak_in_process(), 2);
}

#[tokio::test]
async fn a_key_is_required_and_only_its_case_matters() {
    let name = "a`b^c={d}";
    let source = SimSource::new(ACCESS, name, KEY, Data::first_places(2));
    let simulator = Simulator::start(vec![source]).await.unwrap();
    let client = client();
    let ask = async |path: &str, query: &str| {
        let url = format!("{}/{path}?{query}", simulator.endpoint());
        let response = client.get(url).send().await.unwrap();
        let status = response.status().as_u16();
        (status, json(Ok(response)).await["authenticationResultCode"].clone())
    };
    let path = format!("Dataflows/DataSourceDownload/{ACCESS}/a%60b%5Ec%3D%7Bd%7D");
    let missing = (401, "NoCredentials".into());
    let wrong = (401, "InvalidCredentials".into());
    assert_eq!(ask(&path, "output=json").await, missing);
    assert_eq!(ask(&path, &format!("key={}", KEY.to_lowercase())).await, wrong);
    assert_eq!(ask(&path.to_lowercase(), &format!("KEY={KEY}")).await.0, 202);
    assert_eq!(ask(&path.replace("/a%", "/x%"), &format!("key={KEY}")).await.0, 404);
    assert_eq!(ask("dataflows/DataSourceDownload/a%60b%5Ec%3D%7Bd%7D", "").await, missing);
    assert_eq!(simulator.remote_jobs().len(), 1);
    assert_eq!(simulator.remote_jobs()[0].source, name);
    let carried: Vec<bool> = simulator.requests().iter().map(|r| r.carries_key).collect();
    assert_eq!(carried, [false, false, true, true, false]);
}

#[tokio::test]
async fn the_result_needs_a_completed_job_and_the_key() {
    let walk = Walk::well().await;
    let status = link(&json(walk.create().await).await, "self").unwrap();
    let result = format!("{status}/output/succeeded");
    assert_eq!(walk.fetch(&result).await.unwrap().status(), 404);
    let result = walk.result_url().await;
    assert_eq!(walk.get(&result).await.unwrap().status(), 401);
}

#[tokio::test]
async fn the_storage_host_needs_no_key_and_records_one() {
    for output_url in [OutputUrl::Redirected, OutputUrl::Storage] {
        let redirected = output_url == OutputUrl::Redirected;
        let scenario = Scenario { output_url, ..Scenario::default() };
        let walk = Walk::new(Data::first_places(3), scenario).await;
        let mut url = walk.result_url().await;
        if redirected {
            let response = walk.fetch(&url).await.unwrap();
            assert_eq!(response.status(), 302);
            url = response.headers()["location"].to_str().unwrap().to_owned();
        }
        assert!(url.contains(&walk.simulator.storage_host()));
        let unsigned = walk.get(url.split('?').next().unwrap()).await.unwrap();
        assert_eq!(unsigned.status(), 404);
        let data = walk.get(&url).await.unwrap().bytes().await.unwrap();
        assert_eq!(data, Data::first_places(3).document());
        let leaking = walk.client.get(&url).header("Referer", format!("http://x/?key={KEY}"));
        leaking.send().await.unwrap();

        let seen: Vec<bool> = walk
            .simulator
            .requests()
            .iter()
            .filter(|request| request.kind == Kind::Storage)
            .map(|request| request.carries_key)
            .collect();
        assert_eq!(seen, [false, false, true]);
    }
}

#[tokio::test]
async fn a_result_comes_compressed_chunked_or_in_part_where_it_is_asked_for() {
    let data = Data::Synthetic { entities: 300, dense: false };
    let whole = data.document();
    let scenario = Scenario { gzip: true, ranges: true, ..Scenario::default() };
    let walk = Walk::new(data, scenario).await;
    let url = keyed(&walk.result_url().await, "");

    let zipped = walk.client.get(&url).header("Accept-Encoding", "gzip").send().await.unwrap();
    assert_eq!(zipped.headers()["content-encoding"], "gzip");
    assert!(zipped.headers().get("content-length").is_none());
    let zipped = zipped.bytes().await.unwrap();
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&zipped[..]), &mut plain).unwrap();
    assert_eq!(plain, whole);

    let rest = walk.client.get(&url).header("Range", "bytes=200000-").send().await.unwrap();
    assert_eq!(rest.status(), 206);
    let expected = format!("bytes 200000-{}/{}", whole.len() - 1, whole.len());
    assert_eq!(rest.headers()["content-range"], expected);
    assert_eq!(rest.bytes().await.unwrap(), whole.slice(200_000..));

    let scenario = Scenario { content_length: false, ..Scenario::default() };
    walk.simulator.set_scenario("Places", scenario);
    let chunked = walk.client.get(&url).header("Range", "bytes=5-").send().await.unwrap();
    assert_eq!(chunked.status(), 200);
    assert_eq!(chunked.headers()["transfer-encoding"], "chunked");
    assert_eq!(chunked.bytes().await.unwrap(), whole);
}

#[tokio::test]
async fn limits_count_jobs_until_they_end() {
    let scenario = Scenario { create: vec![Fault::LostAnswer], ..Scenario::default() };
    let walk = Walk::new(Data::first_places(2), scenario).await;
    walk.simulator.set_limits(AccountLimits { max_in_process: 1, max_per_day: 2, refusal: 403 });

    assert!(walk.create().await.is_err());
    let mut refusals = 0;
    while walk.create().await.unwrap().status() == 403 {
        refusals += 1;
    }
    assert_eq!(refusals, 2, "a job without a client advances with each request");
    assert_eq!(walk.simulator.peak_in_process(), 1);
    let url = format!("{}/dataflows/DataSourceDownload/Places", walk.simulator.endpoint());
    for _ in 0..3 {
        walk.status(&url).await.unwrap();
    }
    assert_eq!(walk.create().await.unwrap().status(), 403, "the day's jobs are used up");
    walk.simulator.next_day();
    assert_eq!(walk.create().await.unwrap().status(), 202);
}

#[tokio::test]
async fn jobs_export_what_the_source_had_when_they_were_created() {
    let scenario = Scenario {
        next_documents: vec![Data::first_places(1)],
        status_url: StatusUrl::ById,
        ..Scenario::default()
    };
    let walk = Walk::new(Data::first_places(2), scenario).await;
    assert_eq!(job(&walk.to_the_end().await)["totalEntityCount"], 1);
    let second = link(&json(walk.create().await).await, "self").unwrap();
    walk.simulator.set_data("Places", Data::first_places(3));
    for _ in 0..2 {
        walk.status(&second).await.unwrap();
    }
    assert_eq!(job(&json(walk.status(&second).await).await)["totalEntityCount"], 2);
    assert_eq!(job(&walk.to_the_end().await)["totalEntityCount"], 3);
}

#[tokio::test]
async fn dropping_the_simulator_closes_its_ports() {
    let walk = Walk::well().await;
    let address = walk.simulator.main;
    drop(walk);
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
