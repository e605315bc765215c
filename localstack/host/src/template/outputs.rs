//! Outputs of the stack.

use std::collections::BTreeMap;

use super::{Result, TemplateError, intrinsics::Resolver, yaml::Entry};

/// Resolves every output whose condition holds.
pub(super) fn outputs(resolver: &mut Resolver<'_>) -> Result<BTreeMap<String, String>> {
    let document = resolver.document;
    let mut outputs = BTreeMap::new();
    for entry in &document.outputs {
        if let Some(text) = output(resolver, entry).map_err(|error| error.within(&entry.key))? {
            outputs.insert(entry.key.clone(), text);
        }
    }
    Ok(outputs)
}

fn output(resolver: &mut Resolver<'_>, entry: &Entry) -> Result<Option<String>> {
    let mut node = None;
    let mut exists = true;
    for part in entry.value.map("an output")? {
        match part.key.as_str() {
            "Value" => node = Some(&part.value),
            "Condition" => exists = resolver.condition(part.value.required_text("Condition")?, part.value.line)?,
            "Description" => {
                part.value.required_text("Description")?;
            }
            "Export" => {
                let message = "Export is not supported by this host: there is one stack";
                return Err(TemplateError::at(part.line, message));
            }
            other => return Err(TemplateError::at(part.line, format!("{other} is no property of an output"))),
        }
    }
    let node = node.ok_or_else(|| TemplateError::at(entry.line, "Value is missing"))?;
    if !exists {
        return Ok(None);
    }
    let text = resolver.text(node, "Value")?;
    if text.contains("{{resolve:") {
        return Err(TemplateError::at(node.line, "an output cannot refer to the value of a secret"));
    }
    Ok(Some(text))
}
