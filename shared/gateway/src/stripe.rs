//! The adapter for Stripe's HTTP API, and for anything else that speaks it.

use std::time::Duration;

use async_trait::async_trait;
use florin_domain::card::Card;
use reqwest::{Client, RequestBuilder, header::CONTENT_LENGTH};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};

use crate::answer::{Answer, Intent, Listed, Page, PaymentMethod, Refund};
use crate::{CODE_PAYMENT_METHOD_DELETED, CardToken, Charge, ChargeRequest, Gateway, GatewayError, RefundRequest};

/// How long one request may take, from connecting to the last byte of the answer.
pub const GATEWAY_REQUEST_TIMEOUT_MS: u64 = 4_000;

/// How long [`StripeGateway::warm`] may take.
const WARM_TIMEOUT_MS: u64 = 1_000;

/// Stripe answers in the shapes of this version, whatever the account's default is.
/// <https://docs.stripe.com/api/versioning>
const STRIPE_VERSION: &str = "2025-09-30.clover";

/// The largest answer that is read, in bytes. A payment intent of Stripe has some 3 kB, a page of a hundred 300 kB.
const RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Stripe's largest page.
const PAGE_ITEMS_MAX: &str = "100";

/// How many pages of a listing are read before the adapter says that it does not know.
const PAGES_MAX: usize = 50;

/// How far the gateway's clock may be behind ours, in seconds.
const CLOCK_SKEW_S: i64 = 300;

/// Speaks to Stripe, or to what speaks like it.
///
/// The client must not follow redirects: a card number would follow with them.
pub struct StripeGateway {
    http: Client,
    base_url: String,
    api_key: SecretString,
    timeout: Duration,
}

#[derive(Deserialize)]
struct Created {
    id: String,
}

impl StripeGateway {
    /// `base_url` is what `/v1/…` is appended to.
    #[must_use]
    pub fn new(http: Client, base_url: &str, api_key: SecretString) -> Self {
        Self {
            http,
            base_url: base_url.trim_end_matches('/').to_owned(),
            api_key,
            timeout: Duration::from_millis(GATEWAY_REQUEST_TIMEOUT_MS),
        }
    }

    /// With another time-out than [`GATEWAY_REQUEST_TIMEOUT_MS`].
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Opens a connection, so that the first charge does not pay for the handshake. What goes wrong shows at that
    /// charge.
    pub async fn warm(&self) {
        let timeout = Duration::from_millis(WARM_TIMEOUT_MS);
        let request = self.http.get(&self.base_url).timeout(timeout);
        if let Err(error) = request.send().await {
            tracing::debug!(error = %error.without_url(), "the gateway could not be reached yet");
        }
    }

    async fn post(&self, path: &str, key: &str, form: &[(&str, &str)]) -> Result<Answer, GatewayError> {
        let url = format!("{}{path}", self.base_url);
        let request = self.http.post(url).form(form);
        self.send(request.header("Idempotency-Key", key)).await
    }

    /// Where a payment method stands. What the gateway called it is no path: it may hold nothing that changes one.
    fn method_path(token: &str) -> Result<String, GatewayError> {
        if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            Ok(format!("/v1/payment_methods/{token}"))
        } else {
            Err(GatewayError::Rejected { message: "the token is none".to_owned() })
        }
    }

    /// The customer that a payment method is attached to now, if there are both.
    async fn customer_of(&self, token: &str) -> Result<Option<String>, GatewayError> {
        let url = format!("{}{}", self.base_url, Self::method_path(token)?);
        let answer = self.send(self.http.get(url)).await?;
        if answer.is_absent() {
            return Ok(None);
        }
        Ok(answer.read::<PaymentMethod>()?.customer)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, GatewayError> {
        let request = request
            .bearer_auth(self.api_key.expose_secret())
            .header("Stripe-Version", STRIPE_VERSION)
            .timeout(self.timeout);
        let response = request.send().await.map_err(unanswered)?;
        read_answer(response).await
    }

    /// Goes through a listing until `judge` has found what it looks for; `None` only if it saw everything.
    async fn search<T, F, R>(&self, path: &str, filter: (&str, &str), mut judge: F) -> Result<Option<R>, GatewayError>
    where
        T: Listed + DeserializeOwned + Send,
        F: FnMut(T) -> Result<Option<R>, GatewayError> + Send,
    {
        let url = format!("{}{path}", self.base_url);
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut query = vec![("limit", PAGE_ITEMS_MAX), filter];
            query.extend(cursor.as_deref().map(|id| ("starting_after", id)));
            let page: Page<T> = self.send(self.http.get(&url).query(&query)).await?.read()?;
            cursor = page.data.last().map(|item| item.id().to_owned());
            for item in page.data {
                if let Some(found) = judge(item)? {
                    return Ok(Some(found));
                }
            }
            if !page.has_more {
                return Ok(None);
            }
            if cursor.is_none() {
                return Err(GatewayError::Unknown { message: "an empty page, and there are more".to_owned() });
            }
        }
        Err(GatewayError::Unknown { message: format!("not found in the latest {PAGES_MAX} pages, and there are more") })
    }
}

#[async_trait]
impl Gateway for StripeGateway {
    async fn tokenise(&self, card: &Card, key: &str) -> Result<CardToken, GatewayError> {
        let month = card.expiry().month.to_string();
        let year = card.expiry().year.to_string();
        let form = [
            ("type", "card"),
            ("card[number]", card.number().expose()),
            ("card[exp_month]", &month),
            ("card[exp_year]", &year),
            ("card[cvc]", card.cvv().expose()),
            ("billing_details[name]", card.holder_name()),
        ];
        let answer = self.post("/v1/payment_methods", key, &form).await?;
        let created: PaymentMethod = answer.read()?;
        Ok(created.into_token())
    }

    async fn attach(&self, token: &str, reference: &str, key: &str) -> Result<String, GatewayError> {
        let form = [("payment_method", token), ("metadata[payment_method_id]", reference)];
        let customer: Created = self.post("/v1/customers", key, &form).await?.read()?;
        Ok(customer.id)
    }

    async fn detach(&self, token: &str, key: &str) -> Result<(), GatewayError> {
        let path = format!("{}/detach", Self::method_path(token)?);
        let answer = self.post(&path, key, &[]).await?;
        // Stripe has no code for one that is detached already.
        if answer.is_invalid_request() && self.customer_of(token).await?.is_none() {
            return Ok(());
        }
        answer.read::<PaymentMethod>().map(|_| ())
    }

    async fn charge(&self, charge: &ChargeRequest<'_>) -> Result<Charge, GatewayError> {
        let amount = charge.amount.to_string();
        let currency = charge.currency.to_ascii_lowercase();
        let mut form = vec![
            ("amount", amount.as_str()),
            ("currency", &currency),
            ("payment_method", charge.token),
            // Without it Stripe offers methods that redirect the customer, and asks for an address to return to.
            ("payment_method_types[]", "card"),
            ("confirm", "true"),
            ("metadata[payment_id]", charge.payment_id),
        ];
        form.extend(charge.description.map(|text| ("description", text)));
        if let Some(customer) = charge.customer {
            // Nobody is there who could authenticate: the gateway may ask the issuer for an exemption.
            form.extend([("customer", customer), ("off_session", "true")]);
        }
        let answer = self.post("/v1/payment_intents", charge.key, &form).await?;
        // Stripe has no code for a card that was detached, and its text may change: so it is asked.
        if answer.is_invalid_request()
            && let Some(customer) = charge.customer
            && self.customer_of(charge.token).await?.as_deref() != Some(customer)
        {
            return Err(deleted());
        }
        answer.read::<Intent>()?.outcome()
    }

    async fn find_charge(&self, payment_id: &str, created_after: i64) -> Result<Option<Charge>, GatewayError> {
        let since = created_after.saturating_sub(CLOCK_SKEW_S).max(0).to_string();
        let charge_of = |intent: Intent| match intent.is_for(payment_id).then(|| intent.outcome()) {
            Some(Ok(charge)) => Ok(Some(charge)),
            Some(Err(unknown @ GatewayError::Unknown { .. })) => Err(unknown),
            // Another payment's, or an attempt that took no money.
            Some(Err(_)) | None => Ok(None),
        };
        self.search("/v1/payment_intents", ("created[gte]", &since), charge_of).await
    }

    async fn refund(&self, refund: &RefundRequest<'_>) -> Result<String, GatewayError> {
        let amount = refund.amount.to_string();
        let form = [
            ("payment_intent", refund.reference),
            ("amount", amount.as_str()),
            ("metadata[refund_id]", refund.refund_id),
        ];
        let answer = self.post("/v1/refunds", refund.key, &form).await?;
        answer.read::<Refund>()?.outcome()
    }

    async fn find_refund(&self, reference: &str, refund_id: &str) -> Result<Option<String>, GatewayError> {
        let mut failed = None;
        let made_of = |refund: Refund| match refund.is_for(refund_id).then(|| refund.outcome()) {
            Some(Ok(id)) => Ok(Some(id)),
            // One that counts may still come: a later attempt under a key that the gateway had forgotten.
            Some(Err(declined @ GatewayError::Declined { .. })) => {
                failed = Some(declined);
                Ok(None)
            }
            Some(Err(unknown)) => Err(unknown),
            None => Ok(None),
        };
        match self.search("/v1/refunds", ("payment_intent", reference), made_of).await? {
            Some(id) => Ok(Some(id)),
            None => failed.map_or(Ok(None), Err),
        }
    }
}

fn deleted() -> GatewayError {
    GatewayError::Declined {
        code: CODE_PAYMENT_METHOD_DELETED.to_owned(),
        message: "The payment method was deleted before it was charged.".to_owned(),
        reference: None,
    }
}

/// What a request that got no answer means.
///
/// `is_connect` speaks of names, TCP, TLS and their time-out only: the request is written after that, and what breaks
/// then, or runs into the time-out of the whole request, has another kind.
fn unanswered(error: reqwest::Error) -> GatewayError {
    let message = |text: &str| text.to_owned();
    if error.is_builder() {
        let message = message("the request cannot be built: is the base URL or the key malformed?");
        GatewayError::Rejected { message }
    } else if error.is_redirect() {
        GatewayError::Rejected { message: message("the gateway redirects") }
    } else if error.is_connect() {
        GatewayError::Unreachable { message: message("no connection") }
    } else if error.is_timeout() {
        GatewayError::Unknown { message: message("no answer in time") }
    } else {
        GatewayError::Unknown { message: message("the connection broke before the answer") }
    }
}

/// Reads the answer, up to its limit.
async fn read_answer(mut response: reqwest::Response) -> Result<Answer, GatewayError> {
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name)?.to_str().ok();
    let request_id = header("request-id").map(str::to_owned);
    let announced = header(CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
    if announced.is_some_and(|length: usize| length > RESPONSE_BYTES_MAX) {
        return Err(too_large(status));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|_| GatewayError::Unknown { message: format!("status {status}, and the answer broke off") })?
    {
        if body.len() + chunk.len() > RESPONSE_BYTES_MAX {
            return Err(too_large(status));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, request_id, body })
}

fn too_large(status: u16) -> GatewayError {
    GatewayError::Unknown { message: format!("status {status}, and more than {RESPONSE_BYTES_MAX} bytes") }
}
