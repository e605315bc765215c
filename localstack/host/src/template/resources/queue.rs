//! Queues.

use std::time::Duration;

use super::{Builder, Type, UsedRedrive};
use crate::{
    model::{Queue, Redrive, RedriveAllow},
    template::{Result, TemplateError, document::Resource, value::Fields},
};

/// Characters of a queue's name.
const NAME_LENGTH_MAX: usize = 80;
/// Twelve hours.
const VISIBILITY_S_MAX: u32 = 43_200;
/// What SQS takes when nothing is said.
const VISIBILITY_S_DEFAULT: u32 = 30;
const RETENTION_S_MIN: u32 = 60;
/// Fourteen days.
const RETENTION_S_MAX: u32 = 1_209_600;
/// Four days.
const RETENTION_S_DEFAULT: u32 = 345_600;
const DELAY_S_MAX: u32 = 900;
const RECEIVE_WAIT_S_MAX: u32 = 20;
const MESSAGE_BYTES_MIN: u32 = 1_024;
/// The most and the default: 1 MiB, since 2025.
const MESSAGE_BYTES_MAX: u32 = 1_048_576;
const RECEIVES_MAX: u32 = 1_000;
/// Queues that a dead-letter queue may name.
const SOURCES_MAX: usize = 10;
/// What changes nothing on this machine.
const WITHOUT_EFFECT: [&str; 4] = ["KmsDataKeyReusePeriodSeconds", "KmsMasterKeyId", "SqsManagedSseEnabled", "Tags"];

impl Builder<'_, '_> {
    pub(super) fn queue(&mut self, resource: &Resource, fields: &mut Fields) -> Result<()> {
        fields.refuse_flag("FifoQueue", "standard queues only")?;
        for name in ["ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"] {
            fields.refuse(name, "it belongs to FIFO queues, and these are standard queues only")?;
        }
        let name = self.take_name(resource, fields, 1..=NAME_LENGTH_MAX, "-_")?;
        let mut seconds = |name: &str, least: u32, most: u32, default: u32| -> Result<Duration> {
            let number = fields.number(name, least..=most)?.unwrap_or(default);
            Ok(Duration::from_secs(u64::from(number)))
        };
        let visibility_timeout = seconds("VisibilityTimeout", 0, VISIBILITY_S_MAX, VISIBILITY_S_DEFAULT)?;
        let retention = seconds("MessageRetentionPeriod", RETENTION_S_MIN, RETENTION_S_MAX, RETENTION_S_DEFAULT)?;
        let delay = seconds("DelaySeconds", 0, DELAY_S_MAX, 0)?;
        let receive_wait = seconds("ReceiveMessageWaitTimeSeconds", 0, RECEIVE_WAIT_S_MAX, 0)?;
        let message_bytes_max =
            fields.number("MaximumMessageSize", MESSAGE_BYTES_MIN..=MESSAGE_BYTES_MAX)?.unwrap_or(MESSAGE_BYTES_MAX);
        let redrive = self.redrive(resource, fields)?;
        let redrive_allow = redrive_allow(fields)?;
        fields.without_effect(&WITHOUT_EFFECT);
        self.stack.queues.push(Queue {
            name,
            visibility_timeout,
            retention,
            delay,
            receive_wait,
            message_bytes_max,
            redrive,
            redrive_allow,
        });
        Ok(())
    }

    fn redrive(&mut self, resource: &Resource, fields: &mut Fields) -> Result<Option<Redrive>> {
        let Some(mut policy) = fields.part("RedrivePolicy")? else { return Ok(None) };
        let what = policy.name("deadLetterTargetArn");
        let target = policy.required("deadLetterTargetArn")?;
        let dead_letter_arn = self.queue_target(&target, &what)?;
        let receives_max = policy
            .number("maxReceiveCount", 1..=RECEIVES_MAX)?
            .ok_or_else(|| policy.error(format!("{} is missing", policy.name("maxReceiveCount"))))?;
        policy.finish(Type::Queue.name())?;
        self.redrives.push(UsedRedrive {
            id: resource.id.clone(),
            line: target.line,
            queue_arn: self.resolver.arn(resource)?,
            dead_letter_arn: dead_letter_arn.clone(),
        });
        Ok(Some(Redrive { dead_letter_arn, receives_max }))
    }

    /// A dead-letter queue must take what is sent to it.
    pub(super) fn check_redrives(&self) -> Result<()> {
        for used in &self.redrives {
            let target = used.dead_letter_arn.rsplit(':').next().unwrap_or_default();
            let queue = self.stack.queues.iter().find(|queue| queue.name == target);
            let takes = queue.is_none_or(|queue| match &queue.redrive_allow {
                RedriveAllow::All => true,
                RedriveAllow::Deny => false,
                RedriveAllow::ByQueue(sources) => sources.contains(&used.queue_arn),
            });
            if !takes {
                let message =
                    format!("RedrivePolicy: the RedriveAllowPolicy of {target} does not let this queue send to it");
                return Err(TemplateError::at(used.line, message).within(&used.id));
            }
        }
        Ok(())
    }
}

fn redrive_allow(fields: &mut Fields) -> Result<RedriveAllow> {
    let Some(mut policy) = fields.part("RedriveAllowPolicy")? else { return Ok(RedriveAllow::All) };
    let permission = policy.choice("redrivePermission", &["allowAll", "denyAll", "byQueue"])?;
    let what = policy.name("sourceQueueArns");
    let sources = policy.texts("sourceQueueArns")?;
    policy.finish(Type::Queue.name())?;
    match (permission.as_deref(), sources) {
        (None | Some("allowAll"), None) => Ok(RedriveAllow::All),
        (Some("denyAll"), None) => Ok(RedriveAllow::Deny),
        (Some("byQueue"), Some(sources)) if (1..=SOURCES_MAX).contains(&sources.len()) => {
            Ok(RedriveAllow::ByQueue(sources))
        }
        (Some("byQueue"), _) => Err(policy.error(format!("{what} must name 1 to {SOURCES_MAX} queues with byQueue"))),
        _ => Err(policy.error(format!("{what} goes with redrivePermission byQueue only"))),
    }
}
