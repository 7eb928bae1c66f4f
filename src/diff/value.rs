//! Values as they are compared and shown.

use crate::dataset::Value;
use serde::{Serialize, Serializer};
use std::fmt;

/// A value of an entity, with its text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell<'r> {
    value: Value<'r>,
    text: &'r str,
    /// A digest of the elements inside; 0 without any.
    inside: u64,
}

impl<'r> Cell<'r> {
    /// A null: the column is absent.
    pub const NULL: Cell<'static> = Cell { value: Value::Null, text: "", inside: 0 };

    /// A value that was read from this text.
    pub(super) fn new(value: Value<'r>, text: &'r str) -> Cell<'r> {
        Cell { value, text, inside: 0 }
    }

    /// A text.
    pub(super) fn of_text(text: &'r str) -> Cell<'r> {
        Cell { value: Value::Text(text), text, inside: 0 }
    }

    /// The same with the elements inside that have this digest.
    pub(super) fn with_inside(self, inside: u64) -> Cell<'r> {
        Cell { inside, ..self }
    }

    /// The typed value.
    pub fn value(&self) -> Value<'r> {
        self.value
    }

    /// The text, exactly; empty for a null.
    pub fn text(&self) -> &'r str {
        self.text
    }

    /// Whether it is null. The empty text is not, nor is what has elements inside.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null) && self.inside == 0
    }

    /// Writes bytes that are the same for equal values only. -0 equals 0, and NaN equals NaN. An
    /// instant without a zone is taken as UTC, as in exports.
    pub(super) fn canonical(&self, out: &mut Vec<u8>) {
        match self.value {
            Value::Null => out.push(b'-'),
            Value::Integer(number) => {
                out.push(b'i');
                out.extend_from_slice(&number.to_le_bytes());
            }
            Value::Decimal(digits) => {
                out.push(b'd');
                decimal(digits, out);
            }
            Value::Double(number) => {
                let one_of_its_kind = match number {
                    number if number.is_nan() => f64::NAN,
                    // Of both zeros.
                    0.0 => 0.0,
                    number => number,
                };
                out.push(b'f');
                out.extend_from_slice(&one_of_its_kind.to_bits().to_le_bytes());
            }
            Value::Boolean(value) => out.extend_from_slice(&[b'b', u8::from(value)]),
            Value::Instant(instant) => {
                out.push(b's');
                out.extend_from_slice(&instant.seconds.to_le_bytes());
                text(instant.fraction.trim_end_matches('0'), out);
            }
            Value::Text(_) | Value::Geometry(_) | Value::Unreadable(_) => {
                out.push(b't');
                text(self.text, out);
            }
        }
        if self.inside != 0 {
            out.push(b'e');
            out.extend_from_slice(&self.inside.to_le_bytes());
        }
    }

    /// What is shown behind the value.
    fn suffix(&self) -> &'static str {
        if self.inside == 0 { "" } else { " (and elements inside)" }
    }
}

/// A text whose end is known.
pub(super) fn text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A number of any length, written in one way: `-12.5`, `0`.
fn decimal(digits: &str, out: &mut Vec<u8>) {
    let is_negative = digits.starts_with('-');
    let unsigned = digits.trim_start_matches(['+', '-']);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if is_negative && !(whole.is_empty() && fraction.is_empty()) {
        out.push(b'-');
    }
    text(whole, out);
    text(fraction, out);
}

/// As JSON: numbers and booleans as such, everything else as the text that was sent. What is not a
/// finite number, which JSON does not have, is `"NaN"`, `"INF"` or `"-INF"`.
impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Null => serializer.serialize_none(),
            Value::Integer(number) => serializer.serialize_i128(number),
            Value::Boolean(value) => serializer.serialize_bool(value),
            Value::Double(number) if number.is_finite() => serializer.serialize_f64(number),
            Value::Double(number) => serializer.serialize_str(match number {
                f64::INFINITY => "INF",
                f64::NEG_INFINITY => "-INF",
                _ => "NaN",
            }),
            _ => serializer.serialize_str(self.text),
        }
    }
}

/// Characters that are shown of a value.
const SHOWN: usize = 200;

/// As people read it: the text that was sent, without the blanks around a number. A null is
/// `null`; a text that could be taken for something else stands in quotes. A long one is cut.
impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Value::Null => f.write_str("null")?,
            Value::Text(text) | Value::Geometry(text) | Value::Unreadable(text) => {
                let is_plain = text == text.trim()
                    && !text.is_empty()
                    && text != "null"
                    && !text.starts_with(['"', '…']);
                let end = text.char_indices().nth(SHOWN).map(|(end, _)| end);
                let shown = end.and_then(|end| text.get(..end)).unwrap_or(text);
                let more = if end.is_some() { "…" } else { "" };
                match is_plain {
                    true => write!(f, "{shown}{more}")?,
                    false => write!(f, "\"{shown}{more}\"")?,
                }
            }
            _ => f.write_str(self.text.trim())?,
        }
        f.write_str(self.suffix())
    }
}

/// Characters of a common beginning that are shown before the first difference.
const CONTEXT: usize = 20;

/// Two values as people read them. Where both are long texts with the same beginning, it is cut, so
/// that the difference is shown.
pub(super) fn shown_pair(old: &Cell<'_>, new: &Cell<'_>) -> (String, String) {
    let (one, other) = (long_text(old), long_text(new));
    let (Some(one), Some(other)) = (one, other) else { return (old.to_string(), new.to_string()) };
    let same = one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    if same <= SHOWN / 2 {
        return (old.to_string(), new.to_string());
    }
    let from = |text: &str, cell: &Cell<'_>| {
        let rest: String = text.chars().skip(same - CONTEXT).take(SHOWN).collect();
        let more = if text.chars().count() > same - CONTEXT + SHOWN { "…" } else { "" };
        format!("…{rest}{more}{}", cell.suffix())
    };
    (from(one, old), from(other, new))
}

fn long_text<'r>(cell: &Cell<'r>) -> Option<&'r str> {
    match cell.value {
        Value::Text(text) | Value::Geometry(text) | Value::Unreadable(text) => {
            (text.chars().nth(SHOWN / 2).is_some()).then_some(text)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::ColumnKind;

    fn cell<'t>(r#type: &str, text: &'t str) -> Cell<'t> {
        Cell::new(Value::read(ColumnKind::of(r#type), text), text)
    }

    fn canonical(r#type: &str, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        cell(r#type, text).canonical(&mut out);
        out
    }

    #[test]
    fn equal_values_are_equal_however_they_are_written() {
        for (r#type, one, other) in [
            ("xs:long", "7", " +007\n"),
            ("xs:long", "0", "-0"),
            ("xs:double", "1", "1.0E0"),
            ("xs:double", "0", "-0.0"),
            ("xs:double", "NaN", " NaN "),
            ("xs:double", "INF", "+INF"),
            ("xs:decimal", "1.50", "+01.5"),
            ("xs:decimal", "-0.0", "0"),
            ("xs:decimal", "10", "10.0"),
            ("xs:boolean", "1", "True"),
            ("xs:dateTime", "2020-01-01T00:00:00Z", "2020-01-01T02:00:00.000+02:00"),
            ("xs:dateTime", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00"),
            ("xs:dateTime", "2019-12-31T24:00:00Z", "2020-01-01T00:00:00Z"),
            ("xs:dateTime", "2020-01-01T00:00:00.120Z", "2020-01-01T00:00:00.12Z"),
        ] {
            assert_eq!(canonical(r#type, one), canonical(r#type, other), "{type} {one} {other}");
        }
    }

    #[test]
    fn other_values_are_not_equal() {
        for (r#type, one, other) in [
            ("xs:string", "a", "a "),
            ("xs:string", "7", "07"),
            ("xs:long", "7", "70"),
            ("xs:long", "7", "x"),
            ("xs:double", "1", "1.0000000000000002"),
            ("xs:double", "INF", "-INF"),
            ("xs:double", "INF", "1e400"),
            ("xs:double", "0", "1e-400"),
            ("xs:double", "NaN", "nan"),
            ("xs:decimal", "1.5", "-1.5"),
            ("xs:decimal", "100", "1"),
            ("xs:decimal", "1.1", "11"),
            ("xs:decimal", "1.05", "1.5"),
            ("xs:boolean", "true", "false"),
            ("xs:boolean", "true", "yes"),
            ("xs:dateTime", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00+01:00"),
            ("xs:dateTime", "2020-01-01T00:00:00.1Z", "2020-01-01T00:00:00.01Z"),
            ("xs:anyType", "POINT (1 2)", "POINT(1 2)"),
            ("xs:anyType", "POINT (1 2)", " POINT (1 2)"),
        ] {
            assert_ne!(canonical(r#type, one), canonical(r#type, other), "{type} {one} {other}");
        }
        let mut null = Vec::new();
        Cell::NULL.canonical(&mut null);
        assert_ne!(null, canonical("xs:string", ""));
    }

    #[test]
    fn values_are_shown_as_what_they_are() {
        for (r#type, text, json, shown) in [
            ("xs:string", "Café", "\"Café\"", "Café"),
            ("xs:string", "", "\"\"", "\"\""),
            ("xs:string", "null", "\"null\"", "\"null\""),
            ("xs:string", " a", "\" a\"", "\" a\""),
            ("xs:string", "a b", "\"a b\"", "a b"),
            ("xs:long", " +9223372036854775807 ", "9223372036854775807", "+9223372036854775807"),
            ("xs:long", "many", "\"many\"", "many"),
            (
                "xs:unsignedLong",
                "18446744073709551615",
                "18446744073709551615",
                "18446744073709551615",
            ),
            ("xs:double", "4.5E1", "45.0", "4.5E1"),
            ("xs:double", "NaN", "\"NaN\"", "NaN"),
            ("xs:double", "-INF", "\"-INF\"", "-INF"),
            ("xs:boolean", "1", "true", "1"),
            ("xs:decimal", "1.50", "\"1.50\"", "1.50"),
            (
                "xs:dateTime",
                "2020-01-01T00:00:00",
                "\"2020-01-01T00:00:00\"",
                "2020-01-01T00:00:00",
            ),
            ("xs:anyType", "POINT (1 2)", "\"POINT (1 2)\"", "POINT (1 2)"),
        ] {
            let cell = cell(r#type, text);
            assert_eq!(serde_json::to_string(&cell).unwrap(), json, "{type} {text}");
            assert_eq!(cell.to_string(), shown, "{type} {text}");
        }
        assert_eq!(serde_json::to_string(&Cell::NULL).unwrap(), "null");
        assert_eq!(Cell::NULL.to_string(), "null");
        let with_elements = Cell::of_text("t").with_inside(1);
        assert_eq!(with_elements.to_string(), "t (and elements inside)");
        let long = "é".repeat(300);
        assert_eq!(cell("xs:string", &long).to_string(), "é".repeat(200) + "…");
    }

    #[test]
    fn long_texts_are_shown_where_they_differ() {
        let text = |end: &str| "é".repeat(150) + end;
        let (one, other) = (text("a"), text("b"));
        let shown = shown_pair(&Cell::of_text(&one), &Cell::of_text(&other));
        let context = "é".repeat(20);
        assert_eq!(shown, (format!("…{context}a"), format!("…{context}b")));
        let shown = shown_pair(&Cell::of_text("a"), &Cell::of_text(&other));
        assert_eq!(shown, ("a".to_owned(), other.clone()));
        let shown = shown_pair(&Cell::of_text(&other), &Cell::NULL);
        assert_eq!(shown, (other.clone(), "null".to_owned()));
        let shown = shown_pair(&Cell::of_text(&other), &Cell::of_text(&text(&"b".repeat(300))));
        let context = "é".repeat(19);
        assert_eq!(shown.0, format!("…{context}b"));
        assert_eq!(shown.1, format!("…{context}{}…", "b".repeat(181)));
    }
}
