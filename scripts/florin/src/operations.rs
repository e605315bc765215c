//! The part of the API that is for operators.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::local_env::LocalEnv;

/// The variable that holds the operator key, in `local.env` and in the environment.
pub(crate) const KEY_VARIABLE: &str = "FLORIN_OPERATOR_KEY";
/// One request: longer than the function behind it may take (15 s).
const REQUEST_TIMEOUT_S: u64 = 20;
/// What is shown of an answer that is no success, in characters.
const ERROR_CHARACTERS_MAX: usize = 500;
/// Stuck ones that the API shows at most.
const STUCK_MAX: usize = 100;

/// A stack's API, and the key for it. Not printable, since the key is a secret.
pub(crate) struct Operations {
    client: reqwest::Client,
    address: String,
    key: Option<String>,
}

/// A payment or refund that waits for a person.
#[derive(Debug, Deserialize)]
pub(crate) struct Stuck {
    pub(crate) id: String,
    pub(crate) merchant_id: String,
    pub(crate) reason: Reason,
    pub(crate) since: String,
}

/// Why it is stuck.
#[derive(Debug, Deserialize)]
pub(crate) struct Reason {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// What the API shows of those that wait for a person.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct AllStuck {
    pub(crate) data: Vec<Stuck>,
    pub(crate) has_more: bool,
}

impl AllStuck {
    /// How many there are.
    pub(crate) fn count(&self) -> String {
        if self.has_more { format!("more than {}", self.data.len()) } else { self.data.len().to_string() }
    }
}

#[derive(Deserialize)]
struct Ready {
    checks: Checks,
}

#[derive(Deserialize)]
struct Checks {
    gateway: String,
}

/// What is read of an RFC 9457 problem.
#[derive(Deserialize)]
struct Refusal {
    code: String,
    detail: String,
}

impl Operations {
    /// The API at this address. Only loopback may be called without TLS: the key would be readable on the way.
    pub(crate) fn at(address: &str, key: Option<&str>) -> Result<Self> {
        let url = Url::parse(address).with_context(|| format!("{address} is no URL"))?;
        let is_loopback = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback) {
            bail!("{address}: an API that is not on this machine is called by https only");
        }
        let client = reqwest::Client::builder().timeout(Duration::from_secs(REQUEST_TIMEOUT_S));
        let client = if is_loopback { client.no_proxy() } else { client };
        let key = key.map(str::to_owned);
        Ok(Self { client: client.build()?, address: address.trim_end_matches('/').to_owned(), key })
    }

    /// That of the stack in `local.env`.
    pub(crate) fn of(env: &LocalEnv) -> Result<Self> {
        Self::at(env.required("FLORIN_API_URL")?, env.get(KEY_VARIABLE))
    }

    /// Where it is.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The state of the circuit breaker around the gateway.
    pub(crate) async fn breaker(&self) -> Result<String> {
        let ready: Ready = self.send(self.client.get(self.url("/ready"))).await?;
        Ok(ready.checks.gateway)
    }

    /// What waits for a person.
    pub(crate) async fn stuck(&self) -> Result<AllStuck> {
        self.send(self.signed(self.client.get(self.url(&format!("/v1/ops/stuck?limit={STUCK_MAX}"))))?).await
    }

    /// Orders something, and returns what the resource is then.
    pub(crate) async fn order(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(self.signed(self.client.post(self.url(path)).json(body))?).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    fn signed(&self, request: RequestBuilder) -> Result<RequestBuilder> {
        let key = self.key.as_ref().with_context(|| format!("{KEY_VARIABLE} is not set"))?;
        Ok(request.bearer_auth(key))
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let answer = request.send().await.with_context(|| format!("the API does not answer at {}", self.address))?;
        let status = answer.status();
        let body = answer.bytes().await?;
        if !status.is_success() {
            bail!("the API refuses it: {}", refusal(status, &body));
        }
        serde_json::from_slice(&body).context("the API's answer is none that this tool knows")
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> String {
    match serde_json::from_slice(body) {
        Ok(Refusal { code, detail }) => format!("{detail} ({code})"),
        Err(_) => {
            let text: String = String::from_utf8_lossy(body).chars().take(ERROR_CHARACTERS_MAX).collect();
            format!("{status} {text}")
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
pub(crate) mod fake {
    //! An API that answers what a test wants, and remembers what it was asked.

    use std::sync::{Arc, Mutex};

    use axum::{Router, extract::Request, http::StatusCode, response::IntoResponse};

    use super::Operations;

    /// The key that the tests use.
    pub(crate) const KEY: &str = "op_key";

    /// What it was asked: method and path, authorisation, body.
    pub(crate) type Asked = Arc<Mutex<Vec<(String, String, String)>>>;

    /// Starts it.
    pub(crate) async fn api(status: u16, answer: &'static str) -> (Operations, Asked) {
        let asked = Asked::default();
        let remember = Arc::clone(&asked);
        let handler = move |request: Request| async move {
            let line = format!("{} {}", request.method(), request.uri().path());
            let header = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
            let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
            let body = String::from_utf8(body.to_vec()).unwrap();
            remember.lock().unwrap().push((line, header.unwrap_or_default(), body));
            (StatusCode::from_u16(status).unwrap(), answer).into_response()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, Router::new().fallback(handler)).await });
        (Operations::at(&address, Some(KEY)).unwrap(), asked)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_breaker_is_asked_for_without_the_key() {
        let (api, asked) = fake::api(200, r#"{"status":"ok","checks":{"dynamodb":"ok","gateway":"half_open"}}"#).await;
        assert_eq!(api.breaker().await.unwrap(), "half_open");
        assert_eq!(*asked.lock().unwrap(), [("GET /ready".to_owned(), String::new(), String::new())]);
    }

    #[tokio::test]
    async fn what_the_api_refuses_is_told_in_its_words() {
        let problem =
            r#"{"type":"x","title":"Conflict","status":409,"code":"payment_not_stuck","detail":"It is not."}"#;
        let (api, _) = fake::api(409, problem).await;
        let error = api.stuck().await.unwrap_err().to_string();
        assert!(error.contains("It is not. (payment_not_stuck)"), "{error}");
        let (api, _) = fake::api(502, "<html>").await;
        assert!(api.stuck().await.unwrap_err().to_string().contains("502 Bad Gateway <html>"));
    }

    #[tokio::test]
    async fn without_a_key_nothing_is_sent() {
        let (api, asked) = fake::api(200, "{}").await;
        let keyless = Operations::at(api.address(), None).unwrap();
        assert!(keyless.stuck().await.unwrap_err().to_string().contains(KEY_VARIABLE));
        assert!(asked.lock().unwrap().is_empty());
    }

    #[test]
    fn the_key_leaves_this_machine_by_tls_only() {
        for address in
            ["https://abc.execute-api.us-east-1.amazonaws.com", "http://127.0.0.1:4566/_aws/x", "http://[::1]"]
        {
            assert!(Operations::at(address, None).is_ok(), "{address}");
        }
        for address in [
            "http://abc.execute-api.us-east-1.amazonaws.com",
            "http://127.0.0.1.example.com",
            "ftp://localhost",
            "shop",
        ] {
            assert!(Operations::at(address, None).is_err(), "{address}");
        }
    }
}
