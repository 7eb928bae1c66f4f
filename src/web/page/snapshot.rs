//! One snapshot: its manifest, its schema, and a map of its places.

use super::map;
use super::{bytes, count, instant, instant_or_dash, layout, mark, not_found, or_dash};
use crate::archive::{Archive, Snapshot};
use crate::dataset::{self, Column};
use crate::report::ReportError;
use crate::web::State;
use axum::extract::{Path, State as Extract};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

/// The most places that are drawn.
const PLACES: usize = 3000;
/// The most content that is read for them.
const READ: u64 = 512 << 20;

pub(in crate::web) async fn show(
    Extract(state): Extract<State>,
    Path((source, name)): Path<(String, String)>,
) -> Result<Response, ReportError> {
    let Some(snapshot) = state.snapshot(&source, &name) else {
        return Ok(not_found("There is no such snapshot in the archive."));
    };
    let archive = state.reporter.archive().clone();
    let of_map = snapshot.clone();
    let drawn = tokio::task::spawn_blocking(move || places(&archive, &of_map)).await;
    let manifest = &snapshot.manifest;
    let href = format!("/snapshots/{source}/{name}");
    let content = html! {
        h1 { (name) }
        p { "A snapshot of " a href={ "/sources/" (source) } { (source) } ", made by "
            a href={ "/jobs/" (manifest.job) } { "job " (manifest.job) } "." }
        @for reason in &manifest.suspicious { p.remark { (mark("suspicious")) " " (reason) } }
        @for note in &manifest.notes { p.remark { (note) } }
        dl {
            div { dt { "Entities" } dd { (count(manifest.entities)) } }
            div { dt { "Announced" } dd { (or_dash(manifest.expected_entities.map(count))) } }
            div { dt { "Submitted" } dd { (instant(manifest.created_at)) } }
            div { dt { "Proven" } dd { (instant(manifest.completed_at)) } }
            div { dt { "Scheduled for" } dd { (instant_or_dash(manifest.scheduled_for)) } }
            div { dt { "Data source" } dd { (manifest.data_source) } }
            div { dt { "Entity type" } dd { (manifest.entity_type) } }
            div { dt { "Content" } dd { (bytes(manifest.content.bytes)) br;
                code.digest { (manifest.content.sha256) } } }
            div { dt { "Stored" } dd { (bytes(manifest.stored.bytes)) br;
                code.digest { (manifest.stored.sha256) } } }
            @if let Some(twin) = &manifest.same_content_as {
                div { dt { "Same content as" } dd { code { (twin) } } }
            }
        }
        p {
            a href={ (href) "/manifest" } { "The manifest (JSON)" } " · "
            a href={ (href) "/data" } { "The data (" (bytes(manifest.stored.bytes)) ", zstd)" }
        }
        h2 { "Places" }
        @match drawn {
            Ok(Ok(places)) => (map::draw(&places)),
            Ok(Err(error)) => p { "The data cannot be read: " (error) },
            Err(_) => p { "The map could not be drawn." },
        }
        h2 { "Columns" }
        (columns(&manifest.columns, &manifest.primary_key))
    };
    Ok(layout(&name, content).into_response())
}

fn places(archive: &Archive, snapshot: &Snapshot) -> std::io::Result<Vec<dataset::Point>> {
    let every = snapshot.manifest.entities.div_ceil(PLACES as u64).max(1);
    dataset::points(archive.content(snapshot, READ)?, every, PLACES)
}

fn columns(columns: &[Column], key: &str) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr { th scope="col" { "Name" } th scope="col" { "Type" } } }
                tbody {
                    @for column in columns {
                        tr {
                            td { (column.name) @if column.name == key { " " (mark("key")) } }
                            td { code { (column.r#type) } }
                        }
                    }
                }
            }
        }
    }
}
