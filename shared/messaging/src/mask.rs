//! Making text safe to store, to log and to show: whoever wrote it may have put a card number or a key in.

use florin_domain::ids::ID_BODY_CHARACTERS;

/// Characters shown of a text of unknown origin.
pub const EXCERPT_CHARACTERS_MAX: usize = 120;
/// Characters kept of the reason of a failure.
pub const REASON_CHARACTERS_MAX: usize = 240;

/// A longer word of a text of unknown origin is no word but perhaps a key.
const WORD_CHARACTERS_MAX: usize = 20;
/// In our own texts words of letters alone are names of errors, such as `ProvisionedThroughputExceededException`.
const NAME_CHARACTERS_MAX: usize = 48;
/// Letters before the underscore of our ids: `pay`, `evt`, `re` …
const ID_PREFIX_CHARACTERS_MAX: usize = 3;
/// Characters of a UUID, its dashes included.
const UUID_CHARACTERS: usize = 36;

/// How a text begins, with everything hidden that could be a card number, a CVV, a key or a terminal's control
/// sequence: digits become `#`, long words disappear, and only letters and ASCII stay.
/// Hiding comes before cutting, so that no part of a secret survives the cut.
pub fn excerpt(text: &str) -> String {
    masked(text, EXCERPT_CHARACTERS_MAX, |word| word.chars().count() <= WORD_CHARACTERS_MAX)
}

/// The reason of a failure as `excerpt` would show it, but longer and with the names of errors.
pub fn reason(text: &str) -> String {
    masked(text, REASON_CHARACTERS_MAX, |word| {
        let is_name = word.chars().all(|c| c.is_ascii_alphabetic());
        word.chars().count() <= if is_name { NAME_CHARACTERS_MAX } else { WORD_CHARACTERS_MAX }
    })
}

/// An id of ours or a UUID whole, and anything else as an excerpt: where an id is expected there may be anything.
pub fn id(text: &str) -> String {
    let is_uuid = text.len() == UUID_CHARACTERS && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let is_ours = text.split_once('_').is_some_and(|(prefix, body)| {
        (1..=ID_PREFIX_CHARACTERS_MAX).contains(&prefix.len())
            && prefix.chars().all(|c| c.is_ascii_lowercase())
            && body.len() == ID_BODY_CHARACTERS
            && body.chars().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase())
    });
    if is_uuid || is_ours { text.to_owned() } else { excerpt(text) }
}

fn masked(text: &str, characters_max: usize, is_harmless: impl Fn(&str) -> bool) -> String {
    let is_word = |c: char| c.is_alphanumeric() || "_-+/=".contains(c);
    let mut shown = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if shown.chars().count() >= characters_max {
            return shown.chars().take(characters_max).chain(['…']).collect();
        }
        let end = if is_word(first) { rest.find(|c| !is_word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (run, after) = rest.split_at(end);
        if is_harmless(run) {
            shown.extend(run.chars().map(safe_character));
        } else {
            shown.push_str("[long word]");
        }
        rest = after;
    }
    shown
}

fn safe_character(c: char) -> char {
    match c {
        _ if c.is_numeric() => '#',
        _ if c.is_alphabetic() || c.is_ascii_graphic() || c == ' ' => c,
        _ if c.is_whitespace() => ' ',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wherever the cut falls, also inside of it.
    fn at_every_place(secret: &str, mask: fn(&str) -> String, characters_max: usize) -> impl Iterator<Item = String> {
        (0..characters_max + 10).map(move |before| {
            let shown = mask(&format!("{}{secret} -", " ".repeat(before)));
            assert!(shown.chars().count() <= characters_max + 1, "{shown}");
            shown
        })
    }

    #[test]
    fn nothing_secret_survives_the_mask() {
        let secrets = [
            "4242424242424242",
            "4242 4242 4242 4242",
            "4242-4242-4242-4242",
            "4242.4242.4242.4242",
            "4\n2\n4\n2 4242 4242 4242",
            "\\u0034\\u0032\\u0034\\u0032",
            "\u{ff14}\u{ff12}\u{ff14}\u{ff12}",
            "\u{0664}\u{0662}\u{0664}\u{0662}",
            "sk_test_abcdefghjkmnpqrstvwxyzabcdefghjk",
            "whsec_abcdefghjkmnpqrstvwxyz+/abcdefg=",
            "\"cvv\": 123",
        ];
        for secret in secrets {
            let excerpts = at_every_place(secret, excerpt, EXCERPT_CHARACTERS_MAX);
            for shown in excerpts.chain(at_every_place(secret, reason, REASON_CHARACTERS_MAX)) {
                assert!(!shown.contains(char::is_numeric), "{shown}");
                assert!(!shown.contains("abcdef"), "{shown}");
            }
        }
        assert_eq!(excerpt("a\u{1b}[31mred\u{202e}\u{7}"), "a?[##mred??", "a terminal is not to be steered");
        assert_eq!(excerpt("not an event"), "not an event");
    }

    #[test]
    fn a_reason_keeps_the_names_of_errors_and_an_excerpt_does_not() {
        let text = "the table is not available: ProvisionedThroughputExceededException: slow down";
        assert_eq!(reason(text), text);
        assert_eq!(excerpt(text), "the table is not available: [long word]: slow down");
        assert_eq!(reason(&"abcdefghjk".repeat(5)), "[long word]");
    }

    #[test]
    fn only_ids_are_shown_whole() {
        for text in
            ["13f06694-e2ab-4f44-8472-35ab7c4d7b15", "pay_0123456789abcdefghjkmnpqrs", "re_0123456789abcdefghjkmnpqrs"]
        {
            assert_eq!(id(text), text);
        }
        assert_eq!(id("4242 4242 4242 4242"), "#### #### #### ####");
        for text in ["sk_test_0123456789abcdefghjk", "whsec_0123456789abcdefghjkmnpq", "_0123456789abcdefghjkmnpqrs"] {
            assert_eq!(id(text), "[long word]");
        }
    }
}
