//! How many batches are at work at once, and how long a failing function is left alone.
//!
//! AWS documents that its pollers begin with five batches, add more while messages wait, and back off by degrees when
//! the function fails; the numbers behind the last two are not documented.

use std::time::{Duration, Instant};

/// Batches at work at once in the beginning, as AWS documents it.
const BATCHES_AT_FIRST: usize = 5;
/// A mapping that is at its width for this long becomes wider.
const GROWTH_EVERY_MS: u64 = 1_000;
/// By so many batches: AWS documents up to 300 a minute.
const GROWTH_BATCHES: usize = 5;
/// After the first failure in a row nothing is received for this long; after each further one twice as long.
const PAUSE_MS_MIN: u64 = 1_000;
/// At most.
const PAUSE_MS_MAX: u64 = 10_000;

/// The pace of one mapping.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    width: usize,
    width_max: usize,
    /// Since when all of the width is used.
    full_since: Option<Instant>,
    failures: u32,
    resume_at: Instant,
}

impl Pace {
    /// From now on, with so many batches at most.
    pub(super) fn new(width_max: usize, now: Instant) -> Self {
        let width = BATCHES_AT_FIRST.min(width_max);
        Self { width, width_max, full_since: None, failures: 0, resume_at: now }
    }

    /// Batches that may be at work at once.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Nothing is received before.
    pub(super) fn resume_at(&self) -> Instant {
        self.resume_at
    }

    /// All of the width is at work. Tells when to look again whether that lasts.
    pub(super) fn full(&mut self, now: Instant) -> Instant {
        let every = Duration::from_millis(GROWTH_EVERY_MS);
        let since = *self.full_since.get_or_insert(now);
        if now.duration_since(since) >= every {
            self.width = (self.width + GROWTH_BATCHES).min(self.width_max);
            self.full_since = Some(now);
            return now + every;
        }
        since + every
    }

    /// The queue had nothing for a while: no more width is needed.
    pub(super) fn waited(&mut self) {
        self.full_since = None;
    }

    /// A batch succeeded.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        if self.width < BATCHES_AT_FIRST.min(self.width_max) {
            self.width += 1;
        }
    }

    /// A batch that began at this time failed. Batches that began before the last pause ended are the same failure.
    pub(super) fn failed(&mut self, began: Instant, now: Instant) {
        if began < self.resume_at {
            return;
        }
        let doubled = PAUSE_MS_MIN.saturating_mul(1 << self.failures.min(16));
        self.failures += 1;
        self.resume_at = now + Duration::from_millis(doubled.min(PAUSE_MS_MAX));
        self.width = (self.width / 2).max(1);
        self.full_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_grows_only_while_all_of_it_is_used_for_long() {
        let now = Instant::now();
        let mut pace = Pace::new(12, now);
        assert_eq!(pace.width(), 5);
        assert_eq!(pace.full(now), now + ms(1_000));
        pace.full(now + ms(999));
        assert_eq!(pace.width(), 5);
        pace.full(now + ms(1_000));
        assert_eq!(pace.width(), 10);
        pace.full(now + ms(2_000));
        assert_eq!(pace.width(), 12);

        let mut pace = Pace::new(12, now);
        pace.full(now);
        pace.waited();
        pace.full(now + ms(1_000));
        assert_eq!(pace.width(), 5);
        assert_eq!(Pace::new(2, now).width(), 2);
    }

    #[test]
    fn failures_in_a_row_pause_longer_and_longer() {
        let now = Instant::now();
        let mut pace = Pace::new(10, now);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let began = pace.resume_at();
            pace.failed(began, began);
            // The other batches of the time before.
            pace.failed(began, began);
            pauses.push(pace.resume_at().duration_since(began).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
        assert_eq!(pace.width(), 1);
        for _ in 0..9 {
            pace.succeeded();
        }
        assert_eq!(pace.width(), 5);
        let began = pace.resume_at();
        pace.failed(began, began);
        assert_eq!(pace.resume_at().duration_since(began), ms(1_000));
    }
}
