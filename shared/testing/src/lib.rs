//! What tests share: an embedded DynamoDB with our tables, fakes of the ports, builders, a meter that counts calls
//! and write units, and what the crash matrix is made of: faults, queues on a set clock, repeatable randomness.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_arithmetic,
    clippy::missing_panics_doc,
    reason = "a test helper that meets a surprise stops its test; write units are fractions, money is not among them"
)]

pub mod build;
pub mod bus;
pub mod dynamo;
pub mod fakes;
pub mod faults;
pub mod gateway;
pub mod meter;
pub mod seeded;
