//! The description of the API: the committed files are what the code says, and what the code says is true.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{World, described::filled_in, request};
use florin_api::{
    ROUTES,
    openapi::{
        document,
        errors::{Explained, explained},
        operations,
        page::{STYLE, page},
    },
};
use florin_domain::{
    card::{CARD_NUMBER_TEXT_CHARACTERS_MAX, HOLDER_NAME_CHARACTERS_MAX},
    journal::NOTE_CHARACTERS_MAX,
    merchant::NAME_CHARACTERS_MAX,
    money::AMOUNT_MAX_MINOR_UNITS,
    payment::{
        DELAY_SECONDS_MAX, DESCRIPTION_CHARACTERS_MAX, METADATA_ENTRIES_MAX, METADATA_KEY_CHARACTERS_MAX,
        METADATA_VALUE_CHARACTERS_MAX, Status, WEBHOOK_URL_CHARACTERS_MAX,
    },
    payment_method::CUSTOMER_CHARACTERS_MAX,
    permission::{Permissions, Role},
    refund::{REASON_CHARACTERS_MAX, RefundStatus},
    user::EMAIL_CHARACTERS_MAX,
};
use florin_platform::password::{PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN};
use florin_store::payments::PAGE_ITEMS_MAX;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Set to anything, it makes the tests write the files that they otherwise compare.
const REWRITE: &str = "FLORIN_REWRITE_OPENAPI";

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name)
}

/// Holds the committed file against what it has to be.
fn is_current(name: &str, wanted: &str) {
    if std::env::var_os(REWRITE).is_some() {
        fs::write(asset(name), wanted).unwrap();
    }
    let committed = fs::read_to_string(asset(name)).unwrap_or_default();
    let place = committed.lines().zip(wanted.lines()).position(|(committed, wanted)| committed != wanted);
    let message = "is not what the code says; run ./scripts/openapi and read the difference";
    assert!(committed == wanted, "functions/api/assets/{name}, line {}: {message}", place.map_or(0, |line| line + 1));
}

fn pretty(value: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap())
}

/// The document with the committed examples.
fn current() -> Value {
    document(&serde_json::from_str(&fs::read_to_string(asset("examples.json")).unwrap()).unwrap())
}

#[test]
fn the_committed_files_are_what_the_code_says() {
    let document = current();
    is_current("openapi.json", &pretty(&document));
    is_current("docs.html", &page(&document));
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    is_current("docs.csp", &format!("default-src 'none'; style-src 'sha256-{hash}'; {policy}\n"));
}

#[test]
fn the_document_has_every_route_and_no_other() {
    let document = current();
    let described: BTreeSet<_> = operations(&document).map(|(method, path, _)| (method, path)).collect();
    assert_eq!(described, BTreeSet::from(ROUTES));
}

#[test]
fn every_operation_says_what_it_is() {
    let document = current();
    let mut ids = BTreeSet::new();
    let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id) && id.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{method} {path}: {id}");
        assert!(operation["summary"].as_str().is_some_and(|text| text.ends_with('.')), "{id} has no summary");
        assert!(tags.contains(&&operation["tags"][0]), "{id} has no tag of the list");
        let answers = operation["responses"].as_object().unwrap();
        let good: Vec<_> = answers.iter().filter(|(status, _)| status.starts_with('2')).collect();
        assert!(!good.is_empty(), "{id} never succeeds");
        for (status, answer) in answers {
            assert!(answer["description"].as_str().is_some_and(|text| !text.is_empty()), "{id} {status}");
            let described = status == "204" || answer["content"].as_object().is_some_and(|content| !content.is_empty());
            assert!(described, "{id} {status} does not say what comes");
        }
        let is_open = operation.get("security").is_none();
        let is_meant_so = !path.starts_with("/v1/") || path.starts_with("/v1/auth/");
        assert_eq!(is_open, is_meant_so, "{id}: who may call it?");
    }
}

/// Operations whose answers are files or gauges rather than anything to show.
const WITHOUT_EXAMPLE: [&str; 3] = ["get_openapi", "get_docs", "metrics"];

#[test]
fn every_operation_has_an_example() {
    let document = current();
    for (.., operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        let good = operation["responses"].as_object().unwrap().iter().filter(|(status, _)| status.starts_with('2'));
        let has_example = |(status, answer): (&String, &Value)| {
            status == "204" || answer["content"]["application/json"].get("example").is_some()
        };
        assert!(good.into_iter().any(has_example) || WITHOUT_EXAMPLE.contains(&id), "{id} has no example");
    }
}

/// The codes that an operation answers with, by status.
fn codes(operation: &Value) -> BTreeMap<u16, Vec<String>> {
    let answers = operation["responses"].as_object().unwrap().iter();
    let errors = answers.filter(|(status, _)| status.starts_with(['4', '5']));
    let code = |line: &str| line.strip_prefix("- `").and_then(|line| line.split('`').next()).unwrap().to_owned();
    errors
        .map(|(s, answer)| (s.parse().unwrap(), answer["description"].as_str().unwrap().lines().map(code).collect()))
        .collect()
}

/// Explained there, and answered by no operation: what is asked for is none.
const OF_NO_OPERATION: [&str; 1] = ["method_not_allowed"];

#[test]
fn the_errors_of_the_operations_are_those_that_are_explained() {
    let document = current();
    let explained = explained();
    assert!(explained.len() > 90, "only {} rows read", explained.len());
    let known = |code: &str, status: u16| {
        // A parameter of a query (400) that is a field elsewhere (422) is explained once.
        let fits = |row: &Explained| row.code == code && (row.status == status || (row.status == 400 && status == 422));
        explained.iter().any(fits)
    };
    let mut answered = BTreeSet::new();
    for (.., operation) in operations(&document) {
        for (status, codes) in codes(operation) {
            for code in codes {
                assert!(known(&code, status), "{}: {status} {code} is not in docs/errors.md", operation["operationId"]);
                answered.insert(code);
            }
        }
    }
    let explained: BTreeSet<_> = explained.into_iter().map(|row| row.code).collect();
    let missing: Vec<_> =
        explained.difference(&answered).filter(|code| !OF_NO_OPERATION.contains(&code.as_str())).collect();
    assert!(missing.is_empty(), "docs/errors.md explains {missing:?}, which no operation names");
}

#[test]
fn limits_are_those_of_the_code() {
    let document = current();
    let at = |pointer: &str| {
        let value = document.pointer(&format!("/components/schemas/{pointer}"));
        value.and_then(Value::as_i64).unwrap_or_else(|| panic!("{pointer} is no number"))
    };
    let number = |limit: usize| i64::try_from(limit).unwrap();
    for (pointer, limit) in [
        ("Amount/maximum", AMOUNT_MAX_MINOR_UNITS),
        ("NewPayment/properties/delay_seconds/maximum", DELAY_SECONDS_MAX),
        ("NewPayment/properties/description/maxLength", number(DESCRIPTION_CHARACTERS_MAX)),
        ("NewPayment/properties/webhook_url/maxLength", number(WEBHOOK_URL_CHARACTERS_MAX)),
        ("CardNumber/maxLength", number(CARD_NUMBER_TEXT_CHARACTERS_MAX)),
        ("HolderName/maxLength", number(HOLDER_NAME_CHARACTERS_MAX)),
        ("NewRefund/properties/reason/maxLength", number(REASON_CHARACTERS_MAX)),
        ("Metadata/maxProperties", number(METADATA_ENTRIES_MAX)),
        ("Metadata/propertyNames/maxLength", number(METADATA_KEY_CHARACTERS_MAX)),
        ("Metadata/additionalProperties/maxLength", number(METADATA_VALUE_CHARACTERS_MAX)),
        ("Note/maxLength", number(NOTE_CHARACTERS_MAX)),
        ("PaymentList/properties/data/maxItems", number(PAGE_ITEMS_MAX)),
        ("RefundList/properties/data/maxItems", number(PAGE_ITEMS_MAX)),
        ("PaymentMethodList/properties/data/maxItems", number(PAGE_ITEMS_MAX)),
        ("CustomerExport/properties/data/maxItems", number(PAGE_ITEMS_MAX)),
        ("AuditLog/properties/data/maxItems", number(PAGE_ITEMS_MAX)),
        ("Name/maxLength", number(NAME_CHARACTERS_MAX)),
        ("Email/maxLength", number(EMAIL_CHARACTERS_MAX)),
        ("NewPassword/minLength", number(PASSWORD_CHARACTERS_MIN)),
        ("NewPassword/maxLength", number(PASSWORD_CHARACTERS_MAX)),
    ] {
        assert_eq!(at(pointer), limit, "{pointer}");
    }
    let names = |schema: &str| document["components"]["schemas"][schema]["enum"].clone();
    assert_eq!(names("Role"), json!(Role::ALL.map(Role::as_str)));
    let customer = document["components"]["schemas"]["Customer"]["pattern"].as_str().unwrap();
    assert!(customer.contains(&format!("{{1,{CUSTOMER_CHARACTERS_MAX}}}")), "{customer}");
    assert_eq!(names("PaymentStatus"), json!(Status::ALL.map(Status::as_str)));
    assert_eq!(names("RefundStatus"), json!(RefundStatus::ALL.map(RefundStatus::as_str)));
    let currencies = names("Currency");
    let currencies = currencies.as_array().unwrap();
    assert!(currencies.contains(&json!("NGN")) && currencies.len() > 140 && !currencies.contains(&json!("XXX")));
}

/// A key without any scope is told by every route which one it takes.
#[tokio::test]
async fn scopes_are_those_that_the_handlers_need() {
    let world = World::start().await;
    let key = "sk_test_NothingAtAllMayBeDoneWithIt1";
    let record = florin_domain::merchant::ApiKeyRecord {
        scopes: Permissions::default(),
        ..common::api_key(&world.root_key, "shop", key)
    };
    world.merchants.put_api_key(&record).await.unwrap();
    let document = current();
    let mut looked_at = 0;
    let takes_a_key = |operation: &Value| operation["security"][0].as_object().is_some_and(|first| !first.is_empty());
    for (method, path, operation) in operations(&document).filter(|(.., operation)| takes_a_key(operation)) {
        let request =
            request(&method.to_uppercase(), &filled_in(path)).header("authorization", format!("Bearer {key}"));
        let request = request.body(Body::empty()).unwrap();
        let security = operation["security"][0].as_object().unwrap();
        if security.contains_key("operatorKey") {
            assert_eq!(world.send(request, 401).await.code(), "operator_key_invalid", "{method} {path}");
            continue;
        }
        let answer = world.send(request, 403).await;
        let scope = security.values().next().unwrap()[0].as_str().unwrap();
        assert_eq!(answer.body["detail"], format!("This takes the permission {scope}."), "{method} {path}");
        looked_at += 1;
    }
    assert!(looked_at > 30);
}

#[tokio::test]
async fn the_document_and_the_page_are_served_and_may_be_kept() {
    let world = World::start().await;
    let document = world.send(request("GET", "/openapi.json").body(Body::empty()).unwrap(), 200).await;
    assert_eq!(document.body, current());
    assert_eq!(document.header("cache-control"), Some("public, max-age=300"));
    let page = world.send(request("GET", "/docs").body(Body::empty()).unwrap(), 200).await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'; style-src 'sha256-"));
    assert_eq!(page.header("cache-control"), Some("public, max-age=300"));
}

#[test]
fn the_page_asks_nothing_of_anybody() {
    let html = fs::read_to_string(asset("docs.html")).unwrap();
    for outside in ["<script", "<img", "<link", "<iframe", "@import", "url(", " style=\"", "javascript:"] {
        assert!(!html.contains(outside), "{outside}");
    }
    let document = current();
    for (.., operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(html.contains(&format!("id=\"{id}\"")) && html.contains(&format!("href=\"#{id}\"")), "{id}");
    }
}
