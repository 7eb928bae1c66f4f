//! Real places of the world as a downloaded document, with every kind of value.
//!
//! The table is GeoNames' (see `PLACES-LICENSE.md`); notes, dates and shapes are made up around it
//! by rules that depend on the row alone, so the document has the same bytes each time.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::OnceLock;

use bytes::Bytes;

const TABLE: &str = include_str!("places.tsv");

/// The name of the entities.
pub(super) const ENTITY_TYPE: &str = "PlaceEntityType";

/// Name and type of each column; the first is the primary key.
const COLUMNS: [(&str, &str); 13] = [
    ("EntityID", "xs:string"),
    ("Name", "xs:string"),
    ("AlternateName", "xs:string"),
    ("CountryCode", "xs:string"),
    ("CountryRegion", "xs:string"),
    ("TimeZone", "xs:string"),
    ("Latitude", "xs:double"),
    ("Longitude", "xs:double"),
    ("Population", "xs:long"),
    ("IsCapital", "xs:boolean"),
    ("LastUpdatedDate", "xs:dateTime"),
    ("Shape", "xs:anyType"),
    ("Notes", "xs:string"),
];

/// One line of the table.
#[derive(Clone, Copy)]
struct Place<'a> {
    id: &'a str,
    name: &'a str,
    /// `Some("")`: none is needed. `None`: none is known.
    alternate: Option<&'a str>,
    country_code: &'a str,
    country: &'a str,
    latitude: &'a str,
    longitude: &'a str,
    population: &'a str,
    capital: bool,
    time_zone: &'a str,
}

impl<'a> Place<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut columns = line.split('\t');
        let mut next = || columns.next();
        Some(Self {
            id: next()?,
            name: next()?,
            alternate: Some(next()?).filter(|name| *name != "\\N"),
            country_code: next()?,
            country: next()?,
            latitude: next()?,
            longitude: next()?,
            population: next()?,
            capital: next()? == "1",
            time_zone: next()?,
        })
    }

    /// Longitude first, as geography wants it.
    fn position(&self) -> (f64, f64) {
        (self.longitude.parse().unwrap_or(0.0), self.latitude.parse().unwrap_or(0.0))
    }
}

/// The number of places there are.
pub(super) fn count() -> u64 {
    static COUNT: OnceLock<u64> = OnceLock::new();
    *COUNT.get_or_init(|| u64::try_from(TABLE.lines().count()).unwrap_or(0))
}

/// The places' names that need neither escaping nor more than ASCII.
pub(super) fn plain_names() -> impl Iterator<Item = &'static str> {
    let names = TABLE.lines().filter_map(Place::parse).map(|place| place.name);
    names.filter(|name| name.is_ascii() && matches!(escape(name), Cow::Borrowed(_)))
}

/// The document of all places, created once.
pub(super) fn document() -> Bytes {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    DOCUMENT.get_or_init(|| first(count()).into()).clone()
}

/// The document of the first `count` places.
pub(super) fn first(count: u64) -> String {
    let places: Vec<Place<'_>> = TABLE.lines().filter_map(Place::parse).collect();
    let mut text = head(ENTITY_TYPE, "https", COLUMNS);
    let neighbours = places.iter().cycle().skip(1);
    for ((row, place), neighbour) in (0..count).zip(&places).zip(neighbours) {
        entity(&mut text, row, place, neighbour);
    }
    text.push_str(TAIL);
    text
}

/// What follows the last entity.
pub(super) const TAIL: &str = "</MainRoot>\n";

/// What precedes the first entity: the declaration, the root and the schema, as Get Downloaded
/// Data shows them. `scheme` is that of the schema's namespace, which is seen as `https` and
/// `http`; the first column is the primary key.
pub(super) fn head<N, T>(
    entity_type: &str,
    scheme: &str,
    columns: impl IntoIterator<Item = (N, T)>,
) -> String
where
    N: AsRef<str>,
    T: AsRef<str>,
{
    let mut key = None;
    let mut elements = String::new();
    for (name, kind) in columns {
        let (name, kind) = (name.as_ref(), kind.as_ref());
        let _ = writeln!(
            elements,
            "                <xs:element name=\"{name}\" type=\"{kind}\" minOccurs=\"0\"/>"
        );
        key.get_or_insert_with(|| name.to_owned());
    }
    let key = key.unwrap_or_default();
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<MainRoot>
  <xs:schema xmlns="" xmlns:xs="{scheme}://www.w3.org/2001/XMLSchema" xmlns:msdata="urn:schemas-microsoft-com:xml-msdata" id="DataSource">
    <xs:element name="DataSource" msdata:IsDataSet="true" msdata:UseCurrentLocale="true">
      <xs:complexType>
        <xs:choice minOccurs="0" maxOccurs="unbounded">
          <xs:element name="{entity_type}">
            <xs:complexType>
              <xs:sequence>
{elements}              </xs:sequence>
            </xs:complexType>
          </xs:element>
        </xs:choice>
      </xs:complexType>
      <xs:unique name="Constraint1" msdata:PrimaryKey="true">
        <xs:selector xpath=".//{entity_type}"/>
        <xs:field xpath="{key}"/>
      </xs:unique>
    </xs:element>
  </xs:schema>
"#
    )
}

fn entity(out: &mut String, row: u64, place: &Place<'_>, neighbour: &Place<'_>) {
    let _ = writeln!(out, "  <{ENTITY_TYPE}>");
    let mut column = |name: &str, value: &str| {
        let _ = writeln!(out, "    <{name}>{value}</{name}>");
    };
    column("EntityID", place.id);
    column("Name", &escape(place.name));
    if let Some(alternate) = place.alternate {
        column("AlternateName", &escape(alternate));
    }
    column("CountryCode", place.country_code);
    column("CountryRegion", &escape(place.country));
    column("TimeZone", place.time_zone);
    column("Latitude", place.latitude);
    column("Longitude", place.longitude);
    if place.population != "0" {
        column("Population", place.population);
    }
    column("IsCapital", if place.capital { "true" } else { "false" });
    if let Some(instant) = updated(row) {
        column("LastUpdatedDate", &instant);
    }
    if let Some(shape) = shape(row, place, neighbour) {
        column("Shape", &shape);
    }
    if let Some(notes) = notes(row, place, neighbour) {
        column("Notes", &notes);
    }
    let _ = writeln!(out, "  </{ENTITY_TYPE}>");
}

/// Most without an offset, some in UTC, some null.
fn updated(row: u64) -> Option<String> {
    let (day, hour, minute) = (1 + row / 1440 % 28, row / 60 % 24, row % 60);
    let zone = if row % 7 == 3 { "Z" } else { "" };
    (row % 11 != 10).then(|| format!("2013-02-{day:02}T{hour:02}:{minute:02}:00{zone}"))
}

/// Text that needs escaping, character references, a CDATA section, empty strings, nulls.
fn notes(row: u64, place: &Place<'_>, neighbour: &Place<'_>) -> Option<String> {
    if place.capital {
        let (country, zone) = (place.country, place.time_zone);
        return Some(format!("<![CDATA[Capital of {country} & in its zone: \"{zone}\" <=> UTC]]>"));
    }
    match row % 5 {
        0 => Some(escape(&format!("Twinned with \"{}\" & others", neighbour.name)).into_owned()),
        1 => Some(format!("{} &#x2603; winter &amp; summer &#9728;", escape(place.name))),
        2 => Some(String::new()),
        _ => None,
    }
}

/// Every form of well-known text that the service knows, in the variants that occur.
fn shape(row: u64, place: &Place<'_>, neighbour: &Place<'_>) -> Option<String> {
    let (x, y) = place.position();
    let (to_x, to_y) = neighbour.position();
    let ring = |size: f64| {
        let (west, east) = ((x - size).max(-180.0), (x + size).min(180.0));
        let (south, north) = ((y - size).max(-90.0), (y + size).min(90.0));
        format!(
            "({west:.5} {south:.5}, {east:.5} {south:.5}, {east:.5} {north:.5}, \
             {west:.5} {north:.5}, {west:.5} {south:.5})"
        )
    };
    match row % 10 {
        0 => Some(format!("POINT ({x:.5} {y:.5})")),
        1 => Some(format!("LINESTRING ({x:.5} {y:.5}, {to_x:.5} {to_y:.5})")),
        2 => Some(format!("POLYGON ({})", ring(0.05))),
        3 => Some(format!("POLYGON ({}, {})", ring(0.1), ring(0.02))),
        4 => Some(format!("MULTIPOINT (({x:.5} {y:.5}), ({to_x:.5} {to_y:.5}))")),
        5 => Some(format!(
            "MULTILINESTRING (({x:.5} {y:.5}, {to_x:.5} {to_y:.5}), ({x:.5} {y:.5}, {x:.5} 0))"
        )),
        6 => Some(format!("MULTIPOLYGON (({}), ({}, {}))", ring(0.01), ring(0.2), ring(0.1))),
        7 => Some(format!("GEOMETRYCOLLECTION (POINT ({x:.5} {y:.5}), POLYGON ({}))", ring(0.03))),
        8 => Some(format!("POINT( ( {x:.5}  {y:.5} ) )")),
        _ => None,
    }
}

/// Replaces what must not stand in an element's text or an attribute.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}
