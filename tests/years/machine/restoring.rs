//! Users who restore.

use super::Machine;
use nightjar::job::{Goal, Restore, RestoredSnapshot, Trigger};
use nightjar::store::NewJob;

impl Machine {
    /// A user runs `restore`, `publish` or `rollback`, and leaves the work to the daemon.
    pub(super) fn restore_by_hand(&mut self) {
        let sources = &self.settings.sources;
        let one = |what| &sources[(self.chance(what) * sources.len() as f64) as usize];
        let (source, from) = (one("restored to"), one("restored from"));
        let Some(process) = self.processes.iter().flatten().find(|it| it.stopped.is_none()) else {
            return;
        };
        let destination = self.settings.requested(source);
        let versions = self.service.world().changes.versions(source.target.origin().name());
        let restore = match self.chance("goal") {
            0.0..0.8 => {
                let names = process.archive.names(&from.name).unwrap_or_default();
                let name = names.get((self.chance("snapshot") * names.len() as f64) as usize);
                let Some(snapshot) = name.and_then(|name| process.archive.find(&from.name, *name))
                else {
                    return;
                };
                let manifest = &snapshot.manifest;
                let snapshot = RestoredSnapshot {
                    manifest: snapshot.path.clone(),
                    source: from.name.clone(),
                    sha256: manifest.content.sha256.clone(),
                    bytes: manifest.content.bytes,
                    entities: manifest.entities,
                };
                Restore {
                    snapshot: Some(snapshot),
                    safety: self.chance("safety") < 0.9,
                    verify: self.chance("verifies") < 0.9,
                    publish: self.chance("publishes") < 0.7,
                    ..Restore::new(Goal::Load, destination)
                }
            }
            0.8..0.9 => {
                let Some(staged) = versions.staged else { return };
                Restore { version: Some(staged.id), ..Restore::new(Goal::Publish, destination) }
            }
            _ => {
                let Some(older) = versions.older.first() else { return };
                let version = Some(older.id.clone());
                Restore { version, ..Restore::new(Goal::RollBack, destination) }
            }
        };
        let new = NewJob {
            source: source.name.clone(),
            account: source.account.clone(),
            trigger: Trigger::Manual,
            note: "made by hand".to_owned(),
        };
        let created = process.store.create_restore(new, restore, self.clock.now());
        // Refused by a disk that fails, or because the source has a live job: the command says so.
        drop(process.runtime.block_on(created));
    }
}
