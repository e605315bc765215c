//! `/v1/customers/{customer}`: what is kept of one of the merchant's customers, exported and erased.
//!
//! There is no customer to be found or not: a customer that nothing names has nothing.

pub(crate) mod erase;
pub(crate) mod export;

use axum::{extract::FromRequestParts, http::request::Parts};
use florin_domain::{field::FieldError, payment_method::is_customer};

use crate::{body::customer_rule, path::Name, problem::Problem};

/// The customer in a route's path.
pub(crate) struct Customer(String);

impl<S: Send + Sync> FromRequestParts<S> for Customer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Name(name) = Name::from_request_parts(parts, state).await?;
        if is_customer(&name) {
            return Ok(Self(name));
        }
        let wrong = FieldError::new("customer", "customer_invalid", customer_rule());
        Err(Problem::Parameters(vec![wrong]))
    }
}
