//! Topics of SNS with queues as subscribers.

mod batches;
mod delivery;
mod filters;
mod publishing;
mod topics;

use super::Case;

pub fn cases() -> Vec<Case> {
    [publishing::CASES, delivery::CASES, batches::CASES, filters::CASES, topics::CASES].concat()
}
