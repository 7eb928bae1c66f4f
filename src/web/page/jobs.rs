//! Jobs: the history, and one with its timeline.

use super::{dash, instant, instant_or_dash, jobs_table, layout, mark, not_found};
use crate::job::State as JobState;
use crate::report::ReportError;
use crate::store::Filter;
use crate::web::State;
use axum::extract::{Path, Query, State as Extract};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

const SHOWN: u32 = 200;
/// The most lines of a timeline that are shown, the newest.
const LINES: u32 = 500;

#[derive(Debug, Deserialize)]
pub(in crate::web) struct Wanted {
    #[serde(default)]
    source: String,
    #[serde(default)]
    state: String,
}

pub(in crate::web) async fn list(
    Extract(state): Extract<State>,
    Query(wanted): Query<Wanted>,
) -> Result<Markup, ReportError> {
    let settings = state.settings();
    let filter = Filter {
        source: Some(wanted.source.clone()).filter(|source| !source.is_empty()),
        state: wanted.state.parse().ok(),
        limit: SHOWN,
        ..Filter::default()
    };
    let jobs = state.reporter.jobs(&filter).await?;
    Ok(layout(
        "Jobs",
        html! {
            h1 { "Jobs" }
            form method="get" action="/jobs" {
                label { "Source "
                    select name="source" {
                        option value="" { "all" }
                        @for source in &settings.sources {
                            option value=(source.name) selected[source.name == wanted.source] {
                                (source.name)
                            }
                        }
                    }
                }
                label { "State "
                    select name="state" {
                        option value="" { "all" }
                        @for state in JobState::ALL {
                            option value=(state.as_str()) selected[state.as_str() == wanted.state] {
                                (state.as_str())
                            }
                        }
                    }
                }
                button type="submit" { "Show" }
            }
            (jobs_table(&jobs))
        },
    ))
}

pub(in crate::web) async fn show(
    Extract(state): Extract<State>,
    Path(id): Path<String>,
) -> Result<Response, ReportError> {
    let detail = match id.parse() {
        Ok(id) => state.reporter.job_lately(id, LINES).await?,
        Err(_) => None,
    };
    let Some((detail, is_all)) = detail else { return Ok(not_found("There is no such job.")) };
    let job = &detail.job;
    let page = state.page_of(job);
    let content = html! {
        h1 { "Job " (job.id) " of " a href={ "/sources/" (job.source) } { (job.source) } " "
            (mark(job.state.as_str())) }
        @if let Some(error) = &job.error {
            p.remark { (error.kind.as_str()) ": " (error.message) }
        }
        @if let Some(hold) = &job.hold { p.remark { (hold.message) } }
        dl {
            div { dt { "Why" } dd { (job.trigger.as_str().replace('_', " ")) } }
            div { dt { "Scheduled for" } dd { (instant_or_dash(job.scheduled_for)) } }
            div { dt { "Made" } dd { (instant(job.created_at)) } }
            div { dt { "Ended" } dd { (instant_or_dash(job.finished_at)) } }
            @if let Some(due) = job.due_at { div { dt { "Goes on" } dd { (instant(due)) } } }
            div { dt { "Remote job" } dd {
                @match &job.remote_id { Some(id) => code { (id) }, None => (dash()) }
            } }
            div { dt { "Polls" } dd { (job.polls) } }
            div { dt { "Attempts" } dd { (job.attempts) } }
            @if let Some((href, name)) = &page { div { dt { "Snapshot" } dd { a href=(href) { (name) } } } }
        }
        h2 { "Timeline" }
        @if !is_all {
            p { "The newest " (LINES) " lines; all of them: " code { "nightjar job " (job.id) } "." }
        }
        ol.timeline {
            @for event in &detail.timeline {
                li {
                    (instant(event.at)) " " span.kind { (event.kind) }
                    @if event.count > 1 {
                        " " (event.count) " times, the last at " (instant(event.last_at))
                    }
                    pre { (event.message) }
                }
            }
        }
    };
    Ok(layout(&format!("Job {}", job.id), content).into_response())
}
