//! Users: invited, signed in, signed out, changed, gone.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

mod common;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{
    World,
    people::{PASSWORD, unique},
};

const MINUTE_MS: i64 = 60_000;

async fn refresh(world: &World, token: &Value, expected: u16) -> Value {
    let body = json!({ "refresh_token": token });
    world.call("POST", "/v1/auth/refresh", "", Some(&body), expected).await.body
}

#[tokio::test]
async fn somebody_signs_in_stays_in_and_signs_out() {
    let world = World::start().await;
    let shop = world.sign_up("shop").await;
    let first = world.login(&shop.email).await;
    assert_eq!((first["token_type"].as_str(), first["expires_in"].as_i64()), (Some("Bearer"), Some(900)));
    let token = first["access_token"].as_str().unwrap();
    world.call("GET", "/v1/payments", token, None, 200).await;

    world.clock.advance_ms(16 * MINUTE_MS);
    let expired = world.call("GET", "/v1/payments", token, None, 401).await;
    assert_eq!(expired.code(), "token_expired");
    let second = refresh(&world, &first["refresh_token"], 200).await;
    let token = second["access_token"].as_str().unwrap();
    world.call("GET", "/v1/payments", token, None, 200).await;

    let body = json!({ "refresh_token": second["refresh_token"] });
    for _ in 0..2 {
        world.call("POST", "/v1/auth/logout", "", Some(&body), 204).await;
    }
    world.call("GET", "/v1/payments", token, None, 401).await;
    assert_eq!(refresh(&world, &second["refresh_token"], 401).await["code"], "session_ended");
}

/// Whoever came first, the thief or the user: when the other one comes, both are out.
#[tokio::test]
async fn a_refresh_token_that_comes_twice_ends_the_session_for_both() {
    let world = World::start().await;
    let shop = world.sign_up("shop").await;
    let stolen = world.login(&shop.email).await;
    let other = world.login(&shop.email).await;
    let theirs = refresh(&world, &stolen["refresh_token"], 200).await;
    let elsewhere = world.another_instance().await;
    assert_eq!(elsewhere("/v1/payments", theirs["access_token"].as_str().unwrap()).await, 200);

    assert_eq!(refresh(&world, &stolen["refresh_token"], 401).await["code"], "session_ended");
    assert_eq!(refresh(&world, &theirs["refresh_token"], 401).await["code"], "session_ended");
    for tokens in [&stolen, &theirs] {
        let token = tokens["access_token"].as_str().unwrap();
        assert_eq!(world.call("GET", "/v1/payments", token, None, 401).await.code(), "token_invalid");
    }
    world.clock.advance_ms(MINUTE_MS);
    assert_eq!(elsewhere("/v1/payments", theirs["access_token"].as_str().unwrap()).await, 401);
    // Another session of the same user goes on, and the owner can read what happened.
    let other = refresh(&world, &other["refresh_token"], 200).await;
    let log = world.call("GET", "/v1/audit_log", other["access_token"].as_str().unwrap(), None, 200).await.body;
    let reused = |entry: &&Value| entry["action"] == "session.refresh_token_reused";
    assert_eq!(log["data"].as_array().unwrap().iter().filter(reused).count(), 1);
}

#[tokio::test]
async fn of_two_who_refresh_at_once_one_at_most_goes_on() {
    let world = World::start().await;
    let shop = world.sign_up("shop").await;
    let session = world.login(&shop.email).await;
    let body = json!({ "refresh_token": session["refresh_token"] }).to_string();
    let ask = || {
        let request = common::request("POST", "/v1/auth/refresh").header("content-type", "application/json");
        world.raw_status(request.body(axum::body::Body::from(body.clone())).unwrap())
    };
    let answers = tokio::join!(ask(), ask(), ask());
    let answers = [answers.0, answers.1, answers.2];
    assert!(answers.iter().filter(|status| **status == 200).count() <= 1, "{answers:?}");
}

#[tokio::test]
async fn tokens_that_are_not_ours_are_refused() {
    let world = World::start().await;
    let shop = world.sign_up("shop").await;
    let session = world.login(&shop.email).await;
    let token = session["access_token"].as_str().unwrap();
    for wrong in ["a.b.c", &token[..token.len() - 2], &format!("{token}x"), session["refresh_token"].as_str().unwrap()]
    {
        assert_eq!(world.call("GET", "/v1/payments", wrong, None, 401).await.code(), "token_invalid");
    }
    assert_eq!(refresh(&world, &session["access_token"], 401).await["code"], "session_ended");
    assert_eq!(refresh(&world, &json!("rft_x"), 401).await["code"], "session_ended");
}

#[tokio::test]
async fn who_was_invited_chooses_a_password_once() {
    let world = World::start().await;
    let shop = world.sign_up("shop").await;
    let owner = world.token(&shop.email).await;
    let body = json!({ "email": "bo@shop.example", "name": "Bo", "role": "viewer" });
    let invited = world.call_with("POST", "/v1/users", (&owner, "i"), Some(&body), 201).await.body;
    let replayed = world.call_with("POST", "/v1/users", (&owner, "i"), Some(&body), 201).await.body;
    assert_eq!(invited, replayed);
    assert_eq!(invited["status"], "invited");
    let login = json!({ "email": "bo@shop.example", "password": PASSWORD });
    world.call("POST", "/v1/auth/login", "", Some(&login), 401).await;

    let accept = json!({ "invitation_token": invited["invitation_token"], "password": PASSWORD });
    world.call("POST", "/v1/auth/accept_invitation", "", Some(&accept), 200).await;
    let again = world.call("POST", "/v1/auth/accept_invitation", "", Some(&accept), 401).await;
    assert_eq!(again.code(), "invitation_invalid");
    world.call("POST", "/v1/auth/login", "", Some(&login), 200).await;
    let taken = world.call("POST", "/v1/users", &owner, Some(&body), 409).await;
    assert_eq!(taken.code(), "email_taken");

    // Who has forgotten the password is invited again: what was signed in is out.
    let session = world.login("bo@shop.example").await;
    let path = format!("/v1/users/{}/invite", invited["id"].as_str().unwrap());
    let again = world.call("POST", &path, &owner, None, 200).await.body;
    world.call("POST", "/v1/auth/login", "", Some(&login), 401).await;
    refresh(&world, &session["refresh_token"], 401).await;
    let accept = json!({ "invitation_token": again["invitation_token"], "password": "another fine password" });
    world.call("POST", "/v1/auth/accept_invitation", "", Some(&accept), 200).await;
    world.clock.advance_ms(MINUTE_MS);
    world.call("POST", "/v1/auth/login", "", Some(&login), 401).await;
}

#[tokio::test]
async fn an_invitation_ends_after_a_week() {
    let world = World::start().await;
    let shop = world.sign_up("shop").await;
    let owner = world.token(&shop.email).await;
    let body = json!({ "email": "bo@shop.example", "name": "Bo", "role": "viewer" });
    let invited = world.call("POST", "/v1/users", &owner, Some(&body), 201).await.body;
    world.clock.advance_ms(7 * 24 * 60 * MINUTE_MS + 1);
    let accept = json!({ "invitation_token": invited["invitation_token"], "password": PASSWORD });
    world.call("POST", "/v1/auth/accept_invitation", "", Some(&accept), 401).await;
}

#[tokio::test]
async fn a_role_and_a_removal_take_effect_within_a_minute() {
    let world = World::start().await;
    let shop = world.sign_up("shop").await;
    let owner = world.token(&shop.email).await;
    let (id, email, token) = world.person(&owner, "developer").await;
    world.call("POST", "/v1/payments", &token, Some(&common::body()), 201).await;
    let path = format!("/v1/users/{id}");
    let changed = world.call("PATCH", &path, &owner, Some(&json!({ "role": "viewer" })), 200).await.body;
    assert_eq!(changed["role"], "viewer");
    world.clock.advance_ms(MINUTE_MS);
    world.call("POST", "/v1/payments", &token, Some(&common::body()), 403).await;
    world.call("GET", "/v1/payments", &token, None, 200).await;

    world.call("DELETE", &path, &owner, None, 204).await;
    world.call("DELETE", &path, &owner, None, 404).await;
    world.clock.advance_ms(MINUTE_MS);
    world.call("GET", "/v1/payments", &token, None, 401).await;
    let login = json!({ "email": email, "password": PASSWORD });
    world.call("POST", "/v1/auth/login", "", Some(&login), 401).await;
}

#[tokio::test]
async fn there_is_always_an_owner_whom_only_owners_touch() {
    let world = World::start().await;
    let shop = world.sign_up("shop").await;
    let owner = world.token(&shop.email).await;
    let path = format!("/v1/users/{}", shop.owner_id);
    for (method, body) in [("DELETE", None), ("PATCH", Some(json!({ "role": "admin" })))] {
        assert_eq!(world.call(method, &path, &owner, body.as_ref(), 409).await.code(), "last_owner");
    }
    let (admin_id, _, admin) = world.person(&owner, "admin").await;
    for (method, body) in [("DELETE", None), ("PATCH", Some(json!({ "role": "viewer" })))] {
        assert_eq!(world.call(method, &path, &admin, body.as_ref(), 403).await.code(), "owner_needed");
    }
    let promoted = json!({ "role": "owner" });
    let own = format!("/v1/users/{admin_id}");
    assert_eq!(world.call("PATCH", &own, &admin, Some(&promoted), 403).await.code(), "owner_needed");
    world.call("PATCH", &own, &owner, Some(&promoted), 200).await;
    world.call("PATCH", &path, &owner, Some(&json!({ "role": "admin" })), 200).await;
}

#[tokio::test]
async fn guesses_lock_an_address_whether_or_not_anybody_has_it() {
    let world = World::start().await;
    let shop = world.sign_up("shop").await;
    for email in [shop.email.as_str(), "nobody@shop.example"] {
        let wrong = json!({ "email": email, "password": "a wrong password" });
        for _ in 0..5 {
            let answer = world.call("POST", "/v1/auth/login", "", Some(&wrong), 401).await;
            assert_eq!(answer.code(), "credentials_invalid");
        }
        let locked = world.call("POST", "/v1/auth/login", "", Some(&wrong), 429).await;
        assert_eq!((locked.code(), locked.header("retry-after")), ("login_locked", Some("60")));
    }
    // The right password does not open a locked address either, and does when the lock is over.
    let right = json!({ "email": shop.email, "password": PASSWORD });
    world.call("POST", "/v1/auth/login", "", Some(&right), 429).await;
    world.clock.advance_ms(MINUTE_MS);
    world.call("POST", "/v1/auth/login", "", Some(&right), 200).await;
    let wrong = json!({ "email": shop.email, "password": "a wrong password" });
    for _ in 0..5 {
        world.call("POST", "/v1/auth/login", "", Some(&wrong), 401).await;
    }
}

/// CPU time is not to be had of one request, so the least of several is taken, in turns: what it takes when nothing
/// disturbs. What differs is one read of an item that is or is not there, beside 20 ms and more of hashing.
#[tokio::test]
async fn a_login_takes_as_long_for_nobody_as_for_somebody() {
    let world = World::start().await;
    let shop = world.sign_up("shop").await;
    let mut least = [Duration::MAX; 2];
    for _ in 0..4 {
        let nobody = format!("{}@shop.example", unique("nobody"));
        for (place, email) in [shop.email.as_str(), &nobody].into_iter().enumerate() {
            let wrong = json!({ "email": email, "password": "a wrong password" });
            let started = Instant::now();
            world.call("POST", "/v1/auth/login", "", Some(&wrong), 401).await;
            least[place] = least[place].min(started.elapsed());
        }
    }
    let (shorter, longer) = (least[0].min(least[1]), least[0].max(least[1]));
    assert!(longer.as_secs_f64() < shorter.as_secs_f64() * 1.5, "{least:?}");
}

/// The same for keys: a key that was revoked, so that it is found and refused, and keys that never were.
#[tokio::test]
async fn a_key_is_refused_as_fast_whether_it_was_one_or_not() {
    let world = World::start().await;
    let shop = world.sign_up("shop").await;
    let owner = world.token(&shop.email).await;
    world.call("DELETE", &format!("/v1/api_keys/{}", shop.key_id), &owner, None, 200).await;
    let mut least = [Duration::MAX; 2];
    for n in 0..100 {
        let never = format!("sk_test_{n:032}");
        for (place, key) in [shop.key.as_str(), &never].into_iter().enumerate() {
            let started = Instant::now();
            world.call("GET", "/v1/payments", key, None, 401).await;
            least[place] = least[place].min(started.elapsed());
        }
    }
    let (shorter, longer) = (least[0].min(least[1]), least[0].max(least[1]));
    assert!(longer.as_secs_f64() < shorter.as_secs_f64() * 1.5, "{least:?}");
}
