//! Which patterns are refused, and with which words.

use serde_json::{Map, Value};

use super::{alternatives, text};

/// Numbers of `numeric` lie between minus and plus this.
const NUMERIC_MAX: f64 = 5e9;

/// Whether a pattern can be used at all.
///
/// # Errors
/// What is wrong with it, in the words of the services.
pub fn check(pattern: &Value) -> Result<(), String> {
    match pattern {
        Value::Object(keys) => check_object(keys),
        _ => Err("Filter is not an object".to_owned()),
    }
}

fn check_object(keys: &Map<String, Value>) -> Result<(), String> {
    for (key, rule) in keys {
        if let Some(alternatives) = alternatives(key, rule) {
            alternatives.into_iter().try_for_each(check_object)?;
            continue;
        }
        match rule {
            Value::Object(inner) if inner.is_empty() => return Err("Empty objects are not allowed".to_owned()),
            Value::Object(inner) => check_object(inner)?,
            Value::Array(rules) if rules.is_empty() => return Err("Empty arrays are not allowed".to_owned()),
            Value::Array(rules) => rules.iter().try_for_each(check_rule)?,
            _ => return Err(format!("\"{key}\" must be an object or an array")),
        }
    }
    Ok(())
}

fn check_rule(rule: &Value) -> Result<(), String> {
    match rule {
        Value::Object(operator) => {
            let (name, operand) = only_entry(operator)?;
            check_operator(name, operand)
        }
        Value::Array(_) => Err("Match value must be String, number, true, false, or null".to_owned()),
        _ => Ok(()),
    }
}

fn only_entry(operator: &Map<String, Value>) -> Result<(&str, &Value), String> {
    let mut entries = operator.iter();
    match (entries.next(), entries.next()) {
        (Some((name, operand)), None) => Ok((name, operand)),
        (None, _) => Err("Empty match expression".to_owned()),
        _ => Err("Only one key allowed in match expression".to_owned()),
    }
}

fn check_operator(name: &str, operand: &Value) -> Result<(), String> {
    match (name, operand) {
        ("exists", Value::Bool(_)) => Ok(()),
        ("exists", _) => Err("exists match pattern must be either true or false.".to_owned()),
        ("numeric", Value::Array(terms)) => check_numeric(terms),
        ("numeric", _) => Err("Value of numeric must be an array.".to_owned()),
        ("anything-but", operand) => check_anything_but(operand),
        ("prefix" | "suffix", Value::Object(inner)) => match only_entry(inner)? {
            ("equals-ignore-case", Value::String(_)) => Ok(()),
            ("equals-ignore-case", _) => Err(format!("{name} match pattern must be a string")),
            (other, _) => Err(format!("Unsupported {name} pattern: {other}")),
        },
        _ => check_text_operator(name, operand),
    }
}

/// Operators whose operand is a string.
fn check_text_operator(name: &str, operand: &Value) -> Result<(), String> {
    match (name, operand) {
        ("prefix" | "suffix" | "equals-ignore-case", Value::String(_)) => Ok(()),
        ("wildcard", Value::String(operand)) => text::wildcard(operand).map(drop),
        ("cidr", Value::String(operand)) => text::parse_cidr(operand).map(drop),
        ("prefix" | "suffix" | "equals-ignore-case" | "wildcard" | "cidr", _) => {
            Err(format!("{name} match pattern must be a string"))
        }
        _ => Err(format!("Unrecognized match type {name}")),
    }
}

fn check_anything_but(operand: &Value) -> Result<(), String> {
    match operand {
        Value::String(_) | Value::Number(_) => Ok(()),
        Value::Array(values) if values.is_empty() => Err("Empty arrays are not allowed".to_owned()),
        Value::Array(values) if values.iter().all(|value| value.is_string() || value.is_number()) => Ok(()),
        Value::Array(_) => Err("Inside anything but list, start|null|boolean is not supported.".to_owned()),
        Value::Object(operator) => {
            let (name, operand) = only_entry(operator)?;
            if !["prefix", "suffix", "equals-ignore-case", "wildcard"].contains(&name) {
                return Err(format!("Unsupported anything-but pattern: {name}"));
            }
            match operand {
                Value::Array(values) if values.is_empty() => Err("Empty arrays are not allowed".to_owned()),
                Value::Array(values) => values.iter().try_for_each(|value| check_text_operator(name, value)),
                operand => check_text_operator(name, operand),
            }
        }
        _ => Err("Value of anything-but must be an array or single string/number value.".to_owned()),
    }
}

fn check_numeric(terms: &[Value]) -> Result<(), String> {
    let (first, rest) = match terms {
        [] => return Err("Invalid member in numeric match: ]".to_owned()),
        [operator] => return Err(numeric_operand_missing(operator)),
        [operator, bound, rest @ ..] => ((operator, bound), rest),
    };
    let (operator, bottom) = numeric_term(first.0, first.1)?;
    if rest.is_empty() {
        return Ok(());
    }
    if !operator.starts_with('>') {
        return Err("Too many elements in numeric expression".to_owned());
    }
    let (second, bound) = match rest {
        [operator] => return Err(numeric_operand_missing(operator)),
        [operator, bound] => (operator, bound),
        _ => return Err("Too many terms in numeric range expression".to_owned()),
    };
    let (operator, top) = numeric_term(second, bound)?;
    if !operator.starts_with('<') {
        return Err(format!("Bad numeric range operator: {operator}"));
    }
    if bottom >= top {
        return Err("Bottom must be less than top".to_owned());
    }
    Ok(())
}

fn numeric_term<'a>(operator: &'a Value, bound: &Value) -> Result<(&'a str, f64), String> {
    let Value::String(operator) = operator else {
        return Err(format!("Invalid member in numeric match: {operator}"));
    };
    if !["<", "<=", "=", ">", ">="].contains(&operator.as_str()) {
        return Err(format!("Unrecognized numeric range operator: {operator}"));
    }
    let name = if operator == "=" { "equals" } else { operator };
    let bound = bound.as_f64().ok_or_else(|| format!("Value of {name} must be numeric"))?;
    if bound.abs() > NUMERIC_MAX {
        return Err("Value must be between -5.0E9 and 5.0E9, inclusive".to_owned());
    }
    Ok((operator, bound))
}

fn numeric_operand_missing(operator: &Value) -> String {
    numeric_term(operator, &Value::Null).err().unwrap_or_default()
}
