//! Topics: each published message goes to the queues whose filter takes it, in one step.
//!
//! The query protocol of SNS, for subscriptions of queues. What SNS has for phones, applications and FIFO topics is
//! refused by name. Policies and encryption keys of topics are kept and have no effect.

pub mod pattern;

mod fields;
mod filter;
mod manage;
mod message;
mod publish;
mod settings;
mod state;
mod subscriptions;
mod xml;

#[cfg(test)]
mod tests;

pub(crate) use self::filter::check as check_filter;
use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
};

use self::{
    fields::Fields,
    publish::Outbox,
    settings::Operation,
    state::{Settings, State, Store, Subscription},
};
use crate::{error::ServiceError, model, sqs::Queues};

/// All topics. Clones share them.
#[derive(Debug, Clone)]
pub struct Topics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    place: model::Place,
    outbox: Box<dyn Outbox>,
    store: Store,
    dropped: AtomicU64,
}

impl Topics {
    /// The topics that `path` keeps, or none yet. They deliver to `queues`.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: &std::path::Path, place: model::Place, queues: Queues) -> anyhow::Result<Self> {
        Self::with_outbox(path, place, Box::new(queues))
    }

    fn with_outbox(path: &std::path::Path, place: model::Place, outbox: Box<dyn Outbox>) -> anyhow::Result<Self> {
        let store = Store::open(path.to_owned())?;
        Ok(Self { inner: Arc::new(Inner { place, outbox, store, dropped: AtomicU64::new(0) }) })
    }

    /// The topics and subscriptions of the template, instead of those of an earlier template. What was made or set by
    /// calls stays, as long as its topic does.
    ///
    /// # Errors
    /// A filter policy that the service would refuse; a topic that does not exist; a queue that subscribes twice.
    /// Nothing has changed then.
    pub fn declare(&self, topics: &[model::Topic], subscriptions: &[model::Subscription]) -> Result<(), ServiceError> {
        self.inner.store.change(|state| {
            let kept: BTreeSet<&str> = topics.iter().map(|topic| topic.arn.as_str()).collect();
            state.retain_topics(|arn, topic| !topic.declared || kept.contains(arn));
            for topic in topics {
                manage::check_name(&topic.name)?;
                state.topics.entry(topic.arn.clone()).or_default().declared = true;
            }
            let mut declared = BTreeSet::new();
            for subscription in subscriptions {
                let arn = declare_subscription(state, subscription)?;
                if !declared.insert(arn) {
                    return Err(subscriptions::exists_already(&subscription.queue_arn));
                }
            }
            state.subscriptions.retain(|arn, subscription| !subscription.declared || declared.contains(arn));
            Ok(())
        })
    }

    /// Answers one call of the query protocol with XML: `fields` is the form, in order.
    ///
    /// # Errors
    /// The service's refusal, by its own name.
    pub async fn call(&self, fields: &[(String, String)]) -> Result<String, ServiceError> {
        let fields = &Fields::new(fields);
        match fields.get("Action") {
            Some("Publish") => self.publish(fields).await,
            Some("PublishBatch") => self.publish_batch(fields).await,
            Some("CreateTopic") => self.create_topic(fields),
            Some("DeleteTopic") => self.delete_topic(fields),
            Some("ListTopics") => self.list_topics(fields),
            Some("GetTopicAttributes") => self.get_topic_attributes(fields),
            Some("SetTopicAttributes") => self.set_topic_attributes(fields),
            Some("Subscribe") => self.subscribe(fields),
            Some("Unsubscribe") => self.unsubscribe(fields),
            Some("ListSubscriptions") => self.list_subscriptions(fields),
            Some("ListSubscriptionsByTopic") => self.list_subscriptions_by_topic(fields),
            Some("GetSubscriptionAttributes") => self.get_subscription_attributes(fields),
            Some("SetSubscriptionAttributes") => self.set_subscription_attributes(fields),
            Some("TagResource") => self.tag_resource(fields),
            Some("UntagResource") => self.untag_resource(fields),
            Some("ListTagsForResource") => self.list_tags_for_resource(fields),
            Some(action) => {
                Err(ServiceError::sender("InvalidAction", format!("The action {action} is not supported by this host")))
            }
            None => Err(ServiceError::sender("MissingAction", "The request must contain the parameter Action")),
        }
    }

    /// How many messages were lost since the start, because neither their queue nor a dead-letter queue took them.
    /// Each subscription counts.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.inner.dropped.load(Ordering::Relaxed)
    }
}

fn declare_subscription(state: &mut State, declared: &model::Subscription) -> Result<String, ServiceError> {
    let settings = Settings {
        raw: declared.raw,
        filter: declared.filter.clone(),
        filters_body: declared.filter_scope == model::FilterScope::Body,
        dead_letter_arn: declared.dead_letter_arn.clone(),
    };
    settings.check(Operation::Subscribe)?;
    let (topic_arn, queue_arn) = (declared.topic_arn.clone(), declared.queue_arn.clone());
    state.subscribe(Subscription { topic_arn, queue_arn, settings, declared: true })
}
