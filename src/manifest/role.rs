//! What a snapshot is for.

use serde::ser::{Serialize, SerializeMap, Serializer};

/// What a snapshot is for. Only ordinary ones are a source's backups: its newest, its baseline and
/// its health mean no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// A backup of what the source asks for.
    #[default]
    Ordinary,
    /// What the service published before a restore.
    Safety,
    /// Another version than the one that the source asks for.
    Version,
}

impl Role {
    /// The role that the members of a manifest say.
    pub(super) fn of(members: RoleMembers) -> Role {
        match members {
            RoleMembers { safety: true, .. } => Role::Safety,
            RoleMembers { other_version: true, .. } => Role::Version,
            RoleMembers { .. } => Role::Ordinary,
        }
    }

    /// Whether it is a backup of what the source asks for.
    pub fn is_ordinary(self) -> bool {
        self == Role::Ordinary
    }
}

/// The members that say it. A manifest has one of them only where it is true, so that an ordinary
/// snapshot's is as it always was, and older versions of this program read every one.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoleMembers {
    pub(super) safety: bool,
    pub(super) other_version: bool,
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        match self {
            Role::Ordinary => {}
            Role::Safety => members.serialize_entry("safety", &true)?,
            Role::Version => members.serialize_entry("other_version", &true)?,
        }
        members.end()
    }
}
