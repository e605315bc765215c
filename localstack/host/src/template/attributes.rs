//! Names, ARNs and other attributes of resources: what `Ref` and `Fn::GetAtt` give.

use sha2::{Digest, Sha256};

use super::{
    Result, TemplateError,
    document::Resource,
    intrinsics::Resolver,
    resources::Type,
    value::{Kind, Value},
};
use crate::model::{ACCOUNT_ID, Place};

/// `AWS::Partition`.
const PARTITION: &str = "aws";
/// `AWS::URLSuffix`.
const URL_SUFFIX: &str = "amazonaws.com";
/// Characters of an API's id.
const API_ID_LENGTH: usize = 10;
/// Characters of a function URL's id.
const URL_ID_LENGTH: usize = 32;
/// Characters of the id of an integration, route or mapping.
const PART_ID_LENGTH: usize = 7;
/// Random characters at the end of a secret's ARN.
const SECRET_SUFFIX_LENGTH: usize = 6;

/// Every pseudo parameter that this host knows; `AWS::NoValue` is the one without a value.
pub(super) const PSEUDO_PARAMETERS: [&str; 7] = [
    "AWS::AccountId",
    "AWS::NoValue",
    "AWS::Partition",
    "AWS::Region",
    "AWS::StackId",
    "AWS::StackName",
    "AWS::URLSuffix",
];

impl<'a> Resolver<'a> {
    /// What `Ref` gives; `None` is `AWS::NoValue`.
    pub(super) fn reference(&mut self, name: &str, line: usize) -> Result<Option<Value>> {
        if name.starts_with("AWS::") {
            return self.pseudo_parameter(name, line);
        }
        if let Some(value) = self.parameters.get(name) {
            return Ok(Some(moved(value, line)));
        }
        let resource = self.existing(name, line)?;
        self.identity(resource, None, line).map(|text| Some(Value::of_text(line, text)))
    }

    /// What `Fn::GetAtt` gives.
    pub(super) fn attribute(&mut self, id: &str, attribute: &str, line: usize) -> Result<String> {
        let resource = self.existing(id, line)?;
        self.identity(resource, Some(attribute), line)
    }

    /// Whether a resource exists: it does unless its condition is false.
    pub(super) fn exists(&mut self, resource: &Resource) -> Result<bool> {
        let Some((name, line)) = &resource.condition else { return Ok(true) };
        self.condition(name, *line)
    }

    /// A resource's own name, given or derived: the same from start to start.
    pub(super) fn physical_name(&mut self, resource: &Resource) -> Result<String> {
        let property = resource.kind.name_property().and_then(|name| resource.property(name));
        let name = match property {
            None => None,
            Some(entry) => self
                .once(&format!("the name of {}", resource.id), entry.line, |resolver| resolver.resolve(&entry.value))
                .map_err(|error| error.within(&resource.id))?,
        };
        match name {
            Some(value) => value.text("a name").map(ToOwned::to_owned).map_err(|error| error.within(&resource.id)),
            None => Ok(format!("{}-{}", self.place.stack_name, resource.id)),
        }
    }

    /// The ARN of a function, queue or topic.
    pub(super) fn arn(&mut self, resource: &Resource) -> Result<String> {
        let attribute = if resource.kind == Type::Topic { "TopicArn" } else { "Arn" };
        self.identity(resource, Some(attribute), resource.line)
    }

    fn existing(&mut self, id: &str, line: usize) -> Result<&'a Resource> {
        if self.in_condition {
            let message = format!("{id} is no parameter: conditions and rules see parameters only");
            return Err(TemplateError::at(line, message));
        }
        let document = self.document;
        let Some(resource) = document.resource(id) else { return Err(nothing(id, line)) };
        if !self.exists(resource)? {
            let condition = resource.condition.as_ref().map_or("", |(name, _)| name);
            let message = format!("{id} does not exist here: its condition {condition} is false");
            return Err(TemplateError::at(line, message));
        }
        self.references.push((id.to_owned(), line));
        Ok(resource)
    }

    fn pseudo_parameter(&self, name: &str, line: usize) -> Result<Option<Value>> {
        let text = match name {
            "AWS::NoValue" => return Ok(None),
            "AWS::AccountId" => ACCOUNT_ID.to_owned(),
            "AWS::Partition" => PARTITION.to_owned(),
            "AWS::Region" => self.place.region.clone(),
            "AWS::StackId" => {
                let stack = &self.place.stack_name;
                self.place.arn("cloudformation", &format!("stack/{stack}/{}", uuid(self.place, stack)))
            }
            "AWS::StackName" => self.place.stack_name.clone(),
            "AWS::URLSuffix" => URL_SUFFIX.to_owned(),
            _ => return Err(TemplateError::at(line, format!("the pseudo parameter {name} is not supported here"))),
        };
        Ok(Some(Value::of_text(line, text)))
    }

    /// What `Ref` gives for a resource, or `Fn::GetAtt` for one of its attributes.
    pub(super) fn identity(&mut self, resource: &Resource, attribute: Option<&str>, line: usize) -> Result<String> {
        let owner = resource.owner.as_deref().and_then(|owner| self.document.resource(owner));
        let name = self.physical_name(resource)?;
        let id = resource.id.as_str();
        let place = self.place;
        let text = match (resource.kind, attribute) {
            (Type::Queue, None | Some("QueueUrl")) => place.queue_url(&name),
            (Type::Queue, Some("Arn")) => place.arn("sqs", &name),
            (Type::Topic, None | Some("TopicArn")) => place.arn("sns", &name),
            (Type::Table, Some("Arn")) => place.arn("dynamodb", &format!("table/{name}")),
            (Type::Function, Some("Arn")) => place.arn("lambda", &format!("function:{name}")),
            (Type::FunctionUrl, None | Some("FunctionArn")) => match owner {
                Some(owner) => self.arn(owner)?,
                None => return Err(nothing(id, line)),
            },
            (Type::FunctionUrl, Some("FunctionUrl")) => {
                format!("{}/_aws/lambda-url/{}/", place.endpoint, function_url_id(place, id))
            }
            (Type::Role, Some("Arn")) => format!("arn:{PARTITION}:iam::{ACCOUNT_ID}:role/{name}"),
            (Type::Role, Some("RoleId")) => format!("AROA{}", short_id(place, id, 17).to_uppercase()),
            (Type::LogGroup, Some("Arn")) => place.arn("logs", &format!("log-group:{name}:*")),
            (Type::Alarm, Some("Arn")) => place.arn("cloudwatch", &format!("alarm:{name}")),
            (Type::Rule, Some("Arn")) => place.arn("events", &format!("rule/{name}")),
            (Type::Secret, None | Some("Id")) => secret_arn(place, id, &name),
            (Type::Api, None | Some("ApiId")) => api_id(place, id),
            (Type::Api, Some("ApiEndpoint")) => {
                format!("{}/_aws/execute-api/{}", place.endpoint, api_id(place, id))
            }
            (Type::Integration, None | Some("IntegrationId")) | (Type::Route, None | Some("RouteId")) => {
                short_id(place, id, PART_ID_LENGTH)
            }
            (Type::Mapping, None | Some("Id")) => uuid(place, id),
            (Type::Queue, Some("QueueName")) | (Type::Topic, Some("TopicName")) => name,
            (Type::Subscription, _) => {
                return Err(TemplateError::at(line, format!("{id}: subscriptions have no attribute on this host")));
            }
            (_, None) => name,
            (kind, Some(attribute)) => return Err(no_attribute(id, kind, attribute, line)),
        };
        Ok(text)
    }
}

/// Attributes of a type, without what `Ref` gives.
pub(super) fn attributes_of(kind: Type) -> &'static [&'static str] {
    match kind {
        Type::Queue => &["Arn", "QueueName", "QueueUrl"],
        Type::Topic => &["TopicArn", "TopicName"],
        Type::Table | Type::Function | Type::LogGroup | Type::Alarm | Type::Rule => &["Arn"],
        Type::FunctionUrl => &["FunctionArn", "FunctionUrl"],
        Type::Role => &["Arn", "RoleId"],
        Type::Secret | Type::Mapping => &["Id"],
        Type::Api => &["ApiEndpoint", "ApiId"],
        Type::Integration => &["IntegrationId"],
        Type::Route => &["RouteId"],
        Type::Stage
        | Type::Subscription
        | Type::Policy
        | Type::Dashboard
        | Type::MetricFilter
        | Type::QueuePolicy
        | Type::TopicPolicy
        | Type::Permission => &[],
    }
}

/// Says that a resource has no such attribute, and which ones it has.
pub(super) fn no_attribute(id: &str, kind: Type, attribute: &str, line: usize) -> TemplateError {
    let known = attributes_of(kind);
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let message = format!("{id} has no attribute {attribute} on this host: {} has {known}", kind.name());
    TemplateError::at(line, message)
}

/// Says that a name is neither a parameter nor a resource.
pub(super) fn nothing(name: &str, line: usize) -> TemplateError {
    TemplateError::at(line, format!("there is no parameter or resource {name}"))
}

/// The id of an HTTP API.
pub(super) fn api_id(place: &Place, logical_id: &str) -> String {
    short_id(place, logical_id, API_ID_LENGTH)
}

/// The id of a function URL; `logical_id` is that of the URL, not of its function.
pub(super) fn function_url_id(place: &Place, logical_id: &str) -> String {
    short_id(place, logical_id, URL_ID_LENGTH)
}

/// The ARN of a secret: its name and characters that AWS draws at random.
pub(super) fn secret_arn(place: &Place, logical_id: &str, name: &str) -> String {
    let suffix = short_id(place, logical_id, SECRET_SUFFIX_LENGTH);
    place.arn("secretsmanager", &format!("secret:{name}-{suffix}"))
}

/// Characters of `[a-z0-9]`, the same for the same stack and logical id; at most as many as a digest has bytes.
fn short_id(place: &Place, logical_id: &str, length: usize) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let characters = digest(place, logical_id).into_iter().take(length);
    characters.filter_map(|byte| ALPHABET.get(usize::from(byte % 36)).copied().map(char::from)).collect()
}

fn uuid(place: &Place, logical_id: &str) -> String {
    let hex: String = digest(place, logical_id).iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

fn digest(place: &Place, logical_id: &str) -> Vec<u8> {
    Sha256::digest(format!("{}/{logical_id}", place.stack_name)).to_vec()
}

/// The same value at another line: a parameter's value stands where it is used.
fn moved(value: &Value, line: usize) -> Value {
    let kind = match &value.kind {
        Kind::List(items) => Kind::List(items.iter().map(|item| moved(item, line)).collect()),
        other => other.clone(),
    };
    Value { line, kind }
}
