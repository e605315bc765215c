//! Asynchronous invocation: Lambda keeps the event and tries again.
//!
//! Rules: <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>. Unlike Lambda's, the
//! queue of such events is in memory: an event that waits for its next try is lost with the host.

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
const RETRY_WAITS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(120));
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

/// What an event has been through.
#[derive(Debug, Default)]
struct Tries {
    failures: u32,
    throttled: u32,
}

impl Tries {
    /// How long to wait before the next try, or why there is none.
    fn after(&mut self, error: &InvokeError, age: Duration, retries: Retries) -> Result<Duration, String> {
        let wait = match error {
            InvokeError::Unknown(_) => return Err(error.to_string()),
            InvokeError::Throttled => {
                let wait = THROTTLED_WAIT_MIN.saturating_mul(1 << self.throttled.min(16));
                self.throttled += 1;
                wait.min(THROTTLED_WAIT_MAX)
            }
            InvokeError::Function(_) => {
                self.failures += 1;
                if self.failures > retries.max {
                    return Err(format!("it failed {} times", self.failures));
                }
                if self.failures == 1 { RETRY_WAITS.0 } else { RETRY_WAITS.1 }
            }
        };
        if age + wait > retries.age_max {
            return Err("it would be too old for its next try".to_owned());
        }
        Ok(wait)
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
    let mut tries = Tries::default();
    while let Err(error) = target.invoke(&function, event.clone()).await {
        let wait = match tries.after(&error, born.elapsed(), retries) {
            Ok(wait) => wait,
            Err(why) => return say(&format!("an asynchronous event is given up: {why}")),
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return say("an asynchronous event is given up: the host is stopping"),
            () = sleep(wait) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn waits(error: &InvokeError, retries: Retries) -> (Vec<u64>, String) {
        let (mut tries, mut age, mut waits) = (Tries::default(), Duration::ZERO, Vec::new());
        loop {
            match tries.after(error, age, retries) {
                Ok(wait) => {
                    age += wait;
                    waits.push(wait.as_secs());
                }
                Err(why) => return (waits, why),
            }
        }
    }

    #[test]
    fn failures_are_tried_again_after_one_minute_and_after_two() {
        let error = InvokeError::Function(Value::Null);
        let times = |max| waits(&error, Retries { max, age_max: HOUR });
        assert_eq!(times(2), (vec![60, 120], "it failed 3 times".to_owned()));
        assert_eq!(times(1), (vec![60], "it failed 2 times".to_owned()));
        assert_eq!(times(0), (vec![], "it failed 1 times".to_owned()));
        let (young, why) = waits(&error, Retries { max: 2, age_max: Duration::from_secs(70) });
        assert_eq!((young, why.as_str()), (vec![60], "it would be too old for its next try"));
    }

    #[test]
    fn throttled_events_wait_longer_and_longer_until_they_are_too_old() {
        let (waits, why) = waits(&InvokeError::Throttled, Retries { max: 0, age_max: Duration::from_secs(1_200) });
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(why, "it would be too old for its next try");
    }
}
