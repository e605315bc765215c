//! Functions that the clock starts, and how an asynchronous invocation is tried again.

mod asynchronous;
mod cron;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{sync::watch, time::sleep};

pub(crate) use self::{asynchronous::Retries, cron::Cron};
use super::mappings::Target;
use crate::{clock, ids, model};

/// A schedule at work.
pub(crate) struct Runner {
    pub(crate) schedule: model::Schedule,
    pub(crate) when: When,
    pub(crate) retries: Retries,
    pub(crate) target: Arc<dyn Target>,
    pub(crate) say: Arc<dyn Fn(&str) + Send + Sync>,
}

/// When a schedule runs, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum When {
    /// The first time one period after deployment.
    Every(Duration),
    /// In UTC.
    Cron(Box<Cron>),
}

impl When {
    /// Reads what the template says.
    pub(crate) fn of(rate: &model::Rate) -> Result<Self, String> {
        match rate {
            model::Rate::Every(period) if period.is_zero() => Err("a rate has to be positive".to_owned()),
            model::Rate::Every(period) => Ok(Self::Every(*period)),
            model::Rate::Cron(text) => Cron::parse(text).map(|cron| Self::Cron(Box::new(cron))),
        }
    }
}

impl Runner {
    /// Runs until it is told to stop. An invocation that is at work then goes on; its retries end.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut due = Instant::now();
        // The clock may be set back, or run a little behind the timer: no time of a cron comes twice.
        let mut last = now();
        loop {
            let wait = match &self.when {
                When::Every(period) => {
                    // Counted from the last time it was due, so that no delay adds up; what was missed is not made up.
                    due = (due + *period).max(Instant::now());
                    due.saturating_duration_since(Instant::now())
                }
                When::Cron(cron) => match cron.after(now().max(last)) {
                    Some(at) => {
                        last = at;
                        Duration::try_from(at.duration_since(now())).unwrap_or_default()
                    }
                    // It never comes.
                    None => return drop(stop.wait_for(|stop| *stop).await),
                },
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = sleep(wait) => {}
            }
            let event = self.schedule.input.clone().unwrap_or_else(|| event(&self.schedule.arn, now()));
            tokio::spawn(asynchronous::invoke(
                Arc::clone(&self.target),
                self.schedule.function.clone(),
                event.to_string().into_bytes().into(),
                self.retries,
                Arc::clone(&self.say),
                stop.clone(),
            ));
        }
    }
}

fn now() -> Timestamp {
    i64::try_from(clock::now_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default()
}

/// What EventBridge sends for a rule with this ARN.
fn event(rule_arn: &str, at: Timestamp) -> Value {
    let part = |number| rule_arn.split(':').nth(number).unwrap_or_default();
    let seconds = Timestamp::from_second(at.as_second()).unwrap_or(at);
    json!({
        "version": "0",
        "id": ids::uuid(),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": part(4),
        "time": seconds.to_string(),
        "region": part(3),
        "resources": [rule_arn],
        "detail": {},
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::body::Bytes;
    use futures::future::BoxFuture;

    use super::*;
    use crate::functions::InvokeError;

    const ARN: &str = "arn:aws:events:eu-central-1:000000000000:rule/shop-nightly";

    /// A function that remembers when it got what.
    #[derive(Default)]
    struct Made(Mutex<Vec<(Instant, Value)>>);

    impl Target for Made {
        fn invoke<'a>(&'a self, _: &'a str, payload: Bytes) -> BoxFuture<'a, Result<Bytes, InvokeError>> {
            self.0.lock().unwrap().push((Instant::now(), serde_json::from_slice(&payload).unwrap()));
            Box::pin(std::future::ready(Ok(Bytes::new())))
        }
    }

    fn runner(made: &Arc<Made>, input: Option<Value>) -> Runner {
        let rate = model::Rate::Every(Duration::from_millis(200));
        Runner {
            when: When::of(&rate).unwrap(),
            schedule: model::Schedule {
                name: "nightly".to_owned(),
                arn: ARN.to_owned(),
                function: "Tested".to_owned(),
                rate,
                input,
                enabled: true,
            },
            retries: Retries { max: 0, age_max: Duration::from_secs(60) },
            target: made.clone(),
            say: Arc::new(|_| {}),
        }
    }

    #[tokio::test]
    async fn a_rate_runs_first_one_period_after_deployment() {
        let made = Arc::new(Made::default());
        let (stop, stopped) = watch::channel(false);
        let begun = Instant::now();
        let running = tokio::spawn(runner(&made, None).run(stopped));
        while made.0.lock().unwrap().len() < 2 {
            sleep(Duration::from_millis(5)).await;
        }
        stop.send_replace(true);
        running.await.unwrap();
        let runs = made.0.lock().unwrap().clone();
        assert!(runs[0].0.duration_since(begun) >= Duration::from_millis(200));
        assert!(runs[1].0.duration_since(begun) >= Duration::from_millis(400));
        let event = &runs[0].1;
        assert_eq!(event["detail-type"], "Scheduled Event");
        assert_eq!(event["source"], "aws.events");
        assert_eq!(event["account"], "000000000000");
        assert_eq!(event["region"], "eu-central-1");
        assert_eq!(event["resources"], json!([ARN]));
        assert_eq!(event["detail"], json!({}));
        assert_eq!(event["time"].as_str().unwrap().len(), "2026-11-21T14:05:00Z".len());
        assert_ne!(event["id"], runs[1].1["id"]);
    }

    #[tokio::test]
    async fn an_input_replaces_the_event() {
        let made = Arc::new(Made::default());
        let (_stop, stopped) = watch::channel(false);
        let running = tokio::spawn(runner(&made, Some(json!({ "sweep": true }))).run(stopped));
        while made.0.lock().unwrap().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        running.abort();
        assert_eq!(made.0.lock().unwrap()[0].1, json!({ "sweep": true }));
    }
}
