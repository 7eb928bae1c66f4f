//! The outcomes of jobs, and the faults that they survive.

use crate::harness::{KEY, Setup, each, source};
use nightjar::simulator::{Ending, Fault, Kind, Scenario, SimSource, StatusUrl};
use serde_json::Value;
use std::time::Duration;

/// Backs up a source that must fail, and returns the job.
fn failed(setup: &Setup) -> Value {
    let done = setup.run(&["backup"]);
    assert_eq!(done.code, 1, "{done:?}");
    let job = setup.job();
    assert_eq!(job["state"], "failed", "{job}");
    assert_eq!(setup.manifests("stores").len(), 0);
    job
}

/// Backs up a source that must succeed, and returns the job.
fn archived(setup: &Setup) -> Value {
    setup.backup();
    let job = setup.job();
    assert_eq!(job["state"], "archived", "{job}");
    job
}

fn creating(create: Vec<Fault>) -> Setup {
    Setup::with(Scenario { create, ..Scenario::default() })
}

fn asking(status: Vec<Fault>) -> Setup {
    Setup::with(Scenario { status, ..Scenario::default() })
}

fn fetching(result: Vec<Fault>) -> Setup {
    Setup::with(Scenario { result, ..Scenario::default() })
}

#[test]
fn an_aborted_remote_job_is_replaced_within_job_attempts_and_keeps_the_error_log() {
    let setup = Setup::with(Scenario {
        ending: Ending::aborted("The geocoder is on strike"),
        ..Scenario::default()
    })
    .set("retry.job_attempts", 2);
    let job = failed(&setup);
    assert_eq!(job["error"]["kind"], "aborted");
    assert_eq!(job["attempts"], 2);
    assert_eq!(setup.service.remote_jobs().len(), 2);
    assert!(job["error"]["message"].to_string().contains("on strike"), "{job}");
    assert!(setup.timeline(&job["id"]).contains("on strike (log)"));
}

#[test]
fn undocumented_words_for_an_abortion_are_understood() {
    each(["Failed", "Cancelled"], |word| {
        let mut ending = Ending::aborted("No");
        if let Ending::Aborted { word: said, .. } = &mut ending {
            *said = word.into();
        }
        let setup =
            Setup::with(Scenario { ending, ..Scenario::default() }).set("poll.deadline", "5s");
        assert_eq!(failed(&setup)["error"]["kind"], "aborted", "{word}");
    });
}

#[test]
fn a_job_that_never_ends_fails_at_its_deadline() {
    let setup = Setup::with(Scenario { ending: Ending::Never, ..Scenario::default() })
        .set("poll.deadline", "300ms");
    let job = failed(&setup);
    assert_eq!(job["error"]["kind"], "deadline");
    assert!(job["polls"].as_u64().unwrap() > 1);
}

#[test]
fn a_wrong_key_fails_at_once() {
    let setup = Setup::healthy();
    crate::harness::private_file(&setup.path("contoso.key"), "not-the-key");
    let job = failed(&setup);
    assert_eq!(job["error"]["kind"], "credentials");
    assert_eq!(job["attempts"], 0, "a refusal is no remote job");
    assert_eq!(setup.service.count(Kind::Create), 1);
}

#[test]
fn wrong_credentials_are_understood_in_every_form() {
    each(
        [
            Fault::http(401),
            Fault::http(403),
            Fault::BodySays(401),
            Fault::Credentials("InvalidCredentials".into()),
            Fault::Credentials("NotAuthorized".into()),
        ],
        |fault| {
            let setup = creating(vec![fault.clone()]);
            assert_eq!(failed(&setup)["error"]["kind"], "credentials", "{fault:?}");
            assert_eq!(setup.service.count(Kind::Create), 1);
        },
    );
}

#[test]
fn a_source_that_the_service_does_not_know_is_not_found() {
    let setup = Setup::healthy().set("sources.stores.data_source", "Warehouses");
    let job = failed(&setup);
    assert_eq!(job["error"]["kind"], "not_found");
    assert_eq!(setup.service.remote_jobs().len(), 0);
}

#[test]
fn a_request_that_the_service_calls_bad_is_rejected_at_once() {
    let setup = creating(vec![Fault::http(400)]);
    assert_eq!(failed(&setup)["error"]["kind"], "rejected");
    assert_eq!(setup.service.count(Kind::Create), 1);
}

#[test]
fn a_service_that_stays_down_is_unavailable_after_all_attempts() {
    let setup = creating(vec![Fault::http(503); 9]).set("retry.attempts", 4);
    let job = failed(&setup);
    assert_eq!(job["error"]["kind"], "unavailable");
    assert_eq!(job["attempts"], 0);
    assert_eq!(setup.service.count(Kind::Create), 4);
}

#[test]
fn a_service_that_was_never_reached_has_no_remote_jobs() {
    let setup = Setup::healthy();
    let encrypted = setup.service.endpoint().replace("http://", "https://");
    let closed_port = format!("http://127.0.0.1:{}/REST/v1", crate::harness::free_port());
    // The second one does not speak TLS; with so small a quota, a wrongly counted submission would
    // wait.
    for endpoint in [closed_port, encrypted] {
        let setup = Setup::healthy()
            .set("accounts.contoso.endpoint", endpoint)
            .set("accounts.contoso.max_jobs_per_day", 1);
        let job = failed(&setup);
        assert_eq!(job["error"]["kind"], "unavailable", "{job}");
        assert_eq!(job["attempts"], 0, "{job}");
    }
    assert_eq!(setup.service.remote_jobs().len(), 0);
}

#[test]
fn temporary_failures_are_retried() {
    let setup = Setup::with(Scenario {
        create: vec![Fault::http(503), Fault::BodySays(500)],
        status: vec![Fault::http(500), Fault::Refused, Fault::None, Fault::LostAnswer],
        result: vec![Fault::http(503), Fault::BrokenHalfway],
        ..Scenario::default()
    });
    let job = archived(&setup);
    assert_eq!(job["attempts"], 1);
    assert_eq!(setup.service.remote_jobs().len(), 1);
}

#[test]
fn a_lost_response_counts_as_a_remote_job() {
    let setup = creating(vec![Fault::LostAnswer]);
    let job = archived(&setup);
    assert_eq!(job["attempts"], 2);
    assert_eq!(setup.service.remote_jobs().len(), 2);
}

#[test]
fn lost_responses_end_at_the_limit_of_remote_jobs() {
    let setup =
        creating(vec![Fault::LostAnswer; 9]).set("retry.job_attempts", 2).set("retry.attempts", 8);
    let job = failed(&setup);
    assert_eq!(job["error"]["kind"], "unavailable");
    assert_eq!(job["attempts"], 2);
    assert_eq!(setup.service.remote_jobs().len(), 2, "no more may come to exist");
}

#[test]
fn aborted_lost_and_damaged_remote_jobs_share_one_limit() {
    let setup = Setup::with(Scenario {
        create: vec![Fault::LostAnswer],
        ending: Ending::aborted("No"),
        ..Scenario::default()
    })
    .set("retry.job_attempts", 3);
    let job = failed(&setup);
    assert_eq!(job["attempts"], 3);
    assert_eq!(setup.service.remote_jobs().len(), 3);
}

#[test]
fn a_create_answer_cut_off_counts_as_a_remote_job() {
    let setup = creating(vec![Fault::BrokenHalfway; 9]).set("retry.job_attempts", 2);
    setup.run(&["backup"]);
    assert!(setup.service.remote_jobs().len() <= 2);
    assert_eq!(setup.job()["attempts"], setup.service.remote_jobs().len());
}

#[test]
fn a_404_just_after_creation_passes() {
    let setup = asking(vec![Fault::http(404); 5]);
    let job = archived(&setup);
    assert_eq!(job["attempts"], 1);
    let setup = fetching(vec![Fault::http(404); 5]);
    let job = archived(&setup);
    assert_eq!(job["attempts"], 1);
}

#[test]
fn a_404_that_stays_means_that_the_remote_job_is_lost() {
    each(
        [
            Scenario { status: vec![Fault::http(404); 999], ..Scenario::default() },
            Scenario { result: vec![Fault::http(404); 999], ..Scenario::default() },
        ],
        |scenario| {
            let setup =
                Setup::with(scenario).set("http.lost_after", "150ms").set("retry.job_attempts", 2);
            let job = failed(&setup);
            assert_eq!(job["error"]["kind"], "not_found");
            assert_eq!(job["attempts"], 2);
            assert_eq!(setup.service.remote_jobs().len(), 2);
        },
    );
}

#[test]
fn a_broken_download_is_retried_and_in_the_end_unavailable() {
    each([Fault::BrokenHalfway, Fault::LengthTooLong(9), Fault::Refused], |fault| {
        let setup = fetching(vec![fault.clone(); 99]).set("retry.job_attempts", 1);
        let job = failed(&setup);
        assert_eq!(job["error"]["kind"], "unavailable", "{fault:?}");
        assert_eq!(job["attempts"], 1);
        assert_eq!(setup.service.count(Kind::Result), 3, "the attempts of one request");
    });
}

#[test]
fn a_stalled_answer_ends_with_the_idle_timeout() {
    let setup = Setup::with(Scenario {
        status: vec![Fault::Silence],
        result: vec![Fault::StalledAfter(500)],
        ..Scenario::default()
    })
    .set("http.idle_timeout", "300ms");
    let job = archived(&setup);
    assert_eq!(job["attempts"], 1);
}

#[test]
fn a_result_that_is_too_large_is_corrupt() {
    each([false, true], |gzip| {
        let setup = Setup::with(Scenario { gzip, ..Scenario::default() })
            // Less than the document, more than its encoded form.
            .set("http.max_bytes", "10 KiB")
            .set("retry.job_attempts", 1);
        assert_eq!(failed(&setup)["error"]["kind"], "corrupt", "gzip: {gzip}");
    });
}

#[test]
fn a_download_that_takes_too_long_is_retried_and_in_the_end_unavailable() {
    let setup = fetching(vec![Fault::StalledAfter(500); 99])
        .set("http.fetch_deadline", "200ms")
        .set("retry.job_attempts", 1);
    assert_eq!(failed(&setup)["error"]["kind"], "unavailable");
}

#[test]
fn another_number_of_entities_than_announced_is_incomplete() {
    let setup = Setup::with(Scenario {
        announced: nightjar::simulator::Announced::OffBy(1),
        ..Scenario::default()
    })
    .set("retry.job_attempts", 2);
    let job = failed(&setup);
    assert_eq!(job["error"]["kind"], "incomplete");
    assert_eq!(job["attempts"], 2);
}

#[test]
fn a_status_url_on_another_host_is_a_protocol_error_and_is_not_asked() {
    let setup = Setup::healthy();
    let url = format!("http://{}/exports/status", setup.service.storage_host());
    setup.service.set_scenario(
        "Stores",
        Scenario {
            status_url: StatusUrl::Elsewhere(url),
            location: nightjar::simulator::Location::Absent,
            ..Scenario::default()
        },
    );
    assert_eq!(failed(&setup)["error"]["kind"], "protocol");
    assert_eq!(setup.service.count(Kind::Storage), 0);
}

#[test]
fn xml_despite_a_request_for_json_is_a_protocol_error() {
    let setup = asking(vec![Fault::Xml; 99]).set("poll.deadline", "10s");
    assert_eq!(failed(&setup)["error"]["kind"], "protocol");
}

/// The creation time of a remote job, this many minutes from now, as the service writes it.
fn created(minutes: i64) -> String {
    let at = crate::harness::now() + chrono::TimeDelta::minutes(minutes);
    httpdate::fmt_http_date(std::time::SystemTime::from(at))
}

/// The notes of a timeline about another remote job.
fn notes_of_another(setup: &Setup, job: &Value) -> usize {
    let shown = setup.json(&["job", &job["id"].to_string()]);
    let timeline = shown["timeline"].as_array().unwrap();
    let speaks = |it: &&Value| it["message"].as_str().unwrap().contains("another remote job");
    timeline.iter().filter(|it| it["kind"] == "note").filter(speaks).count()
}

#[test]
fn another_id_in_a_response_is_noted_but_loses_no_backup() {
    let setup = asking(vec![Fault::OtherId]);
    let job = archived(&setup);
    assert_eq!(job["attempts"], 1);
    assert_eq!(notes_of_another(&setup, &job), 1);
}

#[test]
fn a_completed_job_of_another_id_is_taken_when_it_is_no_older_than_ours() {
    each([0, -3, 60], |minutes| {
        let fault = Fault::OtherIdCreated(Some(created(minutes)));
        let setup =
            Setup::with(Scenario { pending_polls: 0, status: vec![fault], ..Scenario::default() });
        let job = archived(&setup);
        assert_eq!((&job["attempts"], &job["polls"]), (&1.into(), &1.into()), "{minutes}");
        assert_eq!(notes_of_another(&setup, &job), 1);
    });
}

#[test]
fn an_older_or_undated_job_of_another_id_counts_as_pending_until_ours_is_reported() {
    let wrong_weekday = created(-10).replacen(['M', 'T', 'W', 'F', 'S'], "X", 1);
    each(
        [Some(created(-10)), Some(wrong_weekday), Some("yesterday".to_owned()), None],
        |created| {
            let fault = Fault::OtherIdCreated(created.clone());
            let setup = Setup::with(Scenario {
                pending_polls: 0,
                status: vec![fault; 6],
                ..Scenario::default()
            });
            let job = archived(&setup);
            assert_eq!((&job["attempts"], &job["polls"]), (&1.into(), &7.into()), "{created:?}");
            assert_eq!(notes_of_another(&setup, &job), 1);
        },
    );
}

#[test]
fn another_jobs_abort_does_not_end_ours_before_its_deadline() {
    let fault = Fault::OtherIdCreated(Some(created(0)));
    let setup = Setup::with(Scenario {
        pending_polls: 0,
        ending: Ending::aborted("on strike"),
        status: vec![fault; 9999],
        ..Scenario::default()
    })
    .set("poll.deadline", "700ms");
    let job = failed(&setup);
    assert_eq!(job["error"]["kind"], "deadline", "{job}");
    assert_eq!(job["attempts"], 1);
    assert!(job["polls"].as_u64().unwrap() > 3, "{job}");
    assert_eq!(notes_of_another(&setup, &job), 1);
}

#[test]
fn an_unknown_status_word_means_pending() {
    let setup = asking(vec![Fault::Word("Resting".into()); 2]);
    archived(&setup);
}

#[test]
fn a_job_with_an_unusable_status_url_ends_by_its_deadline() {
    each([Fault::Refused, Fault::http(503)], |fault| {
        let setup = asking(vec![fault.clone(); 999])
            .set("retry.job_attempts", 1)
            .set("poll.deadline", "500ms");
        let kind = failed(&setup)["error"]["kind"].clone();
        assert!(kind == "unavailable" || kind == "deadline", "{fault:?}: {kind}");
    });
}

#[test]
fn retry_after_may_be_a_date() {
    let when = std::time::SystemTime::from(crate::harness::now()) + Duration::from_secs(3);
    let fault = Fault::retry_after(503, &httpdate::fmt_http_date(when));
    let setup = creating(vec![fault]);
    let done = setup.backup();
    // The date has no fractions, and starting takes a moment.
    assert!(done.took >= Duration::from_millis(800), "{done:?}");
}

#[test]
fn retry_after_wins_over_the_configured_waits() {
    each(
        [
            Scenario { create: vec![Fault::retry_after(503, "1")], ..Scenario::default() },
            Scenario { status: vec![Fault::retry_after(503, "1")], ..Scenario::default() },
            Scenario { result: vec![Fault::retry_after(429, "1")], ..Scenario::default() },
        ],
        |scenario| {
            let setup = Setup::with(scenario);
            let done = setup.backup();
            assert!(done.took >= Duration::from_secs(1), "{done:?}");
        },
    );
}

#[test]
fn names_are_encoded_where_a_url_needs_it() {
    let stores = SimSource { name: "Shop$^{1}".into(), ..source("Stores", Scenario::default()) };
    let setup = Setup::of(vec![SimSource { key: KEY.into(), ..stores }])
        .set("sources.shop$^{1}.name", "stores");
    archived(&setup);
    assert_eq!(setup.manifest()["data_source"], "Shop$^{1}");
}

#[test]
fn another_version_can_be_named() {
    let setup = Setup::healthy().set("sources.stores.job_id", "0123456789abcdef0123456789abcdef");
    // The service has no such version; the test checks only that it was requested.
    failed(&setup);
    let asked = setup.service.requests();
    assert_eq!(asked[0].parameter("jobId").unwrap(), "0123456789abcdef0123456789abcdef");
    assert_eq!(asked[0].parameter("output").unwrap(), "json");
}

#[test]
fn an_interrupted_download_resumes_if_the_file_is_unchanged() {
    let scenario = Scenario {
        ranges: true,
        gzip: false,
        content_length: true,
        result: vec![Fault::BrokenHalfway, Fault::http(503)],
        ..Scenario::default()
    };
    let setup = Setup::with(scenario);
    setup.backup();
    let asked: Vec<_> =
        setup.service.requests().into_iter().filter(|it| it.kind == Kind::Result).collect();
    assert_eq!(asked.len(), 3, "the whole, the rest, and the rest again");
    assert_eq!(asked[0].header("range"), None);
    let half = nightjar::simulator::Data::first_places(20).length() / 2;
    assert_eq!(asked[2].header("range"), Some(format!("bytes={half}-").as_str()));
    let job = setup.job();
    assert_eq!(job["attempts"], 1);
    let timeline = setup.timeline(&job["id"]);
    assert!(timeline.contains("it goes on from there"), "{timeline}");
    assert!(!timeline.contains("\"retry\""), "{timeline}");
    assert_eq!(setup.run(&["verify"]).code, 0);
}
