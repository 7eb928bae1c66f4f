//! Random documents, written in random ways, against a plain comparison of what was meant.

use super::*;
use proptest::prelude::*;

/// What an entity means.
#[derive(Debug, Clone, PartialEq)]
struct Model {
    name: Option<String>,
    size: Option<i64>,
    latitude: Option<f64>,
    open: Option<bool>,
    /// Milliseconds since 1970.
    since: Option<i64>,
    area: Option<String>,
}

/// What an entity means, as text: equal texts are equal values.
fn meaning(model: &Model) -> BTreeMap<&'static str, String> {
    let values = [
        ("Name", model.name.clone()),
        ("Size", model.size.map(|it| it.to_string())),
        // Adding a zero makes a zero of -0.
        ("Latitude", model.latitude.map(|it| (it + 0.0).to_string())),
        ("Open", model.open.map(|it| it.to_string())),
        ("Since", model.since.map(|it| it.to_string())),
        ("Area", model.area.clone()),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn models() -> impl Strategy<Value = Model> {
    use prop::option::of;
    use prop::sample::select;
    let numbers = vec![0.0, -0.0, 1.5, -7.25e-9, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    (
        of(select(vec!["", "a", "A", " a ", "<&>", "é\n☃", "]]>", "null"])),
        of(select(vec![0, 7, -7, i64::MAX, i64::MIN])),
        of(select(numbers)),
        of(any::<bool>()),
        of(select(vec![0, 1, 1_600_000_000_000, -62_000_000_000_500])),
        of(select(vec!["POINT (1 2)", "POINT(1 2)", "nowhere"])),
    )
        .prop_map(|(name, size, latitude, open, since, area)| Model {
            name: name.map(str::to_owned),
            size,
            latitude,
            open,
            since,
            area: area.map(str::to_owned),
        })
}

fn keys() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]{1,3}", "[a-c]é?", Just("<&>".to_owned()), Just(" ".to_owned())]
}

/// A text in one of the ways to write it.
fn write_text(text: &str, rng: &mut fastrand::Rng) -> String {
    if text.is_empty() && rng.bool() {
        return "<![CDATA[]]>".to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        match (c, rng.u8(0..4)) {
            ('&', 0) => out.push_str("&amp;"),
            ('<', 0) => out.push_str("&lt;"),
            (c, 1) => out.push_str(&format!("<![CDATA[{c}]]>")),
            (c, 2) => out.push_str(&format!("&#x{:x};<!-- & -->", u32::from(c))),
            ('&' | '<' | '>', _) | (_, 0) => out.push_str(&format!("&#{};", u32::from(c))),
            (c, _) => out.push(c),
        }
    }
    out
}

fn write_number(number: f64, rng: &mut fastrand::Rng) -> String {
    match number {
        number if number.is_nan() => "NaN".to_owned(),
        f64::INFINITY => (*rng.choice(&["INF", "+INF"]).unwrap()).to_owned(),
        f64::NEG_INFINITY => "-INF".to_owned(),
        number => match rng.u8(0..3) {
            0 => format!("{number}"),
            1 => format!("{number:E}"),
            _ => format!("{number:e}"),
        },
    }
}

fn write_instant(milliseconds: i64, rng: &mut fastrand::Rng) -> String {
    let offset = chrono::FixedOffset::east_opt(rng.i32(-14..=14) * 3600).unwrap();
    let instant = chrono::DateTime::from_timestamp_millis(milliseconds).unwrap();
    match rng.u8(0..3) {
        0 => instant.format("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
        1 => instant.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        _ => instant.with_timezone(&offset).format("%Y-%m-%dT%H:%M:%S%.9f%:z").to_string(),
    }
}

fn write(models: &BTreeMap<String, Model>, seed: u64) -> Text {
    let mut rng = fastrand::Rng::with_seed(seed);
    let blank = |rng: &mut fastrand::Rng| *rng.choice(&["", " ", "\n", "<!-- c -->"]).unwrap();
    let mut entities = Vec::new();
    for (key, model) in models {
        let mut values = vec![("EntityID", write_text(key, &mut rng))];
        let mut put =
            |name: &'static str, value: Option<String>, rng: &mut fastrand::Rng| match value {
                Some(value) => values.push((name, value)),
                None if rng.u8(0..6) == 0 => values.push((name, "NIL".to_owned())),
                None => {}
            };
        let name = model.name.as_ref().map(|it| write_text(it, &mut rng));
        put("Name", name, &mut rng);
        let sign = if rng.bool() { "00" } else { "" };
        let size = model.size.map(|it| match it {
            it if it >= 0 => format!("{sign}{it}"),
            it => it.to_string(),
        });
        put("Size", size, &mut rng);
        let latitude = model.latitude.map(|it| write_number(it, &mut rng));
        put("Latitude", latitude, &mut rng);
        let open = model.open.map(|it| match (it, rng.bool()) {
            (true, true) => "1".to_owned(),
            (false, true) => "0".to_owned(),
            (it, false) => it.to_string(),
        });
        put("Open", open, &mut rng);
        let since = model.since.map(|it| write_instant(it, &mut rng));
        put("Since", since, &mut rng);
        let area = model.area.as_ref().map(|it| write_text(it, &mut rng));
        put("Area", area, &mut rng);
        if rng.u8(0..3) == 0 {
            rng.shuffle(&mut values);
        }
        let mut xml = format!("{}<Shop>", blank(&mut rng));
        for (name, value) in values {
            let (before, after) = (blank(&mut rng), blank(&mut rng));
            match value.as_str() {
                "NIL" => xml.push_str(&format!("{before}<{name} xsi:nil='true'/>{after}")),
                value => xml.push_str(&format!("{before}<{name}>{value}</{name}>{after}")),
            }
        }
        entities.push(xml + "</Shop>");
    }
    if rng.bool() {
        rng.shuffle(&mut entities);
    }
    shops(&entities.concat())
}

/// What a comparison should say, from the models alone.
fn expected(old: &BTreeMap<String, Model>, new: &BTreeMap<String, Model>) -> Vec<String> {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut lines = Vec::new();
    for key in keys {
        match (old.get(key), new.get(key)) {
            (None, None) => {}
            (None, Some(_)) => lines.push(format!("added {key}")),
            (Some(_), None) => lines.push(format!("removed {key}")),
            (Some(old), Some(new)) => {
                let (old, new) = (meaning(old), meaning(new));
                let columns = ["Name", "Size", "Latitude", "Open", "Since", "Area"];
                let changed: Vec<_> =
                    columns.into_iter().filter(|name| old.get(name) != new.get(name)).collect();
                if !changed.is_empty() {
                    lines.push(format!("changed {key} {}", changed.join(" ")));
                }
            }
        }
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_comparison_finds_what_a_plain_one_finds(
        old in prop::collection::btree_map(keys(), models(), 0..20),
        changes in prop::collection::btree_map(keys(), prop::option::of(models()), 0..8),
        seeds: (u64, u64),
        memory in prop_oneof![Just(0), 0usize..4000, Just(1usize << 20)],
        limit in prop_oneof![Just(None), (0u64..12).prop_map(Some)],
    ) {
        let mut new = old.clone();
        for (key, model) in changes {
            match model {
                Some(model) => new.insert(key, model),
                None => new.remove(&key),
            };
        }
        let options = Options { memory, limit, ..options() };
        let diff = compare(&write(&old, seeds.0), &write(&new, seeds.1), &options).unwrap();
        let expected = expected(&old, &new);
        let count = |word: &str| expected.iter().filter(|it| it.starts_with(word)).count() as u64;
        let counts = diff.counts();
        prop_assert_eq!(counts.added, count("added"));
        prop_assert_eq!(counts.removed, count("removed"));
        prop_assert_eq!(counts.changed, count("changed"));
        let all = counts.unchanged + counts.changed;
        prop_assert_eq!(all + counts.removed, old.len() as u64);
        prop_assert_eq!(all + counts.added, new.len() as u64);
        let mut changes = diff.changes().unwrap();
        let mut found = Vec::new();
        while let Some(change) = changes.next_change().unwrap() {
            let names: Vec<_> =
                diff.differences(&change).into_iter().map(|column| column.name).collect();
            let key = change.entity().key().unwrap();
            let names = if names.is_empty() { String::new() } else { format!(" {}", names.join(" ")) };
            found.push(format!("{} {key}{names}", change.word()));
        }
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let expected: Vec<_> = expected.into_iter().take(limit).collect();
        prop_assert_eq!(found, expected);
    }
}
