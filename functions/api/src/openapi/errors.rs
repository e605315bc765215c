//! The errors of an operation. `docs/errors.md` explains every code, once; this reads it.
//!
//! An attribute names an operation's own codes where other frameworks would have a description, as in
//! `(status = 404, description = "payment_not_found")`; the others follow from what the operation takes.

use serde_json::{Value, json};

use super::{member, put};

/// Explains every code in tables: code, status, pointer, meaning, what to do.
const EXPLAINED: &str = include_str!("../../../../docs/errors.md");
/// Codes that stand in `errors` only, beside a `code` that is somebody else's: there the code is open.
const BESIDE_OPEN_CODES: [&str; 1] = ["card_refused"];
/// The first status of an error.
const STATUS_MIN: u16 = 400;

/// A row of `docs/errors.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The stable code.
    pub code: String,
    /// The status that it comes with, there.
    pub status: u16,
    /// What it means.
    pub meaning: String,
    /// What to do.
    pub remedy: String,
}

/// Every row, in the order of the page. A code may have several.
pub fn explained() -> Vec<Explained> {
    EXPLAINED.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<Explained> {
    let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
    let [code, status, .., meaning, remedy] = cells.as_slice() else { return None };
    Some(Explained {
        code: code.strip_prefix('`')?.strip_suffix('`')?.to_owned(),
        status: status.parse().ok()?,
        meaning: (*meaning).to_owned(),
        remedy: (*remedy).to_owned(),
    })
}

/// Makes full descriptions of the codes that the attribute names and of those that follow from the operation's shape.
pub(super) fn spell_out(operation: &mut Value) {
    let implied = implied(operation);
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for (status, codes) in implied {
        let response = responses.entry(status.to_string()).or_insert_with(|| json!({ "description": "" }));
        let named = response.get("description").and_then(Value::as_str).unwrap_or_default();
        let all = format!("{codes} {named}");
        put(response, "description", all.trim().into());
    }
    for (status, response) in responses.iter_mut() {
        if let Some(status) = status.parse().ok().filter(|status| *status >= STATUS_MIN) {
            describe(status, response);
        }
    }
}

/// Codes that follow from what an operation takes, by status.
fn implied(operation: &Value) -> Vec<(u16, &'static str)> {
    let taken_in = |place: &str| {
        let parameters = operation.get("parameters").and_then(Value::as_array);
        parameters.is_some_and(|all| all.iter().any(|parameter| parameter.get("in").is_some_and(|is| is == place)))
    };
    let security = operation.get("security").and_then(Value::as_array);
    let is_for_operators = security.is_some_and(|asked| asked.iter().any(|scheme| scheme.get("operatorKey").is_some()));
    let (has_key, has_query, has_path) = (taken_in("header"), taken_in("query"), taken_in("path"));
    let has_body = operation.get("requestBody").is_some();
    let has_json = operation.pointer("/requestBody/content/application~1json").is_some();
    let has_caller = security.is_some() && !is_for_operators;
    let rules = [
        (has_caller, 401, "api_key_missing api_key_invalid token_invalid token_expired"),
        (has_caller, 429, "rate_limited"),
        (has_caller, 403, "permission_missing"),
        (is_for_operators, 401, "operator_key_invalid"),
        (has_path, 404, "route_not_found"),
        (has_json, 415, "content_type_unsupported"),
        (has_body, 413, "body_too_large"),
        (has_json, 400, "body_unreadable json_invalid"),
        (has_json, 422, "field_unknown"),
        (has_key, 400, "idempotency_key_missing idempotency_key_invalid"),
        (has_key, 422, "idempotency_key_reused"),
        (has_query, 400, "query_too_long parameter_repeated parameter_unknown"),
        (security.is_some() || has_body, 500, "internal_error"),
        (security.is_some() || has_body, 503, "unavailable"),
    ];
    rules.into_iter().filter_map(|(applies, status, codes)| applies.then_some((status, codes))).collect()
}

fn describe(status: u16, response: &mut Value) {
    let named = response.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    let codes: Vec<&str> = named.split_whitespace().collect();
    let lines: Vec<String> = codes.iter().map(|code| line(code, status)).collect();
    put(response, "description", lines.join("\n").into());
    // An error of OAuth has a shape of its own, which the attribute names.
    if let Some(media) = response.pointer_mut("/content/application~1json") {
        let named = json!({ "type": "object", "properties": { "error": { "enum": codes } } });
        let shape = media.get("schema").cloned();
        put(media, "schema", json!({ "allOf": [shape, named] }));
        return;
    }
    let mut fixed = json!({ "status": { "const": status } });
    if !codes.iter().any(|code| BESIDE_OPEN_CODES.contains(code)) {
        put(&mut fixed, "code", json!({ "enum": codes }));
    }
    let schema = json!({
        "allOf": [{ "$ref": "#/components/schemas/Problem" }, { "type": "object", "properties": fixed }],
    });
    if let Some(content) = member(response, "content") {
        put(content, "application/problem+json", json!({ "schema": schema }));
    }
}

/// `- code: meaning. What to do.` A code that no page explains has nothing behind it, which a test sees.
fn line(code: &str, status: u16) -> String {
    let rows = explained();
    let mut rows = rows.iter().filter(|row| row.code == code);
    let first = rows.clone().next();
    match rows.find(|row| row.status == status).or(first) {
        Some(row) => format!("- `{code}`: {}. {}.", row.meaning, row.remedy),
        None => format!("- `{code}`"),
    }
}
