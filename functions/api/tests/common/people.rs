//! Merchants that have signed up, and their people.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use serde_json::{Value, json};

use super::{Answer, World, request};

pub const PASSWORD: &str = "correct horse battery staple";

/// A merchant that has signed up.
pub struct SignedUp {
    pub merchant_id: String,
    pub owner_id: String,
    pub key_id: String,
    pub key: String,
    pub email: String,
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// No two are alike.
pub fn unique(what: &str) -> String {
    format!("{what}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

impl World {
    /// Any request; without a bearer nobody asks. A POST has an `Idempotency-Key` of its own.
    pub async fn call(&self, method: &str, path: &str, bearer: &str, body: Option<&Value>, expected: u16) -> Answer {
        self.call_with(method, path, (bearer, &unique("key")), body, expected).await
    }

    /// The same, with this `Idempotency-Key`.
    pub async fn call_with(
        &self,
        method: &str,
        path: &str,
        (bearer, key): (&str, &str),
        body: Option<&Value>,
        expected: u16,
    ) -> Answer {
        let mut request = request(method, path);
        if !bearer.is_empty() {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        if method == "POST" {
            request = request.header("idempotency-key", key);
        }
        let request = match body {
            None => request.body(Body::empty()),
            Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
        };
        self.send(request.unwrap(), expected).await
    }

    /// Signs a merchant up.
    pub async fn sign_up(&self, name: &str) -> SignedUp {
        let email = format!("{}@shop.example", unique(name));
        let body = sign_up_body(name, &email);
        let answer = self.call("POST", "/v1/merchants", "", Some(&body), 201).await.body;
        let text = |pointer: &str| answer.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        SignedUp {
            merchant_id: text("/merchant/id"),
            owner_id: text("/owner/id"),
            key_id: text("/api_key/id"),
            key: text("/api_key/secret"),
            email,
        }
    }

    /// Signs somebody in: the whole answer.
    pub async fn login(&self, email: &str) -> Value {
        let body = json!({ "email": email, "password": PASSWORD });
        self.call("POST", "/v1/auth/login", "", Some(&body), 200).await.body
    }

    /// The access token of somebody who signs in.
    pub async fn token(&self, email: &str) -> String {
        self.login(email).await["access_token"].as_str().unwrap().to_owned()
    }

    /// Invites somebody, who accepts: (id, e-mail address, access token).
    pub async fn person(&self, owner_token: &str, role: &str) -> (String, String, String) {
        let email = format!("{}@shop.example", unique(role));
        let body = json!({ "email": email, "name": "Somebody", "role": role });
        let invited = self.call("POST", "/v1/users", owner_token, Some(&body), 201).await.body;
        let body = json!({ "invitation_token": invited["invitation_token"], "password": PASSWORD });
        let answer = self.call("POST", "/v1/auth/accept_invitation", "", Some(&body), 200).await.body;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&invited["id"]), email, text(&answer["access_token"]))
    }
}

pub fn sign_up_body(name: &str, email: &str) -> Value {
    json!({ "name": name, "owner": { "name": "Ada Obi", "email": email, "password": PASSWORD } })
}
