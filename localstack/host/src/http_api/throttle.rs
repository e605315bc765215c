//! The token bucket in front of a stage.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::model;

/// A token bucket, kept as the moment at which it would be full again (the generic cell rate algorithm), so that
/// nothing has to run while nothing comes in.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Between two tokens; `None` when there are none.
    interval: Option<Duration>,
    burst: u32,
    /// When the bucket is full again, since an arbitrary start.
    full_at: Mutex<Duration>,
}

impl Bucket {
    /// Full.
    pub(super) fn new(throttle: model::Throttle) -> Self {
        let interval = Duration::try_from_secs_f64(throttle.rate.recip()).ok();
        Self { interval, burst: throttle.burst, full_at: Mutex::new(Duration::ZERO) }
    }

    /// Takes a token, if there is one. `now` counts from the same start each time.
    pub(super) fn take(&self, now: Duration) -> bool {
        let (Some(interval), Some(spare)) = (self.interval, self.burst.checked_sub(1)) else { return false };
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.saturating_sub(now) > interval.saturating_mul(spare) {
            return false;
        }
        *full_at = (*full_at).max(now).saturating_add(interval);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &Bucket, at_ms: u64, tries: usize) -> usize {
        (0..tries).filter(|_| bucket.take(Duration::from_millis(at_ms))).count()
    }

    #[test]
    fn a_burst_is_taken_and_then_the_rate() {
        let bucket = Bucket::new(model::Throttle { rate: 10.0, burst: 5 });

        assert_eq!(taken(&bucket, 1_000, 9), 5);
        assert_eq!(taken(&bucket, 1_099, 9), 0);
        assert_eq!(taken(&bucket, 1_100, 9), 1);
        assert_eq!(taken(&bucket, 1_350, 9), 2);
        assert_eq!(taken(&bucket, 1_400, 9), 1);
        // It fills up, and no further.
        assert_eq!(taken(&bucket, 60_000, 9), 5);
    }

    #[test]
    fn no_rate_and_no_burst_take_nothing() {
        assert!(!Bucket::new(model::Throttle { rate: 0.0, burst: 5 }).take(Duration::ZERO));
        assert!(!Bucket::new(model::Throttle { rate: 10.0, burst: 0 }).take(Duration::ZERO));
        assert!(Bucket::new(model::Throttle { rate: 10.0, burst: 1 }).take(Duration::ZERO));
    }
}
