//! Intrinsic functions: what `!Ref`, `!Sub`, `!If` and their like give.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    Result, TemplateError,
    document::{Document, Resource},
    substitution::{Piece, pieces},
    value::{Field, Fields, Kind, Value},
    yaml::{Content, Entry, Node},
};
use crate::model::Place;

/// Levels of calls inside calls, through names and conditions of others too: what the stack holds safely.
const DEPTH_MAX: usize = 96;

/// Resolves nodes of one template for one place.
pub(super) struct Resolver<'a> {
    /// The template.
    pub(super) document: &'a Document,
    /// What `Ref` gives for parameters.
    pub(super) parameters: BTreeMap<String, Value>,
    /// Where the stack is deployed.
    pub(super) place: &'a Place,
    /// Gives the value of a generated secret by logical id and length.
    pub(super) secret: &'a mut dyn FnMut(&str, usize) -> String,
    /// What must not appear in messages.
    pub(super) hidden: &'a mut Vec<String>,
    /// Conditions that are known already.
    pub(super) conditions: BTreeMap<String, bool>,
    /// What is being worked out, outermost first: whatever needs itself is an error.
    pub(super) working: Vec<String>,
    /// Resources that were referred to since the list was taken last, with lines.
    pub(super) references: Vec<(String, usize)>,
    /// Whether a condition is being worked out: it may refer to parameters only.
    pub(super) in_condition: bool,
    depth: usize,
}

impl<'a> Resolver<'a> {
    /// With parameters applied and nothing resolved yet.
    pub(super) fn new(
        document: &'a Document,
        parameters: BTreeMap<String, Value>,
        place: &'a Place,
        secret: &'a mut dyn FnMut(&str, usize) -> String,
        hidden: &'a mut Vec<String>,
    ) -> Self {
        Self {
            document,
            parameters,
            place,
            secret,
            hidden,
            conditions: BTreeMap::new(),
            working: Vec::new(),
            references: Vec::new(),
            in_condition: false,
            depth: 0,
        }
    }

    /// Every property of a resource but those named; secrets are filled in.
    pub(super) fn properties(&mut self, resource: &Resource, but: &[&str]) -> Result<Fields> {
        let wanted = resource.properties.iter().filter(|entry| !but.contains(&entry.key.as_str()));
        let fields = self.fields(wanted)?;
        let mut value = Value { line: resource.line, kind: Kind::Map(fields) };
        self.fill_in_secrets(&mut value)?;
        Fields::of_resource(resource.line, value)
    }

    /// Resolves a node; `None` is `AWS::NoValue`.
    pub(super) fn resolve(&mut self, node: &Node) -> Result<Option<Value>> {
        self.deeper(node.line, |resolver| resolver.resolve_here(node))
    }

    /// Resolves a node that must have a value.
    pub(super) fn value(&mut self, node: &Node) -> Result<Value> {
        self.resolve(node)?.ok_or_else(|| TemplateError::at(node.line, "AWS::NoValue cannot stand here"))
    }

    /// Resolves a node that must be text.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Result<String> {
        self.value(node)?.text(what).map(ToOwned::to_owned)
    }

    /// Runs one level deeper, as long as there are levels.
    pub(super) fn deeper<T>(&mut self, line: usize, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= DEPTH_MAX {
            return Err(TemplateError::at(line, format!("more than {DEPTH_MAX} levels of values inside values")));
        }
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        result
    }

    /// Runs something that must not need itself; `what` names it in the message.
    pub(super) fn once<T>(&mut self, what: &str, line: usize, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if let Some(position) = self.working.iter().position(|other| other == what) {
            let mut way: Vec<&str> = self.working.iter().skip(position).map(String::as_str).collect();
            way.push(what);
            return Err(TemplateError::at(line, format!("a circle: {}", way.join(" needs "))));
        }
        self.working.push(what.to_owned());
        let result = run(self);
        self.working.pop();
        result
    }

    fn resolve_here(&mut self, node: &Node) -> Result<Option<Value>> {
        let line = node.line;
        let kind = match &node.content {
            Content::Scalar { text, plain } => Kind::Text { text: text.clone(), plain: *plain },
            Content::List(list) => Kind::List(self.items(list)?),
            Content::Map(entries) => Kind::Map(self.fields(entries.iter())?),
            Content::Call { function, argument } => return self.call(function, argument, line),
        };
        Ok(Some(Value { line, kind }))
    }

    fn items(&mut self, list: &[Node]) -> Result<Vec<Value>> {
        list.iter().filter_map(|node| self.resolve(node).transpose()).collect()
    }

    fn fields<'n>(&mut self, entries: impl Iterator<Item = &'n Entry>) -> Result<Vec<Field>> {
        let mut fields = Vec::new();
        for entry in entries {
            if let Some(value) = self.resolve(&entry.value)? {
                fields.push(Field { name: entry.key.clone(), line: entry.line, value });
            }
        }
        Ok(fields)
    }

    fn call(&mut self, function: &str, argument: &Node, line: usize) -> Result<Option<Value>> {
        let text = match function {
            "Ref" => {
                let name = argument.required_text("Ref")?;
                return self.reference(name, line);
            }
            "If" => {
                let [condition, yes, no] = arguments("Fn::If", argument)?;
                let condition = self.condition(condition.required_text("the condition of Fn::If")?, line)?;
                return self.resolve(if condition { yes } else { no });
            }
            "GetAtt" => self.get_att(argument, line)?,
            "Sub" => self.sub(argument)?,
            "Join" => self.join(argument)?,
            "Select" => return self.select(argument).map(Some),
            "Split" => return self.split(argument, line).map(Some),
            "FindInMap" => return self.find_in_map(argument).map(Some),
            "Base64" => {
                let text = self.text(argument, "Fn::Base64")?;
                let encoded = BASE64_STANDARD.encode(&text);
                if self.holds_hidden(&text) {
                    self.hidden.push(encoded.clone());
                }
                encoded
            }
            "Length" if self.document.extensions => {
                let value = self.value(argument)?;
                value.list("Fn::Length")?.len().to_string()
            }
            "ToJsonString" if self.document.extensions => self.value(argument)?.json().to_string(),
            "And" | "Or" | "Not" | "Equals" | "Condition" => {
                let message = format!("{function} is a condition; values take Fn::If with the name of one");
                return Err(TemplateError::at(line, message));
            }
            other => {
                let message = format!("the function {other} is not supported by this host");
                return Err(TemplateError::at(line, message));
            }
        };
        Ok(Some(Value::of_text(line, text)))
    }

    fn get_att(&mut self, argument: &Node, line: usize) -> Result<String> {
        let (id, attribute) = match &argument.content {
            Content::Scalar { text, .. } => text
                .split_once('.')
                .map(|(id, attribute)| (id.to_owned(), attribute.to_owned()))
                .ok_or_else(|| TemplateError::at(line, "Fn::GetAtt must be RESOURCE.ATTRIBUTE"))?,
            _ => {
                let [id, attribute] = arguments("Fn::GetAtt", argument)?;
                (id.required_text("Fn::GetAtt")?.to_owned(), self.text(attribute, "Fn::GetAtt")?)
            }
        };
        self.attribute(&id, &attribute, line)
    }

    fn sub(&mut self, argument: &Node) -> Result<String> {
        let mut variables = BTreeMap::new();
        let text = match &argument.content {
            Content::Scalar { .. } => argument,
            _ => {
                let [text, map] = arguments("Fn::Sub", argument)?;
                for entry in map.map("the variables of Fn::Sub")? {
                    variables.insert(entry.key.as_str(), self.text(&entry.value, &entry.key)?);
                }
                text
            }
        };
        let line = text.line;
        let mut result = String::new();
        for piece in pieces(text.required_text("Fn::Sub")?, line)? {
            match piece {
                Piece::Text(text) => result.push_str(&text),
                Piece::Name(name) => match variables.get(name) {
                    Some(value) => result.push_str(value),
                    None => result.push_str(&self.named(name, line)?),
                },
            }
        }
        Ok(result)
    }

    /// What `${NAME}` or `${NAME.ATTRIBUTE}` stands for.
    fn named(&mut self, name: &str, line: usize) -> Result<String> {
        if let Some((id, attribute)) = name.split_once('.') {
            return self.attribute(id, attribute, line);
        }
        let value = self.reference(name, line)?;
        let value = value.ok_or_else(|| TemplateError::at(line, "AWS::NoValue cannot stand inside text"))?;
        value.text(&format!("${{{name}}}")).map(ToOwned::to_owned)
    }

    fn join(&mut self, argument: &Node) -> Result<String> {
        let [delimiter, list] = arguments("Fn::Join", argument)?;
        let delimiter = self.text(delimiter, "the delimiter of Fn::Join")?;
        let list = self.value(list)?;
        let texts = list.list("the second argument of Fn::Join")?.iter().map(|item| item.text("an item of Fn::Join"));
        Ok(texts.collect::<Result<Vec<_>>>()?.join(&delimiter))
    }

    fn select(&mut self, argument: &Node) -> Result<Value> {
        let [index, list] = arguments("Fn::Select", argument)?;
        let index = self.value(index)?;
        let number = index.number("the index of Fn::Select", &(0..=u32::MAX))?;
        let list = self.value(list)?;
        let items = list.list("the second argument of Fn::Select")?;
        let found = usize::try_from(number).ok().and_then(|number| items.get(number));
        found.cloned().ok_or_else(|| index.error(format!("Fn::Select asks for item {number} of {}", items.len())))
    }

    fn split(&mut self, argument: &Node, line: usize) -> Result<Value> {
        let [delimiter, text] = arguments("Fn::Split", argument)?;
        let delimiter = delimiter.required_text("the delimiter of Fn::Split")?;
        if delimiter.is_empty() {
            return Err(TemplateError::at(line, "the delimiter of Fn::Split is empty"));
        }
        let text = self.text(text, "the second argument of Fn::Split")?;
        let parts: Vec<&str> = text.split(delimiter).collect();
        if self.holds_hidden(&text) {
            // A part of a secret is as secret as the whole.
            self.hidden.extend(parts.iter().map(|part| (*part).to_owned()));
        }
        Ok(Value { line, kind: Kind::List(parts.into_iter().map(|part| Value::of_text(line, part)).collect()) })
    }

    fn find_in_map(&mut self, argument: &Node) -> Result<Value> {
        let list = argument.list("the argument of Fn::FindInMap")?;
        let (map, first, second, default) = match list {
            [map, first, second] => (map, first, second, None),
            [map, first, second, default] => (map, first, second, default.get("DefaultValue")),
            _ => return Err(TemplateError::at(argument.line, "Fn::FindInMap takes a map's name and two keys")),
        };
        let name = self.text(map, "the map of Fn::FindInMap")?;
        let first = self.text(first, "a key of Fn::FindInMap")?;
        let second = self.text(second, "a key of Fn::FindInMap")?;
        let found = self.document.mappings.get(&name).and_then(|map| map.get(&first)).and_then(|map| map.get(&second));
        match found.or(default.filter(|_| self.document.extensions)) {
            Some(node) => self.value(node),
            None => Err(TemplateError::at(argument.line, format!("there is no {name}.{first}.{second} in Mappings"))),
        }
    }

    fn holds_hidden(&self, text: &str) -> bool {
        self.hidden.iter().any(|hidden| !hidden.is_empty() && text.contains(hidden.as_str()))
    }
}

/// The arguments of a function that takes this many.
pub(super) fn arguments<'n, const N: usize>(function: &str, argument: &'n Node) -> Result<&'n [Node; N]> {
    let list = argument.list(&format!("the argument of {function}"))?;
    list.try_into()
        .map_err(|_| TemplateError::at(argument.line, format!("{function} takes {N} arguments, not {}", list.len())))
}
