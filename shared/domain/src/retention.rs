//! For how long records are kept that need not be kept for good.

use crate::time::Timestamp;

/// The longest retention, in days: ten years with their leap days.
pub const RETENTION_DAYS_MAX: u32 = 3_653;
/// The shortest retention of webhook deliveries, in days. A message can come again for 14 days from its queue and 14
/// more as a dead letter, and the record of its delivery keeps it from being sent twice.
pub const DELIVERY_RETENTION_DAYS_MIN: u32 = 30;
/// How long webhook deliveries are kept where nothing else is set, in days.
pub const DELIVERY_RETENTION_DAYS: u32 = 90;
/// The shortest retention of audit logs that are not kept for good, in days: PCI DSS 4.0.1, 10.5.1, asks for a year.
pub const AUDIT_RETENTION_DAYS_MIN: u32 = 365;

const MS_PER_DAY: i64 = 24 * 60 * 60 * 1_000;

/// How long a kind of record is kept: whole days, at least one and at most [`RETENTION_DAYS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    days: u32,
}

impl Retention {
    /// Webhook deliveries where nothing else is set.
    pub const DELIVERIES: Self = Self { days: DELIVERY_RETENTION_DAYS };

    /// This many days, if records of any kind may be kept for so long.
    pub const fn of_days(days: u32) -> Option<Self> {
        if days == 0 || days > RETENTION_DAYS_MAX { None } else { Some(Self { days }) }
    }

    /// When a record of this moment expires.
    pub fn expiry(self, of: Timestamp) -> Timestamp {
        of.plus_ms(self.ms())
    }

    /// The moment before which records have expired by `now`.
    pub fn oldest(self, now: Timestamp) -> Timestamp {
        now.plus_ms(-self.ms())
    }

    fn ms(self) -> i64 {
        i64::from(self.days) * MS_PER_DAY
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    #[test]
    fn a_record_expires_whole_days_after_its_moment() {
        let moment = Timestamp::parse("2026-11-22T10:00:00.123Z").unwrap();
        let week = Retention::of_days(7).unwrap();
        assert_eq!(week.expiry(moment).to_string(), "2026-11-29T10:00:00.123Z");
        assert_eq!(week.oldest(week.expiry(moment)), moment);
    }

    #[test]
    fn nothing_is_kept_for_no_time_or_beyond_the_longest() {
        assert_eq!(Retention::of_days(0), None);
        assert_eq!(Retention::of_days(RETENTION_DAYS_MAX + 1), None);
        assert!(Retention::of_days(1).is_some());
        assert!(Retention::of_days(RETENTION_DAYS_MAX).is_some());
    }
}
