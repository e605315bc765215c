//! Sessions: the number of the refresh token that is valid. No token is stored.

use aws_sdk_dynamodb::{
    error::SdkError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use florin_domain::{
    ids::{MerchantId, SessionId},
    user::{Refreshed, Roster, Session},
};

use super::{Merchants, users};
use crate::{
    StoreError,
    attributes::{Item, Reader, moment, number, text},
    batch_get,
    error::unless_refused,
};

/// The sort key of a session.
const SESSION: &str = "session";

impl Merchants {
    /// Begins a session.
    pub async fn begin_session(&self, session: &Session) -> Result<(), StoreError> {
        let put = self.client.put_item().table_name(&self.table).set_item(Some(session_item(session)));
        Ok(put.condition_expression("attribute_not_exists(pk)").send().await.map(|_| ())?)
    }

    /// The session.
    pub async fn session(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        let item = self.get(session_pk(id), SESSION).await?;
        item.map(|item| session_from(id, &item)).transpose()
    }

    /// The session, and the users among whom its user still has to be: one call for both.
    pub async fn session_and_users(
        &self,
        id: &SessionId,
        merchant_id: &MerchantId,
    ) -> Result<(Option<Session>, Roster), StoreError> {
        let items = batch_get(&self.client, &self.table, &[session_key(id), users::roster_key(merchant_id)]).await?;
        let of = |sk: &str| items.iter().find(|item| Reader(item).text_if_any("sk") == Some(sk));
        let session = of(SESSION).map(|item| session_from(id, item)).transpose()?;
        let roster = of(users::ROSTER).map(|item| users::roster_from(merchant_id, item)).transpose()?;
        Ok((session, roster.unwrap_or_default()))
    }

    /// Uses a refresh token up: of all who come with its number one goes on. `mark` tells the request from others: the
    /// SDK tries a lost call again, and what stands there may be our own first try.
    pub async fn refresh(&self, before: &Session, after: &Session, mark: &str) -> Result<Refreshed, StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(session_key(&before.id)))
            .update_expression("SET n = :next, mark = :mark, #until = :until, #ttl = :ttl")
            .condition_expression("n = :n AND ended = :no")
            .expression_attribute_names("#until", "until")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":n", number(before.number))
            .expression_attribute_values(":no", AttributeValue::Bool(false))
            .expression_attribute_values(":next", number(after.number))
            .expression_attribute_values(":mark", text(mark))
            .expression_attribute_values(":until", moment(after.until))
            .expression_attribute_values(":ttl", number(after.until.ms() / 1000))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match update.send().await {
            Ok(_) => Ok(Refreshed::Goes(after.clone())),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                use aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException;
                let ConditionalCheckFailedException(failed) = error.into_err() else { return Ok(Refreshed::Ended) };
                let Some(item) = failed.item else { return Ok(Refreshed::Ended) };
                if Reader(&item).text_if_any("mark") == Some(mark) {
                    return Ok(Refreshed::Goes(after.clone()));
                }
                let ended = session_from(&before.id, &item)?.ended;
                Ok(if ended { Refreshed::Ended } else { Refreshed::Stolen })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Ends a session. Ending it twice is as good as once.
    pub async fn end_session(&self, id: &SessionId) -> Result<(), StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(session_key(id)))
            .update_expression("SET ended = :yes")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":yes", AttributeValue::Bool(true));
        unless_refused(update.send().await).map(|_| ())
    }
}

fn session_pk(id: &SessionId) -> String {
    format!("session#{id}")
}

fn session_key(id: &SessionId) -> Item {
    Item::from([("pk".to_owned(), text(session_pk(id))), ("sk".to_owned(), text(SESSION))])
}

fn session_item(session: &Session) -> Item {
    let mut item = session_key(&session.id);
    item.extend([
        ("m".to_owned(), text(session.merchant_id.as_str())),
        ("u".to_owned(), text(session.user_id.as_str())),
        ("n".to_owned(), number(session.number)),
        ("c".to_owned(), moment(session.began_at)),
        ("until".to_owned(), moment(session.until)),
        ("ended".to_owned(), AttributeValue::Bool(session.ended)),
        ("ttl".to_owned(), number(session.until.ms() / 1000)),
    ]);
    item
}

fn session_from(id: &SessionId, item: &Item) -> Result<Session, StoreError> {
    let item = Reader(item);
    Ok(Session {
        id: id.clone(),
        user_id: item.parsed("u")?,
        merchant_id: item.parsed("m")?,
        number: item.number("n")?,
        began_at: item.moment("c")?,
        until: item.moment("until")?,
        ended: item.flag("ended"),
    })
}
