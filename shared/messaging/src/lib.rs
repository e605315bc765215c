//! Messages: publishing to SNS, draining SQS batches with partial failures, and looking after dead letters.

pub mod batch;
mod call;
pub mod dead_letters;
pub mod failures;
pub mod mask;
pub mod publisher;
pub mod visibility;

pub use batch::{Delivered, Outcome, Queue};
pub use failures::{Failed, FailureLog};
pub use publisher::{PublishError, Publisher, SnsPublisher};
pub use visibility::{Later, SqsVisibility, Visibility};
