//! `/v1/refunds`, and `/v1/payments/{id}/refunds`.

pub(crate) mod create;
pub(crate) mod get;
pub(crate) mod list;
