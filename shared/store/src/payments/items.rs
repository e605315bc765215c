//! From payments and refunds to items and back.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use florin_domain::{
    card::{Brand, Expiry},
    ids::MerchantId,
    journal::{Failure, JournalEntry, Step, StepOutcome},
    money::Money,
    payment::{CardSource, Payment, Status, StoredCard},
    refund::{Refund, RefundStatus},
    saga::CODE_UNANSWERED,
};

use crate::{
    StoreError,
    attributes::{Item, Reader, customer_of, moment, number, text, texts},
};

/// What the index partition of a merchant's refunds begins with.
const REFUNDS_PREFIX: &str = "refunds#";

pub(super) fn payment_item(payment: &Payment) -> Item {
    let mut item = Item::from([
        ("pk".to_owned(), text(payment.id.as_str())),
        ("m".to_owned(), text(payment.merchant_id.as_str())),
        ("st".to_owned(), text(payment.status.as_str())),
        ("v".to_owned(), number(payment.version)),
        ("am".to_owned(), number(payment.money.amount())),
        ("c".to_owned(), text(payment.money.currency().code())),
        ("s".to_owned(), source_value(&payment.source)),
        ("ca".to_owned(), moment(payment.created_at)),
        ("ua".to_owned(), moment(payment.updated_at)),
        ("j".to_owned(), journal_value(&payment.journal)),
    ]);
    let customer = payment.customer.as_ref();
    add(
        &mut item,
        [
            ("cu", customer.map(|customer| text(customer_of(&payment.merchant_id, customer)))),
            ("d", payment.description.as_ref().map(text)),
            ("u", payment.webhook_url.as_ref().map(text)),
            ("pa", payment.process_at.map(moment)),
            ("ci", payment.correlation_id.as_ref().map(text)),
            ("md", metadata_value(&payment.metadata)),
        ],
    );
    item
}

pub(super) fn refund_item(refund: &Refund) -> Item {
    let mut item = Item::from([
        ("pk".to_owned(), text(refund.id.as_str())),
        ("pay".to_owned(), text(refund.payment_id.as_str())),
        ("m".to_owned(), text(refunds_of(&refund.merchant_id))),
        ("st".to_owned(), text(refund.status.as_str())),
        ("v".to_owned(), number(refund.version)),
        ("am".to_owned(), number(refund.money.amount())),
        ("c".to_owned(), text(refund.money.currency().code())),
        ("ch".to_owned(), text(&refund.charge_reference)),
        ("ca".to_owned(), moment(refund.created_at)),
        ("ua".to_owned(), moment(refund.updated_at)),
        ("j".to_owned(), journal_value(&refund.journal)),
    ]);
    add(
        &mut item,
        [
            ("d", refund.reason.as_ref().map(text)),
            ("ci", refund.correlation_id.as_ref().map(text)),
            ("md", metadata_value(&refund.metadata)),
            ("al", refund.is_rest.then_some(AttributeValue::Bool(true))),
        ],
    );
    item
}

/// Adds those attributes that have a value.
fn add<const N: usize>(item: &mut Item, attributes: [(&str, Option<AttributeValue>); N]) {
    item.extend(attributes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
}

/// Where the merchant's refunds stand in the index `by_merchant`.
pub(super) fn refunds_of(merchant: &MerchantId) -> String {
    format!("{REFUNDS_PREFIX}{merchant}")
}

fn metadata_value(metadata: &BTreeMap<String, String>) -> Option<AttributeValue> {
    (!metadata.is_empty()).then(|| texts(metadata))
}

/// A failure's code and message as attribute values.
pub(super) fn failure_items(failure: Option<&Failure>) -> (Option<AttributeValue>, Option<AttributeValue>) {
    (failure.map(|failure| text(&failure.code)), failure.map(|failure| text(&failure.message)))
}

pub(super) fn source_value(source: &CardSource) -> AttributeValue {
    let mut item = Item::from([
        ("b".to_owned(), text(source.brand.as_str())),
        ("l".to_owned(), text(&source.last4)),
        ("e".to_owned(), text(source.expiry.to_string())),
        ("h".to_owned(), text(&source.holder_name)),
        ("t".to_owned(), text(&source.token)),
    ]);
    if let Some(stored) = &source.stored {
        item.insert("i".to_owned(), text(stored.id.as_str()));
        item.insert("g".to_owned(), text(&stored.gateway_customer));
    }
    AttributeValue::M(item)
}

pub(super) fn journal_value(journal: &[JournalEntry]) -> AttributeValue {
    AttributeValue::L(journal.iter().map(|entry| AttributeValue::M(entry_item(entry))).collect())
}

fn entry_item(entry: &JournalEntry) -> Item {
    let mut item = Item::from([
        ("s".to_owned(), text(entry.step.as_str())),
        ("n".to_owned(), number(entry.attempt)),
        ("b".to_owned(), moment(entry.started_at)),
    ]);
    if let Some(outcome) = entry.outcome {
        item.insert("o".to_owned(), text(outcome.as_str()));
    }
    if let Some(ended_at) = entry.ended_at {
        item.insert("e".to_owned(), moment(ended_at));
    }
    if let Some(error) = &entry.error {
        item.insert("c".to_owned(), text(&error.code));
        item.insert("m".to_owned(), text(&error.message));
    }
    if let Some(next_due) = entry.next_due {
        item.insert("d".to_owned(), moment(next_due));
    }
    if let Some(note) = &entry.note {
        item.insert("t".to_owned(), text(note));
    }
    item
}

fn failure(item: &Reader<'_>, code: &'static str, message: &'static str) -> Option<Failure> {
    item.text_if_any(code).map(|code| Failure {
        code: code.to_owned(),
        message: item.text_if_any(message).unwrap_or_default().to_owned(),
    })
}

pub(super) fn payment_from(item: &Item) -> Result<Payment, StoreError> {
    let item = Reader(item);
    let source = item.map("s")?;
    let corrupt = |attribute| StoreError::Corrupt { attribute };
    let refunds = item.list("rf").iter().map(|id| id.as_s().ok()?.parse().ok());
    Ok(Payment {
        id: item.parsed("pk")?,
        merchant_id: item.parsed("m")?,
        status: Status::from_name(item.text("st")?).ok_or_else(|| corrupt("st"))?,
        version: item.number("v")?,
        money: Money::new(item.number("am")?, item.parsed("c")?),
        amount_refunded: item.number_if_any("re")?.unwrap_or(0),
        amount_reserved: item.number_if_any("rr")?.unwrap_or(0),
        refunds: refunds.collect::<Option<_>>().ok_or_else(|| corrupt("rf"))?,
        refunded: item.moment_if_any("ra")?.zip(item.number_if_any("rn")?),
        source: CardSource {
            brand: Brand::from_name(source.text("b")?),
            last4: source.text("l")?.to_owned(),
            expiry: Expiry::parse(source.text("e")?).ok_or_else(|| corrupt("s.e"))?,
            holder_name: source.text("h")?.to_owned(),
            token: source.text("t")?.to_owned(),
            stored: stored_card(&source)?,
        },
        customer: item.text_if_any("cu").map(customer_in).transpose()?,
        description: item.text_if_any("d").map(str::to_owned),
        metadata: metadata(&item),
        webhook_url: item.text_if_any("u").map(str::to_owned),
        failure: failure(&item, "fc", "fm"),
        gateway_reference: item.text_if_any("gr").map(str::to_owned),
        process_at: item.moment_if_any("pa")?,
        cancel_requested_at: item.moment_if_any("cr")?,
        // An item of the first version has only a flag.
        stuck: failure(&item, "x", "xm").or_else(|| item.flag("x").then(|| Failure::new(CODE_UNANSWERED, ""))),
        erased_at: item.moment_if_any("er")?,
        correlation_id: item.text_if_any("ci").map(str::to_owned),
        created_at: item.moment("ca")?,
        updated_at: item.moment("ua")?,
        journal: item.list("j").iter().map(from_entry).collect::<Result<_, _>>()?,
        lease_until: item.moment_if_any("le")?,
    })
}

/// The customer in what the index `by_customer` has it by.
fn customer_in(key: &str) -> Result<String, StoreError> {
    let (_, customer) = key.split_once('#').ok_or(StoreError::Corrupt { attribute: "cu" })?;
    Ok(customer.to_owned())
}

fn stored_card(source: &Reader<'_>) -> Result<Option<StoredCard>, StoreError> {
    let Some(id) = source.text_if_any("i") else { return Ok(None) };
    let id = id.parse().map_err(|_| StoreError::Corrupt { attribute: "s.i" })?;
    Ok(Some(StoredCard { id, gateway_customer: source.text("g")?.to_owned() }))
}

pub(super) fn refund_from(item: &Item) -> Result<Refund, StoreError> {
    let item = Reader(item);
    let corrupt = |attribute| StoreError::Corrupt { attribute };
    Ok(Refund {
        id: item.parsed("pk")?,
        payment_id: item.parsed("pay")?,
        merchant_id: item
            .text("m")?
            .strip_prefix(REFUNDS_PREFIX)
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| corrupt("m"))?,
        status: RefundStatus::from_name(item.text("st")?).ok_or_else(|| corrupt("st"))?,
        version: item.number("v")?,
        money: Money::new(item.number("am")?, item.parsed("c")?),
        is_rest: item.flag("al"),
        reason: item.text_if_any("d").map(str::to_owned),
        metadata: metadata(&item),
        charge_reference: item.text("ch")?.to_owned(),
        gateway_reference: item.text_if_any("gr").map(str::to_owned),
        failure: failure(&item, "fc", "fm"),
        stuck: failure(&item, "x", "xm"),
        erased_at: item.moment_if_any("er")?,
        correlation_id: item.text_if_any("ci").map(str::to_owned),
        created_at: item.moment("ca")?,
        updated_at: item.moment("ua")?,
        journal: item.list("j").iter().map(from_entry).collect::<Result<_, _>>()?,
        lease_until: item.moment_if_any("le")?,
    })
}

fn metadata(item: &Reader<'_>) -> BTreeMap<String, String> {
    item.texts("md").unwrap_or_default()
}

fn from_entry(value: &AttributeValue) -> Result<JournalEntry, StoreError> {
    let corrupt = |attribute| StoreError::Corrupt { attribute };
    let item = Reader(value.as_m().map_err(|_| corrupt("j"))?);
    Ok(JournalEntry {
        step: Step::from_name(item.text("s")?).ok_or_else(|| corrupt("j.s"))?,
        attempt: item.number("n")?,
        outcome: item.text_if_any("o").and_then(StepOutcome::from_name),
        started_at: item.moment("b")?,
        ended_at: item.moment_if_any("e")?,
        error: failure(&item, "c", "m"),
        next_due: item.moment_if_any("d")?,
        note: item.text_if_any("t").map(str::to_owned),
    })
}
