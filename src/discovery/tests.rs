use super::*;
use crate::config::{self, Environment};
use crate::service::ListedSource;
use chrono::{DateTime, Utc};
use proptest::prelude::*;
use std::path::Path;
use tempfile::TempDir;

/// An account with two sources, one of them of a version, and another account with one.
const CONFIGURED: &str = r#"
    state_dir = "state"
    [accounts.contoso]
    key_env = "UNUSED"
    [accounts.fabrikam]
    key_env = "UNUSED"
    discover = false
    [[sources]]
    name = "stores"
    account = "contoso"
    access_id = "20181f26"
    data_source = "Stores"
    schedule = "@daily"
    [[sources]]
    name = "old"
    account = "contoso"
    access_id = "20181f26"
    data_source = "Depots"
    job_id = "5bb0"
    schedule = "@daily"
    [[sources]]
    name = "theirs"
    account = "fabrikam"
    access_id = "77"
    data_source = "Theirs"
    schedule = "@daily"
"#;

fn settings(folder: &Path) -> Settings {
    config::parse(CONFIGURED, &folder.join("config.toml"), &Environment::default()).unwrap()
}

fn origin(access_id: &str, data_source: &str) -> Origin {
    Origin { access_id: access_id.into(), data_source: data_source.into(), version: None }
}

fn listed(access_id: &str, data_source: &str) -> ListedSource {
    ListedSource {
        origin: origin(access_id, data_source),
        keys: vec![("access_id", access_id.to_owned()), ("data_source", data_source.to_owned())],
    }
}

/// Which listed data sources are backed up, and which sources are gone.
fn compared(listing: &[ListedSource]) -> (Vec<(String, Option<String>)>, Vec<String>) {
    let settings = settings(Path::new("/nowhere"));
    let account = &settings.accounts["contoso"];
    let comparison = compare(&settings, account, listing, |one| &one.origin);
    let listed = comparison
        .listed
        .iter()
        .map(|one| (one.listed.origin.data_source.clone(), one.source.map(str::to_owned)));
    (listed.collect(), comparison.gone.iter().map(ToString::to_string).collect())
}

#[test]
fn a_listing_is_compared_as_the_service_compares_names() {
    let pair = |name: &str, source: Option<&str>| (name.to_owned(), source.map(str::to_owned));
    let found = compared(&[
        listed("20181F26", "STORES"),
        listed("20181f26", "Stores"),
        listed("20181f26", "Depots"),
        listed("20181f27", "Stores"),
        listed("77", "Theirs"),
    ]);
    assert_eq!(
        found.0,
        [
            pair("STORES", Some("stores")),
            // A version of it is backed up.
            pair("Depots", Some("old")),
            pair("Stores", None),
            // Another account does it.
            pair("Theirs", Some("theirs")),
        ]
    );
    assert_eq!(found.1, Vec::<String>::new());
    // What the other account has is no concern of this one's listing.
    assert_eq!(compared(&[]), (Vec::new(), vec!["stores".to_owned(), "old".to_owned()]));
}

/// What is proposed for these data sources, and what cannot be.
fn proposed(listing: &[ListedSource], taken: &[&str]) -> Proposals {
    let settings = settings(Path::new("/nowhere"));
    let account = &settings.accounts["contoso"];
    let comparison = compare(&settings, account, listing, |one| &one.origin);
    let mut names = Names::beside(taken.iter().map(|name| (*name).to_owned()));
    proposals(&comparison, account, SCHEDULE, &mut names)
}

#[test]
fn a_proposal_is_a_table_of_the_configuration() {
    let found = proposed(&[listed("abc-1", "Fourth$Coffee")], &[]);
    assert_eq!(
        found.sources[0].to_string(),
        "[[sources]]\nname = \"fourth-coffee\"\naccount = \"contoso\"\naccess_id = \"abc-1\"\n\
         data_source = \"Fourth$Coffee\"\nschedule = \"0 2 * * *\"\n"
    );
    assert_eq!(found.impossible, Vec::<String>::new());
}

#[test]
fn proposed_names_are_unique_and_valid() {
    let listing = [
        listed("a", "Läden"),
        listed("a", "L-den"),
        listed("b", "läden"),
        listed("a", "$$$"),
        listed("a", "`{}`"),
        listed("a", "Stores"),
        listed("a", "_Under"),
    ];
    let found = proposed(&listing, &["stores", "l-den-2"]);
    let names: Vec<_> = found.sources.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["l-den", "l-den-3", "l-den-4", "source", "source-2", "stores-2", "under"]);
}

#[test]
fn what_the_configuration_would_not_read_as_listed_is_not_proposed() {
    for name in [
        "",
        "a\"b",
        "a\nb",
        "a\u{1b}[2Jb",
        "a'''b",
        "a\\b",
        "../../etc",
        "x\"\n[accounts.evil]\nkey_env = \"PATH",
        &"x".repeat(51),
    ] {
        let found = proposed(&[listed("a", name)], &[]);
        assert_eq!((found.sources.len(), found.impossible), (0, vec![name.to_owned()]), "{name:?}");
    }
    for access_id in ["", "a/b", "a b", "ä", "a\"b"] {
        let found = proposed(&[listed(access_id, "Stores")], &[]);
        assert_eq!(found.sources, [], "{access_id:?}");
    }
}

#[test]
fn ten_thousand_data_sources_get_as_many_names() {
    let listing: Vec<_> = (0..10_000).map(|at| listed(&format!("{at:x}"), "Same")).collect();
    let found = proposed(&listing, &[]);
    let names: BTreeSet<_> = found.sources.iter().map(|it| it.name.clone()).collect();
    assert_eq!(names.len(), 10_000);
    assert!(names.contains("same") && names.contains("same-10000"));
}

proptest! {
    /// All proposals together are a configuration in which nothing that is listed is missing.
    #[test]
    fn the_configuration_with_every_proposal_lacks_nothing(
        names in prop::collection::vec("[A-Za-z0-9~`!$^_={}äß-]{1,50}", 0..20),
    ) {
        let listing: Vec<_> =
            names.iter().enumerate().map(|(at, name)| listed(&format!("{}", at % 3), name)).collect();
        let taken = ["stores", "old", "theirs"];
        let Proposals { sources, impossible } = proposed(&listing, &taken);
        prop_assert_eq!(impossible, Vec::<String>::new());
        let tables: String = sources.iter().map(|it| format!("\n{it}")).collect();
        let text = format!("{CONFIGURED}{tables}");
        let file = Path::new("/nowhere/config.toml");
        let settings = config::parse(&text, file, &Environment::default()).unwrap();
        let comparison =
            compare(&settings, &settings.accounts["contoso"], &listing, |one| &one.origin);
        prop_assert!(comparison.listed.iter().all(|one| one.source.is_some()));
    }

    #[test]
    fn every_text_gives_a_name_that_a_source_may_have(text in ".{0,200}", ascii in "[ -~]{0,90}") {
        for text in [text, ascii] {
            let name = name_for(&text);
            prop_assert!(crate::archive::is_source(&name), "{name:?}");
            let numbered = format!("{name}-1000000");
            prop_assert!(crate::archive::is_source(&numbered), "{numbered:?}");
        }
    }
}

fn noon() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-25T12:00:00Z").unwrap().to_utc()
}

fn kept(settings: &Settings, account: &str, sources: &[Origin]) -> BTreeMap<String, KeptListing> {
    let endpoint = settings.accounts[account].endpoint.to_string();
    let listing = KeptListing { read_at: noon(), endpoint, sources: sources.to_vec() };
    BTreeMap::from([(account.to_owned(), listing)])
}

#[test]
fn a_kept_listing_counts_against_the_configuration_as_it_is() {
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    assert_eq!(looks(&settings), []);
    let sources = [origin("20181f26", "Depots"), origin("20181f26", "New")];
    keep(&settings, kept(&settings, "contoso", &sources)).unwrap();
    // The other account is not looked at.
    keep(&settings, kept(&settings, "fabrikam", &sources)).unwrap();
    let found = looks(&settings);
    let look = AccountLook {
        account: "contoso".to_owned(),
        read_at: noon(),
        unprotected: vec!["New".to_owned()],
        gone: vec!["stores".to_owned()],
    };
    assert_eq!(found, std::slice::from_ref(&look));
    let text = CONFIGURED.replace("data_source = \"Stores\"", "data_source = \"New\"");
    let file = folder.path().join("config.toml");
    let newer = config::parse(&text, &file, &Environment::default()).unwrap();
    assert_eq!(looks(&newer), [AccountLook { unprotected: vec![], gone: vec![], ..look }]);
    // Of another address nothing is known.
    let mut moved = settings.clone();
    moved.accounts.get_mut("contoso").unwrap().endpoint = "https://example.org".parse().unwrap();
    assert_eq!(looks(&moved), []);
}

#[test]
fn an_account_that_left_the_configuration_is_forgotten_and_a_damaged_file_is_replaced() {
    let folder = TempDir::new().unwrap();
    let mut settings = settings(folder.path());
    settings.accounts.get_mut("fabrikam").unwrap().discover = true;
    keep(&settings, kept(&settings, "fabrikam", &[])).unwrap();
    assert_eq!(looks(&settings)[0].gone, ["theirs"]);
    let mut fewer = settings.clone();
    fewer.accounts.remove("fabrikam");
    keep(&fewer, kept(&settings, "contoso", &[])).unwrap();
    let accounts: Vec<_> = looks(&settings).into_iter().map(|look| look.account).collect();
    assert_eq!(accounts, ["contoso"]);
    std::fs::write(settings.state_dir.join("listings.json"), "{").unwrap();
    assert_eq!(looks(&settings), []);
    keep(&settings, kept(&settings, "contoso", &[])).unwrap();
    assert_eq!(looks(&settings).len(), 1);
}
