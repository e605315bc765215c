//! Ids that sort by time, so that a listing is a range of keys.

/// Digits whose order as characters is their order as numbers.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Nine digits of five bits hold milliseconds until the year 3084.
const TIME_DIGITS: u32 = 9;

/// 75 random bits.
const RANDOM_DIGITS: usize = 15;

/// The longest id that is looked for, in bytes.
const ID_BYTES_MAX: usize = 64;

/// Sorts behind every id with the same beginning.
const BEHIND: char = '~';

/// A new id of that moment.
pub(crate) fn at(prefix: &str, now_ms: i64) -> String {
    let random = random("");
    format!("{}{random}", first_at(prefix, now_ms))
}

/// Nothing of that moment or later sorts before it.
pub(crate) fn first_at(prefix: &str, ms: i64) -> String {
    let ms = u64::try_from(ms).unwrap_or_default();
    let digits = (0..TIME_DIGITS).rev().map(|place| digit(ms >> (5 * place)));
    prefix.chars().chain(digits).collect()
}

/// Nothing of that moment or earlier sorts behind it.
pub(crate) fn last_at(prefix: &str, ms: i64) -> String {
    let mut id = first_at(prefix, ms);
    id.push(BEHIND);
    id
}

/// Nothing with that prefix sorts behind it.
pub(crate) fn last(prefix: &str) -> String {
    format!("{prefix}{BEHIND}")
}

/// The prefix and random digits.
pub(crate) fn random(prefix: &str) -> String {
    let bytes: [u8; RANDOM_DIGITS] = florin_platform::random::bytes();
    format!("{prefix}{}", digits(&bytes))
}

/// The first bytes as digits: as many as an id has random ones.
pub(crate) fn digits(bytes: &[u8]) -> String {
    bytes.iter().take(RANDOM_DIGITS).map(|byte| digit(u64::from(*byte))).collect()
}

/// Whether it can be an id with that prefix; what cannot is not looked up.
pub(crate) fn is_plausible(id: &str, prefix: &str) -> bool {
    let rest = id.strip_prefix(prefix).unwrap_or_default();
    !rest.is_empty() && id.len() <= ID_BYTES_MAX && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn digit(value: u64) -> char {
    let place = usize::try_from(value & 31).unwrap_or_default();
    ALPHABET.get(place).copied().map_or('0', char::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time() {
        let now = 1_795_251_600_000;
        for (earlier, later) in [(0, 1), (31, 32), (now, now + 1), (now, now + 1_000_000_000)] {
            let (a, b) = (at("pi_", earlier), at("pi_", later));
            assert!(a < b, "{a} {b}");
            assert!(first_at("pi_", later) <= b && b < last_at("pi_", later));
            assert!(a < first_at("pi_", later) && last_at("pi_", earlier) < b);
            assert!(b < last("pi_") && is_plausible(&b, "pi_"));
        }
        assert_ne!(at("pi_", now), at("pi_", now));
        assert!(!is_plausible("pi_", "pi_") && !is_plausible("pm_1", "pi_") && !is_plausible("pi_1/..", "pi_"));
    }
}
