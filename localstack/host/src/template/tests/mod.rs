//! What is read as what, and what is refused where.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a surprise fails the test")]

mod faulty;
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
