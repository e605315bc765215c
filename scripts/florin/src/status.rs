//! `florin status`.

use anyhow::{Context, Result};
use aws_sdk_sqs::{Client, types::QueueAttributeName};
use clap::Args;

use crate::{
    place::{Place, StateDir},
    stack::{self, CONSUMERS},
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
    say!("API  {}", env.required("FLORIN_API_URL")?);
    say!("");
    say!("{:<12} {:>8} {:>10} {:>8} {:>13}", "queue", "waiting", "in flight", "delayed", "dead letters");
    for consumer in CONSUMERS {
        let depth = depth(&queues, env.required(&consumer.queue_variable())?).await?;
        let dead = self::depth(&queues, env.required(&consumer.dead_letters_variable())?).await?;
        let [waiting, in_flight, delayed] = &depth;
        let [dead, ..] = &dead;
        say!("{:<12} {waiting:>8} {in_flight:>10} {delayed:>8} {dead:>13}", consumer.name);
    }
    let [undelivered, ..] = depth(&queues, env.required("FLORIN_UNDELIVERED_EVENTS_URL")?).await?;
    say!("");
    say!("events that no queue took: {undelivered}");
    Ok(())
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
