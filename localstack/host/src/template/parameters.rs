//! The template's parameters: what they allow, and what they were given.

use std::collections::BTreeMap;

use regex_lite::Regex;

use super::{
    Result, TemplateError,
    value::{Kind, Value},
    yaml::{Entry, Node},
};

/// What `Ref` gives for each parameter.
///
/// `hidden` takes the values of those with `NoEcho`. It is filled first: it must keep values out of every message,
/// those of this function included.
pub(super) fn apply(
    declared: &[Entry],
    given: &BTreeMap<String, String>,
    hidden: &mut Vec<String>,
) -> Result<BTreeMap<String, Value>> {
    for entry in declared {
        hide(entry, given, hidden);
    }
    for name in given.keys() {
        if !declared.iter().any(|entry| entry.key == *name) {
            let message = format!("the template has no parameter {name}");
            return Err(TemplateError::at(declared.first().map_or(1, |entry| entry.line), message));
        }
    }
    declared
        .iter()
        .map(|entry| {
            let declaration = Declaration::read(entry).map_err(|error| error.within(&entry.key))?;
            let value = declaration.value(entry, given.get(&entry.key)).map_err(|error| error.within(&entry.key))?;
            Ok((entry.key.clone(), value))
        })
        .collect()
}

fn hide(entry: &Entry, given: &BTreeMap<String, String>, hidden: &mut Vec<String>) {
    let secret = entry.value.get("NoEcho").and_then(Node::text).is_some_and(|text| !text.eq_ignore_ascii_case("false"));
    if !secret {
        return;
    }
    let default = entry.value.get("Default").and_then(Node::text);
    for text in [given.get(&entry.key).map(String::as_str), default].into_iter().flatten() {
        hidden.push(text.to_owned());
        hidden.extend(text.split(',').map(|part| part.trim().to_owned()));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ParameterType {
    Text,
    Number,
    List,
}

#[derive(Debug)]
struct Declaration<'a> {
    kind: ParameterType,
    default: Option<&'a Node>,
    allowed: Option<Vec<&'a str>>,
    pattern: Option<Regex>,
    value: (Option<f64>, Option<f64>),
    length: (Option<f64>, Option<f64>),
    no_echo: bool,
    constraint: Option<&'a str>,
}

impl<'a> Declaration<'a> {
    fn read(entry: &'a Entry) -> Result<Self> {
        let mut read = Self {
            kind: ParameterType::Text,
            default: None,
            allowed: None,
            pattern: None,
            value: (None, None),
            length: (None, None),
            no_echo: false,
            constraint: None,
        };
        let mut has_type = false;
        for part in entry.value.map("a parameter")? {
            has_type |= part.key == "Type";
            read.part(part)?;
        }
        if !has_type {
            return Err(TemplateError::at(entry.line, "Type is missing"));
        }
        if read.kind != ParameterType::Number && read.value != (None, None) {
            return Err(TemplateError::at(entry.line, "MinValue and MaxValue are for the type Number"));
        }
        if read.kind != ParameterType::Text && read.length != (None, None) {
            return Err(TemplateError::at(entry.line, "MinLength and MaxLength are for the type String"));
        }
        Ok(read)
    }

    fn part(&mut self, part: &'a Entry) -> Result<()> {
        let Entry { key, line, value } = part;
        match key.as_str() {
            "Type" => {
                self.kind = match value.required_text("Type")? {
                    "String" => ParameterType::Text,
                    "Number" => ParameterType::Number,
                    "CommaDelimitedList" => ParameterType::List,
                    other => {
                        let known = "String, Number and CommaDelimitedList are";
                        let message = format!("the type {other} is not supported by this host: {known}");
                        return Err(TemplateError::at(value.line, message));
                    }
                }
            }
            "Default" => {
                value.required_text("Default")?;
                self.default = Some(value);
            }
            "AllowedValues" => {
                let texts = value.list("AllowedValues")?.iter().map(|item| item.required_text("AllowedValues"));
                self.allowed = Some(texts.collect::<Result<_>>()?);
            }
            "AllowedPattern" => {
                let pattern = value.required_text("AllowedPattern")?;
                let whole = Regex::new(&format!("^(?:{pattern})$"));
                self.pattern = Some(whole.map_err(|error| {
                    TemplateError::at(value.line, format!("AllowedPattern is no pattern that this host reads: {error}"))
                })?);
            }
            "MinValue" => self.value.0 = Some(bound(part)?),
            "MaxValue" => self.value.1 = Some(bound(part)?),
            "MinLength" => self.length.0 = Some(bound(part)?),
            "MaxLength" => self.length.1 = Some(bound(part)?),
            "NoEcho" => {
                self.no_echo = match value.required_text("NoEcho")? {
                    "true" | "True" => true,
                    "false" | "False" => false,
                    _ => return Err(TemplateError::at(value.line, "NoEcho must be true or false")),
                }
            }
            "Description" => {
                value.required_text("Description")?;
            }
            "ConstraintDescription" => self.constraint = Some(value.required_text("ConstraintDescription")?),
            other => return Err(TemplateError::at(*line, format!("{other} is no property of a parameter"))),
        }
        Ok(())
    }

    fn value(&self, entry: &Entry, given: Option<&String>) -> Result<Value> {
        let line = entry.line;
        let default = self.default.and_then(Node::text);
        let Some(text) = given.map(String::as_str).or(default) else {
            return Err(TemplateError::at(line, "the parameter is missing: it has no default"));
        };
        if self.kind != ParameterType::List {
            self.check(line, text)?;
            return Ok(Value::of_text(line, text));
        }
        let mut items = Vec::new();
        for item in text.split(',').map(str::trim) {
            self.check(line, item)?;
            items.push(Value::of_text(line, item));
        }
        Ok(Value { line, kind: Kind::List(items) })
    }

    fn check(&self, line: usize, text: &str) -> Result<()> {
        let shown = if self.no_echo { "the value (not shown)" } else { text };
        let refuse = |why: String| {
            let why = self.constraint.map_or(why, ToOwned::to_owned);
            Err(TemplateError::at(line, format!("{shown} is not allowed: {why}")))
        };
        if self.kind == ParameterType::Number {
            let Some(number) = number(text) else { return refuse("it must be a number".to_owned()) };
            if let Some(why) = outside(self.value, number) {
                return refuse(format!("it must be {why}"));
            }
        }
        let characters = number(&text.chars().count().to_string()).unwrap_or(f64::MAX);
        if let Some(why) = outside(self.length, characters) {
            return refuse(format!("it must have {why} characters"));
        }
        if let Some(allowed) = &self.allowed
            && !allowed.contains(&text)
        {
            return refuse(format!("it must be one of {}", allowed.join(", ")));
        }
        if let Some(pattern) = &self.pattern
            && !pattern.is_match(text)
        {
            return refuse("it does not match AllowedPattern".to_owned());
        }
        Ok(())
    }
}

fn outside((least, most): (Option<f64>, Option<f64>), number: f64) -> Option<String> {
    if let Some(least) = least.filter(|least| number < *least) {
        return Some(format!("at least {least}"));
    }
    most.filter(|most| number > *most).map(|most| format!("at most {most}"))
}

fn bound(part: &Entry) -> Result<f64> {
    let text = part.value.required_text(&part.key)?;
    number(text).ok_or_else(|| TemplateError::at(part.value.line, format!("{} must be a number", part.key)))
}

/// A finite number as CloudFormation writes one: not `inf`, not `nan`.
fn number(text: &str) -> Option<f64> {
    let sound = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse::<f64>().ok().filter(|number| sound && number.is_finite())
}
