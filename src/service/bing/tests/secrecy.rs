use super::*;

/// Bodies that repeat the key in every way that a service might.
fn echoes() -> Vec<String> {
    let encoded = "CANARY%2F0123456789%2Babcdef";
    vec![
        KEY.to_owned(),
        format!("<html><title>{KEY}</title><a href=\"/x?key={encoded}\">x</a></html>"),
        format!("<Response><ErrorMessage>{KEY}</ErrorMessage></Response>"),
        format!(r#"{{"statusCode":500,"errorDetails":["{KEY}","{encoded}"]}}"#),
        format!(r#"{{"statusCode":401,"statusDescription":"{}"}}"#, KEY.to_lowercase()),
        about(&format!(
            r#""id":"{KEY}","status":"{KEY}","errorMessage":"{KEY}","links":[{}]"#,
            link("self", "", &format!("http://127.0.0.1:PPPPP/s?key={encoded}"))
        )),
        about(&format!(r#""status":"Aborted","errorMessage":"{KEY}""#)),
        about(&format!(r#""status":"Completed","links":[{}]"#, link("output", "", KEY))),
    ]
}

#[tokio::test]
async fn no_message_of_the_client_contains_the_key() {
    for status in [200, 201, 400, 401, 403, 404, 429, 500, 503] {
        for body in echoes() {
            let host = Host::saying(answer(status, &[], &body)).await;
            let bing = host.bing();
            let url = host.url(&format!("/s?key={KEY}"));
            let texts = [
                format!("{:?}", bing.submit(&target(), noon()).await),
                format!("{:?}", bing.poll(&target(), Some("8ccf"), &url, noon()).await),
                format!("{:?}", bing.error_log(&url).await),
                format!("{:?}", bing.try_key(&target(), noon()).await),
                match bing.fetch(&target(), &url, noon()).await {
                    Ok(download) => format!("{download:?}"),
                    Err(failure) => format!("{failure:?} {failure}"),
                },
                format!("{bing:?}"),
            ];
            for text in texts {
                assert!(!text.to_lowercase().contains("canary"), "{status} {body}\n{text}");
            }
        }
    }
}

#[tokio::test]
async fn an_unusable_url_is_not_shown_with_its_key() {
    let bing = client("http://127.0.0.1:9/REST/v1");
    for url in [
        format!("http://127.0.0.1:9/x?key={KEY}"),
        format!("https://elsewhere.invalid/x?key={KEY}"),
        format!("ftp://127.0.0.1/{KEY}"),
        KEY.to_owned(),
    ] {
        let poll = bing.poll(&target(), None, &url, noon()).await;
        assert_clean(&format!("{poll:?} {}", poll.as_ref().unwrap_err()));
        let fetch = bing.fetch(&target(), &url, noon()).await.unwrap_err();
        assert_clean(&format!("{fetch:?} {fetch}"));
    }
}
