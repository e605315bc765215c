//! `POST /v1/payment_methods`: the gateway keeps the card, then one conditional write makes the payment method.

use std::{collections::BTreeMap, sync::Arc};

use axum::{body::Body, extract::State, http::HeaderMap, response::Response};
use florin_domain::{
    card::Card,
    field::FieldError,
    ids::PaymentMethodId,
    payment_method::{AtGateway, NewPaymentMethod, PaymentMethod},
};
use florin_gateway::{CardToken, GatewayError};
use florin_store::payment_methods::{Created, Kept};
use serde_json::{Map, Value};

use crate::{
    Api,
    body::{self, Fields},
    card, idempotency,
    permission::{May, PaymentMethodsWrite},
    problem::Problem,
};

/// What is asked for, checked as far as it can be without the gateway.
struct Request {
    card: Card,
    customer: Option<String>,
    metadata: BTreeMap<String, String>,
}

impl Request {
    fn with_fingerprint(&self, fingerprint: Option<String>) -> NewPaymentMethod {
        NewPaymentMethod::new(&self.card, fingerprint, self.customer.clone(), self.metadata.clone())
    }
}

/// Stores a card for later payments.
///
/// The gateway keeps the card; nothing is charged.
/// A payment method never changes: for a new expiry, store the card again.
#[utoipa::path(
    post, path = "/v1/payment_methods", operation_id = "create_payment_method", tag = "Payment methods",
    params(crate::openapi::params::IdempotencyKey),
    request_body = crate::openapi::schemas::payment_methods::NewPaymentMethod,
    responses(
        (status = 201, description = "Created, or answered as the first time.", body = crate::openapi::schemas::payment_methods::PaymentMethod, headers(
            ("Location" = String, description = "Where it can be read."),
            ("Idempotent-Replayed" = Option<String>, description = "`true` if this key was answered before."),
        )),
        (status = 402, description = "card_refused"),
        (status = 409, description = "payment_method_deleted"),
        (status = 422, description = "card_missing card_invalid card_number_missing card_number_invalid \
            test_card_in_live_mode expiry_missing expiry_invalid card_expired cvv_missing cvv_invalid \
            holder_name_missing holder_name_invalid customer_invalid metadata_invalid metadata_too_many_entries \
            metadata_key_invalid metadata_value_invalid metadata_value_too_long card_number_in_text"),
        (status = 503, description = "gateway_unavailable"),
    ),
    security(("caller" = ["payment_methods:write"])),
)]
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    caller: May<PaymentMethodsWrite>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    body::check_content_type(&headers)?;
    let key = idempotency::key(&headers)?;
    let request = read(&api, body::object(body, &headers).await?)?;
    let deps = &api.dependencies;

    let id = PaymentMethod::id_for(&caller.merchant_id, key);
    // Looked up before the gateway keeps the card: a second one that it keeps would be nobody's.
    if let Some(kept) = deps.payment_methods.kept(&caller.merchant_id, &id).await? {
        let token = tokenise(&api, &id, &request).await;
        // A replay is answered even while the gateway is away, and a reused key is named even if the card is refused.
        return replay(kept, &request, token.ok().and_then(|token| token.fingerprint));
    }
    if request.card.expiry().is_past(deps.clock.now()) {
        let expired = FieldError::new("/card/expiry", "card_expired", "The card has expired.");
        return Err(Problem::Fields(vec![expired]));
    }
    let token = tokenise(&api, &id, &request).await.map_err(refused)?;
    let at_gateway = keep(&api, &id, &token.token).await?;
    let NewPaymentMethod { card, customer, metadata } = request.with_fingerprint(token.fingerprint.clone());
    let (merchant_id, created_at) = (caller.merchant_id.clone(), deps.clock.now());
    let method = PaymentMethod { id, merchant_id, card, customer, metadata, created_at, at_gateway };
    match deps.payment_methods.create(&method).await? {
        Created::Done(method) => Ok(created(&method)),
        Created::Lost(kept) => {
            drop_card(&api, &method.id, &token.token).await;
            replay(kept, &request, token.fingerprint)
        }
    }
}

/// A key of its own for every try, as for a payment: tokenising twice harms nobody, while a key that stays would tie
/// the payment method to the card of the first try, even if that try came to nothing.
async fn tokenise(api: &Api, id: &PaymentMethodId, request: &Request) -> Result<CardToken, GatewayError> {
    let key = format!("{id}/tokenise/{}", florin_platform::random::hex128());
    api.dependencies.gateway.tokenise(&request.card, &key).await
}

/// Has the gateway keep the card. The key is the token's, which is new for every try.
async fn keep(api: &Api, id: &PaymentMethodId, token: &str) -> Result<AtGateway, Problem> {
    let key = format!("{id}/attach/{token}");
    match api.dependencies.gateway.attach(token, id.as_str(), &key).await {
        Ok(customer) => Ok(AtGateway { token: token.to_owned(), customer }),
        Err(error) => {
            if matches!(error, GatewayError::Unknown { .. }) {
                drop_card(api, id, token).await;
            }
            Err(refused(error))
        }
    }
}

/// Tells the gateway that a card is not needed after all. If that fails the gateway keeps a card that nothing of ours
/// names, and that nobody can charge therefore; it has our id, by which people find it.
async fn drop_card(api: &Api, id: &PaymentMethodId, token: &str) {
    if let Err(error) = api.dependencies.gateway.detach(token, &format!("{id}/drop/{token}")).await {
        tracing::warn!(%id, %error, "the gateway keeps a card that is not needed");
    }
}

fn refused(error: GatewayError) -> Problem {
    match error {
        GatewayError::Declined { code, message, .. } => Problem::CardRefused { pointer: "/card", code, message },
        error => error.into(),
    }
}

/// Answers as the first time.
fn replay(kept: Kept, request: &Request, fingerprint: Option<String>) -> Result<Response, Problem> {
    let Kept::Live(existing) = kept else {
        return Err(Problem::Conflict {
            code: "payment_method_deleted",
            detail: "The payment method of this Idempotency-Key was deleted.".to_owned(),
        });
    };
    match existing.differs_from(&request.with_fingerprint(fingerprint)) {
        Some(pointer) => Err(Problem::IdempotencyKeyReused(pointer)),
        None => Ok(idempotency::replayed(created(&existing))),
    }
}

fn created(method: &PaymentMethod) -> Response {
    idempotency::created(&format!("/v1/payment_methods/{}", method.id), &method.view())
}

/// Reads the fields, in the order in which errors take precedence.
fn read(api: &Api, object: Map<String, Value>) -> Result<Request, Problem> {
    let mut fields = Fields::new(object, "");
    let card = read_card(api, &mut fields);
    let customer = fields.customer();
    let metadata = fields.metadata();
    fields.check()?;
    // Without a card there was an error.
    let card = card.ok_or_else(|| Problem::Internal("a card was neither read nor refused".to_owned()))?;
    Ok(Request { card, customer, metadata })
}

fn read_card(api: &Api, fields: &mut Fields) -> Option<Card> {
    let Value::Object(card) = fields.required("card", "card_missing")? else {
        fields.wrong("card", "card_invalid", "The card is an object.");
        return None;
    };
    let mut inner = Fields::new(card, "/card");
    let card = card::read(api, &mut inner);
    fields.errors.extend(inner.finish());
    card
}
