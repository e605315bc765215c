//! Asynchronous invocation: Lambda keeps the event and tries again.
//!
//! Rules: <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>. Unlike Lambda's, the queue
//! of such events is in memory: an event that waits for its next try is lost with the host.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use tokio::{sync::watch, time::sleep};

use crate::{
    functions::{InvokeError, mappings::Target},
    model,
};

/// Before the second try, and before the third.
const RETRY_WAITS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];
/// Before a throttled event is tried again; then twice as long, and so on.
const THROTTLED_WAIT_MIN: Duration = Duration::from_secs(1);
/// At most.
const THROTTLED_WAIT_MAX: Duration = Duration::from_secs(300);

/// How often and how long an event is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retries {
    /// Tries after the first.
    pub(crate) max: u32,
    /// From the event's arrival.
    pub(crate) age_max: Duration,
}

impl Retries {
    /// Those of this function.
    pub(crate) fn of(function: &model::Function) -> Self {
        Self { max: function.async_retries_max, age_max: function.async_event_age_max }
    }
}

/// Invokes the function until it succeeds, or the event is too old or was tried too often.
pub(super) async fn invoke(
    target: Arc<dyn Target>,
    function: String,
    event: Bytes,
    retries: Retries,
    say: Arc<dyn Fn(&str) + Send + Sync>,
    mut stop: watch::Receiver<bool>,
) {
    let born = Instant::now();
    let mut failures = 0;
    let mut throttled_wait = THROTTLED_WAIT_MIN;
    loop {
        let wait = match target.invoke(&function, event.clone()).await {
            Ok(_) => return,
            Err(InvokeError::Unknown(_)) => return,
            Err(InvokeError::Throttled) => {
                let wait = throttled_wait;
                throttled_wait = (wait * 2).min(THROTTLED_WAIT_MAX);
                wait
            }
            Err(InvokeError::Function(_)) if failures >= retries.max => {
                return say(&format!("the event is given up after {} tries", failures + 1));
            }
            Err(InvokeError::Function(_)) => {
                let number = usize::try_from(failures).unwrap_or(usize::MAX);
                failures += 1;
                RETRY_WAITS.get(number).or(RETRY_WAITS.last()).copied().unwrap_or_default()
            }
        };
        if born.elapsed() + wait > retries.age_max {
            return say("the event is given up: it would be too old for its next try");
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = sleep(wait) => {}
        }
    }
}
