//! The trail that a run leaves in the audit table: an entry before the first message is touched, one for each message,
//! and one at the end.

use std::collections::BTreeMap;

use florin_store::audit::{AuditEntry, ENTRIES_PER_APPEND_MAX, OPERATIONS};

use super::{DeadLetters, DeadLettersError, Order, Seen};
use crate::mask;

type Details = BTreeMap<String, String>;

/// Writes the entries of one run.
pub(super) struct Trail<'a> {
    letters: &'a DeadLetters,
    order: &'a Order<'a>,
    action: &'static str,
    written: u32,
}

impl<'a> Trail<'a> {
    pub(super) fn new(letters: &'a DeadLetters, order: &'a Order<'a>, action: &'static str) -> Self {
        Self { letters, order, action, written: 0 }
    }

    /// Says what is going to happen. Nothing may happen unless this is written.
    pub(super) async fn begin(&mut self) -> Result<(), DeadLettersError> {
        let Order { filter, limit, per_second, note, .. } = self.order;
        let rate = per_second.map_or_else(|| "none".to_owned(), |rate| rate.to_string());
        let mut details = vec![("filter", filter.in_words()), ("limit", limit.to_string()), ("rate_per_second", rate)];
        details.extend(note.map(|note| ("note", note.to_owned())));
        let entry = self.entry(".begin", details);
        self.write(vec![entry]).await
    }

    /// Says what became of these messages.
    pub(super) async fn messages<'s>(
        &mut self,
        outcomes: impl IntoIterator<Item = (&'s Seen, String)>,
    ) -> Result<(), DeadLettersError> {
        let entries = outcomes.into_iter().map(|(seen, outcome)| self.entry("", message(seen, outcome))).collect();
        self.write(entries).await
    }

    /// Says how it ended.
    pub(super) async fn end(&mut self, outcome: String) -> Result<(), DeadLettersError> {
        let entry = self.entry(".end", [("outcome", outcome)]);
        self.write(vec![entry]).await
    }

    fn entry<'d>(&mut self, part: &str, details: impl IntoIterator<Item = (&'d str, String)>) -> AuditEntry {
        let mut details: Details = details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        details.insert("queue".to_owned(), self.letters.consumer.clone());
        details.insert("run".to_owned(), self.order.run.to_owned());
        let action = self.action;
        let id = format!("{}-{action}-{:06}", self.order.run, self.written);
        self.written += 1;
        let (at, actor) = ((self.letters.records.now)(), self.order.actor.to_owned());
        AuditEntry { at, id, actor, action: format!("dead_letters.{action}{part}"), details }
    }

    async fn write(&self, entries: Vec<AuditEntry>) -> Result<(), DeadLettersError> {
        let audit = &self.letters.records.audit;
        for entries in entries.chunks(ENTRIES_PER_APPEND_MAX) {
            let written = audit.append(OPERATIONS, entries).await;
            written.map_err(|error| DeadLettersError::Audit(error.to_string()))?;
        }
        Ok(())
    }
}

/// What is kept of a message: enough to find what it was about after it is gone, and nothing secret.
fn message(seen: &Seen, outcome: String) -> Vec<(&'static str, String)> {
    let letter = &seen.letter;
    let mut details = vec![
        ("message", mask::id(letter.message_id())),
        ("type", letter.type_name()),
        ("reason", seen.reason().to_owned()),
        ("outcome", outcome),
    ];
    match letter.event() {
        Ok(event) => details.extend([
            ("event", event.id.to_string()),
            ("subject", mask::id(&event.subject)),
            ("merchant", event.merchantid.to_string()),
        ]),
        Err(_) => details.push(("body", letter.excerpt())),
    }
    details
}
