//! Answers to browsers.
//!
//! Rules: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html>.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::model::Cors;

/// Headers of answers that belong to the API, once it has a CORS configuration: those of the function are ignored.
const OWN: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// Whether a browser asks what it may do.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Puts the configured headers into an answer, instead of the function's. A request without an allowed origin gets
/// none.
pub(super) fn apply(cors: &Cors, request: &HeaderMap, answer: &mut HeaderMap, preflight: bool) {
    for name in OWN {
        answer.remove(name);
    }
    let Some(origin) = request.get(header::ORIGIN).filter(|origin| allows(cors, origin)) else { return };
    let any = cors.allow_origins.iter().any(|allowed| allowed == "*") && !cors.allow_credentials;
    let allowed = if any { HeaderValue::from_static("*") } else { origin.clone() };
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if !any {
        answer.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if cors.allow_credentials {
        answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    if preflight {
        put(answer, header::ACCESS_CONTROL_ALLOW_METHODS, &cors.allow_methods);
        put(answer, header::ACCESS_CONTROL_ALLOW_HEADERS, &cors.allow_headers);
        if let Some(age) = cors.max_age {
            answer.insert(header::ACCESS_CONTROL_MAX_AGE, age.as_secs().into());
        }
    }
    put(answer, header::ACCESS_CONTROL_EXPOSE_HEADERS, &cors.expose_headers);
}

fn allows(cors: &Cors, origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    cors.allow_origins.iter().any(|allowed| match allowed.split_once('*') {
        // `https://*` and `https://*.example.com`
        Some((before, after)) => {
            origin.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).is_some_and(|rest| !rest.is_empty())
        }
        None => origin == allowed,
    })
}

fn put(answer: &mut HeaderMap, name: HeaderName, values: &[String]) {
    if let (false, Ok(value)) = (values.is_empty(), HeaderValue::from_str(&values.join(","))) {
        answer.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        pairs.collect()
    }

    fn applied(cors: &Cors, origin: &'static str, preflight: bool) -> HeaderMap {
        let mut answer = headers(&[("access-control-allow-origin", "https://function.example"), ("x-own", "1")]);
        apply(cors, &headers(&[("origin", origin)]), &mut answer, preflight);
        answer
    }

    fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
        texts.map(str::to_owned).into()
    }

    #[test]
    fn an_allowed_origin_gets_the_configured_headers() {
        let cors = Cors {
            allow_origins: texts(["https://a.example"]),
            allow_methods: texts(["GET", "POST"]),
            allow_headers: texts(["authorization", "*"]),
            expose_headers: texts(["date", "x-api-id"]),
            allow_credentials: true,
            max_age: Some(Duration::from_secs(300)),
        };

        let expected = [
            ("access-control-allow-origin", "https://a.example"),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "date,x-api-id"),
            ("vary", "Origin"),
            ("x-own", "1"),
        ];
        let for_preflights = [
            ("access-control-allow-methods", "GET,POST"),
            ("access-control-allow-headers", "authorization,*"),
            ("access-control-max-age", "300"),
        ];
        assert_eq!(applied(&cors, "https://a.example", false), headers(&expected));
        let all = [&expected[..], &for_preflights[..]].concat();
        assert_eq!(applied(&cors, "https://a.example", true), headers(&all));
    }

    #[test]
    fn another_origin_gets_nothing_and_the_function_decides_nothing() {
        let cors = Cors { allow_origins: texts(["https://a.example"]), ..Cors::default() };

        assert_eq!(applied(&cors, "https://b.example", true), headers(&[("x-own", "1")]));
        assert_eq!(applied(&Cors::default(), "https://b.example", true), headers(&[("x-own", "1")]));
    }

    #[test]
    fn origins_may_be_patterns() {
        for (allowed, origin, expected) in [
            ("*", "http://x", Some("*")),
            ("https://*", "https://x", Some("https://x")),
            ("https://*", "http://x", None),
            ("https://*.example.com", "https://a.example.com", Some("https://a.example.com")),
            ("https://*.example.com", "https://example.com", None),
        ] {
            let cors = Cors { allow_origins: texts([allowed]), ..Cors::default() };
            let answer = applied(&cors, origin, false);
            let found = answer.get("access-control-allow-origin").map(|value| value.to_str().unwrap());
            assert_eq!(found, expected, "{allowed} for {origin}");
        }
    }

    #[test]
    fn a_preflight_has_an_origin_and_asks_for_a_method() {
        let full = headers(&[("origin", "https://x"), ("access-control-request-method", "PUT")]);

        assert!(is_preflight(&Method::OPTIONS, &full));
        assert!(!is_preflight(&Method::GET, &full));
        assert!(!is_preflight(&Method::OPTIONS, &headers(&[("origin", "https://x")])));
    }
}
