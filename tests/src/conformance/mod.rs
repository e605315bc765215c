//! What AWS documents of the services that Florin is built on, one small case per sentence, for any endpoint.
//!
//! A case makes its own queues, topics and tables by calls of the SDK. Cases of mappings and HTTP APIs need functions:
//! `tests/conformance/template.yaml` has them, and `probe` starts it. What is known to fail on an emulator is listed in
//! `differences`; the list must stay true, so a case that is listed and passes fails the suite like one that is not
//! listed and fails.

use std::{future::Future, pin::Pin};

pub mod check;
pub mod context;
pub mod differences;
pub mod document;
pub mod dynamodb;
pub mod http_api;
pub mod mappings;
pub mod probe;
pub mod runner;
pub mod sns;
pub mod sqs;

pub use context::Context;

/// What a case comes to: an error says what was found instead of what is documented.
pub type Outcome = anyhow::Result<()>;
type Run = fn(Context) -> Pin<Box<dyn Future<Output = Outcome>>>;

/// One sentence of the documentation, checked.
#[derive(Clone, Copy)]
pub struct Case {
    /// `service.what`.
    pub name: &'static str,
    /// The page of the AWS documentation.
    pub page: &'static str,
    /// What it says, in short.
    pub rule: &'static str,
    pub run: Run,
}

/// A case: service, function, page, rule.
macro_rules! case {
    ($service:ident, $function:ident, $page:expr, $rule:expr) => {
        $crate::conformance::Case {
            name: concat!(stringify!($service), ".", stringify!($function)),
            page: $page,
            rule: $rule,
            run: |context| Box::pin($function(context)),
        }
    };
}
pub(crate) use case;

/// Every case, in the order of the document.
pub fn cases() -> Vec<Case> {
    [sqs::cases(), sns::cases(), mappings::cases(), http_api::cases(), dynamodb::cases()].concat()
}
