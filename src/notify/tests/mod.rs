//! Every channel against a real server or program, including failures.

mod commands;
mod mail;
mod webhooks;

use super::*;
use crate::http::PlainClients;
use crate::settings::{Http, Webhook};
use chrono::{DateTime, TimeZone, Utc};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use url::Url;

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 25, 12, 0, 0).unwrap()
}

fn message() -> Message {
    let content = Content {
        kind: Some("failed".into()),
        about: "stores".into(),
        message: "the last job failed: aborted: out of luck".into(),
        since: noon(),
    };
    Message::new(Event::Broke, content, noon(), "archive-1")
}

fn clients() -> PlainClients {
    PlainClients::new(&Http::default()).unwrap()
}

fn notifier(channels: Vec<Channel>) -> Notifier {
    Notifier::new(channels, Some(clients()), Duration::from_secs(5))
}

/// A server that answers one request after the other, and the requests that it received.
fn server(
    answer: impl Fn(usize) -> &'static str + Send + 'static,
) -> (Url, mpsc::Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/hook/secret-path", listener.local_addr().unwrap()));
    let (asked, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let request = request(&mut stream);
            let _ = asked.send(request);
            let answer = answer(number);
            let _ = write!(
                stream,
                "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    });
    (url.unwrap(), requests)
}

/// The head of a request, and its body.
fn request(stream: &mut TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let length = head.to_lowercase();
    let length = length.split("content-length: ").nth(1).and_then(|it| it.lines().next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn webhook(url: Url, secret: Option<&str>) -> Channel {
    let webhook = Webhook { url: PrivateUrl::new(url), secret: None };
    Channel::webhook(&webhook, secret.map(|it| Secret::new(it).unwrap()), &clients())
}

fn only(deliveries: Vec<Delivery>) -> Delivery {
    let [delivery]: [Delivery; 1] = deliveries.try_into().unwrap();
    delivery
}

#[test]
fn each_event_has_a_subject_and_a_first_line() {
    let mut lines = Vec::new();
    for event in [Event::Broke, Event::Still, Event::Recovered, Event::Test] {
        let message = Message { event, ..message() };
        lines.push(format!("{}\n{}", message.subject(), message.text().lines().next().unwrap()));
    }
    insta::assert_snapshot!(lines.join("\n"), @r"
    [nightjar] stores: failed (archive-1)
    stores: the last job failed: aborted: out of luck.
    [nightjar] stores: still failed (archive-1)
    stores, since 2026-11-25T12:00:00Z: the last job failed: aborted: out of luck.
    [nightjar] stores: recovered (archive-1)
    stores has recovered. The problem since 2026-11-25T12:00:00Z was: the last job failed: aborted: out of luck.
    [nightjar] test message (archive-1)
    the last job failed: aborted: out of luck.
    ");
}
