//! What a restore will do, from what is known before it: shown, and then carried out.

use super::document::Document;
use super::doubts::doubts;
use crate::cli::destination::{first, named};
use crate::dataset::Unproven;
use crate::service::{ListedVersion, LoadRules, VersionState};

/// What the user asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Whether only some entities are loaded.
    pub(super) only: bool,
    pub(super) publish: bool,
    pub(super) safety: bool,
    pub(super) verify: bool,
}

/// The snapshot that is restored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chosen<'a> {
    /// As messages name it: `SOURCE@NAME`.
    pub(super) name: &'a str,
    /// The source that it belongs to.
    pub(super) source: &'a str,
    /// What the data was called at the service.
    pub(super) remote_name: &'a str,
    /// Why it is suspicious.
    pub(super) suspicious: &'a [String],
    /// What could not be validated of it.
    pub(super) unproven: &'a [Unproven],
}

/// What would be changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// The source's name in the configuration.
    pub(super) source: &'a str,
    /// Its name at the service.
    pub(super) remote_name: &'a str,
    pub(super) account: &'a str,
    /// The version that the source is configured to be, instead of what is published.
    pub(super) fixed_version: Option<&'a str>,
    /// What the service has; `None` where it knows no such data source.
    pub(super) versions: Option<&'a [ListedVersion]>,
    pub(super) rules: LoadRules,
}

/// What is to be shown before a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) title: String,
    /// What will happen, in order.
    pub(super) steps: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// How many remote jobs it takes at least.
    pub(super) remote_jobs: usize,
}

/// Why there can be no restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Other arguments may do.
    Arguments(String),
    /// The service cannot take it.
    Impossible(String),
}

/// The plan of a restore of this snapshot.
pub(super) fn plan(
    snapshot: &Chosen<'_>,
    document: &Document,
    target: &Target<'_>,
    asked: Asked,
) -> Result<Plan, Refusal> {
    check(document, target, asked)?;
    let Target { source, remote_name, account, .. } = target;
    let (entities, bytes) = (counted(document.entities, "entity", "entities"), document.bytes);
    let part = if asked.only { "a part of " } else { "" };
    let title = format!(
        "Restore {part}{} ({entities}, {bytes} bytes) to {source}: the data source \
         {remote_name} of account {account}",
        snapshot.name
    );
    Ok(Plan {
        title,
        steps: steps(target, asked, &entities),
        warnings: warnings(snapshot, document, target, asked),
        remote_jobs: [asked.safety, true, asked.verify, asked.publish]
            .into_iter()
            .filter(|is_part| *is_part)
            .count(),
    })
}

fn check(document: &Document, target: &Target<'_>, asked: Asked) -> Result<(), Refusal> {
    let Target { source, remote_name, rules, .. } = target;
    if let Some(key) = document.missing.first() {
        let more = match document.missing.len() - 1 {
            0 => String::new(),
            others => format!(", nor {others} others of those that were named"),
        };
        return Err(Refusal::Arguments(format!("the snapshot has no entity {key}{more}")));
    }
    if let Some(version) = target.fixed_version {
        return Err(Refusal::Arguments(format!(
            "{source} is configured as version {version} of {remote_name} at the service, and a \
             restore changes what is published: name a source that is configured without a version"
        )));
    }
    if document.bytes > rules.bytes {
        return Err(Refusal::Impossible(format!(
            "the service takes at most {} bytes in one load, and this is {} bytes",
            rules.bytes, document.bytes
        )));
    }
    if document.entities > rules.entities {
        return Err(Refusal::Impossible(format!(
            "the service takes at most {} entities in one load, and these are {}",
            rules.entities, document.entities
        )));
    }
    if asked.only && asked.publish && asked.verify && !asked.safety {
        return Err(Refusal::Arguments(
            "without the safety backup, the entities that are not named would be published without \
             being compared: leave out --no-safety or --publish, or say --no-verify too"
                .to_owned(),
        ));
    }
    let has_published = target.published().is_some();
    if asked.only && !has_published {
        return Err(Refusal::Arguments(format!(
            "{remote_name} publishes nothing to which some entities could be added: restore the \
             whole snapshot, without --only"
        )));
    }
    if asked.safety && !has_published {
        return Err(Refusal::Arguments(format!(
            "{remote_name} publishes nothing that could be backed up first: --no-safety restores \
             without that"
        )));
    }
    Ok(())
}

impl Target<'_> {
    fn published(&self) -> Option<&ListedVersion> {
        first(self.versions?, VersionState::Published)
    }

    fn staged(&self) -> Option<&ListedVersion> {
        first(self.versions?, VersionState::Staged)
    }
}

fn steps(target: &Target<'_>, asked: Asked, entities: &str) -> Vec<String> {
    let Target { source, remote_name, .. } = target;
    let mut steps = vec![
        "The snapshot is read again and checked against its manifest. It is held until the restore \
         has ended."
            .to_owned(),
    ];
    let published = target.published().map(named);
    if let Some(published) = published.as_ref().filter(|_| asked.safety) {
        steps.push(format!(
            "What {remote_name} publishes now, version {published}, is backed up and held: the \
             safety backup."
        ));
    }
    let loaded = match (asked.only, target.versions) {
        (true, _) => format!(
            "A staged version is made of what is published, with {entities} of the snapshot added \
             or replaced."
        ),
        (false, Some(_)) => {
            "The snapshot's exact bytes are loaded as the staged version.".to_owned()
        }
        (false, None) => format!(
            "The snapshot's exact bytes are loaded, which creates the data source {remote_name} \
             with a staged version."
        ),
    };
    let overwritten = match target.staged().map(named) {
        Some(staged) => format!(" It OVERWRITES version {staged}, which is staged now."),
        None => String::new(),
    };
    steps.push(loaded + &overwritten);
    if asked.verify {
        let what = match asked.only {
            true if asked.safety => {
                "its entities are compared with the snapshot, all others with the safety backup"
            }
            true => "its entities are compared with the snapshot, the others with nothing",
            false => "it is compared with the snapshot",
        };
        steps.push(format!(
            "The staged version is exported, and {what}. If anything differs, the restore fails \
             and nothing is published."
        ));
    }
    steps.push(match (asked.publish, published) {
        (true, Some(published)) => format!(
            "The staged version is PUBLISHED in place of version {published}, which becomes an \
             older version."
        ),
        (true, None) => "The staged version is PUBLISHED.".to_owned(),
        (false, _) => format!(
            "The staged version stays staged, and queries answer as before, until `nightjar \
             publish {source} JOB_ID` publishes it. The service deletes it after {} days.",
            target.rules.staged_days
        ),
    });
    steps
}

fn warnings(
    snapshot: &Chosen<'_>,
    document: &Document,
    target: &Target<'_>,
    asked: Asked,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let Target { source, remote_name, .. } = target;
    let origin = snapshot.remote_name;
    if snapshot.source != *source {
        warnings.push(format!(
            "the snapshot is of another source, {} ({origin}), not of {source} ({remote_name})",
            snapshot.source
        ));
    } else if !origin.eq_ignore_ascii_case(remote_name) {
        warnings.push(format!(
            "the snapshot is of the data source {origin}; {source} is {remote_name} today"
        ));
    }
    for reason in snapshot.suspicious {
        warnings.push(format!("the snapshot is suspicious: {reason}"));
    }
    for unproven in snapshot.unproven {
        warnings.push(format!(
            "the snapshot's {} could not be validated when it was made: the service may refuse it",
            match unproven {
                Unproven::Keys => "primary keys",
                Unproven::Schema => "agreement with its schema",
            }
        ));
    }
    if target.versions.is_none() {
        warnings.push(format!(
            "the service knows no data source {remote_name} of the configured id. One that a load \
             creates may get another id: then the restore ends without publishing, and the \
             configuration needs the new one, which the job's timeline names"
        ));
    }
    if !asked.safety {
        warnings.push("what is published now is not backed up first (--no-safety)".to_owned());
    }
    if !asked.verify {
        warnings.push("the staged version is not compared with the snapshot (--no-verify)".into());
    } else if asked.only && !asked.safety {
        warnings.push(
            "without a safety backup, entities that are not named cannot be compared with what was \
             published"
                .to_owned(),
        );
    }
    warnings.extend(doubts(document, &target.rules));
    warnings
}

pub(super) fn counted(number: u64, one: &str, several: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number => format!("{number} {several}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::doubts::tests::{document, rules};
    use super::*;

    const ALL: Asked = Asked { only: false, publish: true, safety: true, verify: true };

    const SNAPSHOT: Chosen<'_> = Chosen {
        name: "stores@20261125T020000Z-1",
        source: "stores",
        remote_name: "Stores",
        suspicious: &[],
        unproven: &[],
    };

    fn version(id: &str, state: VersionState) -> ListedVersion {
        ListedVersion { id: id.to_owned(), state, date: None }
    }

    fn versions() -> Vec<ListedVersion> {
        vec![version("p1", VersionState::Published), version("s1", VersionState::Staged)]
    }

    fn target(versions: Option<&[ListedVersion]>) -> Target<'_> {
        Target {
            source: "stores",
            remote_name: "Stores",
            account: "contoso",
            fixed_version: None,
            versions,
            rules: LoadRules { bytes: 1000, entities: 20, ..rules() },
        }
    }

    fn planned(asked: Asked) -> Plan {
        plan(&SNAPSHOT, &document(), &target(Some(&versions())), asked).unwrap()
    }

    fn has(lines: &[String], words: &str) -> bool {
        lines.iter().any(|line| line.contains(words))
    }

    #[test]
    fn a_plan_says_what_is_overwritten_and_what_is_replaced() {
        let whole = planned(ALL);
        assert_eq!((whole.steps.len(), whole.remote_jobs), (5, 4));
        assert!(has(&whole.steps, "version p1, is backed up"), "{whole:?}");
        assert!(has(&whole.steps, "OVERWRITES version s1"), "{whole:?}");
        assert!(has(&whole.steps, "compared with the snapshot"), "{whole:?}");
        assert!(has(&whole.steps, "PUBLISHED in place of version p1"), "{whole:?}");
        assert_eq!(whole.warnings, Vec::<String>::new());
        assert!(whole.title.contains("20 entities, 1000 bytes"), "{}", whole.title);

        let staged = planned(Asked { publish: false, ..ALL });
        assert!(has(&staged.steps, "stays staged"), "{staged:?}");
        assert!(!has(&staged.steps, "PUBLISHED"), "{staged:?}");

        let least = planned(Asked { only: false, publish: false, safety: false, verify: false });
        assert_eq!((least.steps.len(), least.remote_jobs), (3, 1));
        assert!(has(&least.warnings, "--no-safety"), "{least:?}");
        assert!(has(&least.warnings, "--no-verify"), "{least:?}");
    }

    #[test]
    fn a_part_is_compared_with_two_snapshots() {
        let part = planned(Asked { only: true, ..ALL });
        assert!(part.title.starts_with("Restore a part of "), "{}", part.title);
        assert!(has(&part.steps, "all others with the safety backup"), "{part:?}");
        let alone = planned(Asked { only: true, safety: false, publish: false, ..ALL });
        assert!(has(&alone.warnings, "cannot be compared"), "{alone:?}");
    }

    #[test]
    fn what_the_service_cannot_take_is_refused() {
        let versions = versions();
        let refused = |document: &Document, target: &Target<'_>, asked: Asked| match plan(
            &SNAPSHOT, document, target, asked,
        )
        .unwrap_err()
        {
            Refusal::Arguments(message) => ("arguments", message),
            Refusal::Impossible(message) => ("impossible", message),
        };
        let published = target(Some(&versions));
        let staged_only = [version("s1", VersionState::Staged)];
        let unpublished = target(Some(&staged_only));
        let fixed = Target { fixed_version: Some("0123"), ..published };
        let part = Asked { only: true, ..ALL };
        let bare = Asked { safety: false, ..ALL };
        let missing = Document { missing: vec!["a".into(), "b".into()], ..document() };
        for (document, target, asked, kind, words) in [
            (Document { bytes: 1001, ..document() }, published, ALL, "impossible", "1001 bytes"),
            (Document { entities: 21, ..document() }, published, ALL, "impossible", "are 21"),
            (missing, published, part, "arguments", "no entity a, nor 1 others"),
            (document(), fixed, ALL, "arguments", "without a version"),
            (document(), unpublished, ALL, "arguments", "--no-safety"),
            (document(), self::target(None), ALL, "arguments", "--no-safety"),
            (
                document(),
                unpublished,
                Asked { only: true, publish: false, ..bare },
                "arguments",
                "--only",
            ),
            (document(), published, Asked { only: true, ..bare }, "arguments", "--no-verify"),
        ] {
            let (found, message) = refused(&document, &target, asked);
            assert_eq!(found, kind, "{message}");
            assert!(message.contains(words), "{message}");
        }
        let unverified = Asked { only: true, verify: false, ..bare };
        assert!(plan(&SNAPSHOT, &document(), &published, unverified).is_ok());
        let created = plan(&SNAPSHOT, &document(), &self::target(None), bare).unwrap();
        assert!(has(&created.steps, "creates the data source Stores"), "{created:?}");
        assert!(has(&created.warnings, "another id"), "{created:?}");
    }

    #[test]
    fn what_is_doubtful_about_the_snapshot_is_a_warning() {
        let versions = versions();
        let warnings = |snapshot: &Chosen<'_>| {
            plan(snapshot, &document(), &target(Some(&versions)), ALL).unwrap().warnings
        };
        let suspicious = ["half of it is gone".to_owned()];
        let unproven = [Unproven::Keys];
        let other = Chosen { source: "others", suspicious: &suspicious, ..SNAPSHOT };
        let other = Chosen { unproven: &unproven, ..other };
        let others = warnings(&other);
        assert!(has(&others, "suspicious: half of it is gone"), "{others:?}");
        assert!(has(&others, "of another source, others"), "{others:?}");
        assert!(has(&others, "primary keys could not be validated"), "{others:?}");
        assert_eq!(others.len(), 3);
        let renamed = warnings(&Chosen { remote_name: "Shops", ..SNAPSHOT });
        assert_eq!(renamed, ["the snapshot is of the data source Shops; stores is Stores today"]);
    }
}
