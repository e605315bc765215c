//! Every route, with every role, with keys, with nobody, and with another merchant's owner: who is let in, and who not.
//! A route without an entry here fails the test.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use std::collections::BTreeSet;

use florin_api::ROUTES;
use florin_domain::{
    ids::PaymentId,
    permission::{Permission, Permissions, Role},
};
use florin_testing::build;
use serde_json::{Value, json};

use crate::common::{
    World,
    people::{SignedUp, unique},
};

/// Who is let in.
#[derive(Clone, Copy, PartialEq)]
enum Access {
    /// Everybody; what is asked is judged by itself.
    Public,
    /// Whoever may do this.
    May(Permission),
    /// Operators only.
    Operator,
}

use Access::{May, Operator, Public};
use Permission::{
    AnalyticsRead, AuditRead, CustomersManage, KeysRead, KeysWrite, MerchantRead, MerchantWrite, PaymentMethodsRead,
    PaymentMethodsWrite, PaymentsRead, PaymentsWrite, RefundsWrite, UsersRead, UsersWrite,
};

/// What `{id}` stands for, made anew for every request.
#[derive(Clone, Copy)]
enum Thing {
    /// The path has none.
    None,
    Scheduled,
    Held,
    Completed,
    Refund,
    PaymentMethod,
    Key,
    User,
}

/// Method, path, who is let in, what it is about, and what is answered to who is let in.
const TABLE: &[(&str, &str, Access, Thing, u16)] = &[
    ("get", "/health", Public, Thing::None, 200),
    ("get", "/live", Public, Thing::None, 200),
    ("get", "/ready", Public, Thing::None, 200),
    ("get", "/metrics", Public, Thing::None, 200),
    ("get", "/openapi.json", Public, Thing::None, 200),
    ("get", "/docs", Public, Thing::None, 200),
    ("get", "/.well-known/jwks.json", Public, Thing::None, 200),
    ("get", "/.well-known/openid-configuration", Public, Thing::None, 200),
    ("post", "/oauth/token", Public, Thing::None, 400),
    ("get", "/v1/payments", May(PaymentsRead), Thing::None, 200),
    ("post", "/v1/payments", May(PaymentsWrite), Thing::None, 201),
    ("get", "/v1/payments/{id}", May(PaymentsRead), Thing::Scheduled, 200),
    ("get", "/v1/payments/{id}/timeline", May(PaymentsRead), Thing::Scheduled, 200),
    ("post", "/v1/payments/{id}/cancel", May(PaymentsWrite), Thing::Scheduled, 200),
    ("post", "/v1/payments/{id}/hold", May(PaymentsWrite), Thing::Scheduled, 200),
    ("post", "/v1/payments/{id}/resume", May(PaymentsWrite), Thing::Held, 200),
    ("get", "/v1/payments/{id}/refunds", May(PaymentsRead), Thing::Completed, 200),
    ("post", "/v1/payments/{id}/refunds", May(RefundsWrite), Thing::Completed, 201),
    ("get", "/v1/refunds", May(PaymentsRead), Thing::None, 200),
    ("get", "/v1/refunds/{id}", May(PaymentsRead), Thing::Refund, 200),
    ("get", "/v1/payment_methods", May(PaymentMethodsRead), Thing::None, 200),
    ("post", "/v1/payment_methods", May(PaymentMethodsWrite), Thing::None, 201),
    ("get", "/v1/payment_methods/{id}", May(PaymentMethodsRead), Thing::PaymentMethod, 200),
    ("delete", "/v1/payment_methods/{id}", May(PaymentMethodsWrite), Thing::PaymentMethod, 204),
    ("get", "/v1/customers/{customer}/export", May(CustomersManage), Thing::None, 200),
    ("post", "/v1/customers/{customer}/erase", May(CustomersManage), Thing::None, 200),
    ("get", "/v1/analytics/payments", May(AnalyticsRead), Thing::None, 200),
    ("post", "/v1/merchants", Public, Thing::None, 201),
    ("get", "/v1/merchants/me", May(MerchantRead), Thing::None, 200),
    ("patch", "/v1/merchants/me", May(MerchantWrite), Thing::None, 200),
    ("get", "/v1/api_keys", May(KeysRead), Thing::None, 200),
    ("post", "/v1/api_keys", May(KeysWrite), Thing::None, 201),
    ("get", "/v1/api_keys/{id}", May(KeysRead), Thing::Key, 200),
    ("delete", "/v1/api_keys/{id}", May(KeysWrite), Thing::Key, 200),
    ("post", "/v1/auth/login", Public, Thing::None, 401),
    ("post", "/v1/auth/refresh", Public, Thing::None, 401),
    ("post", "/v1/auth/logout", Public, Thing::None, 401),
    ("post", "/v1/auth/accept_invitation", Public, Thing::None, 401),
    ("get", "/v1/users", May(UsersRead), Thing::None, 200),
    ("post", "/v1/users", May(UsersWrite), Thing::None, 201),
    ("get", "/v1/users/{id}", May(UsersRead), Thing::User, 200),
    ("patch", "/v1/users/{id}", May(UsersWrite), Thing::User, 200),
    ("delete", "/v1/users/{id}", May(UsersWrite), Thing::User, 204),
    ("post", "/v1/users/{id}/invite", May(UsersWrite), Thing::User, 200),
    ("get", "/v1/audit_log", May(AuditRead), Thing::None, 200),
    ("get", "/v1/ops/stuck", Operator, Thing::None, 200),
    ("get", "/v1/ops/queues", Operator, Thing::None, 200),
    ("get", "/v1/ops/dead_letters/{consumer}", Operator, Thing::None, 200),
    // The bodies say nothing of who and why: who is let in hears that.
    ("post", "/v1/ops/dead_letters/{consumer}/replay", Operator, Thing::None, 422),
    ("post", "/v1/ops/dead_letters/{consumer}/discard", Operator, Thing::None, 422),
    ("post", "/v1/ops/payments/{id}/retry", Operator, Thing::Completed, 422),
    ("post", "/v1/ops/payments/{id}/settle", Operator, Thing::Completed, 422),
    ("post", "/v1/ops/refunds/{id}/retry", Operator, Thing::Refund, 422),
    ("post", "/v1/ops/refunds/{id}/settle", Operator, Thing::Refund, 422),
];

/// A body that is good for this route.
fn body(method: &str, path: &str) -> Option<Value> {
    let card = json!({ "number": "4242 4242 4242 4242", "expiry": "12/30", "cvv": "123", "holder_name": "Ada Obi" });
    match (method, path) {
        ("post", "/v1/payments") => Some(common::body()),
        ("post", "/v1/payment_methods") => Some(json!({ "card": card })),
        ("post", "/v1/payments/{id}/refunds") => Some(json!({ "amount": 1 })),
        ("post", "/v1/merchants") => {
            Some(common::people::sign_up_body("new", &format!("{}@shop.example", unique("new"))))
        }
        ("patch", "/v1/merchants/me") => Some(json!({ "name": "Shop" })),
        ("post", "/v1/api_keys") => Some(json!({ "name": unique("key"), "scopes": ["payments:read"] })),
        ("post", "/v1/users") => {
            Some(json!({ "email": format!("{}@shop.example", unique("u")), "name": "U", "role": "viewer" }))
        }
        ("patch", "/v1/users/{id}") => Some(json!({ "role": "viewer" })),
        ("post", "/v1/auth/login") => Some(json!({ "email": "nobody@shop.example", "password": "a wrong password" })),
        ("post", "/v1/auth/refresh" | "/v1/auth/logout") => Some(json!({ "refresh_token": "rft_x" })),
        ("post", "/v1/auth/accept_invitation") => {
            Some(json!({ "invitation_token": "inv_x", "password": common::people::PASSWORD }))
        }
        ("post", path) if path.starts_with("/v1/ops") => Some(json!({})),
        _ => None,
    }
}

/// Everybody who comes by.
struct People {
    world: World,
    shop: SignedUp,
    owner: String,
    stranger: String,
    roles: Vec<(Role, String)>,
}

impl People {
    async fn meet() -> Self {
        let world = World::start().await;
        let shop = world.sign_up("shop").await;
        let owner = world.token(&shop.email).await;
        let mut roles = vec![(Role::Owner, owner.clone())];
        for role in [Role::Admin, Role::Developer, Role::Viewer] {
            roles.push((role, world.person(&owner, role.as_str()).await.2));
        }
        let other = world.sign_up("other").await;
        let stranger = world.token(&other.email).await;
        Self { world, shop, owner, stranger, roles }
    }

    /// The path with the id of a new thing of the shop's.
    async fn path(&self, path: &str, thing: Thing) -> String {
        let id = match thing {
            Thing::None => String::new(),
            Thing::Scheduled => self.scheduled().await,
            Thing::Held => {
                let id = self.scheduled().await;
                self.call("POST", &format!("/v1/payments/{id}/hold"), None, 200).await;
                id
            }
            Thing::Completed => self.completed().await,
            Thing::Refund => {
                let payment = self.completed().await;
                self.make(&format!("/v1/payments/{payment}/refunds"), json!({ "amount": 1 })).await
            }
            Thing::PaymentMethod => {
                self.make("/v1/payment_methods", body("post", "/v1/payment_methods").unwrap()).await
            }
            Thing::Key => {
                let name = unique("key");
                let id = self.make("/v1/api_keys", json!({ "name": name })).await;
                // There may be so many live keys only.
                self.call("DELETE", &format!("/v1/api_keys/{id}"), None, 200).await;
                id
            }
            Thing::User => self.make("/v1/users", body("post", "/v1/users").unwrap()).await,
        };
        let consumer = if path.starts_with("/v1/ops/dead_letters") { "processing" } else { "" };
        let query = if path == "/v1/analytics/payments" {
            "?from=2026-11-21T00:00:00Z&to=2026-11-22T00:00:00Z&granularity=day"
        } else {
            ""
        };
        format!("{}{query}", path.replace("{id}", &id).replace("{consumer}", consumer).replace("{customer}", "cust-7"))
    }

    async fn call(&self, method: &str, path: &str, body: Option<&Value>, expected: u16) -> Value {
        self.world.call(method, path, &self.owner, body, expected).await.body
    }

    async fn make(&self, path: &str, body: Value) -> String {
        self.call("POST", path, Some(&body), 201).await["id"].as_str().unwrap().to_owned()
    }

    async fn scheduled(&self) -> String {
        self.make("/v1/payments", common::body_with("/delay_seconds", json!(3600))).await
    }

    async fn completed(&self) -> String {
        let id = self.make("/v1/payments", common::body()).await;
        let payment = self.world.stored_payment(&id.parse::<PaymentId>().unwrap()).await;
        self.world.payments.save(&payment, &build::completed(&payment, 100)).await.unwrap();
        id
    }

    /// A key with these scopes.
    async fn key(&self, scopes: Permissions) -> String {
        let scopes: Vec<_> = scopes.iter().map(Permission::scope).collect();
        let body = json!({ "name": unique("walk"), "scopes": scopes });
        let made = self.call("POST", "/v1/api_keys", Some(&body), 201).await;
        let id = made["id"].as_str().unwrap().to_owned();
        assert!(!id.is_empty());
        made["secret"].as_str().unwrap().to_owned()
    }
}

#[test]
fn every_route_has_an_entry() {
    let routes: BTreeSet<_> = ROUTES.into_iter().collect();
    let walked: BTreeSet<_> = TABLE.iter().map(|(method, path, ..)| (*method, *path)).collect();
    assert_eq!(routes, walked);
    assert_eq!(walked.len(), TABLE.len());
}

#[tokio::test]
async fn every_role_is_let_in_where_it_may_be_and_nowhere_else() {
    let people = People::meet().await;
    let mut asked = 0;
    for (method, path, access, thing, expected) in TABLE.iter().copied() {
        let verb = method.to_uppercase();
        for (role, token) in &people.roles {
            let expected = match access {
                Public => expected,
                Operator => 401,
                May(permission) if role.permissions().contains(permission) => expected,
                May(_) => 403,
            };
            let path_asked = people.path(path, thing).await;
            if path == "/oauth/token" {
                // Its errors are those of OAuth, no problem details.
                let request = common::request("POST", path).body(axum::body::Body::empty()).unwrap();
                assert_eq!(people.world.raw_status(request).await, expected);
                asked += 1;
                continue;
            }
            let answer = people.world.call(&verb, &path_asked, token, body(method, path).as_ref(), expected).await;
            match expected {
                403 => assert_eq!(answer.code(), "permission_missing", "{method} {path} {role:?}"),
                401 if access == Operator => assert_eq!(answer.code(), "operator_key_invalid", "{method} {path}"),
                _ => {}
            }
            asked += 1;
        }
    }
    assert_eq!(asked, TABLE.len() * Role::ALL.len());
}

#[tokio::test]
async fn a_key_is_let_in_where_its_scopes_say_so() {
    let people = People::meet().await;
    for (method, path, access, thing, expected) in TABLE.iter().copied() {
        let May(permission) = access else { continue };
        let verb = method.to_uppercase();
        let others: Permissions = Permissions::of_keys().iter().filter(|other| *other != permission).collect();
        let path_asked = people.path(path, thing).await;
        let others = people.key(others).await;
        let body = body(method, path);
        people.world.call(&verb, &path_asked, &others, body.as_ref(), 403).await;
        if permission.is_for_keys() {
            let key = people.key([permission].into_iter().collect()).await;
            people.world.call(&verb, &path_asked, &key, body.as_ref(), expected).await;
        }
        people.forget_keys().await;
    }
}

impl People {
    /// A merchant has so many live keys only: those of the walk are revoked again.
    async fn forget_keys(&self) {
        let listed = self.call("GET", "/v1/api_keys", None, 200).await;
        for key in listed["data"].as_array().unwrap() {
            if key["revoked_at"].is_null() && key["id"] != self.shop.key_id.as_str() {
                self.call("DELETE", &format!("/v1/api_keys/{}", key["id"].as_str().unwrap()), None, 200).await;
            }
        }
    }
}

#[tokio::test]
async fn nobody_and_other_merchants_see_and_change_nothing() {
    let people = People::meet().await;
    for (method, path, access, thing, _) in TABLE.iter().copied() {
        let verb = method.to_uppercase();
        if access == Public {
            continue;
        }
        let asked = people.path(path, thing).await;
        let body = body(method, path);
        people.world.call(&verb, &asked, "", body.as_ref(), 401).await;
        people.world.call(&verb, &asked, "sk_test_0000000000000000000000000000", body.as_ref(), 401).await;
        let is_of_somebody = path.contains("{id}") && access != Operator;
        if is_of_somebody {
            let absent = people.world.call(&verb, &asked, &people.stranger, body.as_ref(), 404).await;
            // As if it never was.
            let never = absent.body.clone();
            assert!(never["detail"].as_str().unwrap().starts_with("There is no such"), "{never}");
        } else if method == "get" && access != Operator {
            let seen = people.world.call(&verb, &asked, &people.stranger, None, 200).await.body.to_string();
            assert!(!seen.contains(&people.shop.merchant_id) && !seen.contains(&people.shop.key_id), "{path}: {seen}");
        }
    }
}

#[tokio::test]
async fn operators_are_let_in_by_their_key_alone() {
    let people = People::meet().await;
    let operator = people.world.root_key.operator_key().expose_text();
    for (method, path, access, thing, expected) in TABLE.iter().copied() {
        let asked = people.path(path, thing).await;
        let expected = match access {
            Operator => expected,
            Public => continue,
            May(_) => 401,
        };
        let body = body(method, path);
        people.world.call(&method.to_uppercase(), &asked, &operator, body.as_ref(), expected).await;
    }
}
