//! What manifests claim, against what is there.

use super::Severity;
use super::survey::{ManifestClaim, Survey};
use crate::archive::examine::Examined;
use crate::archive::{catalogue, layout};
use crate::dataset::{Column, Unproven, Unreadable};
use crate::manifest::Manifest;
use std::collections::HashMap;

impl Survey {
    /// Compares every manifest with what was found.
    pub(super) fn compare(&mut self) {
        let claims = std::mem::take(&mut self.claims);
        let files = std::mem::take(&mut self.files);
        let contents: HashMap<(&str, String), &Manifest> = claims
            .iter()
            .map(|claim| ((claim.source.as_str(), claim.name.manifest()), &claim.manifest))
            .collect();
        for claim in &claims {
            let about = (Some(claim.source.as_str()), Some(claim.name));
            for message in contradictions(claim, &contents) {
                self.find(about, &claim.path, "claim", Severity::Error, message);
            }
            let Some(file) = claim.file.and_then(|number| files.get(number)) else { continue };
            let data = claim.path.with_file_name(layout::data_name(claim.name, &claim.manifest));
            match file.examined.get() {
                Some(Ok(examined)) => {
                    for (kind, message) in differences(&claim.manifest, examined) {
                        let file = if kind == "claim" { &claim.path } else { &data };
                        self.find(about, file, kind, Severity::Error, message);
                    }
                }
                Some(Err(error)) => {
                    let message = format!("the data cannot be read: {error}");
                    self.find(about, &data, "unreadable", Severity::Error, message);
                }
                None => {
                    let message = "the data was not read";
                    self.find(about, &data, "unreadable", Severity::Error, message);
                }
            }
        }
    }
}

/// What in a manifest is wrong regardless of the data.
fn contradictions(
    claim: &ManifestClaim,
    contents: &HashMap<(&str, String), &Manifest>,
) -> Vec<String> {
    let manifest = &claim.manifest;
    let mut found = Vec::new();
    found.extend(catalogue::contradictions(manifest, claim.name, Some(&claim.source)));
    if layout::codec_of(manifest).is_none() {
        found.push(layout::unknown_encoding(&manifest.stored.encoding));
    }
    if let Some(expected) = manifest.expected_entities
        && expected != manifest.entities
    {
        found.push(format!("{expected} entities were announced, but it has {}", manifest.entities));
    }
    if let Some(duplicate) = &manifest.same_content_as
        && catalogue::manifest_name(duplicate).is_some_and(|other| other >= claim.name)
    {
        found.push(format!(
            "its content is said to be that of {duplicate}, which is no earlier one"
        ));
    }
    if let Some(duplicate) = &manifest.same_content_as
        && let Some(other) = contents.get(&(claim.source.as_str(), duplicate.clone()))
        && other.content != manifest.content
    {
        found.push(format!("it claims the same content as {duplicate}, whose digest differs"));
    }
    found
}

/// Where the data differs from its manifest. Altered bytes are one finding, not several.
fn differences(manifest: &Manifest, examined: &Examined) -> Vec<(&'static str, String)> {
    let (claimed, stored) = (&manifest.stored, &examined.stored);
    if claimed.bytes != stored.bytes {
        let message = format!("it has {} bytes, but should have {}", stored.bytes, claimed.bytes);
        return vec![("damaged", message)];
    }
    if claimed.sha256 != stored.sha256 {
        let message = format!("its SHA-256 is {}, but should be {}", stored.sha256, claimed.sha256);
        return vec![("damaged", message)];
    }
    let (content, summary) = match &examined.content {
        Some(Ok(found)) => found,
        Some(Err(message)) => return vec![("unproven", message.clone())],
        // That the encoding is unknown is a finding already.
        None => return Vec::new(),
    };
    // A key that is not kept (it held the account's key) says nothing.
    let mut found_unreadable = summary.unreadable.clone();
    for (found, claimed) in found_unreadable.iter_mut().zip(&manifest.unreadable) {
        found.first_key.take_if(|_| claimed.first_key.is_none());
    }
    let claims = [
        ("bytes of content", manifest.content.bytes.to_string(), content.bytes.to_string()),
        ("content's SHA-256", manifest.content.sha256.clone(), content.sha256.clone()),
        ("entities", manifest.entities.to_string(), summary.entities.to_string()),
        ("entity type", manifest.entity_type.clone(), summary.entity_type.clone()),
        ("primary key", manifest.primary_key.clone(), summary.primary_key.clone()),
        ("columns", columns(&manifest.columns), columns(&summary.columns)),
        ("unreadable", unreadable(&manifest.unreadable), unreadable(&found_unreadable)),
        (
            "unproven",
            listed(&manifest.unproven, Unproven::to_string),
            listed(&summary.unproven(), Unproven::to_string),
        ),
    ];
    claims
        .into_iter()
        .filter(|(_, claimed, real)| claimed != real)
        .map(|(what, claimed, real)| {
            let (claimed, real) = (shortened(&claimed), shortened(&real));
            ("claim", format!("{what}: {real} in the data, {claimed} in the manifest"))
        })
        .collect()
}

fn columns(columns: &[Column]) -> String {
    listed(columns, |column| format!("{} {}", column.name, column.r#type))
}

/// In full, so that every difference counts.
fn unreadable(columns: &[Unreadable]) -> String {
    listed(columns, |one| match &one.first_key {
        Some(key) => format!("{} in {}, first {key:?}", one.values, one.column),
        None => format!("{} in {}, first without a key", one.values, one.column),
    })
}

fn listed<T>(all: &[T], one: impl Fn(&T) -> String) -> String {
    if all.is_empty() {
        return "none".to_owned();
    }
    let all: Vec<_> = all.iter().map(one).collect();
    all.join(", ")
}

/// A value, cut to the length that a message may quote.
fn shortened(claim: &str) -> String {
    const MOST: usize = 300;
    match claim.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", claim.get(..at).unwrap_or_default()),
        None => claim.to_owned(),
    }
}
