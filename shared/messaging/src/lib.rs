//! Messages: publishing to SNS, draining SQS batches with partial failures, and looking after dead letters.

pub mod batch;
pub mod dead_letters;
pub mod publisher;
pub mod visibility;

pub use batch::{Delivered, Outcome};
pub use publisher::{PublishError, Publisher, SnsPublisher};
pub use visibility::{SqsVisibility, Visibility};
