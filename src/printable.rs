//! Text from outside, made safe for one line of a terminal.

use std::any::Any;
use std::borrow::Cow;

/// Whether a character is active: control characters (a terminal obeys them, and a line feed forges
/// a line), line and paragraph separators, and those that change the direction of the text around
/// them.
pub fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// The text with every active character written as in `\u{1b}`, always one line.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_active) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if is_active(character) {
            line.extend(character.escape_unicode());
        } else {
            line.push(character);
        }
    }
    Cow::Owned(line)
}

/// What a panic says, at most 300 characters of it. `panic` is what was caught.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    format!("it panicked: {}", text.chars().take(300).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn active_characters_are_escaped() {
        let text = "a\nb\r\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{2066}\u{2028}\u{2029}é 漢";
        let line = r"a\u{a}b\u{d}\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{2066}\u{2028}\u{2029}é 漢";
        assert_eq!(one_line(text), line);
        assert!(matches!(one_line("plain é"), Cow::Borrowed("plain é")));
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_harmless_line(text in any::<String>()) {
            let line = one_line(&text);
            prop_assert!(!line.contains(is_active));
            prop_assert_eq!(one_line(&line), &*line);
        }
    }
}
