//! The status page.

use super::State;
use crate::report::{JobView, ReportError, SourceStatus};
use crate::store::Filter;
use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};

const RECENT: u32 = 20;
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;\
    padding:0 1rem;color:#222;background:#fff}table{border-collapse:collapse;width:100%;\
    margin-bottom:2rem}th,td{text-align:left;padding:.35rem .8rem .35rem 0;\
    border-bottom:1px solid #ddd;vertical-align:top}.n{text-align:right}\
    .ok{color:#176b2c}.overdue,.failing,.failed{color:#a40000;font-weight:600}\
    .suspicious{color:#8a5a00;font-weight:600}small{color:#555}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}th,td{border-color:#444}\
    .ok{color:#6fce84}.overdue,.failing,.failed{color:#ff8f8f}.suspicious{color:#e6b450}\
    small{color:#aaa}}";

pub(super) async fn show(Extract(state): Extract<State>) -> Result<Markup, ReportError> {
    let now = state.clock.now();
    let sources = state.reporter.sources(&state.settings(), now).await?;
    let jobs = state.reporter.jobs(&Filter { limit: RECENT, ..Filter::default() }).await?;
    Ok(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                meta http-equiv="refresh" content="30";
                title { "Nightjar" }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { "Nightjar" }
                h2 { "Sources" }
                (sources_table(&sources))
                h2 { "Recent jobs" }
                (jobs_table(&jobs))
                p { small { "As of " (instant(now)) ", version " (env!("CARGO_PKG_VERSION")) "." } }
            }
        }
    })
}

fn sources_table(sources: &[SourceStatus]) -> Markup {
    html! {
        table {
            tr { th { "Source" } th { "Health" } th { "Last backup" } th.n { "Entities" }
                th.n { "Bytes" } th { "Next run" } th { "In flight" } }
            @for source in sources {
                tr {
                    td { (source.source) }
                    td class=(source.health.as_str()) {
                        (source.health.as_str())
                        @if let Some(error) = &source.last_error {
                            br; small { (error.kind.as_str()) ": " (error.message) }
                        }
                        @for reason in &source.suspicious { br; small { (reason) } }
                    }
                    td { (or_dash(source.last_success.map(instant))) }
                    td.n { (or_dash(source.entities.map(|count| count.to_string()))) }
                    td.n { (or_dash(source.bytes.map(|count| count.to_string()))) }
                    td { (or_dash(source.next_run.map(instant))) }
                    td {
                        @if let Some(job) = &source.live_job {
                            "job " (job.id) ", " (job.state.as_str())
                            @if let Some(hold) = &job.hold { br; small { (hold.message) } }
                        } @else { "–" }
                    }
                }
            }
        }
    }
}

fn jobs_table(jobs: &[JobView]) -> Markup {
    html! {
        table {
            tr { th.n { "Job" } th { "Source" } th { "State" } th { "Trigger" } th { "Created" }
                th { "Finished" } th.n { "Polls" } th.n { "Attempts" } th { "Remark" } }
            @for job in jobs {
                tr {
                    td.n { (job.id) }
                    td { (job.source) }
                    td class=(job.state.as_str()) { (job.state.as_str()) }
                    td { (job.trigger.as_str()) }
                    td { (instant(job.created_at)) }
                    td { (or_dash(job.finished_at.map(instant))) }
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

fn instant(at: DateTime<Utc>) -> String {
    at.format("%F %T UTC").to_string()
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}
