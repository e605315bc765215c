//! The circuit breaker around the gateway, shared by all instances: one item of the payments table, read at most once
//! in `READ_EVERY_MS` by each instance, and written only when something goes wrong or is mended.
//!
//! | attribute | meaning |
//! |---|---|
//! | `pk` | `breaker#gateway` |
//! | `st`, `v` | state, version |
//! | `f`, `o` | failures in a row, openings |
//! | `si`, `ra` | since, retry at |

use std::sync::Mutex;

use aws_sdk_dynamodb::{
    Client, error::SdkError, operation::put_item::PutItemError, types::ReturnValuesOnConditionCheckFailure,
};
use florin_domain::{
    breaker::{Admission, Breaker, BreakerState},
    time::Timestamp,
};

use crate::{
    StoreError,
    attributes::{Item, Reader, moment, number, text},
};

/// For how long an instance believes what it has read, in milliseconds.
pub const READ_EVERY_MS: i64 = 1_000;
/// Tries of a write that meets others; a failure that is not counted is counted by the others.
const TRIES_MAX: usize = 3;
const KEY: &str = "breaker#gateway";

/// The breaker, as this instance knows it.
#[derive(Debug)]
pub struct SharedBreaker {
    client: Client,
    table: String,
    known: Mutex<Option<(Timestamp, Breaker)>>,
    /// Held while it is read, so that a batch reads it once.
    reading: tokio::sync::Mutex<()>,
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Call the gateway.
    Pass,
    /// Call the gateway: nobody else does.
    Probe,
    /// Do not call it for so many milliseconds.
    Wait {
        /// The wait.
        wait_ms: i64,
    },
}

impl SharedBreaker {
    /// The breaker in the payments table of this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into(), known: Mutex::new(None), reading: tokio::sync::Mutex::default() }
    }

    /// Whether the gateway may be called now.
    pub async fn admit(&self, now: Timestamp) -> Result<Permit, StoreError> {
        let known = self.current(now).await?;
        match known.admit(now) {
            Admission::Pass => Ok(Permit::Pass),
            Admission::Wait { wait_ms } => Ok(Permit::Wait { wait_ms }),
            Admission::Probe(probing) => match self.write(&known, &probing, now).await? {
                true => Ok(Permit::Probe),
                // Somebody else probes.
                false => Ok(match self.current(now).await?.admit(now) {
                    Admission::Pass => Permit::Pass,
                    Admission::Wait { wait_ms } => Permit::Wait { wait_ms },
                    Admission::Probe(_) => Permit::Wait { wait_ms: READ_EVERY_MS },
                }),
            },
        }
    }

    /// Counts a call that failed, and says whether the breaker is closed all the same.
    pub async fn failed(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.change(now, |breaker| breaker.failed(now)).await.map(|breaker| breaker.is_closed())
    }

    /// Notes that the gateway answered. In good times this is free.
    pub async fn succeeded(&self, now: Timestamp) -> Result<(), StoreError> {
        self.change(now, |breaker| breaker.succeeded(now)).await.map(|_| ())
    }

    /// Gives back a probe that came to no call.
    pub async fn release(&self, now: Timestamp) -> Result<(), StoreError> {
        let half_open = |breaker: &Breaker| breaker.state == BreakerState::HalfOpen;
        self.change(now, |breaker| half_open(breaker).then(|| breaker.release(now))).await.map(|_| ())
    }

    /// The breaker, at most `READ_EVERY_MS` old.
    pub async fn current(&self, now: Timestamp) -> Result<Breaker, StoreError> {
        if let Some(breaker) = self.known(now) {
            return Ok(breaker);
        }
        let _alone = self.reading.lock().await;
        if let Some(breaker) = self.known(now) {
            return Ok(breaker);
        }
        let request = self.client.get_item().table_name(&self.table).key("pk", text(KEY)).consistent_read(true);
        let breaker = match request.send().await?.item {
            Some(item) => from_item(&item)?,
            None => Breaker::default(),
        };
        self.remember(breaker, now);
        Ok(breaker)
    }

    fn known(&self, now: Timestamp) -> Option<Breaker> {
        let (at, breaker) = (*self.known.lock().ok()?)?;
        (0..READ_EVERY_MS).contains(&now.ms_since(at)).then_some(breaker)
    }

    fn remember(&self, breaker: Breaker, now: Timestamp) {
        if let Ok(mut known) = self.known.lock() {
            *known = Some((now, breaker));
        }
    }

    async fn change(
        &self,
        now: Timestamp,
        change: impl Fn(&Breaker) -> Option<Breaker>,
    ) -> Result<Breaker, StoreError> {
        for _ in 0..TRIES_MAX {
            let known = self.current(now).await?;
            match change(&known) {
                None => return Ok(known),
                Some(changed) if self.write(&known, &changed, now).await? => return Ok(changed),
                Some(_) => {}
            }
        }
        self.current(now).await
    }

    /// Replaces the breaker if nobody has changed it since; either way it is known afterwards what stands there.
    async fn write(&self, from: &Breaker, to: &Breaker, now: Timestamp) -> Result<bool, StoreError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(to)))
            .condition_expression("attribute_not_exists(pk) OR v = :from")
            .expression_attribute_values(":from", number(from.version))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => {
                self.remember(*to, now);
                Ok(true)
            }
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                if let PutItemError::ConditionalCheckFailedException(failed) = error.into_err()
                    && let Some(item) = failed.item
                {
                    self.remember(from_item(&item)?, now);
                }
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn to_item(breaker: &Breaker) -> Item {
    Item::from([
        ("pk".to_owned(), text(KEY)),
        ("st".to_owned(), text(breaker.state.as_str())),
        ("v".to_owned(), number(breaker.version)),
        ("f".to_owned(), number(breaker.failures)),
        ("o".to_owned(), number(breaker.openings)),
        ("si".to_owned(), moment(breaker.since)),
        ("ra".to_owned(), moment(breaker.retry_at)),
    ])
}

fn from_item(item: &Item) -> Result<Breaker, StoreError> {
    let item = Reader(item);
    Ok(Breaker {
        state: BreakerState::from_name(item.text("st")?).ok_or(StoreError::Corrupt { attribute: "st" })?,
        failures: item.number("f")?,
        openings: item.number("o")?,
        since: item.moment("si")?,
        retry_at: item.moment("ra")?,
        version: item.number("v")?,
    })
}
