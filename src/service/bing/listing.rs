//! What the account has: its data sources, and the versions of one.

use super::address::Addresses;
use super::atom::{self, Workspace};
use super::classify::RequestKind;
use super::kind::version_id;
use super::wire::Answer;
use super::{Bing, DataSource, data_source};
use crate::manifest::Origin;
use crate::service::http::{Connection, host_and_port};
use crate::service::{
    Failure, FailureKind, ListedSource, ListedVersion, Listing, Target, VersionState,
};
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use std::cmp::Reverse;
use std::collections::HashSet;
use url::Url;

/// The most bytes of a listing that are read: about a hundred times the largest one of an account
/// within its limits.
pub(super) const LISTING_LIMIT: usize = 8 << 20;
/// AtomPub has a media type of its own (RFC 5023, 8); documents name it, samples say XML.
const ATOM: &str = "application/atomsvc+xml, application/xml;q=0.9, */*;q=0.8";

impl Listing for Bing {
    fn sources(&self, now: DateTime<Utc>) -> BoxFuture<'_, Result<Vec<ListedSource>, Failure>> {
        Box::pin(async move {
            let (url, workspaces) =
                self.workspaces(self.addresses.sources(), RequestKind::Sources, now).await?;
            sources_of(&self.addresses, &workspaces)
                .and_then(|sources| self.without_key(sources))
                .map_err(|problem| unreadable(&url, problem))
        })
    }

    fn versions<'a>(
        &'a self,
        target: &'a Target,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Vec<ListedVersion>, Failure>> {
        Box::pin(async move {
            let source = data_source(target)?;
            let (url, workspaces) = self
                .workspaces(self.addresses.versions(source), RequestKind::Versions, now)
                .await?;
            let versions = versions_of(&self.addresses, source, &workspaces);
            let versions = versions.map_err(|problem| unreadable(&url, problem))?;
            if versions.iter().any(|version| self.tidy(&version.id) != version.id) {
                return Err(unreadable(&url, "names a version with an unusable identifier"));
            }
            Ok(versions)
        })
    }

    fn at_version(&self, target: &Target, version: &str) -> Result<Target, Failure> {
        let source = data_source(target)?;
        let Some(version) = version_id(version) else {
            let message = "no version of a data source can have this identifier";
            return Err(Failure::new(FailureKind::Rejected, message));
        };
        Ok(DataSource { version: Some(version), ..source.clone() }.into())
    }
}

impl Bing {
    async fn workspaces(
        &self,
        url: Url,
        request: RequestKind,
        now: DateTime<Utc>,
    ) -> Result<(Url, Vec<Workspace>), Failure> {
        let reply = self.ask(url, Connection::Pooled, ATOM, LISTING_LIMIT).await?;
        let classifier = self.classifier(request, now);
        if !reply.is_success() {
            return Err(classifier.failure(&reply));
        }
        if let Some(broken) = reply.broken {
            return Err(broken);
        }
        let answer = Answer::parse(&reply.body).ok();
        if let Some(failure) = answer.and_then(|it| classifier.contradiction(&reply, &it)) {
            return Err(failure);
        }
        if reply.body.len() >= LISTING_LIMIT {
            return Err(unreadable(&reply.url, atom::AtomError::TooLarge));
        }
        let workspaces = atom::read(&reply.body);
        match workspaces {
            Ok(workspaces) => Ok((reply.url, workspaces)),
            Err(error) => Err(unreadable(&reply.url, self.tidy(&error.to_string()))),
        }
    }

    /// Refuses names that hold the key: they would be stored and shown.
    fn without_key(&self, sources: Vec<ListedSource>) -> Result<Vec<ListedSource>, &'static str> {
        let is_clean = |text: &str| crate::secret::redact(text, &[&self.key]) == text;
        let clean = |source: &ListedSource| {
            is_clean(&source.origin.access_id) && is_clean(&source.origin.data_source)
        };
        if sources.iter().all(clean) { Ok(sources) } else { Err("lists a name that holds a key") }
    }
}

fn unreadable(url: &Url, problem: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Protocol, format!("{} {problem}", host_and_port(url)))
}

/// The data sources of an account, each once: one with several entity types or versions may be
/// listed several times. An error is the end of a sentence that begins with the host.
fn sources_of(
    addresses: &Addresses,
    workspaces: &[Workspace],
) -> Result<Vec<ListedSource>, &'static str> {
    let mut seen = HashSet::new();
    let mut sources = Vec::new();
    for workspace in workspaces {
        if workspace.addresses.is_empty() {
            return Err("lists a data source without its address");
        }
        for address in &workspace.addresses {
            let source = addresses
                .data_source_at(address)
                .ok_or("lists a data source whose address cannot be read")?;
            // Parameters are not case-sensitive, so two spellings are one data source.
            let identity = (source.access_id.to_lowercase(), source.data_source.to_lowercase());
            if seen.insert(identity) {
                sources.push(ListedSource {
                    origin: Origin {
                        access_id: source.access_id.clone(),
                        data_source: source.data_source.clone(),
                        version: None,
                    },
                    keys: vec![
                        ("access_id", source.access_id),
                        ("data_source", source.data_source),
                    ],
                });
            }
        }
    }
    Ok(sources)
}

/// The versions of a data source in their order, each once. An error is the end of a sentence that
/// begins with the host.
fn versions_of(
    addresses: &Addresses,
    source: &DataSource,
    workspaces: &[Workspace],
) -> Result<Vec<ListedVersion>, &'static str> {
    let is_ours = |address: &String| {
        addresses.data_source_at(address).is_some_and(|listed| {
            listed.access_id.eq_ignore_ascii_case(&source.access_id)
                && listed.data_source.to_lowercase() == source.data_source.to_lowercase()
        })
    };
    if !workspaces.iter().flat_map(|workspace| &workspace.addresses).all(is_ours) {
        return Err("lists versions of another data source");
    }
    let states = states(workspaces)?;
    let mut versions = Vec::new();
    for (workspace, state) in workspaces.iter().zip(states) {
        let id = workspace.job_id.clone().ok_or("lists a version without its job id")?;
        versions.push(ListedVersion { id, state, date: workspace.date });
    }
    versions.sort_by_key(|version| (version.state, Reverse(version.date)));
    // A version that was published again may be listed as an older one too.
    let mut seen = HashSet::new();
    versions.retain(|version| seen.insert(version.id.to_ascii_lowercase()));
    Ok(versions)
}

/// Where each version stands. A single one that does not say whether it is active is the published
/// one, as in listings without versions.
fn states(workspaces: &[Workspace]) -> Result<Vec<VersionState>, &'static str> {
    let is_staged = |workspace: &Workspace| workspace.is_staging == Some(true);
    let mut published = workspaces.iter().filter(|it| it.is_active == Some(true));
    let (first, second) = (published.next(), published.next());
    if second.is_some() || first.is_some_and(is_staged) {
        return Err("does not say which version is published");
    }
    let unclear = |workspace: &&Workspace| workspace.is_active.is_none() && !is_staged(workspace);
    let unclear_count = workspaces.iter().filter(unclear).count();
    if first.is_none() && unclear_count > 1 {
        return Err("does not say which version is published");
    }
    Ok(workspaces
        .iter()
        .map(|workspace| match workspace.is_active {
            _ if is_staged(workspace) => VersionState::Staged,
            Some(true) => VersionState::Published,
            None if first.is_none() => VersionState::Published,
            Some(false) | None => VersionState::Older,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        Addresses::new(&Url::parse("https://spatial.virtualearth.net/REST/v1").unwrap())
    }

    fn source() -> DataSource {
        DataSource { access_id: "2018".into(), data_source: "Stores".into(), version: None }
    }

    fn version(id: &str, is_active: Option<bool>, is_staging: Option<bool>, day: u32) -> Workspace {
        Workspace {
            is_active,
            is_staging,
            date: super::super::wire::date(&format!("2013-02-{day:02}T10:00:00Z")),
            job_id: Some(id.into()),
            addresses: vec!["https://h/REST/v1/data/2018/stores/Shops".into()],
        }
    }

    fn listed(workspaces: &[Workspace]) -> Result<Vec<(String, VersionState)>, &'static str> {
        let versions = versions_of(&addresses(), &source(), workspaces)?;
        Ok(versions.into_iter().map(|version| (version.id, version.state)).collect())
    }

    #[test]
    fn versions_are_ordered_by_state_and_age() {
        use VersionState::{Older, Published, Staged};
        let (yes, no) = (Some(true), Some(false));
        let undated = Workspace { date: None, ..version("e", no, no, 1) };
        let all = [
            version("a", no, no, 2),
            undated,
            version("b", no, no, 3),
            version("c", no, yes, 9),
            version("d", yes, no, 5),
        ];
        let expected = [("d", Published), ("c", Staged), ("b", Older), ("a", Older), ("e", Older)];
        assert_eq!(listed(&all).unwrap(), expected.map(|(id, state)| (id.to_owned(), state)));
        assert_eq!(listed(&[]), Ok(Vec::new()));
        // Published again, and listed twice.
        let again = [version("a", no, no, 2), version("A", yes, None, 5)];
        assert_eq!(listed(&again), Ok(vec![("A".to_owned(), Published)]));
        // A listing without versions says nothing about states.
        let single = [version("a", None, None, 2)];
        assert_eq!(listed(&single), Ok(vec![("a".to_owned(), Published)]));
        let beside_staged = [version("a", None, None, 2), version("b", None, yes, 3)];
        assert_eq!(listed(&beside_staged).unwrap()[0], ("a".to_owned(), Published));
        let unclear = [version("a", None, None, 2), version("b", yes, None, 3)];
        assert_eq!(listed(&unclear).unwrap()[1], ("a".to_owned(), Older));
        // Never published.
        assert_eq!(listed(&[version("a", no, yes, 2)]), Ok(vec![("a".to_owned(), Staged)]));
    }

    #[test]
    fn what_is_unclear_about_versions_is_an_error() {
        let (yes, no) = (Some(true), Some(false));
        let which = Err("does not say which version is published");
        assert_eq!(listed(&[version("a", yes, no, 1), version("b", yes, no, 2)]), which);
        assert_eq!(listed(&[version("a", yes, yes, 1)]), which);
        assert_eq!(listed(&[version("a", None, no, 1), version("b", None, no, 2)]), which);
        let nameless = Workspace { job_id: None, ..version("", yes, no, 1) };
        assert_eq!(listed(&[nameless]), Err("lists a version without its job id"));
        let elsewhere = Workspace {
            addresses: vec!["https://h/REST/v1/data/2018/Transit/Stops".into()],
            ..version("a", yes, no, 1)
        };
        let other = Err("lists versions of another data source");
        assert_eq!(listed(&[version("b", yes, no, 1), elsewhere]), other);
    }

    #[test]
    fn each_data_source_is_listed_once_with_its_keys() {
        let workspace = |addresses: &[&str]| Workspace {
            addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
            ..Workspace::default()
        };
        let listed = sources_of(
            &addresses(),
            &[
                workspace(&[
                    "http://h/REST/v1/data/2018/Stores/A",
                    "http://h/REST/v1/data/2018/Stores/B",
                ]),
                workspace(&["http://h/REST/v1/data/2018/stores/A"]),
                workspace(&["http://h/REST/v1/data/123a/T%7Bransit/Stops"]),
            ],
        )
        .unwrap();
        let names: Vec<_> = listed.iter().map(|it| it.origin.name()).collect();
        assert_eq!(names, ["Stores", "T{ransit"]);
        let target = Target::from(DataSource {
            access_id: "123a".into(),
            data_source: "T{ransit".into(),
            version: None,
        });
        assert_eq!(listed[1].origin, *target.origin());
        let keys = [("access_id", "123a".to_owned()), ("data_source", "T{ransit".to_owned())];
        assert_eq!(listed[1].keys, keys);
        for (addresses, problem) in [
            (&[][..], "lists a data source without its address"),
            (&["http://h/x"][..], "lists a data source whose address cannot be read"),
        ] {
            let all = [workspace(&["http://h/data/1/S"]), workspace(addresses)];
            assert_eq!(sources_of(&self::addresses(), &all), Err(problem));
        }
    }
}
