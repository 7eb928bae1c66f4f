//! The promises of restores: nothing unproven is published, and what was published before can be
//! had back.

use crate::documents::DOCUMENTS;
use crate::promises::Promises;
use crate::service::Service;
use crate::versions::Publication;
use nightjar::archive::Archive;
use nightjar::job::{Goal, Job, Operation, Restore, State};
use nightjar::manifest::Role;
use nightjar::store::{Store, StoreError};

impl Promises {
    /// Every version that one of ours has asked to be published is what its job may publish.
    pub(crate) async fn check_publications(
        &mut self,
        store: &Store,
        archive: &Archive,
        service: &Service,
    ) -> Result<(), StoreError> {
        let fresh: Vec<Publication> = {
            let world = service.world();
            world.changes.publications.iter().skip(self.publications).cloned().collect()
        };
        for publication in fresh {
            let name = publication.source.to_lowercase();
            let job = store.newest_restore(&name).await?;
            self.publications += 1;
            let Some((job, restore)) = job.and_then(|job| Some((job.clone(), job.restore?))) else {
                self.broken.push(format!("no restore has asked for this: {publication:?}"));
                continue;
            };
            self.check_publication(&publication, &job, &restore);
            if restore.goal == Goal::Load && restore.safety {
                self.check_safety(&name, &publication, &job, archive, service);
            }
        }
        let invented = service.world().changes.invented;
        self.expect(invented == 0, || "a load had bytes that no export ever had".to_owned());
        Ok(())
    }

    fn check_publication(&mut self, publication: &Publication, job: &Job, restore: &Restore) {
        let Publication { version, is_unseen, at, .. } = publication;
        self.expect(restore.goal != Goal::Load || restore.publish, || {
            format!("job {} published what it was only to stage", job.id)
        });
        let wanted = restore.snapshot.as_ref().and_then(|snapshot| {
            DOCUMENTS.iter().find(|document| document.sha256 == snapshot.sha256)
        });
        let is_right = match (restore.goal, wanted) {
            (Goal::Load, Some(wanted)) => !restore.verify || version.document.equals(wanted),
            (Goal::Load, None) => false,
            (Goal::Publish | Goal::RollBack, _) => restore.version.as_ref() == Some(&version.id),
        };
        // What another user stages after the last look cannot be seen.
        self.expect(is_right || *is_unseen, || {
            format!("job {} published {version:?} at {at}, and is {restore:?}", job.id)
        });
    }

    /// What was published when the restore began is in the archive, held.
    fn check_safety(
        &mut self,
        source: &str,
        publication: &Publication,
        job: &Job,
        archive: &Archive,
        service: &Service,
    ) {
        let path = job.snapshot.clone();
        let names = archive.names(source).unwrap_or_default();
        let of_job = names.iter().find(|name| name.job() == job.id);
        let found = of_job.and_then(|name| archive.find(source, *name).map(|it| (*name, it)));
        let Some((name, snapshot)) = found else {
            self.broken
                .push(format!("job {} publishes without its safety backup {path:?}", job.id));
            return;
        };
        self.expect(snapshot.manifest.role == Role::Safety, || {
            format!("the backup of job {} is not marked as a safety backup", job.id)
        });
        let sha256 = &snapshot.manifest.content.sha256;
        let world = service.world();
        let was_published = world.changes.was_published(&publication.source, sha256);
        drop(world);
        self.expect(was_published, || {
            format!("the safety backup of job {} is of what was never published", job.id)
        });
        let is_held = job.state == State::Archived || archive.hold_of(source, name).is_some();
        self.expect(is_held, || format!("the safety backup of job {} is not held", job.id));
    }

    /// At the end: restores have ended, and those that say that they are done are.
    pub(crate) async fn check_restores(
        &mut self,
        store: &Store,
        jobs: &[Job],
        service: &Service,
    ) -> Result<(), StoreError> {
        for job in jobs.iter().filter(|job| job.operation == Operation::Restore) {
            let Some(restore) = &job.restore else {
                self.broken.push(format!("job {} is a restore of nothing", job.id));
                continue;
            };
            if !job.state.is_final() {
                let mut timeline = store.timeline(job.id).await?;
                let last = timeline.split_off(timeline.len().saturating_sub(5));
                self.broken.push(format!("job {} has not ended: {job:?}; {last:#?}", job.id));
            }
            if job.state != State::Archived {
                continue;
            }
            self.restored += 1;
            let world = service.world();
            let loaded = restore.version.as_ref().and_then(|id| world.changes.loaded(id));
            let wanted = restore.snapshot.as_ref().and_then(|snapshot| {
                DOCUMENTS.iter().find(|document| document.sha256 == snapshot.sha256)
            });
            drop(world);
            let is_done = match (restore.goal, loaded, wanted) {
                (Goal::Load, Some(loaded), Some(wanted)) => {
                    !restore.verify || loaded.equals(wanted)
                }
                (Goal::Load, ..) => false,
                _ => true,
            };
            self.expect(is_done, || {
                format!("job {} says that it is done, and is not: {restore:?}, {loaded:?}", job.id)
            });
        }
        let unreleased = store.unreleased().await?;
        self.expect(unreleased.is_empty(), || {
            format!("{} ended restores still hold snapshots", unreleased.len())
        });
        Ok(())
    }
}
