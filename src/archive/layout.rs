//! Which files belong to a snapshot, and what their names say.

use crate::codec::Codec;
use crate::format::{DATASET, FORMATS, Format, split_suffix};
use crate::manifest::{Manifest, ManifestFormat, Name};

/// The format of a snapshot's data. A new format of manifests says here what its data is.
pub(super) fn format_of(manifest: &Manifest) -> &'static dyn Format {
    match manifest.format {
        // It has no member that says it: it is always the same.
        ManifestFormat::One => &DATASET,
    }
}

/// How a snapshot's data is stored; `None` if this version does not know it.
pub(super) fn codec_of(manifest: &Manifest) -> Option<Codec> {
    Codec::named(&manifest.stored.encoding)
}

/// What follows the snapshot's name in that of its data file. It is that of the codec that stored
/// it, whatever the format is stored with today.
pub(super) fn suffix_of(manifest: &Manifest) -> String {
    let format = format_of(manifest);
    // Data of an unknown encoding cannot be read, by whatever name.
    format.suffix_with(codec_of(manifest).unwrap_or_else(|| format.codec()))
}

/// The name of the data file beside the manifest of this name. Nothing else in a manifest is used
/// as a path, so that none leads to another file.
pub(super) fn data_name(name: Name, manifest: &Manifest) -> String {
    name.with(&suffix_of(manifest))
}

/// The snapshot in the name of a data file.
pub(super) fn name_of_data(file: &str) -> Option<Name> {
    split_suffix(file)?.0.parse().ok()
}

/// All names that the data file of this snapshot may have.
pub(super) fn data_names(name: Name) -> impl Iterator<Item = String> {
    FORMATS.iter().flat_map(move |format| {
        Codec::ALL.into_iter().map(move |codec| name.with(&format.suffix_with(codec)))
    })
}

/// The problem of a snapshot whose data is stored in a way that this version does not know.
pub(super) fn unknown_encoding(encoding: &str) -> String {
    format!("its encoding {encoding} is unknown to this version: use the version that wrote it")
}
