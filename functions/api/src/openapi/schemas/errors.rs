//! Problem details (RFC 9457).

use utoipa::ToSchema;

/// What every error answers with. Decide by `code`, which is stable.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// Names the code once more, as a URI.
    #[serde(rename = "type")]
    #[schema(format = "uri", pattern = "^https://florin\\.dev/errors/[a-z0-9_]+$")]
    pub uri: String,
    /// The status in words.
    pub title: String,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// For a person.
    pub detail: String,
    /// Stable.
    #[schema(pattern = "^[a-z0-9_]+$")]
    pub code: String,
    /// Every wrong field or parameter; left out where none is to blame.
    #[schema(nullable = false)]
    pub errors: Option<Vec<FieldProblem>>,
    /// Also in the header `X-Request-Id`; name it when you ask for help.
    pub request_id: String,
}

/// One wrong field or parameter.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldProblem {
    /// The field as a JSON pointer (RFC 6901), or the parameter's name.
    pub pointer: String,
    /// Stable.
    #[schema(pattern = "^[a-z0-9_]+$")]
    pub code: String,
    /// For a person.
    pub detail: String,
}
