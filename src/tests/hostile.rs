//! Hostile inputs: the corpus in `tests/corpus`, mutated at random from a seed. No input may make a
//! reader panic.
//!
//! ```sh
//! cargo test --lib hostile                                           # the same inputs each time
//! NIGHTJAR_FUZZ_INPUTS=1000000 cargo test --lib hostile              # more of them
//! NIGHTJAR_FUZZ_SECONDS=50 NIGHTJAR_FUZZ_FROM=20261125000000000 \\
//!     cargo test --lib hostile -- --nocapture                        # another seed, for a time
//! ```
//!
//! An input that breaks a reader is written to a file and printed; the message says how to try it
//! again, and how to add it to the corpus.

use crate::config::{self, Environment};
use crate::dataset::tests::ways;
use crate::dataset::{self, DocumentLimits, Unproven};
use crate::manifest::{Manifest, Name};
use crate::policy::schedule::Schedule;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{TimeZone, Utc};
use fastrand::Rng;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Inputs for each reader in the short version.
const SHORT: u64 = 4000;
/// The largest input.
const LARGEST: usize = 64 << 10;
/// The longest time for one input, however busy the machine is.
const LONGEST: Duration = Duration::from_secs(20);

#[allow(clippy::disallowed_methods, reason = "the size of a campaign")]
fn number(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().expect(name))
}

fn corpus(reader: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(reader);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Changes an input a little, or much.
fn changed(random: &mut Rng, corpus: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut input = random.choice(corpus).unwrap().clone();
    for _ in 0..1 << random.u32(0..5) {
        let at = random.usize(0..=input.len());
        let end = (at + random.usize(0..40)).min(input.len());
        match random.u32(0..9) {
            0 if at < input.len() => input[at] ^= 1 << random.u32(0..8),
            1 if at < input.len() => input[at] = random.u8(..),
            2 => drop(input.drain(at..end)),
            3 => input.truncate(at),
            4 => {
                let again: Vec<u8> = input[at..end].to_vec();
                let times = 1 << random.u32(0..7);
                input.splice(at..at, again.repeat(times));
            }
            5 => {
                let other = random.choice(corpus).unwrap();
                let from = random.usize(0..=other.len());
                input.splice(at..at, other[from..].iter().copied().take(200));
            }
            _ => {
                let word = random.choice(words).unwrap_or(&"");
                input.splice(at..end.min(at + random.usize(0..4)), word.bytes());
            }
        }
        input.truncate(LARGEST);
    }
    input
}

/// Reports an input that breaks a reader, and keeps it: in a file, and as text that outlives the
/// machine.
fn broken(reader: &str, input: &[u8], what: &str, how: &str) -> ! {
    let file = std::env::temp_dir().join(format!("nightjar-{reader}.input"));
    fs::write(&file, input).unwrap();
    panic!(
        "{what} {how} the reader of {reader}; it is kept as {}. To add it to the corpus:\n\
         base64 -d >tests/corpus/{reader}/NAME <<'END'\n{}\nEND",
        file.display(),
        BASE64.encode(input)
    );
}

/// Runs a reader on the corpus, and on mutations of it by the seed.
pub(crate) fn attack(reader: &str, words: &[&str], read: impl Fn(&[u8])) {
    let try_one = |input: &[u8], what: &str| {
        let begun = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| read(input))).is_err() {
            broken(reader, input, what, "breaks");
        }
        if begun.elapsed() > LONGEST {
            broken(reader, input, what, "keeps busy for too long");
        }
    };
    let corpus = corpus(reader);
    for input in &corpus {
        try_one(input, "a file of the corpus");
    }
    let from = number("NIGHTJAR_FUZZ_FROM").unwrap_or(0);
    let seconds = number("NIGHTJAR_FUZZ_SECONDS").map(Duration::from_secs);
    let seeds = match (number("NIGHTJAR_FUZZ_SEED"), seconds) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(_)) => from..u64::MAX,
        (None, None) => from..from + number("NIGHTJAR_FUZZ_INPUTS").unwrap_or(SHORT),
    };
    let (begun, first, mut inputs) = (Instant::now(), seeds.start, 0_u64);
    for seed in seeds {
        if inputs >= SHORT && seconds.is_some_and(|seconds| begun.elapsed() >= seconds) {
            break;
        }
        let input = changed(&mut Rng::with_seed(seed), &corpus, words);
        try_one(&input, &format!("NIGHTJAR_FUZZ_SEED={seed} cargo test --lib hostile: it"));
        inputs += 1;
    }
    eprintln!("{reader}: {inputs} inputs from seed {first}");
}

const XML: [&str; 30] = [
    "<",
    ">",
    "</",
    "/>",
    "&amp;",
    "&#0;",
    "&#x10ffff;",
    "&#xd800;",
    "&nbsp;",
    "<![CDATA[",
    "]]>",
    "<!--",
    "-->",
    "--",
    "<?xml version=\"1.0\"?>",
    "<?",
    "?>",
    "<!DOCTYPE a [<!ENTITY b \"c\">]>",
    "xmlns=\"\"",
    "xmlns:xs=\"x\"",
    "\u{feff}",
    "\0",
    "\r\n",
    " ",
    "é",
    "MainRoot",
    "EntityID",
    "xs:schema",
    "1E400",
    "'",
];

fn of_namespaces(error: &roxmltree::Error) -> bool {
    let text = error.to_string();
    ["namespace", "QName", "prefix", "invalid name"].iter().any(|word| text.contains(word))
}

/// Another parser must agree about a document that this one accepts: the same number of entities,
/// and if there are no warnings, a unique key for each.
fn agree(summary: &dataset::Summary, theirs: &roxmltree::Document<'_>) {
    let is = |node: &roxmltree::Node<'_, '_>, name: &str| node.tag_name().name() == name;
    let elements: Vec<_> =
        theirs.root_element().children().filter(roxmltree::Node::is_element).collect();
    let behind = elements.iter().skip_while(|it| !is(it, "schema")).skip(1);
    let entities: Vec<_> = behind.filter(|it| is(it, &summary.entity_type)).collect();
    let others = elements.len() as u64 - 1 - entities.len() as u64;
    if !summary.warnings.is_empty() {
        let counted = [entities.len() as u64, entities.len() as u64 + others];
        assert!(counted.contains(&summary.entities), "{} {counted:?}", summary.entities);
        return;
    }
    assert_eq!((summary.entities, others), (entities.len() as u64, 0));
    let mut keys = std::collections::HashSet::new();
    for entity in entities {
        let values = entity.children().filter(|it| it.is_element());
        let values: Vec<_> = values.filter(|it| is(it, &summary.primary_key)).collect();
        let [value] = values.as_slice() else { panic!("{} keys in an entity", values.len()) };
        let key: String =
            value.descendants().filter_map(|it| it.is_text().then(|| it.text())?).collect();
        assert!(!key.is_empty() && keys.insert(key));
    }
}

/// A document that is accepted is well-formed for another parser too; a document that the other
/// parser refuses is never archived.
#[test]
fn a_document_is_valid_only_if_another_parser_agrees() {
    let [proven, warned, refused] = [(); 3].map(|()| std::cell::Cell::new(0));
    attack("document", &XML, |input| {
        let ours = dataset::validate(input, &DocumentLimits::default());
        let text = std::str::from_utf8(input).ok().map(|text| text.trim_start_matches('\u{feff}'));
        let theirs = text.map(roxmltree::Document::parse);
        match (ours, theirs) {
            (Ok(summary), Some(Ok(theirs))) => {
                agree(&summary, &theirs);
                let tally = if summary.warnings.is_empty() { &proven } else { &warned };
                tally.set(tally.get() + 1);
            }
            // Namespace rules beyond XML 1.0 are not part of validation.
            (Ok(_), Some(Err(error))) if of_namespaces(&error) => {}
            (Ok(_), theirs) => panic!("another reader refuses what was proven: {theirs:?}"),
            (Err(_), _) => refused.set(refused.get() + 1),
        }
    });
    if number("NIGHTJAR_FUZZ_SEED").is_none() {
        let tallies = [proven.get(), warned.get(), refused.get()];
        assert!(tallies[0] > 20 && tallies[1] > 20 && tallies[2] > 200, "{tallies:?}: no attack");
    }
}

/// What is read by comparing bytes is what is read token by token.
#[test]
fn the_fast_way_and_the_general_one_agree_on_every_document() {
    let tags = [
        "<Shop>",
        "</Shop>",
        "<Shop/>",
        "<Ship>",
        "</Ship>",
        "<Name>",
        "</Name>",
        "<Name/>",
        "<Size>",
        "</Size>",
        "<Size>12</Size>",
        "<EntityID>1</EntityID>",
        "</MainRoot>",
    ];
    let words: Vec<&str> = XML.into_iter().chain(tags).collect();
    for folder in ["document", "entities"] {
        let valid = std::cell::Cell::new(0);
        attack(folder, &words, |input| {
            let limits = DocumentLimits::default();
            let chunk = 1 + input.len() % 211;
            valid.set(valid.get() + u64::from(ways::agree(input, &limits, &[chunk])));
        });
        let one = number("NIGHTJAR_FUZZ_SEED").is_some();
        assert!(one || valid.get() > 20, "{}: no attack", valid.get());
    }
}

#[test]
fn any_line_is_a_schedule_or_an_error() {
    let words = [
        "*",
        "/",
        "-",
        ",",
        "60",
        "0",
        "7",
        "sun",
        "jan",
        "@daily",
        " ",
        "\t",
        "L",
        "W",
        "#",
        "?",
        "18446744073709551616",
        "é",
    ];
    let now = Utc.with_ymd_and_hms(2026, 3, 28, 0, 0, 0).unwrap();
    attack("schedule", &words, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        if let Ok(schedule) = Schedule::parse(text) {
            let zone = chrono_tz::Europe::Berlin;
            let next = schedule.next_after(now, zone);
            assert!(next.is_none_or(|next| next > now));
        }
    });
}

#[test]
fn any_configuration_is_read_or_reported_as_invalid() {
    let words = [
        "[[sources]]",
        "[accounts.",
        "]",
        "\"",
        "'''",
        "=",
        "{",
        "}",
        "key_file",
        "schedule",
        "\n",
        "#",
        "\\u0000",
        "1e9",
        "0x",
        "true",
        "-",
        "é",
        "\r",
        "notify",
        "\"\"\"",
    ];
    attack("configuration", &words, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        let file = Path::new("/etc/nightjar/config.toml");
        if let Err(mistakes) = config::parse(text, file, &Environment::default()) {
            assert!(!mistakes.is_empty());
            assert!(
                mistakes.iter().all(|it| it.line > 0 && it.column > 0 && !it.message.is_empty())
            );
        }
    });
}

#[test]
fn any_manifest_is_read_or_refused() {
    let words = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "null",
        "-1",
        "1e999",
        "../",
        "\\u0000",
        "\"job\"",
        "9223372036854775808",
        "Z",
    ];
    attack("manifest", &words, |input| {
        if let Ok(read) = Manifest::read(input) {
            let name = read.manifest.name().to_string();
            assert!(!name.contains('/'), "{name}");
            // A rendered manifest reads back the same.
            let again = Manifest::read(&read.manifest.render().unwrap()).unwrap();
            assert_eq!((again.manifest, again.has_checksum), (read.manifest, true));
        }
        if let Ok(text) = std::str::from_utf8(input) {
            let _ = text.parse::<Name>();
        }
    });
}

/// Inputs that would take hours if reading took quadratic time.
#[test]
fn large_and_deeply_nested_inputs_take_linear_time() {
    let head = |columns: &str, more: &str| {
        format!(
            "<MainRoot><xs:schema id=\"S\" xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" \
             xmlns:msdata=\"urn:schemas-microsoft-com:xml-msdata\"><xs:element name=\"S\" \
             msdata:IsDataSet=\"true\"><xs:complexType><xs:choice minOccurs=\"0\" maxOccurs=\"unbounded\">\
             <xs:element name=\"E\"><xs:complexType><xs:sequence><xs:element name=\"K\" type=\"xs:string\"/>\
             {columns}</xs:sequence></xs:complexType></xs:element></xs:choice></xs:complexType>\
             <xs:unique name=\"U\" msdata:PrimaryKey=\"true\"><xs:selector xpath=\".//E\"/>\
             <xs:field xpath=\"K\"/></xs:unique></xs:element></xs:schema>{more}</MainRoot>"
        )
    };
    let validate = |text: String| dataset::validate(text.as_bytes(), &DocumentLimits::default());

    let points: Vec<String> = (0..100_000).map(|at| format!("{} {}", at % 180, at % 90)).collect();
    let area = "<xs:element name=\"A\" type=\"xs:anyType\" minOccurs=\"0\"/>";
    let line = format!("<E><K>1</K><A>LINESTRING ({})</A></E>", points.join(", "));
    assert_eq!(validate(head(area, &line)).unwrap().entities, 1);

    let columns: String = (0..350)
        .map(|at| format!("<xs:element name=\"C{at}\" type=\"xs:long\" minOccurs=\"0\"/>"))
        .collect();
    let row: String = (0..350).map(|at| format!("<C{at}>{at}</C{at}>")).collect();
    let rows: String = (0..2000).map(|key| format!("<E><K>{key}</K>{row}</E>")).collect();
    assert_eq!(validate(head(&columns, &rows)).unwrap().columns.len(), 351);

    let empty: String = (0..300_000).map(|key| format!("<E><K>{key}</K></E>")).collect();
    assert_eq!(validate(head("", &empty)).unwrap().entities, 300_000);

    // a schema without an explicit data set, in which every element must be searched
    let elements = "<xs:complexType name=\"T\"/><xs:element type=\"T\"/>".repeat(15_000);
    let text = head("", "").replace("msdata:IsDataSet=\"true\"", "").replace("xs:choice", "xs:x");
    let text = text.replace("</xs:schema>", &format!("{elements}</xs:schema>"));
    assert_eq!(validate(text).unwrap().unproven(), [Unproven::Schema]);
    let keyless = validate(head("", &"<E/>".repeat(1_000_000))).unwrap();
    assert_eq!((keyless.entities, keyless.unproven()), (1_000_000, vec![Unproven::Keys]));
    let undeclared = validate(head("", &"<F><G>1</G></F>".repeat(300_000))).unwrap();
    assert_eq!((undeclared.entities, undeclared.warnings.len()), (300_000, 1));
    let unreadable = "<xs:element name=\"N\" type=\"xs:long\"/>";
    let rows: String = (0..300_000).map(|key| format!("<E><K>{key}</K><N>x</N></E>")).collect();
    assert_eq!(validate(head(unreadable, &rows)).unwrap().unreadable[0].values, 300_000);

    let deep = format!("{}{}", "<a>".repeat(1_000_000), "</a>".repeat(1_000_000));
    assert!(validate(head("", &deep)).is_err());
    assert!(validate(head("", &format!("<E {}>", "a=\"1\" ".repeat(200_000)))).is_err());
    assert!(validate(format!("<MainRoot>{}", "<!-- -- -->".repeat(100_000))).is_err());
}
