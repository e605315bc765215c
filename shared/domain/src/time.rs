//! Instants with the precision that Florin stores and shows: milliseconds, UTC.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Milliseconds in a second.
pub const MS_PER_SECOND: i64 = 1_000;
/// Milliseconds in an hour.
pub const MS_PER_HOUR: i64 = 3_600_000;

/// A wait that doubles with every further try, in milliseconds, and never exceeds `max`.
pub(crate) fn doubled_ms(base: i64, doublings: u32, max: i64) -> i64 {
    (0..doublings).fold(base.min(max), |ms, _| ms.saturating_mul(2).min(max))
}

/// A moment in UTC, in milliseconds since 1970. Shown as RFC 3339 with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first moment that can be shown.
    pub const MIN: Self = Self(0);
    /// The last moment that can be shown: in any time zone it is still the year 9999.
    pub const MAX: Self = Self(253_402_207_200_000);

    /// A moment from milliseconds since 1970; outside of what RFC 3339 can show it is clamped.
    pub const fn from_ms(ms: i64) -> Self {
        if ms < Self::MIN.0 {
            Self::MIN
        } else if ms > Self::MAX.0 {
            Self::MAX
        } else {
            Self(ms)
        }
    }

    /// Milliseconds since 1970.
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0 / MS_PER_SECOND
    }

    /// This moment and `ms` milliseconds more (or fewer, if negative).
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self::from_ms(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; negative if `earlier` is later.
    pub const fn ms_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// The start of the hour that this moment lies in.
    pub const fn hour(self) -> Self {
        Self(self.0 - self.0 % MS_PER_HOUR)
    }

    /// Reads an RFC 3339 date and time with an offset.
    pub fn parse(text: &str) -> Option<Self> {
        let ms = text.parse::<jiff::Timestamp>().ok()?.as_millisecond();
        (Self::MIN.0..=Self::MAX.0).contains(&ms).then_some(Self(ms))
    }

    /// Year and month (1 to 12) in UTC, for card expiry.
    pub fn year_month(self) -> (i16, i8) {
        let date =
            jiff::Timestamp::from_millisecond(self.0).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC).date();
        (date.year(), date.month())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timestamp = jiff::Timestamp::from_millisecond(self.0).unwrap_or_default();
        write!(f, "{timestamp:.3}")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not an RFC 3339 date and time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_milliseconds_and_reads_them_back() {
        let moment = Timestamp::from_ms(1_795_251_600_007);
        assert_eq!(moment.to_string(), "2026-11-21T09:00:00.007Z");
        assert_eq!(Timestamp::parse("2026-11-21T10:00:00.007+01:00"), Some(moment));
        assert_eq!(Timestamp::parse("2026-11-21"), None);
        assert_eq!(moment.hour().to_string(), "2026-11-21T09:00:00.000Z");
        assert_eq!(moment.year_month(), (2026, 11));
    }

    #[test]
    fn clamps_what_cannot_be_shown() {
        assert_eq!(Timestamp::from_ms(i64::MAX).to_string(), "9999-12-30T22:00:00.000Z");
        assert_eq!(Timestamp::from_ms(-5), Timestamp::MIN);
    }
}
