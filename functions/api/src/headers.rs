//! What every answer tells browsers: this is data, to be shown, framed, kept and passed on by nobody. The list is that
//! of the OWASP REST Security Cheat Sheet. A page that needs more, such as the documentation, sets its own, which stay.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// For how long a browser uses nothing but https, in seconds: a year, for this host and not for its neighbours.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

const EVERYWHERE: [(HeaderName, HeaderValue); 7] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    // Answers to requests with CORS are not touched by it: those are for the allowed origins.
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ),
];

/// Adds what the answer does not say itself. `secure` is whether the client came by https: over plain http an answer
/// must not ask for it (RFC 6797, section 7.2).
pub(crate) fn protect(headers: &mut HeaderMap, secure: bool) {
    for (name, value) in EVERYWHERE {
        headers.entry(name).or_insert(value);
    }
    if secure {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(HSTS);
    }
}

/// Whether the client came by https, as API Gateway says, which overwrites what the client claims.
pub(crate) fn came_by_https(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_says_itself_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"));
        protect(&mut headers, false);
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], "default-src 'self'");
        assert_eq!(headers[header::X_FRAME_OPTIONS], "DENY");
        assert_eq!(headers.len(), EVERYWHERE.len());
    }

    #[test]
    fn only_an_answer_over_https_asks_for_https() {
        let (mut plain, mut secure) = (HeaderMap::new(), HeaderMap::new());
        protect(&mut plain, false);
        protect(&mut secure, true);
        assert!(!plain.contains_key(header::STRICT_TRANSPORT_SECURITY));
        assert_eq!(secure[header::STRICT_TRANSPORT_SECURITY], "max-age=31536000");
    }
}
