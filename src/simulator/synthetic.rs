//! Documents of any size, generated while they are sent.
//!
//! A few thousand entities are rendered once; the stream repeats them and writes another primary
//! key into each, so that serving costs little more than copying. The templates are several times
//! larger than the window of a fast compressor, so that repetition does not help it: the text
//! compresses like prose, four to five times.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use bytes::{BufMut as _, Bytes, BytesMut};

use super::places::{self, TAIL, head};

/// The name of the entities.
pub(super) const ENTITY_TYPE: &str = "StoreEntityType";

/// Entities rendered once: about 12 MB, against compressors' windows of 2 to 4.
const TEMPLATES: u64 = 8192;
/// The least bytes of a chunk, except the last.
const CHUNK: usize = 128 * 1024;
/// Digits of a primary key.
const KEY_DIGITS: usize = 9;
/// Properties in the dense schema, the service's limit; an entity has some 40 of them.
const DENSE_COLUMNS: u64 = 350;
const DENSE_PRESENT: u64 = 38;

const OPENING: &str = "  <StoreEntityType>\n    <EntityID>";

const PROSE_COLUMNS: [(&str, &str); 14] = [
    ("EntityID", "xs:string"),
    ("Name", "xs:string"),
    ("AddressLine", "xs:string"),
    ("Locality", "xs:string"),
    ("AdminDistrict", "xs:string"),
    ("CountryRegion", "xs:string"),
    ("PostalCode", "xs:string"),
    ("Phone", "xs:string"),
    ("Latitude", "xs:double"),
    ("Longitude", "xs:double"),
    ("Open", "xs:long"),
    ("Close", "xs:long"),
    ("IsWheelchairAccessible", "xs:boolean"),
    ("Description", "xs:string"),
];

/// A document that is generated as it is read.
pub(super) struct Synthetic {
    entities: u64,
    head: Bytes,
    /// The rest of each rendered entity after the key.
    templates: Arc<[String]>,
    next: u64,
    state: State,
}

enum State {
    Head,
    Entities,
    Done,
}

impl Synthetic {
    pub(super) fn new(entities: u64, dense: bool) -> Self {
        let head = if dense {
            let columns = (1..=DENSE_COLUMNS).map(|n| (property(n), dense_type(n)));
            let key = ("EntityID".to_owned(), "xs:string");
            head(ENTITY_TYPE, "http", std::iter::once(key).chain(columns))
        } else {
            head(ENTITY_TYPE, "http", PROSE_COLUMNS)
        };
        let templates = templates(entities, dense);
        Self { entities, head: head.into(), templates, next: 0, state: State::Head }
    }

    /// Bytes of the whole document.
    pub(super) fn length(&self) -> u64 {
        let bytes = |text: &str| u64::try_from(text.len()).unwrap_or(0);
        let turn: u64 = self.templates.iter().map(|template| bytes(template)).sum();
        let count = u64::try_from(self.templates.len()).unwrap_or(1).max(1);
        let rest = usize::try_from(self.entities % count).unwrap_or(0);
        let last: u64 = self.templates.iter().take(rest).map(|template| bytes(template)).sum();
        let keys = self.entities * (bytes(OPENING) + u64::try_from(KEY_DIGITS).unwrap_or(0));
        let head = u64::try_from(self.head.len()).unwrap_or(0);
        head + self.entities / count * turn + last + keys + bytes(TAIL)
    }
}

impl Iterator for Synthetic {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        match self.state {
            State::Head => {
                self.state = State::Entities;
                Some(self.head.clone())
            }
            State::Done => None,
            State::Entities => {
                let mut chunk = BytesMut::with_capacity(CHUNK + 8 * 1024);
                let count = u64::try_from(self.templates.len()).unwrap_or(1).max(1);
                let start = usize::try_from(self.next % count).unwrap_or(0);
                for template in self.templates.iter().cycle().skip(start) {
                    if self.next == self.entities || chunk.len() >= CHUNK {
                        break;
                    }
                    self.next += 1;
                    chunk.put_slice(OPENING.as_bytes());
                    chunk.put_slice(&key(self.next));
                    chunk.put_slice(template.as_bytes());
                }
                if self.next == self.entities {
                    chunk.put_slice(TAIL.as_bytes());
                    self.state = State::Done;
                }
                Some(chunk.freeze())
            }
        }
    }
}

/// A number as a key of fixed width.
fn key(mut number: u64) -> [u8; KEY_DIGITS] {
    let mut digits = [b'0'; KEY_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
    digits
}

/// As many templates as a document of `entities` needs; the full set is made only once.
fn templates(entities: u64, dense: bool) -> Arc<[String]> {
    static PROSE: OnceLock<Arc<[String]>> = OnceLock::new();
    static DENSE: OnceLock<Arc<[String]>> = OnceLock::new();
    let render = |count: u64| -> Arc<[String]> {
        (0..count).map(|seed| if dense { dense_entity(seed) } else { prose_entity(seed) }).collect()
    };
    if entities < TEMPLATES {
        return render(entities);
    }
    let all = if dense { &DENSE } else { &PROSE };
    all.get_or_init(|| render(TEMPLATES)).clone()
}

fn property(number: u64) -> String {
    format!("Property{number:03}")
}

fn dense_type(number: u64) -> &'static str {
    match number % 20 {
        0 => "xs:dateTime",
        n if n % 4 == 0 => "xs:boolean",
        n if n % 4 == 1 => "xs:string",
        n if n % 4 == 2 => "xs:long",
        _ => "xs:double",
    }
}

fn dense_entity(seed: u64) -> String {
    let mut random = Random::new(seed ^ 0xDE45E);
    let mut number = random.below(DENSE_COLUMNS);
    let mut numbers: Vec<u64> = (0..DENSE_PRESENT)
        .map(|_| {
            number += 1 + random.below(8);
            1 + number % DENSE_COLUMNS
        })
        .collect();
    numbers.sort_unstable();

    let mut text = String::from("</EntityID>\n");
    for number in numbers {
        let name = property(number);
        let value = match dense_type(number) {
            "xs:dateTime" => format!("2026-0{}-1{}T0{}:15:00Z", 1 + seed % 9, seed % 10, seed % 8),
            "xs:boolean" => (if random.below(2) == 0 { "true" } else { "false" }).to_owned(),
            "xs:string" => format!("{:04x}", random.below(0x1_0000)),
            "xs:long" => random.below(10_000).to_string(),
            _ => format!("{}.{:03}", random.below(90), random.below(1000)),
        };
        let _ = writeln!(text, "    <{name}>{value}</{name}>");
    }
    text.push_str("  </StoreEntityType>\n");
    text
}

fn prose_entity(seed: u64) -> String {
    let mut random = Random::new(seed ^ 0x9405E);
    let (town, street) = (place(&mut random), place(&mut random));
    let values = [
        ("Name", format!("{} Coffee {town} {}", place(&mut random), random.below(100))),
        ("AddressLine", format!("{} {street} Street", 1 + random.below(400))),
        ("Locality", town.to_owned()),
        ("AdminDistrict", random.pick(&["WA", "OR", "CA", "NY", "TX", "IL"]).to_owned()),
        ("CountryRegion", "United States".to_owned()),
        ("PostalCode", format!("{:05}", random.below(100_000))),
        ("Phone", format!("{:03}-555-{:04}", 200 + random.below(700), random.below(10_000))),
        ("Latitude", format!("{}.{:05}", 30 + random.below(19), random.below(100_000))),
        ("Longitude", format!("-{}.{:05}", 70 + random.below(53), random.below(100_000))),
        ("Open", (500 + 50 * random.below(9)).to_string()),
        ("Close", (1700 + 50 * random.below(12)).to_string()),
        (
            "IsWheelchairAccessible",
            (if random.below(3) == 0 { "false" } else { "true" }).to_owned(),
        ),
        ("Description", description(&mut random)),
    ];
    let mut text = String::from("</EntityID>\n");
    for (name, value) in values {
        let _ = writeln!(text, "    <{name}>{value}</{name}>");
    }
    text.push_str("  </StoreEntityType>\n");
    text
}

/// Sentences of common phrases, words that recur now and then, and many names.
fn description(random: &mut Random) -> String {
    let mut text = String::new();
    while text.len() < 870 {
        let _ = write!(
            text,
            "{} {} {} from {}, {} and {} {} {} {} from {}, {}, {} and {}, no. {:05}. ",
            random.pick(&OPENINGS),
            random.pick(&QUALITIES),
            random.pick(&THINGS),
            place(random),
            place(random),
            place(random),
            random.pick(&MIDDLES),
            1000 + random.below(9000),
            random.pick(&THINGS),
            place(random),
            place(random),
            place(random),
            place(random),
            random.below(100_000),
        );
    }
    text.truncate(text.trim_end().len());
    text
}

/// The name of a real place: a vocabulary large enough for names to be rare.
fn place(random: &mut Random) -> &'static str {
    static NAMES: OnceLock<Vec<&'static str>> = OnceLock::new();
    random.pick(NAMES.get_or_init(|| places::plain_names().collect()))
}

const OPENINGS: [&str; 12] = [
    "Ask for the",
    "Guests like the",
    "There is a",
    "We keep the",
    "Upstairs is a",
    "See also the",
    "Outside stands a",
    "On Sundays a",
    "Children love the",
    "Note the",
    "Behind it is a",
    "All know the",
];
const MIDDLES: [&str; 10] = [
    "with",
    "beside",
    "under",
    "without",
    "and then",
    "before",
    "or else",
    "made of",
    "among",
    "instead of",
];
const QUALITIES: [&str; 32] = [
    "small", "quiet", "wooden", "bright", "narrow", "generous", "blue", "painted", "crowded",
    "famous", "modest", "round", "heavy", "polished", "borrowed", "second", "seasonal", "friendly",
    "plain", "copper", "woven", "tall", "patient", "curious", "sturdy", "fragrant", "weekly",
    "hidden", "restored", "sunny", "mended", "cheerful",
];
const THINGS: [&str; 32] = [
    "table",
    "lamps",
    "roastery",
    "garden",
    "bench",
    "library",
    "stove",
    "chairs",
    "orchestra",
    "bakery",
    "windows",
    "counter",
    "notebooks",
    "terrace",
    "clock",
    "baskets",
    "mugs",
    "piano",
    "shelves",
    "courtyard",
    "kettles",
    "posters",
    "bicycles",
    "lanterns",
    "cakes",
    "letters",
    "market",
    "beans",
    "photographs",
    "fountain",
    "blankets",
    "breakfast",
];

/// A small deterministic generator: the same seed gives the same document everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0) % limit.max(1)
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        let index = self.below(u64::try_from(words.len()).unwrap_or(1));
        usize::try_from(index).ok().and_then(|i| words.get(i)).copied().unwrap_or_default()
    }
}

/// The finaliser of SplitMix64: spreads a counter over all bits.
pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
