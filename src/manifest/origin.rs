//! The members of a manifest that say where the data came from.

use serde::Serialize;

/// Where the data came from at the service. In format 1 these three members stand in the manifest
/// itself, between `source` and `job`. Only the service that fills them knows what they mean there;
/// all other code shows [`Origin::name`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The identifier under which the service publishes the data source.
    pub access_id: String,
    /// The data source's name at the service.
    pub data_source: String,
    /// The requested version; `null` for the published one.
    pub version: Option<String>,
}

impl Origin {
    /// What the data is called at the service.
    pub fn name(&self) -> &str {
        &self.data_source
    }
}
