//! `/v1/ops`: what operators see and do. Every route takes [`Operator`](crate::auth::Operator), so that none can be
//! reached with a merchant's key.

pub(crate) mod dead_letters;
pub(crate) mod queues;
pub(crate) mod resolve;
pub(crate) mod stuck;

/// Longest name of who acts, in characters.
const ACTOR_CHARACTERS_MAX: usize = 100;
