//! From what Stripe answers to what it means for us. Pure, so that the tables can be read and tested alone.

use serde::Deserialize;

use crate::{CardToken, Charge, GatewayError};

/// How much of a message of the gateway goes into our log, in characters.
const MESSAGE_CHARACTERS_MAX: usize = 200;

/// A run of this many digits in a message may be (part of) a card number and is masked.
const DIGITS_SHOWN_MAX: usize = 6;

/// Refusals by Stripe's `decline_code`, or where there is none its `code`, and what a customer reads.
///
/// First match wins. What is not listed is a plain `card_declined`: Stripe asks that reasons such as `stolen_card` are
/// not shown to the person holding the card.
/// `processing_error` is final although it sounds like an outage, because Stripe stores it under the key.
const DECLINES: &[(&str, &str, &str)] = &[
    ("insufficient_funds", "insufficient_funds", "The card has insufficient funds."),
    ("incorrect_number", "invalid_card", INVALID_CARD),
    ("invalid_number", "invalid_card", INVALID_CARD),
    ("invalid_account", "invalid_card", INVALID_CARD),
    ("new_account_information_available", "invalid_card", INVALID_CARD),
    ("invalid_expiry_month", "invalid_card", INVALID_CARD),
    ("invalid_expiry_year", "invalid_card", INVALID_CARD),
    ("expired_card", "expired_card", "The card has expired."),
    ("incorrect_cvc", "incorrect_cvv", INCORRECT_CVV),
    ("invalid_cvc", "incorrect_cvv", INCORRECT_CVV),
    ("authentication_required", "authentication_required", AUTHENTICATION_REQUIRED),
    ("authentication_not_handled", "authentication_required", AUTHENTICATION_REQUIRED),
    ("payment_intent_authentication_failure", "authentication_required", AUTHENTICATION_REQUIRED),
    ("processing_error", "gateway_error", GATEWAY_ERROR),
    ("issuer_not_available", "gateway_error", GATEWAY_ERROR),
];

const INVALID_CARD: &str = "The card's number or expiry is not valid.";
const INCORRECT_CVV: &str = "The card's security code is not correct.";
const AUTHENTICATION_REQUIRED: &str = "The card needs its holder's authentication, which is not possible here.";
const GATEWAY_ERROR: &str = "The gateway could not process the card.";
const CARD_DECLINED: &str = "The card was declined.";

/// Stripe's `code`s that speak of the card even where `type` is not `card_error` (localstripe never sends that type).
const CARD_CODES: &[&str] = &["card_declined"];

/// One answer, read.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Stripe's name for the request, for its support.
    pub(crate) request_id: Option<String>,
    pub(crate) body: Vec<u8>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: StripeError,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct StripeError {
    r#type: Option<String>,
    code: Option<String>,
    decline_code: Option<String>,
    message: Option<String>,
    param: Option<String>,
    charge: Option<String>,
    payment_intent: Option<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    id: String,
}

type Metadata = std::collections::BTreeMap<String, String>;

/// The members of a payment method that matter here.
#[derive(Deserialize)]
pub(crate) struct PaymentMethod {
    id: String,
    #[serde(default)]
    pub(crate) customer: Option<String>,
    #[serde(default)]
    card: Option<Card>,
}

#[derive(Deserialize)]
struct Card {
    fingerprint: Option<String>,
}

impl PaymentMethod {
    /// The gateway's names for the card.
    pub(crate) fn into_token(self) -> CardToken {
        CardToken { token: self.id, fingerprint: self.card.and_then(|card| card.fingerprint) }
    }
}

/// The members of a payment intent that matter here.
#[derive(Deserialize)]
pub(crate) struct Intent {
    id: String,
    status: String,
    last_payment_error: Option<StripeError>,
    #[serde(default)]
    metadata: Metadata,
}

/// The members of a refund that matter here.
#[derive(Deserialize)]
pub(crate) struct Refund {
    id: String,
    status: Option<String>,
    #[serde(default)]
    metadata: Metadata,
}

/// One page of a listing.
#[derive(Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) data: Vec<T>,
    pub(crate) has_more: bool,
}

/// Something that is listed: the next page begins behind its id.
pub(crate) trait Listed {
    fn id(&self) -> &str;
}

impl Listed for Intent {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Listed for Refund {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Answer {
    /// The body of a success as `T`, or what the failure means.
    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, GatewayError> {
        if !(200..300).contains(&self.status) {
            return Err(self.failure());
        }
        serde_json::from_slice(&self.body)
            .map_err(|_| GatewayError::Unknown { message: self.describe("its answer cannot be read") })
    }

    /// Whether the gateway says that there is no such thing.
    pub(crate) fn is_absent(&self) -> bool {
        self.status == 404 && self.is_invalid_request()
    }

    /// Whether the gateway refused the request for what it asks, before it did anything.
    pub(crate) fn is_invalid_request(&self) -> bool {
        let error = serde_json::from_slice::<ErrorBody>(&self.body).map(|body| body.error).unwrap_or_default();
        matches!(self.status, 400 | 404) && error.r#type.as_deref() == Some("invalid_request_error")
    }

    /// What an answer outside 2xx means.
    fn failure(&self) -> GatewayError {
        let stripe = serde_json::from_slice::<ErrorBody>(&self.body).ok().map(|body| body.error);
        let Some(error) = stripe else {
            return self.failure_of_a_stranger();
        };
        let code = error.code.as_deref().unwrap_or_default();
        let is_about_card = error.r#type.as_deref() == Some("card_error") || CARD_CODES.contains(&code);
        if is_about_card && (400..500).contains(&self.status) {
            return error.declined(None);
        }
        if let Some(refusal) = error.refused_refund() {
            return refusal;
        }
        let message = self.describe(&error.describe());
        match self.status {
            // The gateway itself says that it did not start, or does not know us: no payment is to blame for that.
            401 | 403 | 429 | 503 => GatewayError::Unavailable { message },
            409 if code == "lock_timeout" => GatewayError::Unavailable { message },
            // Another request with this key runs (409), or the gateway broke somewhere on the way.
            408 | 409 | 424 | 425 | 500..=599 => GatewayError::Unknown { message },
            _ => GatewayError::Rejected { message },
        }
    }

    /// The answer is not in Stripe's shape: something between us and the gateway speaks, such as a proxy or API
    /// Gateway. Its 503 may well mean that the gateway got the request and did not answer in time.
    fn failure_of_a_stranger(&self) -> GatewayError {
        let message = self.describe("not in the gateway's error shape");
        match self.status {
            408 | 409 | 424 | 425 | 500..=599 => GatewayError::Unknown { message },
            // The request did not get through, so the gateway did nothing.
            _ => GatewayError::Unavailable { message },
        }
    }

    /// Status, request id and `what`.
    fn describe(&self, what: &str) -> String {
        match &self.request_id {
            Some(id) => format!("status {}, request {}: {what}", self.status, harmless(id)),
            None => format!("status {}: {what}", self.status),
        }
    }
}

impl StripeError {
    /// As a decline, with our code and our words.
    fn declined(&self, intent: Option<&str>) -> GatewayError {
        let found = [self.decline_code.as_deref(), self.code.as_deref()]
            .into_iter()
            .flatten()
            .find_map(|given| DECLINES.iter().find(|(stripe, _, _)| *stripe == given));
        let (code, message) = found.map_or(("card_declined", CARD_DECLINED), |(_, code, text)| (*code, *text));
        let reference =
            intent.or(self.payment_intent.as_ref().map(|intent| intent.id.as_str())).or(self.charge.as_deref());
        GatewayError::Declined {
            code: code.to_owned(),
            message: message.to_owned(),
            reference: reference.map(str::to_owned),
        }
    }

    /// A refund that cannot be made, now or later.
    fn refused_refund(&self) -> Option<GatewayError> {
        let said = self.message.as_deref().unwrap_or_default();
        let code = self.code.as_deref().unwrap_or_default();
        let (code, message) = if code == "charge_already_refunded" {
            ("already_refunded", "The charge has already been refunded.")
        } else if matches!(code, "charge_disputed" | "refund_disputed_payment") {
            ("charge_disputed", "The charge is disputed; its money goes back by the dispute.")
        } else if self.param.as_deref() == Some("amount")
            && said.starts_with("Refund amount")
            && said.contains("greater than")
        {
            // Stripe has no code for it.
            ("refund_too_large", "The refund is larger than what is left of the charge.")
        } else {
            return None;
        };
        Some(GatewayError::Declined {
            code: code.to_owned(),
            message: message.to_owned(),
            reference: self.charge.clone(),
        })
    }

    /// For our log.
    fn describe(&self) -> String {
        let part = |value: &Option<String>| harmless(value.as_deref().unwrap_or("-"));
        format!(
            "type {}, code {}, parameter {}: {}",
            part(&self.r#type),
            part(&self.code),
            part(&self.param),
            part(&self.message),
        )
    }
}

impl Intent {
    /// What a confirmed payment intent says about the charge.
    pub(crate) fn outcome(self) -> Result<Charge, GatewayError> {
        match self.status.as_str() {
            "succeeded" => Ok(Charge { reference: self.id }),
            "requires_payment_method" => Err(self.last_payment_error.unwrap_or_default().declined(Some(&self.id))),
            // Nobody will ever authenticate it, since its client secret goes nowhere.
            "requires_action" => {
                Err(StripeError { code: Some("authentication_required".to_owned()), ..StripeError::default() }
                    .declined(Some(&self.id)))
            }
            "processing" => {
                Err(GatewayError::Unknown { message: format!("{} is still processing", harmless(&self.id)) })
            }
            other => Err(GatewayError::Rejected {
                message: format!("{} has the unexpected status {}", harmless(&self.id), harmless(other)),
            }),
        }
    }

    /// Whether it was made for the payment.
    pub(crate) fn is_for(&self, payment_id: &str) -> bool {
        self.metadata.get("payment_id").map(String::as_str) == Some(payment_id)
    }
}

impl Refund {
    /// What its status says; the answer is its id.
    ///
    /// A pending refund counts as made: the gateway has taken it on, and the money is on its way.
    pub(crate) fn outcome(self) -> Result<String, GatewayError> {
        match self.status.as_deref() {
            Some("succeeded" | "pending") => Ok(self.id),
            Some("failed" | "canceled") => Err(GatewayError::Declined {
                code: "refund_failed".to_owned(),
                message: "The card's issuer did not take the refund.".to_owned(),
                reference: Some(self.id),
            }),
            // There is a refund, so it must not pass for none.
            other => Err(GatewayError::Unknown {
                message: format!("{} has the unexpected status {}", harmless(&self.id), harmless(other.unwrap_or("-"))),
            }),
        }
    }

    /// Whether it was made for our refund of that id.
    pub(crate) fn is_for(&self, refund_id: &str) -> bool {
        self.metadata.get("refund_id").map(String::as_str) == Some(refund_id)
    }
}

/// A text of the gateway without anything that could be a card number or a key, and not too long.
pub(crate) fn harmless(text: &str) -> String {
    let mut out = String::new();
    let mut digits = 0_usize;
    for character in text.chars().take(MESSAGE_CHARACTERS_MAX) {
        if character.is_ascii_digit() {
            digits += 1;
        } else if !matches!(character, ' ' | '-') {
            digits = 0;
        }
        let masked = character.is_ascii_digit() && digits > DIGITS_SHOWN_MAX;
        out.push(match character {
            _ if masked => '*',
            control if control.is_control() => ' ',
            other => other,
        });
    }
    mask_keys(&out)
}

/// Replaces every word with a key in it.
fn mask_keys(text: &str) -> String {
    let is_key = |word: &str| ["sk_", "rk_", "pm_"].iter().any(|key| word.contains(key));
    text.split(' ').map(|word| if is_key(word) { "****" } else { word }).collect::<Vec<_>>().join(" ")
}
