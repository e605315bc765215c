//! Passwords: argon2id (RFC 9106) with the parameters that OWASP recommends, kept as PHC strings, which name them.
//!
//! A password is taken as it is sent, without normalisation of Unicode: clients send NFC.

use std::sync::{Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params, Version, password_hash::phc::PasswordHash};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Memory that one hash takes, in KiB.
const MEMORY_KIB: u32 = 19_456;
/// Passes over the memory.
const PASSES: u32 = 2;
/// Lanes: a function has one core at most.
const LANES: u32 = 1;

/// Shortest password, in characters.
pub const PASSWORD_CHARACTERS_MIN: usize = 12;
/// Longest password, in characters: enough for any phrase.
pub const PASSWORD_CHARACTERS_MAX: usize = 128;
/// Fewest different characters in a password: fewer are one key, or a short pattern again and again.
const DIFFERENT_CHARACTERS_MIN: usize = 5;
/// Bytes of a salt (RFC 9106, section 3.1).
pub const SALT_BYTES: usize = 16;

/// What people type when they are asked for twelve characters, in small letters.
const COMMON: [&str; 16] = [
    "123456789012",
    "1234567890123",
    "12345678901234567890",
    "0987654321098",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "abcdefghijkl",
    "administrator",
    "iloveyou1234",
    "letmein12345",
    "password1234",
    "password12345",
    "passwordpassword",
    "qwertyuiop12",
    "qwertyuiop123",
    "qwertyuiopasdfgh",
];

/// The hash of a password that nobody has, with a salt that nobody has: an absent user costs as much as one who is
/// there.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a password may not be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short or too long.
    #[error("The password has 12 to 128 characters.")]
    Length,
    /// One of those that are tried first.
    #[error("The password is easily guessed.")]
    Common,
    /// It is, or contains, the address of its user.
    #[error("The password does not contain the mail address.")]
    Address,
}

/// A password: never printed, wiped when it is dropped.
#[derive(Debug)]
pub struct Password(SecretString);

impl Password {
    /// A password that a user chooses, whose address is `email`.
    pub fn choose(text: &str, email: &str) -> Result<Self, PasswordError> {
        if !(PASSWORD_CHARACTERS_MIN..=PASSWORD_CHARACTERS_MAX).contains(&text.chars().count()) {
            return Err(PasswordError::Length);
        }
        let small = SecretString::from(text.to_lowercase());
        let small = small.expose_secret();
        if COMMON.contains(&small) || different_characters(small) < DIFFERENT_CHARACTERS_MIN {
            return Err(PasswordError::Common);
        }
        if !email.is_empty() && small.contains(&email.to_lowercase()) {
            return Err(PasswordError::Address);
        }
        Ok(Self(SecretString::from(text)))
    }

    /// A password that somebody presents. None if it is longer than any that can be chosen.
    pub fn presented(text: &str) -> Option<Self> {
        (text.chars().count() <= PASSWORD_CHARACTERS_MAX).then(|| Self(SecretString::from(text)))
    }
}

fn different_characters(text: &str) -> usize {
    text.chars().collect::<std::collections::BTreeSet<_>>().len()
}

/// What argon2 works in, 19 MiB: allocated by the first password of a process and kept. Allocated anew for each one it
/// would leave holes behind, which the allocator fills with small things and cannot use again.
static MEMORY: Mutex<Vec<Block>> = Mutex::new(Vec::new());

/// Fills `out` with argon2id of the password.
fn derive(password: &Password, salt: &[u8], params: Params, out: &mut [u8]) -> Result<(), argon2::Error> {
    let mut memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let blocks = params.block_count();
    if memory.len() < blocks {
        memory.resize(blocks, Block::default());
    }
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let work = memory.get_mut(..blocks).unwrap_or_default();
    let done = argon2.hash_password_into_with_memory(password.0.expose_secret().as_bytes(), salt, out, &mut *work);
    // What is left in it is derived from the password.
    work.iter_mut().for_each(Zeroize::zeroize);
    done
}

/// The hash to keep, as a PHC string. The salt is random, and another one for every password.
#[expect(clippy::expect_used, reason = "the parameters are constants, and a test hashes with them")]
pub fn hash(password: &Password, salt: &[u8; SALT_BYTES]) -> String {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are within argon2's limits");
    let mut out = [0; Params::DEFAULT_OUTPUT_LEN];
    derive(password, salt, params, &mut out).expect("a password of bounded length can be hashed");
    let [salt, out] = [&salt[..], &out].map(|bytes| STANDARD_NO_PAD.encode(bytes));
    format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${out}")
}

/// Whether this is the password whose hash is kept. Without a hash the work is the same and the answer is no, so that
/// the time that a login takes does not tell whether there is such a user.
pub fn verify(password: &Password, kept: Option<&str>) -> bool {
    let matches = PasswordHash::new(kept.unwrap_or(NOBODY)).is_ok_and(|kept| is_of(password, &kept).unwrap_or(false));
    matches && kept.is_some()
}

/// Whether the hash is the password's; none if it is no hash of argon2.
fn is_of(password: &Password, kept: &PasswordHash) -> Option<bool> {
    let params = Params::try_from(kept).ok()?;
    let expected = kept.hash.as_ref()?.as_bytes();
    let mut out = vec![0; expected.len()];
    derive(password, kept.salt.as_ref()?.as_ref(), params, &mut out).ok()?;
    Some(out.ct_eq(expected).into())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const GOOD: &str = "correct horse battery staple";

    fn chosen(text: &str) -> Password {
        Password::choose(text, "ada@shop.example").unwrap()
    }

    #[test]
    fn a_hash_names_its_parameters_and_verifies() {
        let hashed = hash(&chosen(GOOD), &[7; SALT_BYTES]);
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw$"), "{hashed}");
        assert!(verify(&chosen(GOOD), Some(&hashed)));
        assert!(!verify(&chosen("correct horse battery stapler"), Some(&hashed)));
        assert_ne!(hashed, hash(&chosen(GOOD), &[8; SALT_BYTES]));
        assert!(!verify(&chosen(GOOD), Some("no hash at all")));
    }

    /// `echo -n password | argon2 somesalt -id -v 13 -m 16 -t 2 -p 1`, from the tests of the reference implementation.
    #[test]
    fn the_reference_implementation_agrees() {
        let kept = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(verify(&Password::presented("password").unwrap(), Some(kept)));
        assert!(!verify(&Password::presented("passwore").unwrap(), Some(kept)));
    }

    #[test]
    fn passwords_have_rules() {
        let choose = |text: &str| Password::choose(text, "ada.lovelace@shop.example").map(|_| ());
        for text in [GOOD, "zwölf Zeichen", "日本語のパスワードは十二文字", &format!("ab1{}", "cde".repeat(41))]
        {
            assert_eq!(choose(text), Ok(()), "{text}");
        }
        for text in ["", "elf Zeichen", &"abcde ".repeat(22)] {
            assert_eq!(choose(text), Err(PasswordError::Length), "{text}");
        }
        for text in ["Password1234", "aaaaaaaaaaaa", "abcabcabcabc", "123412341234"] {
            assert_eq!(choose(text), Err(PasswordError::Common), "{text}");
        }
        for text in ["ada.lovelace@shop.example", "Ada.Lovelace@Shop.Example!"] {
            assert_eq!(choose(text), Err(PasswordError::Address), "{text}");
        }
        assert!(COMMON.iter().all(|text| choose(text) == Err(PasswordError::Common)));
        assert!(Password::presented(&"a".repeat(129)).is_none());
    }

    #[test]
    fn nothing_shows_a_password() {
        assert!(!format!("{:?}", chosen(GOOD)).contains("horse"));
    }

    /// The least of a few measurements: what it takes when nothing disturbs.
    fn least(mut work: impl FnMut()) -> Duration {
        let measured = (0..5).map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        });
        measured.min().unwrap_or_default()
    }

    #[test]
    fn an_absent_user_costs_as_much_as_one_who_is_there() {
        let (password, hashed) = (chosen(GOOD), hash(&chosen("another good one"), &[7; SALT_BYTES]));
        let parameters = |text: &str| text.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(parameters(NOBODY), parameters(&hashed));
        assert!(!verify(&password, None));
        let there = least(|| assert!(!verify(&password, Some(&hashed))));
        let absent = least(|| assert!(!verify(&password, None)));
        // A hash that is skipped takes no time at all; machines that test are busy.
        let ratio = absent.as_micros() * 100 / there.as_micros().max(1);
        assert!((50..200).contains(&ratio), "{absent:?} {there:?}");
    }
}
