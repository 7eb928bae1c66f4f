//! Exports compared with `ogr2ogr`, which makes the same file from CSV with WKT.

use crate::measure::{Samples, myself, shell, status, title};
use bytes::Bytes;
use nightjar::archive::{Archive, Attempt, Incoming, SnapshotMeta};
use nightjar::clock::Clock;
use nightjar::export::{Export, ExportFormat, GeometryFrom, Options};
use nightjar::format::DATASET;
use nightjar::manifest::Name;
use nightjar::service::Target;
use nightjar::service::bing::DataSource;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use tempfile::TempDir;

const SOURCE: &str = "bench";
/// Entities in one chunk of the document.
const CHUNK: usize = 500;
const WORDS: [&str; 16] = [
    "harbour", "market", "Straße", "river", "閉店", "station", "north", "open", "garden", "café",
    "bridge", "museum", "Łódź", "tower", "street", "lake",
];

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Root>\
    <xs:schema id=\"Root\" xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" \
    xmlns:msdata=\"urn:schemas-microsoft-com:xml-msdata\">\
    <xs:element name=\"Root\" msdata:IsDataSet=\"true\"><xs:complexType><xs:choice>\
    <xs:element name=\"Place\"><xs:complexType><xs:sequence>\
    <xs:element name=\"EntityID\" type=\"xs:string\"/><xs:element name=\"Name\" type=\"xs:string\"/>\
    <xs:element name=\"Latitude\" type=\"xs:double\"/>\
    <xs:element name=\"Longitude\" type=\"xs:double\"/>\
    <xs:element name=\"Population\" type=\"xs:long\"/><xs:element name=\"Open\" type=\"xs:boolean\"/>\
    <xs:element name=\"Since\" type=\"xs:dateTime\"/>\
    <xs:element name=\"Description\" type=\"xs:string\"/>\
    <xs:element name=\"Shape\" type=\"xs:anyType\"/>\
    </xs:sequence></xs:complexType></xs:element></xs:choice></xs:complexType>\
    <xs:unique name=\"K\" msdata:PrimaryKey=\"true\"><xs:selector xpath=\".//Place\"/>\
    <xs:field xpath=\"EntityID\"/></xs:unique></xs:element></xs:schema>\n";

/// The next of a fixed row of numbers.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// An entity of about 1,500 bytes: half of them have a point, the others a polygon.
fn entity(id: usize, state: &mut u64, out: &mut String) {
    let mut number = |most: u64| next(state) % most;
    let longitude = number(3_400_000) as f64 / 10_000.0 - 170.0;
    let latitude = number(1_600_000) as f64 / 10_000.0 - 80.0;
    let (population, year) = (number(1 << 40), 2000 + number(26));
    write!(
        out,
        "  <Place>\n    <EntityID>{id:09}</EntityID>\n    <Name>{} {}</Name>\n    \
         <Latitude>{latitude}</Latitude>\n    <Longitude>{longitude}</Longitude>\n    \
         <Population>{population}</Population>\n    <Open>{}</Open>\n    \
         <Since>{year}-11-25T02:00:00Z</Since>\n    <Description>",
        WORDS[number(16) as usize],
        WORDS[number(16) as usize],
        id.is_multiple_of(2),
    )
    .unwrap();
    for _ in 0..120 {
        out.push_str(WORDS[number(16) as usize]);
        out.push(' ');
    }
    if id.is_multiple_of(2) {
        write!(out, "</Description>\n    <Shape>POINT ({longitude} {latitude})").unwrap();
    } else {
        out.push_str("</Description>\n    <Shape>POLYGON ((");
        for corner in 0..12 {
            let angle = f64::from(corner) * std::f64::consts::TAU / 12.0;
            let (x, y) = (longitude + 0.1 * angle.cos(), latitude + 0.1 * angle.sin());
            write!(out, "{x:.6} {y:.6}, ").unwrap();
        }
        write!(out, "{:.6} {latitude:.6}))", longitude + 0.1).unwrap();
    }
    out.push_str("</Shape>\n  </Place>\n");
}

/// The document in chunks.
fn document(entities: usize) -> impl Iterator<Item = Bytes> {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let chunks = (0..entities).step_by(CHUNK).map(move |first| {
        let mut text = String::new();
        for id in first..(first + CHUNK).min(entities) {
            entity(id, &mut state, &mut text);
        }
        Bytes::from(text)
    });
    let ends = [Bytes::from_static(HEAD.as_bytes()), Bytes::from_static(b"</Root>\n")];
    let [head, tail] = ends.map(std::iter::once);
    head.chain(chunks).chain(tail)
}

fn archive(folder: &Path) -> Archive {
    Archive::new(folder, folder)
}

/// Files the document as a snapshot, and returns its size in bytes.
fn file(folder: &Path, entities: usize) -> u64 {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let at = Clock::system().now();
    let archive = archive(folder);
    let chunks = futures_util::stream::iter(document(entities).map(Ok::<_, Infallible>));
    let incoming = Incoming {
        source: SOURCE,
        name: Name::new(at, 1),
        attempt: Attempt::new("bench", 1),
        format: &DATASET,
        max_bytes: 1 << 30,
    };
    let received = runtime.block_on(archive.receive(incoming, chunks, |_| {}));
    let received = received.unwrap_or_else(|_| panic!("interrupted"));
    let bytes = received.content.bytes;
    let target: Target =
        DataSource { access_id: "bench".into(), data_source: SOURCE.into(), version: None }.into();
    let meta = SnapshotMeta::new(SOURCE, target.origin(), 1, at, at);
    archive.file(received, meta).unwrap();
    bytes
}

/// Exports to a file, and prints wall seconds and peak KiB.
pub(crate) fn child(words: &[&str]) {
    let archive = archive(words[0].as_ref());
    let snapshot = archive.select(SOURCE).unwrap();
    let export = Export {
        snapshot: &snapshot,
        format: ExportFormat::named(words[1]).unwrap(),
        options: Options {
            geometry: GeometryFrom::First,
            entity: None,
            table: None,
            replace: false,
            excel: false,
        },
        strict: false,
        progress: &|_| {},
    };
    let begun = Instant::now();
    export.to_file(&archive, words[2].as_ref(), true).unwrap();
    println!("{} {}", begun.elapsed().as_secs_f64(), status(std::process::id(), "VmHWM"));
}

fn export(folder: &Path, format: &str, out: &Path) -> (f64, f64) {
    let folder = folder.to_str().unwrap();
    let output = myself(&["child-export", folder, format, out.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut numbers = text.split_whitespace().map(|word| word.parse::<f64>().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

pub(crate) fn run(quick: bool) {
    let (entities, rounds) = if quick { (20_000, 3) } else { (200_000, 3) };
    let folder = TempDir::new_in(".").unwrap();
    let archived = folder.path().join("archive");
    std::fs::create_dir(&archived).unwrap();
    let bytes = file(&archived, entities);
    title(&format!("export: {entities} entities, {} MB, wall seconds", bytes / 1_000_000));
    let csv = folder.path().join("places.csv");
    export(&archived, "csv", &csv);
    let has_ogr = Command::new("ogr2ogr").arg("--version").output().is_ok();
    // The format, GDAL's driver and the file that it makes, and MiB that are allowed.
    for (format, theirs, most) in [
        ("geopackage", Some("-f GPKG theirs.gpkg"), 64),
        ("geojson", Some("-f GeoJSON theirs.json"), 64),
        ("geojsonseq", Some("-f GeoJSONSeq theirs.geojsonl"), 64),
        ("csv", Some("-lco GEOMETRY=AS_WKT -f CSV theirs.csv"), 64),
        ("postgis", Some("-f PGDump theirs.sql"), 64),
        ("geoparquet", None, 128),
        ("azure-sql", None, 64),
        ("cosmos", None, 64),
        ("xml", None, 64),
    ] {
        let out = folder.path().join("out");
        let (mut own, mut other, mut peak) = <(Samples, Samples, Samples)>::default();
        let theirs = theirs.filter(|_| has_ogr);
        for _ in 0..rounds {
            let (seconds, kib) = export(&archived, format, &out);
            own.add(seconds);
            peak.add(kib / 1024.0);
            if let Some(theirs) = theirs {
                // Synced as an export is.
                other.add(shell(&format!(
                    "cd {}; rm -f theirs.*; ogr2ogr {theirs} places.csv -nln places \
                     -a_srs EPSG:4326 -oo GEOM_POSSIBLE_NAMES=Shape -oo KEEP_GEOM_COLUMNS=NO && \
                     sync theirs.*",
                    folder.path().display()
                )));
            }
        }
        println!("{format:10} nightjar        {}", own.show());
        if theirs.is_some() {
            println!("{format:10} ogr2ogr         {}", other.show());
            println!("{format:10} times as fast   {:8.2}", other.median() / own.median());
        }
        println!("{format:10} peak MiB (<{most:3}) {}", peak.show());
    }
}
