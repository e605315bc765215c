//! Card input. The number and the CVV live in types that cannot be printed, serialised or compared, and that are
//! wiped when dropped; they leave this module only into the gateway's request.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::{field::FieldError, time::Timestamp};

/// Shortest card number, in digits.
pub const CARD_NUMBER_DIGITS_MIN: usize = 12;
/// Longest card number, in digits (ISO/IEC 7812-1).
pub const CARD_NUMBER_DIGITS_MAX: usize = 19;
/// Longest card number as typed, with its spaces and dashes, in characters.
pub const CARD_NUMBER_TEXT_CHARACTERS_MAX: usize = 40;
/// Longest holder name, in characters.
pub const HOLDER_NAME_CHARACTERS_MAX: usize = 100;

/// Whether a deployment moves real money. Test cards exist only in test mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Test cards work, the Luhn check is off.
    Test,
    /// Test cards are refused, the Luhn check is on.
    Live,
}

impl Mode {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Live => "live",
        }
    }

    /// What every API key of such a deployment begins with.
    pub fn key_prefix(self) -> &'static str {
        match self {
            Self::Test => "sk_test_",
            Self::Live => "sk_live_",
        }
    }
}

/// Digits that must not be seen: a card number or a CVV.
pub struct SecretDigits(Zeroizing<String>);

impl SecretDigits {
    /// The digits, for the gateway's request and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[digits]")
    }
}

/// A card's brand, by the ranges of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Brand {
    /// Visa: 4.
    Visa,
    /// Mastercard: 51–55, 2221–2720.
    Mastercard,
    /// American Express: 34, 37.
    Amex,
    /// Discover: 6011, 644–649, 65.
    Discover,
    /// JCB: 3528–3589.
    Jcb,
    /// Diners Club: 300–305, 36, 38.
    Diners,
    /// UnionPay: 62.
    Unionpay,
    /// Verve: 5060–5061, 6500 (shared with Discover, which wins there).
    Verve,
    /// None of these.
    Unknown,
}

impl Brand {
    /// The brand's name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Visa => "visa",
            Self::Mastercard => "mastercard",
            Self::Amex => "amex",
            Self::Discover => "discover",
            Self::Jcb => "jcb",
            Self::Diners => "diners",
            Self::Unionpay => "unionpay",
            Self::Verve => "verve",
            Self::Unknown => "unknown",
        }
    }

    /// The brand by its name in the API; an unknown name is `Unknown`.
    pub fn from_name(name: &str) -> Self {
        [Self::Visa, Self::Mastercard, Self::Amex, Self::Discover, Self::Jcb, Self::Diners, Self::Unionpay, Self::Verve]
            .into_iter()
            .find(|brand| brand.as_str() == name)
            .unwrap_or(Self::Unknown)
    }

    fn of(digits: &str) -> Self {
        let head = |n: usize| digits.get(..n).and_then(|d| d.parse::<u16>().ok()).unwrap_or(0);
        match (head(2), head(3), head(4)) {
            (40..=49, _, _) => Self::Visa,
            (_, _, 5060..=5061) => Self::Verve,
            (51..=55, _, _) | (_, _, 2221..=2720) => Self::Mastercard,
            (34 | 37, _, _) => Self::Amex,
            (65, _, _) | (_, 644..=649, _) | (_, _, 6011) => Self::Discover,
            (_, _, 3528..=3589) => Self::Jcb,
            (36 | 38, _, _) | (_, 300..=305, _) => Self::Diners,
            (62, _, _) => Self::Unionpay,
            _ => Self::Unknown,
        }
    }
}

/// The month in which a card ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry {
    /// Full year, such as 2030.
    pub year: i16,
    /// 1 to 12.
    pub month: i8,
}

impl Expiry {
    /// Reads `MM/YY`; the year lies in this century.
    pub fn parse(text: &str) -> Option<Self> {
        let (month, year) = text.split_once('/')?;
        let two_digits = |part: &str| {
            (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<i16>().ok())?
        };
        let month = i8::try_from(two_digits(month)?).ok().filter(|month| (1..=12).contains(month))?;
        Some(Self { year: 2000 + two_digits(year)?, month })
    }

    /// Whether the card may still be used: it ends with its month.
    pub fn is_past(self, now: Timestamp) -> bool {
        let (year, month) = now.year_month();
        self < Self { year, month }
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}/{:02}", self.month, self.year.rem_euclid(100))
    }
}

/// A card as the client typed it. Wiped when dropped; `Debug` shows nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardInput {
    /// 12 to 19 digits; spaces and dashes allowed.
    pub number: String,
    /// `MM/YY`.
    pub expiry: String,
    /// 3 or 4 digits.
    pub cvv: String,
    /// Not empty.
    pub holder_name: String,
}

impl Drop for CardInput {
    fn drop(&mut self) {
        self.number.zeroize();
        self.cvv.zeroize();
    }
}

impl fmt::Debug for CardInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CardInput")
    }
}

/// A card that passed every check that can be made without the gateway.
pub struct Card {
    number: SecretDigits,
    cvv: SecretDigits,
    expiry: Expiry,
    holder_name: String,
    brand: Brand,
    last4: String,
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Card").field("brand", &self.brand).field("last4", &self.last4).finish_non_exhaustive()
    }
}

impl Card {
    /// Checks every field; the errors' pointers begin with `pointer`, in the order number, expiry, cvv, holder name.
    pub fn check(input: &CardInput, pointer: &str, mode: Mode, now: Timestamp) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let digits = check_number(&input.number, mode)
            .map_err(|(code, detail)| errors.push(FieldError::new(format!("{pointer}/number"), code, detail)));
        let expiry = check_expiry(&input.expiry, now)
            .map_err(|(code, detail)| errors.push(FieldError::new(format!("{pointer}/expiry"), code, detail)));
        if !(matches!(input.cvv.len(), 3 | 4) && input.cvv.bytes().all(|b| b.is_ascii_digit())) {
            errors.push(FieldError::new(format!("{pointer}/cvv"), "cvv_invalid", "The CVV has 3 or 4 digits."));
        }
        let holder_name = input.holder_name.trim();
        let length = holder_name.chars().count();
        if length == 0 || length > HOLDER_NAME_CHARACTERS_MAX || holder_name.chars().any(char::is_control) {
            errors.push(FieldError::new(
                format!("{pointer}/holder_name"),
                "holder_name_invalid",
                format!("The holder name has 1 to {HOLDER_NAME_CHARACTERS_MAX} printable characters."),
            ));
        } else if contains_card_number(holder_name) {
            errors.push(FieldError::new(
                format!("{pointer}/holder_name"),
                "card_number_in_text",
                "This looks like a card number, which Florin refuses to store.",
            ));
        }
        match (digits, expiry) {
            (Ok(digits), Ok(expiry)) if errors.is_empty() => Ok(Self {
                brand: Brand::of(&digits),
                last4: digits.get(digits.len().saturating_sub(4)..).unwrap_or_default().to_owned(),
                number: SecretDigits(digits),
                cvv: SecretDigits(Zeroizing::new(input.cvv.clone())),
                expiry,
                holder_name: holder_name.to_owned(),
            }),
            _ => Err(errors),
        }
    }

    /// The number, digits only.
    pub const fn number(&self) -> &SecretDigits {
        &self.number
    }

    /// The CVV.
    pub const fn cvv(&self) -> &SecretDigits {
        &self.cvv
    }

    /// The month in which the card ends.
    pub const fn expiry(&self) -> Expiry {
        self.expiry
    }

    /// The holder's name, trimmed.
    pub fn holder_name(&self) -> &str {
        &self.holder_name
    }

    /// The brand by the number's range.
    pub const fn brand(&self) -> Brand {
        self.brand
    }

    /// The last four digits, which may be shown (PCI DSS 3.4).
    pub fn last4(&self) -> &str {
        &self.last4
    }
}

type Rule = (&'static str, String);

fn check_number(text: &str, mode: Mode) -> Result<Zeroizing<String>, Rule> {
    let invalid = || {
        let detail = format!(
            "The card number has {CARD_NUMBER_DIGITS_MIN} to {CARD_NUMBER_DIGITS_MAX} digits; spaces and dashes are allowed."
        );
        ("card_number_invalid", detail)
    };
    if text.len() > CARD_NUMBER_TEXT_CHARACTERS_MAX {
        return Err(invalid());
    }
    let mut digits = Zeroizing::new(String::with_capacity(CARD_NUMBER_TEXT_CHARACTERS_MAX));
    for character in text.chars() {
        match character {
            '0'..='9' => digits.push(character),
            ' ' | '-' => {}
            _ => return Err(invalid()),
        }
    }
    if !(CARD_NUMBER_DIGITS_MIN..=CARD_NUMBER_DIGITS_MAX).contains(&digits.len()) {
        return Err(invalid());
    }
    if mode == Mode::Live {
        if !passes_luhn(&digits) {
            return Err(("card_number_invalid", "The card number's check digit is wrong.".to_owned()));
        }
        if is_published_test_card(&digits) {
            return Err(("test_card_in_live_mode", "Test cards are refused in live mode.".to_owned()));
        }
    }
    Ok(digits)
}

fn check_expiry(text: &str, now: Timestamp) -> Result<Expiry, Rule> {
    let expiry = Expiry::parse(text)
        .ok_or_else(|| ("expiry_invalid", "The expiry is written MM/YY, such as 12/30.".to_owned()))?;
    if expiry.is_past(now) {
        return Err(("card_expired", "The card has expired.".to_owned()));
    }
    Ok(expiry)
}

/// The check digit of ISO/IEC 7812-1, annex B.
pub fn passes_luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte.wrapping_sub(b'0'));
            match (place % 2, digit) {
                (0, digit) => digit,
                (_, digit @ 0..=4) => digit * 2,
                (_, digit) => digit * 2 - 9,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Numbers that gateways publish for testing and that no bank issues.
fn is_published_test_card(digits: &str) -> bool {
    matches!(
        digits,
        "4242424242424242" | "5555555555554444" | "378282246310005" | "4000000000000002" | "4000000000000119"
    )
}

/// Whether free text holds what looks like a card number: 13 to 19 digits, in groups with spaces or dashes between
/// them, with a card brand's first digits and a valid check digit. Such text must not be stored (invariant 8).
///
/// A number may stand between other digits, as in `17 4242 4242 4242 4242 12/30`, so it may begin and end with any
/// group.
pub fn contains_card_number(text: &str) -> bool {
    let is_separator = |c: char| c == ' ' || c == '-';
    text.split(|c: char| !c.is_ascii_digit() && !is_separator(c)).any(|run| {
        let groups: Vec<&str> = run.split(is_separator).filter(|group| !group.is_empty()).collect();
        (0..groups.len()).any(|first| {
            let mut digits = Zeroizing::new(String::with_capacity(CARD_NUMBER_TEXT_CHARACTERS_MAX));
            groups.iter().skip(first).any(|group| {
                if digits.len() <= CARD_NUMBER_DIGITS_MAX {
                    digits.push_str(group);
                }
                (13..=CARD_NUMBER_DIGITS_MAX).contains(&digits.len())
                    && Brand::of(&digits) != Brand::Unknown
                    && passes_luhn(&digits)
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_ms(1_795_251_600_000); // 2026-11-21

    fn input(number: &str, expiry: &str, cvv: &str, holder: &str) -> CardInput {
        CardInput { number: number.into(), expiry: expiry.into(), cvv: cvv.into(), holder_name: holder.into() }
    }

    fn codes(input: &CardInput, mode: Mode) -> Vec<(String, &'static str)> {
        let errors = Card::check(input, "/source", mode, NOW).err().unwrap_or_default();
        errors.into_iter().map(|e| (e.pointer, e.code)).collect()
    }

    #[test]
    fn a_good_card_shows_only_brand_and_last_four() {
        let card =
            Card::check(&input("4242 4242-4242 4242", "12/30", "123", " Ada Obi "), "", Mode::Test, NOW).unwrap();
        assert_eq!((card.brand(), card.last4(), card.holder_name()), (Brand::Visa, "4242", "Ada Obi"));
        assert_eq!(card.expiry().to_string(), "12/30");
        let shown = format!("{card:?} {:?} {:?}", card.number(), card.cvv());
        assert!(!shown.contains("424242") && !shown.contains("123"), "{shown}");
    }

    #[test]
    fn brands_by_range() {
        for (number, brand) in [
            ("5555555555554444", Brand::Mastercard),
            ("2221000000000009", Brand::Mastercard),
            ("378282246310005", Brand::Amex),
            ("6011111111111117", Brand::Discover),
            ("3530111333300000", Brand::Jcb),
            ("30569309025904", Brand::Diners),
            ("6200000000000005", Brand::Unionpay),
            ("5060990580000217499", Brand::Verve),
            ("999999999999", Brand::Unknown),
        ] {
            assert_eq!(Brand::of(number), brand, "{number}");
            assert_eq!(Brand::from_name(brand.as_str()), brand);
        }
    }

    #[test]
    fn every_wrong_field_is_named_in_order() {
        assert_eq!(
            codes(&input("4242x", "13/30", "12", "  "), Mode::Test),
            [
                ("/source/number".into(), "card_number_invalid"),
                ("/source/expiry".into(), "expiry_invalid"),
                ("/source/cvv".into(), "cvv_invalid"),
                ("/source/holder_name".into(), "holder_name_invalid"),
            ]
        );
        assert_eq!(codes(&input("4242424242424242", "10/26", "123", "A"), Mode::Test)[0].1, "card_expired");
        assert!(codes(&input("4242424242424242", "11/26", "123", "A"), Mode::Test).is_empty());
    }

    #[test]
    fn live_mode_checks_luhn_and_refuses_test_cards() {
        assert_eq!(codes(&input("4242424242424241", "12/30", "123", "A"), Mode::Live)[0].1, "card_number_invalid");
        assert_eq!(codes(&input("4242424242424242", "12/30", "123", "A"), Mode::Live)[0].1, "test_card_in_live_mode");
        assert!(codes(&input("4000056655665556", "12/30", "123", "A"), Mode::Live).is_empty());
        assert!(codes(&input("4242424242420000", "12/30", "123", "A"), Mode::Test).is_empty());
    }

    #[test]
    fn a_card_number_in_text_is_found() {
        assert!(contains_card_number("card 4242 4242 4242 4242 please"));
        assert!(contains_card_number("378282246310005"));
        assert!(contains_card_number("4242 4242 4242 4242 12/30 123"), "with what stands beside it on the card");
        assert!(contains_card_number("4242-4242-4242-4242 123"));
        assert!(contains_card_number("Order 17 4242 4242 4242 4242"));
        assert!(!contains_card_number("Order 4242424242424241"));
        assert!(!contains_card_number("2026-11-21 order 17, phone 0803 123 4567"));
    }

    proptest! {
        #[test]
        fn no_input_panics_or_leaks(number in ".{0,60}", expiry in ".{0,8}", cvv in ".{0,6}", holder in ".{0,120}") {
            if let Err(errors) = Card::check(&input(&number, &expiry, &cvv, &holder), "/source", Mode::Live, NOW) {
                prop_assert!(!errors.is_empty());
                let digits: String = number.chars().filter(char::is_ascii_digit).collect();
                for error in errors {
                    prop_assert!(digits.len() < 12 || !error.detail.contains(&digits));
                }
            }
        }
    }
}
