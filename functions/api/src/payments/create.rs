//! `POST /v1/payments`: one conditional write makes a payment, then the event goes out.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use florin_domain::{
    card::{Card, CardInput, contains_card_number},
    event::Event,
    field::FieldError,
    money::{AMOUNT_MAX_MINOR_UNITS, Currency, Money},
    payment::{
        CardSource, DESCRIPTION_CHARACTERS_MAX, METADATA_ENTRIES_MAX, METADATA_KEY_CHARACTERS_MAX,
        METADATA_VALUE_CHARACTERS_MAX, NewPayment, Payment, Status, WEBHOOK_URL_CHARACTERS_MAX, When,
    },
};
use florin_gateway::CardToken;
use florin_store::payments::Written;
use serde_json::{Map, Value};

use crate::{
    Api,
    auth::Caller,
    body::{self, Fields},
    context, idempotency,
    problem::Problem,
};

const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Payments cannot be scheduled yet: they are processed at once.
const DELAY_SECONDS_MAX: i64 = 0;
const CARD_NUMBER_IN_TEXT: &str = "This looks like a card number, which Florin refuses to store.";

/// What is asked for, checked as far as it can be without the gateway.
struct Request {
    money: Money,
    card: Card,
    description: Option<String>,
    metadata: BTreeMap<String, String>,
    webhook_url: Option<String>,
}

impl Request {
    /// The payment that is asked for; without the gateway's token it can be compared but not charged.
    fn with_token(&self, token: &str) -> NewPayment {
        NewPayment {
            money: self.money,
            source: CardSource {
                brand: self.card.brand(),
                last4: self.card.last4().to_owned(),
                expiry: self.card.expiry(),
                holder_name: self.card.holder_name().to_owned(),
                token: token.to_owned(),
            },
            description: self.description.clone(),
            metadata: self.metadata.clone(),
            webhook_url: self.webhook_url.clone(),
            when: When::Now,
        }
    }
}

pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    body::check_content_type(&headers)?;
    let key = idempotency::key(&headers)?;
    let object = body::object(body, &headers).await?;
    let request = read(&api, object).map_err(Problem::Fields)?;

    let deps = &api.dependencies;
    let id = Payment::id_for(&caller.merchant_id, key);
    let correlation = context::correlation(&headers, id.as_str());
    // A key of its own for every try: tokenising twice harms nobody, while a key that stays would tie the payment to
    // the card of the first try, even if that try came to nothing.
    let token_key = format!("{id}/tokenise/{}", florin_platform::random::hex128());
    let token = match deps.gateway.tokenise(&request.card, &token_key).await {
        Ok(CardToken { token }) => token,
        // A replay is answered even while the gateway is away, and a reused key is named even if the card is refused.
        Err(error) => {
            let existing = deps.payments.get(&caller.merchant_id, &id).await?.ok_or_else(|| Problem::from(error))?;
            return replay(&api, &existing, &request, &headers).await;
        }
    };
    let now = deps.clock.now();
    let payment = Payment::create(id, caller.merchant_id, request.with_token(&token), now);
    match deps.payments.create(&payment).await? {
        Written::Lost(existing) => replay(&api, &existing, &request, &headers).await,
        Written::Done(payment) => {
            publish(&api, &Event::initiated(&payment, &correlation)).await;
            Ok(created(&payment))
        }
    }
}

/// Answers as the first time. A payment that still waits may have lost its event: it is published again.
async fn replay(api: &Api, existing: &Payment, request: &Request, headers: &HeaderMap) -> Result<Response, Problem> {
    if let Some(pointer) = existing.differs_from(&request.with_token("")) {
        return Err(Problem::IdempotencyKeyReused(pointer));
    }
    if existing.status == Status::Pending {
        let correlation = context::correlation(headers, existing.id.as_str());
        publish(api, &Event::initiated(existing, &correlation)).await;
    }
    let mut response = created(&existing.as_created());
    response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// The payment is stored, so it is accepted; should the event be lost, the sweeper finds the payment in the due index.
async fn publish(api: &Api, event: &Event) {
    if let Err(error) = api.dependencies.publisher.publish(event).await {
        tracing::error!(payment_id = event.subject, %error, "payment.initiated is left to the sweeper");
    }
}

fn created(payment: &Payment) -> Response {
    let location = HeaderValue::try_from(format!("/v1/payments/{}", payment.id));
    let mut response = (StatusCode::CREATED, Json(payment.view())).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(axum::http::header::LOCATION, location);
    }
    response
}

/// Reads the fields, in the order in which errors take precedence.
fn read(api: &Api, object: Map<String, Value>) -> Result<Request, Vec<FieldError>> {
    let mut fields = Fields::new(object, "");
    let amount = amount(&mut fields);
    let currency = currency(&mut fields);
    let card = source(api, &mut fields);
    let description = description(&mut fields);
    let metadata = metadata(&mut fields);
    let webhook_url = webhook_url(api, &mut fields);
    delay(&mut fields);
    let errors = fields.finish();
    match (amount, currency, card) {
        (Some(amount), Some(currency), Some(card)) if errors.is_empty() => {
            Ok(Request { money: Money::new(amount, currency), card, description, metadata, webhook_url })
        }
        _ => Err(errors),
    }
}

fn amount(fields: &mut Fields) -> Option<i64> {
    let value = fields.required("amount", "amount_missing")?;
    let Value::Number(number) = value else {
        fields.wrong("amount", "amount_invalid", "The amount is a whole number of minor units.");
        return None;
    };
    if !number.is_i64() && !number.is_u64() {
        fields.wrong("amount", "amount_invalid", "The amount is a whole number of minor units.");
        return None;
    }
    let amount = number.as_i64().filter(|amount| (1..=AMOUNT_MAX_MINOR_UNITS).contains(amount));
    if amount.is_none() {
        let detail = format!("The amount is between 1 and {AMOUNT_MAX_MINOR_UNITS} minor units.");
        fields.wrong("amount", "amount_out_of_range", detail);
    }
    amount
}

fn currency(fields: &mut Fields) -> Option<Currency> {
    let code = fields.required_text("currency", "currency_missing", "currency_invalid")?;
    let currency = Currency::parse(&code);
    if currency.is_none() {
        fields.wrong("currency", "currency_invalid", "The currency is an ISO 4217 code in capitals, such as NGN.");
    }
    currency
}

fn source(api: &Api, fields: &mut Fields) -> Option<Card> {
    let Value::Object(source) = fields.required("source", "source_missing")? else {
        fields.wrong("source", "source_invalid", "The source is an object with a type.");
        return None;
    };
    let mut source = Fields::new(source, "/source");
    let kind = source.required_text("type", "source_type_missing", "source_type_unsupported");
    if kind.as_ref().is_some_and(|kind| kind != "card") {
        source.wrong("type", "source_type_unsupported", "The source's type is card.");
        fields.errors.append(&mut source.errors);
        return None;
    }
    let number = source.required_text("number", "card_number_missing", "card_number_invalid");
    let expiry = source.required_text("expiry", "expiry_missing", "expiry_invalid");
    let cvv = source.required_text("cvv", "cvv_missing", "cvv_invalid");
    let holder_name = source.required_text("holder_name", "holder_name_missing", "holder_name_invalid");
    let card = match (number, expiry, cvv, holder_name) {
        (Some(number), Some(expiry), Some(cvv), Some(holder_name)) => {
            let input = CardInput { number, expiry, cvv, holder_name };
            Card::check(&input, "/source", api.dependencies.mode, api.dependencies.clock.now())
                .map_err(|errors| source.errors.extend(errors))
                .ok()
        }
        _ => None,
    };
    fields.errors.extend(source.finish());
    kind.and(card)
}

fn description(fields: &mut Fields) -> Option<String> {
    let description = match fields.take("description")? {
        Value::String(text) => text,
        _ => {
            fields.wrong("description", "description_invalid", "The description is a string.");
            return None;
        }
    };
    if description.chars().count() > DESCRIPTION_CHARACTERS_MAX {
        let detail = format!("The description has at most {DESCRIPTION_CHARACTERS_MAX} characters.");
        fields.wrong("description", "description_too_long", detail);
    } else if contains_card_number(&description) {
        card_number_in_text(fields, "description");
    }
    Some(description)
}

fn card_number_in_text(fields: &mut Fields, name: &str) {
    fields.wrong(name, "card_number_in_text", CARD_NUMBER_IN_TEXT);
}

fn metadata(fields: &mut Fields) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::new();
    let entries = match fields.take("metadata") {
        None => return metadata,
        Some(Value::Object(entries)) => entries,
        Some(_) => {
            fields.wrong("metadata", "metadata_invalid", "The metadata is an object of strings.");
            return metadata;
        }
    };
    if entries.len() > METADATA_ENTRIES_MAX {
        let detail = format!("The metadata has at most {METADATA_ENTRIES_MAX} entries.");
        fields.wrong("metadata", "metadata_too_many_entries", detail);
        return metadata;
    }
    for (name, value) in entries {
        if !(1..=METADATA_KEY_CHARACTERS_MAX).contains(&name.chars().count()) || contains_card_number(&name) {
            let detail = format!("A key of the metadata has 1 to {METADATA_KEY_CHARACTERS_MAX} characters.");
            fields.wrong("metadata", "metadata_key_invalid", detail);
            continue;
        }
        let pointer = Fields::new(Map::new(), "/metadata").pointer_to(&name);
        let error = match &value {
            Value::String(text) if text.chars().count() > METADATA_VALUE_CHARACTERS_MAX => {
                let detail = format!("A value of the metadata has at most {METADATA_VALUE_CHARACTERS_MAX} characters.");
                Some(("metadata_value_too_long", detail))
            }
            Value::String(text) if contains_card_number(text) => {
                Some(("card_number_in_text", CARD_NUMBER_IN_TEXT.to_owned()))
            }
            Value::String(_) => None,
            _ => Some(("metadata_value_invalid", "A value of the metadata is a string.".to_owned())),
        };
        match (error, value) {
            (Some((code, detail)), _) => fields.errors.push(FieldError::new(pointer, code, detail)),
            (None, Value::String(text)) => {
                metadata.insert(name, text);
            }
            (None, _) => {}
        }
    }
    metadata
}

fn webhook_url(api: &Api, fields: &mut Fields) -> Option<String> {
    let url = match fields.take("webhook_url")? {
        Value::String(url) => url,
        _ => {
            fields.wrong("webhook_url", "url_invalid", "The webhook URL is a string.");
            return None;
        }
    };
    if url.chars().count() > WEBHOOK_URL_CHARACTERS_MAX {
        let detail = format!("The webhook URL has at most {WEBHOOK_URL_CHARACTERS_MAX} characters.");
        fields.wrong("webhook_url", "url_too_long", detail);
    } else if let Err(forbidden) = api.dependencies.guard.check(&url) {
        fields.wrong("webhook_url", forbidden.code(), forbidden.to_string());
    } else if contains_card_number(&url) {
        card_number_in_text(fields, "webhook_url");
    }
    Some(url)
}

fn delay(fields: &mut Fields) {
    if let Some(delay) = fields.take("delay_seconds")
        && delay.as_i64().is_none_or(|delay| !(0..=DELAY_SECONDS_MAX).contains(&delay))
    {
        let detail = "Payments are processed at once: the delay is 0 seconds.";
        fields.wrong("delay_seconds", "delay_out_of_range", detail);
    }
    if fields.take("process_at").is_some() {
        fields.wrong("process_at", "process_at_out_of_range", "Payments are processed at once: process_at is null.");
    }
}
