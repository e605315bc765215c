//! Every condition of the payments and merchants tables, on an embedded DynamoDB.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use florin_domain::{
    effect::{LEASE_MS, StepResult},
    ids::{ApiKeyId, PaymentId, RefundId},
    journal::{Failure, Step},
    merchant::ApiKeyRecord,
    money::{Currency, Money},
    payment::When,
    payment::{DESCRIPTION_CHARACTERS_MAX, METADATA_ENTRIES_MAX, METADATA_VALUE_CHARACTERS_MAX, Payment, Status},
    permission::Permissions,
    refund::{NewRefund, Refund, RefundStatus},
    saga::{self, Command},
    time::Timestamp,
};
use florin_store::{
    breaker::{Permit, SharedBreaker},
    merchants::Merchants,
    payments::{
        DUE_AFTER_MS, DUE_SHARDS, Due, HANDOVER_MS, Listing, Payments, Place, RefundWritten, Reserved, STUCK_REPORT_MS,
        Stuck, Written,
    },
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
        found += store.due(shard, now, 100).await.unwrap().0.len();
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
    large.customer = Some("cust:7".to_owned());
    large.webhook_url = Some("https://shop.example/hooks".to_owned());
    large.process_at = Some(START.plus_ms(1));
    store.create(&large).await.unwrap();
    assert_eq!(read(&store, &large).await, large);

    let interrupted = saga::claim(&large, Step::Charge, None, START);
    let unknown = StepResult::Unknown { message: "lost".to_owned() };
    let (retrying, _) = saga::apply(&saga::claim(&interrupted, Step::Charge, None, START), unknown, START, 7, false);
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

    store.postpone_due(&Due::Payment(open.clone()), START.plus_ms(500_000)).await.unwrap();
    assert_eq!((due(&store, START.plus_ms(499_999)).await, due(&store, START.plus_ms(500_000)).await), (0, 1));
    assert_eq!(read(&store, &open).await, open, "neither status nor version move");
    let claimed = saga::claim(&open, Step::Charge, None, START);
    store.save(&open, &claimed).await.unwrap();
    store.postpone_due(&Due::Payment(open.clone()), Timestamp::MAX).await.unwrap();
    assert_eq!(due(&store, START.plus_ms(500_000)).await, 1, "a sweeper that is late postpones nothing");
    store.postpone_due(&Due::Payment(ended.clone()), START).await.unwrap();
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
    let mut listing = Listing::<Payment> {
        limit: 4,
        after: None,
        status: Some(Status::Pending),
        currency: Currency::parse("NGN"),
        created_from: Timestamp::MIN,
        created_to: Timestamp::MAX,
        customer: None,
    };
    let mut seen: Vec<Place<PaymentId>> = Vec::new();
    loop {
        let page = store.list(&merchant, &listing).await.unwrap();
        seen.extend(page.items.iter().map(|p| Place { created_at: p.created_at, id: p.id.clone() }));
        assert!(page.items.iter().all(|payment| payment.merchant_id == merchant));
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
        kind: florin_domain::merchant::KeyKind::Secret,
        scopes: Permissions::of_keys(),
        revoked: true,
        last_used_at: None,
    };
    assert_eq!(store.api_key(&record.hash).await.unwrap(), None);
    store.put_api_key(&record).await.unwrap();
    assert_eq!(store.api_key(&record.hash).await.unwrap(), Some(record));
    store.ping().await.unwrap();
}

async fn completed(store: &Payments, key: &str) -> Payment {
    let payment = created(store, key).await;
    let completed = build::completed(&payment, 100);
    store.save(&payment, &completed).await.unwrap();
    completed
}

fn refund(payment: &Payment, key: &str, amount: Option<i64>) -> Refund {
    let new = NewRefund {
        amount,
        reason: Some("broken".to_owned()),
        metadata: BTreeMap::from([("order_id".to_owned(), "17".to_owned())]),
    };
    Refund::create(RefundId::derive(&[key]), payment, new, START).unwrap()
}

async fn read_refund(store: &Payments, refund: &Refund) -> Refund {
    store.refund_of_any_merchant(&refund.id).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_refund_is_written_once_and_reads_back() {
    let (store, _) = store().await;
    let payment = completed(&store, "k").await;
    let first = refund(&payment, "r", None);
    assert_eq!(store.create_refund(&payment, &first).await.unwrap(), Reserved::Done(first.clone()));
    assert_eq!(read_refund(&store, &first).await, first);
    let other = refund(&payment, "r", Some(5));
    assert_eq!(store.create_refund(&payment, &other).await.unwrap(), Reserved::Lost(first.clone()));
    let after = read(&store, &payment).await;
    assert_eq!((after.amount_reserved, after.refunds.clone(), after.version), (10_000, vec![first.id.clone()], 3));
    assert_eq!(store.refunds_of(&after).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(store.refund(&build::merchant("other").id, &first.id).await.unwrap(), None);
    assert_eq!(due(&store, START.plus_ms(DUE_AFTER_MS)).await, 1);

    let listing = Listing::<Refund> {
        limit: 10,
        after: None,
        status: Some(RefundStatus::Pending),
        currency: None,
        created_from: Timestamp::MIN,
        created_to: Timestamp::MAX,
        customer: None,
    };
    assert_eq!(store.list(&payment.merchant_id, &listing).await.unwrap().items, [first]);
    let payments = Listing::<Payment> {
        limit: 10,
        after: None,
        status: None,
        currency: None,
        created_from: Timestamp::MIN,
        created_to: Timestamp::MAX,
        customer: None,
    };
    assert_eq!(store.list(&payment.merchant_id, &payments).await.unwrap().items, [after], "each in a list of its own");
}

#[tokio::test]
async fn twenty_refunds_at_once_give_back_no_more_than_was_captured() {
    let (store, _) = store().await;
    let payment = completed(&store, "k").await;
    let refunds: Vec<Refund> = (0..20).map(|n| refund(&payment, &n.to_string(), Some(3_000))).collect();
    let tries = refunds.iter().map(async |refund| {
        loop {
            match store.create_refund(&payment, refund).await {
                Err(error) if error.is_retryable() => {}
                other => return other.unwrap(),
            }
        }
    });
    let outcomes = futures::future::join_all(tries).await;
    let done = outcomes.iter().filter(|outcome| matches!(outcome, Reserved::Done(_))).count();
    assert_eq!((done, read(&store, &payment).await.amount_reserved), (3, 9_000));
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Reserved::Done(_) | Reserved::Refused)));
}

#[tokio::test]
async fn the_end_of_a_refund_changes_its_payment_once() {
    let (store, _) = store().await;
    let payment = completed(&store, "k").await;
    for (key, result, refunded, reserved) in [
        ("done", StepResult::Done { reference: "re_1".to_owned() }, 4_000, 4_000),
        ("refused", StepResult::Refused { failure: Failure::new("no", "no"), reference: None }, 4_000, 4_000),
    ] {
        let created = refund(&read(&store, &payment).await, key, Some(4_000));
        store.create_refund(&payment, &created).await.unwrap();
        let claimed = created.claim(Step::Refund, START);
        assert_eq!(store.claim_refund(&created, &claimed).await.unwrap(), Some(RefundWritten::Done(claimed.clone())));
        assert_eq!(store.claim_refund(&created, &claimed).await.unwrap(), Some(RefundWritten::Lost(claimed.clone())));
        let (ended, _) = claimed.apply(result, START.plus_ms(9), 0, false);
        for _ in 0..2 {
            assert_eq!(store.save_refund(&claimed, &ended).await.unwrap(), Some(RefundWritten::Done(ended.clone())));
        }
        assert_eq!(read_refund(&store, &ended).await, ended);
        let after = read(&store, &payment).await;
        assert_eq!((after.amount_refunded, after.amount_reserved), (refunded, reserved), "{key}");
        assert_eq!(after.refunded, Some((START.plus_ms(9), 1)));
        assert_eq!(due(&store, Timestamp::MAX).await, 1, "until its event is published");
        store.leave_due(&Due::Refund(ended)).await.unwrap();
        assert_eq!(due(&store, Timestamp::MAX).await, 0);
    }
    let mut absent = refund(&payment, "absent", None);
    absent.version = 7;
    assert_eq!(store.claim_refund(&absent, &absent.claim(Step::Refund, START)).await.unwrap(), None);
}

#[tokio::test]
async fn a_payment_that_has_not_completed_cannot_be_refunded() {
    let (store, _) = store().await;
    let open = created(&store, "open").await;
    let refund = refund(&build::completed(&open, 1), "r", None);
    assert_eq!(store.create_refund(&open, &refund).await.unwrap(), Reserved::Refused);
    assert_eq!(store.refund_of_any_merchant(&refund.id).await.unwrap(), None, "both or neither");
}

fn stored(command: Command) -> Payment {
    match command {
        Command::Store(payment) => payment,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_write_decides_between_a_claim_and_a_command() {
    for command in [saga::hold, saga::cancel] {
        let (store, _) = store().await;
        let payment = created(&store, "k").await;
        let to = stored(command(&payment, START));
        assert_eq!(store.command(&payment, &to, START).await.unwrap(), Some(Written::Done(to.clone())));
        let journal = saga::first_journal(None, START);
        assert_eq!(store.claim_pending(&payment.id, &journal, START).await.unwrap(), Some(Written::Lost(to.clone())));
        assert_eq!(due(&store, START.plus_ms(DUE_AFTER_MS)).await, 1, "even what has ended, until that is published");
        store.leave_due(&Due::Payment(to)).await.unwrap();
        assert_eq!(due(&store, Timestamp::MAX).await, 0);

        let claimed_first = created(&store, "other").await;
        store.claim_pending(&claimed_first.id, &journal, START).await.unwrap();
        let late = stored(command(&claimed_first, START));
        assert!(matches!(store.command(&claimed_first, &late, START).await.unwrap(), Some(Written::Lost(_))));
    }
}

#[tokio::test]
async fn a_resumed_payment_keeps_its_journal_when_it_is_claimed() {
    let (store, _) = store().await;
    let payment = created(&store, "k").await;
    let held = stored(saga::hold(&payment, START));
    store.command(&payment, &held, START).await.unwrap();
    let resumed = stored(saga::resume(&held, START));
    store.command(&held, &resumed, START).await.unwrap();
    let blind = store.claim_pending(&payment.id, &saga::first_journal(None, START), START).await.unwrap();
    assert_eq!(blind, Some(Written::Lost(resumed.clone())));
    let claimed = saga::claim(&resumed, Step::Charge, None, START);
    store.claim_again(&resumed, &claimed).await.unwrap();
    assert_eq!(read(&store, &payment).await.journal.len(), 5);
}

#[tokio::test]
async fn a_payment_completes_only_if_its_withdrawal_was_not_asked_for() {
    let (store, _) = store().await;
    let payment = created(&store, "k").await;
    assert!(
        matches!(store.request_cancel(&payment, START).await.unwrap(), Some(Written::Lost(_))),
        "not processed yet"
    );
    let claimed = saga::claim(&payment, Step::Charge, None, START);
    store.save(&payment, &claimed).await.unwrap();
    let asked = Payment { cancel_requested_at: Some(START), ..claimed.clone() };
    for later in [0, 5] {
        let answer = store.request_cancel(&claimed, START.plus_ms(later)).await.unwrap();
        assert_eq!(answer, Some(Written::Done(asked.clone())), "the first one counts");
    }
    let done = StepResult::Done { reference: "pi_1".to_owned() };
    let (completed, _) = saga::apply(&claimed, done.clone(), START, 0, false);
    assert_eq!(store.save(&claimed, &completed).await.unwrap(), Some(Written::Lost(asked.clone())));
    let (charged, _) = saga::apply(&asked, done, START, 0, false);
    assert_eq!(store.save(&asked, &charged).await.unwrap(), Some(Written::Done(charged.clone())));
    assert_eq!(read(&store, &payment).await, charged);
}

#[tokio::test]
async fn a_scheduled_payment_is_due_when_it_must_be_handed_over() {
    let (store, _) = store().await;
    for (key, after_ms, due_ms) in
        [("soon", 30_000, 30_000 + DUE_AFTER_MS), ("far", 86_400_000, 86_400_000 - HANDOVER_MS)]
    {
        let mut payment = payment(key);
        payment.process_at = When::At(START.plus_ms(after_ms)).moment(START);
        payment.status = Status::Scheduled;
        let before = due(&store, START.plus_ms(due_ms - 1)).await;
        store.create(&payment).await.unwrap();
        assert_eq!(due(&store, START.plus_ms(due_ms - 1)).await, before, "{key}");
        assert_eq!(due(&store, START.plus_ms(due_ms)).await, before + 1, "{key}");
    }
}

#[tokio::test]
async fn what_is_stuck_is_found_before_what_is_scheduled_for_later() {
    let dynamo = Dynamo::start().await;
    let store = Payments::new(dynamo.client.clone(), "payments");
    let mut later = payment("later");
    later.process_at = When::At(START.plus_ms(2 * STUCK_REPORT_MS)).moment(START);
    later.status = Status::Scheduled;
    store.create(&later).await.unwrap();
    dynamo.meter.reset();
    assert_eq!(store.stuck(10, START).await.unwrap(), Stuck::default());
    assert_eq!(dynamo.meter.counts().calls.get("BatchGetItem"), None, "it is not read");
}

#[tokio::test]
async fn what_is_stuck_is_found() {
    let (store, _) = store().await;
    created(&store, "open").await;
    let payment = created(&store, "stuck").await;
    let mut stuck = saga::claim(&payment, Step::Charge, None, START);
    stuck.stuck = Some(Failure::new("outcome_unknown", "?"));
    store.save(&payment, &stuck).await.unwrap();
    let found = |found: Vec<Due>, has_more| Stuck { found, has_more };
    assert_eq!(store.stuck(10, START).await.unwrap(), found(vec![Due::Payment(stuck.clone())], false));
    assert_eq!(store.stuck(0, START).await.unwrap(), found(Vec::new(), true), "there is more than that");
    let retried = saga::try_again(&stuck, "again", START).unwrap();
    store.command(&stuck, &retried, START).await.unwrap();
    assert_eq!(store.stuck(10, START).await.unwrap(), Stuck::default());
    assert_eq!(read(&store, &payment).await, retried);
}

#[tokio::test]
async fn the_breaker_is_shared_and_admits_one_probe() {
    let dynamo = Dynamo::start().await;
    let (one, other) = [0, 1].map(|_| SharedBreaker::new(dynamo.client.clone(), "payments")).into();
    dynamo.meter.reset();
    for _ in 0..10 {
        assert_eq!(one.admit(START).await.unwrap(), Permit::Pass);
        one.succeeded(START).await.unwrap();
    }
    assert_eq!(dynamo.meter.counts().calls.into_values().sum::<u64>(), 1, "good times cost one read a second");
    for n in 1..=5 {
        assert_eq!(one.failed(START).await.unwrap(), n < 5);
    }
    assert_eq!(other.admit(START).await.unwrap(), Permit::Wait { wait_ms: 2_000 });
    let later = START.plus_ms(2_000);
    let permits = [one.admit(later).await.unwrap(), other.admit(later).await.unwrap()];
    assert!(matches!(permits, [Permit::Probe, Permit::Wait { .. }]), "{permits:?}");
    one.succeeded(later).await.unwrap();
    assert_eq!(other.admit(later.plus_ms(1_000)).await.unwrap(), Permit::Pass, "a second later everybody knows");
}
