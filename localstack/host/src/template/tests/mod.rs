//! What is read as what, and what is refused where.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a surprise fails the test")]

mod faulty_language;
mod faulty_resources;
mod robust;
mod whole;
mod written;

use std::collections::BTreeMap;

use super::{TemplateError, read};
use crate::model::{Place, Stack};

/// A stack in a region of its own.
fn place() -> Place {
    Place {
        stack_name: "shop".to_owned(),
        region: "eu-north-1".to_owned(),
        endpoint: "http://127.0.0.1:4566".to_owned(),
    }
}

/// A source of secrets that gives what is asked for: so many hexadecimal digits.
fn secret(id: &str, length: usize) -> String {
    id.bytes().map(|byte| format!("{byte:02x}")).collect::<String>().chars().cycle().take(length).collect()
}

fn read_with(text: &str, parameters: &[(&str, &str)]) -> Result<Stack, TemplateError> {
    let parameters: BTreeMap<String, String> =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    read(text, &parameters, &place(), &mut secret)
}

/// The line of the mark, or 1.
fn marked_line(text: &str) -> usize {
    text.lines().position(|line| line.contains("# <-")).map_or(1, |position| position + 1)
}

/// Asserts that a template is refused at its mark `# <-`, with a message that holds this text.
fn assert_refused(text: &str, expected: &str) {
    let parameters: &[(&str, &str)] = if text.contains("NoEcho") { &[("Secret", "hunter2hunter2")] } else { &[] };
    let Err(error) = read_with(text, parameters) else { panic!("was read, but should not have been:\n{text}") };

    assert!(error.message.contains(expected), "expected {expected:?}, got {error}:\n{text}");
    assert_eq!(error.line, marked_line(text), "{error}:\n{text}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

fn assert_all_refused(around: impl Fn(&str) -> String, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_refused(&around(text), expected);
    }
}

/// Lines of a block, indented.
fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect()
}
