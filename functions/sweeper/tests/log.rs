//! What a run logs is what the metrics of `template.yaml` are made of. A process of its own: a subscriber of one thread
//! misses what another thread logged first.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use florin_domain::{
    breaker::FAILURES_MAX,
    journal::{Failure, Step},
    saga,
};
use florin_platform::clock::Clock;
use florin_store::{
    breaker::{READ_EVERY_MS, SharedBreaker},
    payments::{DUE_AFTER_MS, Payments},
};
use florin_sweeper::Sweeper;
use florin_testing::{build, dynamo::Dynamo, fakes::RecordingPublisher};
use serde_json::Value;

const TEMPLATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../template.yaml");

/// What was logged.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The lines that say what a run did.
    fn runs(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["message"] == "swept").collect()
    }
}

#[tokio::test]
async fn a_runs_log_line_has_what_the_templates_metrics_read() {
    let log = Log::default();
    let writer = log.clone();
    // As `florin_platform::telemetry` has it in Lambda.
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone());
    subscriber.init();
    let client = Dynamo::start().await.client;
    let (payments, clock) = (Payments::new(client.clone(), "payments"), Clock::set_to(build::START));
    let breaker = || SharedBreaker::new(client.clone(), "payments");
    let sweeper = Sweeper::new(payments.clone(), breaker(), Arc::<RecordingPublisher>::default(), clock.clone());

    // Given a good run, then one with a stuck payment while the gateway is away.
    sweeper.run().await.unwrap();
    let payment = build::payment(&build::merchant("shop").id, "k");
    payments.create(&payment).await.unwrap();
    let mut stuck = saga::claim(&payment, Step::Charge, None, build::START);
    stuck.stuck = Some(Failure::new(saga::CODE_UNANSWERED, "Nobody knows."));
    payments.save(&payment, &stuck).await.unwrap();
    for _ in 0..FAILURES_MAX {
        breaker().failed(clock.now()).await.unwrap();
    }
    clock.advance_ms(DUE_AFTER_MS.max(READ_EVERY_MS));
    sweeper.run().await.unwrap();

    // Then the fields that the metric filters compare say so, at the top of the line.
    let runs = log.runs();
    let read: Vec<_> = runs.iter().map(|run| (run["stuck"].clone(), run["gateway"].clone())).collect();
    assert_eq!(read, [(0.into(), "closed".into()), (1.into(), "open".into())]);
    let template = std::fs::read_to_string(TEMPLATE).unwrap();
    for filter in [r#"{ $.message = "swept" && $.stuck > 0 }"#, r#"{ $.message = "swept" && $.gateway != "closed" }"#] {
        assert!(template.contains(&format!("FilterPattern: '{filter}'")), "{filter}");
    }
    assert!(template.contains("MetricValue: $.stuck"));
}
