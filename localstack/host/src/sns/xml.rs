//! Answers of the query protocol.

use crate::error::ServiceError;
use crate::ids::uuid;

/// The namespace of every answer.
const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";

/// The answer of an operation, around its result.
pub(super) fn answer(operation: &str, result: &str) -> Result<String, ServiceError> {
    let request_id = uuid();
    Ok(format!(
        "<{operation}Response xmlns=\"{NAMESPACE}\"><{operation}Result>{result}</{operation}Result>\
         <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
    ))
}

/// `<name>text</name>`.
pub(super) fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escaped(text))
}

/// The entries of a map.
pub(super) fn map<'a>(name: &str, entries: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut xml = String::new();
    for (key, value) in entries {
        xml += &format!("<entry>{}{}</entry>", element("key", key), element("value", &value));
    }
    format!("<{name}>{xml}</{name}>")
}

/// The members of a list, each of them XML already.
pub(super) fn list(name: &str, members: impl IntoIterator<Item = String>) -> String {
    let mut xml = String::new();
    for member in members {
        xml += &format!("<member>{member}</member>");
    }
    format!("<{name}>{xml}</{name}>")
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // A reader would turn it into a line feed.
            '\r' => out.push_str("&#xD;"),
            // XML has no way to write the others.
            character if character.is_control() && !matches!(character, '\t' | '\n') => {
                out.push(char::REPLACEMENT_CHARACTER);
            }
            character => out.push(character),
        }
    }
    out
}
