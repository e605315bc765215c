//! Random ids: of messages, requests and traces.

use crate::clock;

/// Bytes of a random id.
const RANDOM_BYTES: usize = 16;

/// A random UUID, such as a request's id.
pub(crate) fn uuid() -> String {
    // Version 4, variant 1.
    let number = random() & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// What X-Ray would call an invocation that is not sampled.
pub(crate) fn trace() -> String {
    let seconds = clock::now_ms() / 1_000;
    let root = format!("{:024x}", random() >> 32);
    let parent = format!("{:016x}", random() >> 64);
    format!("Root=1-{seconds:08x}-{root};Parent={parent};Sampled=0")
}

fn random() -> u128 {
    let mut bytes = [0; RANDOM_BYTES];
    // Without the system's generator ids repeat within a millisecond, which is worse than nothing but harms nobody.
    match getrandom::fill(&mut bytes) {
        Ok(()) => u128::from_be_bytes(bytes),
        Err(_) => u128::from(clock::now_ms()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_look_like_ids() {
        let id = uuid();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(id.as_bytes()[14], b'4', "{id}");
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
        assert_ne!(id, uuid());
        let trace = trace();
        assert_eq!(trace.len(), "Root=1-12345678-".len() + 24 + ";Parent=".len() + 16 + ";Sampled=0".len(), "{trace}");
    }
}
