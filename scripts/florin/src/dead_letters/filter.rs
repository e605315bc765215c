//! Which dead letters a command means.

use anyhow::{Result, bail};
use clap::Args;
use florin_domain::{ids::MerchantId, time::Timestamp};
use florin_messaging::dead_letters::Filter;

/// The longest age that makes sense, in days: SQS keeps no message longer.
const AGE_DAYS_MAX: i64 = 14;

/// What a dead letter must be like, all of it together; without any of these every one is meant.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Meant {
    /// Its event's type, such as payment.completed; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Whose event it is
    #[arg(long)]
    merchant: Option<MerchantId>,
    /// A part of the reason of its last failure, upper or lower case
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// It was sent longer ago than this, such as 90s, 10m, 2h or 3d
    #[arg(long, value_name = "AGE", value_parser = age_ms)]
    older_than: Option<i64>,
    /// It was sent within this time, such as 90s, 10m, 2h or 3d
    #[arg(long, value_name = "AGE", value_parser = age_ms)]
    newer_than: Option<i64>,
    /// Its message id; may be repeated
    #[arg(long = "message", value_name = "ID")]
    messages: Vec<String>,
}

impl Meant {
    pub(super) fn filter(&self, now: Timestamp) -> Filter {
        Filter {
            types: self.types.iter().cloned().collect(),
            merchant: self.merchant.as_ref().map(ToString::to_string),
            error: self.error.clone(),
            sent_before: self.older_than.map(|ms| now.plus_ms(-ms)),
            sent_after: self.newer_than.map(|ms| now.plus_ms(-ms)),
            messages: self.messages.iter().cloned().collect(),
        }
    }
}

/// An age in milliseconds from `10m` and the like.
fn age_ms(text: &str) -> Result<i64> {
    let unit_ms = match text.chars().last() {
        Some('s') => 1_000,
        Some('m') => 60_000,
        Some('h') => 3_600_000,
        Some('d') => 86_400_000,
        _ => bail!("an age ends in s, m, h or d"),
    };
    let number: String = text.chars().take(text.chars().count() - 1).collect();
    let ms = number.parse::<u32>().ok().and_then(|number| i64::from(number).checked_mul(unit_ms));
    match ms {
        Some(ms) if ms <= AGE_DAYS_MAX * 86_400_000 => Ok(ms),
        _ => bail!("an age is a whole number of seconds, minutes, hours or days, {AGE_DAYS_MAX} days at most"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit_and_a_limit() {
        for (text, ms) in [("90s", 90_000), ("10m", 600_000), ("2h", 7_200_000), ("14d", 1_209_600_000), ("0s", 0)] {
            assert_eq!(age_ms(text).unwrap(), ms);
        }
        for text in ["", "m", "10", "-1m", "1.5h", "15d", "99999999999d", "10 m", "1é"] {
            age_ms(text).unwrap_err();
        }
    }
}
