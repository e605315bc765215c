//! Attributes of subscriptions: read, checked, and written.

use serde_json::{Value, json};

use super::{
    fields::invalid,
    filter,
    state::{Settings, Subscription},
};
use crate::{
    error::ServiceError,
    model::{ACCOUNT_ID, FilterScope},
};

/// Which operation sets attributes: its name for them is part of the message when one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Subscribe,
    SetSubscriptionAttributes,
}

impl Operation {
    fn refuse(self, reason: &str) -> ServiceError {
        match self {
            Self::Subscribe => invalid(format!("Invalid parameter: Attributes Reason: {reason}")),
            Self::SetSubscriptionAttributes => invalid(format!("Invalid parameter: {reason}")),
        }
    }
}

impl Settings {
    /// Sets one attribute. [`Settings::check`] has to follow the last one.
    pub(super) fn set(&mut self, operation: Operation, name: &str, value: &str) -> Result<(), ServiceError> {
        match name {
            "RawMessageDelivery" => {
                self.raw = match value.to_ascii_lowercase().as_str() {
                    "true" => true,
                    "false" => false,
                    _ => {
                        let reason = format!("RawMessageDelivery: Invalid value [{value}]. Must be true or false.");
                        return Err(operation.refuse(&reason));
                    }
                }
            }
            "FilterPolicy" => self.filter = object(operation, name, value)?,
            "FilterPolicyScope" => {
                self.filters_body = match value {
                    "MessageBody" => true,
                    "MessageAttributes" => false,
                    _ => {
                        let reason = format!(
                            "FilterPolicyScope: Invalid value [{value}]. Please use either MessageBody or \
                             MessageAttributes"
                        );
                        return Err(operation.refuse(&reason));
                    }
                }
            }
            "RedrivePolicy" => {
                let policy = object(operation, name, value)?;
                let target = policy.as_ref().map(|policy| policy.get("deadLetterTargetArn").and_then(Value::as_str));
                self.dead_letter_arn = match target {
                    None => None,
                    Some(Some(arn)) if is_queue_arn(arn) => Some(arn.to_owned()),
                    Some(_) => {
                        return Err(operation.refuse("RedrivePolicy: deadLetterTargetArn is an invalid arn"));
                    }
                };
            }
            _ => return Err(operation.refuse(&format!("AttributeName: {name} is not supported"))),
        }
        Ok(())
    }

    /// Checks what depends on more than one attribute.
    pub(super) fn check(&self, operation: Operation) -> Result<(), ServiceError> {
        let Some(policy) = &self.filter else { return Ok(()) };
        filter::check(policy, self.scope()).map_err(|reason| operation.refuse(&reason))
    }

    pub(super) fn scope(&self) -> FilterScope {
        if self.filters_body { FilterScope::Body } else { FilterScope::Attributes }
    }
}

impl Subscription {
    /// As `GetSubscriptionAttributes` tells them.
    pub(super) fn attributes(&self, arn: &str) -> Vec<(&'static str, String)> {
        let settings = &self.settings;
        let mut attributes = vec![
            ("SubscriptionArn", arn.to_owned()),
            ("TopicArn", self.topic_arn.clone()),
            ("Protocol", "sqs".to_owned()),
            ("Endpoint", self.queue_arn.clone()),
            ("Owner", ACCOUNT_ID.to_owned()),
            ("SubscriptionPrincipal", format!("arn:aws:iam::{ACCOUNT_ID}:root")),
            ("ConfirmationWasAuthenticated", "true".to_owned()),
            ("PendingConfirmation", "false".to_owned()),
            ("RawMessageDelivery", settings.raw.to_string()),
        ];
        if let Some(policy) = &settings.filter {
            let scope = if settings.filters_body { "MessageBody" } else { "MessageAttributes" };
            attributes.extend([("FilterPolicy", policy.to_string()), ("FilterPolicyScope", scope.to_owned())]);
        }
        if let Some(arn) = &settings.dead_letter_arn {
            attributes.push(("RedrivePolicy", json!({"deadLetterTargetArn": arn}).to_string()));
        }
        attributes
    }
}

/// A policy; an empty one is none.
fn object(operation: Operation, name: &str, value: &str) -> Result<Option<Value>, ServiceError> {
    if value.trim().is_empty() {
        return Ok(None);
    }
    let bad = || operation.refuse(&format!("{name}: failed to parse JSON."));
    let policy: Value = serde_json::from_str(value).map_err(|_| bad())?;
    let keys = policy.as_object().ok_or_else(bad)?;
    Ok((!keys.is_empty()).then_some(policy))
}

/// Whether this is the ARN of a queue.
pub(super) fn is_queue_arn(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    matches!(parts.as_slice(), ["arn", _, "sqs", region, account, name]
        if ![region, account, name].iter().any(|part| part.is_empty()))
}
