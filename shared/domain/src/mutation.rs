//! Wrong versions of the product, for one test: it shows that the crash matrix catches each of them.
//!
//! Without the feature `mutations`, which nothing that is deployed has, `mutated` is the constant `false` and the
//! compiler removes what depends on it.

#[cfg(all(feature = "mutations", not(debug_assertions)))]
compile_error!("the feature `mutations` is for tests: what is optimised may be deployed");

/// A way to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// The processor acknowledges an end that it could not publish.
    AckBeforePublish,
    /// A processor claims a payment whatever has become of it.
    NoConditionOnClaim,
    /// Every attempt at a charge has a key of its own.
    FreshKeyPerAttempt,
    /// A new payment is not in the due index.
    NoDueIndex,
    /// Payments are counted without a record of what was counted.
    CountWithoutRecord,
    /// Attempts at a delivery are not recorded.
    NoWebhookRecord,
    /// A payment that is canceled during its charge ends without giving the money back.
    CancelIgnoresCharge,
    /// Refunds are not limited to what was captured.
    RefundWithoutLimit,
}

impl Mutation {
    /// Every mutation.
    pub const ALL: [Self; 8] = [
        Self::AckBeforePublish,
        Self::NoConditionOnClaim,
        Self::FreshKeyPerAttempt,
        Self::NoDueIndex,
        Self::CountWithoutRecord,
        Self::NoWebhookRecord,
        Self::CancelIgnoresCharge,
        Self::RefundWithoutLimit,
    ];
}

/// Whether the product is to be wrong in this way.
#[cfg(not(feature = "mutations"))]
pub const fn mutated(_: Mutation) -> bool {
    false
}

#[cfg(feature = "mutations")]
std::thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// Whether the product is to be wrong in this way, in this thread.
#[cfg(feature = "mutations")]
pub fn mutated(mutation: Mutation) -> bool {
    ACTIVE.get() == Some(mutation)
}

/// From now on the product is wrong in this way, in this thread.
#[cfg(feature = "mutations")]
pub fn mutate(mutation: Option<Mutation>) {
    ACTIVE.set(mutation);
}
