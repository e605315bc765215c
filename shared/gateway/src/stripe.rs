//! The adapter for Stripe's HTTP API, and for anything else that speaks it.

use std::time::Duration;

use async_trait::async_trait;
use florin_domain::card::Card;
use reqwest::{Client, RequestBuilder, header::CONTENT_LENGTH};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::answer::{Answer, Intent, IntentPage};
use crate::{CardToken, Charge, ChargeRequest, Gateway, GatewayError};

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
const PAGE_INTENTS_MAX: &str = "100";

/// How many pages [`Gateway::find_charge`] reads before it says that it does not know.
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

    async fn send(&self, request: RequestBuilder) -> Result<Answer, GatewayError> {
        let request = request
            .bearer_auth(self.api_key.expose_secret())
            .header("Stripe-Version", STRIPE_VERSION)
            .timeout(self.timeout);
        let response = request.send().await.map_err(not_sent)?;
        read_answer(response).await
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
        let created: Created = answer.read()?;
        Ok(CardToken { token: created.id })
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
        let answer = self.post("/v1/payment_intents", charge.key, &form).await?;
        answer.read::<Intent>()?.outcome()
    }

    async fn find_charge(&self, payment_id: &str, created_after: i64) -> Result<Option<Charge>, GatewayError> {
        let since = created_after.saturating_sub(CLOCK_SKEW_S).max(0).to_string();
        let url = format!("{}/v1/payment_intents", self.base_url);
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut query = vec![("limit", PAGE_INTENTS_MAX), ("created[gte]", since.as_str())];
            query.extend(cursor.as_deref().map(|id| ("starting_after", id)));
            let answer = self.send(self.http.get(&url).query(&query)).await?;
            let page: IntentPage = answer.read()?;
            cursor = page.data.last().map(|intent| intent.id.clone());
            let has_more = page.has_more && cursor.is_some();
            for intent in page.data.into_iter().filter(|i| i.is_for(payment_id)) {
                match intent.outcome() {
                    Ok(charge) => return Ok(Some(charge)),
                    Err(unknown @ GatewayError::Unknown { .. }) => return Err(unknown),
                    // An attempt that took no money.
                    Err(_) => {}
                }
            }
            if !has_more {
                return Ok(None);
            }
        }
        Err(GatewayError::Unknown { message: format!("not found in the latest {PAGES_MAX} pages, and there are more") })
    }

    async fn refund(&self, reference: &str, amount: i64, key: &str) -> Result<String, GatewayError> {
        let amount = amount.to_string();
        let form = [("payment_intent", reference), ("amount", amount.as_str())];
        let answer = self.post("/v1/refunds", key, &form).await?;
        let created: Created = answer.read()?;
        Ok(created.id)
    }
}

/// What a request that got no answer means.
fn not_sent(error: reqwest::Error) -> GatewayError {
    let is_connect = error.is_connect();
    let is_timeout = error.is_timeout();
    if error.is_builder() {
        return GatewayError::Rejected {
            message: "the request cannot be built: is the base URL or the key malformed?".to_owned(),
        };
    }
    if error.is_redirect() {
        return GatewayError::Rejected { message: "the gateway redirects".to_owned() };
    }
    if is_connect {
        return GatewayError::Unavailable { message: "no connection".to_owned() };
    }
    GatewayError::Unknown {
        message: if is_timeout {
            "no answer in time".to_owned()
        } else {
            "the connection broke before the answer".to_owned()
        },
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
