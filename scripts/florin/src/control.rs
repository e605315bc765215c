//! The host's control address: faults on purpose, and what was counted.

use anyhow::{Context, Result, bail};
use reqwest::{Method, RequestBuilder};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{emulator::Emulator, local_env::LocalEnv, stack::http_client};

/// What is shown of an answer that is no success, in characters.
const ERROR_CHARACTERS_MAX: usize = 500;

/// A running host.
#[derive(Debug)]
pub(crate) struct Control {
    client: reqwest::Client,
    address: String,
}

impl Control {
    /// That of the stack in `local.env`; other emulators have none.
    pub(crate) fn of(env: &LocalEnv) -> Result<Self> {
        let emulator = Emulator::of(env)?;
        if emulator != Emulator::Host {
            bail!("only the local host has faults and counters, and Florin runs on {emulator}");
        }
        Ok(Self { client: http_client()?, address: format!("{}/_host", env.required("AWS_ENDPOINT_URL")?) })
    }

    /// `GET`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        read(path, &self.send(self.request(Method::GET, path), path).await?)
    }

    /// `POST` with a JSON body.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let request = self.request(Method::POST, path).json(body);
        read(path, &self.send(request, path).await?)
    }

    /// `POST` without a body, and without an answer that matters.
    pub(crate) async fn trigger(&self, path: &str) -> Result<()> {
        self.send(self.request(Method::POST, path), path).await.map(|_| ())
    }

    /// `DELETE`.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        self.send(self.request(Method::DELETE, path), path).await.map(|_| ())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.address))
    }

    async fn send(&self, request: RequestBuilder, path: &str) -> Result<Vec<u8>> {
        let answer = request
            .send()
            .await
            .with_context(|| format!("the host does not answer at {}{path}: see `florin up`", self.address))?;
        let status = answer.status();
        let body = answer.bytes().await?;
        if !status.is_success() {
            bail!("the host refuses it: {}", reason(&body));
        }
        Ok(body.into())
    }
}

/// The host says `{"error": …}`; anything else is shown as it is.
fn reason(body: &[u8]) -> String {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    match parsed.as_ref().and_then(|answer| answer.get("error")).and_then(Value::as_str) {
        Some(error) => error.to_owned(),
        None => String::from_utf8_lossy(body).chars().take(ERROR_CHARACTERS_MAX).collect(),
    }
}

fn read<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).with_context(|| format!("the host's answer to {path} is none that this tool knows"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
pub(crate) mod fake {
    //! A host that answers what a test wants, and remembers what it was asked.

    use std::sync::{Arc, Mutex};

    use axum::{Router, extract::Request, http::StatusCode, response::IntoResponse};

    use crate::{emulator::VARIABLE, local_env::LocalEnv};

    /// What it was asked: method and path, body.
    pub(crate) type Asked = Arc<Mutex<Vec<(String, String)>>>;

    /// Starts it; the result describes it as `local.env` would.
    pub(crate) async fn host(status: u16, answer: &'static str) -> (LocalEnv, Asked) {
        let asked = Asked::default();
        let remember = Arc::clone(&asked);
        let handler = move |request: Request| async move {
            let line = format!("{} {}", request.method(), request.uri().path());
            let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
            remember.lock().unwrap().push((line, String::from_utf8(body.to_vec()).unwrap()));
            (StatusCode::from_u16(status).unwrap(), answer).into_response()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut env = LocalEnv::default();
        env.set(VARIABLE, "host");
        env.set("AWS_ENDPOINT_URL", format!("http://{}", listener.local_addr().unwrap()));
        tokio::spawn(async { axum::serve(listener, Router::new().fallback(handler)).await });
        (env, asked)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_host_refuses_is_told_in_its_words() {
        let (env, _) = fake::host(400, r#"{"error":"nth: counts from 1"}"#).await;
        let error = Control::of(&env).unwrap().post::<Value>("/faults", &1).await.unwrap_err().to_string();
        assert!(error.contains("nth: counts from 1") && !error.contains('{'), "{error}");
    }

    #[test]
    fn other_emulators_have_no_control_address() {
        let mut env = LocalEnv::default();
        env.set(crate::emulator::VARIABLE, "ministack");
        let error = Control::of(&env).unwrap_err().to_string();
        assert!(error.contains("MiniStack"), "{error}");
    }
}
