//! Which files belong to a snapshot, and what their names say.

use crate::codec::Codec;
use crate::format::{DATASET, FORMATS, Format};
use crate::manifest::{Manifest, Name};

/// The format of a snapshot's data.
pub(super) fn format_of(_: &Manifest) -> &'static dyn Format {
    // A manifest of format 1 does not say it: it is always the same, and no others are read.
    &DATASET
}

/// How a snapshot's data is stored; `None` if this version does not know it.
pub(super) fn codec_of(manifest: &Manifest) -> Option<Codec> {
    Codec::named(&manifest.stored.encoding)
}

/// The name of the data file beside the manifest of this name. Nothing else in a manifest is used
/// as a path, so that none leads to another file.
pub(super) fn data_name(name: Name, manifest: &Manifest) -> String {
    name.with(&format_of(manifest).suffix())
}

/// The snapshot in the name of a data file.
pub(super) fn name_of_data(file: &str) -> Option<Name> {
    FORMATS.iter().find_map(|format| file.strip_suffix(&format.suffix())?.parse().ok())
}

/// All names that the data file of this snapshot may have.
pub(super) fn data_names(name: Name) -> impl Iterator<Item = String> {
    FORMATS.iter().map(move |format| name.with(&format.suffix()))
}

/// The problem of a snapshot whose data is stored in a way that this version does not know.
pub(super) fn unknown_encoding(encoding: &str) -> String {
    format!("its encoding {encoding} is unknown to this version: use the version that wrote it")
}
