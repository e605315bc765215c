//! The sections of a template, and what stands in each, before anything is resolved.

use std::collections::BTreeMap;

use super::{
    Result, TemplateError,
    resources::Type,
    yaml::{Content, Entry, Node, parse},
};

/// Bytes of a template: what CloudFormation takes from S3.
const BYTES_MAX: usize = 1_048_576;
/// Resources of a template.
const RESOURCES_MAX: usize = 500;
/// Parameters, mappings, conditions, rules or outputs of a template.
const ENTRIES_MAX: usize = 200;
/// Characters of a logical id.
const LOGICAL_ID_LENGTH_MAX: usize = 255;

/// The transform that lets `DeletionPolicy` be computed and adds a few functions.
const LANGUAGE_EXTENSIONS: &str = "AWS::LanguageExtensions";
/// The transform that gives SAM's own resources.
const SERVERLESS: &str = "AWS::Serverless-2016-10-31";

/// A template in its sections.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// `Parameters`.
    pub(super) parameters: Vec<Entry>,
    /// `Rules`.
    pub(super) rules: Vec<Entry>,
    /// `Mappings`.
    pub(super) mappings: BTreeMap<String, Node>,
    /// `Conditions`, with the lines of their names.
    pub(super) conditions: BTreeMap<String, (usize, Node)>,
    /// `Globals.Function`.
    pub(super) function_globals: Vec<Entry>,
    /// `Resources`, in order.
    pub(super) resources: Vec<Resource>,
    /// `Outputs`.
    pub(super) outputs: Vec<Entry>,
    /// Whether it names the transform `AWS::LanguageExtensions`.
    pub(super) extensions: bool,
    /// Whether it names the transform of SAM.
    pub(super) serverless: bool,
}

/// A resource as written.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    /// Logical id.
    pub(super) id: String,
    /// Line of the logical id.
    pub(super) line: usize,
    /// Type.
    pub(super) kind: Type,
    /// Properties; `Globals` are merged in.
    pub(super) properties: Vec<Entry>,
    /// Name of its condition, with its line.
    pub(super) condition: Option<(String, usize)>,
    /// What must be made before it, with lines.
    pub(super) depends_on: Vec<(String, usize)>,
    /// `Metadata`.
    pub(super) metadata: Option<Node>,
    /// `DeletionPolicy` and `UpdateReplacePolicy`.
    pub(super) policies: Vec<Entry>,
    /// The function that SAM makes it for.
    pub(super) owner: Option<String>,
}

impl Resource {
    /// A property as written.
    pub(super) fn property(&self, name: &str) -> Option<&Entry> {
        self.properties.iter().find(|entry| entry.key == name)
    }
}

impl Document {
    /// Reads the sections.
    pub(super) fn read(text: &str) -> Result<Self> {
        if text.len() > BYTES_MAX {
            return Err(TemplateError::at(1, format!("the template is longer than {BYTES_MAX} bytes")));
        }
        let root = parse(text)?;
        let mut document = Self::default();
        let mut has_resources = false;
        for section in root.map("the template")? {
            has_resources |= section.key == "Resources";
            document.section(section)?;
        }
        if !has_resources {
            return Err(TemplateError::at(1, "Resources is missing"));
        }
        document.check_transforms()?;
        Ok(document)
    }

    /// The resource with this logical id.
    pub(super) fn resource(&self, id: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.id == id)
    }

    fn section(&mut self, section: &Entry) -> Result<()> {
        let Entry { key, line, value } = section;
        match key.as_str() {
            "AWSTemplateFormatVersion" => {
                if value.text() != Some("2010-09-09") {
                    return Err(TemplateError::at(value.line, "AWSTemplateFormatVersion must be 2010-09-09"));
                }
            }
            "Description" => {
                value.required_text("Description")?;
            }
            "Metadata" => {}
            "Transform" => self.transforms(value)?,
            "Parameters" => self.parameters = entries(section, ENTRIES_MAX)?,
            "Rules" => self.rules = entries(section, ENTRIES_MAX)?,
            "Mappings" => {
                let mappings = entries(section, ENTRIES_MAX)?;
                self.mappings = mappings.into_iter().map(|entry| (entry.key, entry.value)).collect();
            }
            "Conditions" => {
                let conditions = entries(section, ENTRIES_MAX)?;
                self.conditions = conditions.into_iter().map(|entry| (entry.key, (entry.line, entry.value))).collect();
            }
            "Globals" => self.globals(value)?,
            "Resources" => {
                for entry in entries(section, RESOURCES_MAX)? {
                    let read = resource(&entry).map_err(|error| error.within(&entry.key))?;
                    self.resources.push(read);
                }
            }
            "Outputs" => self.outputs = entries(section, ENTRIES_MAX)?,
            other => return Err(TemplateError::at(*line, format!("{other} is no section of a template"))),
        }
        Ok(())
    }

    fn transforms(&mut self, value: &Node) -> Result<()> {
        let one = std::slice::from_ref(value);
        let names = if value.text().is_some() { one } else { value.list("Transform")? };
        for name in names {
            match name.required_text("Transform")? {
                LANGUAGE_EXTENSIONS if self.serverless => {
                    let message = format!("{LANGUAGE_EXTENSIONS} must come before {SERVERLESS}");
                    return Err(TemplateError::at(name.line, message));
                }
                LANGUAGE_EXTENSIONS => self.extensions = true,
                SERVERLESS => self.serverless = true,
                other => {
                    let message = format!("the transform {other} is not supported by this host");
                    return Err(TemplateError::at(name.line, message));
                }
            }
        }
        Ok(())
    }

    fn globals(&mut self, value: &Node) -> Result<()> {
        for part in value.map("Globals")? {
            if part.key != "Function" {
                let message = format!("Globals.{} is not supported by this host: only Globals.Function", part.key);
                return Err(TemplateError::at(part.line, message));
            }
            self.function_globals = part.value.map("Globals.Function")?.to_vec();
        }
        Ok(())
    }

    /// What needs a transform that the template does not name.
    fn check_transforms(&self) -> Result<()> {
        for resource in &self.resources {
            if resource.kind == Type::Function && !self.serverless {
                let message = format!("AWS::Serverless::Function needs Transform: {SERVERLESS}");
                return Err(TemplateError::at(resource.line, message).within(&resource.id));
            }
            let computed = |policy: &&Entry| matches!(policy.value.content, Content::Call { .. });
            if let Some(policy) = resource.policies.iter().find(computed)
                && !self.extensions
            {
                let message = format!("a computed {} needs Transform: {LANGUAGE_EXTENSIONS}", policy.key);
                return Err(TemplateError::at(policy.line, message).within(&resource.id));
            }
        }
        Ok(())
    }
}

fn entries(section: &Entry, count_max: usize) -> Result<Vec<Entry>> {
    let entries = section.value.map(&section.key)?;
    if let Some(first_too_many) = entries.get(count_max) {
        let message = format!("more than {count_max} entries in {}", section.key);
        return Err(TemplateError::at(first_too_many.line, message));
    }
    for entry in entries {
        let alphanumeric = entry.key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !alphanumeric || entry.key.is_empty() || entry.key.len() > LOGICAL_ID_LENGTH_MAX {
            let message = format!("{} is no name: letters and digits only", entry.key);
            return Err(TemplateError::at(entry.line, message));
        }
    }
    Ok(entries.to_vec())
}

fn resource(entry: &Entry) -> Result<Resource> {
    let mut kind = None;
    let mut resource = Resource {
        id: entry.key.clone(),
        line: entry.line,
        kind: Type::Role,
        properties: Vec::new(),
        condition: None,
        depends_on: Vec::new(),
        metadata: None,
        policies: Vec::new(),
        owner: None,
    };
    for attribute in entry.value.map("a resource")? {
        let Entry { key, line, value } = attribute;
        match key.as_str() {
            "Type" => kind = Some(Type::named(value.required_text("Type")?, value.line)?),
            "Properties" => resource.properties = value.map("Properties")?.to_vec(),
            "Condition" => resource.condition = Some((value.required_text("Condition")?.to_owned(), value.line)),
            "DependsOn" => resource.depends_on = depends_on(value)?,
            "Metadata" => resource.metadata = Some(value.clone()),
            "DeletionPolicy" | "UpdateReplacePolicy" => resource.policies.push(attribute.clone()),
            other => {
                let message = format!("the attribute {other} of a resource is not supported by this host");
                return Err(TemplateError::at(*line, message));
            }
        }
    }
    resource.kind = kind.ok_or_else(|| TemplateError::at(entry.line, "Type is missing"))?;
    Ok(resource)
}

fn depends_on(value: &Node) -> Result<Vec<(String, usize)>> {
    let one = std::slice::from_ref(value);
    let names = if value.text().is_some() { one } else { value.list("DependsOn")? };
    names.iter().map(|name| Ok((name.required_text("DependsOn")?.to_owned(), name.line))).collect()
}
