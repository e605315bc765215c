//! `/v1/customers`: whom payment methods are attached to. <https://docs.stripe.com/api/customers>

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
    failure::Failure,
    id,
    idempotency::Effect,
    list::{self, Listing},
    params::{Id, Params, Post},
};

const PREFIX: &str = "cus_";
const LISTING: Listing<'static> = Listing { kind: Kind::Customer, prefix: PREFIX, url: "/v1/customers" };

/// As it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Customer {
    id: String,
    created: i64,
    metadata: BTreeMap<String, String>,
}

impl Customer {
    fn show(&self) -> Value {
        json!({
            "id": self.id, "object": "customer", "created": self.created, "livemode": false,
            "metadata": self.metadata,
        })
    }

    fn parse(record: &Record) -> Result<Self, Failure> {
        serde_json::from_str(&record.body).map_err(|_| Failure::broken())
    }
}

impl Simulator {
    async fn customer(&self, id: &str) -> Result<Option<Customer>, Failure> {
        if !id::is_plausible(id, PREFIX) {
            return Ok(None);
        }
        let record = self.table.get(Kind::Customer, id).await?;
        record.as_ref().map(Customer::parse).transpose()
    }

    /// Refuses a parameter that names a customer there is none of.
    pub(crate) async fn must_have_customer(&self, id: &str) -> Result<(), Failure> {
        let no_such = || Failure::parameter("customer", "resource_missing", "No such customer.");
        self.customer(id).await?.map(|_| ()).ok_or_else(no_such)
    }
}

/// Creates one, and attaches a payment method to it if one is named: both or neither.
pub(crate) async fn create(State(simulator): Shared, post: Post) -> Result<Response, Failure> {
    let params = &post.params;
    params.only(&["payment_method", "metadata["])?;
    let metadata = params.metadata()?;
    simulator
        .once(&post, async || {
            let now_ms = simulator.now_ms();
            let customer = Customer { id: id::at(PREFIX, now_ms), created: now_ms / 1_000, metadata: metadata.clone() };
            let body = serde_json::to_string(&customer).map_err(|_| Failure::broken())?;
            let mut records = vec![Record { kind: Kind::Customer, id: customer.id.clone(), version: 1, body }];
            if let Some(method) = params.text("payment_method") {
                records.push(simulator.attached(method, &customer.id).await?.next_record()?);
            }
            Ok(Effect { records, status: StatusCode::OK, body: customer.show(), hold: Duration::ZERO })
        })
        .await
}

/// Shows one.
pub(crate) async fn retrieve(State(simulator): Shared, Id(id): Id) -> Result<Response, Failure> {
    let customer = simulator.customer(&id).await?.ok_or_else(|| Failure::not_found("customer"))?;
    Ok(Json(customer.show()).into_response())
}

/// Lists them, newest first.
pub(crate) async fn list(State(simulator): Shared, params: Params) -> Result<Response, Failure> {
    params.only(list::PARAMETERS)?;
    simulator.page(&LISTING, &params, |record| Customer::parse(record).ok().map(|customer| customer.show())).await
}
