//! Users, and what they prove themselves with.

use aws_sdk_dynamodb::types::{AttributeValue, Delete, TransactWriteItem, Update};
use florin_domain::{
    ids::{MerchantId, UserId},
    permission::Role,
    time::Timestamp,
    user::{Email, GUESSES_FORGOTTEN_AFTER_MS, Guesses, Invitation, Roster, User},
};

use super::{Merchants, Saved};
use crate::{
    StoreError,
    attributes::{Item, Reader, moment, number, text},
    audit::Told,
    batch_get,
    error::unless_refused,
};

/// The sort key of a merchant's users.
pub(super) const ROSTER: &str = "users";
/// The sort key of what an address signs in with.
const LOGIN: &str = "login";
/// The sort key of an address' wrong passwords.
const GUESSES: &str = "guesses";

/// Whom an address belongs to, and how that person proves it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Whose user it is.
    pub merchant_id: MerchantId,
    /// Who.
    pub user_id: UserId,
    /// The password's hash, a PHC string; none until one was chosen.
    pub password: Option<String>,
}

impl Merchants {
    /// All users of a merchant.
    pub async fn roster(&self, id: &MerchantId) -> Result<Roster, StoreError> {
        let item = self.get(id.to_string(), ROSTER).await?;
        item.map_or_else(|| Ok(Roster::default()), |item| roster_from(id, &item))
    }

    /// What the address with this keyed hash signs in with, and how often somebody has guessed: one call for both.
    pub async fn credentials(&self, email_hash: &str) -> Result<(Option<Credentials>, Guesses), StoreError> {
        let (login, guesses) = (login_key(email_hash), guesses_key(email_hash));
        let items = batch_get(&self.client, &self.table, &[login, guesses]).await?;
        let of = |sk: &str| items.iter().map(Reader).find(|item| item.text_if_any("sk") == Some(sk));
        let credentials = of(LOGIN).map(|item| {
            Ok::<_, StoreError>(Credentials {
                merchant_id: item.parsed("m")?,
                user_id: item.parsed("u")?,
                password: item.text_if_any("pw").map(str::to_owned),
            })
        });
        let guesses = of(GUESSES)
            .map(|item| Ok::<_, StoreError>(Guesses { count: item.number("n")?, last: item.moment_if_any("l")? }));
        Ok((credentials.transpose()?, guesses.transpose()?.unwrap_or_default()))
    }

    /// Counts a guess before it is tried, so that no more are tried at once than one after the other. False if somebody
    /// else guessed meanwhile.
    pub async fn count_guess(&self, email_hash: &str, before: Guesses, after: Guesses) -> Result<bool, StoreError> {
        let last = after.last.unwrap_or(Timestamp::MIN);
        let mut item = guesses_key(email_hash);
        item.insert("n".to_owned(), number(after.count));
        item.insert("l".to_owned(), moment(last));
        item.insert("ttl".to_owned(), number(last.plus_ms(GUESSES_FORGOTTEN_AFTER_MS).ms() / 1000));
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        let put = match before.last {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(last) => put
                .condition_expression("n = :n AND l = :l")
                .expression_attribute_values(":n", number(before.count))
                .expression_attribute_values(":l", moment(last)),
        };
        Ok(unless_refused(put.send().await)?.is_some())
    }

    /// Forgets the guesses: the right password came.
    pub async fn forget_guesses(&self, email_hash: &str) -> Result<(), StoreError> {
        let delete = self.client.delete_item().table_name(&self.table).set_key(Some(guesses_key(email_hash)));
        Ok(delete.send().await.map(|_| ())?)
    }

    /// Adds a user, whose address nobody else may have (`Taken`), to the users that were read.
    pub async fn add_user(&self, roster: &Roster, user: &User, hash: &str, told: Told) -> Result<Saved, StoreError> {
        let roster = self.put_next(roster_item(&user.merchant_id, roster), roster.version)?;
        self.change([roster, self.put_new(login_item(hash, user, None))?], told).await
    }

    /// Saves users that were read and of whom one has changed.
    pub async fn save_users(&self, id: &MerchantId, roster: &Roster, told: Told) -> Result<Saved, StoreError> {
        self.change([self.put_next(roster_item(id, roster), roster.version)?], told).await
    }

    /// Saves users of whom one has chosen a password.
    pub async fn save_password(
        &self,
        roster: &Roster,
        user: &User,
        (email_hash, password): (&str, &str),
        told: Told,
    ) -> Result<Saved, StoreError> {
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(login_key(email_hash)))
            .update_expression("SET pw = :pw")
            .condition_expression("u = :u")
            .expression_attribute_values(":pw", text(password))
            .expression_attribute_values(":u", text(user.id.as_str()))
            .build();
        let update = update.map_err(|_| StoreError::Refused("incomplete update".to_owned()))?;
        let update = TransactWriteItem::builder().update(update).build();
        self.change([self.put_next(roster_item(&user.merchant_id, roster), roster.version)?, update], told).await
    }

    /// Saves users of whom one is gone, with the address.
    pub async fn remove_user(&self, roster: &Roster, gone: &User, hash: &str, told: Told) -> Result<Saved, StoreError> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(login_key(hash)))
            .condition_expression("u = :u")
            .expression_attribute_values(":u", text(gone.id.as_str()))
            .build();
        let delete = delete.map_err(|_| StoreError::Refused("incomplete delete".to_owned()))?;
        let delete = TransactWriteItem::builder().delete(delete).build();
        self.change([self.put_next(roster_item(&gone.merchant_id, roster), roster.version)?, delete], told).await
    }
}

/// The key of a merchant's users.
pub(super) fn roster_key(id: &MerchantId) -> Item {
    Item::from([("pk".to_owned(), text(id.as_str())), ("sk".to_owned(), text(ROSTER))])
}

fn login_key(email_hash: &str) -> Item {
    Item::from([("pk".to_owned(), text(format!("login#{email_hash}"))), ("sk".to_owned(), text(LOGIN))])
}

fn guesses_key(email_hash: &str) -> Item {
    Item::from([("pk".to_owned(), text(format!("guesses#{email_hash}"))), ("sk".to_owned(), text(GUESSES))])
}

pub(super) fn login_item(email_hash: &str, user: &User, password: Option<&str>) -> Item {
    let mut item = login_key(email_hash);
    item.insert("m".to_owned(), text(user.merchant_id.as_str()));
    item.insert("u".to_owned(), text(user.id.as_str()));
    if let Some(password) = password {
        item.insert("pw".to_owned(), text(password));
    }
    item
}

pub(super) fn roster_item(id: &MerchantId, roster: &Roster) -> Item {
    let mut item = roster_key(id);
    item.insert("u".to_owned(), AttributeValue::L(roster.users.iter().map(user_value).collect()));
    item
}

/// The users, from the item that `roster_item` made and `v` was added to.
pub(super) fn roster_from(id: &MerchantId, item: &Item) -> Result<Roster, StoreError> {
    let item = Reader(item);
    let users = item.list("u").iter().map(|value| user_from(id, value)).collect::<Result<_, _>>()?;
    Ok(Roster { users, version: item.number("v")? })
}

fn user_value(user: &User) -> AttributeValue {
    let mut value = Item::from([
        ("id".to_owned(), text(user.id.as_str())),
        ("e".to_owned(), text(user.email.as_str())),
        ("name".to_owned(), text(&user.name)),
        ("role".to_owned(), text(user.role.as_str())),
        ("sf".to_owned(), moment(user.sessions_from)),
        ("c".to_owned(), moment(user.created_at)),
        ("v".to_owned(), number(user.version)),
    ]);
    if let Some(invitation) = &user.invitation {
        value.insert("i".to_owned(), number(invitation.number));
        value.insert("iu".to_owned(), moment(invitation.until));
    }
    AttributeValue::M(value)
}

fn user_from(id: &MerchantId, value: &AttributeValue) -> Result<User, StoreError> {
    let item = Reader(value.as_m().map_err(|_| StoreError::Corrupt { attribute: "u" })?);
    let invitation = match item.number_if_any("i")? {
        Some(number) => Some(Invitation { number, until: item.moment("iu")? }),
        None => None,
    };
    Ok(User {
        id: item.parsed("id")?,
        merchant_id: id.clone(),
        email: Email::parse(item.text("e")?).ok_or(StoreError::Corrupt { attribute: "e" })?,
        name: item.text("name")?.to_owned(),
        role: Role::parse(item.text("role")?).ok_or(StoreError::Corrupt { attribute: "role" })?,
        invitation,
        sessions_from: item.moment("sf")?,
        created_at: item.moment("c")?,
        version: item.number("v")?,
    })
}
