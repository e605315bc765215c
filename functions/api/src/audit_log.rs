//! `GET /v1/audit_log`: who did what, newest first.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use florin_domain::time::Timestamp;
use florin_store::audit::{AuditEntry, Place};
use serde_json::{Value, json};

use crate::{
    Api,
    permission::{AuditRead, May},
    problem::Problem,
    query::Parameters,
};

/// Lists who did what, newest first.
#[utoipa::path(
    get, path = "/v1/audit_log", operation_id = "list_audit_log", tag = "Audit",
    params(crate::openapi::params::AuditListing),
    responses(
        (status = 200, description = "A page.", body = crate::openapi::schemas::audit::AuditLog),
        (status = 400, description = "limit_out_of_range cursor_invalid"),
    ),
    security(("caller" = ["audit:read"])),
)]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: May<AuditRead>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let mut parameters = Parameters::read(&uri);
    let limit = parameters.limit();
    let before = parameters.take("cursor", "cursor_invalid", "The next_cursor of an earlier page.", decode);
    parameters.finish()?;
    let scope = caller.merchant_id.as_str();
    let asked = u32::try_from(limit).unwrap_or(u32::MAX);
    let mut entries = api.dependencies.audit.page(scope, before.as_ref(), asked, api.dependencies.clock.now()).await?;
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| has_more).map(encode);
    let data: Vec<Value> = entries.iter().map(view).collect();
    Ok(Json(json!({ "object": "list", "data": data, "has_more": has_more, "next_cursor": next })))
}

fn view(entry: &AuditEntry) -> Value {
    json!({
        "object": "audit_entry", "id": entry.id, "at": entry.at, "actor": entry.actor, "action": entry.action,
        "details": entry.details,
    })
}

fn encode(entry: &AuditEntry) -> String {
    URL_SAFE_NO_PAD.encode(format!("1.{}.{}", entry.at.ms(), entry.id))
}

fn decode(text: &str) -> Option<Place> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let mut parts = text.strip_prefix("1.")?.splitn(2, '.');
    let at = Timestamp::from_ms(parts.next()?.parse().ok()?);
    let id = parts.next()?;
    id.bytes().all(|b| b.is_ascii_alphanumeric()).then(|| Place { at, id: id.to_owned() })
}
