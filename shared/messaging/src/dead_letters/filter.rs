//! Which dead letters are meant.

use std::collections::BTreeSet;

use florin_domain::time::Timestamp;
use florin_store::failures::LastFailure;

use super::letter::DeadLetter;

/// What is shown where no reason was recorded.
pub const NO_REASON: &str = "no reason recorded: its function ended or timed out";

/// A dead letter and why it failed last, if that was recorded.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The message.
    pub letter: DeadLetter,
    /// Its last failure.
    pub failure: Option<LastFailure>,
}

impl Seen {
    /// Why it failed last.
    pub fn reason(&self) -> &str {
        self.failure.as_ref().map_or(NO_REASON, |failure| &failure.reason)
    }
}

/// What a dead letter must be like; what is left empty is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The event's type is one of these.
    pub types: BTreeSet<String>,
    /// The event is this merchant's.
    pub merchant: Option<String>,
    /// The reason of the last failure contains this, whatever the case of its letters.
    pub error: Option<String>,
    /// It was sent before this moment.
    pub sent_before: Option<Timestamp>,
    /// It was sent after this moment.
    pub sent_after: Option<Timestamp>,
    /// Its message id is one of these.
    pub messages: BTreeSet<String>,
}

impl Filter {
    /// Whether every dead letter is meant.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this one is meant.
    pub fn admits(&self, seen: &Seen) -> bool {
        let Seen { letter, .. } = seen;
        let reason = || seen.reason().to_lowercase();
        (self.types.is_empty() || self.types.contains(&letter.type_name()))
            && self.merchant.as_ref().is_none_or(|merchant| letter.merchant().as_ref() == Some(merchant))
            && self.error.as_ref().is_none_or(|error| reason().contains(&error.to_lowercase()))
            && self.sent_before.is_none_or(|moment| letter.sent_at().is_some_and(|sent| sent < moment))
            && self.sent_after.is_none_or(|moment| letter.sent_at().is_some_and(|sent| sent > moment))
            && (self.messages.is_empty() || self.messages.contains(letter.message_id()))
    }

    /// The filter in words, for the audit.
    pub fn in_words(&self) -> String {
        let list = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        let moment = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
        let parts = [
            ("type", Some(list(&self.types))),
            ("merchant", self.merchant.clone()),
            ("error", self.error.clone()),
            ("sent before", moment(self.sent_before)),
            ("sent after", moment(self.sent_after)),
            ("message", Some(list(&self.messages))),
        ];
        let parts =
            parts.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
        let words: Vec<String> = parts.map(|(name, value)| format!("{name}: {value}")).collect();
        if words.is_empty() { "everything".to_owned() } else { words.join("; ") }
    }
}
