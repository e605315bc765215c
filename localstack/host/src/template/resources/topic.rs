//! Topics and their subscriptions.

use serde_json::Value as Json;

use super::{Builder, Type};
use crate::{
    model::{FilterScope, Subscription, Topic},
    template::{
        Result, TemplateError,
        document::Resource,
        value::{Fields, Kind, Value},
    },
};

/// Characters of a topic's name.
const NAME_LENGTH_MAX: usize = 256;
/// What changes nothing on this machine.
const WITHOUT_EFFECT: [&str; 7] = [
    "DataProtectionPolicy",
    "DeliveryStatusLogging",
    "DisplayName",
    "KmsMasterKeyId",
    "SignatureVersion",
    "Tags",
    "TracingConfig",
];

impl Builder<'_, '_> {
    pub(super) fn topic(&mut self, resource: &Resource, fields: &mut Fields) -> Result<()> {
        fields.refuse_flag("FifoTopic", "standard topics only")?;
        for name in ["ArchivePolicy", "ContentBasedDeduplication", "FifoThroughputScope"] {
            fields.refuse(name, "it belongs to FIFO topics, and these are standard topics only")?;
        }
        let name = self.take_name(resource, fields, 1..=NAME_LENGTH_MAX, "-_")?;
        let arn = self.resolver.arn(resource)?;
        for mut inline in fields.parts("Subscription")? {
            let line = inline.line();
            let queue_arn = self.endpoint(&mut inline)?;
            inline.finish(Type::Topic.name())?;
            self.subscribe(
                resource,
                line,
                Subscription {
                    topic_arn: arn.clone(),
                    queue_arn,
                    raw: false,
                    filter: None,
                    filter_scope: FilterScope::Attributes,
                    dead_letter_arn: None,
                },
            )?;
        }
        fields.without_effect(&WITHOUT_EFFECT);
        self.stack.topics.push(Topic { name, arn });
        Ok(())
    }

    pub(super) fn subscription(&mut self, resource: &Resource, fields: &mut Fields) -> Result<()> {
        for name in ["DeliveryPolicy", "Region", "ReplayPolicy", "SubscriptionRoleArn"] {
            fields.refuse(name, "subscriptions lead from a standard topic to a queue beside it")?;
        }
        let topic = fields.required("TopicArn")?;
        let topic_arn = topic.text("TopicArn")?.to_owned();
        if !self.topics.contains_key(&topic_arn) {
            return Err(topic.error(format!("TopicArn: {topic_arn} is no topic of this template")));
        }
        let queue_arn = self.endpoint(fields)?;
        let raw = fields.flag("RawMessageDelivery")?.unwrap_or(false);
        let scope = fields.choice("FilterPolicyScope", &["MessageAttributes", "MessageBody"])?;
        let filter_scope =
            if scope.as_deref() == Some("MessageBody") { FilterScope::Body } else { FilterScope::Attributes };
        let filter = fields.take("FilterPolicy").map(|policy| filter(&policy, filter_scope)).transpose()?;
        let mut dead_letter_arn = None;
        if let Some(mut policy) = fields.part("RedrivePolicy")? {
            let what = policy.name("deadLetterTargetArn");
            let target = policy.required("deadLetterTargetArn")?;
            dead_letter_arn = Some(self.queue_target(&target, &what)?);
            policy.finish(Type::Subscription.name())?;
        }
        self.subscribe(
            resource,
            resource.line,
            Subscription { topic_arn, queue_arn, raw, filter, filter_scope, dead_letter_arn },
        )
    }

    fn endpoint(&self, fields: &mut Fields) -> Result<String> {
        let protocol = fields.required("Protocol")?;
        if protocol.text("Protocol")? != "sqs" {
            let other = protocol.text("Protocol")?;
            return Err(protocol.error(format!("Protocol {other} is not supported by this host: sqs only")));
        }
        let endpoint = fields.required("Endpoint")?;
        self.queue_target(&endpoint, "Endpoint")
    }

    fn subscribe(&mut self, resource: &Resource, line: usize, subscription: Subscription) -> Result<()> {
        let way = (subscription.topic_arn.clone(), subscription.queue_arn.clone());
        if let Some(other) = self.subscribed.insert(way, resource.id.clone()) {
            let message = format!("{} listens to the topic already, by {other}", subscription.queue_arn);
            return Err(TemplateError::at(line, message));
        }
        self.stack.subscriptions.push(subscription);
        Ok(())
    }
}

/// A filter policy, as SNS would take it.
fn filter(policy: &Value, scope: FilterScope) -> Result<Json> {
    let json = match &policy.kind {
        Kind::Text { text, .. } => {
            serde_json::from_str(text).map_err(|error| policy.error(format!("FilterPolicy is no JSON: {error}")))?
        }
        _ => policy.json(),
    };
    if !matches!(json, Json::Object(_)) {
        return Err(policy.error("FilterPolicy must be a map"));
    }
    crate::sns::check_filter(&json, scope).map_err(|why| policy.error(why))?;
    Ok(json)
}
