//! The text of `Fn::Sub`, in pieces.

use super::{Result, TemplateError};

/// A piece of a text with variables.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// As it is.
    Text(String),
    /// What stands between `${` and `}`.
    Name(&'a str),
}

/// Takes a text apart: `${NAME}` is a variable, `${!NAME}` the text `${NAME}`.
pub(super) fn pieces(text: &str, line: usize) -> Result<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let (name, after) = after.split_once('}').ok_or_else(|| TemplateError::at(line, "a ${ is not closed"))?;
        let sound = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte))
        };
        match name.strip_prefix('!') {
            Some(literal) => pieces.push(Piece::Text(format!("${{{literal}}}"))),
            None if sound(name) => pieces.push(Piece::Name(name)),
            None => return Err(TemplateError::at(line, format!("${{{name}}} names nothing"))),
        }
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_names_alternate_and_a_bang_keeps_the_braces() {
        let text = "a${B.C}$${!D}e";

        let pieces = pieces(text, 1).unwrap();

        let text = |text: &str| Piece::Text(text.to_owned());
        assert_eq!(pieces, [text("a"), Piece::Name("B.C"), text("$"), text("${D}"), text("e")]);
    }

    #[test]
    fn what_is_not_closed_or_names_nothing_is_refused() {
        for (given, expected) in [("a${B", "not closed"), ("${}", "names nothing"), ("${a b}", "names nothing")] {
            let error = pieces(given, 7).unwrap_err();

            assert!(error.message.contains(expected), "{given}: {error}");
            assert_eq!(error.line, 7);
        }
    }
}
