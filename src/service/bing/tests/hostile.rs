use super::*;
use crate::service::bing::wire::JobList;
use crate::tests::hostile::attack;

#[test]
fn any_answer_is_read_or_refused_and_gives_no_foreign_status_address() {
    let words = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "null",
        "true",
        "-1",
        "1e999",
        "\\/",
        "\\u0000",
        "\u{feff}",
        "statusCode",
        "\"links\"",
        "https://spatial.virtualearth.net/",
        "https://example.org/",
        "//",
        "succeeded",
        "\\ud800",
    ];
    let bing = client("https://spatial.virtualearth.net/REST/v1");
    let base = Url::parse("https://spatial.virtualearth.net/REST/v1/dataflows").unwrap();
    attack("answer", &words, |input| {
        if let Ok((_, JobList::Jobs(jobs))) = Answer::parse_list(input) {
            for activity in jobs.iter().filter_map(|job| bing.activity(job, &base)) {
                let url = activity.status_url.map(|url| Url::parse(&url).unwrap());
                assert!(url.is_none_or(|url| bing.addresses.owns(&url)));
            }
        }
        let Ok(answer) = Answer::parse(input) else { return };
        let Some(job) = answer.job else { return };
        for link in
            [job.status_link(), job.result_link(), job.error_log_link()].into_iter().flatten()
        {
            let Some(url) = bing.link(link, &base) else { continue };
            if bing.addresses.owns(&url) {
                let host = url.host_str().unwrap_or_default();
                assert!(
                    host == "virtualearth.net" || host.ends_with(".virtualearth.net"),
                    "{host}"
                );
            }
        }
    });
}
