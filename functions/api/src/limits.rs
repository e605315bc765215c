//! How many requests a caller may make. The rule stands in `florin_domain::rate`; here are the callers that this
//! instance knows, and what an answer says of them.
//!
//! A limiter must not take the API down: if the table cannot be reached, requests are served, and the log says so.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use florin_domain::{
    rate::{Account, Arrival, Bucket, Rate, Settlement, Standing},
    time::Timestamp,
};
use florin_store::{StoreError, limits::Limits};

use crate::{context::Slot, problem::Problem};

/// Callers remembered by one instance. When there are more all are forgotten, with the few requests that they owe.
const CALLERS_REMEMBERED_MAX: usize = 10_000;
/// A settlement may take so long, in milliseconds; then the request is served without it.
const SETTLEMENT_MS_MAX: u64 = 500;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What one instance lets through.
#[derive(Debug)]
pub struct Limiter {
    limits: Limits,
    rate: Rate,
    /// By the caller's id. Whoever holds an account settles it; another request of the same caller waits for that.
    accounts: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Account>>>>,
}

impl Limiter {
    /// Lets each caller make requests at this rate.
    pub fn new(limits: Limits, rate: Rate) -> Self {
        Self { limits, rate, accounts: Mutex::default() }
    }

    /// Lets the caller's request through, or refuses it, and leaves in the slot where the caller stands.
    pub(crate) async fn admit(&self, caller: &str, slot: Option<&Slot>, now: Timestamp) -> Result<(), Problem> {
        let account = self.account(caller);
        let mut account = account.lock().await;
        let mut arrival = account.arrive(self.rate, now);
        if let Arrival::Settle(owed, known) = arrival {
            match self.settle(caller, owed, known, now).await {
                Ok(settlement) => account.settled(settlement, self.rate, now),
                Err(error) => {
                    tracing::warn!(caller, %error, "the rate limit is not kept");
                    account.forgive();
                }
            }
            arrival = account.arrive(self.rate, now);
        }
        let standing = account.standing(self.rate, now);
        if let Some(slot) = slot {
            slot.stands(standing);
        }
        match arrival {
            Arrival::Served => Ok(()),
            Arrival::Refused | Arrival::Settle(..) => {
                Err(Problem::TooManyRequests { retry_after_seconds: standing.reset_seconds })
            }
        }
    }

    async fn settle(&self, caller: &str, owed: u32, known: Bucket, now: Timestamp) -> Result<Settlement, StoreError> {
        let settlement = self.limits.settle(caller, self.rate, owed, known, now);
        let in_time = tokio::time::timeout(Duration::from_millis(SETTLEMENT_MS_MAX), settlement).await;
        in_time.unwrap_or_else(|_| Err(StoreError::Unavailable("the settlement took too long".to_owned())))
    }

    fn account(&self, caller: &str) -> Arc<tokio::sync::Mutex<Account>> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= CALLERS_REMEMBERED_MAX && !accounts.contains_key(caller) {
            accounts.clear();
        }
        Arc::clone(accounts.entry(caller.to_owned()).or_default())
    }
}

/// Says where the caller stands, in the fields of draft-ietf-httpapi-ratelimit-headers-10.
pub(crate) fn tell(headers: &mut HeaderMap, standing: Standing) {
    let Standing { rate, remaining, reset_seconds } = standing;
    let policy = format!("\"requests\";q={};w={}", rate.burst(), rate.window_seconds());
    let limit = format!("\"requests\";r={remaining};t={reset_seconds}");
    for (name, value) in [(POLICY, policy), (LIMIT, limit)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}
