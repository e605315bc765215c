//! Who calls.

use http::{HeaderMap, header};

use crate::counters::CLIENT;

/// What the access key ids of functions begin with; behind it the function's name and the environment's number.
pub(super) const FUNCTION_KEY_PREFIX: &str = "host.";

/// A caller, told by the access key id that signed the request. Signatures are not checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// The function's name, or `client`.
    pub(super) function: String,
    /// The access key id; empty without a signature.
    pub(super) access_key_id: String,
}

impl Caller {
    /// Reads `Credential=KEY/…` of the `Authorization` header.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let credential = authorization.and_then(|text| text.split_once("Credential=")).map(|(_, rest)| rest);
        let access_key_id = credential.and_then(|text| text.split('/').next()).unwrap_or_default().to_owned();
        let function = access_key_id
            .strip_prefix(FUNCTION_KEY_PREFIX)
            .and_then(|rest| rest.rsplit_once('.'))
            .map_or(CLIENT, |(function, _)| function)
            .to_owned();
        Self { function, access_key_id }
    }
}

/// Whether the request names a loopback host: a web page that has its own name resolve to 127.0.0.1 does not.
pub(super) fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return true };
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost" | "[::1]") || name.ends_with(".localhost")
}

/// Whether a page in a browser asks. Some of its requests need no leave beforehand, and none of them has any business
/// with services or the control address.
pub(super) fn is_a_web_page(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes);
    headers.contains_key(header::ORIGIN) || site.is_some_and(|site| !matches!(site, b"none" | b"same-origin"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_function_is_known_by_its_key() {
        for (key, function) in [
            ("host.florin-local-api.3", "florin-local-api"),
            ("host.a.b.12", "a.b"),
            ("test", CLIENT),
            ("host.nameless", CLIENT),
        ] {
            let text = format!("AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/sqs/aws4_request, Signature=0");
            let caller = Caller::of(&headers(header::AUTHORIZATION, &text));
            assert_eq!(caller, Caller { function: function.to_owned(), access_key_id: key.to_owned() });
        }
        assert_eq!(Caller::of(&HeaderMap::new()).function, CLIENT);
    }

    #[test]
    fn web_pages_are_known_by_what_browsers_add() {
        let site = || header::HeaderName::from_static("sec-fetch-site");
        assert!(is_a_web_page(&headers(header::ORIGIN, "null")));
        assert!(is_a_web_page(&headers(site(), "cross-site")));
        assert!(!is_a_web_page(&headers(site(), "none")), "an address that a person typed");
        assert!(!is_a_web_page(&HeaderMap::new()));
    }

    #[test]
    fn only_loopback_names_are_local() {
        for (host, local) in [
            ("127.0.0.1:4566", true),
            ("localhost", true),
            ("[::1]:4566", true),
            ("api.localhost:4566", true),
            ("evil.example:4566", false),
            ("127.0.0.1.evil.example", false),
            ("notlocalhost", false),
        ] {
            assert_eq!(is_local(&headers(header::HOST, host)), local, "{host}");
        }
    }
}
