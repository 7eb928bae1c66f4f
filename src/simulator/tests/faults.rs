//! A service that does not keep to its documentation.

use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

#[tokio::test]
async fn faults_before_the_effect_create_no_job_and_faults_after_it_do() {
    let before = [
        Fault::Refused,
        Fault::http(503),
        Fault::BodySays(500),
        Fault::Credentials("CredentialsExpired".into()),
        Fault::Quota(429),
    ];
    let after = [Fault::LostAnswer, Fault::BrokenHalfway, Fault::BrokenAfter(10)];
    let create = [&before[..], &after[..]].concat();
    let walk = Walk::well().await;
    walk.simulator.set_scenario("Places", Scenario { create, ..Scenario::default() });

    assert!(walk.create().await.is_err());
    assert_eq!(walk.create().await.unwrap().status(), 503);
    let says = walk.create().await.unwrap();
    assert_eq!(says.status(), 200);
    assert_eq!(json(Ok(says)).await["statusCode"], 500);
    let answer = json(walk.create().await).await;
    assert_eq!(answer["authenticationResultCode"], "CredentialsExpired");
    let refused = walk.create().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert!(json(Ok(refused)).await["errorDetails"][0].as_str().unwrap().contains("limit"));
    assert_eq!(walk.simulator.remote_jobs(), []);

    assert!(walk.create().await.is_err());
    for _ in 0..2 {
        let broken = walk.create().await.unwrap();
        assert!(broken.bytes().await.is_err());
    }
    assert!(walk.create().await.is_ok());
    let answered: Vec<bool> =
        walk.simulator.remote_jobs().iter().map(|job| job.creation_answered).collect();
    assert_eq!(answered, [false, false, false, true]);
}

#[tokio::test]
async fn errors_come_with_every_kind_of_body_and_say_when_to_come_back() {
    let status = vec![
        Fault::retry_after(503, "7"),
        Fault::retry_after(429, "Sun, 01 Mar 2026 00:00:07 GMT"),
        Fault::http_with(500, ErrorBody::Html),
        Fault::http_with(404, ErrorBody::Empty),
        Fault::http_with(400, ErrorBody::Echo),
        Fault::None,
        Fault::http_with(403, ErrorBody::Text("no".into())),
    ];
    let walk = Walk::well().await;
    walk.simulator.set_scenario("Places", Scenario { status, ..Scenario::default() });
    let url = link(&json(walk.create().await).await, "self").unwrap();

    assert_eq!(walk.status(&url).await.unwrap().headers()["retry-after"], "7");
    let date = walk.status(&url).await.unwrap().headers()["retry-after"].clone();
    assert!(httpdate::parse_http_date(date.to_str().unwrap()).is_ok());
    let page = walk.status(&url).await.unwrap();
    assert_eq!(
        (page.status().as_u16(), &page.headers()["content-type"]),
        (500, &"text/html".parse().unwrap())
    );
    let empty = walk.status(&url).await.unwrap();
    assert_eq!((empty.status().as_u16(), empty.text().await.unwrap()), (404, String::new()));
    assert!(walk.status(&url).await.unwrap().text().await.unwrap().contains(KEY));
    assert_eq!(job(&json(walk.status(&url).await).await)["status"], "Pending");
    assert_eq!(walk.status(&url).await.unwrap().text().await.unwrap(), "no");
    assert_eq!(walk.simulator.remote_jobs()[0].polls, 1, "only what was carried out counts");
}

#[tokio::test]
async fn responses_can_differ_from_the_documents_in_irrelevant_details() {
    let scenario = Scenario {
        created_status: 200,
        byte_order_mark: true,
        extra_members: true,
        plain_slashes: true,
        empty_counts: true,
        failed_entities: 9,
        pending_word: "Created".into(),
        dates: Dates::WrongWeekday,
        output_label: OutputLabel::Output,
        status: vec![Fault::Word("Thinking".into()), Fault::OtherId, Fault::Xml],
        announced: Announced::OffBy(-2),
        pending_polls: 3,
        linkless_polls: 1,
        ..Scenario::default()
    };
    let walk = Walk::new(Data::first_places(5), scenario).await;
    let created = walk.create().await.unwrap();
    assert_eq!(created.status(), 200);
    let bytes = created.bytes().await.unwrap();
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap();
    let created: Value = serde_json::from_slice(text).unwrap();
    assert_eq!(job(&created)["status"], "Created");
    assert_eq!(job(&created)["failedEntityCount"], "");
    assert_eq!(job(&created)["createdDate"], "Mon, 01 Mar 2026 00:00:00 GMT");
    assert!(created["region"].is_object());
    let url = link(&created, "self").unwrap();
    let ask = async || {
        let bytes = walk.status(&url).await.unwrap().bytes().await.unwrap();
        String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').to_owned()
    };
    let as_json = |text: &str| serde_json::from_str::<Value>(text).unwrap();

    assert_eq!(job(&as_json(&ask().await))["status"], "Thinking");
    assert_ne!(job(&as_json(&ask().await))["id"], job(&created)["id"]);
    assert!(ask().await.starts_with("<?xml"));
    let linkless = as_json(&ask().await);
    assert_eq!(job(&linkless)["status"], "Completed");
    assert_eq!(job(&linkless)["totalEntityCount"], 3);
    assert_eq!(link(&linkless, "output"), None);
    let done = as_json(&ask().await);
    assert_eq!(job(&done)["links"][1]["output"], "succeeded");
}

#[tokio::test]
async fn every_form_of_status_url_and_location_leads_to_the_job() {
    let forms = [
        (StatusUrl::ByName, Location::Relative),
        (StatusUrl::ById, Location::Absent),
        (StatusUrl::WithQuery, Location::Absolute),
        (StatusUrl::ByName, Location::ById),
    ];
    for (status_url, location) in forms {
        let scenario = Scenario { status_url, location, ..Scenario::default() };
        let walk = Walk::new(Data::first_places(2), scenario).await;
        let created = walk.create().await.unwrap();
        let header = created.headers().get("location").map(|v| v.to_str().unwrap().to_owned());
        let created = json(Ok(created)).await;
        let answer = json(walk.status(&link(&created, "self").unwrap()).await).await;
        assert_eq!(job(&answer)["id"], job(&created)["id"]);
        match (location, header) {
            (Location::Absent, None) => {}
            (_, Some(url)) => {
                let base = reqwest::Url::parse(&walk.simulator.endpoint()).unwrap();
                let answer = json(walk.status(base.join(&url).unwrap().as_str()).await).await;
                assert_eq!(job(&answer)["id"], job(&created)["id"]);
            }
            (location, header) => panic!("{location:?} gave {header:?}"),
        }
    }
    let scenario = Scenario { status_url: StatusUrl::WithQuery, ..Scenario::default() };
    let walk = Walk::new(Data::first_places(2), scenario).await;
    let url = link(&json(walk.create().await).await, "self").unwrap();
    let bare = url.split('?').next().unwrap();
    assert_eq!(walk.status(bare).await.unwrap().status(), 404, "its own query is needed");
}

#[tokio::test]
async fn a_misspelt_result_path_is_served_as_configured() {
    for (output_url, as_given) in [
        (OutputUrl::Documented, 200),
        (OutputUrl::Download, 200),
        (OutputUrl::Misspelt, 200),
        (OutputUrl::MisspeltInLink, 404),
    ] {
        let scenario = Scenario { output_url, ..Scenario::default() };
        let walk = Walk::new(Data::first_places(2), scenario).await;
        let url = walk.result_url().await;
        assert_eq!(walk.fetch(&url).await.unwrap().status(), as_given, "{url}");
        if as_given == 404 {
            let meant = url.replace("/ouput/", "/output/");
            assert_eq!(walk.fetch(&meant).await.unwrap().status(), 200);
        }
    }
}

#[tokio::test]
async fn an_aborted_job_says_why_and_links_to_its_error_log() {
    let scenario = Scenario { ending: Ending::aborted("no space"), ..Scenario::default() };
    let walk = Walk::new(Data::first_places(2), scenario).await;
    let answer = walk.to_the_end().await;
    assert_eq!(job(&answer)["status"], "Aborted");
    assert_eq!(job(&answer)["errorMessage"], "no space");
    assert_eq!(answer["errorDetails"][0], "no space (detail)");
    assert_eq!(job(&answer)["links"][1]["name"], "failed");
    let log = walk.fetch(&link(&answer, "output").unwrap()).await.unwrap();
    assert_eq!(log.text().await.unwrap(), "no space (log)\n");
    assert_eq!(walk.simulator.count(Kind::ErrorLog), 1);
    assert_eq!(walk.simulator.remote_jobs()[0].state, RemoteState::Aborted);
}

#[tokio::test]
async fn bodies_break_and_stall_where_configured() {
    let result = vec![
        Fault::BrokenHalfway,
        Fault::BrokenAfter(1000),
        Fault::StalledAfter(1000),
        Fault::LengthTooLong(7),
        Fault::Silence,
    ];
    let walk = Walk::new(Data::first_places(50), Scenario { result, ..Scenario::default() }).await;
    let url = walk.result_url().await;
    let whole = Data::first_places(50).length();
    let fetch = async || {
        let mut response = walk.fetch(&url).await.unwrap();
        let (declared, mut received) = (response.content_length(), 0);
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => received += chunk.len() as u64,
                Ok(None) => return (declared, received, true),
                Err(_) => return (declared, received, false),
            }
        }
    };
    assert_eq!(fetch().await, (Some(whole), whole / 2, false));
    assert_eq!(fetch().await, (Some(whole), 1000, false));

    let mut stalled = walk.fetch(&url).await.unwrap();
    let mut received = 0;
    while received < 1000 {
        received += stalled.chunk().await.unwrap().unwrap().len();
    }
    assert_eq!(received, 1000);
    tokio::task::yield_now().await;
    assert!(stalled.chunk().now_or_never().is_none());
    drop(stalled);

    assert_eq!(fetch().await, (Some(whole + 7), whole, false));
    let mut silent = TcpStream::connect(walk.simulator.main).await.unwrap();
    let path = url.split_once(&walk.simulator.main.to_string()).unwrap().1;
    let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", keyed(path, ""));
    silent.write_all(request.as_bytes()).await.unwrap();
    while walk.simulator.count(Kind::Result) < 5 {
        tokio::task::yield_now().await;
    }
    assert!(silent.read(&mut [0; 1]).now_or_never().is_none());
}
