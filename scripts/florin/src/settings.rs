//! A stack's keys and merchants, kept beside its data, since the data is unreadable without.

use std::{
    fs::{self, DirBuilder},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use anyhow::{Context, Result};
use florin_platform::random;
use serde::{Deserialize, Serialize};

use crate::{local_env::replace_file, seed::SeededMerchant};

/// Characters of a key behind its prefix: 160 bits.
const KEY_CHARACTERS: usize = 32;

/// What the stack's keys and merchants are.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// From it API-key hashes and signing secrets are derived.
    pub(crate) root_key: String,
    /// What the gateway simulator accepts.
    pub(crate) gateway_key: String,
    /// The seeded merchant, and the second one for isolation checks.
    pub(crate) merchants: [SeededMerchant; 2],
}

impl Settings {
    fn random() -> Self {
        Self {
            root_key: format!("{}{}", random::hex128(), random::hex128()),
            gateway_key: random_key(),
            merchants: [
                SeededMerchant::random("First Test Shop", "owner@first.example"),
                SeededMerchant::random("Second Test Shop", "owner@second.example"),
            ],
        }
    }

    /// Those that belong to the data in this folder, or new ones, written down before anything is made with them.
    pub(crate) fn prepare(data: &Path) -> Result<Self> {
        let path = data.join("settings.json");
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{} is damaged; --fresh starts without it", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let made = DirBuilder::new().recursive(true).mode(0o700).create(data);
                made.with_context(|| format!("cannot make {}", data.display()))?;
                let settings = Self::random();
                replace_file(&path, &serde_json::to_vec(&settings)?)?;
                Ok(settings)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

/// Forgets data and keys, for `--fresh`.
pub(crate) fn forget(data: &Path) -> Result<()> {
    match fs::remove_dir_all(data) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", data.display()))
        }
        _ => Ok(()),
    }
}

/// `sk_test_` and characters from the operating system's randomness.
pub(crate) fn random_key() -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let characters = random::bytes::<KEY_CHARACTERS>();
    let body = characters.iter().filter_map(|byte| ALPHABET.get(usize::from(byte % 32)).copied().map(char::from));
    format!("sk_test_{}", body.collect::<String>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_with_their_data_until_both_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (host, other) = (folder.path().join("data/host"), folder.path().join("data/ministack"));
        let first = Settings::prepare(&host).unwrap();

        assert_eq!(Settings::prepare(&host).unwrap().root_key, first.root_key);
        assert_ne!(Settings::prepare(&other).unwrap().root_key, first.root_key);

        forget(&host).unwrap();
        assert_ne!(Settings::prepare(&host).unwrap().root_key, first.root_key);
        forget(&folder.path().join("data/nothing")).unwrap();
    }

    #[test]
    fn damaged_settings_name_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("settings.json"), "{").unwrap();
        let error = Settings::prepare(folder.path()).unwrap_err().to_string();
        assert!(error.contains("settings.json") && error.contains("--fresh"), "{error}");
    }
}
