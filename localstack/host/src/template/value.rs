//! Resolved values, and reading typed properties out of them.

use std::ops::RangeInclusive;

use serde_json::{Map, Number, Value as Json};

use super::{Result, TemplateError};

/// A value without intrinsics, with the line on which it stands in the template.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    /// From 1.
    pub(super) line: usize,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a [`Value`] is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// `plain` text was written without quotes.
    Text { text: String, plain: bool },
    /// A list.
    List(Vec<Value>),
    /// A map in the order of the template.
    Map(Vec<Field>),
}

/// A key of a map with its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    /// Key.
    pub(super) name: String,
    /// Line of the key.
    pub(super) line: usize,
    /// Value.
    pub(super) value: Value,
}

impl Value {
    /// Text as if it had been written in quotes.
    pub(super) fn of_text(line: usize, text: impl Into<String>) -> Self {
        Self { line, kind: Kind::Text { text: text.into(), plain: false } }
    }

    /// An error at this value.
    pub(super) fn error(&self, message: impl Into<String>) -> TemplateError {
        TemplateError::at(self.line, message)
    }

    /// Text, numbers and truth values included, as CloudFormation takes them.
    pub(super) fn text(&self, what: &str) -> Result<&str> {
        match &self.kind {
            Kind::Text { text, .. } => Ok(text),
            _ => Err(self.error(format!("{what} must be text"))),
        }
    }

    /// The elements of a list.
    pub(super) fn list(&self, what: &str) -> Result<&[Self]> {
        match &self.kind {
            Kind::List(list) => Ok(list),
            _ => Err(self.error(format!("{what} must be a list"))),
        }
    }

    /// The fields of a map, to be taken one by one.
    pub(super) fn fields(self, path: &str) -> Result<Fields> {
        match self.kind {
            Kind::Map(fields) => Ok(Fields { path: path.to_owned(), line: self.line, fields }),
            _ => Err(self.error(format!("{path} must be a map"))),
        }
    }

    /// A whole number within a range, written as a number or as text.
    pub(super) fn number(&self, what: &str, range: &RangeInclusive<u32>) -> Result<u32> {
        let text = self.text(what)?;
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && range.contains(number)).ok_or_else(|| {
            self.error(format!("{what} must be a whole number from {} to {}, not {text}", range.start(), range.end()))
        })
    }

    /// A truth value, written plainly or as text.
    pub(super) fn flag(&self, what: &str) -> Result<bool> {
        match self.text(what)? {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" => Ok(false),
            other => Err(self.error(format!("{what} must be true or false, not {other}"))),
        }
    }

    /// The same as JSON; plain numbers and truth values become JSON's.
    pub(super) fn json(&self) -> Json {
        match &self.kind {
            Kind::Text { text, plain: true } => plain_json(text),
            Kind::Text { text, plain: false } => Json::String(text.clone()),
            Kind::List(list) => list.iter().map(Self::json).collect(),
            Kind::Map(fields) => {
                Json::Object(fields.iter().map(|field| (field.name.clone(), field.value.json())).collect::<Map<_, _>>())
            }
        }
    }
}

fn plain_json(text: &str) -> Json {
    match text {
        "true" | "True" | "TRUE" => return Json::Bool(true),
        "false" | "False" | "FALSE" => return Json::Bool(false),
        _ => {}
    }
    let number = text.strip_prefix('+').unwrap_or(text);
    if let Ok(whole) = number.parse::<i64>() {
        return Json::from(whole);
    }
    let looks_like_number = number.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let parsed = number.parse::<f64>().ok().filter(|_| looks_like_number).and_then(Number::from_f64);
    parsed.map_or_else(|| Json::String(text.to_owned()), Json::Number)
}

/// The properties of a resource, or of a part of it. Every one must be taken, or named as one without effect:
/// [`Fields::finish`] refuses what is left.
#[derive(Debug)]
pub(super) struct Fields {
    /// What it is a part of, for messages: empty for a resource's own properties.
    path: String,
    /// Where it begins: what is missing is reported there.
    line: usize,
    fields: Vec<Field>,
}

impl Fields {
    /// A resource's own properties; `line` is the resource's.
    pub(super) fn of_resource(line: usize, properties: Value) -> Result<Self> {
        let mut fields = properties.fields("Properties")?;
        fields.path.clear();
        fields.line = line;
        Ok(fields)
    }

    /// Where it begins.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// How messages name a field: `ScalingConfig.MaximumConcurrency`.
    pub(super) fn name(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// An error at the whole.
    pub(super) fn error(&self, message: impl Into<String>) -> TemplateError {
        TemplateError::at(self.line, message)
    }

    /// A property, if it is there.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let position = self.fields.iter().position(|field| field.name == name)?;
        Some(self.fields.remove(position).value)
    }

    /// A property that must be there.
    pub(super) fn required(&mut self, name: &str) -> Result<Value> {
        self.take(name).ok_or_else(|| self.error(format!("{} is missing", self.name(name))))
    }

    /// Text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>> {
        let what = self.name(name);
        self.take(name).map(|value| value.text(&what).map(ToOwned::to_owned)).transpose()
    }

    /// Text that must be there.
    pub(super) fn required_text(&mut self, name: &str) -> Result<String> {
        let what = self.name(name);
        self.required(name)?.text(&what).map(ToOwned::to_owned)
    }

    /// A whole number.
    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<u32>) -> Result<Option<u32>> {
        let what = self.name(name);
        self.take(name).map(|value| value.number(&what, &range)).transpose()
    }

    /// A truth value.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        let what = self.name(name);
        self.take(name).map(|value| value.flag(&what)).transpose()
    }

    /// One of a few words.
    pub(super) fn choice(&mut self, name: &str, words: &[&str]) -> Result<Option<String>> {
        let what = self.name(name);
        let Some(value) = self.take(name) else { return Ok(None) };
        let text = value.text(&what)?;
        if words.contains(&text) {
            return Ok(Some(text.to_owned()));
        }
        let allowed = if let [only] = words { format!("be {only}") } else { format!("be one of {}", words.join(", ")) };
        Err(value.error(format!("{what} must {allowed}, not {text}")))
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>> {
        let what = self.name(name);
        let Some(value) = self.take(name) else { return Ok(None) };
        value.list(&what)?.iter().map(|item| item.text(&what).map(ToOwned::to_owned)).collect::<Result<_>>().map(Some)
    }

    /// A part with fields of its own.
    pub(super) fn part(&mut self, name: &str) -> Result<Option<Self>> {
        let what = self.name(name);
        self.take(name).map(|value| value.fields(&what)).transpose()
    }

    /// The parts of a list.
    pub(super) fn parts(&mut self, name: &str) -> Result<Vec<Self>> {
        let what = self.name(name);
        let Some(value) = self.take(name) else { return Ok(Vec::new()) };
        match value.kind {
            Kind::List(list) => list.into_iter().map(|item| item.fields(&what)).collect(),
            _ => Err(value.error(format!("{what} must be a list"))),
        }
    }

    /// Drops what is known and changes nothing on this machine.
    pub(super) fn without_effect(&mut self, names: &[&str]) {
        self.fields.retain(|field| !names.contains(&field.name.as_str()));
    }

    /// Refuses a property that would change what happens, with the reason.
    pub(super) fn refuse(&self, name: &str, why: &str) -> Result<()> {
        match self.fields.iter().find(|field| field.name == name) {
            Some(field) => {
                Err(TemplateError::at(field.line, format!("{} is not supported by this host: {why}", self.name(name))))
            }
            None => Ok(()),
        }
    }

    /// Refuses a switch that is on; off, it says what holds anyway.
    pub(super) fn refuse_flag(&mut self, name: &str, why: &str) -> Result<()> {
        let what = self.name(name);
        let field = self.fields.iter().find(|field| field.name == name);
        if let Some(field) = field
            && !field.value.flag(&what).is_ok_and(|on| !on)
        {
            return self.refuse(name, why);
        }
        self.without_effect(&[name]);
        Ok(())
    }

    /// Refuses whatever was not taken; `whose` is the resource's type.
    pub(super) fn finish(&self, whose: &str) -> Result<()> {
        match self.fields.first() {
            None => Ok(()),
            Some(field) => Err(TemplateError::at(
                field.line,
                format!("{} is no property of {whose} that this host knows", self.name(&field.name)),
            )),
        }
    }

    /// What is left, as names and values.
    pub(super) fn rest(self) -> Vec<Field> {
        self.fields
    }
}
