//! `/v1/payment_methods`: cards. <https://docs.stripe.com/api/payment_methods>

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
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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
}

impl PaymentMethod {
    fn show(&self) -> Value {
        json!({
            "id": self.id, "object": "payment_method", "type": "card", "created": self.created,
            "livemode": false, "customer": null, "metadata": {},
            "billing_details": { "name": self.name },
            "card": {
                "brand": self.brand, "last4": self.last4, "funding": "credit",
                "exp_month": self.exp_month, "exp_year": self.exp_year,
            },
        })
    }
}

impl Simulator {
    /// The payment method, if there is one.
    pub(crate) async fn payment_method(&self, id: &str) -> Result<Option<PaymentMethod>, Failure> {
        if !id::is_plausible(id, PREFIX) {
            return Ok(None);
        }
        let record = self.table.get(Kind::PaymentMethod, id).await?;
        record.map(|record| serde_json::from_str(&record.body).map_err(|_| Failure::broken())).transpose()
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
            let method = read_card(params, now_ms)?;
            let body = serde_json::to_string(&method).map_err(|_| Failure::broken())?;
            let record = Record { kind: Kind::PaymentMethod, id: method.id.clone(), version: 1, body };
            Ok(Effect {
                records: vec![record],
                status: StatusCode::OK,
                body: method.show(),
                hold: std::time::Duration::ZERO,
            })
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
    let show = |record: &Record| serde_json::from_str::<PaymentMethod>(&record.body).ok().map(|method| method.show());
    simulator.page(&LISTING, &params, show).await
}

/// Reads a card by the rules of Florin's own domain. Test cards have no check digit.
fn read_card(params: &Params, now_ms: i64) -> Result<PaymentMethod, Failure> {
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
        return Err(Failure::card("invalid_expiry_year", "card[exp_year]", "Your card's expiration year is invalid."));
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
    })
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
