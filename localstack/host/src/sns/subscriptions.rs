//! Operations on subscriptions.

use super::{
    Topics,
    fields::{Fields, invalid},
    manage::{Page, arn},
    settings::{Operation, is_queue_arn},
    state::{Settings, Subscription},
    xml,
};
use crate::{error::ServiceError, model::ACCOUNT_ID};

/// Protocols of SNS that are not there locally.
const OTHER_PROTOCOLS: [&str; 8] = ["http", "https", "email", "email-json", "sms", "application", "lambda", "firehose"];

impl Topics {
    pub(super) fn subscribe(&self, fields: &Fields<'_>) -> Result<String, ServiceError> {
        let topic_arn = arn(fields, "TopicArn")?.to_owned();
        let queue_arn = endpoint(fields)?.to_owned();
        let mut settings = Settings::default();
        for (name, value) in fields.map("Attributes", "key", "value")? {
            settings.set(Operation::Subscribe, &name, &value)?;
        }
        settings.check(Operation::Subscribe)?;
        let arn = self.inner.store.change(|state| {
            state.topic(&topic_arn)?;
            // The same again is no error; something else is.
            let earlier = state.find(&topic_arn, &queue_arn).map(str::to_owned);
            match earlier {
                None => state.subscribe(Subscription { topic_arn, queue_arn, settings, declared: false }),
                Some(arn) if state.subscription(&arn)?.settings == settings => Ok(arn),
                Some(_) => Err(exists_already(&queue_arn)),
            }
        })?;
        xml::answer("Subscribe", &xml::element("SubscriptionArn", &arn))
    }

    /// Ending what does not exist is no error.
    pub(super) fn unsubscribe(&self, fields: &Fields<'_>) -> Result<String, ServiceError> {
        let arn = arn(fields, "SubscriptionArn")?;
        self.inner.store.change(|state| {
            state.subscriptions.remove(arn);
            Ok(())
        })?;
        xml::answer("Unsubscribe", "")
    }

    pub(super) fn list_subscriptions(&self, fields: &Fields<'_>) -> Result<String, ServiceError> {
        let state = self.inner.store.read();
        let all = state.subscriptions.iter().map(|(arn, subscription)| (arn.as_str(), subscription));
        list(fields, "ListSubscriptions", all)
    }

    pub(super) fn list_subscriptions_by_topic(&self, fields: &Fields<'_>) -> Result<String, ServiceError> {
        let topic_arn = arn(fields, "TopicArn")?;
        let state = self.inner.store.read();
        state.topic(topic_arn)?;
        list(fields, "ListSubscriptionsByTopic", state.subscriptions_of(topic_arn))
    }

    pub(super) fn get_subscription_attributes(&self, fields: &Fields<'_>) -> Result<String, ServiceError> {
        let arn = arn(fields, "SubscriptionArn")?;
        let attributes = self.inner.store.read().subscription(arn)?.attributes(arn);
        xml::answer("GetSubscriptionAttributes", &xml::map("Attributes", attributes))
    }

    pub(super) fn set_subscription_attributes(&self, fields: &Fields<'_>) -> Result<String, ServiceError> {
        let arn = arn(fields, "SubscriptionArn")?;
        let name = fields.required("AttributeName")?;
        let value = fields.get("AttributeValue").unwrap_or_default();
        self.inner.store.change(|state| {
            let settings = &mut state.subscription_mut(arn)?.settings;
            settings.set(Operation::SetSubscriptionAttributes, name, value)?;
            settings.check(Operation::SetSubscriptionAttributes)
        })?;
        xml::answer("SetSubscriptionAttributes", "")
    }
}

/// The queue that a request subscribes.
fn endpoint<'a>(fields: &Fields<'a>) -> Result<&'a str, ServiceError> {
    match fields.required("Protocol")? {
        "sqs" => {}
        other if OTHER_PROTOCOLS.contains(&other) => {
            return Err(invalid(format!("Invalid parameter: Protocol Reason: {other} is not supported by this host")));
        }
        other => {
            let reason = format!("Amazon SNS does not support this protocol string: {other}");
            return Err(invalid(format!("Invalid parameter: {reason}")));
        }
    }
    let queue_arn = fields.required("Endpoint")?;
    if !is_queue_arn(queue_arn) {
        return Err(invalid(format!("Invalid parameter: SQS endpoint ARN: {queue_arn}")));
    }
    if queue_arn.ends_with(".fifo") {
        let reason = "FIFO SQS Queues can not be subscribed to standard SNS topics";
        return Err(invalid(format!("Invalid parameter: Invalid parameter: Endpoint Reason: {reason}")));
    }
    Ok(queue_arn)
}

/// A queue subscribes to a topic once.
pub(super) fn exists_already(queue_arn: &str) -> ServiceError {
    let reason = format!("Subscription already exists with different attributes: {queue_arn}");
    invalid(format!("Invalid parameter: Attributes Reason: {reason}"))
}

fn list<'a>(
    fields: &Fields<'_>,
    operation: &str,
    subscriptions: impl Iterator<Item = (&'a str, &'a Subscription)>,
) -> Result<String, ServiceError> {
    let page = Page::of(fields, subscriptions)?;
    let members = page.items.into_iter().map(|(arn, subscription)| {
        [
            xml::element("SubscriptionArn", arn),
            xml::element("Owner", ACCOUNT_ID),
            xml::element("Protocol", "sqs"),
            xml::element("Endpoint", &subscription.queue_arn),
            xml::element("TopicArn", &subscription.topic_arn),
        ]
        .concat()
    });
    xml::answer(operation, &(xml::list("Subscriptions", members) + &page.next))
}
