//! Helpers of the tests that cross functions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "a test helper that meets a surprise stops its test, and one that counts says what it counted"
)]

pub mod chaos;
pub mod conformance;
pub mod orders;
pub mod place;
pub mod receiver;
pub mod stack;
