//! Merchants with their API keys and users, and what signs people in.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | merchant id | `merchant` | `name`, `active`, `generation` (of the signing secret), `created` |
//! | merchant id | `keys` | `v` version, `k` keys: `id`, `name`, `kind`, `prefix`, `last4`, `scopes`, `c`, `r` revoked at |
//! | merchant id | `users` | `v` version, `u` users: `id`, `e` e-mail, `name`, `role`, `i`, `iu` invitation, `sf`, `c`, `v` |
//! | `key#` and the key's keyed hash | `key` | `id`, `m` (merchant), `kind`, `scopes`, `revoked`, `used` last |
//! | `login#` and the address' keyed hash | `login` | `m`, `u` user, `pw` password hash (PHC string) |
//! | `guesses#` and the address' keyed hash | `guesses` | `n` wrong passwords in a row, `l` the last one, `ttl` |
//! | `session#` and the session's id | `session` | `m`, `u`, `n` number, `mark` of its last use, `c` began, `until`, `ended`, `ttl` |
//!
//! Keys and users of a merchant are one item each: few, seldom changed, and their rules (two live keys of a name,
//! always an owner) hold by one condition on `v`. Every change comes with its entry in the audit, in one transaction.

mod keys;
mod sessions;
mod sign_up;
mod users;

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, Put, TransactWriteItem, Update, builders::PutBuilder},
};
use florin_domain::{ids::MerchantId, merchant::Merchant};

pub use sign_up::{Newcomer, SignedUp};
pub use users::Credentials;

use crate::{
    StoreError,
    attributes::{Item, Reader, moment, number, text},
    audit::Told,
    transaction::{Transacted, transact},
};

/// The sort key of a merchant's own item.
const MERCHANT: &str = "merchant";

/// What became of a change that was decided on what was read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// It happened.
    Done,
    /// Somebody else was first: read and decide again.
    Lost,
    /// A name that belongs to one only belongs to somebody else.
    Taken,
}

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

    /// The merchant.
    pub async fn merchant(&self, id: &MerchantId) -> Result<Option<Merchant>, StoreError> {
        let Some(item) = self.get(id.to_string(), MERCHANT).await? else {
            return Ok(None);
        };
        let item = Reader(&item);
        Ok(Some(Merchant {
            id: id.clone(),
            name: item.text("name")?.to_owned(),
            active: item.flag("active"),
            secret_generation: item.number("generation")?,
            created_at: item.moment("created")?,
        }))
    }

    /// Writes a merchant, over whatever was there.
    pub async fn put_merchant(&self, merchant: &Merchant) -> Result<(), StoreError> {
        let put = self.client.put_item().table_name(&self.table).set_item(Some(merchant_item(merchant)));
        Ok(put.send().await.map(|_| ())?)
    }

    /// Gives the merchant another name. Whether there is the merchant.
    pub async fn rename(&self, id: &MerchantId, name: &str, told: Told) -> Result<Saved, StoreError> {
        let update = Update::builder()
            .table_name(&self.table)
            .key("pk", text(id.as_str()))
            .key("sk", text(MERCHANT))
            .update_expression("SET #name = :name")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_names("#name", "name")
            .expression_attribute_values(":name", text(name))
            .build();
        let update = update.map_err(|_| StoreError::Refused("incomplete update".to_owned()))?;
        self.change([TransactWriteItem::builder().update(update).build()], told).await
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

    /// Makes changes together with the entry that tells of them. The first change is the one that was decided on what
    /// was read; the others are about names that belong to one only.
    async fn change<const N: usize>(&self, changes: [TransactWriteItem; N], told: Told) -> Result<Saved, StoreError> {
        match self.write(changes, told).await? {
            None => Ok(Saved::Done),
            Some(0) => Ok(Saved::Lost),
            Some(place) if place < N => Ok(Saved::Taken),
            Some(_) => Err(StoreError::Refused("the audit has such an entry already".to_owned())),
        }
    }

    /// Makes changes together with the entry that tells of them. The place of the first whose condition failed; the
    /// entry's is behind the last change's.
    async fn write<const N: usize>(
        &self,
        changes: [TransactWriteItem; N],
        told: Told,
    ) -> Result<Option<usize>, StoreError> {
        let actions = changes.into_iter().chain([told.into_action()]).collect();
        match transact(&self.client, actions).await? {
            Transacted::Done => Ok(None),
            Transacted::Passing => Err(StoreError::Unavailable("somebody else wrote at the same time".to_owned())),
            Transacted::Conditions(reasons) => {
                let failed = reasons.iter().position(|reason| reason.code() == Some("ConditionalCheckFailed"));
                Ok(Some(failed.unwrap_or(N)))
            }
        }
    }

    /// Puts an item where there is none.
    fn put_new(&self, item: Item) -> Result<TransactWriteItem, StoreError> {
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        put_action(put.condition_expression("attribute_not_exists(pk)"))
    }

    /// Puts an item that counts its changes over the version before, or where there is none.
    fn put_next(&self, mut item: Item, version: u64) -> Result<TransactWriteItem, StoreError> {
        item.insert("v".to_owned(), number(version));
        if version <= 1 {
            return self.put_new(item);
        }
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        put_action(put.condition_expression("v = :v").expression_attribute_values(":v", number(version - 1)))
    }
}

fn put_action(put: PutBuilder) -> Result<TransactWriteItem, StoreError> {
    let put = put.build().map_err(|_| StoreError::Refused("incomplete put".to_owned()))?;
    Ok(TransactWriteItem::builder().put(put).build())
}

fn merchant_item(merchant: &Merchant) -> Item {
    Item::from([
        ("pk".to_owned(), text(merchant.id.as_str())),
        ("sk".to_owned(), text(MERCHANT)),
        ("name".to_owned(), text(&merchant.name)),
        ("active".to_owned(), AttributeValue::Bool(merchant.active)),
        ("generation".to_owned(), number(merchant.secret_generation)),
        ("created".to_owned(), moment(merchant.created_at)),
    ])
}
