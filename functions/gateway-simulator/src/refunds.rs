//! `/v1/refunds`: money given back. <https://docs.stripe.com/api/refunds>

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
    card::{RefundVerdict, refund_verdict},
    failure::Failure,
    id,
    idempotency::Effect,
    list::{self, Listing},
    params::{Id, Params, Post},
    payment_intents::{self, Status, charge_id},
};

const PREFIX: &str = "re_";
const LISTING: Listing<'static> = Listing { kind: Kind::Refund, prefix: PREFIX, url: "/v1/refunds" };

/// How long a refund that takes a while is pending, in seconds.
const PENDING_S: i64 = 5;

/// What becomes of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fate {
    #[default]
    Succeeds,
    SucceedsLate,
    Failed,
}

/// As it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Refund {
    id: String,
    created: i64,
    amount: i64,
    currency: String,
    payment_intent: String,
    reason: Option<String>,
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    fate: Fate,
}

impl Refund {
    fn show(&self, now_ms: i64) -> Value {
        let is_early = now_ms / 1_000 < self.created.saturating_add(PENDING_S);
        let (status, failure_reason) = match self.fate {
            Fate::SucceedsLate if is_early => ("pending", None),
            Fate::Succeeds | Fate::SucceedsLate => ("succeeded", None),
            Fate::Failed => ("failed", Some("expired_or_canceled_card")),
        };
        json!({
            "id": self.id, "object": "refund", "created": self.created, "amount": self.amount,
            "currency": self.currency, "payment_intent": self.payment_intent,
            "charge": charge_id(&self.payment_intent), "reason": self.reason, "metadata": self.metadata,
            "status": status, "failure_reason": failure_reason,
        })
    }

    fn parse(record: &Record) -> Result<Self, Failure> {
        serde_json::from_str(&record.body).map_err(|_| Failure::broken())
    }
}

/// The payment intent that the parameters name, directly or by its charge.
fn intent_of(params: &Params) -> Result<Option<String>, Failure> {
    let by_charge = params.text("charge").map(|charge| charge.replacen("ch_", payment_intents::PREFIX, 1));
    match (params.text("payment_intent"), by_charge) {
        (Some(_), Some(_)) => Err(Failure::invalid("Name a charge or a payment_intent, not both.")),
        (intent, charge) => Ok(intent.map(str::to_owned).or(charge)),
    }
}

/// Gives money back: `amount`, or all that is left.
pub(crate) async fn create(State(simulator): Shared, post: Post) -> Result<Response, Failure> {
    let params = &post.params;
    params.only(&["payment_intent", "charge", "amount", "reason", "metadata["])?;
    let asked = params.integer("amount", 1, i64::MAX)?;
    let metadata = params.metadata()?;
    let reason = match params.text("reason") {
        None | Some("duplicate" | "fraudulent" | "requested_by_customer") => params.text("reason"),
        Some(_) => return Err(Failure::parameter("reason", "parameter_invalid", "Not a reason of a refund.")),
    };
    let intent_id = intent_of(params)?.ok_or_else(|| {
        Failure::parameter("payment_intent", "parameter_missing", "Name a payment_intent or a charge.")
    })?;
    simulator
        .once(&post, async || {
            let (intent, mut refund, hold) = simulator.refunded(&intent_id, asked).await?;
            refund.reason = reason.map(str::to_owned);
            refund.metadata.clone_from(&metadata);
            let body = serde_json::to_string(&refund).map_err(|_| Failure::broken())?;
            let record = Record { kind: Kind::Refund, id: refund.id.clone(), version: 1, body };
            let records = vec![record, intent.next_record()?];
            Ok(Effect { records, status: StatusCode::OK, body: refund.show(simulator.now_ms()), hold })
        })
        .await
}

impl Simulator {
    /// The payment intent after, the refund, and how long its answer is held back.
    ///
    /// The sum of a charge's refunds never exceeds it: the counter is in the payment intent, whose next version is
    /// written with the refund or not at all.
    async fn refunded(
        &self,
        intent_id: &str,
        asked: Option<i64>,
    ) -> Result<(payment_intents::Intent, Refund, Duration), Failure> {
        let mut intent = self
            .intent(intent_id)
            .await?
            .ok_or_else(|| Failure::parameter("payment_intent", "resource_missing", "No such payment_intent."))?;
        if intent.status != Status::Succeeded {
            return Err(Failure::invalid("This PaymentIntent does not have a successful charge to refund."));
        }
        let left = intent.amount.saturating_sub(intent.amount_refunded);
        if left <= 0 {
            return Err(Failure::refused("charge_already_refunded", "Charge has already been refunded."));
        }
        let amount = asked.unwrap_or(left);
        if amount > left {
            return Err(Failure::refund_too_large(amount, left));
        }
        let method = self.payment_method(intent.payment_method.as_deref().unwrap_or_default()).await?;
        let (fate, hold) = match refund_verdict(method.as_ref().map_or("", |method| &method.last4)) {
            RefundVerdict::Made => (Fate::Succeeds, Duration::ZERO),
            RefundVerdict::MadeTooLate => (Fate::Succeeds, self.simulated_timeout),
            RefundVerdict::Pending => (Fate::SucceedsLate, Duration::ZERO),
            RefundVerdict::Failed => (Fate::Failed, Duration::ZERO),
        };
        // What the issuer does not take stays with the merchant, and can be given back again.
        if fate != Fate::Failed {
            intent.amount_refunded = intent.amount_refunded.saturating_add(amount);
        }
        let now_ms = self.now_ms();
        let refund = Refund {
            id: id::at(PREFIX, now_ms),
            created: now_ms / 1_000,
            amount,
            currency: intent.currency.clone(),
            payment_intent: intent.id.clone(),
            reason: None,
            metadata: BTreeMap::new(),
            fate,
        };
        Ok((intent, refund, hold))
    }
}

/// Shows one.
pub(crate) async fn retrieve(State(simulator): Shared, Id(id): Id) -> Result<Response, Failure> {
    let record = match id::is_plausible(&id, PREFIX) {
        true => simulator.table.get(Kind::Refund, &id).await?,
        false => None,
    };
    let record = record.ok_or_else(|| Failure::not_found("refund"))?;
    Ok(Json(Refund::parse(&record)?.show(simulator.now_ms())).into_response())
}

/// Lists them, newest first, all or those of one charge.
pub(crate) async fn list(State(simulator): Shared, params: Params) -> Result<Response, Failure> {
    let known: Vec<_> = list::PARAMETERS.iter().copied().chain(["payment_intent", "charge"]).collect();
    params.only(&known)?;
    let wanted = intent_of(&params)?;
    let now_ms = simulator.now_ms();
    let show = |record: &Record| {
        let refund = Refund::parse(record).ok()?;
        let is_wanted = wanted.as_ref().is_none_or(|intent| *intent == refund.payment_intent);
        is_wanted.then(|| refund.show(now_ms))
    };
    simulator.page(&LISTING, &params, show).await
}
