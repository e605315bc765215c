//! Looking at dead letters, and at what was done with them.

use anyhow::Result;
use florin_messaging::{
    dead_letters::{Depth, Filter, NO_REASON, Seen},
    mask,
};
use florin_store::audit::OPERATIONS;

use super::Stack;
use crate::stack::CONSUMERS;

pub(super) async fn list(stack: &Stack) -> Result<()> {
    let mut dead = Vec::new();
    say!("{:<12} {:>8} {:>13}", "queue", "messages", "dead letters");
    for consumer in CONSUMERS {
        let depth = stack.letters(consumer.name).await?.depth().await?;
        say!("{:<12} {:>8} {:>13}{}", consumer.name, depth.queued(), depth.dead + depth.hidden, hidden(depth));
        dead.extend((depth.dead + depth.hidden > 0).then_some(consumer.name));
    }
    say!("");
    match dead.first() {
        None => say!("No dead letters."),
        Some(consumer) => {
            say!("look:     florin dead-letters peek {consumer}");
            say!("replay:   florin dead-letters replay {consumer}    (once the cause is mended)");
            say!("discard:  florin dead-letters discard {consumer}   (what can never be handled)");
        }
    }
    Ok(())
}

pub(super) fn hidden(depth: Depth) -> String {
    if depth.hidden == 0 { String::new() } else { format!("  ({} of them hidden for a moment)", depth.hidden) }
}

pub(super) async fn peek(stack: &Stack, consumer: &str, filter: &Filter, limit: u32) -> Result<()> {
    let letters = stack.letters(consumer).await?;
    let selection = letters.select(filter, limit).await?;
    for seen in &selection.seen {
        show(seen);
    }
    let Depth { dead, hidden, .. } = letters.depth().await?;
    let meant = if filter.is_everything() { "" } else { " that are meant" };
    say!("{consumer}: {}{meant} shown of about {}; all stay where they are", selection.seen.len(), dead + hidden);
    Ok(())
}

fn show(seen: &Seen) {
    let letter = &seen.letter;
    let unknown = || "?".to_owned();
    match letter.event() {
        Ok(event) => say!("{}  {}  {}", event.id, event.event_type.as_str(), mask::id(&event.subject)),
        Err(error) => {
            say!("POISON  {}  {error}; no consumer can read it", letter.type_name());
            say!("    {} bytes (digits and long words masked): {}", letter.bytes(), letter.excerpt());
        }
    }
    match &seen.failure {
        Some(failure) => say!("    failed at {}, receive {}: {}", failure.at, failure.receives, failure.reason),
        None => say!("    {NO_REASON}"),
    }
    say!(
        "    sent {}, received {} times, this look included; message {}",
        letter.sent_at().map_or_else(unknown, |at| at.to_string()),
        letter.receives().map_or_else(unknown, |receives| receives.to_string()),
        mask::id(letter.message_id()),
    );
    say!("");
}

/// What operators did last, newest first.
pub(super) async fn audit(stack: &Stack, limit: u32) -> Result<()> {
    let records = stack.records("any").await?;
    let entries = records.audit.before(OPERATIONS, (records.now)().plus_ms(1), limit).await?;
    for entry in &entries {
        say!("{}  {}  {}", entry.at, entry.actor, entry.action);
        let details = entry.details.iter().map(|(name, value)| format!("{name}: {value}"));
        say!("    {}", details.collect::<Vec<_>>().join(", "));
    }
    if entries.is_empty() {
        say!("Nothing was done yet.");
    }
    Ok(())
}
