//! `GET /v1/analytics/payments`: how payments ended, by the hour or day in which they were created.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State, http::Uri};
use florin_domain::{
    analytics::percentile,
    money::Currency,
    time::{MS_PER_HOUR, Timestamp},
};
use florin_store::analytics::{Counters, HourCounters};
use serde_json::{Value, json};

use crate::{
    Api,
    permission::{AnalyticsRead, May},
    problem::Problem,
    query::Parameters,
};

/// Milliseconds in a day.
const MS_PER_DAY: i64 = 24 * MS_PER_HOUR;
/// The range that is shown unless asked otherwise: the last 24 hours.
const RANGE_DEFAULT_MS: i64 = MS_PER_DAY;
/// The longest range by the hour, in milliseconds: 31 days.
const RANGE_BY_HOUR_MS_MAX: i64 = 31 * MS_PER_DAY;
/// The longest range by the day, in milliseconds: 366 days.
const RANGE_BY_DAY_MS_MAX: i64 = 366 * MS_PER_DAY;

struct Range {
    from: Timestamp,
    to: Timestamp,
    bucket_ms: i64,
    currency: Option<Currency>,
}

/// Counts payments that have ended, by the hour or day (UTC) in which they were created.
///
/// Ranges are widened to whole hours or days: 31 days at most by the hour, 366 by the day.
#[utoipa::path(
    get, path = "/v1/analytics/payments", operation_id = "count_payments", tag = "Analytics",
    params(crate::openapi::params::AnalyticsRange),
    responses(
        (status = 200, description = "The counts.", body = crate::openapi::schemas::analytics::BucketList),
        (status = 400, description = "granularity_invalid to_invalid from_invalid currency_invalid range_invalid range_too_long"),
    ),
    security(("caller" = ["analytics:read"])),
)]
pub(crate) async fn payments(
    State(api): State<Arc<Api>>,
    caller: May<AnalyticsRead>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let range = range(&uri, api.dependencies.clock.now())?;
    let hours = api.dependencies.analytics.hours(&caller.merchant_id, range.from, range.to).await?;
    let data: Vec<Value> = buckets(&hours, &range)
        .iter()
        .map(|((start, currency), counters)| bucket(*start, currency, counters))
        .collect();
    Ok(Json(json!({ "object": "list", "data": data })))
}

fn range(uri: &Uri, now: Timestamp) -> Result<Range, Problem> {
    let mut parameters = Parameters::read(uri);
    let by_day = parameters
        .take("granularity", "granularity_invalid", "hour or day.", |text| match text {
            "hour" => Some(false),
            "day" => Some(true),
            _ => None,
        })
        .unwrap_or(false);
    let (bucket_ms, range_ms_max) =
        if by_day { (MS_PER_DAY, RANGE_BY_DAY_MS_MAX) } else { (MS_PER_HOUR, RANGE_BY_HOUR_MS_MAX) };
    let to = parameters.moment("to", "to_invalid").unwrap_or(now);
    let from = parameters.moment("from", "from_invalid").unwrap_or_else(|| to.plus_ms(-RANGE_DEFAULT_MS));
    let currency = parameters.currency();
    if from > to {
        parameters.wrong("from", "range_invalid", "from is not after to.");
    } else if to.ms_since(from) > range_ms_max {
        let days = range_ms_max / MS_PER_DAY;
        parameters.wrong("from", "range_too_long", format!("The range has at most {days} days."));
    }
    parameters.finish()?;
    // Whole buckets: the one in which `from` lies, and the one in which `to` lies.
    Ok(Range { from: floor(from, bucket_ms), to: floor(to, bucket_ms).plus_ms(bucket_ms), bucket_ms, currency })
}

fn floor(moment: Timestamp, bucket_ms: i64) -> Timestamp {
    Timestamp::from_ms(moment.ms() - moment.ms().rem_euclid(bucket_ms))
}

fn buckets(hours: &[HourCounters], range: &Range) -> BTreeMap<(Timestamp, &'static str), Counters> {
    let mut buckets: BTreeMap<_, Counters> = BTreeMap::new();
    for hour in hours.iter().filter(|hour| range.currency.is_none_or(|currency| currency == hour.currency)) {
        let key = (floor(hour.hour, range.bucket_ms), hour.currency.code());
        buckets.entry(key).or_default().merge(&hour.counters);
    }
    buckets
}

fn bucket(start: Timestamp, currency: &str, counters: &Counters) -> Value {
    let latencies: Vec<(u64, u64)> = counters.latency.iter().map(|(bucket, count)| (*bucket, *count)).collect();
    json!({
        "start": start,
        "currency": currency,
        "count": counters.count,
        "amount": counters.amount,
        "failure_codes": counters.failure_codes,
        "latency_ms": {
            "p50": percentile(&latencies, 50),
            "p95": percentile(&latencies, 95),
            "p99": percentile(&latencies, 99),
        },
    })
}
