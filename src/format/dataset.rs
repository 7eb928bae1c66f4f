//! The XML document of a data source: see [`crate::dataset`].

use super::{Format, Input, Invalid, Summary};
use crate::codec::Codec;
use crate::dataset::{self, DocumentLimits};

/// XML with an inline schema, one element for each entity.
pub static DATASET: Dataset = Dataset;

/// The type of [`DATASET`].
#[derive(Debug)]
pub struct Dataset;

impl Format for Dataset {
    fn ending(&self) -> &'static str {
        "xml"
    }

    fn codec(&self) -> Codec {
        Codec::Zstd
    }

    fn validate(&self, input: Input<'_>, max_bytes: u64) -> Result<Summary, Invalid> {
        let limits = DocumentLimits { max_bytes, ..DocumentLimits::default() };
        let found = dataset::validate(input, &limits)?;
        Ok(Summary {
            entities: found.entities,
            entity_type: found.entity_type,
            primary_key: found.primary_key,
            columns: found.columns,
            unreadable: found.unreadable,
            warnings: found.warnings,
        })
    }
}
