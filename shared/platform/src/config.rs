//! Configuration comes from the environment, is read once during init, and a wrong value stops the function there.

use florin_domain::{
    card::Mode,
    rate::Rate,
    retention::{AUDIT_RETENTION_DAYS_MIN, DELIVERY_RETENTION_DAYS_MIN, Retention},
};
use secrecy::{ExposeSecret, SecretString};
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

/// What the secret keys of a gateway's test mode begin with.
const TEST_KEYS: [&str; 2] = ["sk_test_", "rk_test_"];
/// What those begin with that move money.
const LIVE_KEYS: [&str; 2] = ["sk_live_", "rk_live_"];
/// Where nothing is that moves money.
const LOOPBACK: [&str; 3] = ["localhost", "127.", "[::1]"];

/// The card gateway that this deployment charges at.
#[derive(Debug)]
pub struct GatewayAccess {
    /// What `/v1/…` is appended to.
    pub base_url: String,
    /// The secret key of the account there.
    pub api_key: SecretString,
}

/// `GATEWAY_BASE_URL` and `GATEWAY_API_KEY`.
///
/// A live deployment with a test gateway would hand out goods for nothing, and a test deployment with a live key would
/// charge people: neither starts. The simulator lets nobody in but by a test key ([`simulator_key`]), so no live
/// deployment can be served by one, wherever it is.
pub fn gateway(mode: Mode) -> Result<GatewayAccess, ConfigError> {
    let access =
        GatewayAccess { base_url: required("GATEWAY_BASE_URL")?, api_key: required("GATEWAY_API_KEY")?.into() };
    check_gateway(mode, access)
}

fn check_gateway(mode: Mode, access: GatewayAccess) -> Result<GatewayAccess, ConfigError> {
    let key_begins =
        |prefixes: [&str; 2]| prefixes.iter().any(|prefix| access.api_key.expose_secret().starts_with(prefix));
    let wrong = |name, rule| Err(ConfigError::Invalid { name, rule });
    match mode {
        Mode::Test if key_begins(LIVE_KEYS) => wrong("GATEWAY_API_KEY", "no live key in test mode"),
        Mode::Test => Ok(access),
        Mode::Live if key_begins(TEST_KEYS) => wrong("GATEWAY_API_KEY", "no test key in live mode"),
        Mode::Live => match access.base_url.strip_prefix("https://") {
            Some(host) if !LOOPBACK.iter().any(|here| host.starts_with(here)) => Ok(access),
            _ => wrong("GATEWAY_BASE_URL", "in live mode https, and not this machine"),
        },
    }
}

/// `GATEWAY_API_KEY` of the gateway simulator, which exists in test mode only and has a test key.
pub fn simulator_key() -> Result<SecretString, ConfigError> {
    check_simulator(mode()?, required("GATEWAY_API_KEY")?)
}

fn check_simulator(mode: Mode, key: String) -> Result<SecretString, ConfigError> {
    if mode == Mode::Live {
        return Err(ConfigError::Invalid { name: "FLORIN_MODE", rule: "test: the simulator moves no money" });
    }
    if !TEST_KEYS.iter().any(|prefix| key.starts_with(prefix)) {
        return Err(ConfigError::Invalid { name: "GATEWAY_API_KEY", rule: "the simulator's begins with sk_test_" });
    }
    Ok(key.into())
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

/// `DELIVERY_RETENTION_DAYS`: for how long the records of webhook deliveries are kept.
pub fn delivery_retention() -> Result<Retention, ConfigError> {
    const NAME: &str = "DELIVERY_RETENTION_DAYS";
    let rule = "30 to 3653 days";
    retention(&required(NAME)?, DELIVERY_RETENTION_DAYS_MIN).ok_or(ConfigError::Invalid { name: NAME, rule })
}

/// `AUDIT_RETENTION_DAYS`: for how long merchants' audit logs are kept; 0 is for good.
pub fn audit_retention() -> Result<Option<Retention>, ConfigError> {
    const NAME: &str = "AUDIT_RETENTION_DAYS";
    let days = required(NAME)?;
    if days == "0" {
        return Ok(None);
    }
    let read = retention(&days, AUDIT_RETENTION_DAYS_MIN);
    read.map(Some).ok_or(ConfigError::Invalid { name: NAME, rule: "0, which is for good, or 365 to 3653 days" })
}

fn retention(days: &str, min: u32) -> Option<Retention> {
    days.parse().ok().filter(|days| *days >= min).and_then(Retention::of_days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_is_within_its_bounds() {
        assert_eq!(retention("90", DELIVERY_RETENTION_DAYS_MIN), Some(Retention::DELIVERIES));
        for wrong in ["", "0", "29", "3654", "-90", "90 days"] {
            assert_eq!(retention(wrong, DELIVERY_RETENTION_DAYS_MIN), None, "{wrong}");
        }
    }

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

    const REAL: &str = "https://api.stripe.com";

    fn refused(mode: Mode, base_url: &str, key: &str) -> Option<String> {
        let access = GatewayAccess { base_url: base_url.to_owned(), api_key: key.to_owned().into() };
        assert!(!format!("{access:?}").contains(key));
        let error = check_gateway(mode, access).err()?.to_string();
        assert!(!error.contains(key), "{error}");
        Some(error)
    }

    #[test]
    fn a_live_deployment_starts_with_a_live_gateway_only() {
        assert_eq!(refused(Mode::Live, REAL, "sk_live_0123456789"), None);
        assert_eq!(refused(Mode::Live, REAL, "rk_live_0123456789"), None);
        for key in ["sk_test_0123456789", "rk_test_0123456789"] {
            assert!(refused(Mode::Live, REAL, key).unwrap().contains("GATEWAY_API_KEY"));
        }
        for url in [
            "http://api.stripe.com",
            "http://localhost:4566/gateway",
            "https://localhost:4566",
            "https://127.0.0.1",
            "https://[::1]",
            "",
        ] {
            assert!(refused(Mode::Live, url, "sk_live_0123456789").unwrap().contains("GATEWAY_BASE_URL"), "{url}");
        }
    }

    #[test]
    fn a_test_deployment_charges_nobody() {
        for url in [REAL, "http://localhost:4566/gateway"] {
            assert_eq!(refused(Mode::Test, url, "sk_test_0123456789"), None);
            assert!(refused(Mode::Test, url, "sk_live_0123456789").unwrap().contains("no live key"));
        }
    }

    #[test]
    fn the_simulator_has_a_test_key_so_that_no_live_deployment_is_let_in() {
        assert!(check_simulator(Mode::Test, "sk_test_0123456789".to_owned()).is_ok());
        assert!(check_simulator(Mode::Test, "sk_live_0123456789".to_owned()).is_err());
        assert!(check_simulator(Mode::Test, "0123456789".to_owned()).is_err());
        assert!(check_simulator(Mode::Live, "sk_test_0123456789".to_owned()).is_err());
    }
}
