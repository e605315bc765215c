//! `ClientRequestToken`: a transaction that comes again within ten minutes has no second effect. The SDKs send a token
//! with every transaction.
//!
//! The database knows tokens too, but looks through all of them at every call, which at some thousands costs more than
//! the transaction.

use std::{
    collections::{HashMap, VecDeque, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    time::{Duration, Instant},
};

/// How long a token counts, as DynamoDB documents.
const TOKEN_KEPT: Duration = Duration::from_secs(600);
/// Tokens that are remembered; the oldest go first.
const TOKENS_MAX: usize = 100_000;

/// The tokens of transactions that were done.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    done: HashMap<String, Done>,
    /// In the order of their ends.
    order: VecDeque<(Instant, String)>,
}

#[derive(Debug)]
struct Done {
    /// Of the items, so that another transaction under the same token is told from a repeated one.
    fingerprint: u64,
    answer: String,
}

/// What is known of a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing.
    No,
    /// The same transaction was done, and answered so.
    Done(String),
    /// Another transaction was done under it.
    Other,
}

/// Tells transactions apart.
pub(super) fn fingerprint(items: &impl serde::Serialize) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    serde_json::to_value(items).ok()?.to_string().hash(&mut hasher);
    Some(hasher.finish())
}

impl Tokens {
    /// Whether a transaction was done under this token.
    pub(super) fn look(&mut self, token: &str, fingerprint: u64, now: Instant) -> Known {
        while self.order.front().is_some_and(|(at, _)| now.duration_since(*at) >= TOKEN_KEPT) {
            self.forget_oldest();
        }
        match self.done.get(token) {
            None => Known::No,
            Some(done) if done.fingerprint == fingerprint => Known::Done(done.answer.clone()),
            Some(_) => Known::Other,
        }
    }

    /// Remembers a transaction.
    pub(super) fn note(&mut self, token: String, fingerprint: u64, answer: String, now: Instant) {
        while self.order.len() >= TOKENS_MAX {
            self.forget_oldest();
        }
        if self.done.insert(token.clone(), Done { fingerprint, answer }).is_none() {
            self.order.push_back((now, token));
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, token)) = self.order.pop_front() {
            self.done.remove(&token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_counts_for_ten_minutes_and_for_one_transaction() {
        let (mut tokens, start) = (Tokens::default(), Instant::now());
        assert_eq!(tokens.look("t", 1, start), Known::No);
        tokens.note("t".to_owned(), 1, "{}".to_owned(), start);
        assert_eq!(tokens.look("t", 1, start), Known::Done("{}".to_owned()));
        assert_eq!(tokens.look("t", 2, start), Known::Other);
        assert_eq!(tokens.look("t", 1, start + TOKEN_KEPT), Known::No);
    }

    #[test]
    fn the_oldest_go_first() {
        let (mut tokens, now) = (Tokens::default(), Instant::now());
        for number in 0..=TOKENS_MAX {
            tokens.note(number.to_string(), 1, String::new(), now);
        }
        assert_eq!(tokens.look("0", 1, now), Known::No);
        assert_eq!(tokens.look("1", 1, now), Known::Done(String::new()));
    }
}
