//! `POST /v1/customers/{customer}/erase`: blanks whatever tells of a customer and keeps the ledger.
//!
//! Every write blanks one thing and takes it out of the index by which customers are found, both or neither. A call
//! that broke off anywhere is repeated and finds what is left; one that has done as much as it may answers `has_more`.

use std::sync::Arc;

use axum::{Json, extract::State};
use florin_domain::{
    ids::MerchantId,
    payment::{Payment, Status},
    payment_method::PaymentMethod,
    time::Timestamp,
};
use florin_store::{
    payment_methods::MethodListing,
    payments::{Listing, PAGE_ITEMS_MAX},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::Customer;
use crate::{
    Api,
    permission::{CustomersManage, May},
    problem::Problem,
    told::entry,
};

/// Payments that are looked at for open ones before anything is erased, newest first.
const PAYMENTS_SEEN_MAX: usize = 1_000;
/// Payments that one call erases, each with its refunds.
pub const PAYMENTS_PER_ERASURE_MAX: usize = 50;
/// Payment methods that one call erases: each costs a call of the gateway.
const PAYMENT_METHODS_PER_ERASURE_MAX: usize = 10;

/// How much was erased.
#[derive(Default, Serialize)]
struct Erased {
    payments: usize,
    refunds: usize,
    payment_methods: usize,
}

/// What is to be erased.
struct Found {
    payments: Vec<Payment>,
    methods: Vec<PaymentMethod>,
    /// There is more than one call looks at.
    more: bool,
}

/// Blanks whatever tells of a customer, and keeps the ledger.
///
/// It has no body and is safe to repeat, which is needed while `has_more`.
#[utoipa::path(
    post, path = "/v1/customers/{customer}/erase", operation_id = "erase_customer", tag = "Customers",
    params(crate::openapi::params::CustomerPath),
    responses(
        (status = 200, description = "How much was erased.", body = crate::openapi::schemas::customers::CustomerErasure),
        (status = 400, description = "customer_invalid"),
        (status = 409, description = "customer_has_open_payments"),
        (status = 503, description = "gateway_unavailable"),
    ),
    security(("caller" = ["customers:manage"])),
)]
pub(crate) async fn erase(
    State(api): State<Arc<Api>>,
    caller: May<CustomersManage>,
    Customer(customer): Customer,
) -> Result<Json<Value>, Problem> {
    let merchant_id = &caller.merchant_id;
    let found = find(&api, merchant_id, &customer).await?;
    let open = found.payments.iter().filter(|payment| payment.is_open()).count();
    if open > 0 {
        let detail = format!("{open} of the customer's payments have not ended, or their refunds have not.");
        return Err(Problem::Conflict { code: "customer_has_open_payments", detail });
    }
    if found.payments.is_empty() && found.methods.is_empty() {
        return Ok(answer(&Erased::default(), found.more));
    }
    // Before the first write: an erasure that breaks off was told, too.
    let hash = api.dependencies.root_key.customer_hash(merchant_id, &customer);
    let told = entry(
        caller.actor.id().to_owned(),
        "customer.erase",
        &[("customer", hash.as_str())],
        api.dependencies.clock.now(),
    );
    api.dependencies.audit.append(merchant_id.as_str(), &[told]).await?;
    let (erased, left) = carry_out(&api, merchant_id, &found).await?;
    Ok(answer(&erased, found.more || left))
}

fn answer(erased: &Erased, has_more: bool) -> Json<Value> {
    Json(json!({ "object": "customer_erasure", "erased": erased, "has_more": has_more }))
}

async fn find(api: &Api, merchant_id: &MerchantId, customer: &str) -> Result<Found, Problem> {
    let deps = &api.dependencies;
    let of_customer = MethodListing::of_customer(customer, PAYMENT_METHODS_PER_ERASURE_MAX);
    let methods = deps.payment_methods.list(merchant_id, &of_customer).await?;
    let mut listing = payments_of(customer, PAGE_ITEMS_MAX);
    let mut payments = Vec::new();
    loop {
        let page = deps.payments.list(merchant_id, &listing).await?;
        // The index may not know yet what was erased a moment ago.
        payments.extend(page.items.into_iter().filter(|payment: &Payment| payment.customer.is_some()));
        listing.after = page.next;
        if listing.after.is_none() || payments.len() >= PAYMENTS_SEEN_MAX {
            break;
        }
    }
    let more = listing.after.is_some() || methods.next.is_some();
    Ok(Found { payments, methods: methods.items, more })
}

/// All payments of a customer, in pages of so many.
pub(super) fn payments_of(customer: &str, limit: usize) -> Listing<Payment> {
    Listing {
        limit,
        after: None,
        status: None::<Status>,
        currency: None,
        customer: Some(customer.to_owned()),
        created_from: Timestamp::MIN,
        created_to: Timestamp::MAX,
    }
}

/// Erases as much as one call may. Payment methods come first: no new payment is made with them then.
async fn carry_out(api: &Api, merchant_id: &MerchantId, found: &Found) -> Result<(Erased, bool), Problem> {
    let mut erased = Erased::default();
    for method in &found.methods {
        if erase_method(api, merchant_id, method).await? {
            erased.payment_methods += 1;
        }
    }
    let mut left = found.payments.len() > PAYMENTS_PER_ERASURE_MAX;
    for payment in found.payments.iter().take(PAYMENTS_PER_ERASURE_MAX) {
        if erase_payment(api, payment, &mut erased).await? {
            erased.payments += 1;
        } else {
            left = true;
        }
    }
    Ok((erased, left))
}

/// The gateway forgets the card first: once it is erased here, nobody knows by which names the gateway has it. False if
/// somebody else has deleted it meanwhile.
async fn erase_method(api: &Api, merchant_id: &MerchantId, method: &PaymentMethod) -> Result<bool, Problem> {
    let deps = &api.dependencies;
    deps.gateway.detach(&method.at_gateway.token, &format!("{}/detach", method.id)).await?;
    Ok(deps.payment_methods.erase(merchant_id, &method.id, deps.clock.now()).await?)
}

/// Erases a payment after its refunds. False if it changed meanwhile: the next call looks at it anew.
async fn erase_payment(api: &Api, payment: &Payment, erased: &mut Erased) -> Result<bool, Problem> {
    let (payments, now) = (&api.dependencies.payments, api.dependencies.clock.now());
    for refund in payments.refunds_of(payment).await? {
        if refund.erased_at.is_some() {
            continue;
        }
        if !refund.status.is_terminal() || !payments.erase_refund(&refund, now).await? {
            return Ok(false);
        }
        erased.refunds += 1;
    }
    Ok(payments.erase(payment, now).await?)
}
