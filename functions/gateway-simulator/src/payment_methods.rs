//! `/v1/payment_methods`: cards. <https://docs.stripe.com/api/payment_methods>

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use florin_domain::{
    card::{Card, CardInput, Mode},
    field::FieldError,
    time::Timestamp,
};
use florin_store::gateway::{Kind, Record};
use hmac::{Hmac, KeyInit, Mac};
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{
    Shared, Simulator,
    failure::Failure,
    id,
    idempotency::Effect,
    list::{self, Listing},
    params::{Id, Params, Post},
};

const PREFIX: &str = "pm_";
const LISTING: Listing<'static> = Listing { kind: Kind::PaymentMethod, prefix: PREFIX, url: "/v1/payment_methods" };

/// Keeps fingerprints apart from whatever else may be derived from the same key.
const FINGERPRINT_PURPOSE: &[u8] = b"card-fingerprint/1\0";

/// A card as it is stored: nothing of it can be charged elsewhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PaymentMethod {
    id: String,
    created: i64,
    brand: String,
    pub(crate) last4: String,
    exp_month: i8,
    exp_year: i16,
    name: Option<String>,
    #[serde(default)]
    fingerprint: String,
    #[serde(default)]
    customer: Option<String>,
    /// It was charged without a customer, or detached from one: it may never be used again.
    #[serde(default)]
    is_spent: bool,
    #[serde(skip)]
    version: i64,
}

impl PaymentMethod {
    fn show(&self) -> Value {
        json!({
            "id": self.id, "object": "payment_method", "type": "card", "created": self.created,
            "livemode": false, "customer": self.customer, "metadata": {},
            "billing_details": { "name": self.name },
            "card": {
                "brand": self.brand, "last4": self.last4, "funding": "credit",
                "exp_month": self.exp_month, "exp_year": self.exp_year, "fingerprint": self.fingerprint,
            },
        })
    }

    fn parse(record: &Record) -> Result<Self, Failure> {
        let method: Self = serde_json::from_str(&record.body).map_err(|_| Failure::broken())?;
        Ok(Self { version: record.version, ..method })
    }

    /// What to write so that this is the next version.
    pub(crate) fn next_record(&self) -> Result<Record, Failure> {
        let body = serde_json::to_string(self).map_err(|_| Failure::broken())?;
        Ok(Record { kind: Kind::PaymentMethod, id: self.id.clone(), version: self.version.saturating_add(1), body })
    }

    /// An effect that leaves it as it is now.
    fn stored(&self) -> Result<Effect, Failure> {
        Ok(Effect {
            records: vec![self.next_record()?],
            status: StatusCode::OK,
            body: self.show(),
            hold: Duration::ZERO,
        })
    }

    /// Whether it may be charged for this customer. One without a customer may be once: it comes back as it is then
    /// to be stored.
    pub(crate) fn charged_for(self, customer: Option<&str>) -> Result<Option<Self>, Failure> {
        match (self.customer.as_deref(), customer) {
            (Some(attached), Some(given)) if attached == given => Ok(None),
            (Some(_), _) => Err(Failure::invalid("The PaymentMethod belongs to a Customer: name that Customer.")),
            (None, _) if self.is_spent => Err(spent()),
            (None, Some(_)) => {
                let message = "The Customer does not have this PaymentMethod: it must be attached to the Customer.";
                Err(Failure::invalid(message))
            }
            (None, None) => Ok(Some(Self { is_spent: true, ..self })),
        }
    }
}

fn spent() -> Failure {
    let message = "The provided PaymentMethod was previously used without a Customer, or was detached from a Customer. \
                   It may not be used again.";
    Failure::invalid(message)
}

impl Simulator {
    /// The payment method, if there is one.
    pub(crate) async fn payment_method(&self, id: &str) -> Result<Option<PaymentMethod>, Failure> {
        if !id::is_plausible(id, PREFIX) {
            return Ok(None);
        }
        let record = self.table.get(Kind::PaymentMethod, id).await?;
        record.as_ref().map(PaymentMethod::parse).transpose()
    }

    /// The payment method, attached to the customer, to be stored so.
    pub(crate) async fn attached(&self, id: &str, customer: &str) -> Result<PaymentMethod, Failure> {
        let no_such = || Failure::parameter("payment_method", "resource_missing", "No such PaymentMethod.");
        let method = self.payment_method(id).await?.ok_or_else(no_such)?;
        match method.customer.as_deref() {
            _ if method.is_spent => Err(spent()),
            Some(other) if other != customer => {
                Err(Failure::invalid("The PaymentMethod is attached to another Customer already."))
            }
            _ => Ok(PaymentMethod { customer: Some(customer.to_owned()), ..method }),
        }
    }

    /// The same for the same number, and nothing for whoever does not have the key: no table has it.
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    fn fingerprint(&self, card: &Card) -> String {
        let key = self.api_key.expose_secret().as_bytes();
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
        mac.update(FINGERPRINT_PURPOSE);
        mac.update(card.number().expose().as_bytes());
        id::digits(&mac.finalize().into_bytes())
    }
}

/// Creates one.
pub(crate) async fn create(State(simulator): Shared, post: Post) -> Result<Response, Failure> {
    let params = &post.params;
    params.only(&[
        "type",
        "card[number]",
        "card[exp_month]",
        "card[exp_year]",
        "card[cvc]",
        "billing_details[name]",
    ])?;
    if params.required("type")? != "card" {
        return Err(Failure::parameter("type", "parameter_invalid", "Only cards are supported here."));
    }
    simulator
        .once(&post, async || {
            let now_ms = simulator.now_ms();
            simulator.read_card(params, now_ms)?.stored()
        })
        .await
}

/// Attaches one to a customer.
pub(crate) async fn attach(State(simulator): Shared, Id(id): Id, post: Post) -> Result<Response, Failure> {
    let params = &post.params;
    params.only(&["customer"])?;
    let customer = params.required("customer")?;
    simulator
        .once(&post, async || {
            simulator.must_have_customer(customer).await?;
            simulator.attached(&id, customer).await?.stored()
        })
        .await
}

/// Detaches one from its customer, for good.
pub(crate) async fn detach(State(simulator): Shared, Id(id): Id, post: Post) -> Result<Response, Failure> {
    post.params.only(&[])?;
    simulator
        .once(&post, async || {
            let method = simulator.payment_method(&id).await?.ok_or_else(|| Failure::not_found("PaymentMethod"))?;
            if method.customer.is_none() {
                let message =
                    "The payment method you provided is not attached to a customer so detachment is impossible.";
                return Err(Failure::invalid(message));
            }
            PaymentMethod { customer: None, is_spent: true, ..method }.stored()
        })
        .await
}

/// Shows one.
pub(crate) async fn retrieve(State(simulator): Shared, Id(id): Id) -> Result<Response, Failure> {
    let method = simulator.payment_method(&id).await?;
    let method = method.ok_or_else(|| Failure::not_found("PaymentMethod"))?;
    Ok(Json(method.show()).into_response())
}

/// Lists them, newest first.
pub(crate) async fn list(State(simulator): Shared, params: Params) -> Result<Response, Failure> {
    params.only(list::PARAMETERS)?;
    simulator.page(&LISTING, &params, |record| PaymentMethod::parse(record).ok().map(|method| method.show())).await
}

impl Simulator {
    /// Reads a card by the rules of Florin's own domain. Test cards have no check digit.
    fn read_card(&self, params: &Params, now_ms: i64) -> Result<PaymentMethod, Failure> {
        let month = params.integer("card[exp_month]", 1, 12)?;
        let year = params.integer("card[exp_year]", 0, 2099)?;
        params.required("card[number]")?;
        let (Some(month), Some(year)) = (month, year) else {
            return Err(Failure::parameter("card", "parameter_missing", "Missing the card's expiry."));
        };
        let name = params.text("billing_details[name]");
        let input = CardInput {
            number: params.required("card[number]")?.to_owned(),
            expiry: format!("{month:02}/{:02}", year % 100),
            cvv: params.required("card[cvc]")?.to_owned(),
            holder_name: name.unwrap_or("-").to_owned(),
        };
        if !(0..=99).contains(&year) && !(2000..=2099).contains(&year) {
            return Err(Failure::card(
                "invalid_expiry_year",
                "card[exp_year]",
                "Your card's expiration year is invalid.",
            ));
        }
        let now = Timestamp::from_ms(now_ms);
        let card = Card::check(&input, "", Mode::Test, now).map_err(|errors| refusal(&errors))?;
        Ok(PaymentMethod {
            id: id::at(PREFIX, now_ms),
            created: now.seconds(),
            brand: card.brand().as_str().to_owned(),
            last4: card.last4().to_owned(),
            exp_month: card.expiry().month,
            exp_year: card.expiry().year,
            name: name.map(str::to_owned),
            fingerprint: self.fingerprint(&card),
            customer: None,
            is_spent: false,
            version: 0,
        })
    }
}

/// The first rule that the card breaks, in Stripe's words.
fn refusal(errors: &[FieldError]) -> Failure {
    match errors.first().map(|error| error.pointer.as_str()) {
        Some("/number") => Failure::card("incorrect_number", "card[number]", "Your card number is incorrect."),
        Some("/expiry") => {
            Failure::card("invalid_expiry_year", "card[exp_year]", "Your card's expiration year is invalid.")
        }
        Some("/cvv") => Failure::card("invalid_cvc", "card[cvc]", "Your card's security code is invalid."),
        _ => Failure::parameter("billing_details[name]", "parameter_invalid", "The name is not valid."),
    }
}
