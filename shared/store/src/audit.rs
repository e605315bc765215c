//! Who did what, and when: of merchants' people and keys, and of operators. Entries are added and never changed.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | scope: `ops` or a merchant id | moment `#` id | `w` who, `a` action, `d` details by name, `ttl` if not for good |

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, Put, TransactWriteItem},
};
use florin_domain::{retention::Retention, time::Timestamp};

use crate::{
    StoreError,
    attributes::{Item, Reader, number, text},
    transaction::{Transacted, transact},
};

/// The scope of what operators do. It is kept for good.
pub const OPERATIONS: &str = "ops";
/// Entries that are added at once, all or none: what DynamoDB takes in one transaction.
pub const ENTRIES_PER_APPEND_MAX: usize = 100;
/// Entries of one page.
pub const ENTRIES_PER_PAGE_MAX: u32 = 100;
/// Longest detail, in characters; a longer one is cut.
pub const DETAIL_CHARACTERS_MAX: usize = 500;

/// One thing that somebody did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Tells apart what happened in the same millisecond: random, or derived from what was done.
    pub id: String,
    /// Who.
    pub actor: String,
    /// What, such as `dead_letters.replay`.
    pub action: String,
    /// To what, why, with what outcome.
    pub details: BTreeMap<String, String>,
}

/// The audit table.
#[derive(Debug, Clone)]
pub struct Audit {
    client: Client,
    table: String,
    retention: Option<Retention>,
}

impl Audit {
    /// The table of this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into(), retention: None }
    }

    /// The same table, in which merchants' entries are kept this long, or for good.
    #[must_use]
    pub fn keeping(self, retention: Option<Retention>) -> Self {
        Self { retention, ..self }
    }

    /// Adds these entries, all or none. An entry that exists already is refused: nothing is written over.
    pub async fn append(&self, scope: &str, entries: &[AuditEntry]) -> Result<(), StoreError> {
        self.write(entries.iter().map(|entry| (scope, entry))).await
    }

    /// Adds an entry to several scopes, to all or to none.
    pub async fn append_to(&self, scopes: &[&str], entry: &AuditEntry) -> Result<(), StoreError> {
        self.write(scopes.iter().map(|scope| (*scope, entry))).await
    }

    async fn write<'a>(&self, entries: impl Iterator<Item = (&'a str, &'a AuditEntry)>) -> Result<(), StoreError> {
        let writes = entries.map(|(scope, entry)| Ok(self.told(scope, entry)?.0));
        let writes = writes.collect::<Result<Vec<_>, StoreError>>()?;
        if writes.len() > ENTRIES_PER_APPEND_MAX {
            return Err(StoreError::Refused("too many entries for one transaction".to_owned()));
        }
        if writes.is_empty() {
            return Ok(());
        }
        match transact(&self.client, writes).await? {
            Transacted::Done => Ok(()),
            Transacted::Passing => Err(StoreError::Unavailable("somebody else wrote at the same time".to_owned())),
            Transacted::Conditions(_) => Err(StoreError::Refused("the entry exists already".to_owned())),
        }
    }

    /// The entry, for the transaction that does what it tells. An entry that exists already stops it.
    pub fn told(&self, scope: &str, entry: &AuditEntry) -> Result<Told, StoreError> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(self.item(scope, entry)))
            .condition_expression("attribute_not_exists(pk)")
            .build();
        let put = put.map_err(|_| StoreError::Refused("incomplete put".to_owned()))?;
        Ok(Told(TransactWriteItem::builder().put(put).build()))
    }

    /// The newest entries of a scope before this moment, newest first, at most `limit`.
    pub async fn before(&self, scope: &str, moment: Timestamp, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        self.newest(scope, moment.to_string(), limit.min(ENTRIES_PER_PAGE_MAX)).await
    }

    /// The entries of a scope that come after the one of this moment and id when the newest come first, at most
    /// `limit`, and one more to tell that there are more. What has expired by `now` is not among them, removed or not
    /// yet.
    pub async fn page(
        &self,
        scope: &str,
        after: Option<(Timestamp, &str)>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let before = after.map_or_else(|| Timestamp::MAX.to_string(), |(at, id)| sort_key(at, id));
        let mut entries = self.newest(scope, before, limit.min(ENTRIES_PER_PAGE_MAX) + 1).await?;
        if let Some(retention) = self.retention_of(scope) {
            entries.retain(|entry| entry.at >= retention.oldest(now));
        }
        Ok(entries)
    }

    fn retention_of(&self, scope: &str) -> Option<Retention> {
        self.retention.filter(|_| scope != OPERATIONS)
    }

    async fn newest(&self, scope: &str, before: String, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :scope AND sk < :before")
            .expression_attribute_values(":scope", text(scope))
            .expression_attribute_values(":before", text(before))
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(1));
        let output = query.send().await?;
        output.items().iter().map(entry).collect()
    }

    fn item(&self, scope: &str, entry: &AuditEntry) -> Item {
        let detail = |(name, value): (&String, &String)| {
            let short: String = value.chars().take(DETAIL_CHARACTERS_MAX).collect();
            (name.clone(), text(short))
        };
        let mut item = Item::from([
            ("pk".to_owned(), text(scope)),
            ("sk".to_owned(), text(sort_key(entry.at, &entry.id))),
            ("w".to_owned(), text(&entry.actor)),
            ("a".to_owned(), text(&entry.action)),
            ("d".to_owned(), AttributeValue::M(entry.details.iter().map(detail).collect::<HashMap<_, _>>())),
        ]);
        if let Some(retention) = self.retention_of(scope) {
            item.insert("ttl".to_owned(), number(retention.expiry(entry.at).seconds()));
        }
        item
    }
}

/// An entry on its way into the transaction that does what it tells.
#[derive(Debug)]
pub struct Told(TransactWriteItem);

impl Told {
    pub(crate) fn into_action(self) -> TransactWriteItem {
        self.0
    }
}

fn sort_key(at: Timestamp, id: &str) -> String {
    format!("{at}#{id}")
}

fn entry(item: &Item) -> Result<AuditEntry, StoreError> {
    let reader = Reader(item);
    let corrupt = StoreError::Corrupt { attribute: "sk" };
    let (at, id) = reader.text("sk")?.split_once('#').ok_or(StoreError::Corrupt { attribute: "sk" })?;
    Ok(AuditEntry {
        at: Timestamp::parse(at).ok_or(corrupt)?,
        id: id.to_owned(),
        actor: reader.text("w")?.to_owned(),
        action: reader.text("a")?.to_owned(),
        details: reader.texts("d")?,
    })
}
