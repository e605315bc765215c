//! Failing on demand: a switch in the table that every instance obeys within a second.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::Method;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::{Shared, Simulator, failure::Failure, params::Post};

/// The longest delay, in milliseconds: below the time-out of the function, which is 15 seconds.
pub const DELAY_MS_MAX: i64 = 10_000;

/// The longest time that a behaviour lasts, in seconds, so that nothing stays broken by being forgotten.
pub const BEHAVIOUR_SECONDS_MAX: i64 = 3_600;

const DELAY_MS_DEFAULT: i64 = 1_000;
const BEHAVIOUR_SECONDS_DEFAULT: i64 = 60;

/// How long an instance believes what it read, in milliseconds.
const BELIEVED_MS: i64 = 1_000;

/// How the gateway behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// As the cards say.
    #[default]
    Normal,
    /// 503 to everything; nothing happens.
    Unavailable,
    /// 500 to everything; nothing happens, but a client cannot know.
    Error,
    /// Everything takes longer, and happens late.
    Slow,
}

/// What the switch says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Behaviour {
    mode: Mode,
    delay_ms: i64,
    until_ms: i64,
}

/// What an instance read last, and when.
#[derive(Default)]
pub(crate) struct Switch(Mutex<Option<(i64, Behaviour)>>);

impl Simulator {
    async fn behaviour(&self) -> Result<Behaviour, Failure> {
        let now = self.now_ms();
        // Held while reading, so that a burst reads once.
        let mut known = self.switch.0.lock().await;
        let behaviour = match *known {
            Some((read, behaviour)) if (0..BELIEVED_MS).contains(&now.saturating_sub(read)) => behaviour,
            _ => {
                let stored = self.table.behaviour().await?;
                let behaviour = stored.and_then(|body| serde_json::from_str(&body).ok()).unwrap_or_default();
                *known = Some((now, behaviour));
                behaviour
            }
        };
        Ok(if behaviour.until_ms > now { behaviour } else { Behaviour::default() })
    }
}

/// Does to a request what the switch says.
pub(crate) async fn apply(State(simulator): Shared, mut request: Request, next: Next) -> Result<Response, Failure> {
    let behaviour = simulator.behaviour().await?;
    match behaviour.mode {
        Mode::Normal => {}
        Mode::Unavailable => return Err(Failure::unavailable()),
        Mode::Error => return Err(Failure::broken()),
        Mode::Slow => {
            let delay = Duration::from_millis(u64::try_from(behaviour.delay_ms).unwrap_or_default());
            if request.method() == Method::POST {
                // While its key is claimed, so that a retry meets a request that still runs.
                request.extensions_mut().insert(delay);
            } else {
                tokio::time::sleep(delay).await;
            }
        }
    }
    Ok(next.run(request).await)
}

/// Sets the switch.
pub(crate) async fn set(State(simulator): Shared, post: Post) -> Result<Response, Failure> {
    let params = &post.params;
    params.only(&["mode", "delay_ms", "for_seconds"])?;
    let mode = match params.required("mode")? {
        "normal" => Mode::Normal,
        "unavailable" => Mode::Unavailable,
        "slow" => Mode::Slow,
        "error" => Mode::Error,
        _ => {
            let message = "The mode is one of normal, unavailable, slow, error.";
            return Err(Failure::parameter("mode", "parameter_invalid", message));
        }
    };
    let delay_ms = params.integer("delay_ms", 0, DELAY_MS_MAX)?.unwrap_or(DELAY_MS_DEFAULT);
    let seconds = params.integer("for_seconds", 1, BEHAVIOUR_SECONDS_MAX)?.unwrap_or(BEHAVIOUR_SECONDS_DEFAULT);
    let now = simulator.now_ms();
    let behaviour = Behaviour { mode, delay_ms, until_ms: now.saturating_add(seconds.saturating_mul(1_000)) };
    let body = serde_json::to_string(&behaviour).map_err(|_| Failure::broken())?;
    let mut known = simulator.switch.0.lock().await;
    simulator.table.set_behaviour(&body).await?;
    *known = Some((now, behaviour));
    Ok(Json(behaviour).into_response())
}

/// Shows the switch.
pub(crate) async fn show(State(simulator): State<Arc<Simulator>>) -> Result<Response, Failure> {
    Ok(Json(simulator.behaviour().await?).into_response())
}
