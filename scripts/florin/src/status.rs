//! `florin status`.

use anyhow::{Context, Result};
use aws_sdk_sqs::{Client, types::QueueAttributeName};
use clap::Args;

use crate::{
    control::Control,
    counters::Counters,
    emulator::Emulator,
    operations::Operations,
    place::{Place, StateDir},
    stack::{self, CONSUMERS},
    table,
};

/// What `florin status` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    state: StateDir,
}

/// Runs `florin status`.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let place = Place::find(&options.state)?;
    let env = stack::described(&place)?;
    let queues = Client::new(&stack::sdk(&env).await?);
    let emulator = Emulator::of(&env)?;
    say!("API  {}  (on {emulator})", env.required("FLORIN_API_URL")?);
    say!("");
    let mut rows = Vec::new();
    for consumer in CONSUMERS {
        let [waiting, in_flight, delayed] = depth(&queues, env.required(&consumer.queue_variable())?).await?;
        let [dead, ..] = depth(&queues, env.required(&consumer.dead_letters_variable())?).await?;
        rows.push(vec![consumer.name.to_owned(), waiting, in_flight, delayed, dead]);
    }
    let headings = ["queue", "waiting", "in flight", "delayed", "dead letters"];
    table::lines(&headings, 1, &rows).iter().for_each(|line| say!("{line}"));
    let [undelivered, ..] = depth(&queues, env.required("FLORIN_UNDELIVERED_EVENTS_URL")?).await?;
    say!("");
    say!("events that no queue took: {undelivered}");
    let api = Operations::of(&env)?;
    say!("circuit breaker of the gateway: {}", or_why(api.breaker().await));
    say!("payments and refunds that wait for a person: {}", or_why(api.stuck().await.map(|stuck| stuck.count())));
    if emulator == Emulator::Host {
        say!("");
        Counters::of(&Control::of(&env)?).await?.lines(false).iter().for_each(|line| say!("{line}"));
    }
    Ok(())
}

/// What the API said, or why it did not: the rest of the status is worth seeing without it.
fn or_why(answer: Result<impl ToString>) -> String {
    answer.map_or_else(|error| format!("unknown: {error:#}"), |answer| answer.to_string())
}

/// Messages waiting, in flight and delayed. SQS calls them approximate; on one machine they are exact.
async fn depth(queues: &Client, url: &str) -> Result<[String; 3]> {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        QueueAttributeName::ApproximateNumberOfMessagesDelayed,
    ];
    let request = queues.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec()));
    let answer = request.send().await.with_context(|| format!("{url} does not answer"))?;
    let attributes = answer.attributes.unwrap_or_default();
    Ok(names.map(|name| attributes.get(&name).cloned().unwrap_or_else(|| "?".to_owned())))
}
