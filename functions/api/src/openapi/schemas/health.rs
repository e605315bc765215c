//! Whether the API is there, and whether it can work.

use utoipa::ToSchema;

/// Always `ok`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ok {
    /// It is.
    Ok,
}

/// The process runs.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Live {
    /// Always `ok`.
    #[schema(inline)]
    pub status: Ok,
}

/// The process runs, and which version it is.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Always `ok`.
    #[schema(inline)]
    pub status: Ok,
    /// The version of this instance.
    #[schema(example = "0.1.0")]
    pub version: String,
}

/// Where the circuit breaker around the gateway stands.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// Calls go through.
    Closed,
    /// The gateway is away.
    Open,
    /// It is tried whether the gateway is back.
    HalfOpen,
}

/// What was looked at.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Checks {
    /// Always `ok`: else the answer is a 503.
    #[schema(inline)]
    pub dynamodb: Ok,
    /// An open breaker does not make the API unready: what was accepted waits.
    #[schema(inline)]
    pub gateway: Breaker,
}

/// The tables can be read.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// Always `ok`.
    #[schema(inline)]
    pub status: Ok,
    /// What was looked at.
    pub checks: Checks,
}
