//! The words of the project (docs/glossary.md): words that are no longer used stay out of code,
//! comments, messages and documents, and comments fit into the width of the code.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

/// Words that are not used, each in every form, and what to write instead.
const RETIRED_WORDS: [(&str, &str); 33] = [
    ("adopt adopts adopted adopting", "import"),
    ("afresh anew", "again, new"),
    ("alarm alarms alarming", "alert"),
    ("aloft flights", "in flight"),
    ("anybody everybody", "any user, every user"),
    ("arrival arrivals", "download"),
    ("bury buries buried burying", "mark as ended"),
    ("estrange estranges estranged", "unconfigured"),
    ("fate fates", "decision"),
    ("flaw flaws", "error"),
    ("gate gates", "authentication, pause"),
    ("glance glances", "poll, check"),
    ("handed handing hands", "pass"),
    ("hear heard hearing hears", "receive"),
    ("herald heralds", "dispatcher"),
    ("house houses", "architecture, module"),
    ("hurry", "abort"),
    ("judge judges judged", "classify, decide"),
    ("kin", "related"),
    ("landed", "finished"),
    ("mend mended mending mends", "correct, repair"),
    ("mood moods", "fault"),
    ("news", "events, changes"),
    ("nobody", "no process, no user"),
    ("proof proofs prove proved proves proving", "validate, check"),
    ("room rooms", "space, capacity"),
    ("sealed", "with a checksum, with the key"),
    ("somebody", "a user, an administrator"),
    ("stranger strangers", "unconfigured source"),
    ("told", "sent, notified"),
    ("twin twins", "duplicate"),
    ("walls", "transitions"),
    ("whoever whomever", "the user who, any process that"),
];

/// Phrases that are not used, and what to write instead.
const RETIRED_PHRASES: [(&str, &str); 9] = [
    ("is well again", "has recovered"),
    ("keep house", "run maintenance"),
    ("keeps house", "runs maintenance"),
    ("look after", "maintain, renew"),
    ("looks after", "maintains, renews"),
    ("looking after", "maintaining, renewing"),
    ("pass_over", "record_missed"),
    ("passed_over", "record_missed"),
    ("what is wrong with", "the problem"),
];

/// Uses that stay: the file or folder, the word, and the reason.
const ALLOWED: [(&str, &str, &str); 7] = [
    ("docs/commands.md", "adopted", "a member of the JSON of `reindex`"),
    ("src/cli/reindex.rs", "adopted", "a member of the JSON of `reindex`"),
    ("src/simulator/synthetic.rs", "mended", "a word of generated prose"),
    ("src/store/", "alarms", "a table of the database"),
    ("src/store/alerts.rs", "told", "a column of the database"),
    ("src/store/alerts.rs", "heard", "a column of the database"),
    ("tests/cli/recovery.rs", "adopted", "a member of the JSON of `reindex`"),
];

/// What is not searched: files that keep their words, data, and this list itself.
const SKIPPED: [&str; 8] = [
    "Cargo.lock",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "migrations",
    "src/simulator/PLACES-LICENSE.md",
    "src/simulator/places.tsv",
    "tests/corpus",
    "tests/words.rs",
];

/// The longest line of a comment, in characters.
const WIDTH: usize = 100;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The project's own text files, as paths below its root.
fn texts() -> Vec<(String, String)> {
    let mut folders = vec![root().to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = relative(&path);
            let is_built = name == "target" || name == ".git" || name == "nightjar-demo";
            if is_built || SKIPPED.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push((name, text));
            }
        }
    }
    found
}

fn relative(path: &Path) -> String {
    let path: PathBuf = path.strip_prefix(root()).unwrap().into();
    path.to_str().unwrap().to_owned()
}

/// The words of a line in lower case, with the words of names such as `is_due` and `JobState`
/// apart.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut was_lower = false;
    for letter in line.chars() {
        if (!letter.is_ascii_alphabetic() || letter.is_ascii_uppercase() && was_lower)
            && !word.is_empty()
        {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_ascii_alphabetic() {
            word.push(letter.to_ascii_lowercase());
        }
        was_lower = letter.is_ascii_lowercase();
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// The retired words and phrases of a line.
fn retired(line: &str) -> Vec<(&'static str, &'static str)> {
    let lower = line.to_lowercase();
    let words = words(line);
    let mut found = Vec::new();
    for (forms, instead) in RETIRED_WORDS {
        let is_used = |form: &&str| words.iter().any(|word| word == form);
        found.extend(forms.split(' ').filter(is_used).map(|form| (form, instead)));
    }
    found.extend(RETIRED_PHRASES.iter().filter(|(phrase, _)| lower.contains(phrase)));
    found
}

#[test]
fn retired_words_are_recognised_in_prose_and_in_names() {
    let found = |line| retired(line).into_iter().map(|(word, _)| word).collect::<Vec<_>>();
    assert_eq!(found("/// Nobody is told."), ["nobody", "told"]);
    assert_eq!(found("fn told_once(alarms: &[AlarmKind])"), ["alarm", "alarms", "told"]);
    assert_eq!(found("What is wrong with it"), ["what is wrong with"]);
    assert_eq!(found("the gateway's hand, an unproven mushroom"), Vec::<&str>::new());
}

#[test]
fn every_listed_path_exists() {
    let allowed = ALLOWED.iter().map(|(path, ..)| path);
    let gone: Vec<_> = allowed.chain(&SKIPPED).filter(|path| !root().join(path).exists()).collect();
    assert!(gone.is_empty(), "listed, and gone: {gone:?}");
}

#[test]
fn no_retired_word_is_used() {
    let mut found = Vec::new();
    let texts = texts();
    assert!(texts.len() > 300, "only {} files", texts.len());
    for (name, text) in texts {
        for (number, line) in text.lines().enumerate() {
            for (word, instead) in retired(line) {
                let is_allowed = |(file, allowed, _): &(&str, &str, &str)| {
                    name.starts_with(file) && *allowed == word
                };
                if !ALLOWED.iter().any(is_allowed) {
                    found.push(format!("{name}:{}: `{word}`: {instead}", number + 1));
                }
            }
        }
    }
    found.sort();
    assert!(found.is_empty(), "{} retired words:\n{}", found.len(), found.join("\n"));
}

#[test]
fn comments_are_at_most_as_wide_as_the_code() {
    let mut found = Vec::new();
    for (name, text) in texts() {
        if !name.ends_with(".rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//");
            if is_comment && line.chars().count() > WIDTH && !line.contains("://") {
                found.push(format!("{name}:{}", number + 1));
            }
        }
    }
    found.sort();
    assert!(found.is_empty(), "comments wider than {WIDTH}:\n{}", found.join("\n"));
}
