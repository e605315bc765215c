//! API keys: the ring that a merchant's people see, and the record under a key's keyed hash that every request needs.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use florin_domain::{
    ids::MerchantId,
    merchant::{ApiKey, ApiKeyRecord, KeyKind, KeyRing, LAST_USED_MS_EXACT},
    permission::Permissions,
    time::Timestamp,
};

use super::{Merchants, Saved};
use crate::{
    StoreError,
    attributes::{Item, Reader, moment, text},
    audit::Told,
    batch_get,
    error::unless_refused,
};

/// The sort key of a key's record.
const RECORD: &str = "key";
/// The sort key of a merchant's key ring.
const RING: &str = "keys";

impl Merchants {
    /// The record of the key whose keyed hash this is.
    pub async fn api_key(&self, hash: &str) -> Result<Option<ApiKeyRecord>, StoreError> {
        let item = self.get(record_pk(hash), RECORD).await?;
        item.map(|item| record_from(hash, &Reader(&item))).transpose()
    }

    /// Writes a key's record, over whatever was there.
    pub async fn put_api_key(&self, record: &ApiKeyRecord) -> Result<(), StoreError> {
        let put = self.client.put_item().table_name(&self.table).set_item(Some(record_item(record)));
        Ok(put.send().await.map(|_| ())?)
    }

    /// All keys of a merchant.
    pub async fn key_ring(&self, id: &MerchantId) -> Result<KeyRing, StoreError> {
        let Some(item) = self.get(id.to_string(), RING).await? else { return Ok(KeyRing::default()) };
        let item = Reader(&item);
        let keys = item.list("k").iter().map(key_from).collect::<Result<_, _>>()?;
        Ok(KeyRing { keys, version: item.number("v")? })
    }

    /// When the keys with these keyed hashes were used last, in this order.
    pub async fn last_uses(&self, hashes: &[String]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let key =
            |hash: &String| Item::from([("pk".to_owned(), text(record_pk(hash))), ("sk".to_owned(), text(RECORD))]);
        let keys: Vec<Item> = hashes.iter().map(key).collect();
        let items = batch_get(&self.client, &self.table, &keys).await?;
        let used = |hash: &String| {
            let pk = record_pk(hash);
            let item = items.iter().find(|item| Reader(item).text_if_any("pk") == Some(pk.as_str()));
            item.map_or(Ok(None), |item| Reader(item).moment_if_any("used"))
        };
        hashes.iter().map(used).collect()
    }

    /// Adds a key to the ring that was read, with the record that makes it work. `Taken` if there was such a key.
    pub async fn add_key(
        &self,
        id: &MerchantId,
        ring: &KeyRing,
        record: &ApiKeyRecord,
        told: Told,
    ) -> Result<Saved, StoreError> {
        let changes = [self.put_next(ring_item(id, ring), ring.version)?, self.put_new(record_item(record))?];
        self.change(changes, told).await
    }

    /// Saves the ring in which the key with this keyed hash is revoked, and revokes it.
    pub async fn revoke_key(
        &self,
        id: &MerchantId,
        ring: &KeyRing,
        hash: &str,
        told: Told,
    ) -> Result<Saved, StoreError> {
        let update = Update::builder()
            .table_name(&self.table)
            .key("pk", text(record_pk(hash)))
            .key("sk", text(RECORD))
            .update_expression("SET revoked = :yes")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":yes", AttributeValue::Bool(true))
            .build();
        let update = update.map_err(|_| StoreError::Refused("incomplete update".to_owned()))?;
        let revoke = TransactWriteItem::builder().update(update).build();
        self.change([self.put_next(ring_item(id, ring), ring.version)?, revoke], told).await
    }

    /// Notes that the key is used now, unless another instance has noted it within the hour.
    pub async fn note_use(&self, hash: &str, now: Timestamp) -> Result<(), StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(record_pk(hash)))
            .key("sk", text(RECORD))
            .update_expression("SET used = :now")
            .condition_expression("attribute_exists(pk) AND (attribute_not_exists(used) OR used <= :before)")
            .expression_attribute_values(":now", moment(now))
            .expression_attribute_values(":before", moment(now.plus_ms(-LAST_USED_MS_EXACT)));
        unless_refused(update.send().await).map(|_| ())
    }
}

fn record_pk(hash: &str) -> String {
    format!("key#{hash}")
}

pub(super) fn record_item(record: &ApiKeyRecord) -> Item {
    let mut item = Item::from([
        ("pk".to_owned(), text(record_pk(&record.hash))),
        ("sk".to_owned(), text(RECORD)),
        ("id".to_owned(), text(record.id.as_str())),
        ("m".to_owned(), text(record.merchant_id.as_str())),
        ("kind".to_owned(), text(record.kind.as_str())),
        ("scopes".to_owned(), text(record.scopes.to_scopes())),
        ("revoked".to_owned(), AttributeValue::Bool(record.revoked)),
    ]);
    if let Some(used) = record.last_used_at {
        item.insert("used".to_owned(), moment(used));
    }
    item
}

fn record_from(hash: &str, item: &Reader<'_>) -> Result<ApiKeyRecord, StoreError> {
    Ok(ApiKeyRecord {
        hash: hash.to_owned(),
        id: item.parsed("id")?,
        merchant_id: item.parsed("m")?,
        kind: kind(item)?,
        scopes: scopes(item)?,
        revoked: item.flag("revoked"),
        last_used_at: item.moment_if_any("used")?,
    })
}

pub(super) fn ring_item(id: &MerchantId, ring: &KeyRing) -> Item {
    Item::from([
        ("pk".to_owned(), text(id.as_str())),
        ("sk".to_owned(), text(RING)),
        ("k".to_owned(), AttributeValue::L(ring.keys.iter().map(key_value).collect())),
    ])
}

fn key_value(key: &ApiKey) -> AttributeValue {
    let mut value = Item::from([
        ("id".to_owned(), text(key.id.as_str())),
        ("name".to_owned(), text(&key.name)),
        ("kind".to_owned(), text(key.kind.as_str())),
        ("prefix".to_owned(), text(&key.prefix)),
        ("last4".to_owned(), text(&key.last4)),
        ("scopes".to_owned(), text(key.scopes.to_scopes())),
        ("c".to_owned(), moment(key.created_at)),
    ]);
    if let Some(revoked) = key.revoked_at {
        value.insert("r".to_owned(), moment(revoked));
    }
    AttributeValue::M(value)
}

fn key_from(value: &AttributeValue) -> Result<ApiKey, StoreError> {
    let item = Reader(value.as_m().map_err(|_| StoreError::Corrupt { attribute: "k" })?);
    Ok(ApiKey {
        id: item.parsed("id")?,
        name: item.text("name")?.to_owned(),
        kind: kind(&item)?,
        prefix: item.text("prefix")?.to_owned(),
        last4: item.text("last4")?.to_owned(),
        scopes: scopes(&item)?,
        created_at: item.moment("c")?,
        revoked_at: item.moment_if_any("r")?,
    })
}

fn kind(item: &Reader<'_>) -> Result<KeyKind, StoreError> {
    KeyKind::parse(item.text("kind")?).ok_or(StoreError::Corrupt { attribute: "kind" })
}

fn scopes(item: &Reader<'_>) -> Result<Permissions, StoreError> {
    Permissions::from_scopes(item.text("scopes")?).ok_or(StoreError::Corrupt { attribute: "scopes" })
}
