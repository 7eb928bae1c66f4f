//! Text that the service sends: extracted from markup, made safe to store and show, and searched
//! for what decisions need.

use crate::printable::{is_active, one_line};
use crate::secret::{Key, redact};

/// The longest text of the service that a message carries, in characters.
const LONGEST: usize = 500;

/// Makes a text of the service safe for a message: without the key, on one line, without control
/// characters, and of bounded length.
pub(super) fn tidy(text: &str, key: &Key) -> String {
    let redacted = redact(text, &[key]);
    let mut line = String::new();
    for word in redacted.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&one_line(word));
    }
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => {
            line.truncate(end);
            line.push('…');
            line
        }
        None => line,
    }
}

/// Makes a multi-line text of the service safe to store: without the key, without control
/// characters in its lines, and of bounded length in bytes.
pub(super) fn tidy_lines(text: &str, key: &Key, longest: usize) -> String {
    let mut kept = String::new();
    for character in redact(text, &[key]).chars() {
        if kept.len() >= longest {
            break;
        }
        match character {
            '\n' | '\t' => kept.push(character),
            '\r' => {}
            _ if is_active(character) => kept.extend(character.escape_unicode()),
            _ => kept.push(character),
        }
    }
    kept.trim().to_owned()
}

/// Whether a refusal's text is about a limit of the account.
///
/// The service documents no status for that (`Create a Download Job` and related pages know no
/// 429), so the text decides. Whole words, so that "limited to the master key" and "unlimited" do
/// not count; `429 Too Many Requests` alone is a status's name and does not count either.
pub(super) fn mentions_limits(text: &str) -> bool {
    let text = text.to_lowercase().replace("429 too many requests", " ");
    text.contains("too many")
        || text.contains("maximum number")
        || text.split(|c: char| !c.is_alphanumeric()).any(|word| {
            matches!(word, "limit" | "limits" | "quota" | "quotas") || word.starts_with("exceed")
        })
}

/// Whether a refusal's text is about how many data sources an account may have: waiting does not
/// help then. A text about jobs is about the quota of jobs.
pub(super) fn mentions_number_of_sources(text: &str) -> bool {
    let lower = text.to_lowercase();
    let is_about_jobs = lower
        .split(|c: char| !c.is_alphanumeric())
        .any(|word| matches!(word, "job" | "jobs" | "request" | "requests"));
    let is_about_sources = lower.contains("data source") || lower.contains("datasource");
    let is_about_number = mentions_limits(text)
        || ["maximum", "number of"].into_iter().any(|words| lower.contains(words));
    is_about_sources && is_about_number && !is_about_jobs
}

/// The text of the first element of that name, if markup has one; names match in any case.
pub(super) fn element<'a>(markup: &'a str, name: &str) -> Option<&'a str> {
    // ASCII lowercasing keeps every byte's place
    let lower = markup.to_ascii_lowercase();
    let opening = format!("<{}", name.to_ascii_lowercase());
    let begin = lower.match_indices(&opening).map(|(at, tag)| at + tag.len()).find(|&end| {
        lower.get(end..).is_some_and(|rest| rest.starts_with(['>', ' ', '\t', '\r', '\n']))
    })?;
    let begin = begin + lower.get(begin..)?.find('>')? + 1;
    let end = begin + lower.get(begin..)?.find('<')?;
    Some(markup.get(begin..end)?.trim()).filter(|text| !text.is_empty())
}

/// Markup's text without its tags, scripts and styles.
pub(super) fn visible(markup: &str) -> String {
    let mut text = String::new();
    let mut rest = markup;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        let hidden = ["script", "style"].into_iter().find(|name| {
            tag.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        });
        let tag = match hidden {
            Some(name) => {
                // Without copying the rest: there may be very many of these.
                let closes = |at: &usize| {
                    let end = tag.get(at + 2..at + 2 + name.len());
                    end.is_some_and(|end| end.eq_ignore_ascii_case(name))
                };
                let at = tag.match_indices("</").map(|(at, _)| at).find(closes);
                at.and_then(|at| tag.get(at + 1..)).unwrap_or_default()
            }
            None => tag,
        };
        rest = tag.split_once('>').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> Key {
        Key::new("CANARY-0123456789abcdef").unwrap()
    }

    #[test]
    fn tidying_removes_the_key_control_characters_and_length() {
        let text = "line one\r\n\tkey=CANARY-0123456789abcdef \u{1b}[31mred \u{202e}back";
        let tidied = tidy(text, &key());
        assert_eq!(tidied, r"line one key=[key] \u{1b}[31mred \u{202e}back");
        assert_eq!(tidy(&"x".repeat(501), &key()).chars().count(), LONGEST + 1);
    }

    #[test]
    fn quota_refusals_are_recognised_by_their_text() {
        for text in [
            "You have exceeded your daily job limit.",
            "QUOTA reached",
            "Too many jobs are in process",
            "The maximum number of jobs was started",
        ] {
            assert!(mentions_limits(text), "{text}");
        }
        for text in [
            "Access is limited to the master key.",
            "Forbidden",
            "429 Too Many Requests 429 Too Many Requests nginx",
            "unlimited accounts only",
            "",
        ] {
            assert!(!mentions_limits(text), "{text}");
        }
    }

    #[test]
    fn a_full_account_differs_from_a_full_day() {
        for text in [
            "The account already has the maximum of 25 published data sources.",
            "Limit of datasources reached",
            "You have exceeded the number of data sources",
        ] {
            assert!(mentions_number_of_sources(text), "{text}");
        }
        for text in [
            "Too many data source jobs are in process",
            "You have exceeded your daily job limit.",
            "This key may not change the data source",
            "",
        ] {
            assert!(!mentions_number_of_sources(text), "{text}");
        }
    }

    #[test]
    fn an_element_is_found_by_its_whole_name_in_any_case() {
        let page = "<html><TitleBar>no</TitleBar><TITLE lang='en'> Not here </title></html>";
        assert_eq!(element(page, "title"), Some("Not here"));
        assert_eq!(element("<title></title>", "title"), None);
        assert_eq!(element("<title", "title"), None);
    }

    #[test]
    fn the_visible_text_of_a_page_has_no_tags_scripts_or_styles() {
        let page = "<style>p{max:limit}</style><p>Too <b>bad</b></p><SCRIPT>quota()</SCRIPT>.<br";
        let shown = visible(page);
        assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), ["Too", "bad", "."]);
    }

    #[test]
    fn a_page_of_very_many_scripts_is_read_in_one_pass() {
        let begun = std::time::Instant::now();
        let page = "<script></SCRIPT>x".repeat(60_000);
        assert_eq!(visible(&page).matches('x').count(), 60_000);
        // By copies of the rest it takes minutes.
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    }

    #[test]
    fn a_whole_text_is_kept_up_to_its_limit_however_it_is_written_there() {
        let kept = tidy_lines(&"\u{1}\n".repeat(100_000), &key(), 1000);
        assert!(kept.starts_with("\\u{1}\n") && kept.len() <= 1008, "{}", kept.len());
    }

    proptest! {
        #[test]
        fn any_text_survives_reading(text in "\\PC*|(<|>|script|/|é|\u{0}){0,20}") {
            visible(&text);
            element(&text, "script");
            let tidied = tidy(&text, &key());
            prop_assert!(!tidied.contains(char::is_control));
            prop_assert!(tidied.chars().count() <= LONGEST + 1);
        }
    }
}
