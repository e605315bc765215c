//! Configuration comes from the environment, is read once during init, and a wrong value stops the function there.

use florin_domain::{card::Mode, rate::Rate};

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
