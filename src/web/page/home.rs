//! The overview: which sources are protected.

use super::changes::sentence;
use super::{
    bytes, calendar, count, health, instant_or_dash, jobs_table, layout, mark, or_dash, vanished,
};
use crate::discovery::{self, AccountLook};
use crate::report::{JobView, ReportError, SourceStatus};
use crate::store::Filter;
use crate::timestamp::rounded;
use crate::web::State;
use axum::extract::State as Extract;
use chrono::{DateTime, Utc};
use maud::{Markup, html};

const RECENT: u32 = 12;

pub(in crate::web) async fn show(Extract(state): Extract<State>) -> Result<Markup, ReportError> {
    let now = state.clock.now();
    let settings = state.settings();
    let sources = state.reporter.sources(&settings, now).await?;
    let jobs = state.reporter.jobs(&Filter { limit: RECENT, ..Filter::default() }).await?;
    let mut years = Vec::new();
    for source in &settings.sources {
        years.push(calendar::draw(&state.reporter.year(source, now).await?, &source.name));
    }
    let looks = discovery::looks(&settings);
    let unprotected: Vec<_> = looks.iter().filter_map(AccountLook::unprotected_message).collect();
    let live: Vec<_> = sources.iter().filter_map(|source| source.live_job.as_ref()).collect();
    Ok(layout(
        "Sources",
        html! {
            h1 { "Sources" }
            (verdict(&sources))
            @for message in &unprotected { p.verdict.suspicious { (message) } }
            (in_flight(&live, now))
            @for (source, year) in sources.iter().zip(&years) { (card(source, year, now)) }
            (calendar::legend())
            h2 { "Recent jobs" }
            (jobs_table(&jobs))
        },
    ))
}

/// One sentence.
fn verdict(sources: &[SourceStatus]) -> Markup {
    let bad = sources.iter().filter(|source| source.health.needs_attention()).count();
    let gone = sources.iter().filter(|source| source.unlisted_at().is_some()).count();
    let (class, text) = verdict_of(sources.len(), bad, gone);
    html! { p.verdict.(class) role="status" { (text) } }
}

/// The class and the text for this many sources, of which so many need attention, and so many are
/// no longer listed.
fn verdict_of(all: usize, bad: usize, gone: usize) -> (&'static str, String) {
    match (all, bad, gone) {
        (0, ..) => ("suspicious", "Nothing is backed up: the configuration has no source.".into()),
        (1, 0, 0) => ("ok", "The source is protected.".to_owned()),
        (all, 0, 0) => ("ok", format!("All {all} sources are protected.")),
        (1, 0, _) => ("suspicious", "The source has vanished from its service.".to_owned()),
        (all, 0, 1) => ("suspicious", format!("1 of {all} sources has vanished from its service.")),
        (all, 0, gone) => {
            ("suspicious", format!("{gone} of {all} sources have vanished from their services."))
        }
        (all, 1, _) => ("failing", format!("1 of {all} sources needs attention.")),
        (all, bad, _) => ("failing", format!("{bad} of {all} sources need attention.")),
    }
}

/// The jobs in flight; the script keeps them up to date.
fn in_flight(live: &[&JobView], now: DateTime<Utc>) -> Markup {
    html! {
        section #in-flight aria-labelledby="in-flight-title" {
            h2 #in-flight-title { "In flight" }
            @if live.is_empty() { p { "Nothing is in flight." } }
            ul {
                @for job in live {
                    li data-job=(job.id) {
                        a href={ "/jobs/" (job.id) } { (job.source) ", job " (job.id) }
                        " " (mark(job.state.as_str())) " "
                        span.progress {
                            @if let Some(hold) = &job.hold { (hold.message) }
                            @else { "for " (rounded(now - job.created_at)) }
                        }
                        progress.hidden max="1" value="0" aria-label="received" {}
                    }
                }
            }
        }
    }
}

fn card(source: &SourceStatus, year: &Markup, now: DateTime<Utc>) -> Markup {
    html! {
        article.card {
            h3 {
                a href={ "/sources/" (source.source) } { (source.source) } " "
                (health(source))
            }
            (vanished(source))
            @if let Some(error) = &source.last_error {
                p.remark { (error.kind.as_str()) ": " (error.message) }
            }
            @for reason in &source.suspicious { p.remark { (reason) } }
            (year)
            dl {
                div { dt { "Last backup" } dd {
                    (instant_or_dash(source.last_success))
                    @if let Some(last) = source.last_success { " (" (rounded(now - last)) " ago)" }
                } }
                div { dt { "Entities" } dd { (or_dash(source.entities.map(count))) } }
                div { dt { "Size" } dd { (or_dash(source.bytes.map(bytes))) } }
                div { dt { "Changes" } dd { (or_dash(source.changes.map(sentence))) } }
                div { dt { "Next run" } dd { (instant_or_dash(source.next_run)) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sources_that_are_well_and_listed_are_called_protected() {
        for (all, bad, gone, class, text) in [
            (0, 0, 0, "suspicious", "Nothing is backed up: the configuration has no source."),
            (1, 0, 0, "ok", "The source is protected."),
            (3, 0, 0, "ok", "All 3 sources are protected."),
            (1, 0, 1, "suspicious", "The source has vanished from its service."),
            (3, 0, 1, "suspicious", "1 of 3 sources has vanished from its service."),
            (3, 0, 2, "suspicious", "2 of 3 sources have vanished from their services."),
            (3, 1, 1, "failing", "1 of 3 sources needs attention."),
            (3, 2, 0, "failing", "2 of 3 sources need attention."),
        ] {
            assert_eq!(verdict_of(all, bad, gone), (class, text.to_owned()));
        }
    }
}
