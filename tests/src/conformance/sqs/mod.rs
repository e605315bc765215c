//! Standard queues of SQS.

mod attributes;
mod batches;
mod dead_letters;
mod moves;
mod queues;
mod receiving;
mod sending;
mod visibility;

use super::Case;

/// Codes of a queue that is not there, by the query protocol and by the JSON protocol.
const NO_QUEUE: [&str; 2] = ["AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"];

pub fn cases() -> Vec<Case> {
    [
        visibility::CASES,
        sending::CASES,
        attributes::CASES,
        receiving::CASES,
        batches::CASES,
        dead_letters::CASES,
        moves::CASES,
        queues::CASES,
    ]
    .concat()
}
