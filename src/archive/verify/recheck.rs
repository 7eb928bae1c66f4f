//! A second look at every finding.

use super::Finding;
use super::survey::Survey;
use crate::archive::Archive;
use crate::manifest::Name;
use std::collections::{BTreeMap, BTreeSet};

impl Survey {
    /// Checks every finding once more: changes that a backup, a prune or a hold made meanwhile are
    /// not findings.
    pub(super) fn recheck(&mut self, archive: &Archive) {
        let mut sources: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
        for finding in std::mem::take(&mut self.findings) {
            match &finding.source {
                Some(source) => sources.entry(source.clone()).or_default().push(finding),
                None => self.findings.push(finding),
            }
        }
        for (source, findings) in sources {
            let folder = archive.open_source(&source);
            let Ok(Some(folder)) = folder else {
                self.findings.extend(findings);
                continue;
            };
            // The lock keeps this out of the middle of another process's change.
            let _whole = folder.lock();
            let is_there = |file: &str| folder.metadata(file).is_ok();
            let mut gone: BTreeSet<String> = BTreeSet::new();
            for finding in findings {
                let file = finding.file.file_name().and_then(|file| file.to_str());
                let name = finding.snapshot.as_deref().and_then(|it| it.parse::<Name>().ok());
                match (finding.kind, name) {
                    ("latest", _) => {
                        if let Ok(Some(newest)) = archive.latest_name(&source) {
                            self.latest(&source, &folder, newest);
                        }
                        continue;
                    }
                    // It has become a complete snapshot, or is gone.
                    ("orphan", Some(name)) if is_there(&name.manifest()) => continue,
                    ("orphan" | "unfinished" | "foreign", _)
                        if finding.file != folder.path()
                            && file.is_some_and(|file| !is_there(file)) =>
                    {
                        continue;
                    }
                    ("orphan", _) => {}
                    (_, Some(name)) if !is_there(&name.manifest()) => {
                        gone.insert(name.to_string());
                        continue;
                    }
                    _ => {}
                }
                self.findings.push(finding);
            }
            self.checked = self.checked.saturating_sub(gone.len());
        }
    }
}
