//! Configuration comes from the environment, is read once during init, and a wrong value stops the function there.

use florin_domain::{card::Mode, rate::Rate};
use url::Url;

/// A setting that is missing or wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The variable is not set, or is empty.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// The variable has a value that it may not have.
    #[error("the environment variable {name} is wrong: {rule}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What is allowed.
        rule: &'static str,
    },
}

/// The value of a variable that must be set.
pub fn required(name: &'static str) -> Result<String, ConfigError> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).ok_or(ConfigError::Missing(name))
}

/// `FLORIN_MODE`: `test` or `live`. There is no default: a deployment says what it is.
pub fn mode() -> Result<Mode, ConfigError> {
    match required("FLORIN_MODE")?.as_str() {
        "test" => Ok(Mode::Test),
        "live" => Ok(Mode::Live),
        _ => Err(ConfigError::Invalid { name: "FLORIN_MODE", rule: "test or live" }),
    }
}

/// `WEBHOOK_ALLOW_LOOPBACK`: `true` lets webhooks go to this machine, which only a local run may do. Default `false`.
pub fn webhook_allow_loopback() -> Result<bool, ConfigError> {
    const NAME: &str = "WEBHOOK_ALLOW_LOOPBACK";
    match std::env::var(NAME).unwrap_or_default().as_str() {
        "" | "false" => Ok(false),
        "true" if std::env::var("FLORIN_MODE").as_deref() == Ok("live") => {
            Err(ConfigError::Invalid { name: NAME, rule: "false in live mode" })
        }
        "true" => Ok(true),
        _ => Err(ConfigError::Invalid { name: NAME, rule: "true or false" }),
    }
}

/// `PUBLIC_URL`: where clients reach the API, without a slash at the end. Access tokens name it as their issuer.
pub fn public_url() -> Result<String, ConfigError> {
    const NAME: &str = "PUBLIC_URL";
    let text = required(NAME)?;
    let rule = "an http(s) URL without user, query, fragment and slash at the end";
    if is_public_url(&text) { Ok(text) } else { Err(ConfigError::Invalid { name: NAME, rule }) }
}

fn is_public_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        let plain = url.username().is_empty() && url.password().is_none();
        let plain = plain && url.query().is_none() && url.fragment().is_none();
        plain && url.has_host() && matches!(url.scheme(), "http" | "https") && !text.ends_with('/')
    })
}

/// `ACCESS_TOKEN_GENERATION`: which generation of keys signs access tokens. Counting it up rotates them.
pub fn access_token_generation() -> Result<u32, ConfigError> {
    const NAME: &str = "ACCESS_TOKEN_GENERATION";
    let read = required(NAME)?.parse().ok().filter(|generation| *generation > 0);
    read.ok_or(ConfigError::Invalid { name: NAME, rule: "a whole number from 1" })
}

/// `REQUESTS_PER_SECOND_PER_KEY` and `REQUEST_BURST_PER_KEY`: how many requests each API key or user may make.
pub fn request_rate() -> Result<Rate, ConfigError> {
    const NAMES: [&str; 2] = ["REQUESTS_PER_SECOND_PER_KEY", "REQUEST_BURST_PER_KEY"];
    let [per_second, burst] = NAMES.map(|name| {
        let rule = "a whole number";
        required(name)?.parse::<u32>().map_err(|_| ConfigError::Invalid { name, rule })
    });
    let (per_second, burst) = (per_second?, burst?);
    Rate::new(per_second, burst).ok_or(ConfigError::Invalid {
        name: "REQUESTS_PER_SECOND_PER_KEY",
        rule: "1 to 100000 a second, with bursts of 1 to 1000000",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_has_nothing_at_its_end() {
        for good in ["https://api.shop.example", "http://127.0.0.1:4566/_aws/execute-api/a1", "https://shop.example/v"]
        {
            assert!(is_public_url(good), "{good}");
        }
        for wrong in [
            "",
            "api.shop.example",
            "ftp://shop.example",
            "https://shop.example/",
            "https://shop.example?a",
            "https://shop.example#a",
            "https://ada@shop.example",
        ] {
            assert!(!is_public_url(wrong), "{wrong}");
        }
    }
}
