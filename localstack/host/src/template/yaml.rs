//! YAML with places: what the template says, before anything is resolved.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::{Result, TemplateError};

/// Levels that maps and lists may be nested: far more than a template needs, far less than the stack holds.
const DEPTH_MAX: usize = 48;
/// Values of a template, those that aliases repeat counted again each time.
const NODES_MAX: usize = 100_000;
/// What YAML 1.1, which CloudFormation reads, takes for a truth value and a newer reader for text.
const OLD_TRUTH: [&str; 12] = ["yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF"];

/// A value of the template with the line on which it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// From 1.
    pub(super) line: usize,
    /// What it is.
    pub(super) content: Content,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// `plain` text was written without quotes: it may be a number or a truth value.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the template.
    Map(Vec<Entry>),
    /// An intrinsic function, in its short form (`!Ref x`) or its long one (`Ref: x`). The name is that of the long
    /// form without `Fn::`.
    Call { function: String, argument: Box<Node> },
}

/// A key of a map with its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// Key.
    pub(super) key: String,
    /// Line of the key.
    pub(super) line: usize,
    /// Value.
    pub(super) value: Node,
}

impl Node {
    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        if let Content::Scalar { text, .. } = &self.content { Some(text) } else { None }
    }

    /// The text of a scalar, or an error that names what should have been one.
    pub(super) fn required_text(&self, what: &str) -> Result<&str> {
        self.text().ok_or_else(|| TemplateError::at(self.line, format!("{what} must be text")))
    }

    /// The elements of a list, or an error that names what should have been one.
    pub(super) fn list(&self, what: &str) -> Result<&[Self]> {
        if let Content::List(list) = &self.content {
            Ok(list)
        } else {
            Err(TemplateError::at(self.line, format!("{what} must be a list")))
        }
    }

    /// The entries of a map, or an error that names what should have been one.
    pub(super) fn map(&self, what: &str) -> Result<&[Entry]> {
        if let Content::Map(entries) = &self.content {
            Ok(entries)
        } else {
            Err(TemplateError::at(self.line, format!("{what} must be a map")))
        }
    }

    /// The value of a key, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Content::Map(entries) = &self.content else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }
}

/// Reads a text that must hold exactly one document.
pub(super) fn parse(text: &str) -> Result<Node> {
    let mut reader = Reader { events: Parser::new_from_str(text), anchors: BTreeMap::new(), nodes: 0 };
    reader.document()
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    /// Complete values by anchor, with the number of nodes in them.
    anchors: BTreeMap<usize, (Node, usize)>,
    /// Values so far.
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Node> {
        let (mut event, mut span) = self.next()?;
        while matches!(event, Event::StreamStart | Event::DocumentStart(_)) {
            (event, span) = self.next()?;
        }
        if event == Event::StreamEnd {
            return Err(TemplateError::at(line(span), "the template is empty"));
        }
        let root = self.node(event, span, 0)?;
        loop {
            match self.next()? {
                (Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => return Ok(root),
                (_, span) => return Err(TemplateError::at(line(span), "a template is one YAML document, not several")),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span)> {
        match self.events.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(not_yaml(&error)),
            None => Err(TemplateError::at(1, "the template ends too early")),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node> {
        let line = line(span);
        if depth > DEPTH_MAX {
            return Err(TemplateError::at(line, format!("more than {DEPTH_MAX} levels of maps and lists")));
        }
        let before = self.nodes;
        self.count(1, line)?;
        let (anchor, tag, content) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, tag, scalar(text.into_owned(), style == ScalarStyle::Plain, line)?)
            }
            Event::SequenceStart(anchor, tag) => (anchor, tag, Content::List(self.list(depth)?)),
            Event::MappingStart(anchor, tag) => (anchor, tag, Content::Map(self.map(depth)?)),
            Event::Alias(anchor) => return self.alias(anchor, line, depth),
            other => return Err(TemplateError::at(line, format!("a value must stand here, not {other:?}"))),
        };
        let node = call(Node { line, content }, tag.as_deref())?;
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<()> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err(TemplateError::at(line, format!("more than {NODES_MAX} values in the template")));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, line: usize, depth: usize) -> Result<Node> {
        let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
            return Err(TemplateError::at(line, "the alias refers to a value that is not complete here"));
        };
        self.count(size, line)?;
        if depth + levels(&node) > DEPTH_MAX {
            return Err(TemplateError::at(line, format!("more than {DEPTH_MAX} levels of maps and lists")));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(list),
                (event, span) => list.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines: BTreeMap<String, usize> = BTreeMap::new();
        loop {
            let (event, span) = self.next()?;
            let (key, line) = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(key, ..) => (key.into_owned(), line(span)),
                _ => return Err(TemplateError::at(line(span), "a key must be text")),
            };
            if key == "<<" {
                return Err(TemplateError::at(line, "merge keys (<<) are not supported, by CloudFormation neither"));
            }
            if let Some(first) = lines.insert(key.clone(), line) {
                return Err(TemplateError::at(line, format!("{key} is there twice; line {first} has it first")));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1).map_err(|error| name_null(error, &key))?;
            entries.push(Entry { key, line, value });
        }
    }
}

const NULL: &str = "the value is missing: null is not allowed in templates";

/// Says of a missing value whose it is.
fn name_null(mut error: TemplateError, key: &str) -> TemplateError {
    if error.message == NULL {
        error.message = format!("{key}: {NULL}");
    }
    error
}

fn scalar(text: String, plain: bool, line: usize) -> Result<Content> {
    if plain {
        if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
            return Err(TemplateError::at(line, NULL));
        }
        if OLD_TRUTH.contains(&text.as_str()) {
            return Err(TemplateError::at(
                line,
                format!("{text} is true or false in YAML 1.1: quote it if it is text"),
            ));
        }
        if text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(TemplateError::at(line, format!("{text} loses its leading zero as a number: quote it")));
        }
    }
    Ok(Content::Scalar { text, plain })
}

/// Turns both forms of an intrinsic function into a call.
fn call(node: Node, tag: Option<&Tag>) -> Result<Node> {
    let line = node.line;
    if let Some(tag) = tag {
        if tag.is_yaml_core_schema() {
            return core(node, &tag.suffix);
        }
        if tag.handle != "!" || tag.suffix.is_empty() {
            return Err(TemplateError::at(line, format!("the tag {tag} is unknown")));
        }
        let content = Content::Call { function: tag.suffix.clone(), argument: Box::new(call(node, None)?) };
        return Ok(Node { line, content });
    }
    let Content::Map(mut entries) = node.content else { return Ok(node) };
    let is_call = |key: &str| key == "Ref" || key.starts_with("Fn::");
    let loops = entries.iter().find(|entry| entry.key.starts_with("Fn::ForEach"));
    if let Some(entry) = loops {
        return Err(TemplateError::at(entry.line, "Fn::ForEach is not supported by this host: write the items out"));
    }
    if entries.len() == 1
        && let Some(entry) = entries.pop_if(|entry| is_call(&entry.key))
    {
        let function = entry.key.strip_prefix("Fn::").unwrap_or(&entry.key).to_owned();
        let content = Content::Call { function, argument: Box::new(entry.value) };
        return Ok(Node { line: entry.line, content });
    }
    if let Some(entry) = entries.iter().find(|entry| entry.key.starts_with("Fn::")) {
        return Err(TemplateError::at(entry.line, format!("{} must be the only key of its map", entry.key)));
    }
    Ok(Node { line, content: Content::Map(entries) })
}

/// `!!str 12` and its like: only what says text says anything here.
fn core(mut node: Node, kind: &str) -> Result<Node> {
    match (kind, &mut node.content) {
        ("str", Content::Scalar { plain, .. }) => *plain = false,
        ("int" | "float" | "bool", Content::Scalar { .. }) | ("seq", Content::List(_)) | ("map", Content::Map(_)) => {}
        _ => return Err(TemplateError::at(node.line, format!("the tag !!{kind} is not supported here"))),
    }
    Ok(node)
}

/// Levels of nesting below a node.
fn levels(node: &Node) -> usize {
    match &node.content {
        Content::Scalar { .. } => 0,
        Content::List(list) => 1 + list.iter().map(levels).max().unwrap_or(0),
        Content::Map(entries) => 1 + entries.iter().map(|entry| levels(&entry.value)).max().unwrap_or(0),
        Content::Call { argument, .. } => 1 + levels(argument),
    }
}

fn line(span: Span) -> usize {
    span.start.line().max(1)
}

fn not_yaml(error: &ScanError) -> TemplateError {
    TemplateError::at(error.marker().line().max(1), format!("this is not YAML: {}", error.info()))
}
