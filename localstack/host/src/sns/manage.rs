//! Operations on topics and their tags.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use super::{
    Topics,
    fields::{Fields, invalid},
    state::Topic,
    xml,
};
use crate::{error::ServiceError, model::ACCOUNT_ID};

/// Items of one page of a list.
const PAGE_ITEMS_MAX: usize = 100;
/// Characters of a topic's name.
const NAME_CHARACTERS_MAX: usize = 256;
/// Tags of a topic.
const TAGS_MAX: usize = 50;
/// Attributes of topics that may be set. None changes how messages are delivered to queues here.
const ATTRIBUTES: [&str; 5] = ["DisplayName", "Policy", "DeliveryPolicy", "KmsMasterKeyId", "SignatureVersion"];

impl Topics {
    pub(super) fn create_topic(&self, fields: &Fields<'_>) -> Result<String, ServiceError> {
        let name = fields.get("Name").unwrap_or_default();
        check_name(name)?;
        let attributes = fields.map("Attributes", "key", "value")?;
        for attribute in attributes.keys() {
            check_attribute(attribute)?;
        }
        let tags = fields.map("Tags", "Key", "Value")?;
        check_tags(&tags)?;
        let arn = self.inner.place.arn("sns", name);
        self.inner.store.change(|state| {
            let Some(topic) = state.topics.get(&arn) else {
                state.topics.insert(arn.clone(), Topic { attributes, tags, declared: false });
                return Ok(());
            };
            if attributes.iter().any(|(name, value)| topic.attributes.get(name) != Some(value)) {
                let reason = "Topic already exists with different attributes";
                return Err(invalid(format!("Invalid parameter: Attributes Reason: {reason}")));
            }
            if !tags.is_empty() && tags != topic.tags {
                return Err(invalid("Invalid parameter: Tags Reason: Topic already exists with different tags"));
            }
            Ok(())
        })?;
        xml::answer("CreateTopic", &xml::element("TopicArn", &arn))
    }

    /// Deleting what does not exist is no error.
    pub(super) fn delete_topic(&self, fields: &Fields<'_>) -> Result<String, ServiceError> {
        let arn = arn(fields, "TopicArn")?;
        self.inner.store.change(|state| {
            state.retain_topics(|other, _| other != arn);
            Ok(())
        })?;
        xml::answer("DeleteTopic", "")
    }

    pub(super) fn list_topics(&self, fields: &Fields<'_>) -> Result<String, ServiceError> {
        let state = self.inner.store.read();
        let page = Page::of(fields, state.topics.keys().map(|arn| (arn.as_str(), ())))?;
        let topics = page.items.into_iter().map(|(arn, ())| xml::element("TopicArn", arn));
        xml::answer("ListTopics", &(xml::list("Topics", topics) + &page.next))
    }

    pub(super) fn get_topic_attributes(&self, fields: &Fields<'_>) -> Result<String, ServiceError> {
        let arn = arn(fields, "TopicArn")?;
        let state = self.inner.store.read();
        let topic = state.topic(arn)?;
        let subscriptions = state.subscriptions_of(arn).count().to_string();
        let owner = json!({"AWS:SourceOwner": ACCOUNT_ID});
        let policy = json!({"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [{
            "Sid": "__default_statement_ID", "Effect": "Allow", "Principal": {"AWS": "*"},
            "Action": ["SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:DeleteTopic", "SNS:Subscribe",
                "SNS:ListSubscriptionsByTopic", "SNS:Publish"],
            "Resource": arn, "Condition": {"StringEquals": owner}}]});
        let mut attributes = BTreeMap::from([
            ("TopicArn", arn.to_owned()),
            ("Owner", ACCOUNT_ID.to_owned()),
            ("DisplayName", String::new()),
            ("Policy", policy.to_string()),
            ("SubscriptionsConfirmed", subscriptions),
            ("SubscriptionsPending", "0".to_owned()),
            ("SubscriptionsDeleted", "0".to_owned()),
        ]);
        attributes.extend(topic.attributes.iter().map(|(name, value)| (name.as_str(), value.clone())));
        xml::answer("GetTopicAttributes", &xml::map("Attributes", attributes))
    }

    pub(super) fn set_topic_attributes(&self, fields: &Fields<'_>) -> Result<String, ServiceError> {
        let arn = arn(fields, "TopicArn")?;
        let name = fields.required("AttributeName")?;
        check_attribute(name)?;
        let value = fields.get("AttributeValue").unwrap_or_default();
        self.inner.store.change(|state| {
            state.topic_mut(arn)?.attributes.insert(name.to_owned(), value.to_owned());
            Ok(())
        })?;
        xml::answer("SetTopicAttributes", "")
    }

    pub(super) fn tag_resource(&self, fields: &Fields<'_>) -> Result<String, ServiceError> {
        let arn = arn(fields, "ResourceArn")?;
        let tags = fields.map("Tags", "Key", "Value")?;
        self.inner.store.change(|state| {
            let topic = state.topics.get_mut(arn).ok_or_else(no_resource)?;
            topic.tags.extend(tags);
            check_tags(&topic.tags)
        })?;
        xml::answer("TagResource", "")
    }

    pub(super) fn untag_resource(&self, fields: &Fields<'_>) -> Result<String, ServiceError> {
        let arn = arn(fields, "ResourceArn")?;
        let keys = fields.texts("TagKeys");
        self.inner.store.change(|state| {
            let topic = state.topics.get_mut(arn).ok_or_else(no_resource)?;
            topic.tags.retain(|key, _| !keys.contains(&key.as_str()));
            Ok(())
        })?;
        xml::answer("UntagResource", "")
    }

    pub(super) fn list_tags_for_resource(&self, fields: &Fields<'_>) -> Result<String, ServiceError> {
        let arn = arn(fields, "ResourceArn")?;
        let state = self.inner.store.read();
        let topic = state.topics.get(arn).ok_or_else(no_resource)?;
        let tags = topic.tags.iter().map(|(key, value)| xml::element("Key", key) + &xml::element("Value", value));
        xml::answer("ListTagsForResource", &xml::list("Tags", tags))
    }
}

/// Whether a topic may have this name.
pub(super) fn check_name(name: &str) -> Result<(), ServiceError> {
    if name.ends_with(".fifo") {
        return Err(invalid(format!(
            "Invalid parameter: Topic Name Reason: {name}: FIFO topics are not supported here"
        )));
    }
    let character = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if (1..=NAME_CHARACTERS_MAX).contains(&name.len()) && name.chars().all(character) {
        Ok(())
    } else {
        Err(invalid(format!("Invalid parameter: Topic Name Reason: {name} is no name of a topic")))
    }
}

/// A field that holds an ARN.
pub(super) fn arn<'a>(fields: &Fields<'a>, name: &str) -> Result<&'a str, ServiceError> {
    let arn = fields.required(name)?;
    let elements = arn.split(':').count();
    if elements < 6 {
        let reason = format!("An ARN must have at least 6 elements, not {elements}");
        return Err(invalid(format!("Invalid parameter: {name} Reason: {reason}")));
    }
    Ok(arn)
}

/// A page of a list that is ordered by ARN.
pub(super) struct Page<'a, T> {
    pub(super) items: Vec<(&'a str, T)>,
    /// The element that names the next page, or nothing.
    pub(super) next: String,
}

impl<'a, T> Page<'a, T> {
    /// The page that the request asks for.
    pub(super) fn of(fields: &Fields<'_>, items: impl Iterator<Item = (&'a str, T)>) -> Result<Self, ServiceError> {
        let after = match fields.get("NextToken") {
            None | Some("") => String::new(),
            Some(token) => {
                let bad = || invalid("Invalid parameter: NextToken Reason: it is not from an answer of this operation");
                let bytes = BASE64_STANDARD.decode(token).map_err(|_| bad())?;
                String::from_utf8(bytes).map_err(|_| bad())?
            }
        };
        let mut items: Vec<_> = items.filter(|(arn, _)| *arn > after.as_str()).take(PAGE_ITEMS_MAX + 1).collect();
        let more = items.len() > PAGE_ITEMS_MAX;
        items.truncate(PAGE_ITEMS_MAX);
        let last = items.last().filter(|_| more).map(|(arn, _)| BASE64_STANDARD.encode(arn));
        let next = last.map(|token| xml::element("NextToken", &token)).unwrap_or_default();
        Ok(Self { items, next })
    }
}

fn check_attribute(name: &str) -> Result<(), ServiceError> {
    if ATTRIBUTES.contains(&name) {
        return Ok(());
    }
    Err(invalid(format!("Invalid parameter: AttributeName Reason: {name} is not supported by this host")))
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ServiceError> {
    if tags.len() > TAGS_MAX {
        let message = "Could not complete request: tag quota of per resource exceeded";
        return Err(ServiceError::sender("TagLimitExceeded", message));
    }
    Ok(())
}

fn no_resource() -> ServiceError {
    ServiceError::sender("ResourceNotFound", "Resource does not exist").with_status(http::StatusCode::NOT_FOUND)
}
