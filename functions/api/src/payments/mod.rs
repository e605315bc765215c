//! `/v1/payments`.

pub(crate) mod command;
pub(crate) mod create;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod timeline;
