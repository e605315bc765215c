//! Every condition of the payments and merchants tables, on an embedded DynamoDB.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use florin_domain::{
    ids::ApiKeyId,
    journal::{Failure, Step},
    merchant::ApiKeyRecord,
    money::{Currency, Money},
    payment::{DESCRIPTION_CHARACTERS_MAX, METADATA_ENTRIES_MAX, METADATA_VALUE_CHARACTERS_MAX, Payment, Status},
    saga::{self, LEASE_MS, StepResult},
    time::Timestamp,
};
use florin_store::{
    merchants::Merchants,
    payments::{DUE_AFTER_MS, DUE_SHARDS, Listing, Payments, Place, Written},
};
use florin_testing::{
    build::{self, START},
    dynamo::Dynamo,
};

async fn store() -> (Payments, Dynamo) {
    let dynamo = Dynamo::start().await;
    (Payments::new(dynamo.client.clone(), "payments"), dynamo)
}

fn payment(key: &str) -> Payment {
    build::payment(&build::merchant("shop").id, key)
}

async fn created(store: &Payments, key: &str) -> Payment {
    let payment = payment(key);
    assert_eq!(store.create(&payment).await.unwrap(), Written::Done(payment.clone()));
    payment
}

async fn read(store: &Payments, payment: &Payment) -> Payment {
    store.get_of_any_merchant(&payment.id).await.unwrap().unwrap()
}

async fn due(store: &Payments, now: Timestamp) -> usize {
    let mut found = 0;
    for shard in 0..DUE_SHARDS {
        found += store.due(shard, now, 100).await.unwrap().len();
    }
    found
}

#[tokio::test]
async fn what_is_written_is_read_back_whole() {
    let (store, _) = store().await;
    let mut large = payment("large");
    large.money = Money::new(999_999_999_999, Currency::parse("KWD").unwrap());
    large.description = Some("é".repeat(DESCRIPTION_CHARACTERS_MAX));
    large.metadata = (0..METADATA_ENTRIES_MAX)
        .map(|n| (format!("k{n}"), "💶".repeat(METADATA_VALUE_CHARACTERS_MAX)))
        .collect::<BTreeMap<_, _>>();
    large.webhook_url = Some("https://shop.example/hooks".to_owned());
    store.create(&large).await.unwrap();
    assert_eq!(read(&store, &large).await, large);

    let interrupted = saga::claim(&large, Step::Charge, None, START);
    let unknown = StepResult::Unknown { message: "lost".to_owned() };
    let (retrying, _) = saga::apply(&saga::claim(&interrupted, Step::Charge, None, START), unknown, START, 7);
    for (from, to) in [(&large, &interrupted), (&interrupted, &retrying)] {
        let mut to = to.clone();
        to.version = from.version + 1;
        store.save(&read(&store, from).await, &to).await.unwrap();
        assert_eq!(read(&store, &to).await, to);
    }
}

#[tokio::test]
async fn a_payment_is_created_once_and_the_loser_gets_the_winner() {
    let (store, _) = store().await;
    let first = created(&store, "k").await;
    let mut second = payment("k");
    second.money = Money::new(1, Currency::parse("USD").unwrap());
    assert_eq!(store.create(&second).await.unwrap(), Written::Lost(first.clone()));
    assert_eq!(read(&store, &first).await, first);
    assert_eq!(store.create(&first).await.unwrap(), Written::Done(first), "the SDK's own second try is no conflict");
}

#[tokio::test]
async fn only_a_pending_payment_is_claimed_and_only_once() {
    let (store, _) = store().await;
    let journal = saga::first_journal(None, START);
    assert_eq!(store.claim_pending(&build::unknown_payment(), &journal, START).await.unwrap(), None);
    let payment = created(&store, "k").await;
    let expected = saga::claim(&payment, Step::Charge, None, START);
    let claimed = store.claim_pending(&payment.id, &journal, START).await.unwrap();
    assert_eq!(claimed, Some(Written::Done(expected.clone())), "the reducer and the expression agree");
    let again = store.claim_pending(&payment.id, &journal, START).await.unwrap();
    assert_eq!(again, Some(Written::Lost(expected.clone())));
    assert_eq!(expected.lease_until, Some(START.plus_ms(LEASE_MS)));
}

#[tokio::test]
async fn a_write_needs_the_version_it_was_made_from() {
    let (store, _) = store().await;
    let payment = created(&store, "k").await;
    let claimed = saga::claim(&payment, Step::Charge, None, START);
    assert_eq!(store.save(&payment, &claimed).await.unwrap(), Some(Written::Done(claimed.clone())));
    let mut other = claimed.clone();
    other.failure = Some(Failure::new("x", "y"));
    assert_eq!(store.save(&payment, &other).await.unwrap(), Some(Written::Lost(claimed.clone())));
    assert_eq!(
        store.save(&payment, &claimed).await.unwrap(),
        Some(Written::Done(claimed.clone())),
        "the SDK's own second try is no conflict"
    );
    assert_eq!(
        store.claim_again(&payment, &claimed).await.unwrap(),
        Some(Written::Lost(claimed.clone())),
        "but a claim is never taken for our own"
    );
    let mut absent = claimed.clone();
    absent.id = build::unknown_payment();
    assert_eq!(store.save(&absent, &absent).await.unwrap(), None);
}

#[tokio::test]
async fn an_open_payment_is_due_and_one_that_has_ended_is_not() {
    let (store, dynamo) = store().await;
    let (open, ended) = (created(&store, "open").await, created(&store, "ended").await);
    assert_eq!(
        (due(&store, START.plus_ms(DUE_AFTER_MS - 1)).await, due(&store, START.plus_ms(DUE_AFTER_MS)).await),
        (0, 2)
    );
    dynamo.meter.reset();
    store.save(&ended, &build::completed(&ended, 100)).await.unwrap();
    assert!(dynamo.meter.counts().write_units["payments"] <= 2.0, "the item and its leaving of the due index");
    assert_eq!(due(&store, Timestamp::MAX).await, 1);

    store.postpone_due(&open, START.plus_ms(500_000)).await.unwrap();
    assert_eq!((due(&store, START.plus_ms(499_999)).await, due(&store, START.plus_ms(500_000)).await), (0, 1));
    assert_eq!(read(&store, &open).await, open, "neither status nor version move");
    let claimed = saga::claim(&open, Step::Charge, None, START);
    store.save(&open, &claimed).await.unwrap();
    store.postpone_due(&open, Timestamp::MAX).await.unwrap();
    assert_eq!(due(&store, START.plus_ms(500_000)).await, 1, "a sweeper that is late postpones nothing");
    store.postpone_due(&ended, START).await.unwrap();
    assert_eq!(due(&store, Timestamp::MAX).await, 1, "and brings nothing back");
}

#[tokio::test]
async fn a_card_payment_with_its_whole_journal_stays_below_a_unit() {
    let (store, dynamo) = store().await;
    let payment = created(&store, "k").await;
    let claimed = saga::claim(&payment, Step::Charge, None, START);
    dynamo.meter.reset();
    store.save(&payment, &claimed).await.unwrap();
    assert!((dynamo.meter.counts().write_units["payments"] - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn a_list_holds_only_the_merchants_own_and_every_one_of_them() {
    let (store, _) = store().await;
    let merchant = build::merchant("shop").id;
    for n in 0..25_i64 {
        let mut payment = payment(&n.to_string());
        payment.created_at = START.plus_ms(n / 2);
        store.create(&payment).await.unwrap();
    }
    store.create(&build::payment(&build::merchant("other").id, "k")).await.unwrap();
    let mut listing = Listing {
        limit: 4,
        after: None,
        status: Some(Status::Pending),
        currency: Currency::parse("NGN"),
        created_from: Timestamp::MIN,
        created_to: Timestamp::MAX,
    };
    let mut seen: Vec<Place> = Vec::new();
    loop {
        let page = store.list(&merchant, &listing).await.unwrap();
        seen.extend(page.payments.iter().map(|p| Place { created_at: p.created_at, id: p.id.clone() }));
        assert!(page.payments.iter().all(|payment| payment.merchant_id == merchant));
        match page.next {
            Some(next) => listing.after = Some(next),
            None => break,
        }
    }
    let ids: std::collections::HashSet<_> = seen.iter().map(|place| place.id.clone()).collect();
    assert_eq!((seen.len(), ids.len()), (25, 25));
    assert!(seen.windows(2).all(|pair| pair[0].created_at >= pair[1].created_at));
    let other = build::merchant("other").id;
    assert_eq!(store.get(&other, &seen[0].id).await.unwrap(), None);
    assert!(store.get(&merchant, &seen[0].id).await.unwrap().is_some());
}

#[tokio::test]
async fn merchants_and_keys_read_back() {
    let dynamo = Dynamo::start().await;
    let store = Merchants::new(dynamo.client, "merchants");
    let merchant = build::merchant("shop");
    assert_eq!(store.merchant(&merchant.id).await.unwrap(), None);
    store.put_merchant(&merchant).await.unwrap();
    assert_eq!(store.merchant(&merchant.id).await.unwrap(), Some(merchant.clone()));
    let record = ApiKeyRecord {
        hash: "ab".repeat(32),
        id: ApiKeyId::derive(&["k"]),
        merchant_id: merchant.id,
        prefix: "sk_test_".to_owned(),
        last4: "p7dc".to_owned(),
        revoked: true,
    };
    assert_eq!(store.api_key(&record.hash).await.unwrap(), None);
    store.put_api_key(&record).await.unwrap();
    assert_eq!(store.api_key(&record.hash).await.unwrap(), Some(record));
    store.ping().await.unwrap();
}
