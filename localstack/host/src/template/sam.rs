//! What the SAM transform adds: `Globals`, and the resources that it makes beside a function.

use super::{
    Result, TemplateError,
    document::{Document, Resource},
    resources::Type,
    yaml::{Content, Entry, Node},
};

/// What `Globals.Function` may hold, from SAM's own list.
const GLOBAL_PROPERTIES: [&str; 36] = [
    "Architectures",
    "AssumeRolePolicyDocument",
    "AutoPublishAlias",
    "AutoPublishAliasAllProperties",
    "CodeSigningConfigArn",
    "CodeUri",
    "DeadLetterConfig",
    "DeploymentPreference",
    "Description",
    "Environment",
    "EphemeralStorage",
    "EventInvokeConfig",
    "FileSystemConfigs",
    "FunctionUrlConfig",
    "Handler",
    "ImageConfig",
    "KmsKeyArn",
    "Layers",
    "LoggingConfig",
    "MemorySize",
    "PackageType",
    "PermissionsBoundary",
    "PropagateTags",
    "ProvisionedConcurrencyConfig",
    "RecursiveLoop",
    "ReservedConcurrentExecutions",
    "RolePath",
    "Runtime",
    "RuntimeManagementConfig",
    "SnapStart",
    "SourceKMSKeyArn",
    "Tags",
    "Timeout",
    "Tracing",
    "VersionDescription",
    "VpcConfig",
];

/// Merges `Globals` into every function, and adds the URL and the role that SAM makes for it.
pub(super) fn expand(document: &mut Document) -> Result<()> {
    for entry in &document.function_globals {
        if !GLOBAL_PROPERTIES.contains(&entry.key.as_str()) {
            let message = format!("Globals.Function.{} is no property that SAM takes there", entry.key);
            return Err(TemplateError::at(entry.line, message));
        }
    }
    let mut made = Vec::new();
    for resource in &mut document.resources {
        if resource.kind != Type::Function {
            continue;
        }
        let own = std::mem::take(&mut resource.properties);
        resource.properties = merged_entries(&document.function_globals, own);
        if resource.property("FunctionUrlConfig").is_some() {
            made.push(companion(resource, "Url", Type::FunctionUrl));
        }
        if resource.property("Role").is_none() {
            made.push(companion(resource, "Role", Type::Role));
        }
    }
    for resource in made {
        if document.resource(&resource.id).is_some() {
            let owner = resource.owner.as_deref().unwrap_or_default();
            let message = format!("SAM makes a resource {} for {owner}: another name must be found", resource.id);
            return Err(TemplateError::at(resource.line, message));
        }
        document.resources.push(resource);
    }
    Ok(())
}

fn companion(function: &Resource, suffix: &str, kind: Type) -> Resource {
    Resource {
        id: format!("{}{suffix}", function.id),
        kind,
        properties: Vec::new(),
        depends_on: Vec::new(),
        metadata: None,
        policies: Vec::new(),
        owner: Some(function.id.clone()),
        ..function.clone()
    }
}

/// Maps merge, lists follow one another, anything else is overridden. A call counts as one value, as with SAM.
fn merged(global: &Node, own: Node) -> Node {
    let content = match (&global.content, own.content) {
        (Content::Map(global), Content::Map(own)) => Content::Map(merged_entries(global, own)),
        (Content::List(global), Content::List(own)) => Content::List(global.iter().cloned().chain(own).collect()),
        (_, own) => own,
    };
    Node { line: own.line, content }
}

fn merged_entries(global: &[Entry], own: Vec<Entry>) -> Vec<Entry> {
    let mut merged_all = global.to_vec();
    for entry in own {
        match merged_all.iter_mut().find(|other| other.key == entry.key) {
            Some(other) => {
                let value = merged(&other.value, entry.value);
                *other = Entry { value, ..entry };
            }
            None => merged_all.push(entry),
        }
    }
    merged_all
}
