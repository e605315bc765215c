//! `GET /v1/audit_log`: who did what, newest first.

use std::{fmt, str::FromStr, sync::Arc};

use axum::{Json, extract::State, http::Uri};
use florin_store::{audit::AuditEntry, payments::Place};
use serde_json::{Value, json};

use crate::{
    Api,
    permission::{AuditRead, May},
    problem::Problem,
    query::{self, Parameters},
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
    let after: Option<Place<EntryId>> = parameters.cursor();
    parameters.finish()?;
    let deps = &api.dependencies;
    let after = after.as_ref().map(|place| (place.created_at, place.id.0.as_str()));
    let asked = u32::try_from(limit).unwrap_or(u32::MAX);
    let mut entries = deps.audit.page(caller.merchant_id.as_str(), after, asked, deps.clock.now()).await?;
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let place = |entry: &AuditEntry| Place { created_at: entry.at, id: EntryId(entry.id.clone()) };
    let next = entries.last().filter(|_| has_more).map(place);
    Ok(query::page_of(&entries.iter().map(view).collect::<Vec<_>>(), next.as_ref()))
}

fn view(entry: &AuditEntry) -> Value {
    json!({
        "object": "audit_entry", "id": entry.id, "at": entry.at, "actor": entry.actor, "action": entry.action,
        "details": entry.details,
    })
}

/// The id of an entry, as a cursor has it.
struct EntryId(String);

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EntryId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_id = text.bytes().all(|b| b.is_ascii_alphanumeric());
        is_id.then(|| Self(text.to_owned())).ok_or(())
    }
}
