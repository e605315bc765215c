//! Randomness from the operating system.

/// Random bytes.
///
/// # Panics
/// If the operating system has no randomness: nothing safe can be done then.
#[expect(clippy::expect_used, reason = "without randomness no id, key or token is safe")]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    bytes
}

/// A number from 0 to 99, for jitter.
pub fn percent() -> u8 {
    let [low, high] = bytes();
    u8::try_from(u16::from_be_bytes([high, low]) % 100).unwrap_or(0)
}

/// 128 random bits in hexadecimal.
pub fn hex128() -> String {
    bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect()
}
