//! What a fault rule may do to a receive from a queue.

use std::{fmt, sync::Arc};

/// What happens to one receive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryFault {
    /// The messages stay visible, so that they are received once more, as standard queues may do at any time.
    pub twice: bool,
    /// The messages come in random order instead of the oldest first.
    pub shuffled: bool,
    /// Nothing comes for now, as if the service were away for this receiver.
    pub withheld: bool,
}

/// Asked before each receive with the queue's name and who receives. The default leaves everything in order.
#[derive(Clone)]
pub struct DeliveryFaults(pub Arc<Ask>);

/// Names of the queue and of the receiver to what happens.
pub type Ask = dyn Fn(&str, &str) -> DeliveryFault + Send + Sync;

impl Default for DeliveryFaults {
    fn default() -> Self {
        Self(Arc::new(|_, _| DeliveryFault::default()))
    }
}

impl fmt::Debug for DeliveryFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeliveryFaults")
    }
}
