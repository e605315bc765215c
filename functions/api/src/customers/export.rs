//! `GET /v1/customers/{customer}/export`: everything that is kept of a customer, by cursor: payment methods first, then
//! payments with their refunds and timelines; each newest first.

use std::{fmt, str::FromStr, sync::Arc};

use axum::{Json, extract::State, http::Uri};
use florin_domain::{
    ids::{MerchantId, PaymentId, PaymentMethodId},
    journal::{self, TimelineEntry},
    payment::{Payment, PaymentView},
    payment_method::{PaymentMethod, PaymentMethodView},
    refund::{Refund, RefundView},
};
use florin_store::{
    payment_methods::MethodListing,
    payments::{Listing, Place},
};
use serde::Serialize;
use serde_json::Value;

use super::{Customer, erase::payments_of};
use crate::{
    Api,
    permission::{CustomersManage, May},
    problem::Problem,
    query::{self, Parameters},
};

/// What an export has.
#[derive(Serialize)]
#[serde(untagged)]
enum Exported {
    PaymentMethod(Box<PaymentMethodView>),
    Payment(Box<WholePayment>),
}

/// A payment with everything that hangs on it.
#[derive(Serialize)]
struct WholePayment {
    #[serde(flatten)]
    payment: PaymentView,
    refunds: Vec<RefundView>,
    timeline: Vec<TimelineEntry>,
}

/// The last thing on a page. Its kind says in which of the two lists the next page begins.
#[derive(Clone)]
enum Last {
    PaymentMethod(PaymentMethodId),
    Payment(PaymentId),
}

impl fmt::Display for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PaymentMethod(id) => id.fmt(f),
            Self::Payment(id) => id.fmt(f),
        }
    }
}

impl FromStr for Last {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let method = text.parse().map(Self::PaymentMethod);
        method.or_else(|_| text.parse().map(Self::Payment)).map_err(|_| ())
    }
}

/// A page, as far as it is filled.
struct Page {
    limit: usize,
    data: Vec<Exported>,
}

impl Page {
    fn room(&self) -> usize {
        self.limit.saturating_sub(self.data.len())
    }
}

/// Exports everything that is kept of a customer.
///
/// Payment methods come first, then payments with their refunds and timelines; each newest first.
/// A customer that nothing names has nothing.
#[utoipa::path(
    get, path = "/v1/customers/{customer}/export", operation_id = "export_customer", tag = "Customers",
    params(crate::openapi::params::CustomerPath, crate::openapi::params::CustomerListing),
    responses(
        (status = 200, description = "A page.", body = crate::openapi::schemas::customers::CustomerExport),
        (status = 400, description = "customer_invalid limit_out_of_range cursor_invalid"),
    ),
    security(("caller" = ["customers:manage"])),
)]
pub(crate) async fn export(
    State(api): State<Arc<Api>>,
    caller: May<CustomersManage>,
    Customer(customer): Customer,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let mut parameters = Parameters::read(&uri);
    let limit = parameters.limit();
    let after = parameters.cursor::<Last>();
    parameters.finish()?;
    let mut page = Page { limit, data: Vec::new() };
    let next = match after {
        Some(Place { created_at, id: Last::Payment(id) }) => {
            let after = Some(Place { created_at, id });
            add_payments(&api, &caller.merchant_id, &customer, after, &mut page).await?
        }
        Some(Place { created_at, id: Last::PaymentMethod(id) }) => {
            let after = Some(Place { created_at, id });
            add_methods(&api, &caller.merchant_id, &customer, after, &mut page).await?
        }
        None => add_methods(&api, &caller.merchant_id, &customer, None, &mut page).await?,
    };
    Ok(query::page_of(&page.data, next.as_ref()))
}

/// Fills the page with payment methods and, when there are no more, with payments.
async fn add_methods(
    api: &Api,
    merchant_id: &MerchantId,
    customer: &str,
    after: Option<Place<PaymentMethodId>>,
    page: &mut Page,
) -> Result<Option<Place<Last>>, Problem> {
    let listing = MethodListing { after, ..MethodListing::of_customer(customer, page.room()) };
    let found = api.dependencies.payment_methods.list(merchant_id, &listing).await?;
    let last = found
        .items
        .last()
        .map(|method| Place { created_at: method.created_at, id: Last::PaymentMethod(method.id.clone()) });
    page.data.extend(found.items.iter().map(|method| Exported::PaymentMethod(Box::new(PaymentMethod::view(method)))));
    match found.next {
        Some(next) => Ok(Some(Place { created_at: next.created_at, id: Last::PaymentMethod(next.id) })),
        // The payments begin on the next page, if there are any: it asks for methods after the last one and finds none.
        None if page.room() == 0 => Ok(last),
        None => add_payments(api, merchant_id, customer, None, page).await,
    }
}

async fn add_payments(
    api: &Api,
    merchant_id: &MerchantId,
    customer: &str,
    after: Option<Place<PaymentId>>,
    page: &mut Page,
) -> Result<Option<Place<Last>>, Problem> {
    let payments = &api.dependencies.payments;
    let listing = Listing { after, ..payments_of(customer, page.room()) };
    let found = payments.list(merchant_id, &listing).await?;
    for payment in found.items.iter().filter(|payment| payment.customer.as_deref() == Some(customer)) {
        let refunds = payments.refunds_of(payment).await?;
        let timeline = journal::timeline(payment, &refunds);
        let refunds = refunds.iter().map(Refund::view).collect();
        let whole = WholePayment { payment: Payment::view(payment), refunds, timeline };
        page.data.push(Exported::Payment(Box::new(whole)));
    }
    Ok(found.next.map(|next| Place { created_at: next.created_at, id: Last::Payment(next.id) }))
}
