//! Whole-queue replays that SQS does by itself (`StartMessageMoveTask`), where the endpoint has it.

use super::{DeadLetters, DeadLettersError, Order, Selection, arn, failed, is_unknown_call, trail::Trail};

/// How far a `StartMessageMoveTask` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveProgress {
    /// Whether it has ended.
    pub ended: bool,
    /// `RUNNING`, `COMPLETED`, `FAILED` …
    pub status: String,
    /// Messages moved so far, approximately.
    pub moved: i64,
    /// Why it failed.
    pub failure: Option<String>,
}

impl DeadLetters {
    /// Lets SQS itself move all dead letters back. `false` where the endpoint does not know the call, and nothing was
    /// done. SQS does not tell which messages it moves: the audit names those of `selection`, which a look has shown.
    pub async fn start_move(&self, order: &Order<'_>, selection: &Selection) -> Result<bool, DeadLettersError> {
        let mut trail = Trail::new(self, order, "move");
        trail.begin().await?;
        let started = self.start(order.per_second).await;
        let (outcome, of_each) = match &started {
            Ok(true) => ("SQS moves all of them".to_owned(), Some("handed to SQS")),
            Ok(false) => ("the endpoint does not have this call".to_owned(), None),
            Err(error) => (error.to_string(), None),
        };
        if let Some(of_each) = of_each {
            trail.messages(selection.seen.iter().map(|seen| (seen, of_each.to_owned()))).await?;
        }
        trail.end(outcome).await?;
        started
    }

    async fn start(&self, per_second: Option<u32>) -> Result<bool, DeadLettersError> {
        // The destination is named: without it SQS moves nothing that was sent to the dead-letter queue directly.
        let request = self
            .client
            .start_message_move_task()
            .source_arn(arn(&self.client, &self.dead_letters_url).await?)
            .destination_arn(arn(&self.client, &self.queue_url).await?)
            .set_max_number_of_messages_per_second(per_second.and_then(|rate| i32::try_from(rate).ok()));
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) if is_unknown_call(&error) => Ok(false),
            Err(error) => Err(failed("StartMessageMoveTask", &self.dead_letters_url, &error)),
        }
    }

    /// How far the last move is; nothing if there was none.
    pub async fn move_progress(&self) -> Result<Option<MoveProgress>, DeadLettersError> {
        let source = arn(&self.client, &self.dead_letters_url).await?;
        let answer = self.client.list_message_move_tasks().source_arn(source).max_results(1).send().await;
        let answer = answer.map_err(|error| failed("ListMessageMoveTasks", &self.dead_letters_url, &error))?;
        Ok(answer.results().first().map(|task| {
            let status = task.status().unwrap_or("UNKNOWN").to_owned();
            MoveProgress {
                ended: !matches!(status.as_str(), "RUNNING" | "CANCELLING"),
                status,
                moved: task.approximate_number_of_messages_moved(),
                failure: task.failure_reason().map(str::to_owned),
            }
        }))
    }
}
