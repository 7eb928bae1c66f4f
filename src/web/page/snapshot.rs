//! One snapshot: its manifest, what changed since the one before it, a map of its places, and its
//! schema.

use super::changes::{self, Section};
use super::map;
use super::{bytes, count, instant, instant_or_dash, layout_with, mark, not_found, or_dash};
use crate::archive::{Archive, Snapshot};
use crate::background::Stoppable;
use crate::dataset::{self, Column};
use crate::report::ReportError;
use crate::web::State;
use crate::web::export::FORMATS;
use crate::web::work::ClientGone;
use axum::extract::{Extension, Path, State as Extract};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use std::collections::VecDeque;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use tokio_util::sync::CancellationToken;

/// The most places that are drawn.
const PLACES: usize = 3000;
/// The most content that is read for a map.
const READ: u64 = 512 << 20;
/// The most columns with unreadable values that are listed.
const UNREADABLE: usize = 20;
/// How many snapshots' places are cached.
const KNOWN: usize = 16;

pub(in crate::web) async fn show(
    Extract(state): Extract<State>,
    Extension(ClientGone(gone)): Extension<ClientGone>,
    Path((source, name)): Path<(String, String)>,
) -> Result<Response, ReportError> {
    let Some(snapshot) = state.snapshot(&source, &name) else {
        return Ok(not_found("There is no such snapshot in the archive."));
    };
    let old = state.reporter.earlier(&snapshot)?;
    let section = match &old {
        None => None,
        Some(old) => Some((
            state.reporter.counts_between(&old.manifest, &snapshot.manifest).await?,
            state.changes.between(old, &snapshot).await,
        )),
    };
    let section = old.as_ref().zip(section.as_ref());
    let section =
        section.map(|(old, (counts, comparison))| Section { old, counts: *counts, comparison });
    let drawn = state.maps.places(state.reporter.archive(), &snapshot, &gone);
    let manifest = &snapshot.manifest;
    let href = format!("/snapshots/{source}/{name}");
    let content = html! {
        h1 { (name) }
        p { "A snapshot of " a href={ "/sources/" (source) } { (source) } ", made by "
            a href={ "/jobs/" (manifest.job) } { "job " (manifest.job) } "." }
        @for reason in &manifest.suspicious { p.remark { (mark("suspicious")) " " (reason) } }
        @for note in &manifest.notes { p.remark { (note) } }
        @for column in manifest.unreadable.iter().take(UNREADABLE) {
            p.remark { "Kept as sent, but not readable as the column's type: " (column) }
        }
        dl {
            div { dt { "Entities" } dd { (count(manifest.entities)) } }
            div { dt { "Announced" } dd { (or_dash(manifest.expected_entities.map(count))) } }
            div { dt { "Submitted" } dd { (instant(manifest.created_at)) } }
            div { dt { "Proven" } dd { (instant(manifest.completed_at)) } }
            div { dt { "Scheduled for" } dd { (instant_or_dash(manifest.scheduled_for)) } }
            div { dt { "Data source" } dd { (manifest.origin.name()) } }
            div { dt { "Entity type" } dd { (manifest.entity_type) } }
            div { dt { "Content" } dd { (bytes(manifest.content.bytes)) br;
                code.digest { (manifest.content.sha256) } } }
            div { dt { "Stored" } dd { (bytes(manifest.stored.bytes)) br;
                code.digest { (manifest.stored.sha256) } } }
            @if let Some(duplicate) = &manifest.same_content_as {
                div { dt { "Same content as" } dd { code { (duplicate) } } }
            }
        }
        p {
            a href={ (href) "/manifest" } { "The manifest (JSON)" } " · "
            a href={ (href) "/data" } { "The data (" (bytes(manifest.stored.bytes)) ", " (manifest.stored.encoding) ")" }
            @for format in FORMATS {
                " · " a href={ (href) "/export/" (format.name) } download { "As " (format.title) }
            }
        }
        h2 { "Changes" }
        (changes::draw(manifest, section.as_ref(), &href))
        h2 { "Places" }
        @match drawn {
            Some(Ok(places)) => (map::draw(&places)),
            Some(Err(error)) => p { "The data cannot be read: " (error) },
            None => p { "Another map is being drawn: " a href=(href) { "try again" } " in some seconds." },
        }
        h2 { "Columns" }
        (columns(&manifest.columns, &manifest.primary_key))
    };
    let refresh = section.as_ref().and_then(Section::refresh);
    Ok(layout_with(&name, refresh, content).into_response())
}

/// A cache of the places of recent snapshots. A snapshot never changes, and reading one may take
/// seconds: each is read once, and one at a time. Clones share the cache.
#[derive(Debug, Clone, Default)]
pub(in crate::web) struct Maps {
    known: Arc<Mutex<VecDeque<Known>>>,
    reading: Arc<Mutex<()>>,
}

/// A manifest's path, and the places of its snapshot.
type Known = (PathBuf, Arc<[dataset::Point]>);

impl Maps {
    /// A snapshot's places; `None` while those of another one are being read.
    fn places(
        &self,
        archive: &Archive,
        snapshot: &Snapshot,
        gone: &CancellationToken,
    ) -> Option<std::io::Result<Arc<[dataset::Point]>>> {
        if let Some(places) = self.known(&snapshot.path) {
            return Some(Ok(places));
        }
        let _reading = match self.reading.try_lock() {
            Ok(reading) => reading,
            Err(TryLockError::Poisoned(reading)) => reading.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let every = snapshot.manifest.entities.div_ceil(PLACES as u64).max(1);
        let read = archive
            .content(snapshot, READ)
            .and_then(|content| dataset::points(Stoppable::new(content, gone), every, PLACES));
        let places: Arc<[dataset::Point]> = match read {
            Ok(places) => places.into(),
            Err(error) => return Some(Err(error)),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.truncate(KNOWN - 1);
        known.push_front((snapshot.path.clone(), Arc::clone(&places)));
        Some(Ok(places))
    }

    fn known(&self, path: &FilePath) -> Option<Arc<[dataset::Point]>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(of, _)| of == path).map(|(_, places)| Arc::clone(places))
    }
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
