//! The audit table: entries are added and never changed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a test stops at the first surprise")]

use florin_domain::retention::Retention;
use florin_store::{
    StoreError,
    audit::{Audit, AuditEntry, DETAIL_CHARACTERS_MAX, ENTRIES_PER_APPEND_MAX, ENTRIES_PER_PAGE_MAX, OPERATIONS},
};
use florin_testing::{build::START, dynamo::Dynamo};

async fn audit() -> Audit {
    Audit::new(Dynamo::start().await.client, "audit")
}

fn entry(after_ms: i64, id: &str) -> AuditEntry {
    AuditEntry {
        at: START.plus_ms(after_ms),
        id: id.to_owned(),
        actor: "ada@desk".to_owned(),
        action: "dead_letters.replay".to_owned(),
        details: [("queue".to_owned(), "webhook".to_owned()), ("message".to_owned(), id.to_owned())].into(),
    }
}

#[tokio::test]
async fn entries_are_read_newest_first_and_page_by_page() {
    let audit = audit().await;
    audit.append(OPERATIONS, &[entry(1, "a"), entry(0, "b"), entry(1, "c")]).await.unwrap();
    audit.append("other", &[entry(5, "d")]).await.unwrap();
    let all = audit.before(OPERATIONS, START.plus_ms(2), 10).await.unwrap();
    assert_eq!(all, [entry(1, "c"), entry(1, "a"), entry(0, "b")]);
    assert_eq!(audit.before(OPERATIONS, START.plus_ms(1), 10).await.unwrap(), [entry(0, "b")]);
    assert_eq!(audit.before(OPERATIONS, START.plus_ms(2), 1).await.unwrap(), [entry(1, "c")]);
}

#[tokio::test]
async fn nothing_is_written_over_and_an_append_is_all_or_nothing() {
    let audit = audit().await;
    audit.append(OPERATIONS, &[entry(0, "a")]).await.unwrap();
    let other = AuditEntry { actor: "eve".to_owned(), ..entry(0, "a") };
    let refused = audit.append(OPERATIONS, &[entry(0, "b"), other]).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(audit.before(OPERATIONS, START.plus_ms(1), 10).await.unwrap(), [entry(0, "a")]);
}

#[tokio::test]
async fn sizes_are_bounded() {
    let audit = audit().await;
    audit.append(OPERATIONS, &[]).await.unwrap();
    let most: Vec<AuditEntry> = (0..ENTRIES_PER_APPEND_MAX).map(|n| entry(0, &format!("{n:03}"))).collect();
    audit.append(OPERATIONS, &most).await.unwrap();
    let one_more: Vec<AuditEntry> = (0..=ENTRIES_PER_APPEND_MAX).map(|n| entry(9, &n.to_string())).collect();
    assert!(audit.append(OPERATIONS, &one_more).await.is_err());
    let page = audit.before(OPERATIONS, START.plus_ms(1), u32::MAX).await.unwrap();
    assert_eq!(page.len(), usize::try_from(ENTRIES_PER_PAGE_MAX).unwrap());

    let mut long = entry(20, "long");
    long.details.insert("reason".to_owned(), "ü".repeat(DETAIL_CHARACTERS_MAX + 1));
    audit.append(OPERATIONS, &[long]).await.unwrap();
    let read = audit.before(OPERATIONS, START.plus_ms(21), 1).await.unwrap();
    assert_eq!(read[0].details["reason"], "ü".repeat(DETAIL_CHARACTERS_MAX));
}

#[tokio::test]
async fn merchants_entries_expire_where_they_are_not_kept_for_good_and_operators_never() {
    const MERCHANT: &str = "mer_1";
    const DAY_MS: i64 = 86_400_000;
    let dynamo = Dynamo::start().await;
    let year = Retention::of_days(365).unwrap();
    let audit = Audit::new(dynamo.client.clone(), "audit").keeping(Some(year));
    audit.append_to(&[MERCHANT, OPERATIONS], &entry(0, "a")).await.unwrap();
    audit.append(MERCHANT, &[entry(DAY_MS, "b")]).await.unwrap();
    let items = dynamo.client.scan().table_name("audit").send().await.unwrap().items.unwrap();
    let ttl = |scope: &str| items.iter().find(|item| item["pk"].as_s().unwrap() == scope).unwrap().get("ttl");
    assert_eq!(ttl(OPERATIONS), None);
    assert!(ttl(MERCHANT).unwrap().as_n().unwrap().parse::<i64>().unwrap() >= year.expiry(START).seconds());

    // DynamoDB has not removed it yet.
    let ids = async |scope, now| {
        let page = audit.page(scope, None, 10, now).await.unwrap();
        page.into_iter().map(|entry| entry.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(MERCHANT, year.expiry(START)).await, ["b", "a"]);
    assert_eq!(ids(MERCHANT, year.expiry(START).plus_ms(1)).await, ["b"]);
    assert_eq!(ids(OPERATIONS, year.expiry(START).plus_ms(1)).await, ["a"]);
}
