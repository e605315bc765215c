//! Receivers that wait at a queue: the one that waits longest is served first.
//!
//! Nobody polls. A waiter sleeps until it is called (a message is there for it), until its time is up, or until the
//! next hidden message of the queue becomes visible; the last concerns only the first waiter that was not called.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::Notify;

/// The waiters of one queue, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    list: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    wake: Arc<Notify>,
    /// Messages that it would take.
    max: usize,
    /// Messages that are kept for it until it comes. Nothing is marked as received before: a waiter that is dropped
    /// just leaves them to the next.
    claim: usize,
    /// Whether it was woken for its claim.
    called: bool,
    /// When it wakes by itself to look for messages that became visible, in milliseconds since 1970.
    armed_ms: u64,
}

impl Waiters {
    /// Takes a place at the end.
    pub(super) fn join(&mut self, ticket: u64, max: usize) -> Arc<Notify> {
        let wake = Arc::new(Notify::new());
        let waiter = Waiter { ticket, wake: Arc::clone(&wake), max, claim: 0, called: false, armed_ms: u64::MAX };
        self.list.push_back(waiter);
        wake
    }

    /// Gives up a place.
    pub(super) fn leave(&mut self, ticket: u64) {
        self.list.retain(|waiter| waiter.ticket != ticket);
    }

    /// Shares out `takeable` messages in order of arrival, calls who got some for the first time, and sees to it that
    /// the first of the others wakes at `next_ms`, when the next hidden message becomes visible.
    pub(super) fn share_out(&mut self, takeable: usize, next_ms: u64) {
        let mut left = takeable;
        for waiter in &mut self.list {
            waiter.claim = waiter.max.min(left);
            left -= waiter.claim;
            if waiter.claim > 0 && !waiter.called {
                waiter.called = true;
                waiter.wake.notify_one();
            }
        }
        if let Some(first) = self.list.iter_mut().find(|waiter| !waiter.called)
            && next_ms < first.armed_ms
        {
            // It wakes, finds nothing, and sleeps until then.
            first.armed_ms = next_ms;
            first.wake.notify_one();
        }
    }

    /// How many messages a receive may take now: its claim, or what nobody claims.
    pub(super) fn allowance(&self, ticket: Option<u64>, max: usize, takeable: usize) -> usize {
        match ticket {
            Some(ticket) => self.list.iter().find(|waiter| waiter.ticket == ticket).map_or(0, |waiter| waiter.claim),
            None => takeable.saturating_sub(self.list.iter().map(|waiter| waiter.claim).sum()).min(max),
        }
    }

    /// The waiter found nothing and sleeps again. Answers until when: `None` leaves it to its own deadline.
    pub(super) fn sleep(&mut self, ticket: u64, next_ms: u64) -> Option<u64> {
        let first = self.list.iter().find(|waiter| !waiter.called || waiter.ticket == ticket)?.ticket;
        let waiter = self.list.iter_mut().find(|waiter| waiter.ticket == ticket)?;
        waiter.called = false;
        waiter.armed_ms = if first == ticket { next_ms } else { u64::MAX };
        (waiter.armed_ms != u64::MAX).then_some(waiter.armed_ms)
    }

    /// Wakes everybody: the queue is gone.
    pub(super) fn dismiss(&self) {
        self.list.iter().for_each(|waiter| waiter.wake.notify_one());
    }
}
