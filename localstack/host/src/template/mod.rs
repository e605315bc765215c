//! Reads a SAM template into a [`Stack`]: YAML with places, parameters, conditions, intrinsics, SAM's own resources.
//!
//! Whatever it does not know is an error that names line and resource; nothing is passed over in silence.

mod attributes;
mod conditions;
mod document;
mod intrinsics;
mod outputs;
mod parameters;
mod references;
mod resources;
mod sam;
mod substitution;
mod value;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use document::Document;
use intrinsics::Resolver;

use crate::model::{Place, Stack};

/// Stands for a value that must not be shown.
const HIDDEN: &str = "****";

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {}{message}", resource.as_ref().map(|id| format!("{id}: ")).unwrap_or_default())]
pub struct TemplateError {
    /// Line of the template, from 1.
    pub line: usize,
    /// Logical id of the resource, output, condition or parameter it stands in.
    pub resource: Option<String>,
    /// What is wrong, and what would be right.
    pub message: String,
}

type Result<T, E = TemplateError> = std::result::Result<T, E>;

impl TemplateError {
    fn at(line: usize, message: impl Into<String>) -> Self {
        Self { line, resource: None, message: message.into() }
    }

    /// Says whose error it is, unless that is known already.
    fn within(mut self, resource: &str) -> Self {
        self.resource.get_or_insert_with(|| resource.to_owned());
        self
    }

    /// The same without values that must not be shown.
    fn without(mut self, hidden: &[String]) -> Self {
        let mut longest_first: Vec<&String> = hidden.iter().filter(|text| !text.is_empty()).collect();
        longest_first.sort_unstable_by_key(|text| std::cmp::Reverse(text.len()));
        for text in longest_first {
            self.message = self.message.replace(text.as_str(), HIDDEN);
        }
        self
    }
}

/// Reads a template.
///
/// `parameters` overrides the template's defaults; `secret` gives the value of a generated secret by its logical id
/// and length, the same at every call. A value that does not have the characters that the template asks for is not used
/// itself, but one that is derived from it.
///
/// # Errors
/// The first thing that is unknown, missing or contradictory.
pub fn read(
    text: &str,
    parameters: &BTreeMap<String, String>,
    place: &Place,
    secret: &mut dyn FnMut(&str, usize) -> String,
) -> Result<Stack, TemplateError> {
    let mut hidden = Vec::new();
    read_hiding(text, parameters, place, secret, &mut hidden).map_err(|error| error.without(&hidden))
}

fn read_hiding(
    text: &str,
    given: &BTreeMap<String, String>,
    place: &Place,
    secret: &mut dyn FnMut(&str, usize) -> String,
    hidden: &mut Vec<String>,
) -> Result<Stack> {
    let mut document = Document::read(text)?;
    sam::expand(&mut document)?;
    let parameters = parameters::apply(&document.parameters, given, hidden)?;
    let mut resolver = Resolver::new(&document, parameters, place, secret, hidden);
    resolver.check_rules()?;
    resolver.check_conditions()?;
    references::check_names(&document)?;
    let mut stack = resources::build(&mut resolver)?;
    stack.outputs = outputs::outputs(&mut resolver)?;
    Ok(stack)
}
