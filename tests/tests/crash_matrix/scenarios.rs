//! The stories that are told again and again, each time with another call going wrong.

use futures::future::LocalBoxFuture;

use crate::{
    gateway::cards,
    world::{
        End::{Canceled, Completed, Failed, Stuck},
        World,
    },
};

/// A story and how it may end.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Whether the bounded run tries every call with every fault, or a sample.
    pub(crate) core: bool,
    /// Tells it; afterwards everything that waits is let happen.
    pub(crate) story: for<'a> fn(&'a mut World) -> LocalBoxFuture<'a, ()>,
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "approved", core: true, story: |world| Box::pin(world.pay(cards::APPROVED, true, &[Completed])) },
    Scenario { name: "declined", core: true, story: |world| Box::pin(world.pay(cards::DECLINED, true, &[Failed])) },
    Scenario {
        name: "charge-answer-lost",
        core: true,
        story: |world| Box::pin(world.pay(cards::LOST_ONCE, true, &[Completed])),
    },
    Scenario {
        name: "unavailable",
        core: false,
        story: |world| Box::pin(world.pay(cards::UNAVAILABLE, true, &[Failed])),
    },
    Scenario {
        name: "flaky-gateway",
        core: false,
        // With one fault more all three tries are used up.
        story: |world| Box::pin(world.pay(cards::FLAKY, true, &[Completed, Failed])),
    },
    Scenario {
        name: "reconciled-charged",
        core: false,
        story: |world| Box::pin(world.pay(cards::LOST_ALWAYS, true, &[Completed])),
    },
    Scenario {
        name: "reconciled-not-charged",
        core: false,
        story: |world| Box::pin(world.pay(cards::NEVER_TAKEN, true, &[Failed])),
    },
    Scenario { name: "stuck", core: false, story: |world| Box::pin(world.pay(cards::SILENT, true, &[Stuck])) },
    Scenario {
        name: "event-lost",
        core: true,
        story: |world| {
            Box::pin(async {
                world.pay(cards::APPROVED, true, &[Completed]).await;
                world.purge();
            })
        },
    },
    Scenario {
        name: "endpoint-and-own-url",
        core: false,
        story: |world| {
            Box::pin(async {
                world.register_endpoint().await;
                world.pay(cards::APPROVED, true, &[Completed]).await;
            })
        },
    },
    Scenario {
        name: "receiver-down-at-first",
        core: false,
        story: |world| {
            Box::pin(async {
                world.receiver.refuse("/order-0", 2);
                world.pay(cards::APPROVED, true, &[Completed]).await;
            })
        },
    },
    Scenario {
        name: "batch",
        core: false,
        story: |world| {
            Box::pin(async {
                world.register_endpoint().await;
                for last4 in [cards::APPROVED, cards::APPROVED, cards::LOST_ONCE] {
                    world.pay(last4, false, &[Completed]).await;
                }
                world.pay(cards::DECLINED, true, &[Failed]).await;
            })
        },
    },
    Scenario {
        name: "canceled-before",
        core: true,
        story: |world| {
            Box::pin(async {
                world.pay(cards::APPROVED, true, &[Canceled]).await;
                world.command(0, "cancel").await;
            })
        },
    },
    Scenario {
        name: "canceled-meanwhile",
        core: true,
        story: |world| Box::pin(world.pay(cards::CANCELED_MEANWHILE, true, &[Failed])),
    },
    Scenario {
        name: "held-and-resumed",
        core: true,
        story: |world| {
            Box::pin(async {
                world.pay(cards::APPROVED, true, &[Completed]).await;
                world.command(0, "hold").await;
                world.drain().await.unwrap();
                world.command(0, "resume").await;
            })
        },
    },
    Scenario {
        name: "scheduled",
        core: true,
        story: |world| Box::pin(world.pay_later(cards::APPROVED, true, 90, &[Completed])),
    },
    Scenario {
        name: "scheduled-for-long",
        core: false,
        story: |world| Box::pin(world.pay_later(cards::APPROVED, true, 7_200, &[Completed])),
    },
    Scenario {
        name: "scheduled-held-canceled",
        core: false,
        story: |world| {
            Box::pin(async {
                world.pay_later(cards::APPROVED, true, 300, &[Canceled]).await;
                world.command(0, "hold").await;
                world.command(0, "resume").await;
                world.command(0, "cancel").await;
            })
        },
    },
    Scenario {
        name: "refunded",
        core: true,
        story: |world| {
            Box::pin(async {
                world.pay(cards::APPROVED, false, &[Completed]).await;
                world.drain().await.unwrap();
                world.refund(0, Some(400), "part").await;
                world.refund(0, None, "rest").await;
                world.refund(0, Some(1), "too-much").await;
            })
        },
    },
    Scenario {
        name: "refund-answer-lost",
        core: false,
        story: |world| {
            Box::pin(async {
                world.pay(cards::REFUND_LOST_ONCE, false, &[Completed]).await;
                world.drain().await.unwrap();
                world.refund(0, None, "all").await;
            })
        },
    },
    Scenario {
        name: "refund-declined",
        core: false,
        story: |world| {
            Box::pin(async {
                world.pay(cards::NOT_REFUNDABLE, false, &[Completed]).await;
                world.drain().await.unwrap();
                world.refund(0, None, "all").await;
            })
        },
    },
    Scenario {
        name: "stored-card",
        core: true,
        story: |world| {
            Box::pin(async {
                world.store_card(cards::APPROVED).await;
                world.pay_with(0, 0, &[Completed]).await;
                world.pay_with(0, 0, &[Completed]).await;
            })
        },
    },
    Scenario {
        name: "stored-card-deleted-before-its-charge",
        core: true,
        story: |world| {
            Box::pin(async {
                world.store_card(cards::APPROVED).await;
                world.store_card(cards::APPROVED).await;
                world.pay_with(0, 90, &[Failed]).await;
                world.pay_with(1, 90, &[Completed]).await;
                world.delete_card(0).await;
            })
        },
    },
    Scenario {
        name: "gateway-away",
        core: false,
        story: |world| {
            Box::pin(async {
                for _ in 0..4 {
                    world.pay(cards::APPROVED, false, &[Completed]).await;
                }
                world.gateway.away_until(world.clock.now().plus_ms(120_000));
            })
        },
    },
];
