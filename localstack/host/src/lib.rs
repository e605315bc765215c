//! A local host for SAM templates: DynamoDB, SQS, SNS, functions with a real Runtime API, event source mappings,
//! schedules and HTTP APIs, in one process, on loopback only.
//!
//! `template` reads the template into a [`model::Stack`]; every other module runs one part of it. Requests of SDKs
//! come in through `front`, which counts them, applies injected faults, and hands them to the service they name.

pub mod clock;
pub mod counters;
pub mod deliveries;
pub mod dynamodb;
pub mod error;
pub mod faults;
pub mod front;
pub mod functions;
pub mod host;
pub mod http_api;
mod ids;
pub mod log;
pub mod model;
pub mod sns;
pub mod sqs;
pub mod template;
