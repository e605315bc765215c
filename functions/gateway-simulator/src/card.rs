//! What each test card does, by its last four digits (product.md, section 2).
//!
//! What their refunds do is the simulator's own; where Stripe has such a card, it has that card's digits.

/// What happens when a card is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The charge is taken.
    Approved,
    /// The charge is taken, and the first answer comes too late for its client.
    ApprovedTooLate,
    /// The issuer says no.
    Declined(Decline),
    /// Nothing happens.
    Unavailable,
}

/// A refusal, in the words of <https://docs.stripe.com/declines/codes>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decline {
    pub(crate) code: &'static str,
    pub(crate) decline_code: Option<&'static str>,
    pub(crate) message: &'static str,
}

/// What a charge of that card does.
pub(crate) fn verdict(last4: &str) -> Verdict {
    match last4 {
        "0000" => Verdict::Declined(Decline {
            code: "card_declined",
            decline_code: Some("insufficient_funds"),
            message: "Your card has insufficient funds.",
        }),
        "1111" => Verdict::Declined(Decline {
            code: "incorrect_number",
            decline_code: None,
            message: "Your card number is incorrect.",
        }),
        "9999" => Verdict::Unavailable,
        "0119" => Verdict::ApprovedTooLate,
        _ => Verdict::Approved,
    }
}

/// What happens when a charge is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefundVerdict {
    /// The refund is made.
    Made,
    /// The refund is made, and the first answer comes too late for its client.
    MadeTooLate,
    /// The refund takes a while.
    Pending,
    /// The issuer does not take it.
    Failed,
}

/// What a refund to that card does.
pub(crate) fn refund_verdict(last4: &str) -> RefundVerdict {
    match last4 {
        "5126" => RefundVerdict::Failed,
        "5134" => RefundVerdict::MadeTooLate,
        "7726" => RefundVerdict::Pending,
        _ => RefundVerdict::Made,
    }
}
