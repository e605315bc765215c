//! Merchants and their API keys.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | merchant id | `merchant` | `name`, `active`, `generation` (of the signing secret) |
//! | `key#` and the key's keyed hash | `key` | `id`, `m` (merchant), `prefix`, `last4`, `scopes`, `revoked` |

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use florin_domain::{
    ids::MerchantId,
    merchant::{ApiKeyRecord, Merchant},
    permission::Permissions,
};

use crate::{
    StoreError,
    attributes::{Item, Reader, number, text},
};

/// The merchants table.
#[derive(Debug, Clone)]
pub struct Merchants {
    client: Client,
    table: String,
}

impl Merchants {
    /// The table of this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    /// The key whose keyed hash this is.
    pub async fn api_key(&self, hash: &str) -> Result<Option<ApiKeyRecord>, StoreError> {
        let Some(item) = self.get(format!("key#{hash}"), "key").await? else {
            return Ok(None);
        };
        let item = Reader(&item);
        Ok(Some(ApiKeyRecord {
            hash: hash.to_owned(),
            id: item.parsed("id")?,
            merchant_id: item.parsed("m")?,
            prefix: item.text("prefix")?.to_owned(),
            last4: item.text("last4")?.to_owned(),
            scopes: scopes(&item)?,
            revoked: item.flag("revoked"),
        }))
    }

    /// The merchant.
    pub async fn merchant(&self, id: &MerchantId) -> Result<Option<Merchant>, StoreError> {
        let Some(item) = self.get(id.to_string(), "merchant").await? else {
            return Ok(None);
        };
        let item = Reader(&item);
        Ok(Some(Merchant {
            id: id.clone(),
            name: item.text("name")?.to_owned(),
            active: item.flag("active"),
            secret_generation: item.number("generation")?,
        }))
    }

    /// Writes a merchant, over whatever was there: used by the seed.
    pub async fn put_merchant(&self, merchant: &Merchant) -> Result<(), StoreError> {
        let item = Item::from([
            ("pk".to_owned(), text(merchant.id.as_str())),
            ("sk".to_owned(), text("merchant")),
            ("name".to_owned(), text(&merchant.name)),
            ("active".to_owned(), AttributeValue::Bool(merchant.active)),
            ("generation".to_owned(), number(merchant.secret_generation)),
        ]);
        self.client.put_item().table_name(&self.table).set_item(Some(item)).send().await?;
        Ok(())
    }

    /// Writes what is kept of an API key.
    pub async fn put_api_key(&self, key: &ApiKeyRecord) -> Result<(), StoreError> {
        let item = Item::from([
            ("pk".to_owned(), text(format!("key#{}", key.hash))),
            ("sk".to_owned(), text("key")),
            ("id".to_owned(), text(key.id.as_str())),
            ("m".to_owned(), text(key.merchant_id.as_str())),
            ("prefix".to_owned(), text(&key.prefix)),
            ("last4".to_owned(), text(&key.last4)),
            ("scopes".to_owned(), text(key.scopes.to_scopes())),
            ("revoked".to_owned(), AttributeValue::Bool(key.revoked)),
        ]);
        self.client.put_item().table_name(&self.table).set_item(Some(item)).send().await?;
        Ok(())
    }

    /// Whether the table answers: what `/ready` asks. Also warms the connection during init.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.get("ping".to_owned(), "ping").await.map(|_| ())
    }

    async fn get(&self, pk: String, sk: &str) -> Result<Option<Item>, StoreError> {
        // Consistently, or a merchant that has just signed up would not exist for its first payment.
        let request = self.client.get_item().table_name(&self.table).key("pk", text(pk)).key("sk", text(sk));
        Ok(request.consistent_read(true).send().await?.item)
    }
}

fn scopes(item: &Reader<'_>) -> Result<Permissions, StoreError> {
    Permissions::from_scopes(item.text("scopes")?).ok_or(StoreError::Corrupt { attribute: "scopes" })
}
