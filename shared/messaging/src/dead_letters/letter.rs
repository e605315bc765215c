//! A message that used up its receives.

use std::{collections::HashMap, fmt};

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use florin_domain::{
    event::{Event, InvalidEvent},
    ids::MerchantId,
    time::Timestamp,
};

use crate::mask::excerpt;

/// What stands for the type of a message that names none.
const NO_TYPE: &str = "without a type";

/// A message that used up its receives. It does not print its body: whoever sent it may have put anything in.
#[derive(Clone)]
pub struct DeadLetter {
    message_id: String,
    pub(super) receipt_handle: String,
    pub(super) body: String,
    pub(super) attributes: HashMap<String, MessageAttributeValue>,
    pub(super) system: HashMap<MessageSystemAttributeName, String>,
}

impl fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter").field("message_id", &self.message_id).finish_non_exhaustive()
    }
}

impl DeadLetter {
    pub(super) fn of(message: Message) -> Option<Self> {
        Some(Self {
            message_id: message.message_id?,
            receipt_handle: message.receipt_handle?,
            body: message.body?,
            attributes: message.message_attributes.unwrap_or_default(),
            system: message.attributes.unwrap_or_default(),
        })
    }

    /// The id that SQS gave it.
    pub fn message_id(&self) -> &str {
        &self.message_id
    }

    /// What it says, or why it says nothing.
    pub fn event(&self) -> Result<Event, InvalidEvent> {
        Event::parse(&self.body)
    }

    /// The type of its event; of a message that does not parse what its sender said.
    pub fn type_name(&self) -> String {
        let said = || self.attribute("type").unwrap_or_else(|| NO_TYPE.to_owned());
        self.event().map_or_else(|_| said(), |event| event.event_type.as_str().to_owned())
    }

    /// Whose event it is; of a message that does not parse whose its sender said.
    pub fn merchant(&self) -> Option<String> {
        let said = || self.attributes.get("merchant_id")?.string_value()?.parse().ok();
        let merchant: Option<MerchantId> = self.event().map_or_else(|_| said(), |event| Some(event.merchantid));
        merchant.map(|merchant| merchant.to_string())
    }

    /// When it was sent to the consumer's queue.
    pub fn sent_at(&self) -> Option<Timestamp> {
        let ms = self.system.get(&MessageSystemAttributeName::SentTimestamp)?;
        Some(Timestamp::from_ms(ms.parse().ok()?))
    }

    /// How often it has been received, looks at it included.
    pub fn receives(&self) -> Option<u32> {
        self.system.get(&MessageSystemAttributeName::ApproximateReceiveCount)?.parse().ok()
    }

    /// A message attribute (`type`, `subject` …), made safe to show.
    pub fn attribute(&self, name: &str) -> Option<String> {
        self.attributes.get(name)?.string_value().map(excerpt)
    }

    /// How the body begins, made safe to show.
    pub fn excerpt(&self) -> String {
        excerpt(&self.body)
    }

    /// The body's length in bytes.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }
}
