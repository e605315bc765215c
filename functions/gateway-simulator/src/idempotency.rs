//! One effect per `Idempotency-Key`. <https://docs.stripe.com/api/idempotent_requests>
//!
//! A request works, and commits its records and its answer in one transaction that is conditional on its key being
//! free. One that takes its time claims the key first, so that a retry meets a request that still runs; if it dies, its
//! claim lapses. None leaves half of anything.

use std::{future::Future, time::Duration};

use axum::response::{IntoResponse, Response};
use florin_store::gateway::{Claim, Commit, KeptAnswer, Record};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde_json::Value;

use crate::{Simulator, failure::Failure, id, params::Post};

/// How long a request may work under a claim, in milliseconds, beside a delay that it was told to have.
/// A commit after that fails if another request has claimed the key since.
const CLAIM_MS: i64 = 2_000;

/// How often a commit is tried when others change the same records.
const COMMITS_MAX: u32 = 8;

/// The wait before the second commit, in milliseconds; it doubles from then on.
const COMMIT_DELAY_MS: u64 = 5;

/// What a request does, unless it is refused before.
pub(crate) struct Effect {
    pub(crate) records: Vec<Record>,
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    /// How long the answer is held back after all is stored.
    pub(crate) hold: Duration,
}

impl Simulator {
    /// Has the effect that `plan` reads up, once per key.
    ///
    /// `plan` changes nothing itself, and is asked again when what it read has changed since. A failure of `plan` is
    /// not kept: the request may be repeated with the same key.
    pub(crate) async fn once<P, F>(&self, post: &Post, plan: P) -> Result<Response, Failure>
    where
        P: Fn() -> F + Send + Sync,
        F: Future<Output = Result<Effect, Failure>> + Send,
    {
        let fingerprint = post.fingerprint();
        let claim_id = (!post.delay.is_zero()).then(|| id::random("claim_"));
        let claim = post.key.as_deref().map(|key| Claim { key, fingerprint: &fingerprint, id: claim_id.as_deref() });
        let mut effect = match plan().await {
            Ok(effect) => effect,
            // What the key has been answered goes before what the request would meet today.
            Err(failure) => return self.answer_of(claim.as_ref()).await?.ok_or(failure),
        };
        if !post.delay.is_zero() {
            if let Some(claim) = &claim {
                let now = self.now_ms();
                let delay_ms = i64::try_from(post.delay.as_millis()).unwrap_or(i64::MAX);
                let until = now.saturating_add(CLAIM_MS).saturating_add(delay_ms);
                if !self.table.claim(claim, now, until).await? {
                    return self.answer_of(Some(claim)).await?.ok_or_else(Failure::key_in_use);
                }
            }
            tokio::time::sleep(post.delay).await;
            effect = plan().await?;
        }
        for round in 0..COMMITS_MAX {
            let kept = KeptAnswer { status: effect.status.as_u16(), body: effect.body.to_string() };
            let claimed = claim.as_ref().map(|claim| (claim, &kept));
            match self.table.commit(&effect.records, claimed, self.now_ms()).await? {
                Commit::Done => {
                    tokio::time::sleep(effect.hold).await;
                    return Ok(json(effect.status, kept.body));
                }
                Commit::ClaimLost => {
                    return self.answer_of(claim.as_ref()).await?.ok_or_else(Failure::key_in_use);
                }
                Commit::Conflict => {
                    tokio::time::sleep(Duration::from_millis(COMMIT_DELAY_MS << round)).await;
                    effect = match plan().await {
                        Ok(effect) => effect,
                        // The first request of this key may be what changed things.
                        Err(failure) => return self.answer_of(claim.as_ref()).await?.ok_or(failure),
                    };
                }
            }
        }
        Err(Failure::locked())
    }

    /// What is kept for the key, if anything.
    async fn answer_of(&self, claim: Option<&Claim<'_>>) -> Result<Option<Response>, Failure> {
        let Some(claim) = claim else { return Ok(None) };
        let Some(known) = self.table.key(claim.key, self.now_ms()).await? else {
            return Ok(None);
        };
        if known.fingerprint != claim.fingerprint {
            return Err(Failure::key_reused());
        }
        let kept = known.answer.ok_or_else(Failure::key_in_use)?;
        let status = StatusCode::from_u16(kept.status).map_err(|_| Failure::broken())?;
        let mut response = json(status, kept.body);
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
        Ok(Some(response))
    }
}

/// The body as it was stored, so that a replay is the same byte for byte.
fn json(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
