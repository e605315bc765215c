//! What is counted of a payment that has ended, and how latencies are kept: a log-linear histogram, whose buckets can
//! be added up, rather than a mean, which cannot.

use crate::{
    event::Event,
    ids::{EventId, MerchantId},
    money::Currency,
    payment::Status,
    time::Timestamp,
};

/// Buckets per power of two: a percentile is at most an eighth too high.
const BUCKETS_PER_OCTAVE: u64 = 8;
/// Latencies from here on share one bucket: about 194 days, in milliseconds.
const LATENCY_MS_MAX: u64 = (1 << 34) - 1;

/// What analytics takes from an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The event that told it; an event is counted once.
    pub event_id: EventId,
    /// When the payment ended.
    pub ended_at: Timestamp,
    /// Whose payment it was.
    pub merchant_id: MerchantId,
    /// The hour in which it was created is the hour in which it counts.
    pub created_at: Timestamp,
    /// In which currency.
    pub currency: Currency,
    /// How it ended.
    pub status: Status,
    /// Minor units.
    pub amount: i64,
    /// Why it failed.
    pub failure_code: Option<String>,
}

impl Ended {
    /// What the event says of a payment's end; nothing if it announces no end.
    pub fn from_event(event: &Event) -> Option<Self> {
        let payment = event.data.payment()?;
        payment.status.is_terminal().then(|| Self {
            event_id: event.id.clone(),
            ended_at: event.time,
            merchant_id: event.merchantid.clone(),
            created_at: payment.created_at,
            currency: payment.currency,
            status: payment.status,
            amount: payment.amount,
            failure_code: payment.failure.as_ref().map(|failure| failure.code.clone()),
        })
    }

    /// Milliseconds from creation to end.
    pub fn latency_ms(&self) -> u64 {
        u64::try_from(self.ended_at.ms_since(self.created_at)).unwrap_or(0)
    }
}

/// The histogram bucket of a latency. Below 8 ms every millisecond has its own.
pub fn latency_bucket(latency_ms: u64) -> u64 {
    let latency_ms = latency_ms.min(LATENCY_MS_MAX);
    let Some(octave) = latency_ms.checked_ilog2().filter(|octave| *octave >= 3) else {
        return latency_ms;
    };
    let shift = octave - 3;
    (u64::from(shift) + 1) * BUCKETS_PER_OCTAVE + (latency_ms >> shift) - BUCKETS_PER_OCTAVE
}

/// The largest latency of a bucket, in milliseconds: what a percentile in it is reported as.
pub fn latency_of_bucket(bucket: u64) -> u64 {
    let Some(shift) = (bucket / BUCKETS_PER_OCTAVE).checked_sub(1) else {
        return bucket;
    };
    (((bucket % BUCKETS_PER_OCTAVE) + BUCKETS_PER_OCTAVE + 1) << shift.min(31)) - 1
}

/// The latency that `percent` of the counted payments did not exceed; nothing for an empty histogram.
/// `buckets` are (bucket, count) in rising order.
pub fn percentile(buckets: &[(u64, u64)], percent: u64) -> Option<u64> {
    let total: u64 = buckets.iter().map(|(_, count)| count).sum();
    let rank = (total * percent).div_ceil(100).max(1);
    let mut seen = 0;
    buckets.iter().find_map(|(bucket, count)| {
        seen += count;
        (seen >= rank).then(|| latency_of_bucket(*bucket))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentiles_of_a_known_histogram() {
        let buckets: Vec<(u64, u64)> = [5, 100, 1_000].into_iter().map(|ms| (latency_bucket(ms), 1)).collect();
        assert_eq!(percentile(&buckets, 50), Some(103));
        assert_eq!(percentile(&buckets, 99), Some(1_023));
        assert_eq!(percentile(&buckets, 0), Some(5));
        assert_eq!(percentile(&[], 50), None);
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_latency_within_an_eighth(ms in 0..LATENCY_MS_MAX) {
            let reported = latency_of_bucket(latency_bucket(ms));
            prop_assert!(reported >= ms && reported - ms <= ms / 8, "{ms} -> {reported}");
        }

        #[test]
        fn buckets_rise_with_latency(a in any::<u64>(), b in any::<u64>()) {
            let (a, b) = (a.min(b), a.max(b));
            prop_assert!(latency_bucket(a) <= latency_bucket(b));
        }
    }
}
