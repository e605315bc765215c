//! Listing a merchant's payments and refunds, newest first.
//!
//! Both stand in the index `by_merchant`, payments under the merchant's id and refunds under `refunds#` and that id.
//! Payments of a customer stand in `by_customer` besides.

use std::{collections::HashMap, fmt::Display, hash::Hash, str::FromStr};

use florin_domain::{
    ids::{MerchantId, PaymentId, RefundId},
    money::Currency,
    payment::{Payment, Status},
    refund::{Refund, RefundStatus},
    time::Timestamp,
};

use super::{
    Payments,
    items::{payment_from, refund_from, refunds_of},
};
use crate::{
    StoreError,
    attributes::{Item, Reader, customer_of, moment, text},
};

/// Items on one page.
pub const PAGE_ITEMS_MAX: usize = 100;
/// Index pages read for one page of a filtered list; then the page ends early, with a cursor.
pub const INDEX_PAGES_MAX: usize = 10;

/// What can be listed.
pub trait Listed: Sized + Clone {
    /// Its id.
    type Id: Clone + Eq + Hash + Display + FromStr;
    /// Where it stands.
    type Status: Copy + PartialEq;

    /// Its id.
    fn id(&self) -> &Self::Id;
    /// Where it stands.
    fn status(&self) -> Self::Status;
    /// Where the merchant's stand in the index `by_merchant`.
    fn partition(merchant: &MerchantId) -> String;
    /// Reads one.
    ///
    /// # Errors
    /// `Corrupt` if the item is none.
    fn read(item: &HashMap<String, aws_sdk_dynamodb::types::AttributeValue>) -> Result<Self, StoreError>;
}

impl Listed for Payment {
    type Id = PaymentId;
    type Status = Status;

    fn id(&self) -> &PaymentId {
        &self.id
    }
    fn status(&self) -> Status {
        self.status
    }
    fn partition(merchant: &MerchantId) -> String {
        merchant.to_string()
    }
    fn read(item: &Item) -> Result<Self, StoreError> {
        payment_from(item)
    }
}

impl Listed for Refund {
    type Id = RefundId;
    type Status = RefundStatus;

    fn id(&self) -> &RefundId {
        &self.id
    }
    fn status(&self) -> RefundStatus {
        self.status
    }
    fn partition(merchant: &MerchantId) -> String {
        refunds_of(merchant)
    }
    fn read(item: &Item) -> Result<Self, StoreError> {
        refund_from(item)
    }
}

/// Which ones, newest first.
#[derive(Debug, Clone)]
pub struct Listing<T: Listed> {
    /// How many at most, up to `PAGE_ITEMS_MAX`.
    pub limit: usize,
    /// Only those after this place.
    pub after: Option<Place<T::Id>>,
    /// Only those with this status.
    pub status: Option<T::Status>,
    /// Only those in this currency.
    pub currency: Option<Currency>,
    /// Only those of this customer of the merchant. Refunds have none.
    pub customer: Option<String>,
    /// Only those created at or after this moment.
    pub created_from: Timestamp,
    /// Only those created at or before this moment.
    pub created_to: Timestamp,
}

/// A place in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place<I> {
    /// Created at.
    pub created_at: Timestamp,
    /// What stands there.
    pub id: I,
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page<T: Listed> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// Where the next page begins, if there may be one.
    pub next: Option<Place<T::Id>>,
}

impl Payments {
    /// A page of the merchant's payments or refunds. A filter by status reads on until the page is full,
    /// `INDEX_PAGES_MAX` index pages have been read, or there are no more.
    pub async fn list<T: Listed>(&self, merchant: &MerchantId, listing: &Listing<T>) -> Result<Page<T>, StoreError> {
        let limit = listing.limit.clamp(1, PAGE_ITEMS_MAX);
        let mut items = Vec::new();
        let mut after = listing.after.clone();
        for _ in 0..INDEX_PAGES_MAX {
            let (places, last) = self.index_page(merchant, listing, after.as_ref(), limit).await?;
            let found: HashMap<T::Id, T> = self.batch_get(places.iter().map(|place| &place.id)).await?;
            for place in &places {
                let Some(item) = found.get(&place.id) else { continue };
                if listing.status.is_none_or(|status| item.status() == status) {
                    items.push(item.clone());
                }
                if items.len() == limit {
                    let more = last.is_some() || places.last() != Some(place);
                    return Ok(Page { items, next: more.then(|| place.clone()) });
                }
            }
            after = last;
            if after.is_none() {
                break;
            }
        }
        Ok(Page { items, next: after })
    }

    /// The refunds of a payment that has these, oldest first.
    pub async fn refunds_of(&self, payment: &Payment) -> Result<Vec<Refund>, StoreError> {
        if payment.refunds.is_empty() {
            return Ok(Vec::new());
        }
        let mut found: HashMap<RefundId, Refund> = self.batch_get(payment.refunds.iter()).await?;
        Ok(payment.refunds.iter().filter_map(|id| found.remove(id)).collect())
    }

    async fn index_page<T: Listed>(
        &self,
        merchant: &MerchantId,
        listing: &Listing<T>,
        after: Option<&Place<T::Id>>,
        limit: usize,
    ) -> Result<(Vec<Place<T::Id>>, Option<Place<T::Id>>), StoreError> {
        let (index, key, partition) = match &listing.customer {
            None => ("by_merchant", "m", T::partition(merchant)),
            Some(customer) => ("by_customer", "cu", customer_of(merchant, customer)),
        };
        let start = after.map(|place| {
            Item::from([
                ("pk".to_owned(), text(place.id.to_string())),
                (key.to_owned(), text(&partition)),
                ("ca".to_owned(), moment(place.created_at)),
            ])
        });
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(index)
            .key_condition_expression(format!("{key} = :of AND ca BETWEEN :from AND :to"))
            .expression_attribute_values(":of", text(&partition))
            .expression_attribute_values(":from", moment(listing.created_from))
            .expression_attribute_values(":to", moment(listing.created_to))
            .scan_index_forward(false)
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start);
        if let Some(currency) = listing.currency {
            query = query.filter_expression("c = :c").expression_attribute_values(":c", text(currency.code()));
        }
        let output = query.send().await?;
        let place = |item: &Item| {
            let item = Reader(item);
            Ok::<_, StoreError>(Place { created_at: item.moment("ca")?, id: item.parsed("pk")? })
        };
        let places = output.items().iter().map(place).collect::<Result<Vec<_>, _>>()?;
        Ok((places, output.last_evaluated_key.as_ref().map(place).transpose()?))
    }

    async fn batch_get<'a, T: Listed>(
        &self,
        ids: impl Iterator<Item = &'a T::Id>,
    ) -> Result<HashMap<T::Id, T>, StoreError>
    where
        T::Id: 'a,
    {
        let keys: Vec<Item> = ids.map(|id| Item::from([("pk".to_owned(), text(id.to_string()))])).collect();
        let items = crate::batch_get(&self.client, &self.table, &keys).await?;
        items.iter().map(|item| T::read(item).map(|found| (found.id().clone(), found))).collect()
    }
}
