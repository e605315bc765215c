//! Money: whole minor units and an ISO 4217 currency. No floats, no unchecked arithmetic, no mixing.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The largest amount of one payment, in minor units: 9,999,999,999.99 in a currency with two decimals.
/// It fits a JSON number exactly (2^53 is larger) and leaves room for sums in an `i64`.
pub const AMOUNT_MAX_MINOR_UNITS: i64 = 999_999_999_999;

/// An ISO 4217 currency that money is paid in. Funds codes, metals and test codes are not.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// Reads an upper-case ISO 4217 code, such as `NGN`.
    pub fn parse(code: &str) -> Option<Self> {
        if !(code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase())) {
            return None;
        }
        // Codes beginning with X are metals, tests and drawing rights, but for these four.
        if code.starts_with('X') && !matches!(code, "XAF" | "XCD" | "XOF" | "XPF") {
            return None;
        }
        let currency = iso_currency::Currency::from_code(code)?;
        currency.exponent().map(|_| Self(currency))
    }

    /// The upper-case ISO 4217 code.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many decimals the major unit has: 0 (JPY), 2 (NGN), 3 (KWD).
    pub fn decimals(self) -> u16 {
        self.0.exponent().unwrap_or(0)
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = UnknownCurrency;
    fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
        Self::parse(code).ok_or(UnknownCurrency)
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The text is no currency that money is paid in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 4217 currency")]
pub struct UnknownCurrency;

/// An amount in minor units of one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money {
    amount: i64,
    currency: Currency,
}

impl Money {
    /// `amount` minor units of `currency`.
    pub const fn new(amount: i64, currency: Currency) -> Self {
        Self { amount, currency }
    }

    /// Minor units.
    pub const fn amount(self) -> i64 {
        self.amount
    }

    /// The currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// The sum, or nothing if the currencies differ or the sum does not fit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if self.currency != other.currency {
            return None;
        }
        self.amount.checked_add(other.amount).map(|amount| Self::new(amount, self.currency))
    }

    /// The difference, or nothing if the currencies differ or it does not fit.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        if self.currency != other.currency {
            return None;
        }
        self.amount.checked_sub(other.amount).map(|amount| Self::new(amount, self.currency))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn knows_currencies_with_zero_two_and_three_decimals() {
        let decimals = |code| Currency::parse(code).map(Currency::decimals);
        assert_eq!(decimals("JPY"), Some(0));
        assert_eq!(decimals("NGN"), Some(2));
        assert_eq!(decimals("KWD"), Some(3));
        assert_eq!(decimals("XOF"), Some(0));
    }

    #[test]
    fn refuses_what_money_is_not_paid_in() {
        for code in ["", "ngn", "NG", "NGNN", "XXX", "XAU", "XTS", "ZZZ", "N1N", "€€€"] {
            assert_eq!(Currency::parse(code), None, "{code}");
        }
    }

    proptest! {
        #[test]
        fn adding_and_taking_away_conserves(a in any::<i64>(), b in any::<i64>()) {
            let ngn = Currency::parse("NGN").unwrap();
            let (a, b) = (Money::new(a, ngn), Money::new(b, ngn));
            if let Some(sum) = a.checked_add(b) {
                prop_assert_eq!(sum.checked_sub(b), Some(a));
            }
        }

        #[test]
        fn currencies_never_mix(a in any::<i64>(), b in any::<i64>()) {
            let a = Money::new(a, Currency::parse("NGN").unwrap());
            let b = Money::new(b, Currency::parse("JPY").unwrap());
            prop_assert_eq!(a.checked_add(b), None);
            prop_assert_eq!(a.checked_sub(b), None);
        }
    }
}
