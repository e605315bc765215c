//! What becomes of a batch that fails, as a whole or in part.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{ask, own_records, queues, receive_count, records, report};
use crate::conformance::{
    Case, Context, case,
    check::{becomes, same, sleep_ms, took},
    context::Queue,
};

const ERRORS: &str = "Lambda Developer Guide, Handling errors for an SQS event source";
/// How long a message that always fails may take to become a dead letter.
const DEAD_WITHIN: Duration = Duration::from_secs(25);

pub(super) const CASES: &[Case] = &[
    case!(
        mappings,
        error_returns_batch,
        ERRORS,
        "When the function fails, the batch returns after the visibility time-out"
    ),
    case!(mappings, exit_returns_batch, ERRORS, "When the function's process ends, the batch returns likewise"),
    case!(
        mappings,
        timeout_returns_batch,
        ERRORS,
        "When the function exceeds its time-out, the batch returns likewise"
    ),
    case!(
        mappings,
        failing_message_is_dead_letter,
        ERRORS,
        "A message that always fails goes to the queue's dead letters"
    ),
    case!(mappings, answer_without_partial, ERRORS, "Without ReportBatchItemFailures the answer counts for nothing"),
    case!(mappings, partial_failure, ERRORS, "With ReportBatchItemFailures only the records named return"),
    case!(
        mappings,
        partial_failure_alone_is_dead_letter,
        ERRORS,
        "A record that always fails goes to the dead letters alone"
    ),
    case!(mappings, complete_success, ERRORS, "An empty or null list, an empty or null answer: the batch succeeds"),
    case!(
        mappings,
        complete_failure,
        ERRORS,
        "An answer that is no JSON object, an empty, null or misnamed identifier: the batch fails"
    ),
    case!(mappings, unknown_identifier, ERRORS, "An identifier that is no record's: the batch fails"),
    case!(
        mappings,
        visibility_set_by_function,
        ERRORS,
        "A failed record whose visibility the function changed returns then"
    ),
];

/// A message of this kind comes twice and is then a dead letter: two receives are allowed.
async fn returns(context: &Context, body: Value) -> Result<()> {
    let (queue, reports) = queues(context, "SingleQueue").await?;
    let id = ask(&queue, &reports, body).await?;
    for count in ["1", "2"] {
        let report = report(&reports).await?;
        let record = records(&report).pop().context("no record")?;
        same("the record", (record["messageId"].as_str(), receive_count(&record)), (Some(id.as_str()), count))?;
    }
    Ok(())
}

async fn error_returns_batch(context: Context) -> Result<()> {
    let started = Instant::now();
    returns(&context, json!({ "do": "error" })).await?;
    took("the second try", started, 2_700, 40_000)
}

async fn exit_returns_batch(context: Context) -> Result<()> {
    returns(&context, json!({ "do": "exit" })).await
}

async fn timeout_returns_batch(context: Context) -> Result<()> {
    returns(&context, json!({ "do": "time-out" })).await
}

/// Waits for the dead letter with this id. Others are of other cases: they stay visible.
async fn dead_letter(queue: &Queue, id: &str, within: Duration) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < within {
        let request = queue.sqs.receive_message().queue_url(&queue.url).max_number_of_messages(10);
        let answer = request.wait_time_seconds(1).visibility_timeout(0).send().await?;
        if let Some(message) = answer.messages().iter().find(|message| message.message_id() == Some(id)) {
            return queue.delete(message).await;
        }
        sleep_ms(200).await;
    }
    anyhow::bail!("the message is no dead letter after {within:?}")
}

async fn failing_message_is_dead_letter(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "SingleQueue").await?;
    let id = ask(&queue, &reports, json!({ "do": "error" })).await?;
    dead_letter(&context.probe()?.queue("SingleDeadLetters")?, &id, DEAD_WITHIN).await
}

async fn answer_without_partial(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "SingleQueue").await?;
    ask(&queue, &reports, json!({ "do": "fail" })).await?;
    report(&reports).await?;
    reports.stays_empty(5).await
}

async fn partial_failure(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "PartialQueue").await?;
    ask(&queue, &reports, json!({})).await?;
    let failing = ask(&queue, &reports, json!({ "do": "fail" })).await?;
    ask(&queue, &reports, json!({})).await?;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    while first.len() < 3 || second.is_empty() {
        for record in own_records(&report(&reports).await?, &reports) {
            let id = record["messageId"].as_str().unwrap_or_default().to_owned();
            if receive_count(&record) == "1" { first.push(id) } else { second.push(id) }
        }
    }
    same("what returned", second, [failing])?;
    reports.stays_empty(4).await
}

async fn partial_failure_alone_is_dead_letter(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "PartialQueue").await?;
    ask(&queue, &reports, json!({})).await?;
    let failing = ask(&queue, &reports, json!({ "do": "fail" })).await?;
    dead_letter(&context.probe()?.queue("PartialDeadLetters")?, &failing, DEAD_WITHIN).await
}

/// Sends a message for each answer; their ids.
async fn ask_for_answers(context: &Context, queue: &str, answers: &[Value]) -> Result<Vec<String>> {
    let (queue, reports) = queues(context, queue).await?;
    let mut ids = Vec::new();
    for answer in answers {
        ids.push(ask(&queue, &reports, json!({ "answer": answer })).await?);
    }
    for _ in answers {
        report(&reports).await?;
    }
    Ok(ids)
}

async fn complete_success(context: Context) -> Result<()> {
    let answers = [json!({ "batchItemFailures": [] }), json!({ "batchItemFailures": null }), json!({}), json!(null)];
    let ids = ask_for_answers(&context, "GoodAnswersQueue", &answers).await?;
    let dead_letters = context.probe()?.queue("AnswersDeadLetters")?;
    let queue = context.probe()?.queue("GoodAnswersQueue")?;
    becomes("visible, in flight, delayed", DEAD_WITHIN, (0, 0, 0), async || queue.counts().await).await?;
    for (id, answer) in ids.iter().zip(answers) {
        let came_back = dead_letter(&dead_letters, id, Duration::from_secs(1)).await.is_ok();
        ensure!(!came_back, "the batch failed after the answer {answer}");
    }
    Ok(())
}

/// The batch of each answer fails: what returns is a dead letter.
async fn batches_fail(context: &Context, answers: &[Value]) -> Result<()> {
    let ids = ask_for_answers(context, "BadAnswersQueue", answers).await?;
    let dead_letters = context.probe()?.queue("AnswersDeadLetters")?;
    for (id, answer) in ids.iter().zip(answers) {
        let returned = dead_letter(&dead_letters, id, DEAD_WITHIN).await;
        returned.with_context(|| format!("the batch should have failed after the answer {answer}"))?;
    }
    Ok(())
}

async fn complete_failure(context: Context) -> Result<()> {
    let answers = [
        json!("no object"),
        json!({ "batchItemFailures": [{ "itemIdentifier": "" }] }),
        json!({ "batchItemFailures": [{ "itemIdentifier": null }] }),
        json!({ "batchItemFailures": [{ "messageId": "x" }] }),
    ];
    batches_fail(&context, &answers).await
}

async fn unknown_identifier(context: Context) -> Result<()> {
    let answer = json!({ "batchItemFailures": [{ "itemIdentifier": "00000000-0000-4000-8000-000000000000" }] });
    batches_fail(&context, &[answer]).await
}

async fn visibility_set_by_function(context: Context) -> Result<()> {
    let (queue, reports) = queues(&context, "PartialQueue").await?;
    ask(&queue, &reports, json!({ "do": "hide", "queue": queue.url })).await?;
    report(&reports).await?;
    let hidden = Instant::now();
    report(&reports).await?;
    // Hidden for 6 s by the function; the queue's own time-out is 3 s.
    took("the return", hidden, 5_000, 11_000)
}
