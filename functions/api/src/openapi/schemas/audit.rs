//! Who did what.

use std::collections::BTreeMap;

use utoipa::ToSchema;

use super::{Cursor, ListObject, Moment};

/// Always `audit_entry`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditEntryObject {
    /// An entry.
    AuditEntry,
}

/// Something that somebody did.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    /// Always `audit_entry`.
    #[schema(inline)]
    pub object: AuditEntryObject,
    /// Its id.
    pub id: String,
    /// When.
    pub at: Moment,
    /// Who: `usr_…`, `key_…`, `ext:…`, or an operator by the name that they gave.
    pub actor: String,
    /// What, such as `api_key.create`.
    pub action: String,
    /// To what and how; the names depend on the action.
    pub details: BTreeMap<String, String>,
}

/// A page of the audit log, newest first.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditLog {
    /// Always `list`.
    #[schema(inline)]
    pub object: ListObject,
    /// The entries.
    #[schema(max_items = 100)]
    pub data: Vec<AuditEntry>,
    /// There are more behind them.
    pub has_more: bool,
    /// Where the next page begins.
    #[schema(required)]
    pub next_cursor: Option<Cursor>,
}
