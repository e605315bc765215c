//! `POST /v1/payments`: one conditional write makes a payment, then the event goes out.

use std::{collections::BTreeMap, sync::Arc};

use axum::{body::Body, extract::State, http::HeaderMap, response::Response};
use florin_domain::{
    card::{Brand, Card, Expiry, contains_card_number},
    event::Correlation,
    field::FieldError,
    ids::{MerchantId, PaymentId, PaymentMethodId},
    money::{Currency, Money},
    payment::{
        CardSource, DELAY_SECONDS_MAX, DESCRIPTION_CHARACTERS_MAX, NewPayment, Payment, StoredCard,
        WEBHOOK_URL_CHARACTERS_MAX, When,
    },
    time::Timestamp,
};
use florin_store::payments::Written;
use serde_json::{Map, Value};

use crate::{
    Api, announce,
    body::{self, Fields},
    card, context, idempotency,
    permission::{May, PaymentsWrite},
    problem::Problem,
};

const SECONDS_PER_DAY: i64 = 24 * 60 * 60;

/// From what a payment is to be paid.
enum Source {
    /// A card, typed for this payment.
    Card(Card),
    /// A payment method.
    Stored(PaymentMethodId),
}

impl Source {
    /// The source as far as the request names it: it can be compared but not charged.
    fn unresolved(&self) -> CardSource {
        match self {
            Self::Card(card) => card_source(card, String::new()),
            Self::Stored(id) => CardSource {
                brand: Brand::Unknown,
                last4: String::new(),
                expiry: Expiry { year: 0, month: 0 },
                holder_name: String::new(),
                token: String::new(),
                stored: Some(StoredCard { id: id.clone(), gateway_customer: String::new() }),
            },
        }
    }
}

/// What is asked for, checked as far as it can be without the gateway.
struct Request {
    money: Money,
    source: Source,
    customer: Option<String>,
    description: Option<String>,
    metadata: BTreeMap<String, String>,
    webhook_url: Option<String>,
    when: When,
}

impl Request {
    /// The payment that is asked for. `owner` is the customer of the payment method: who pays, if nobody is named.
    fn paid_from(&self, source: CardSource, owner: Option<String>) -> NewPayment {
        NewPayment {
            money: self.money,
            source,
            customer: self.customer.clone().or(owner),
            description: self.description.clone(),
            metadata: self.metadata.clone(),
            webhook_url: self.webhook_url.clone(),
            when: self.when,
        }
    }
}

/// Creates a payment.
///
/// It is stored before you are answered and charged a moment later, or at its moment: follow it by webhook, or by
/// reading it. Whatever goes wrong on the way, send the same request again with the same `Idempotency-Key`.
#[utoipa::path(
    post, path = "/v1/payments", operation_id = "create_payment", tag = "Payments",
    params(crate::openapi::params::IdempotencyKey),
    request_body = crate::openapi::schemas::payments::NewPayment,
    responses(
        (status = 201, description = "Created, or answered as the first time.", body = crate::openapi::schemas::payments::Payment, headers(
            ("Location" = String, description = "Where it can be read."),
            ("Idempotent-Replayed" = Option<String>, description = "`true` if this key was answered before."),
        )),
        (status = 402, description = "card_refused"),
        (status = 422, description = "amount_missing amount_invalid amount_out_of_range currency_missing currency_invalid source_missing \
            source_invalid source_type_missing source_type_unsupported payment_method_missing \
            payment_method_not_found card_number_missing card_number_invalid \
            test_card_in_live_mode expiry_missing expiry_invalid card_expired cvv_missing cvv_invalid \
            holder_name_missing holder_name_invalid customer_invalid description_invalid description_too_long card_number_in_text \
            metadata_invalid metadata_too_many_entries metadata_key_invalid metadata_value_invalid \
            metadata_value_too_long url_invalid url_too_long url_scheme_forbidden url_userinfo_forbidden \
            url_fragment_forbidden url_address_forbidden delay_out_of_range process_at_with_delay process_at_invalid \
            process_at_out_of_range"),
        (status = 503, description = "gateway_unavailable"),
    ),
    security(("caller" = ["payments:write"])),
)]
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    caller: May<PaymentsWrite>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    body::check_content_type(&headers)?;
    let key = idempotency::key(&headers)?;
    let object = body::object(body, &headers).await?;
    let deps = &api.dependencies;
    let request = read(&api, object, deps.clock.now()).map_err(Problem::Fields)?;

    let id = Payment::id_for(&caller.merchant_id, key);
    let late = too_late(&request, deps.clock.now());
    if !late.is_empty() {
        // What was asked for in time is answered as the first time, even now that its moment or its card's has passed.
        let refuse = || Problem::Fields(late);
        let existing = deps.payments.get(&caller.merchant_id, &id).await?.ok_or_else(refuse)?;
        return replay(&api, &existing, &request, &headers).await;
    }
    let (source, owner) = match resolve(&api, &caller.merchant_id, &id, &request.source).await {
        Ok(resolved) => resolved,
        // A replay is answered even while the gateway is away or when the payment method was deleted, and a reused key
        // is named even if the card is refused.
        Err(problem) => {
            let existing = deps.payments.get(&caller.merchant_id, &id).await?.ok_or(problem)?;
            return replay(&api, &existing, &request, &headers).await;
        }
    };
    let payment = Payment {
        correlation_id: context::correlation_id(&headers),
        ..Payment::create(id, caller.merchant_id.clone(), request.paid_from(source, owner), deps.clock.now())
    };
    match deps.payments.create(&payment).await? {
        Written::Lost(existing) => replay(&api, &existing, &request, &headers).await,
        Written::Done(payment) => {
            announce::initiated(&api, &payment, &context::correlation(&headers, Correlation::of_payment(&payment)))
                .await;
            Ok(created(&payment))
        }
    }
}

/// Answers as the first time. A payment that still waits may have lost its event: it is published again.
async fn replay(api: &Api, existing: &Payment, request: &Request, headers: &HeaderMap) -> Result<Response, Problem> {
    if let Some(pointer) = existing.differs_from(&request.paid_from(request.source.unresolved(), None)) {
        return Err(Problem::IdempotencyKeyReused(pointer));
    }
    let correlation = context::correlation(headers, Correlation::of_payment(existing));
    announce::initiated(api, existing, &correlation).await;
    Ok(idempotency::replayed(created(&existing.as_created())))
}

/// What was right once and is not any more.
fn too_late(request: &Request, now: Timestamp) -> Vec<FieldError> {
    let expired = matches!(&request.source, Source::Card(card) if card.expiry().is_past(now));
    let expired = expired.then(|| card_expired("/source/expiry"));
    let past = (!request.when.is_in_range(now)).then(process_at_out_of_range);
    expired.into_iter().chain(past).collect()
}

fn card_expired(pointer: &str) -> FieldError {
    FieldError::new(pointer, "card_expired", "The card has expired.")
}

/// The source, with what it takes to charge it, and the customer that it belongs to.
async fn resolve(
    api: &Api,
    merchant_id: &MerchantId,
    id: &PaymentId,
    source: &Source,
) -> Result<(CardSource, Option<String>), Problem> {
    let deps = &api.dependencies;
    match source {
        Source::Card(card) => {
            // A key of its own for every try: tokenising twice harms nobody, while a key that stays would tie the
            // payment to the card of the first try, even if that try came to nothing.
            let key = format!("{id}/tokenise/{}", florin_platform::random::hex128());
            Ok((card_source(card, deps.gateway.tokenise(card, &key).await?.token), None))
        }
        Source::Stored(method_id) => {
            let wrong = |error| Problem::Fields(vec![error]);
            let method =
                deps.payment_methods.get(merchant_id, method_id).await?.ok_or_else(|| wrong(no_such_method()))?;
            if method.card.expiry.is_past(deps.clock.now()) {
                return Err(wrong(card_expired("/source/id")));
            }
            Ok((method.source(), method.customer))
        }
    }
}

fn card_source(card: &Card, token: String) -> CardSource {
    CardSource {
        brand: card.brand(),
        last4: card.last4().to_owned(),
        expiry: card.expiry(),
        holder_name: card.holder_name().to_owned(),
        token,
        stored: None,
    }
}

fn no_such_method() -> FieldError {
    FieldError::new("/source/id", "payment_method_not_found", "There is no such payment method.")
}

fn created(payment: &Payment) -> Response {
    idempotency::created(&format!("/v1/payments/{}", payment.id), &payment.view())
}

/// Reads the fields, in the order in which errors take precedence.
fn read(api: &Api, object: Map<String, Value>, now: Timestamp) -> Result<Request, Vec<FieldError>> {
    let mut fields = Fields::new(object, "");
    let amount = fields.required("amount", "amount_missing").and_then(|value| fields.amount(&value));
    let currency = currency(&mut fields);
    let source = source(api, &mut fields);
    let customer = fields.customer();
    let description =
        fields.text("description", DESCRIPTION_CHARACTERS_MAX, "description_invalid", "description_too_long");
    let metadata = fields.metadata();
    let webhook_url = webhook_url(api, &mut fields);
    let when = when(&mut fields, now);
    let errors = fields.finish();
    match (amount, currency, source) {
        (Some(amount), Some(currency), Some(source)) if errors.is_empty() => Ok(Request {
            money: Money::new(amount, currency),
            source,
            customer,
            description,
            metadata,
            webhook_url,
            when,
        }),
        _ => Err(errors),
    }
}

fn currency(fields: &mut Fields) -> Option<Currency> {
    let code = fields.required_text("currency", "currency_missing", "currency_invalid")?;
    let currency = Currency::parse(&code);
    if currency.is_none() {
        fields.wrong("currency", "currency_invalid", "The currency is an ISO 4217 code in capitals, such as NGN.");
    }
    currency
}

fn source(api: &Api, fields: &mut Fields) -> Option<Source> {
    let Value::Object(source) = fields.required("source", "source_missing")? else {
        fields.wrong("source", "source_invalid", "The source is an object with a type.");
        return None;
    };
    let mut source = Fields::new(source, "/source");
    let kind = source.required_text("type", "source_type_missing", "source_type_unsupported");
    let read = match kind.as_deref() {
        // Without a type the card's fields are judged, too.
        None | Some("card") => card::read(api, &mut source).map(Source::Card),
        Some("payment_method") => stored(&mut source).map(Source::Stored),
        Some(_) => {
            source.wrong("type", "source_type_unsupported", "The source's type is card or payment_method.");
            fields.errors.append(&mut source.errors);
            return None;
        }
    };
    fields.errors.extend(source.finish());
    kind.and(read)
}

fn stored(source: &mut Fields) -> Option<PaymentMethodId> {
    let id = source.required_text("id", "payment_method_missing", "payment_method_not_found")?;
    let id = id.parse().ok();
    if id.is_none() {
        source.errors.push(no_such_method());
    }
    id
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
        fields.card_number_in_text("webhook_url");
    }
    Some(url)
}

/// When it is to be processed. That `process_at` has passed is not judged here, because a replay may come late.
fn when(fields: &mut Fields, now: Timestamp) -> When {
    let delay = fields.take("delay_seconds").map(|delay| {
        let after = delay.as_i64().map(When::After).filter(|after| after.is_in_range(now));
        after.unwrap_or_else(|| {
            let detail = format!("The delay is a whole number of seconds from 0 to {DELAY_SECONDS_MAX}.");
            fields.wrong("delay_seconds", "delay_out_of_range", detail);
            When::Now
        })
    });
    let moment = match fields.take("process_at") {
        None => return delay.unwrap_or_default(),
        Some(_) if delay.is_some() => {
            fields.wrong("process_at", "process_at_with_delay", "Send delay_seconds or process_at, not both.");
            return When::Now;
        }
        Some(value) => value.as_str().and_then(Timestamp::parse),
    };
    match moment {
        None => {
            let detail = "A date and time of RFC 3339, such as 2026-11-21T09:00:00Z.";
            fields.wrong("process_at", "process_at_invalid", detail);
            When::Now
        }
        Some(moment) if moment > now && !When::At(moment).is_in_range(now) => {
            fields.errors.push(process_at_out_of_range());
            When::Now
        }
        Some(moment) => When::At(moment),
    }
}

fn process_at_out_of_range() -> FieldError {
    let days = DELAY_SECONDS_MAX / SECONDS_PER_DAY;
    let detail = format!("The moment lies in the future, by {days} days at most.");
    FieldError::new("/process_at", "process_at_out_of_range", detail)
}
