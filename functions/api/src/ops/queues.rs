//! `GET /v1/ops/queues`: how much lies in each consumer's queue, and how many dead letters it has.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use aws_sdk_sqs::Client;
use axum::{Json, extract::State};
use florin_messaging::dead_letters::{DeadLetters, DeadLettersError, Records};
use serde_json::{Value, json};

use crate::{Api, auth::Operator, problem::Problem};

/// Whose queues there are; their names follow from the stack's in `template.yaml`.
const CONSUMERS: [&str; 3] = ["processing", "webhook", "analytics"];
/// After this time a look or a run at dead letters begins nothing new, in milliseconds.
const WORK_MS_MAX: u64 = 8_000;
/// After this time a request is given up: soon enough to say so within the function's 15 seconds, in milliseconds.
const REQUEST_MS_MAX: u64 = 12_000;

type Build = Box<dyn FnOnce() -> Client + Send>;

/// The stack's queues, for operators. Few instances ever need them, so that their client is built at its first use.
pub struct Queues {
    client: LazyLock<Client, Build>,
    prefix: String,
    records: Records,
}

impl fmt::Debug for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queues").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Queues {
    /// The queues whose names begin with `prefix`, the stack's name.
    pub fn new(client: impl FnOnce() -> Client + Send + 'static, prefix: impl Into<String>, records: Records) -> Self {
        Self { client: LazyLock::new(Box::new(client)), prefix: prefix.into(), records }
    }

    /// A consumer's queue and dead letters.
    pub(crate) async fn of(&self, consumer: &str) -> Result<DeadLetters, Problem> {
        if !CONSUMERS.contains(&consumer) {
            return Err(Problem::ConsumerNotFound);
        }
        let letters = DeadLetters::find(self.client.clone(), &self.prefix, consumer, self.records.clone()).await?;
        Ok(letters.within(Duration::from_millis(WORK_MS_MAX)))
    }
}

impl From<DeadLettersError> for Problem {
    fn from(error: DeadLettersError) -> Self {
        match error {
            DeadLettersError::NoQueue(_) => Self::Internal(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

/// Gives up before the function is killed, which would tell nobody anything.
pub(crate) async fn in_time<T>(work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    let outcome = tokio::time::timeout(Duration::from_millis(REQUEST_MS_MAX), work).await;
    outcome.unwrap_or_else(|_| Err(Problem::Unavailable("the queues took too long".to_owned())))
}

/// Lists the consumers' queues, with how much lies in them.
#[utoipa::path(
    get, path = "/v1/ops/queues", operation_id = "list_queues", tag = "Operations",
    responses(
        (status = 200, description = "The queues.", body = crate::openapi::schemas::operations::QueueList),
    ),
    security(("operatorKey" = [])),
)]
pub(crate) async fn list(State(api): State<Arc<Api>>, _: Operator) -> Result<Json<Value>, Problem> {
    let [processing, webhook, analytics] = CONSUMERS.map(|consumer| shown(&api, consumer));
    let queues = in_time(async { tokio::try_join!(processing, webhook, analytics) }).await?;
    Ok(Json(json!({ "object": "list", "data": <[Value; 3]>::from(queues), "has_more": false })))
}

async fn shown(api: &Api, consumer: &str) -> Result<Value, Problem> {
    let depth = api.dependencies.queues.of(consumer).await?.depth().await?;
    Ok(json!({
        "object": "queue",
        "consumer": consumer,
        "waiting": depth.waiting,
        "in_flight": depth.in_flight,
        "delayed": depth.delayed,
        "dead_letters": depth.dead + depth.hidden,
        "dead_letters_hidden": depth.hidden,
    }))
}
