//! Topics and subscriptions, and the file that keeps them.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{error::ServiceError, ids::uuid};

/// Everything that is remembered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// By ARN.
    pub(super) topics: BTreeMap<String, Topic>,
    /// By ARN, which begins with the topic's.
    pub(super) subscriptions: BTreeMap<String, Subscription>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Topic {
    /// Those that were set by calls.
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) tags: BTreeMap<String, String>,
    /// Whether the template asks for it.
    pub(super) declared: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Subscription {
    pub(super) topic_arn: String,
    pub(super) queue_arn: String,
    pub(super) settings: Settings,
    /// Whether the template asks for it.
    pub(super) declared: bool,
}

/// What can be set about a subscription.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) raw: bool,
    pub(super) filter: Option<Value>,
    pub(super) filters_body: bool,
    pub(super) dead_letter_arn: Option<String>,
}

impl State {
    pub(super) fn topic(&self, arn: &str) -> Result<&Topic, ServiceError> {
        self.topics.get(arn).ok_or_else(no_topic)
    }

    pub(super) fn topic_mut(&mut self, arn: &str) -> Result<&mut Topic, ServiceError> {
        self.topics.get_mut(arn).ok_or_else(no_topic)
    }

    pub(super) fn subscription(&self, arn: &str) -> Result<&Subscription, ServiceError> {
        self.subscriptions.get(arn).ok_or_else(no_subscription)
    }

    pub(super) fn subscription_mut(&mut self, arn: &str) -> Result<&mut Subscription, ServiceError> {
        self.subscriptions.get_mut(arn).ok_or_else(no_subscription)
    }

    /// The subscriptions of a topic, with their ARNs.
    pub(super) fn subscriptions_of<'a, 'b>(
        &'a self,
        topic_arn: &'b str,
    ) -> impl Iterator<Item = (&'a str, &'a Subscription)> + use<'a, 'b> {
        let all = self.subscriptions.iter().map(|(arn, subscription)| (arn.as_str(), subscription));
        all.filter(move |(_, subscription)| subscription.topic_arn == topic_arn)
    }

    /// The ARN of a queue's subscription to a topic.
    pub(super) fn find(&self, topic_arn: &str, queue_arn: &str) -> Option<&str> {
        self.subscriptions_of(topic_arn).find(|(_, other)| other.queue_arn == queue_arn).map(|(arn, _)| arn)
    }

    /// Puts a subscription in the place of an earlier one of the same queue, and returns its ARN.
    pub(super) fn subscribe(&mut self, subscription: Subscription) -> Result<String, ServiceError> {
        self.topic(&subscription.topic_arn)?;
        let arn = match self.find(&subscription.topic_arn, &subscription.queue_arn) {
            Some(arn) => arn.to_owned(),
            None => format!("{}:{}", subscription.topic_arn, uuid()),
        };
        self.subscriptions.insert(arn.clone(), subscription);
        Ok(arn)
    }

    /// Keeps these topics; the subscriptions of the others go with them.
    pub(super) fn retain_topics(&mut self, keeps: impl Fn(&str, &Topic) -> bool) {
        let Self { topics, subscriptions } = self;
        topics.retain(|arn, topic| keeps(arn, topic));
        subscriptions.retain(|_, subscription| topics.contains_key(&subscription.topic_arn));
    }
}

fn no_topic() -> ServiceError {
    ServiceError::sender("NotFound", "Topic does not exist").with_status(http::StatusCode::NOT_FOUND)
}

fn no_subscription() -> ServiceError {
    ServiceError::sender("NotFound", "Subscription does not exist").with_status(http::StatusCode::NOT_FOUND)
}

/// The state and its file. Each change is in the file before it counts.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    state: Mutex<State>,
}

impl Store {
    pub(super) fn open(path: PathBuf) -> anyhow::Result<Self> {
        let state = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { path, state: Mutex::new(state) })
    }

    pub(super) fn read(&self) -> MutexGuard<'_, State> {
        // A change is made on a copy: the state is whole, whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state: all of it or, on an error, nothing.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let mut state = self.read();
        let mut next = state.clone();
        let result = change(&mut next)?;
        if next != *state {
            self.write(&next).map_err(|error| ServiceError::internal(format!("{error:#}")))?;
            *state = next;
        }
        Ok(result)
    }

    /// A rename puts the new file in the old one's place whole, so that a killed process leaves one or the other.
    fn write(&self, state: &State) -> anyhow::Result<()> {
        let temporary = self.path.with_extension("new");
        let text = serde_json::to_vec_pretty(state)?;
        fs::write(&temporary, text).with_context(|| format!("cannot write {}", temporary.display()))?;
        fs::rename(&temporary, &self.path).with_context(|| format!("cannot replace {}", self.path.display()))
    }
}
