//! What a queue can be told: its attributes, their limits, and their text.
//!
//! Limits are those of `SetQueueAttributes` in the API reference.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::errors::{invalid_attribute_value, invalid_parameter, unknown_attribute, unsupported};
use crate::{error::ServiceError, model};

/// Seconds that a message may stay hidden.
pub(super) const VISIBILITY_SECONDS: RangeInclusive<u64> = 0..=43_200;
/// Seconds that a message is kept.
const RETENTION_SECONDS: RangeInclusive<u64> = 60..=1_209_600;
/// Seconds that a new message may stay hidden.
pub(super) const DELAY_SECONDS: RangeInclusive<u64> = 0..=900;
/// Seconds that a receive may wait.
pub(super) const WAIT_SECONDS: RangeInclusive<u64> = 0..=20;
/// Bytes of a message with its attributes, and of a batch of them.
pub(super) const MESSAGE_BYTES: RangeInclusive<u64> = 1_024..=1_048_576;
/// Receives before a message becomes a dead letter.
const RECEIVES: RangeInclusive<u64> = 1..=1_000;
/// Queues that a `RedriveAllowPolicy` may name.
const ALLOWED_SOURCES_MAX: usize = 10;
/// In a second.
const SECOND_MS: u64 = 1_000;
/// Attributes of FIFO queues: unknown to a standard one.
const FIFO_ONLY: [&str; 4] = ["FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"];
/// Attributes that have no meaning without IAM and KMS.
const UNSUPPORTED: [&str; 3] = ["Policy", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds"];

/// The settings of a queue, with AWS's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) visibility_ms: u64,
    pub(super) retention_ms: u64,
    pub(super) delay_ms: u64,
    pub(super) wait_ms: u64,
    pub(super) message_bytes_max: u64,
    pub(super) redrive: Option<Redrive>,
    pub(super) redrive_allow: Option<Allow>,
    /// Stored and shown; there is no encryption to switch.
    pub(super) managed_sse: bool,
}

/// `RedrivePolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Redrive {
    #[serde(rename = "deadLetterTargetArn")]
    pub(super) dead_letter_arn: String,
    #[serde(rename = "maxReceiveCount")]
    pub(super) receives_max: u64,
}

impl Redrive {
    /// Name of the dead-letter queue.
    pub(super) fn dead_letter_name(&self) -> &str {
        self.dead_letter_arn.rsplit(':').next().unwrap_or_default()
    }
}

/// `RedriveAllowPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "redrivePermission")]
pub(super) enum Allow {
    #[serde(rename = "allowAll")]
    Any,
    #[serde(rename = "denyAll")]
    Nobody,
    #[serde(rename = "byQueue")]
    ByQueue {
        #[serde(rename = "sourceQueueArns")]
        sources: Vec<String>,
    },
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            visibility_ms: 30 * SECOND_MS,
            retention_ms: 345_600 * SECOND_MS,
            delay_ms: 0,
            wait_ms: 0,
            message_bytes_max: *MESSAGE_BYTES.end(),
            redrive: None,
            redrive_allow: None,
            managed_sse: true,
        }
    }
}

impl Settings {
    /// The settings of a queue of a template.
    pub(super) fn of_template(queue: &model::Queue) -> Self {
        Self {
            visibility_ms: milliseconds(queue.visibility_timeout),
            retention_ms: milliseconds(queue.retention),
            delay_ms: milliseconds(queue.delay),
            wait_ms: milliseconds(queue.receive_wait),
            message_bytes_max: u64::from(queue.message_bytes_max),
            redrive: queue.redrive.as_ref().map(|redrive| Redrive {
                dead_letter_arn: redrive.dead_letter_arn.clone(),
                receives_max: u64::from(redrive.receives_max),
            }),
            redrive_allow: match &queue.redrive_allow {
                model::RedriveAllow::All => None,
                model::RedriveAllow::Deny => Some(Allow::Nobody),
                model::RedriveAllow::ByQueue(sources) => Some(Allow::ByQueue { sources: sources.clone() }),
            },
            managed_sse: true,
        }
    }

    /// Whether every number is within its limits.
    ///
    /// # Errors
    /// The attribute that is not.
    pub(super) fn check(&self) -> Result<(), ServiceError> {
        let receives_max = self.redrive.as_ref().map_or(*RECEIVES.start(), |redrive| redrive.receives_max);
        let wrong = [
            ("VisibilityTimeout", self.visibility_ms, &VISIBILITY_SECONDS, SECOND_MS),
            ("MessageRetentionPeriod", self.retention_ms, &RETENTION_SECONDS, SECOND_MS),
            ("DelaySeconds", self.delay_ms, &DELAY_SECONDS, SECOND_MS),
            ("ReceiveMessageWaitTimeSeconds", self.wait_ms, &WAIT_SECONDS, SECOND_MS),
            ("MaximumMessageSize", self.message_bytes_max, &MESSAGE_BYTES, 1),
            ("RedrivePolicy", receives_max, &RECEIVES, 1),
        ]
        .into_iter()
        .find(|(_, value, allowed, unit)| *value < allowed.start() * unit || *value > allowed.end() * unit);
        wrong.map_or(Ok(()), |(name, ..)| Err(invalid_attribute_value(name)))
    }

    /// Whether the queue with this ARN may send its dead letters here.
    pub(super) fn allows(&self, source_arn: &str) -> bool {
        match &self.redrive_allow {
            None | Some(Allow::Any) => true,
            Some(Allow::Nobody) => false,
            Some(Allow::ByQueue { sources }) => sources.iter().any(|arn| arn == source_arn),
        }
    }

    /// These settings with the named attributes changed.
    ///
    /// # Errors
    /// An attribute that is unknown, unsupported, or out of its limits.
    pub(super) fn with(&self, attributes: &BTreeMap<String, String>) -> Result<Self, ServiceError> {
        let mut changed = self.clone();
        for (name, value) in attributes {
            changed.set(name, value)?;
        }
        Ok(changed)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), ServiceError> {
        match name {
            "VisibilityTimeout" => self.visibility_ms = number(name, value, &VISIBILITY_SECONDS)? * SECOND_MS,
            "MessageRetentionPeriod" => self.retention_ms = number(name, value, &RETENTION_SECONDS)? * SECOND_MS,
            "DelaySeconds" => self.delay_ms = number(name, value, &DELAY_SECONDS)? * SECOND_MS,
            "ReceiveMessageWaitTimeSeconds" => self.wait_ms = number(name, value, &WAIT_SECONDS)? * SECOND_MS,
            "MaximumMessageSize" => self.message_bytes_max = number(name, value, &MESSAGE_BYTES)?,
            "SqsManagedSseEnabled" => {
                self.managed_sse = value.parse().map_err(|_| invalid_attribute_value(name))?;
            }
            // Empty text takes a policy away.
            "RedrivePolicy" if value.is_empty() => self.redrive = None,
            "RedrivePolicy" => self.redrive = Some(parse_redrive(value)?),
            "RedriveAllowPolicy" if value.is_empty() => self.redrive_allow = None,
            "RedriveAllowPolicy" => self.redrive_allow = Some(parse_allow(value)?),
            _ if UNSUPPORTED.contains(&name) => return Err(unsupported(format!("The queue attribute {name}"))),
            _ if FIFO_ONLY.contains(&name) => {
                return Err(unsupported(format!("The queue attribute {name}: there are only standard queues, and it")));
            }
            _ => return Err(unknown_attribute(name)),
        }
        Ok(())
    }

    /// As `GetQueueAttributes` writes them.
    pub(super) fn to_attributes(&self) -> BTreeMap<&'static str, String> {
        let mut attributes = BTreeMap::from([
            ("VisibilityTimeout", (self.visibility_ms / SECOND_MS).to_string()),
            ("MessageRetentionPeriod", (self.retention_ms / SECOND_MS).to_string()),
            ("DelaySeconds", (self.delay_ms / SECOND_MS).to_string()),
            ("ReceiveMessageWaitTimeSeconds", (self.wait_ms / SECOND_MS).to_string()),
            ("MaximumMessageSize", self.message_bytes_max.to_string()),
            ("SqsManagedSseEnabled", self.managed_sse.to_string()),
        ]);
        attributes.extend(self.redrive.as_ref().map(|redrive| ("RedrivePolicy", json!(redrive).to_string())));
        attributes.extend(self.redrive_allow.as_ref().map(|allow| ("RedriveAllowPolicy", json!(allow).to_string())));
        attributes
    }

    /// The first of these attributes that has another value here.
    pub(super) fn difference(&self, wanted: &Self) -> Option<&'static str> {
        let (have, want) = (self.to_attributes(), wanted.to_attributes());
        want.iter().find(|(name, value)| have.get(*name) != Some(value)).map(|(name, _)| *name)
    }
}

/// A duration in milliseconds.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn number(name: &str, value: &str, allowed: &RangeInclusive<u64>) -> Result<u64, ServiceError> {
    value.parse().ok().filter(|number| allowed.contains(number)).ok_or_else(|| invalid_attribute_value(name))
}

fn parse_redrive(text: &str) -> Result<Redrive, ServiceError> {
    let refused = |reason: &str| {
        invalid_parameter(format!("Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}"))
    };
    let policy: Value = serde_json::from_str(text).map_err(|_| refused("Redrive policy is not a valid JSON map."))?;
    let arn = policy.get("deadLetterTargetArn").and_then(Value::as_str);
    let arn =
        arn.ok_or_else(|| refused("Redrive policy does not contain mandatory attribute: deadLetterTargetArn."))?;
    let count = policy.get("maxReceiveCount");
    let count =
        count.ok_or_else(|| refused("Redrive policy does not contain mandatory attribute: maxReceiveCount."))?;
    let count = count.as_u64().or_else(|| count.as_str().and_then(|text| text.parse().ok()));
    let receives_max = count
        .filter(|count| RECEIVES.contains(count))
        .ok_or_else(|| refused("Invalid value for maxReceiveCount. Valid values are from 1 to 1000 both inclusive."))?;
    Ok(Redrive { dead_letter_arn: arn.to_owned(), receives_max })
}

fn parse_allow(text: &str) -> Result<Allow, ServiceError> {
    let refused = |reason: &str| {
        invalid_parameter(format!("Value {text} for parameter RedriveAllowPolicy is invalid. Reason: {reason}"))
    };
    let policy: Value = serde_json::from_str(text).map_err(|_| refused("Not a valid JSON map."))?;
    let sources = policy.get("sourceQueueArns").map(|sources| {
        let list = sources.as_array().into_iter().flatten().filter_map(Value::as_str);
        list.map(str::to_owned).collect::<Vec<_>>()
    });
    match (policy.get("redrivePermission").and_then(Value::as_str), sources) {
        (Some("allowAll"), None) => Ok(Allow::Any),
        (Some("denyAll"), None) => Ok(Allow::Nobody),
        (Some("allowAll" | "denyAll"), Some(_)) => {
            Err(refused("sourceQueueArns is allowed with the redrivePermission byQueue only."))
        }
        (Some("byQueue"), Some(sources)) if (1..=ALLOWED_SOURCES_MAX).contains(&sources.len()) => {
            Ok(Allow::ByQueue { sources })
        }
        (Some("byQueue"), _) => Err(refused("byQueue needs 1 to 10 sourceQueueArns.")),
        _ => Err(refused("redrivePermission must be allowAll, denyAll or byQueue.")),
    }
}
