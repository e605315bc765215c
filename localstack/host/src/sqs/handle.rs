//! Receipt handles: they say which message of which queue, and which of its receives.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Bytes of a handle before base64: four numbers.
const HANDLE_BYTES: usize = 32;

/// What a receipt handle holds. It proves itself without a lookup table, so one from before a restart still deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle {
    /// The queue's number, which is never used again.
    pub(super) queue: u64,
    /// The message's number.
    pub(super) sequence: u64,
    /// Which receive of this message, from 1.
    pub(super) receive: u64,
    /// Chance. Receives are not waited for on disk, so after a crash a number may be given out again: this tells the
    /// two apart.
    pub(super) nonce: u64,
}

impl Handle {
    /// The text that a receiver gets.
    pub(super) fn to_text(self) -> String {
        let mut bytes = Vec::with_capacity(HANDLE_BYTES);
        for number in [self.queue, self.sequence, self.receive, self.nonce] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None` for text that is no handle.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let mut numbers = [0_u64; 4];
        if bytes.len() != HANDLE_BYTES {
            return None;
        }
        for (number, chunk) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
            *number = u64::from_be_bytes(chunk.try_into().ok()?);
        }
        let [queue, sequence, receive, nonce] = numbers;
        (receive > 0).then_some(Self { queue, sequence, receive, nonce })
    }
}
