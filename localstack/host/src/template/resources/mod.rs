//! Resources: which types there are, and what each becomes.

mod events;
mod function;
mod http_api;
mod inert;
mod queue;
mod secret;
mod table;
mod topic;

use std::{collections::BTreeMap, ops::RangeInclusive};

use http_api::Parts;

use super::{
    Result, TemplateError,
    document::Resource,
    intrinsics::Resolver,
    references::{Needs, check_circles},
    value::{Fields, Value},
};
use crate::model::Stack;

/// A type of resource that this host knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Type {
    Function,
    FunctionUrl,
    Queue,
    Topic,
    Subscription,
    Table,
    Api,
    Integration,
    Route,
    Stage,
    Secret,
    Mapping,
    Rule,
    Role,
    Policy,
    LogGroup,
    MetricFilter,
    Alarm,
    Dashboard,
    QueuePolicy,
    TopicPolicy,
    Permission,
}

/// Every type by its name, in the order in which resources are read: whoever names another kind comes after it.
const TYPES: [(&str, Type); 22] = [
    ("AWS::SecretsManager::Secret", Type::Secret),
    ("AWS::SQS::Queue", Type::Queue),
    ("AWS::SNS::Topic", Type::Topic),
    ("AWS::SNS::Subscription", Type::Subscription),
    ("AWS::DynamoDB::Table", Type::Table),
    ("AWS::Serverless::Function", Type::Function),
    ("AWS::Lambda::Url", Type::FunctionUrl),
    ("AWS::Lambda::EventSourceMapping", Type::Mapping),
    ("AWS::Events::Rule", Type::Rule),
    ("AWS::ApiGatewayV2::Api", Type::Api),
    ("AWS::ApiGatewayV2::Integration", Type::Integration),
    ("AWS::ApiGatewayV2::Route", Type::Route),
    ("AWS::ApiGatewayV2::Stage", Type::Stage),
    ("AWS::IAM::Role", Type::Role),
    ("AWS::IAM::Policy", Type::Policy),
    ("AWS::Logs::LogGroup", Type::LogGroup),
    ("AWS::Logs::MetricFilter", Type::MetricFilter),
    ("AWS::CloudWatch::Alarm", Type::Alarm),
    ("AWS::CloudWatch::Dashboard", Type::Dashboard),
    ("AWS::SQS::QueuePolicy", Type::QueuePolicy),
    ("AWS::SNS::TopicPolicy", Type::TopicPolicy),
    ("AWS::Lambda::Permission", Type::Permission),
];

/// What to write instead of a type that is not known.
const INSTEAD: [(&str, &str); 6] = [
    ("AWS::Lambda::Function", "use AWS::Serverless::Function"),
    ("AWS::Lambda::Url", "use FunctionUrlConfig of AWS::Serverless::Function"),
    ("AWS::Serverless::Api", "use AWS::ApiGatewayV2 resources"),
    ("AWS::Serverless::HttpApi", "use AWS::ApiGatewayV2 resources"),
    ("AWS::Serverless::SimpleTable", "use AWS::DynamoDB::Table"),
    ("AWS::Scheduler::Schedule", "use an event of type ScheduleV2"),
];

impl Type {
    /// The type with this name.
    pub(super) fn named(name: &str, line: usize) -> Result<Self> {
        let instead = INSTEAD.iter().find(|(other, _)| *other == name).map(|(_, instead)| *instead);
        let found = TYPES.iter().find(|(other, _)| *other == name && instead.is_none());
        found.map(|(_, kind)| *kind).ok_or_else(|| {
            let instead = instead.map(|instead| format!(": {instead}")).unwrap_or_default();
            TemplateError::at(line, format!("the type {name} is not supported by this host{instead}"))
        })
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        TYPES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| *name)
    }

    /// The property that gives its physical name.
    pub(super) fn name_property(self) -> Option<&'static str> {
        match self {
            Self::Function => Some("FunctionName"),
            Self::Queue => Some("QueueName"),
            Self::Topic => Some("TopicName"),
            Self::Table => Some("TableName"),
            Self::Stage => Some("StageName"),
            Self::Secret | Self::Rule => Some("Name"),
            Self::Role => Some("RoleName"),
            Self::Policy => Some("PolicyName"),
            Self::LogGroup => Some("LogGroupName"),
            Self::MetricFilter => Some("FilterName"),
            Self::Alarm => Some("AlarmName"),
            Self::Dashboard => Some("DashboardName"),
            _ => None,
        }
    }
}

/// Reads every resource that exists.
pub(super) fn build(resolver: &mut Resolver<'_>) -> Result<Stack> {
    let mut builder = Builder {
        resolver,
        stack: Stack::default(),
        needs: Needs::new(),
        names: BTreeMap::new(),
        queues: BTreeMap::new(),
        topics: BTreeMap::new(),
        functions: BTreeMap::new(),
        redrives: Vec::new(),
        subscribed: BTreeMap::new(),
        mapped: BTreeMap::new(),
        parts: Parts::default(),
    };
    builder.find_targets()?;
    builder.read_all()?;
    builder.check_redrives()?;
    builder.read_events()?;
    builder.finish_apis()?;
    check_circles(&builder.needs)?;
    Ok(builder.stack)
}

/// Collects the stack, and what is needed to check its parts against one another.
struct Builder<'r, 'a> {
    resolver: &'r mut Resolver<'a>,
    stack: Stack,
    needs: Needs,
    /// Physical names that are taken, with the logical id that has them.
    names: BTreeMap<(Type, String), String>,
    /// Logical ids of queues by ARN.
    queues: BTreeMap<String, String>,
    /// Logical ids of topics by ARN.
    topics: BTreeMap<String, String>,
    /// Logical ids of functions by ARN and by name.
    functions: BTreeMap<String, String>,
    /// Which dead-letter queues are used.
    redrives: Vec<UsedRedrive>,
    /// Which queue listens to which topic, by ARNs, with the logical id that says so.
    subscribed: BTreeMap<(String, String), String>,
    /// Which queue feeds which function, with the name of what says so.
    mapped: BTreeMap<(String, String), String>,
    parts: Parts,
}

/// A queue that names its dead-letter queue.
struct UsedRedrive {
    id: String,
    line: usize,
    queue_arn: String,
    dead_letter_arn: String,
}

impl<'a> Builder<'_, 'a> {
    /// The resources of a type that exist.
    fn existing(&mut self, kind: Type) -> Result<Vec<&'a Resource>> {
        let document = self.resolver.document;
        let mut existing = Vec::new();
        for resource in document.resources.iter().filter(|resource| resource.kind == kind) {
            if self.resolver.exists(resource).map_err(|error| error.within(&resource.id))? {
                existing.push(resource);
            }
        }
        Ok(existing)
    }

    /// Works out the ARNs that others may name.
    fn find_targets(&mut self) -> Result<()> {
        for kind in [Type::Queue, Type::Topic, Type::Function] {
            for resource in self.existing(kind)? {
                let arn = self.resolver.arn(resource).map_err(|error| error.within(&resource.id))?;
                let targets = match kind {
                    Type::Queue => &mut self.queues,
                    Type::Topic => &mut self.topics,
                    _ => &mut self.functions,
                };
                targets.insert(arn, resource.id.clone());
                if kind == Type::Function {
                    let name = self.resolver.physical_name(resource)?;
                    self.functions.insert(name, resource.id.clone());
                }
            }
        }
        Ok(())
    }

    fn read_all(&mut self) -> Result<()> {
        for (_, kind) in TYPES {
            for resource in self.existing(kind)? {
                self.read(resource).map_err(|error| error.within(&resource.id))?;
            }
        }
        Ok(())
    }

    fn read(&mut self, resource: &'a Resource) -> Result<()> {
        self.resolver.references.clear();
        self.check_policies(resource)?;
        let mut fields = self.resolver.properties(resource, &["Events"])?;
        match resource.kind {
            Type::Secret => self.secret(resource, &mut fields)?,
            Type::Queue => self.queue(resource, &mut fields)?,
            Type::Topic => self.topic(resource, &mut fields)?,
            Type::Subscription => self.subscription(resource, &mut fields)?,
            Type::Table => self.table(resource, &mut fields)?,
            Type::Function => self.function(resource, &mut fields)?,
            Type::FunctionUrl => {}
            Type::Mapping => self.mapping_resource(resource, &mut fields)?,
            Type::Rule => self.rule(resource, &mut fields)?,
            Type::Api => self.api(resource, &mut fields)?,
            Type::Integration => self.integration(resource, &mut fields)?,
            Type::Route => self.route(resource, &mut fields)?,
            Type::Stage => self.stage(resource, &mut fields)?,
            _ => self.inert(resource, &mut fields)?,
        }
        fields.finish(resource.kind.name())?;
        self.note_needs(resource, &resource.id)
    }

    /// Takes down what was referred to, for the search for circles.
    fn note_needs(&mut self, resource: &Resource, id: &str) -> Result<()> {
        let mut needs = std::mem::take(&mut self.resolver.references);
        for (other, line) in &resource.depends_on {
            // A resource whose condition is false need not be waited for.
            let document = self.resolver.document;
            if let Some(other) = document.resource(other)
                && self.resolver.exists(other)?
            {
                needs.push((other.id.clone(), *line));
            }
        }
        if resource.kind == Type::FunctionUrl {
            needs.extend(resource.owner.clone().map(|owner| (owner, resource.line)));
        }
        self.needs.insert(id.to_owned(), needs);
        Ok(())
    }

    fn check_policies(&mut self, resource: &Resource) -> Result<()> {
        for policy in &resource.policies {
            let value = self.resolver.value(&policy.value)?;
            let text = value.text(&policy.key)?;
            let own = policy.key == "DeletionPolicy" && text == "RetainExceptOnCreate";
            if !own && !["Delete", "Retain", "Snapshot"].contains(&text) {
                return Err(value.error(format!("{} must be Delete, Retain or Snapshot, not {text}", policy.key)));
            }
        }
        Ok(())
    }

    /// The physical name of a resource; it is checked, and taken from then on. `punctuation` may stand in it beside
    /// letters and digits.
    fn take_name(
        &mut self,
        resource: &Resource,
        fields: &mut Fields,
        length: RangeInclusive<usize>,
        punctuation: &str,
    ) -> Result<String> {
        let property = resource.kind.name_property().unwrap_or("Name");
        let line = fields.take(property).map_or(resource.line, |value| value.line);
        let name = self.resolver.physical_name(resource)?;
        let sound = name.chars().all(|character| character.is_ascii_alphanumeric() || punctuation.contains(character));
        if !sound || !length.contains(&name.len()) {
            let (least, most) = (length.start(), length.end());
            let message = format!("{property} must be {least} to {most} letters, digits or {punctuation}, not {name}");
            return Err(TemplateError::at(line, message));
        }
        if let Some(other) = self.names.insert((resource.kind, name.clone()), resource.id.clone()) {
            return Err(TemplateError::at(line, format!("{property} {name} is taken by {other}")));
        }
        Ok(name)
    }

    /// An ARN that must be that of a queue.
    fn queue_target(&self, value: &Value, what: &str) -> Result<String> {
        let arn = value.text(what)?;
        let known = self.queues.contains_key(arn);
        if known { Ok(arn.to_owned()) } else { Err(value.error(format!("{what}: {arn} is no queue of this template"))) }
    }

    /// The logical id of the function with this ARN or name.
    fn function_target(&self, value: &Value, what: &str) -> Result<String> {
        let name = value.text(what)?;
        let found = self.functions.get(name).cloned();
        found.ok_or_else(|| value.error(format!("{what}: {name} is no function of this template")))
    }
}
