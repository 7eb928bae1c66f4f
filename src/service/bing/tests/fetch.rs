use super::super::classify::{RequestKind, kind};
use super::*;
use futures_util::TryStreamExt;
use std::io::Write;

async fn fetched(host: &Host, path: &str) -> Result<(Option<u64>, Vec<u8>), Failure> {
    let download = host.bing().fetch(&target(), &host.url(path), noon()).await?;
    let length = download.length;
    let chunks: Vec<bytes::Bytes> = download.chunks.try_collect().await?;
    Ok((length, chunks.concat()))
}

fn zipped(body: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn with_body(head: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{head}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn a_result_comes_as_it_is_sent() {
    let host = Host::saying(answer(200, &["content-type: application/xml"], "<Root/>")).await;
    assert_eq!(fetched(&host, "/r").await.unwrap(), (Some(7), b"<Root/>".to_vec()));
    let head = &host.heads()[0];
    assert!(head.starts_with("GET /r?key=CANARY%2F0123456789%2Babcdef HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("accept-encoding: gzip\r\n"), "{head}");
}

#[tokio::test]
async fn a_content_encoding_is_undone_and_leaves_no_length() {
    let body = zipped("<Root>text</Root>");
    let head = format!("content-encoding: gzip\r\ncontent-length: {}", body.len());
    let host = Host::saying(with_body(&head, &body)).await;
    assert_eq!(fetched(&host, "/r").await.unwrap(), (None, b"<Root>text</Root>".to_vec()));
    let chunked = "transfer-encoding: chunked";
    let host = Host::saying(with_body(chunked, b"7\r\n<Root/>\r\n0\r\n\r\n")).await;
    assert_eq!(fetched(&host, "/r").await.unwrap(), (None, b"<Root/>".to_vec()));
}

#[tokio::test]
async fn a_truncated_result_is_an_error() {
    let half = zipped(&"<Root>text</Root>".repeat(500));
    for bytes in [
        with_body("content-length: 999", b"<Root>"),
        with_body("transfer-encoding: chunked", b"7\r\n<Root"),
        with_body("transfer-encoding: chunked", b"7\r\n<Root/>\r\n"),
        with_body("content-encoding: gzip\r\ncontent-length: 999", &half[..half.len() / 2]),
    ] {
        let host = Host::saying(bytes).await;
        assert_eq!(fetched(&host, "/r").await.unwrap_err().kind, FailureKind::Lost);
    }
    let silent = Host::new(vec![Say::Silence]).await;
    assert_eq!(fetched(&silent, "/r").await.unwrap_err().kind, FailureKind::Lost);
}

#[tokio::test]
async fn a_broken_content_encoding_is_undecodable() {
    let head = "content-encoding: gzip\r\ncontent-length: 12";
    let host = Host::saying(with_body(head, b"not gzip at ")).await;
    assert_eq!(fetched(&host, "/r").await.unwrap_err().kind, FailureKind::Undecodable);
}

/// What a result comes to whose body is said to be encoded so.
async fn decoded(encoding: &str, body: &[u8]) -> Result<Vec<u8>, Failure> {
    let head = format!("content-encoding: {encoding}\r\ncontent-length: {}", body.len());
    let host = Host::saying(with_body(&head, body)).await;
    let (length, bytes) = fetched(&host, "/r").await?;
    assert!(length.is_none() || length == Some(bytes.len() as u64), "{length:?}");
    Ok(bytes)
}

#[tokio::test]
async fn every_member_of_gzip_is_undone_under_any_of_its_names() {
    let members = [zipped("<Root>"), zipped(""), zipped("text</Root>")].concat();
    for name in ["gzip", "GZIP", "x-gzip", "X-GZip", "gzip, identity", ", gzip"] {
        assert_eq!(decoded(name, &members).await.unwrap(), b"<Root>text</Root>", "{name}");
    }
    let mut twice = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    twice.write_all(&members).unwrap();
    let twice = twice.finish().unwrap();
    assert_eq!(decoded("gzip, x-gzip", &twice).await.unwrap(), b"<Root>text</Root>");
    assert_eq!(decoded("gzip\r\ncontent-encoding: gzip", &twice).await.unwrap().len(), 17);
    assert_eq!(decoded("identity", b"<Root/>").await.unwrap(), b"<Root/>");
    // Some servers name an encoding for a body that is not there.
    assert_eq!(decoded("gzip", b"").await.unwrap(), b"");
}

#[tokio::test]
async fn bytes_after_gzip_are_an_error() {
    let whole = zipped("<Root>text</Root>");
    for rest in [b"garbage".as_slice(), b"<html>", &[0; 20], &[0x1f]] {
        let failure = decoded("gzip", &[&whole, rest].concat()).await.unwrap_err();
        let expected = [FailureKind::Undecodable, FailureKind::Lost];
        assert!(expected.contains(&failure.kind), "{failure:?}");
        assert!(failure.message.contains("gzip"), "{failure}");
    }
    let mut flipped = whole.clone();
    let crc = flipped.len() - 8;
    flipped[crc] ^= 1;
    assert_eq!(decoded("gzip", &flipped).await.unwrap_err().kind, FailureKind::Undecodable);
    for cut in [1, 9, 12, whole.len() - 9, whole.len() - 1] {
        let failure = decoded("gzip", &whole[..cut]).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Lost, "{cut}");
        // After a whole member, too.
        let failure = decoded("gzip", &[&whole, &whole[..cut]].concat()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Lost, "{cut}");
    }
}

#[tokio::test]
async fn an_unrequested_encoding_is_refused_by_name() {
    for (name, shown) in [("br", "br"), ("gzip, zstd", "zstd"), ("gzip,gzip,gzip", "gzip,3times")] {
        let failure = decoded(name, &zipped("<Root/>")).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Protocol, "{name}");
        assert!(failure.message.contains(&format!(" {shown}, not gzip")), "{failure}");
    }
}

#[tokio::test]
async fn a_decompression_bomb_comes_in_pieces_and_a_control_response_ends_at_its_limit() {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        bomb.write_all(&[b' '; 1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 100_000);
    let head = format!("content-encoding: gzip\r\ncontent-length: {}", bomb.len());
    let host = Host::saying(with_body(&head, &bomb)).await;
    let bing = host.bing();
    let mut download = bing.fetch(&target(), &host.url("/r"), noon()).await.unwrap();
    let mut total = 0;
    while let Some(piece) = download.chunks.try_next().await.unwrap() {
        assert!(piece.len() <= 64 << 10, "{}", piece.len());
        total += piece.len();
    }
    assert_eq!(total, 64 << 20);
    let failure = bing.poll(&target(), None, &host.url("/s"), noon()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Protocol);
}

#[tokio::test]
async fn the_misspelt_path_is_tried_as_it_should_be_written() {
    let host =
        Host::new(vec![Say::Bytes(answer(404, &[], "")), Say::Bytes(answer(200, &[], "<Root/>"))]);
    let host = host.await;
    let download = host.bing().fetch(&target(), &host.url("/a/Ouput/succeeded?x=1"), noon()).await;
    assert!(download.unwrap().notes[0].contains("misspelled"));
    assert!(host.heads()[1].starts_with("GET /a/output/succeeded?x=1&key="), "{}", host.heads()[1]);
    let missing = Host::saying(answer(404, &[], "")).await;
    assert_eq!(fetched(&missing, "/output/r").await.unwrap_err().kind, FailureKind::NotFound);
    assert_eq!(missing.heads().len(), 1);
}

#[tokio::test]
async fn another_host_serves_the_result_without_the_key_and_without_a_referer() {
    let storage = Host::saying(answer(200, &[], "<Root/>")).await;
    let location = format!("location: {}", storage.url("/r?sig=a%2Bb"));
    let host = Host::saying(answer(302, &[&location], "")).await;
    assert_eq!(fetched(&host, "/r").await.unwrap().1, b"<Root/>");
    let direct = host.bing().fetch(&target(), &storage.url("/r?sig=a%2Bb"), noon()).await;
    direct.unwrap();
    for head in storage.heads() {
        assert!(head.starts_with("GET /r?sig=a%2Bb HTTP/1.1\r\n"), "{head}");
        assert!(!head.to_lowercase().contains("referer"), "{head}");
        assert_clean(&head);
    }
}

#[tokio::test]
async fn a_result_without_tls_elsewhere_is_not_fetched() {
    let host = Host::saying(answer(200, &[], "")).await;
    for url in ["http://storage.example/r", "http://203.0.113.1/r"] {
        let failure = host.bing().fetch(&target(), url, noon()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Protocol);
        assert!(failure.message.contains("without TLS"), "{failure}");
    }
}

#[tokio::test]
async fn json_instead_of_a_result_is_an_error() {
    let json = ["content-type: application/json; charset=utf-8"];
    for (body, kind) in [
        (r#"{"statusCode":401}"#, FailureKind::Credentials),
        (r#"{"statusCode":500}"#, FailureKind::Unavailable),
        (r#"{"statusCode":200}"#, FailureKind::Protocol),
    ] {
        let host = Host::saying(answer(200, &json, body)).await;
        assert_eq!(fetched(&host, "/r").await.unwrap_err().kind, kind, "{body}");
    }
    for (status, kind) in [(403, FailureKind::Credentials), (503, FailureKind::Unavailable)] {
        let host = Host::saying(answer(status, &[], "<html>no</html>")).await;
        assert_eq!(fetched(&host, "/r").await.unwrap_err().kind, kind);
    }
}

#[tokio::test]
async fn an_error_log_is_kept_up_to_its_limit_and_without_the_key() {
    let log = format!("line 1\r\n\tkey={KEY} \u{1b}[31m\n{}", "x".repeat(100_000));
    let host = Host::saying(answer(200, &[], &log)).await;
    let kept = host.bing().error_log(&host.url("/log")).await.unwrap();
    assert!(kept.starts_with("line 1\n\tkey=[key] \\u{1b}[31m\nxxx"), "{}", &kept[..60]);
    assert!(kept.len() <= super::super::fetch::ERROR_LOG_LIMIT + 16, "{}", kept.len());
    let missing = Host::saying(answer(404, &[], "")).await;
    assert!(missing.bing().error_log(&missing.url("/log")).await.is_err());
}

/// A result that breaks off in the middle, and what is said when the rest is asked for.
async fn resumed(head: &str, rest: Vec<u8>) -> (Option<Result<Vec<u8>, Failure>>, Vec<String>) {
    let first = with_body(&format!("content-length: 10\r\n{head}"), b"01234");
    let host = Host::new(vec![Say::Bytes(first), Say::Bytes(rest)]).await;
    let bing = host.bing();
    let url = host.url("/r");
    let mut download = bing.fetch(&target(), &url, noon()).await.unwrap();
    let mut begin = Vec::new();
    while let Ok(Some(chunk)) = download.chunks.try_next().await {
        begin.extend_from_slice(&chunk);
    }
    assert_eq!(begin, b"01234");
    let Some(validator) = download.validator else { return (None, host.heads()) };
    let rest = match bing.resume(&target(), &url, 5, &validator).await {
        Ok(download) => {
            let chunks: Result<Vec<bytes::Bytes>, _> = download.chunks.try_collect().await;
            chunks.map(|chunks| chunks.concat())
        }
        Err(failure) => Err(failure),
    };
    (Some(rest), host.heads())
}

fn part(range: &str, tag: &str, body: &str) -> Vec<u8> {
    answer(206, &[&format!("content-range: {range}"), &format!("etag: {tag}")], body)
}

const STRONG: &str = "etag: \"a1\"\r\naccept-ranges: bytes";

#[tokio::test]
async fn the_rest_of_the_same_file_is_asked_for_with_its_tag() {
    let (rest, heads) = resumed(STRONG, part("bytes 5-9/10", "\"a1\"", "56789")).await;
    assert_eq!(rest.unwrap().unwrap(), b"56789");
    for line in ["range: bytes=5-\r\n", "if-range: \"a1\"\r\n", "accept-encoding: identity\r\n"] {
        assert!(heads[1].contains(line), "{line}: {}", heads[1]);
    }
    assert!(heads[1].contains("?key=CANARY"), "the account's host gets the key: {}", heads[1]);
}

#[tokio::test]
async fn another_file_or_range_is_not_accepted_as_the_rest() {
    for rest in [
        answer(200, &["etag: \"a2\""], "0123456789"),
        part("bytes 5-9/10", "\"a2\"", "56789"),
        part("bytes 5-9/11", "\"a1\"", "56789"),
        part("bytes 4-9/10", "\"a1\"", "456789"),
        answer(206, &["etag: \"a1\""], "56789"),
        answer(416, &[], ""),
        answer(404, &[], ""),
    ] {
        let said = String::from_utf8_lossy(&rest).into_owned();
        let (rest, _) = resumed(STRONG, rest).await;
        assert_eq!(rest.unwrap().unwrap_err().kind, FailureKind::Protocol, "{said}");
    }
}

#[tokio::test]
async fn a_status_that_may_pass_keeps_what_has_been_received() {
    // Below are informational responses, of which there is never only one.
    let statuses: Vec<u16> = (200..=599).collect();
    let first = with_body(&format!("content-length: 10\r\n{STRONG}"), b"01234");
    let rest = statuses.iter().map(|status| answer(*status, &[], ""));
    let host = Host::new([first].into_iter().chain(rest).map(Say::Bytes).collect()).await;
    let (bing, url) = (host.bing(), host.url("/r"));
    let validator = bing.fetch(&target(), &url, noon()).await.unwrap().validator.unwrap();
    let mut passing = Vec::new();
    for status in statuses {
        let failure = bing.resume(&target(), &url, 5, &validator).await.err().unwrap();
        match failure.kind {
            FailureKind::Unavailable => passing.push(status),
            other => assert_eq!(other, FailureKind::Protocol, "{status}"),
        }
        let may_pass = kind(RequestKind::Result, status, "") == FailureKind::Unavailable;
        assert_eq!(failure.kind == FailureKind::Unavailable, may_pass, "{status}");
    }
    let wanted: Vec<u16> = [408, 425, 429].into_iter().chain(500..=599).collect();
    assert_eq!(passing, wanted);
}

#[tokio::test]
async fn without_a_strong_tag_and_ranges_nothing_can_be_resumed() {
    for head in [
        "etag: \"a1\"",
        "etag: W/\"a1\"\r\naccept-ranges: bytes",
        "etag: a1\r\naccept-ranges: bytes",
        "etag: \"a1\"\r\naccept-ranges: none",
        "accept-ranges: bytes",
        "x-nothing: 1",
    ] {
        let (rest, heads) = resumed(head, answer(500, &[], "")).await;
        assert!(rest.is_none() && heads.len() == 1, "{head}");
    }
    let body = zipped("<Root/>");
    let head = format!("{STRONG}\r\ncontent-encoding: gzip\r\ncontent-length: {}", body.len());
    let host = Host::saying(with_body(&head, &body)).await;
    let download = host.bing().fetch(&target(), &host.url("/r"), noon()).await.unwrap();
    assert_eq!(download.validator, None);
}

#[tokio::test]
async fn a_trickling_result_ends_at_its_deadline() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n<Root>".to_vec();
    let host = Host::new(vec![Say::Trickle(head)]).await;
    let brief = Http { fetch_deadline: Duration::from_secs(3), ..http() };
    let bing = client_with(&host.url("/REST/v1"), &brief);
    let download = bing.fetch(&target(), &host.url("/r"), noon()).await.unwrap();
    let failure = download.chunks.try_collect::<Vec<bytes::Bytes>>().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert!(failure.message.contains("did not end in time"), "{failure}");
}
