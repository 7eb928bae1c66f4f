//! The account's list of jobs.

use super::*;
use crate::service::{ActivityKind, RemoteActivity, Restoring as _};

async fn listed(body: &str) -> Result<Vec<RemoteActivity>, Failure> {
    let host = Host::saying(answer(200, &[], body)).await;
    let result = host.bing().activities(noon()).await;
    assert!(host.heads()[0].starts_with("GET /REST/v1/dataflows/listjobs?output=json&key="));
    result
}

#[tokio::test]
async fn the_documented_kinds_are_listed() {
    let jobs = [
        r#"{"id":"0dee","description":"DataSourceDelete","status":"Pending"}"#,
        r#"{"id":"2821","createdDate":"Thu, 03 Jan 2013 23:21:58 GMT",
            "description":"DataSourceComplete","failedEntityCount":0,"processedEntityCount":3,
            "status":"Completed","totalEntityCount":3,"links":[
            {"role":"self","url":"/REST/v1/dataflows/LoadDataSource/2821?key=x"},
            {"role":"dataSource","name":"service",
             "url":"https://h/REST/v1/data/c589/Fourth%60Coffee"}]}"#,
        r#"{"id":"8207","description":"DataSourceIncrementalStaging","status":"Aborted"}"#,
        r#"{"id":"3627","description":"datasourcePublishFromStaged","status":"Accepted",
            "links":[{"role":"self","url":"/REST/v1/data/jobs/3627/$getstatus"}]}"#,
        r#"{"id":"8a62","description":"DataSourceRollback","status":"Dreaming"}"#,
        r#"{"id":"9999","description":"my own words","status":"Pending",
            "links":[{"role":"self","url":"https://elsewhere.example/dataflows/LoadDataSource/9"}]}"#,
    ];
    let body = format!(r#"{{"resourceSets":[{{"resources":[{}]}}]}}"#, jobs.join(","));
    let listed = listed(&body).await.unwrap();
    let of = |id: &str| listed.iter().find(|it| it.id == id).unwrap();
    let kinds: Vec<_> = listed.iter().map(|it| (it.kind, it.ended)).collect();
    assert_eq!(
        kinds,
        [
            (ActivityKind::Other, Some(false)),
            (ActivityKind::Load, Some(true)),
            (ActivityKind::Load, Some(true)),
            (ActivityKind::Publish, Some(false)),
            (ActivityKind::RollBack, None),
            (ActivityKind::Load, Some(false)),
        ]
    );
    let load = of("2821");
    assert_eq!((load.name.as_deref(), load.entities), (Some("Fourth`Coffee"), Some(3)));
    assert!(load.status_url.as_ref().unwrap().ends_with("/LoadDataSource/2821"));
    let created = DateTime::parse_from_rfc3339("2013-01-03T23:21:58Z").unwrap().to_utc();
    assert_eq!(load.created_at, Some(created));
    assert!(of("3627").status_url.as_ref().unwrap().ends_with("/data/jobs/3627/$getstatus"));
    assert_eq!((&of("3627").name, &of("9999").status_url), (&None, &None));
}

#[tokio::test]
async fn an_empty_list_is_a_list() {
    for body in [r#"{"resourceSets":[]}"#, r#"{"resourceSets":[{"resources":[]}]}"#] {
        assert_eq!(listed(body).await.unwrap(), Vec::new(), "{body}");
    }
}

#[tokio::test]
async fn a_list_that_cannot_be_read_whole_is_a_failure() {
    let good = r#"{"id":"2821"}"#;
    for body in [
        "".to_owned(),
        "{}".into(),
        r#"{"resourceSets":{}}"#.into(),
        r#"{"resourceSets":[{}]}"#.into(),
        format!(r#"{{"resourceSets":[{{"resources":[{good},null]}}]}}"#),
        format!(r#"{{"resourceSets":[{{"resources":[{good},{{"id":""}}]}}]}}"#),
        format!(r#"{{"resourceSets":[{{"resources":[{good},{{"id":"a\nb"}}]}}]}}"#),
        format!(r#"{{"resourceSets":[{{"resources":[{good}"#),
    ] {
        let failure = listed(&body).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Protocol, "{body}: {failure}");
    }
    let failure = listed(r#"{"statusCode":401}"#).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Credentials);
}
