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
use super::{ids, mappings::Target};
use crate::{clock, model};

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
        loop {
            let wait = match &self.when {
                When::Every(period) => {
                    // Counted from the last time it was due, so that no delay adds up; what was missed is not made up.
                    due = (due + *period).max(Instant::now());
                    due.saturating_duration_since(Instant::now())
                }
                When::Cron(cron) => match cron.after(now()) {
                    Some(at) => Duration::try_from(at.duration_since(now())).unwrap_or_default(),
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
