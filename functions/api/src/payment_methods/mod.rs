//! `/v1/payment_methods`: cards that the gateway keeps for later payments.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod list;
