//! `/v1/payment_intents`: charges. <https://docs.stripe.com/api/payment_intents>

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use florin_store::gateway::{Kind, Record};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Shared, Simulator,
    card::{Decline, Verdict, verdict},
    failure::Failure,
    id,
    idempotency::Effect,
    list::{self, Listing},
    params::{Id, Params, Post},
};

pub(crate) const PREFIX: &str = "pi_";
const LISTING: Listing<'static> = Listing { kind: Kind::PaymentIntent, prefix: PREFIX, url: "/v1/payment_intents" };

/// The largest amount in minor units, as in Florin.
const AMOUNT_MAX: i64 = florin_domain::money::AMOUNT_MAX_MINOR_UNITS;

/// Stripe's limit of a description, in characters.
const DESCRIPTION_CHARACTERS_MAX: usize = 1_000;

/// Where a payment intent is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    RequiresPaymentMethod,
    RequiresConfirmation,
    Succeeded,
    Canceled,
}

/// As it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) id: String,
    created: i64,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) status: Status,
    pub(crate) payment_method: Option<String>,
    #[serde(default)]
    customer: Option<String>,
    description: Option<String>,
    metadata: BTreeMap<String, String>,
    /// Counts up to `amount` with every refund.
    pub(crate) amount_refunded: i64,
    latest_charge: Option<String>,
    last_payment_error: Option<Value>,
    canceled_at: Option<i64>,
    #[serde(skip)]
    pub(crate) version: i64,
}

impl Intent {
    fn show(&self) -> Value {
        let received = if self.status == Status::Succeeded { self.amount } else { 0 };
        json!({
            "id": self.id, "object": "payment_intent", "created": self.created, "livemode": false,
            "amount": self.amount, "amount_capturable": 0, "amount_received": received, "currency": self.currency,
            "status": self.status, "capture_method": "automatic_async", "confirmation_method": "automatic",
            "payment_method": self.payment_method, "payment_method_types": ["card"],
            "latest_charge": self.latest_charge, "last_payment_error": self.last_payment_error,
            "description": self.description, "metadata": self.metadata, "customer": self.customer, "next_action": null,
            "canceled_at": self.canceled_at,
        })
    }

    fn parse(record: &Record) -> Result<Self, Failure> {
        let intent: Self = serde_json::from_str(&record.body).map_err(|_| Failure::broken())?;
        Ok(Self { version: record.version, ..intent })
    }

    /// What to write so that this is the next version.
    pub(crate) fn next_record(&self) -> Result<Record, Failure> {
        let body = serde_json::to_string(self).map_err(|_| Failure::broken())?;
        Ok(Record { kind: Kind::PaymentIntent, id: self.id.clone(), version: self.version.saturating_add(1), body })
    }

    /// An effect that leaves it as it is now.
    fn stored(self, status: StatusCode, body: Value, hold: Duration) -> Result<Effect, Failure> {
        Ok(Effect { records: vec![self.next_record()?], status, body, hold })
    }

    fn unexpected_state(&self, verb: &str) -> Failure {
        let status = serde_json::to_value(self.status).unwrap_or_default();
        let status = status.as_str().unwrap_or_default().to_owned();
        let message = format!("You cannot {verb} this PaymentIntent because it has a status of {status}.");
        Failure::refused("payment_intent_unexpected_state", &message)
    }
}

impl Simulator {
    /// The payment intent, if there is one.
    pub(crate) async fn intent(&self, id: &str) -> Result<Option<Intent>, Failure> {
        if !id::is_plausible(id, PREFIX) {
            return Ok(None);
        }
        let record = self.table.get(Kind::PaymentIntent, id).await?;
        record.as_ref().map(Intent::parse).transpose()
    }

    /// Charges the card, or has it declined.
    async fn confirmed(&self, intent: Intent) -> Result<Effect, Failure> {
        let Some(method_id) = intent.payment_method.clone() else {
            return Err(Failure::refused(
                "payment_intent_unexpected_state",
                "You cannot confirm this PaymentIntent because it's missing a payment method.",
            ));
        };
        let method = self.payment_method(&method_id).await?.ok_or_else(no_such_method)?;
        let verdict = verdict(&method.last4);
        // A declined attempt uses it up, too.
        let spent = method.charged_for(intent.customer.as_deref())?;
        let mut effect = match verdict {
            Verdict::Approved => approved(intent, Duration::ZERO)?,
            Verdict::ApprovedTooLate => approved(intent, self.simulated_timeout)?,
            Verdict::Declined(decline) => declined(intent, decline)?,
            Verdict::Unavailable => return Err(Failure::unavailable()),
        };
        if let Some(spent) = spent {
            effect.records.push(spent.next_record()?);
        }
        Ok(effect)
    }
}

fn approved(mut intent: Intent, hold: Duration) -> Result<Effect, Failure> {
    intent.status = Status::Succeeded;
    intent.latest_charge = Some(charge_id(&intent.id));
    intent.last_payment_error = None;
    let body = intent.show();
    intent.stored(StatusCode::OK, body, hold)
}

/// The charge of a payment intent; there is one at most that moved money.
pub(crate) fn charge_id(intent_id: &str) -> String {
    intent_id.replacen(PREFIX, "ch_", 1)
}

fn no_such_method() -> Failure {
    Failure::parameter("payment_method", "resource_missing", "No such PaymentMethod.")
}

fn declined(mut intent: Intent, decline: Decline) -> Result<Effect, Failure> {
    let charge = charge_id(&intent.id);
    let mut error = json!({
        "type": "card_error", "code": decline.code, "message": decline.message,
        "charge": charge, "payment_method": { "id": intent.payment_method, "object": "payment_method" },
    });
    if let (Some(code), Some(error)) = (decline.decline_code, error.as_object_mut()) {
        error.insert("decline_code".to_owned(), json!(code));
    }
    intent.status = Status::RequiresPaymentMethod;
    intent.payment_method = None;
    intent.latest_charge = Some(charge);
    intent.last_payment_error = Some(error.clone());
    if let Some(error) = error.as_object_mut() {
        error.insert("payment_intent".to_owned(), intent.show());
    }
    intent.stored(StatusCode::PAYMENT_REQUIRED, json!({ "error": error }), Duration::ZERO)
}

/// Creates one, and with `confirm=true` charges it.
pub(crate) async fn create(State(simulator): Shared, post: Post) -> Result<Response, Failure> {
    let params = &post.params;
    params.only(&[
        "amount",
        "currency",
        "confirm",
        "payment_method",
        "payment_method_types[",
        "description",
        "metadata[",
        "customer",
        "off_session",
    ])?;
    let confirm = params.flag("confirm")?;
    let blank = read(params)?;
    if let Some(method) = &blank.payment_method
        && simulator.payment_method(method).await?.is_none()
    {
        return Err(no_such_method());
    }
    if let Some(customer) = &blank.customer {
        simulator.must_have_customer(customer).await?;
    }
    simulator
        .once(&post, async || {
            let now_ms = simulator.now_ms();
            let id = id::at(PREFIX, now_ms);
            let intent = Intent { id, created: now_ms / 1_000, ..blank.clone() };
            if confirm {
                return simulator.confirmed(intent).await;
            }
            let body = intent.show();
            intent.stored(StatusCode::OK, body, Duration::ZERO)
        })
        .await
}

/// What the parameters say, without an id.
fn read(params: &Params) -> Result<Intent, Failure> {
    params.required("amount")?;
    let amount = params.integer("amount", 1, AMOUNT_MAX)?.unwrap_or_default();
    let currency = params.required("currency")?.to_ascii_lowercase();
    if !(currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_lowercase())) {
        return Err(Failure::parameter("currency", "parameter_invalid", "Invalid currency."));
    }
    let payment_method = params.text("payment_method").map(str::to_owned);
    let status = match payment_method {
        Some(_) => Status::RequiresConfirmation,
        None => Status::RequiresPaymentMethod,
    };
    Ok(Intent {
        id: String::new(),
        created: 0,
        amount,
        currency,
        status,
        payment_method,
        customer: params.text("customer").map(str::to_owned),
        description: params.bounded("description", DESCRIPTION_CHARACTERS_MAX)?.map(str::to_owned),
        metadata: params.metadata()?,
        amount_refunded: 0,
        latest_charge: None,
        last_payment_error: None,
        canceled_at: None,
        version: 0,
    })
}

/// Charges one that was created without, or whose card was declined.
pub(crate) async fn confirm(State(simulator): Shared, Id(id): Id, post: Post) -> Result<Response, Failure> {
    let params = &post.params;
    params.only(&["payment_method", "off_session"])?;
    simulator
        .once(&post, async || {
            let mut intent = simulator.intent(&id).await?.ok_or_else(|| Failure::not_found("payment_intent"))?;
            if !matches!(intent.status, Status::RequiresConfirmation | Status::RequiresPaymentMethod) {
                return Err(intent.unexpected_state("confirm"));
            }
            if let Some(method) = params.text("payment_method") {
                intent.payment_method = Some(method.to_owned());
            }
            simulator.confirmed(intent).await
        })
        .await
}

/// Cancels one that was not charged.
pub(crate) async fn cancel(State(simulator): Shared, Id(id): Id, post: Post) -> Result<Response, Failure> {
    post.params.only(&["cancellation_reason"])?;
    simulator
        .once(&post, async || {
            let mut intent = simulator.intent(&id).await?.ok_or_else(|| Failure::not_found("payment_intent"))?;
            if !matches!(intent.status, Status::RequiresConfirmation | Status::RequiresPaymentMethod) {
                return Err(intent.unexpected_state("cancel"));
            }
            intent.status = Status::Canceled;
            intent.canceled_at = Some(simulator.now_ms() / 1_000);
            let body = intent.show();
            intent.stored(StatusCode::OK, body, Duration::ZERO)
        })
        .await
}

/// Shows one.
pub(crate) async fn retrieve(State(simulator): Shared, Id(id): Id) -> Result<Response, Failure> {
    let intent = simulator.intent(&id).await?.ok_or_else(|| Failure::not_found("payment_intent"))?;
    Ok(Json(intent.show()).into_response())
}

/// Lists them, newest first.
pub(crate) async fn list(State(simulator): Shared, params: Params) -> Result<Response, Failure> {
    params.only(list::PARAMETERS)?;
    simulator.page(&LISTING, &params, |record| Intent::parse(record).ok().map(|intent| intent.show())).await
}
