//! Form and query parameters, in Stripe's notation: `card[number]=…`, `metadata[order]=…`.

use std::collections::BTreeMap;

use axum::{
    body::to_bytes,
    extract::{FromRequest, FromRequestParts, Path, RawQuery, Request},
};
use http::{HeaderMap, Method, header::CONTENT_TYPE, request::Parts};
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;

/// The largest form, in bytes: fifty metadata entries of full length, percent-encoded, and then some.
const BODY_BYTES_MAX: usize = 128 * 1024;

/// How many parameters a request may have.
const PARAMETERS_MAX: usize = 100;

/// The longest key, in bytes, as at Stripe.
const KEY_BYTES_MAX: usize = 255;

/// Stripe's limits of metadata.
const METADATA_ENTRIES_MAX: usize = 50;
const METADATA_KEY_CHARACTERS_MAX: usize = 40;
const METADATA_VALUE_CHARACTERS_MAX: usize = 500;

/// Not part of a fingerprint, for it may be stored: a card's number and security code.
const SECRET: &[&str] = &["card[number]", "card[cvc]"];

/// The parameters of a request, each once.
#[derive(Default)]
pub(crate) struct Params(BTreeMap<String, String>);

/// The id in a request's path.
pub(crate) struct Id(pub(crate) String);

/// A request that changes something.
pub(crate) struct Post {
    pub(crate) params: Params,
    pub(crate) key: Option<String>,
    /// How long the work shall take longer than it does, by [`crate::behaviour`].
    pub(crate) delay: std::time::Duration,
    path: String,
}

impl Params {
    fn parse(text: &[u8]) -> Result<Self, Failure> {
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_bytes(text).map_err(|_| Failure::invalid("The parameters are not form-encoded."))?;
        if pairs.len() > PARAMETERS_MAX {
            return Err(Failure::too_large());
        }
        Ok(Self(pairs.into_iter().collect()))
    }

    /// Refuses parameters that nobody reads. `name[` stands for everything that begins so.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Failure> {
        let is_known =
            |given: &str| known.iter().any(|name| given == *name || name.ends_with('[') && given.starts_with(name));
        match self.0.keys().find(|given| !is_known(given)) {
            // What was sent is not echoed: it may be a card number in the wrong place.
            Some(_) => Err(Failure::refused("parameter_unknown", "Received an unknown parameter.")),
            None => Ok(()),
        }
    }

    /// The parameter, unless it is absent or empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// The parameter, which has at most `max` characters.
    pub(crate) fn bounded(&self, name: &str, max: usize) -> Result<Option<&str>, Failure> {
        match self.text(name) {
            Some(text) if text.chars().count() > max => {
                Err(Failure::parameter(name, "parameter_invalid_string_length", "The text is too long."))
            }
            text => Ok(text),
        }
    }

    /// The parameter, which has to be there.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Failure> {
        self.text(name)
            .ok_or_else(|| Failure::parameter(name, "parameter_missing", &format!("Missing required param: {name}.")))
    }

    /// The parameter as a whole number from `min` to `max`.
    pub(crate) fn integer(&self, name: &str, min: i64, max: i64) -> Result<Option<i64>, Failure> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let number: Option<i64> = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        match number {
            Some(number) if number < min => Err(Failure::parameter(
                name,
                if min == 1 { "parameter_invalid_integer" } else { "parameter_out_of_range" },
                &format!("This value must be at least {min}."),
            )),
            Some(number) if number > max => {
                Err(Failure::parameter(name, "parameter_out_of_range", &format!("This value must be at most {max}.")))
            }
            Some(number) => Ok(Some(number)),
            None => Err(Failure::parameter(name, "parameter_invalid_integer", "Invalid integer.")),
        }
    }

    /// The parameter as `true` or `false`; absent is false.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Failure> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Failure::parameter(name, "parameter_invalid_boolean", "Must be true or false.")),
        }
    }

    /// Everything under `metadata[…]`.
    pub(crate) fn metadata(&self) -> Result<BTreeMap<String, String>, Failure> {
        let entry = |(name, value): (&String, &String)| {
            let key = name.strip_prefix("metadata[")?.strip_suffix(']')?;
            (!value.is_empty()).then(|| (key.to_owned(), value.clone()))
        };
        let metadata: BTreeMap<_, _> = self.0.iter().filter_map(entry).collect();
        let is_good = |(key, value): (&String, &String)| {
            (1..=METADATA_KEY_CHARACTERS_MAX).contains(&key.chars().count())
                && !key.contains(['[', ']'])
                && value.chars().count() <= METADATA_VALUE_CHARACTERS_MAX
        };
        if metadata.len() > METADATA_ENTRIES_MAX || !metadata.iter().all(is_good) {
            return Err(Failure::parameter(
                "metadata",
                "parameter_invalid",
                "Metadata has at most 50 entries, keys at most 40 characters, values at most 500.",
            ));
        }
        Ok(metadata)
    }
}

impl Post {
    /// What makes two requests the same: the path and every parameter that may be remembered.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let public = self.params.0.iter().filter(|(name, _)| !SECRET.contains(&name.as_str()));
        let parts = public.flat_map(|(name, value)| [name.as_str(), value.as_str()]);
        for part in std::iter::once(self.path.as_str()).chain(parts) {
            // The length keeps "ab" + "c" and "a" + "bc" apart.
            hash.update(part.len().to_be_bytes());
            hash.update(part.as_bytes());
        }
        // Of a number, what is stored with the payment method anyway.
        let number = self.params.text("card[number]").unwrap_or_default();
        hash.update(number.get(number.len().saturating_sub(4)..).unwrap_or_default());
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl<S: Send + Sync> FromRequest<S> for Post {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let key = key(&parts.headers)?;
        let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| Failure::too_large())?;
        let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_form = content_type.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded");
        if !body.is_empty() && !is_form {
            return Err(Failure::invalid("Send the parameters as application/x-www-form-urlencoded."));
        }
        Ok(Self {
            params: Params::parse(&body)?,
            key,
            delay: parts.extensions.get().copied().unwrap_or_default(),
            path: parts.uri.path().to_owned(),
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        debug_assert_eq!(parts.method, Method::GET, "a POST has its parameters in the body");
        let RawQuery(query) = RawQuery::from_request_parts(parts, state)
            .await
            .map_err(|_| Failure::invalid("The query cannot be read."))?;
        Self::parse(query.unwrap_or_default().as_bytes())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).map_err(|_| Failure::unknown_route())
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(header) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = header.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > KEY_BYTES_MAX || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::invalid("An Idempotency-Key has 1 to 255 visible ASCII characters."));
    }
    Ok(Some(key.to_owned()))
}
