//! Queues come, change and go.

use std::collections::BTreeMap;

use super::{
    engine::State,
    errors::{invalid_parameter, namespaced, unsupported},
    queue::{QueueState, Record},
    settings::{Redrive, Settings},
    store::Change,
};
use crate::{error::ServiceError, model};

/// Characters of a queue's name.
const NAME_CHARACTERS_MAX: usize = 80;
/// Tags of a queue.
const TAGS_MAX: usize = 50;
/// Characters of a tag's key, and of its value.
const TAG_KEY_CHARACTERS_MAX: usize = 128;
const TAG_VALUE_CHARACTERS_MAX: usize = 256;
/// Between two purges of a queue, and between the end of a queue and a new one of its name.
const PAUSE_MS: u64 = 60_000;

impl State {
    /// Gives a queue of the template its settings; makes it if there is none. Its dead-letter queue may follow later in
    /// the template.
    ///
    /// # Errors
    /// A name or a setting that SQS would refuse, and a dead-letter queue that does not allow it.
    pub(super) fn declare(&mut self, queue: &model::Queue, now_ms: u64) -> Result<(), ServiceError> {
        check_name(&queue.name)?;
        let settings = Settings::of_template(queue);
        settings.check()?;
        let absent_target =
            settings.redrive.as_ref().filter(|redrive| !self.queues.contains_key(redrive.dead_letter_name()));
        if absent_target.is_none() {
            self.check_redrive(&queue.name, settings.redrive.as_ref())?;
        }
        match self.queues.get(&queue.name) {
            None => self.create(&queue.name, settings, BTreeMap::new(), now_ms),
            Some(known) if known.record.settings == settings => {}
            Some(_) => self.change_settings(&queue.name, settings, now_ms)?,
        }
        Ok(())
    }

    /// `CreateQueue`.
    ///
    /// # Errors
    /// `QueueNameExists` when the queue exists and one of these attributes has another value; `QueueDeletedRecently`;
    /// names and attributes that SQS refuses.
    pub(super) fn create_queue(
        &mut self,
        name: &str,
        attributes: &BTreeMap<String, String>,
        tags: BTreeMap<String, String>,
        now_ms: u64,
    ) -> Result<(), ServiceError> {
        check_name(name)?;
        check_tags(&tags)?;
        if let Some(known) = self.queues.get(name) {
            let settings = &known.record.settings;
            return match settings.difference(&settings.with(attributes)?) {
                None => Ok(()),
                Some(attribute) => Err(ServiceError::sender(
                    "QueueNameExists",
                    format!("{name} already exists with a different value for attribute {attribute}."),
                )
                .with_query_code("QueueAlreadyExists")),
            };
        }
        let settings = Settings::default().with(attributes)?;
        self.check_redrive(name, settings.redrive.as_ref())?;
        if self.deleted.get(name).is_some_and(|at_ms| now_ms < at_ms + PAUSE_MS) {
            let message = format!(
                "You must wait 60 seconds after deleting {name} before you can create another queue of that name."
            );
            return Err(namespaced("QueueDeletedRecently", message));
        }
        self.create(name, settings, tags, now_ms);
        Ok(())
    }

    fn create(&mut self, name: &str, settings: Settings, tags: BTreeMap<String, String>, now_ms: u64) {
        let record = Record {
            name: name.to_owned(),
            settings,
            tags,
            created_at_ms: now_ms,
            modified_at_ms: now_ms,
            purged_at_ms: 0,
        };
        let id = self.number();
        self.keep(Change::PutQueue { id, record: Box::new(record.clone()) });
        self.deleted.remove(name);
        self.queues.insert(name.to_owned(), QueueState::new(id, self.place.arn("sqs", name), record));
    }

    /// `SetQueueAttributes`.
    ///
    /// # Errors
    /// `QueueDoesNotExist` and what SQS refuses of attributes.
    pub(super) fn set_attributes(
        &mut self,
        name: &str,
        attributes: &BTreeMap<String, String>,
        now_ms: u64,
    ) -> Result<(), ServiceError> {
        let settings = self.queue(name)?.record.settings.with(attributes)?;
        if attributes.contains_key("RedrivePolicy") {
            self.check_redrive(name, settings.redrive.as_ref())?;
        }
        self.change_settings(name, settings, now_ms)
    }

    fn change_settings(&mut self, name: &str, settings: Settings, now_ms: u64) -> Result<(), ServiceError> {
        self.change_record(name, |record| {
            record.settings = settings;
            record.modified_at_ms = now_ms;
        })
    }

    fn change_record(&mut self, name: &str, change: impl FnOnce(&mut Record)) -> Result<(), ServiceError> {
        let queue = self.queue_mut(name)?;
        change(&mut queue.record);
        let kept = Change::PutQueue { id: queue.id, record: Box::new(queue.record.clone()) };
        self.keep(kept);
        Ok(())
    }

    /// Whether `source` may have this redrive policy: where AWS checks the other queue's `RedriveAllowPolicy` too.
    fn check_redrive(&self, source: &str, redrive: Option<&Redrive>) -> Result<(), ServiceError> {
        let Some(redrive) = redrive else { return Ok(()) };
        let refused = |reason: &str| {
            let arn = &redrive.dead_letter_arn;
            invalid_parameter(format!(
                "Value {arn} for parameter RedrivePolicy of {source} is invalid. Reason: {reason}"
            ))
        };
        let target = redrive.dead_letter_name();
        if target == source {
            return Err(refused("A queue cannot be its own dead letter target."));
        }
        let target = self.queues.get(target).filter(|target| *target.arn == *redrive.dead_letter_arn);
        let target = target.ok_or_else(|| refused("Dead letter target does not exist."))?;
        if target.record.settings.allows(&self.place.arn("sqs", source)) {
            Ok(())
        } else {
            Err(refused("The RedriveAllowPolicy of the dead letter target does not allow this queue."))
        }
    }

    /// `DeleteQueue`: with its messages; who waits at it learns that it is gone.
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub(super) fn delete_queue(&mut self, name: &str, now_ms: u64) -> Result<(), ServiceError> {
        let id = self.queue(name)?.id;
        if let Some(queue) = self.queues.remove(name) {
            queue.waiters.dismiss();
        }
        self.deleted.retain(|_, at_ms| now_ms < *at_ms + PAUSE_MS);
        self.deleted.insert(name.to_owned(), now_ms);
        self.keep(Change::DropQueue { id });
        Ok(())
    }

    /// `PurgeQueue`: messages in flight too.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, `PurgeQueueInProgress` within 60 seconds of the last purge.
    pub(super) fn purge(&mut self, name: &str, now_ms: u64) -> Result<(), ServiceError> {
        if now_ms < self.queue(name)?.record.purged_at_ms + PAUSE_MS {
            let message = format!("Only one PurgeQueue operation on {name} is allowed every 60 seconds.");
            return Err(namespaced("PurgeQueueInProgress", message));
        }
        let queue = self.queue_mut(name)?;
        queue.purge();
        let id = queue.id;
        self.keep(Change::Purge { queue: id });
        self.change_record(name, |record| record.purged_at_ms = now_ms)
    }

    /// `TagQueue`: a key that is there gets the new value.
    ///
    /// # Errors
    /// `QueueDoesNotExist` and what SQS refuses of tags.
    pub(super) fn tag(&mut self, name: &str, tags: BTreeMap<String, String>) -> Result<(), ServiceError> {
        let mut all = self.queue(name)?.record.tags.clone();
        all.extend(tags);
        check_tags(&all)?;
        self.change_record(name, |record| record.tags = all)
    }

    /// `UntagQueue`: a key that is not there is no error.
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub(super) fn untag(&mut self, name: &str, keys: &[String]) -> Result<(), ServiceError> {
        self.change_record(name, |record| record.tags.retain(|key, _| !keys.contains(key)))
    }

    /// Names of the queues whose dead letters come to this one.
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub(super) fn dead_letter_sources(&self, name: &str) -> Result<Vec<String>, ServiceError> {
        let arn = &self.queue(name)?.arn;
        let has_it = |queue: &&QueueState| {
            queue.record.settings.redrive.as_ref().is_some_and(|redrive| *redrive.dead_letter_arn == **arn)
        };
        Ok(self.queues.values().filter(has_it).map(|queue| queue.record.name.clone()).collect())
    }
}

fn check_name(name: &str) -> Result<(), ServiceError> {
    if name.ends_with(".fifo") {
        return Err(unsupported(format!("The FIFO queue {name}: there are only standard queues, and it")));
    }
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
    if name.is_empty() || name.len() > NAME_CHARACTERS_MAX || !name.chars().all(is_allowed) {
        return Err(invalid_parameter(format!(
            "The queue name {name:?} can only include 1 to 80 alphanumeric characters, hyphens, or underscores."
        )));
    }
    Ok(())
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ServiceError> {
    if tags.len() > TAGS_MAX {
        return Err(invalid_parameter(format!(
            "Too many tags for the queue: {}. At most {TAGS_MAX} are allowed.",
            tags.len()
        )));
    }
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > TAG_KEY_CHARACTERS_MAX {
            return Err(invalid_parameter(format!(
                "Tag key {key:?} must have 1 to {TAG_KEY_CHARACTERS_MAX} characters."
            )));
        }
        if value.chars().count() > TAG_VALUE_CHARACTERS_MAX {
            return Err(invalid_parameter(format!(
                "Value of the tag {key} must have at most {TAG_VALUE_CHARACTERS_MAX} characters."
            )));
        }
    }
    Ok(())
}
