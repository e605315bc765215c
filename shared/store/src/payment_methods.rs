//! Payment methods, in the merchants table.
//!
//! | pk | sk | attributes |
//! |---|---|---|
//! | merchant id | `pm#` and the id | `b` brand, `l` last four, `e` expiry, `h` holder, `f` fingerprint, `cu` customer, `md` metadata, `ca` created at, `t` and `g` what the gateway calls the card and its customer; `pm` merchant id and `pc` merchant id `#` customer, by which the indexes find it |
//!
//! The key is made of the id alone, so that one conditional put makes a payment method, which is its own idempotency
//! record (ADR 0001). The index `payment_methods` has a merchant's newest first, `payment_methods_of_customer` those of
//! one customer; both carry the whole item, for it never changes.
//!
//! A deleted one leaves both indexes and loses everything that tells of a person. What stays is `dl`, when it was
//! deleted, and `t` and `g` until the gateway has forgotten the card too: so that a deletion that broke off can be
//! repeated, and a request that is repeated later does not bring the card back.

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use florin_domain::{
    card::{Brand, Expiry},
    ids::{MerchantId, PaymentMethodId},
    payment_method::{AtGateway, CardDetails, PaymentMethod},
    time::Timestamp,
};

use crate::{
    StoreError,
    attributes::{Item, Reader, customer_of, moment, number, text, texts},
    error::unless_refused,
    payments::{INDEX_PAGES_MAX, PAGE_ITEMS_MAX, Place},
};

/// Items of the index that one query of a filtered list looks through.
const FILTERED_ITEMS_MAX: usize = 500;
/// What a sort key begins with.
const PREFIX: &str = "pm#";

/// The payment methods of all merchants.
#[derive(Debug, Clone)]
pub struct PaymentMethods {
    client: Client,
    table: String,
}

/// What stands under the id of a payment method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// A payment method.
    Live(PaymentMethod),
    /// It was deleted. The gateway's names for it, while it may not have forgotten it.
    Deleted(Option<AtGateway>),
}

/// What became of a new payment method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It was written.
    Done(PaymentMethod),
    /// There was something of its id already.
    Lost(Kept),
}

/// Which ones, newest first.
#[derive(Debug, Clone, Default)]
pub struct MethodListing {
    /// How many at most, up to `PAGE_ITEMS_MAX`.
    pub limit: usize,
    /// Only those after this place.
    pub after: Option<Place<PaymentMethodId>>,
    /// Only those of this customer of the merchant.
    pub customer: Option<String>,
    /// Only those of the card number with this fingerprint.
    pub fingerprint: Option<String>,
}

impl MethodListing {
    /// Those of one customer, so many a page: what an export shows and an erasure deletes.
    pub fn of_customer(customer: &str, limit: usize) -> Self {
        Self { limit, customer: Some(customer.to_owned()), ..Self::default() }
    }
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct MethodPage {
    /// The payment methods, newest first.
    pub items: Vec<PaymentMethod>,
    /// Where the next page begins, if there may be one.
    pub next: Option<Place<PaymentMethodId>>,
}

impl PaymentMethods {
    /// In the merchants table of this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    /// Writes a new payment method if there is, and was, none of its id.
    pub async fn create(&self, method: &PaymentMethod) -> Result<Created, StoreError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item(method)))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let old = match put.send().await {
            Ok(_) => return Ok(Created::Done(method.clone())),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                match error.into_err() {
                    PutItemError::ConditionalCheckFailedException(failed) => failed.item,
                    _ => None,
                }
            }
            Err(error) => return Err(error.into()),
        };
        let kept = kept(&old.ok_or(StoreError::Corrupt { attribute: "pk" })?)?;
        // The SDK tries a lost call again: what stands there may be our own first try.
        Ok(if kept == Kept::Live(method.clone()) { Created::Done(method.clone()) } else { Created::Lost(kept) })
    }

    /// The merchant's payment method of this id; a deleted one is none.
    pub async fn get(&self, merchant: &MerchantId, id: &PaymentMethodId) -> Result<Option<PaymentMethod>, StoreError> {
        Ok(match self.kept(merchant, id).await? {
            Some(Kept::Live(method)) => Some(method),
            Some(Kept::Deleted(_)) | None => None,
        })
    }

    /// What stands under this id.
    pub async fn kept(&self, merchant: &MerchantId, id: &PaymentMethodId) -> Result<Option<Kept>, StoreError> {
        let (pk, sk) = key(merchant, id);
        // Consistently, or a payment method would be unknown to the payment that follows it.
        let get = self.client.get_item().table_name(&self.table).key("pk", pk).key("sk", sk).consistent_read(true);
        get.send().await?.item.map(|item| kept(&item)).transpose()
    }

    /// Hides a payment method for good, and answers what the gateway still has to forget. `None` if there was none.
    /// Repeating it changes nothing.
    pub async fn delete(
        &self,
        merchant: &MerchantId,
        id: &PaymentMethodId,
        now: Timestamp,
    ) -> Result<Option<Kept>, StoreError> {
        let (pk, sk) = key(merchant, id);
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", pk)
            .key("sk", sk)
            .condition_expression("attribute_exists(pk)")
            .update_expression("SET dl = if_not_exists(dl, :now) REMOVE pm, pc, b, l, e, h, f, cu, md")
            .expression_attribute_values(":now", moment(now))
            .return_values(ReturnValue::AllNew);
        match unless_refused(update.send().await)? {
            Some(output) => kept(&output.attributes.unwrap_or_default()).map(Some),
            None => Ok(None),
        }
    }

    /// Hides a payment method for good that the gateway has forgotten already, and forgets the gateway's names for it.
    /// False if it was deleted before.
    pub async fn erase(&self, merchant: &MerchantId, id: &PaymentMethodId, now: Timestamp) -> Result<bool, StoreError> {
        let (pk, sk) = key(merchant, id);
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", pk)
            .key("sk", sk)
            .condition_expression("attribute_exists(pm)")
            .update_expression("SET dl = :now REMOVE pm, pc, b, l, e, h, f, cu, md, t, g")
            .expression_attribute_values(":now", moment(now));
        Ok(unless_refused(update.send().await)?.is_some())
    }

    /// Notes that the gateway has forgotten the card of a deleted payment method.
    pub async fn forgotten(&self, merchant: &MerchantId, id: &PaymentMethodId) -> Result<(), StoreError> {
        let (pk, sk) = key(merchant, id);
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", pk)
            .key("sk", sk)
            .condition_expression("attribute_exists(dl)")
            .update_expression("REMOVE t, g");
        unless_refused(update.send().await).map(|_| ())
    }

    /// A page of the merchant's payment methods, in one query; a filter by fingerprint reads on until the page is full
    /// or `INDEX_PAGES_MAX` queries were made.
    pub async fn list(&self, merchant: &MerchantId, listing: &MethodListing) -> Result<MethodPage, StoreError> {
        let limit = listing.limit.clamp(1, PAGE_ITEMS_MAX);
        let mut items = Vec::new();
        let mut start = listing.after.as_ref().map(|place| start_key(merchant, listing, place));
        for _ in 0..INDEX_PAGES_MAX {
            let output = self.query(merchant, listing, limit).set_exclusive_start_key(start).send().await?;
            for item in output.items() {
                if let Kept::Live(method) = kept(item)? {
                    items.push(method);
                }
            }
            if items.len() > limit {
                items.truncate(limit);
                let next = items.last().map(|last| Place { created_at: last.created_at, id: last.id.clone() });
                return Ok(MethodPage { items, next });
            }
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(MethodPage { items, next: None });
            }
        }
        let next = start.as_ref().map(place).transpose()?;
        Ok(MethodPage { items, next })
    }

    fn query(
        &self,
        merchant: &MerchantId,
        listing: &MethodListing,
        limit: usize,
    ) -> aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder {
        let query = self.client.query().table_name(&self.table).scan_index_forward(false);
        let query = match &listing.customer {
            None => query
                .index_name("payment_methods")
                .key_condition_expression("pm = :of")
                .expression_attribute_values(":of", text(merchant.as_str())),
            Some(customer) => query
                .index_name("payment_methods_of_customer")
                .key_condition_expression("pc = :of")
                .expression_attribute_values(":of", text(customer_of(merchant, customer))),
        };
        // One more than the page has says whether there is another page.
        let limit = if listing.fingerprint.is_some() { FILTERED_ITEMS_MAX } else { limit + 1 };
        let query = query.limit(i32::try_from(limit).unwrap_or(i32::MAX));
        match &listing.fingerprint {
            None => query,
            Some(print) => query.filter_expression("f = :f").expression_attribute_values(":f", text(print)),
        }
    }
}

fn key(merchant: &MerchantId, id: &PaymentMethodId) -> (AttributeValue, AttributeValue) {
    (text(merchant.as_str()), text(format!("{PREFIX}{id}")))
}

fn item(method: &PaymentMethod) -> Item {
    let (pk, sk) = key(&method.merchant_id, &method.id);
    let mut item = Item::from([
        ("pk".to_owned(), pk),
        ("sk".to_owned(), sk),
        ("pm".to_owned(), text(method.merchant_id.as_str())),
        ("b".to_owned(), text(method.card.brand.as_str())),
        ("l".to_owned(), text(&method.card.last4)),
        ("e".to_owned(), text(method.card.expiry.to_string())),
        ("h".to_owned(), text(&method.card.holder_name)),
        ("ca".to_owned(), number(method.created_at.ms())),
        ("t".to_owned(), text(&method.at_gateway.token)),
        ("g".to_owned(), text(&method.at_gateway.customer)),
    ]);
    if let Some(fingerprint) = &method.card.fingerprint {
        item.insert("f".to_owned(), text(fingerprint));
    }
    if let Some(customer) = &method.customer {
        item.insert("cu".to_owned(), text(customer));
        item.insert("pc".to_owned(), text(customer_of(&method.merchant_id, customer)));
    }
    if !method.metadata.is_empty() {
        item.insert("md".to_owned(), texts(&method.metadata));
    }
    item
}

fn kept(item: &Item) -> Result<Kept, StoreError> {
    let item = Reader(item);
    let at_gateway = || {
        let (token, customer) = (item.text("t")?.to_owned(), item.text("g")?.to_owned());
        Ok::<_, StoreError>(AtGateway { token, customer })
    };
    if item.moment_if_any("dl")?.is_some() {
        return Ok(Kept::Deleted(at_gateway().ok()));
    }
    Ok(Kept::Live(PaymentMethod {
        id: id(&item)?,
        merchant_id: item.parsed("pk")?,
        card: CardDetails {
            brand: Brand::from_name(item.text("b")?),
            last4: item.text("l")?.to_owned(),
            expiry: Expiry::parse(item.text("e")?).ok_or(StoreError::Corrupt { attribute: "e" })?,
            holder_name: item.text("h")?.to_owned(),
            fingerprint: item.text_if_any("f").map(str::to_owned),
        },
        customer: item.text_if_any("cu").map(str::to_owned),
        metadata: item.texts("md").unwrap_or_default(),
        created_at: item.moment("ca")?,
        at_gateway: at_gateway()?,
    }))
}

fn id(item: &Reader<'_>) -> Result<PaymentMethodId, StoreError> {
    let id = item.text("sk")?.strip_prefix(PREFIX).and_then(|id| id.parse().ok());
    id.ok_or(StoreError::Corrupt { attribute: "sk" })
}

fn place(item: &Item) -> Result<Place<PaymentMethodId>, StoreError> {
    let item = Reader(item);
    Ok(Place { created_at: item.moment("ca")?, id: id(&item)? })
}

/// Where a list goes on, as its index names the place.
fn start_key(merchant: &MerchantId, listing: &MethodListing, place: &Place<PaymentMethodId>) -> Item {
    let (pk, sk) = key(merchant, &place.id);
    let of = match &listing.customer {
        None => ("pm".to_owned(), text(merchant.as_str())),
        Some(customer) => ("pc".to_owned(), text(customer_of(merchant, customer))),
    };
    Item::from([("pk".to_owned(), pk), ("sk".to_owned(), sk), of, ("ca".to_owned(), moment(place.created_at))])
}
