//! What a template refers to: every name must exist, also in branches that are not taken, and nothing goes in circles.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Result, TemplateError,
    attributes::{PSEUDO_PARAMETERS, attributes_of, no_attribute, nothing},
    document::Document,
    substitution::{Piece, pieces},
    yaml::{Content, Node},
};

/// Checks every name in resources and outputs.
pub(super) fn check_names(document: &Document) -> Result<()> {
    let names = Names { document };
    for resource in &document.resources {
        let mut nodes = resource.properties.iter().chain(&resource.policies).map(|entry| &entry.value);
        let checked = nodes.try_for_each(|node| names.check(node));
        checked.map_err(|error| error.within(&resource.id))?;
        for (id, line) in &resource.depends_on {
            if document.resource(id).is_none() {
                let message = format!("DependsOn names {id}, which is no resource");
                return Err(TemplateError::at(*line, message).within(&resource.id));
            }
        }
        if let Some((name, line)) = &resource.condition {
            names.condition(name, *line).map_err(|error| error.within(&resource.id))?;
        }
    }
    for output in &document.outputs {
        let value = output.value.get("Value").map_or(Ok(()), |value| names.check(value));
        value.map_err(|error| error.within(&output.key))?;
    }
    Ok(())
}

struct Names<'a> {
    document: &'a Document,
}

impl Names<'_> {
    fn check(&self, node: &Node) -> Result<()> {
        match &node.content {
            Content::Scalar { .. } => Ok(()),
            Content::List(list) => list.iter().try_for_each(|item| self.check(item)),
            Content::Map(entries) => entries.iter().try_for_each(|entry| self.check(&entry.value)),
            Content::Call { function, argument } => self.call(function, argument, node.line),
        }
    }

    fn call(&self, function: &str, argument: &Node, line: usize) -> Result<()> {
        match (function, &argument.content) {
            ("Ref", Content::Scalar { text, .. }) => self.name(text, line),
            ("GetAtt", Content::Scalar { text, .. }) => match text.split_once('.') {
                Some((id, attribute)) => self.attribute(id, attribute, line),
                None => Ok(()), // it has no sense, and resolving it says so
            },
            ("GetAtt", Content::List(list)) => match list.as_slice() {
                [id, attribute] if id.text().is_some() && attribute.text().is_some() => {
                    self.attribute(id.text().unwrap_or_default(), attribute.text().unwrap_or_default(), line)
                }
                _ => Ok(()),
            },
            ("Sub", Content::Scalar { text, .. }) => self.variables(text, argument.line, &BTreeSet::new()),
            ("Sub", Content::List(list)) => match list.as_slice() {
                [text, map] => {
                    self.check(map)?;
                    let Content::Map(entries) = &map.content else { return Ok(()) };
                    let own = entries.iter().map(|entry| entry.key.as_str()).collect();
                    self.variables(text.text().unwrap_or_default(), text.line, &own)
                }
                _ => Ok(()),
            },
            ("If", Content::List(list)) => {
                if let Some(name) = list.first().and_then(Node::text) {
                    self.condition(name, line)?;
                }
                list.iter().try_for_each(|item| self.check(item))
            }
            _ => self.check(argument),
        }
    }

    fn variables(&self, text: &str, line: usize, own: &BTreeSet<&str>) -> Result<()> {
        for piece in pieces(text, line)? {
            let Piece::Name(name) = piece else { continue };
            match name.split_once('.') {
                _ if own.contains(name) => {}
                Some((id, attribute)) => self.attribute(id, attribute, line)?,
                None => self.name(name, line)?,
            }
        }
        Ok(())
    }

    fn name(&self, name: &str, line: usize) -> Result<()> {
        let known = PSEUDO_PARAMETERS.contains(&name)
            || self.document.parameters.iter().any(|entry| entry.key == name)
            || self.document.resource(name).is_some();
        if known { Ok(()) } else { Err(nothing(name, line)) }
    }

    fn attribute(&self, id: &str, attribute: &str, line: usize) -> Result<()> {
        let Some(resource) = self.document.resource(id) else {
            return Err(TemplateError::at(line, format!("there is no resource {id}")));
        };
        if attributes_of(resource.kind).contains(&attribute) {
            Ok(())
        } else {
            Err(no_attribute(id, resource.kind, attribute, line))
        }
    }

    fn condition(&self, name: &str, line: usize) -> Result<()> {
        if self.document.conditions.contains_key(name) {
            Ok(())
        } else {
            Err(TemplateError::at(line, format!("there is no condition {name}")))
        }
    }
}

/// What needs what, with the lines that say so. A function's events stand for themselves: SAM makes resources of them
/// that need the function, not the other way round.
pub(super) type Needs = BTreeMap<String, Vec<(String, usize)>>;

/// Refuses resources that need one another in a circle: none of them could be made first.
pub(super) fn check_circles(needs: &Needs) -> Result<()> {
    // What needs nothing that is left is taken away until nothing changes; a circle is what stays.
    let mut left = needs.clone();
    loop {
        let ids: BTreeSet<String> = left.keys().cloned().collect();
        for list in left.values_mut() {
            list.retain(|(id, _)| ids.contains(id));
        }
        let before = left.len();
        left.retain(|_, list| !list.is_empty());
        if left.len() == before {
            break;
        }
    }
    let Some(mut id) = left.keys().next().cloned() else { return Ok(()) };
    let mut way: Vec<(String, usize)> = Vec::new();
    while let Some((next, line)) = left.get(&id).and_then(|list| list.first()) {
        if let Some(position) = way.iter().position(|(other, _)| *other == id) {
            let circle: Vec<&str> = way.iter().skip(position).map(|(id, _)| id.as_str()).chain([id.as_str()]).collect();
            let at = way.get(position).map_or(*line, |(_, line)| *line);
            let message = format!("resources need one another in a circle: {}", circle.join(" needs "));
            return Err(TemplateError::at(at, message).within(&id));
        }
        way.push((id.clone(), *line));
        id.clone_from(next);
    }
    Ok(())
}
