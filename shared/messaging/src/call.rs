//! What SNS and SQS take in one call.

/// Entries of one call.
pub(crate) const ENTRIES_PER_CALL_MAX: usize = 10;
/// Bytes of one call that sends, bodies and attributes: above them the whole call is refused.
pub(crate) const BYTES_PER_CALL_MAX: usize = 256 * 1024;

/// How many messages of these sizes go into one call: at least one, if there is one. A message that is too large alone
/// may be refused; it must not hold up the others.
pub(crate) fn of_one_call(sizes: impl ExactSizeIterator<Item = usize>) -> usize {
    let (there, mut bytes) = (sizes.len(), 0_usize);
    let fitting = sizes.take(ENTRIES_PER_CALL_MAX).take_while(|size| {
        bytes = bytes.saturating_add(*size);
        bytes <= BYTES_PER_CALL_MAX
    });
    fitting.count().max(1).min(there)
}

/// What a message counts for, in bytes; all of our attributes are strings.
pub(crate) fn bytes<'a>(body: &str, attributes: impl Iterator<Item = (&'a str, &'a str)>) -> usize {
    body.len() + attributes.map(|(name, value)| name.len() + value.len() + "String".len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_takes_ten_messages_and_no_more_than_its_bytes() {
        let of = |sizes: &[usize]| of_one_call(sizes.iter().copied());
        let half = BYTES_PER_CALL_MAX / 2;
        assert_eq!(of(&[1; 25]), ENTRIES_PER_CALL_MAX);
        assert_eq!(of(&[half, half, 1]), 2);
        assert_eq!(of(&[1, BYTES_PER_CALL_MAX]), 1);
        assert_eq!(of(&[BYTES_PER_CALL_MAX + 1, 1]), 1, "it may be refused alone, not the others");
        assert_eq!(of(&[]), 0);
    }
}
