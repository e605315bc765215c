//! What was called, by whom, and what AWS would have billed for it.

use std::time::Duration;

/// Counts since the start. Shared by everything that does work.
#[derive(Debug, Default)]
pub struct Counters {}

/// One invocation, as it would be billed.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// The function's name.
    pub function: &'a str,
    /// MiB that it is given.
    pub memory_mib: u32,
    /// From the event's arrival at the function to its answer.
    pub duration: Duration,
    /// From the process's start to its first question for an event; `None` when the environment was warm.
    pub init: Option<Duration>,
    /// User and system time of the process during the invocation, where the system tells.
    pub cpu: Option<Duration>,
    /// The most memory the process has had, in KiB, where the system tells.
    pub memory_kib_max: Option<u64>,
    /// Whether it gave no answer of its own, or an error.
    pub failed: bool,
}

impl Counters {
    /// A function was invoked.
    pub fn invoked(&self, invocation: &Invocation<'_>) {
        let _ = invocation;
    }
}
