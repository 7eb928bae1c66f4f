//! One source: its year, its size over time, its snapshots and jobs.

use super::changes::sentence;
use super::plot::{self, Series};
use super::{
    bytes, calendar, count, health, instant, instant_or_dash, jobs_table, layout, mark, not_found,
    or_dash, vanished,
};
use crate::manifest::{Name, Role};
use crate::report::{ReportError, SnapshotChanges, SnapshotView};
use crate::store::Filter;
use crate::web::State;
use crate::web::work::ClientGone;
use axum::extract::{Extension, Path, State as Extract};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use std::collections::BTreeMap;

const SNAPSHOTS: usize = 100;
/// The most snapshots whose manifests are read for the plots, the newest.
const PLOTTED: usize = 400;
const JOBS: u32 = 30;

pub(in crate::web) async fn show(
    Extract(state): Extract<State>,
    Extension(ClientGone(gone)): Extension<ClientGone>,
    Path(name): Path<String>,
) -> Result<Response, ReportError> {
    let (now, mut settings) = (state.clock.now(), state.settings());
    settings.sources.retain(|source| source.name == name);
    let statuses = state.reporter.sources(&settings, now).await?;
    let (Some(source), Some(status)) =
        (settings.source(&name), statuses.iter().find(|status| status.source == name))
    else {
        return Ok(not_found("There is no such source in the configuration."));
    };
    let year = state.reporter.year(source, now).await?;
    let names = state.reporter.snapshot_names(Some(&name))?.names;
    let all = names.len();
    let snapshots = state.reporter.snapshots_of(names.into_iter().take(PLOTTED), &gone);
    let filter = Filter { source: Some(name.clone()), limit: JOBS, ..Filter::default() };
    let jobs = state.reporter.jobs(&filter).await?;
    let points = |value: fn(&SnapshotView) -> u64| {
        let ordinary = snapshots.iter().rev().filter(|it| it.role.is_ordinary());
        ordinary.map(|it| (it.created_at, value(it))).collect::<Vec<_>>()
    };
    let changes = state.reporter.changes(&name, PLOTTED).await?;
    let nights: Vec<_> =
        changes.iter().map(|(night, changes)| (night.created_at(), *changes)).collect();
    let begin = snapshots.iter().rev().find(|it| it.role.is_ordinary()).map(|it| it.created_at);
    let page = layout(
        &name,
        html! {
            h1 { (name) " " (health(status)) }
            (vanished(status))
            @if let Some(error) = &status.last_error {
                p.remark { (error.kind.as_str()) ": " (error.message) }
            }
            @for reason in &status.suspicious { p.remark { (reason) } }
            p {
                "Backed up by " code { (source.schedule.text()) } " (" (source.timezone.name())
                "), next " (instant_or_dash(status.next_run)) "."
            }
            h2 { "A year of nights" }
            (calendar::draw(&year, &name))
            (calendar::legend())
            h2 { "Over time" }
            div.plots {
                (plot::draw(&Series { title: "Entities", points: points(|it| it.entities), shown: count }))
                (plot::draw(&Series { title: "Size", points: points(|it| it.content_bytes), shown: bytes }))
                (plot::bars(begin.unwrap_or(now), &nights))
            }
            h2 { "Snapshots" }
            (table(&snapshots, &changes, all))
            h2 { "Jobs" }
            (jobs_table(&jobs))
        },
    );
    Ok(page.into_response())
}

/// The newest of all these snapshots.
fn table(
    snapshots: &[SnapshotView],
    changes: &BTreeMap<Name, SnapshotChanges>,
    all: usize,
) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr {
                    th scope="col" { "Snapshot" }
                    th scope="col" { "Made" }
                    th.n scope="col" { "Entities" }
                    th.n scope="col" { "Content" }
                    th.n scope="col" { "Stored" }
                    th scope="col" { "Changes" }
                    th scope="col" { "Remarks" }
                } }
                tbody {
                    @for snapshot in snapshots.iter().take(SNAPSHOTS) {
                        tr {
                            td { a href=(snapshot.page()) { (snapshot.name()) } }
                            td { (instant(snapshot.created_at)) }
                            td.n { (count(snapshot.entities)) }
                            td.n { (bytes(snapshot.content_bytes)) }
                            td.n { (bytes(snapshot.stored_bytes)) }
                            td { (or_dash(changes.get(&snapshot.id()).copied().map(sentence))) }
                            td {
                                @if snapshot.same_content_as.is_some() { "same as the one before. " }
                                @if snapshot.safety { "safety backup. " }
                                @if snapshot.role == Role::Version { "another version. " }
                                @if snapshot.held { "held. " }
                                @for reason in &snapshot.suspicious { (mark("suspicious")) " " (reason) }
                            }
                        }
                    }
                }
            }
        }
        @if all > SNAPSHOTS {
            p { "And " (all - SNAPSHOTS) " older ones: " code { "nightjar snapshots" } "." }
        }
        @if snapshots.is_empty() { p { "There are none yet." } }
    }
}
