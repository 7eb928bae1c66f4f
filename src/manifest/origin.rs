//! Where a manifest says that the data came from, and the members of its file, which name that.

use super::role::RoleMembers;
use super::{Content, Manifest, ManifestFormat, PublishedVersion, Role, Stored};
use crate::dataset::{Column, Unproven, Unreadable};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};

/// Where the data came from at the service. In format 1 these three members stand in the manifest
/// itself, between `source` and `job`. Only the service that fills them knows what they mean there;
/// all other code shows [`Origin::name`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// The members of a manifest as they stand in its file. Read without `flatten`, which would keep
/// every unknown member in memory as a tree.
#[derive(Deserialize)]
pub(super) struct ManifestMembers {
    format: ManifestFormat,
    source: String,
    access_id: String,
    data_source: String,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    safety: bool,
    #[serde(default)]
    other_version: bool,
    #[serde(default)]
    published_version: Option<PublishedVersion>,
    job: i64,
    #[serde(deserialize_with = "promised")]
    remote_id: Option<String>,
    #[serde(deserialize_with = "promised")]
    scheduled_for: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    completed_at: DateTime<Utc>,
    entities: u64,
    #[serde(deserialize_with = "promised")]
    expected_entities: Option<u64>,
    entity_type: String,
    primary_key: String,
    columns: Vec<Column>,
    content: Content,
    stored: Stored,
    suspicious: Vec<String>,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(deserialize_with = "promised")]
    same_content_as: Option<String>,
    generator: String,
    #[serde(default)]
    unreadable: Vec<Unreadable>,
    #[serde(default)]
    unproven: Vec<Unproven>,
}

impl From<ManifestMembers> for Manifest {
    fn from(it: ManifestMembers) -> Manifest {
        Manifest {
            format: it.format,
            source: it.source,
            origin: Origin {
                access_id: it.access_id,
                data_source: it.data_source,
                version: it.version,
            },
            role: Role::of(RoleMembers { safety: it.safety, other_version: it.other_version }),
            published_version: it.published_version,
            job: it.job,
            remote_id: it.remote_id,
            scheduled_for: it.scheduled_for,
            created_at: it.created_at,
            completed_at: it.completed_at,
            entities: it.entities,
            expected_entities: it.expected_entities,
            entity_type: it.entity_type,
            primary_key: it.primary_key,
            columns: it.columns,
            content: it.content,
            stored: it.stored,
            suspicious: it.suspicious,
            notes: it.notes,
            same_content_as: it.same_content_as,
            generator: it.generator,
            unreadable: it.unreadable,
            unproven: it.unproven,
        }
    }
}

/// A member that may be `null`, but not be missing.
fn promised<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer)
}
