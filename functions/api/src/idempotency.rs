//! The header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header), quoted as the draft has it or bare as most
//! clients send it.

use axum::{
    Json,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::problem::Problem;

/// Longest key, in characters, without the quotes.
pub const IDEMPOTENCY_KEY_CHARACTERS_MAX: usize = 255;

const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The request's key.
pub(crate) fn key(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let value = values.next().ok_or(Problem::IdempotencyKeyMissing)?;
    if values.next().is_some() {
        return Err(Problem::IdempotencyKeyInvalid);
    }
    let text = value.to_str().map_err(|_| Problem::IdempotencyKeyInvalid)?.trim();
    // What begins as a quoted key ends as one.
    let key = match text.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').ok_or(Problem::IdempotencyKeyInvalid)?,
        None => text,
    };
    let fits = (1..=IDEMPOTENCY_KEY_CHARACTERS_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(key) } else { Err(Problem::IdempotencyKeyInvalid) }
}

/// The answer to a request that created what can be read at `location`.
pub(crate) fn created(location: &str, view: &impl Serialize) -> Response {
    let mut response = (StatusCode::CREATED, Json(view)).into_response();
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The same answer, to a request that was answered before.
pub(crate) fn replayed(mut response: Response) -> Response {
    response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", value.parse().unwrap());
        key(&headers).ok().map(str::to_owned)
    }

    #[test]
    fn quoted_and_bare_are_the_same_key() {
        assert_eq!(read("abc"), Some("abc".to_owned()));
        assert_eq!(read("\"abc\""), read("abc"));
        assert_eq!(read(&"a".repeat(255)), Some("a".repeat(255)));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for wrong in ["", "\"\"", "\"", "\"abc", "a b", &"a".repeat(256)] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
