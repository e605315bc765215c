//! One HTTP try. Whoever answers is a stranger: the address is checked, redirects are not followed, and neither time
//! nor bytes are the stranger's to choose.

use std::time::Duration;

use florin_domain::webhook::AttemptResult;
use florin_platform::guard::{Forbidden, Guard, was_forbidden};
use reqwest::{
    Client, Response, Url,
    header::{CONTENT_TYPE, HeaderName},
};

/// A connection that is not there by then will not come.
pub const CONNECT_TIMEOUT_MS: u64 = 2_000;
/// A try from the look-up of the name to the last byte that is read.
pub const TOTAL_TIMEOUT_MS: u64 = 10_000;
/// Bytes read of an answer's body. A body within it leaves the connection open for the next try; of a longer one
/// nothing more is wanted, so its connection is dropped.
pub const RESPONSE_BYTES_MAX: usize = 4 * 1024;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What is sent, as Standard Webhooks 1.0.0 has it.
#[derive(Debug)]
pub struct Signed<'a> {
    /// The event's id, the same on every attempt.
    pub id: &'a str,
    /// When this attempt began, in seconds since 1970.
    pub timestamp: i64,
    /// Over the three others.
    pub signature: String,
    /// JSON.
    pub body: &'a str,
}

/// Posts to addresses that merchants chose.
#[derive(Debug, Clone)]
pub struct Post {
    client: Client,
    guard: Guard,
}

impl Post {
    /// Posts to what the guard allows.
    pub fn new(guard: Guard) -> Result<Self, reqwest::Error> {
        let ms = Duration::from_millis;
        Self::with_timeouts(guard, ms(CONNECT_TIMEOUT_MS), ms(TOTAL_TIMEOUT_MS))
    }

    /// Posts with time-outs of its own, for connecting and for the whole.
    pub fn with_timeouts(guard: Guard, connect: Duration, total: Duration) -> Result<Self, reqwest::Error> {
        Ok(Self { client: guard.client(connect, total)?, guard })
    }

    /// One try.
    pub async fn send(&self, url: &str, signed: Signed<'_>) -> AttemptResult {
        let url = match self.guard.check(url) {
            Ok(url) => url,
            Err(forbidden) => return AttemptResult::Refused(forbidden.code()),
        };
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(WEBHOOK_ID, signed.id)
            .header(WEBHOOK_TIMESTAMP, signed.timestamp)
            .header(WEBHOOK_SIGNATURE, signed.signature)
            .body(signed.body.to_owned());
        match request.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                drain(response).await;
                AttemptResult::Answered(status)
            }
            // The error's text holds the URL, so only its kind is kept.
            Err(error) if was_forbidden(&error) => AttemptResult::Refused(Forbidden::Address.code()),
            Err(error) if error.is_timeout() => AttemptResult::Unanswered("timeout"),
            Err(error) if error.is_connect() => AttemptResult::Unanswered("connection_failed"),
            Err(_) => AttemptResult::Unanswered("no_answer"),
        }
    }
}

/// Reads the body up to its limit. What it says is of no interest, and the status has been told already: neither a
/// time-out nor a broken body changes the result.
async fn drain(mut response: Response) {
    let mut read = 0;
    while read < RESPONSE_BYTES_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => read += chunk.len(),
            Ok(None) | Err(_) => return,
        }
    }
}

/// The host of a URL: all of it that may be logged.
pub(crate) fn host(url: &str) -> String {
    Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}
