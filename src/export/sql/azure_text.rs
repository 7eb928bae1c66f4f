//! Text in T-SQL scripts.

use crate::export::ExportError;

/// Characters that replace others within a literal: private ones, which texts hardly have.
const STAND_INS: [std::ops::RangeInclusive<char>; 2] =
    ['\u{e000}'..='\u{f8ff}', '\u{f0000}'..='\u{ffffd}'];

/// A bracketed identifier.
pub(super) fn bracketed(name: &str) -> String {
    format!("[{}]", name.replace(']', "]]"))
}

/// A literal of text that has nothing in it that `sqlcmd` changes: a name.
pub(super) fn quoted(text: &str) -> String {
    format!("N'{}'", text.replace('\'', "''"))
}

/// Whether `sqlcmd` or its versions may change the character: some of them write other line ends.
fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// An expression for a text that `sqlcmd` passes on unchanged: without line ends, so that no line
/// in it is GO or begins with a command, and none ends with a backslash; and without `$(`, which
/// begins a variable. Those are written with stand-ins that `REPLACE` turns back; one character
/// takes one's place, so that the result is as long as its argument. (`+` for each line would nest
/// too deeply.)
///
/// # Errors
/// When the text has all stand-ins.
pub(super) fn literal(text: &str, out: &mut Vec<u8>) -> Result<(), ExportError> {
    let mut replaced: Vec<(char, char)> = Vec::new();
    if text.contains(is_line_end) || text.contains("$(") {
        let mut stand_ins =
            STAND_INS.into_iter().flatten().filter(|stand_in| !text.contains(*stand_in));
        let mut characters: Vec<_> = text.chars().filter(|it| is_line_end(*it)).collect();
        if text.contains("$(") {
            characters.push('$');
        }
        characters.sort_unstable();
        characters.dedup();
        for character in characters {
            let stand_in = stand_ins.next().ok_or_else(|| {
                ExportError::Impossible("a text has every private character".to_owned())
            })?;
            replaced.push((character, stand_in));
        }
    }
    for _ in &replaced {
        out.extend_from_slice(b"REPLACE(");
    }
    out.extend_from_slice(b"N'");
    let mut buffer = [0; 4];
    for character in text.chars() {
        let stand_in = replaced.iter().find(|(from, _)| *from == character);
        let character = stand_in.map_or(character, |(_, stand_in)| *stand_in);
        out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        if character == '\'' {
            out.push(b'\'');
        }
    }
    out.push(b'\'');
    for (index, (character, stand_in)) in replaced.iter().enumerate() {
        if index == 0 {
            // Other collations take private characters for nothing.
            out.extend_from_slice(b" COLLATE Latin1_General_100_BIN2");
        }
        let code = u32::from(*character);
        out.extend_from_slice(format!(",N'{stand_in}',NCHAR({code}))").as_bytes());
    }
    Ok(())
}
