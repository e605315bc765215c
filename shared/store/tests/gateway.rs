//! The conditions of the gateway simulator's table.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a test stops at the first surprise")]

use florin_store::gateway::{Claim, Commit, GatewayTable, KEY_KEPT_MS, KeptAnswer, Kind, Record};
use florin_testing::dynamo::Dynamo;

const NOW: i64 = 1_795_251_600_000;
const KEPT: fn() -> KeptAnswer = || KeptAnswer { status: 402, body: "{\"error\":1}".to_owned() };

async fn table() -> GatewayTable {
    GatewayTable::new(Dynamo::start().await.client, "gateway".to_owned())
}

fn claim(id: &str) -> Claim<'_> {
    Claim { key: "k", fingerprint: "f", id: Some(id) }
}

fn intent(id: &str, version: i64) -> Record {
    Record { kind: Kind::PaymentIntent, id: id.to_owned(), version, body: format!("body {version}") }
}

#[tokio::test]
async fn a_key_is_claimed_once_until_the_claim_lapses() {
    let table = table().await;
    assert_eq!(table.key("k", NOW).await.unwrap(), None);
    assert!(table.claim(&claim("a"), NOW, NOW + 10).await.unwrap());
    assert!(!table.claim(&claim("b"), NOW, NOW + 10).await.unwrap());
    assert!(!table.claim(&claim("b"), NOW + 10, NOW + 20).await.unwrap(), "it counts until its end");
    let running = table.key("k", NOW + 10).await.unwrap().unwrap();
    assert_eq!((running.fingerprint.as_str(), running.answer), ("f", None));
    assert_eq!(table.key("k", NOW + 11).await.unwrap(), None);
    assert!(table.claim(&claim("b"), NOW + 11, NOW + 20).await.unwrap());
    assert!(table.claim(&Claim { key: "other", ..claim("c") }, NOW, NOW + 10).await.unwrap());
}

#[tokio::test]
async fn record_and_answer_are_written_together_by_the_holder_of_the_claim() {
    let table = table().await;
    assert!(table.claim(&claim("a"), NOW, NOW + 10).await.unwrap());
    let lost = table.commit(&[intent("pi_1", 1)], Some((&claim("b"), &KEPT())), NOW).await.unwrap();
    assert_eq!(lost, Commit::ClaimLost);
    assert_eq!(table.get(Kind::PaymentIntent, "pi_1").await.unwrap(), None);
    let done = table.commit(&[intent("pi_1", 1)], Some((&claim("a"), &KEPT())), NOW).await.unwrap();
    assert_eq!(done, Commit::Done);
    assert_eq!(table.get(Kind::PaymentIntent, "pi_1").await.unwrap(), Some(intent("pi_1", 1)));
    assert_eq!(table.key("k", NOW + KEY_KEPT_MS).await.unwrap().unwrap().answer, Some(KEPT()));
    // Neither the same request again nor another gets in while the answer is kept.
    let again = table.commit(&[intent("pi_2", 1)], Some((&claim("a"), &KEPT())), NOW).await.unwrap();
    assert_eq!(again, Commit::ClaimLost);
    assert!(!table.claim(&claim("c"), NOW + KEY_KEPT_MS, NOW + KEY_KEPT_MS + 10).await.unwrap());
    assert_eq!(table.key("k", NOW + KEY_KEPT_MS + 1).await.unwrap(), None);
    assert!(table.claim(&claim("c"), NOW + KEY_KEPT_MS + 1, NOW + KEY_KEPT_MS + 10).await.unwrap());
    assert_eq!(table.get(Kind::PaymentIntent, "pi_2").await.unwrap(), None);
}

#[tokio::test]
async fn a_request_that_claims_nothing_takes_a_key_that_is_free() {
    let table = table().await;
    let unclaimed = Claim { id: None, ..claim("") };
    assert!(table.claim(&claim("a"), NOW, NOW + 10).await.unwrap());
    let commit =
        async |record: &str, now| table.commit(&[intent(record, 1)], Some((&unclaimed, &KEPT())), now).await.unwrap();
    assert_eq!(commit("pi_1", NOW + 10).await, Commit::ClaimLost, "another request runs under it");
    assert_eq!(commit("pi_1", NOW + 11).await, Commit::Done, "its claim has lapsed");
    assert_eq!(commit("pi_2", NOW + 12).await, Commit::ClaimLost, "it is answered");
    assert_eq!(table.get(Kind::PaymentIntent, "pi_2").await.unwrap(), None);
    assert_eq!(table.key("k", NOW + 12).await.unwrap().unwrap().answer, Some(KEPT()));
}

#[tokio::test]
async fn a_record_goes_from_version_to_version() {
    let table = table().await;
    let commit = async |records: &[Record]| table.commit(records, None, NOW).await.unwrap();
    assert_eq!(commit(&[intent("pi_1", 2)]).await, Commit::Conflict, "there is no version 1");
    assert_eq!(commit(&[intent("pi_1", 1)]).await, Commit::Done);
    assert_eq!(commit(&[intent("pi_1", 1)]).await, Commit::Conflict, "it exists");
    assert_eq!(commit(&[intent("pi_1", 2)]).await, Commit::Done);
    let refund = Record { kind: Kind::Refund, ..intent("re_1", 1) };
    assert_eq!(commit(&[refund.clone(), intent("pi_1", 2)]).await, Commit::Conflict);
    assert_eq!(table.get(Kind::Refund, "re_1").await.unwrap(), None, "all or nothing");
    assert_eq!(commit(&[refund.clone(), intent("pi_1", 3)]).await, Commit::Done);
    assert_eq!(table.get(Kind::Refund, "re_1").await.unwrap(), Some(refund));
    // A conflict leaves the claim to try again under.
    assert!(table.claim(&claim("a"), NOW, NOW + 10).await.unwrap());
    let stale = table.commit(&[intent("pi_1", 3)], Some((&claim("a"), &KEPT())), NOW).await.unwrap();
    assert_eq!(stale, Commit::Conflict);
    let fresh = table.commit(&[intent("pi_1", 4)], Some((&claim("a"), &KEPT())), NOW).await.unwrap();
    assert_eq!(fresh, Commit::Done);
}

#[tokio::test]
async fn a_listing_is_a_range_of_ids_of_one_kind() {
    let table = table().await;
    for number in 1..=5 {
        table.commit(&[intent(&format!("pi_{number}"), 1)], None, NOW).await.unwrap();
    }
    table.commit(&[Record { kind: Kind::Refund, ..intent("pi_3", 1) }], None, NOW).await.unwrap();
    let ids = async |range, newest_first, limit| {
        let records = table.list(Kind::PaymentIntent, range, newest_first, limit).await.unwrap();
        records.into_iter().map(|record| record.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(("pi_2", "pi_4"), true, 9).await, ["pi_4", "pi_3", "pi_2"]);
    assert_eq!(ids(("pi_2", "pi_4"), false, 2).await, ["pi_2", "pi_3"]);
    assert_eq!(ids(("pi_4", "pi_2"), false, 9).await, [""; 0]);
    assert_eq!(ids(("pi_6", "pi_7"), true, 9).await, [""; 0]);
}

#[tokio::test]
async fn a_listing_goes_on_where_a_page_of_the_table_ends() {
    let table = table().await;
    // Twelve records of 200 kB are three pages of a megabyte.
    for number in 10..22 {
        let body = "x".repeat(200_000);
        table.commit(&[Record { body, ..intent(&format!("pi_{number}"), 1) }], None, NOW).await.unwrap();
    }
    let records = table.list(Kind::PaymentIntent, ("pi_", "pi_~"), true, 11).await.unwrap();
    let ids: Vec<_> = records.iter().map(|record| record.id.clone()).collect();
    let expected: Vec<_> = (11..22).rev().map(|number| format!("pi_{number}")).collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn the_behaviour_is_what_was_set_last() {
    let table = table().await;
    assert_eq!(table.behaviour().await.unwrap(), None);
    table.set_behaviour("a").await.unwrap();
    table.set_behaviour("b").await.unwrap();
    assert_eq!(table.behaviour().await.unwrap().as_deref(), Some("b"));
}
