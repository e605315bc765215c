//! The HTTP client for addresses that the deployment chooses, such as the gateway's. For addresses that clients choose
//! see `guard`.

use std::time::Duration;

use reqwest::{Client, redirect::Policy};

/// A connection that is not there by then will not come.
const CONNECT_TIMEOUT_MS: u64 = 1_000;

/// A client that follows no redirect (a card number would follow it) and asks no proxy.
pub fn client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
        .user_agent(concat!("Florin/", env!("CARGO_PKG_VERSION")))
        .build()
}
