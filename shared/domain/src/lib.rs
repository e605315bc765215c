//! The rules of Florin, pure: no AWS, no clock, no randomness, no I/O.
//!
//! Time and ids come in as arguments. A state machine is a function from (state, command) to the next state.
//! This crate knows no other crate of the workspace.

pub mod analytics;
pub mod breaker;
pub mod card;
pub mod effect;
mod erasure;
pub mod event;
pub mod field;
pub mod ids;
pub mod journal;
pub mod merchant;
pub mod money;
pub mod mutation;
pub mod payment;
pub mod payment_method;
pub mod permission;
pub mod rate;
pub mod refund;
pub mod retention;
pub mod saga;
pub mod time;
pub mod user;
pub mod webhook;
