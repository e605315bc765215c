//! Events, after the state they tell of is stored (invariant 2). An event that cannot be published is left to the
//! sweeper: what it is about stands in the due index.

use florin_domain::{
    event::{Correlation, Event},
    payment::{Payment, Status},
    refund::{Refund, RefundStatus},
    time::Timestamp,
};
use florin_store::payments::{Due, is_far};

use crate::Api;

/// Publishes the event, and says whether that worked.
pub(crate) async fn publish(api: &Api, event: &Event) -> bool {
    let published = api.dependencies.publisher.publish(event).await;
    if let Err(error) = &published {
        tracing::error!(subject = event.subject, event_type = event.event_type.as_str(), %error, "left to the sweeper");
    }
    published.is_ok()
}

/// Sets a payment going that waits for the processor. One whose moment is far is left to the due index, which brings it
/// when it is near.
pub(crate) async fn initiated(api: &Api, payment: &Payment, correlation: &Correlation) {
    let waits = matches!(payment.status, Status::Pending | Status::Scheduled);
    if waits && is_near(payment, api.dependencies.clock.now()) {
        publish(api, &Event::initiated(payment, correlation)).await;
    }
}

fn is_near(payment: &Payment, now: Timestamp) -> bool {
    payment.process_at.is_none_or(|at| !is_far(at.ms_since(now)))
}

/// Sets a refund going that waits for the processor.
pub(crate) async fn refund_initiated(api: &Api, refund: &Refund, correlation: &Correlation) {
    if refund.status == RefundStatus::Pending {
        publish(api, &Event::refund_initiated(refund, correlation)).await;
    }
}

/// Announces the end of a payment or refund, and takes it out of the due index once it is announced.
pub(crate) async fn ended(api: &Api, due: &Due, correlation: &Correlation) {
    let event = match due {
        Due::Payment(payment) => Event::ended(payment, correlation),
        Due::Refund(refund) => Event::refund_ended(refund, correlation),
    };
    let Some(event) = event else { return };
    if publish(api, &event).await
        && let Err(error) = api.dependencies.payments.leave_due(due).await
    {
        tracing::warn!(id = due.id(), %error, "announced, but it stays due: the sweeper announces it again");
    }
}

/// Sets a payment or refund going again that was stuck.
pub(crate) async fn again(api: &Api, due: &Due, correlation: &Correlation) {
    let event = match due {
        Due::Payment(payment) => Event::initiated(payment, correlation),
        Due::Refund(refund) => Event::refund_initiated(refund, correlation),
    };
    publish(api, &event).await;
}
