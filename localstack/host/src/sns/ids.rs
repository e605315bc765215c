//! Random ids.

use crate::error::ServiceError;

/// A random UUID (version 4) in its usual form.
///
/// # Errors
/// When the system gives no random bytes.
pub(crate) fn uuid() -> Result<String, ServiceError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| ServiceError::internal(format!("no random bytes: {error}")))?;
    let number = u128::from_be_bytes(bytes);
    // Version 4, variant 1 (RFC 9562, section 5.4).
    let number = number & !(0xf << 76) | 0x4 << 76;
    let number = number & !(0b11 << 62) | 0b10 << 62;
    let digits = format!("{number:032x}");
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    let parts: Vec<&str> = parts.iter().filter_map(|(from, to)| digits.get(*from..*to)).collect();
    Ok(parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::uuid;

    #[test]
    fn an_id_is_random_and_says_its_version() {
        let (one, other) = (uuid().unwrap(), uuid().unwrap());

        assert_ne!(one, other);
        assert_eq!(one.len(), 36);
        assert_eq!(&one[14..15], "4");
        assert!("89ab".contains(&one[19..20]));
        assert_eq!(one.matches('-').count(), 4);
    }
}
