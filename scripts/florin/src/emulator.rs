//! What plays AWS: our own host, MiniStack, or whatever answers at an address.

use std::{fmt, str::FromStr};

use anyhow::{Result, bail};
use reqwest::Url;

use crate::local_env::LocalEnv;

/// The variable of `local.env` that says which one runs.
pub(crate) const VARIABLE: &str = "FLORIN_EMULATOR";

/// What plays AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Emulator {
    /// `localstack/host`.
    Host,
    /// MiniStack, from PyPI.
    MiniStack,
    /// Somebody else's, at this address without a trailing slash.
    Other(String),
}

impl Emulator {
    /// Its name in `local.env`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::MiniStack => "ministack",
            Self::Other(_) => "other",
        }
    }

    /// The one that `local.env` describes.
    pub(crate) fn of(env: &LocalEnv) -> Result<Self> {
        match env.required(VARIABLE)? {
            "host" => Ok(Self::Host),
            "ministack" => Ok(Self::MiniStack),
            "other" => Ok(Self::Other(env.required("AWS_ENDPOINT_URL")?.to_owned())),
            unknown => bail!("local.env names an unknown emulator, {unknown}; start again with ./scripts/up"),
        }
    }

    /// Its address; ours listen on `port`.
    pub(crate) fn endpoint(&self, port: u16) -> String {
        match self {
            Self::Host | Self::MiniStack => format!("http://127.0.0.1:{port}"),
            Self::Other(endpoint) => endpoint.clone(),
        }
    }

    /// Path of a request that succeeds when it is up; `None` where that is not known.
    pub(crate) fn health(&self) -> Option<&'static str> {
        match self {
            Self::Host => Some("/_host/health"),
            Self::MiniStack => Some("/_ministack/health"),
            Self::Other(_) => None,
        }
    }

    /// Name of the folder that holds its data and keys: each one, and each address, has its own.
    pub(crate) fn folder(&self) -> String {
        match self {
            Self::Host | Self::MiniStack => self.name().to_owned(),
            Self::Other(endpoint) => {
                let allowed = |c: char| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' };
                format!("at_{}", endpoint.chars().map(allowed).collect::<String>())
            }
        }
    }
}

impl fmt::Display for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the local host"),
            Self::MiniStack => f.write_str("MiniStack"),
            Self::Other(endpoint) => write!(f, "the emulator at {endpoint}"),
        }
    }
}

impl FromStr for Emulator {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "host" => Ok(Self::Host),
            "ministack" => Ok(Self::MiniStack),
            _ => match Url::parse(text) {
                Ok(url) if matches!(url.scheme(), "http" | "https") && is_only_an_address(&url) => {
                    Ok(Self::Other(text.trim_end_matches('/').to_owned()))
                }
                _ => bail!("give host, ministack, or an address without a path, such as http://127.0.0.1:4566"),
            },
        }
    }
}

fn is_only_an_address(url: &Url) -> bool {
    url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_is_named_or_addressed() {
        assert_eq!("host".parse::<Emulator>().unwrap(), Emulator::Host);
        assert_eq!("ministack".parse::<Emulator>().unwrap(), Emulator::MiniStack);
        let other = Emulator::Other("http://127.0.0.1:9297".to_owned());
        assert_eq!("http://127.0.0.1:9297/".parse::<Emulator>().unwrap(), other);
        for wrong in
            ["", "localstack", "127.0.0.1:4566", "ftp://127.0.0.1", "http://a/path", "http://me@a", "http://a?b"]
        {
            let error = wrong.parse::<Emulator>().unwrap_err().to_string();
            assert!(error.contains("ministack"), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_recognised() {
        for emulator in [Emulator::Host, Emulator::MiniStack, Emulator::Other("https://a.example:8443".to_owned())] {
            let mut env = LocalEnv::default();
            env.set(VARIABLE, emulator.name());
            env.set("AWS_ENDPOINT_URL", emulator.endpoint(4566));
            assert_eq!(Emulator::of(&env).unwrap(), emulator);
        }
    }

    #[test]
    fn every_emulator_has_a_folder_of_its_own() {
        let others = ["http://127.0.0.1:4566", "http://127.0.0.1:4567", "https://127.0.0.1:4566"];
        let mut folders = vec![Emulator::Host.folder(), Emulator::MiniStack.folder()];
        folders.extend(others.map(|url| Emulator::Other(url.to_owned()).folder()));
        assert!(folders.iter().all(|folder| !folder.contains('/')), "{folders:?}");
        folders.sort();
        folders.dedup();
        assert_eq!(folders.len(), 5);
    }
}
