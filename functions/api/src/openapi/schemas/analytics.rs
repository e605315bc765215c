//! Counts and sums.

use std::collections::BTreeMap;

use utoipa::ToSchema;

use super::{Currency, ListObject, Moment};

/// Percentiles from creation to end, in milliseconds; at most an eighth too high, never too low.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Half of the payments took at most so long.
    #[schema(required, minimum = 0)]
    pub p50: Option<i64>,
    /// 95 of a hundred.
    #[schema(required, minimum = 0)]
    pub p95: Option<i64>,
    /// 99 of a hundred.
    #[schema(required, minimum = 0)]
    pub p99: Option<i64>,
}

/// What was created within an hour or a day, in one currency, and has ended.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Where the hour or day begins.
    pub start: Moment,
    /// Of these payments.
    pub currency: Currency,
    /// Payments by final status.
    pub count: BTreeMap<String, i64>,
    /// Minor units by final status.
    pub amount: BTreeMap<String, i64>,
    /// Failed payments by code.
    pub failure_codes: BTreeMap<String, i64>,
    /// How long they took.
    pub latency_ms: Latency,
}

/// Buckets in which anything happened, oldest first.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketList {
    /// Always `list`.
    #[schema(inline)]
    pub object: ListObject,
    /// The buckets.
    pub data: Vec<Bucket>,
}

/// Of which length the buckets are.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// Hours of UTC.
    Hour,
    /// Days of UTC.
    Day,
}
