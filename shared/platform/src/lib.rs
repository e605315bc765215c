//! What every function stands on: configuration, AWS clients, telemetry, clock and randomness, secrets, and an HTTP
//! client that cannot be turned against our own network.

pub mod aws;
pub mod cache;
pub mod clock;
pub mod config;
pub mod deadline;
pub mod guard;
pub mod http;
pub mod oidc;
pub mod password;
pub mod random;
pub mod secrets;
pub mod telemetry;
pub mod tokens;

pub use deadline::time_left;
