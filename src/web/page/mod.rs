//! The pages: rendered here, complete without a script, and without outside assets.

mod calendar;
mod changes;
mod home;
mod jobs;
mod map;
mod plot;
mod snapshot;
mod source;

pub(super) use home::show as home;
pub(super) use jobs::{list as jobs, show as job};
pub(super) use snapshot::{Maps, show as snapshot};
pub(super) use source::show as source;

use crate::report::{Health, JobView, SourceStatus};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};

/// The style of all pages.
pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css"))
}

/// The script of the pages, which updates the jobs in flight.
pub(super) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("live.js"))
}

/// The answer for an unknown page.
pub(super) async fn missing() -> Response {
    not_found("There is no such page.")
}

fn not_found(what: &str) -> Response {
    let page = layout("Not found", html! { h1 { "Not found" } p { (what) } });
    (StatusCode::NOT_FOUND, page).into_response()
}

/// A whole page around its content.
fn layout(title: &str, content: Markup) -> Markup {
    layout_with(title, None, content)
}

/// The same for a page that has more to show after this many seconds.
fn layout_with(title: &str, refresh: Option<u32>, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Nightjar" }
                link rel="stylesheet" href="/style.css";
                script src="/live.js" defer {}
                @match refresh {
                    Some(seconds) => meta http-equiv="refresh" content=(seconds);,
                    None => noscript { meta http-equiv="refresh" content="60"; },
                }
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header {
                    nav aria-label="Pages" {
                        a.brand href="/" { "Nightjar" }
                        a href="/" { "Sources" }
                        a href="/jobs" { "Jobs" }
                    }
                }
                main #content { (content) }
                footer { "Nightjar " (env!("CARGO_PKG_VERSION")) ". This page only reads." }
            }
        }
    }
}

/// An instant, with a machine-readable date and time.
fn instant(at: DateTime<Utc>) -> Markup {
    html! {
        time datetime=(at.format("%FT%TZ")) { (at.format("%F %H:%M:%S UTC")) }
    }
}

fn instant_or_dash(at: Option<DateTime<Utc>>) -> Markup {
    at.map_or_else(dash, instant)
}

fn dash() -> Markup {
    html! { span aria-label="none" { "–" } }
}

fn or_dash(text: Option<String>) -> Markup {
    text.map_or_else(dash, |text| html! { (text) })
}

/// A rounded number of bytes.
fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// A count with separated thousands.
fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// A mark with a word: never a colour alone.
fn mark(word: &str) -> Markup {
    html! { span.mark.(word) { (word) } }
}

/// The health of a source. One that has vanished is not called `ok`.
fn health(source: &SourceStatus) -> Markup {
    let has_vanished = source.unlisted_at().is_some();
    html! {
        @if !(has_vanished && source.health == Health::Ok) { (mark(source.health.as_str())) " " }
        @if has_vanished { (mark("vanished")) }
    }
}

/// A sentence about a source that the service no longer lists; empty for any other.
fn vanished(source: &SourceStatus) -> Markup {
    html! {
        @if let Some(at) = source.unlisted_at() {
            p.remark {
                "The service no longer lists its data source (looked at " (instant(at))
                "). What is archived of it stays."
            }
        }
    }
}

/// Jobs, newest first.
fn jobs_table(jobs: &[JobView]) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr {
                    th.n scope="col" { "Job" }
                    th scope="col" { "Source" }
                    th scope="col" { "State" }
                    th scope="col" { "Why" }
                    th scope="col" { "Made" }
                    th scope="col" { "Ended" }
                    th.n scope="col" { "Polls" }
                    th.n scope="col" { "Attempts" }
                    th scope="col" { "Remark" }
                } }
                tbody {
                    @for job in jobs {
                        tr {
                            td.n { a href={ "/jobs/" (job.id) } { (job.id) } }
                            td { a href={ "/sources/" (job.source) } { (job.source) } }
                            td { (mark(job.state.as_str())) }
                            td { (job.trigger.as_str().replace('_', " ")) }
                            td { (instant(job.created_at)) }
                            td { (instant_or_dash(job.finished_at)) }
                            td.n { (job.polls) }
                            td.n { (job.attempts) }
                            td {
                                @if let Some(error) = &job.error {
                                    (error.kind.as_str()) ": " (error.message)
                                } @else if let Some(hold) = &job.hold { (hold.message) }
                            }
                        }
                    }
                }
            }
        }
        @if jobs.is_empty() { p { "There are none." } }
    }
}
