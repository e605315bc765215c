//! The pattern language of EventBridge, which SNS filter policies and filters of event source mappings share.
//!
//! Rules: <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html> and
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html>.
//! Keys are joined by *and*, the values of a key by *or*. An array of the event matches when one of its elements does;
//! an object in an array has to satisfy all rules about it by itself.

mod check;
mod text;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub use check::check;

/// Names that cannot be keys inside of `$or`: with one of them, `$or` is a key like any other.
const OPERATORS: [&str; 9] =
    ["exact", "prefix", "suffix", "anything-but", "exists", "numeric", "equals-ignore-case", "cidr", "wildcard"];

/// Whether the pattern takes this JSON document. A pattern that [`check`] refuses takes nothing that it cannot read.
#[must_use]
pub fn matches(pattern: &Value, event: &Value) -> bool {
    let Value::Object(keys) = pattern else { return false };
    object_matches(keys, Some(event))
}

/// The alternatives of a `$or`; `None` when the key is an ordinary one, as it is with fewer than two objects or with
/// an operator's name among their keys.
pub(crate) fn alternatives<'a>(key: &str, rule: &'a Value) -> Option<Vec<&'a Map<String, Value>>> {
    if key != "$or" {
        return None;
    }
    let items = rule.as_array()?;
    let objects: Vec<_> = items.iter().map(Value::as_object).collect::<Option<_>>()?;
    let reserved = objects.iter().any(|object| object.keys().any(|key| OPERATORS.contains(&key.as_str())));
    (objects.len() >= 2 && !reserved).then_some(objects)
}

fn object_matches(keys: &Map<String, Value>, event: Option<&Value>) -> bool {
    match event {
        Some(Value::Array(items)) if !items.is_empty() => items.iter().any(|item| object_matches(keys, Some(item))),
        event => keys.iter().all(|(key, rule)| key_matches(key, rule, event)),
    }
}

fn key_matches(key: &str, rule: &Value, parent: Option<&Value>) -> bool {
    if let Some(alternatives) = alternatives(key, rule) {
        return alternatives.into_iter().any(|keys| object_matches(keys, parent));
    }
    let child = parent.and_then(|parent| parent.get(key));
    match rule {
        Value::Object(keys) => object_matches(keys, child),
        Value::Array(rules) => {
            let leaves = child.map(leaves).unwrap_or_default();
            rules.iter().any(|rule| leaves_match(rule, &leaves))
        }
        _ => false,
    }
}

/// The values at a place of the event: one, those of an array, or none when there is nothing or an object, for
/// patterns see leaves only.
fn leaves(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(_) => Vec::new(),
        Value::Array(items) => items.iter().flat_map(leaves).collect(),
        leaf => vec![leaf],
    }
}

fn leaves_match(rule: &Value, leaves: &[&Value]) -> bool {
    match rule.get("exists") {
        Some(Value::Bool(wanted)) => *wanted != leaves.is_empty(),
        _ => leaves.iter().any(|leaf| leaf_matches(rule, leaf)),
    }
}

fn leaf_matches(rule: &Value, leaf: &Value) -> bool {
    match rule {
        Value::Object(operator) => operator.iter().all(|(name, operand)| operator_matches(name, operand, leaf)),
        // As documented, numbers are compared as they are written: 300 is not 300.0. `numeric` compares what they mean.
        value => value == leaf,
    }
}

fn operator_matches(name: &str, operand: &Value, leaf: &Value) -> bool {
    match (name, operand) {
        ("anything-but", operand) => !excluded(operand, leaf),
        ("numeric", Value::Array(terms)) => leaf.as_f64().is_some_and(|number| in_range(terms, number)),
        (_, Value::String(operand)) => leaf.as_str().is_some_and(|leaf| text::matches(name, operand, leaf)),
        // {"prefix": {"equals-ignore-case": …}} and the same with suffix.
        ("prefix" | "suffix", Value::Object(inner)) => {
            let operand = inner.get("equals-ignore-case").and_then(Value::as_str);
            let pair = operand.zip(leaf.as_str());
            pair.is_some_and(|(operand, leaf)| text::matches(name, &operand.to_lowercase(), &leaf.to_lowercase()))
        }
        _ => false,
    }
}

/// What `anything-but` excludes: a value, a list of values, or what one operator takes of one operand or of a list.
fn excluded(operand: &Value, leaf: &Value) -> bool {
    match operand {
        Value::Array(values) => values.contains(leaf),
        Value::Object(operator) => operator.iter().any(|(name, operand)| match operand {
            Value::Array(operands) if name != "numeric" => {
                operands.iter().any(|operand| operator_matches(name, operand, leaf))
            }
            operand => operator_matches(name, operand, leaf),
        }),
        value => value == leaf,
    }
}

/// `[">", 0, "<=", 5]`: every pair holds.
fn in_range(terms: &[Value], number: f64) -> bool {
    let (pairs, rest) = terms.as_chunks::<2>();
    rest.is_empty()
        && pairs.iter().all(|[comparison, bound]| {
            let Some(bound) = bound.as_f64() else { return false };
            match comparison.as_str() {
                Some("=") => number == bound,
                Some("<") => number < bound,
                Some("<=") => number <= bound,
                Some(">") => number > bound,
                Some(">=") => number >= bound,
                _ => false,
            }
        })
}
