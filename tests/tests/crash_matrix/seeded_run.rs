//! Many payments, refunds, cancels and holds, and faults at random: everything that is drawn by lot comes from one
//! seed.

use florin_domain::payment::Status;
use florin_testing::{
    bus::Manners,
    faults::{Call, Plan},
    seeded::Seeded,
};

use crate::{
    gateway::cards,
    invariants::violations,
    seed,
    world::{
        End::{Canceled, Completed, Failed},
        Outside, Weather, World,
    },
};

/// Payments of a run.
const PAYMENTS: usize = 60;
/// One call in so many goes wrong …
const FAULT_ONE_IN: usize = 12;
/// … until so many have.
const FAULTS_MAX: usize = 150;

const CARDS: [&str; 10] = [
    cards::APPROVED,
    cards::APPROVED,
    cards::APPROVED,
    cards::APPROVED,
    cards::DECLINED,
    cards::FLAKY,
    cards::LOST_ONCE,
    cards::LOST_ALWAYS,
    cards::CANCELED_MEANWHILE,
    cards::REFUND_LOST_ONCE,
];

/// One run: what does not hold, how many faults struck, and every call.
async fn run(seed: u64, payments: usize) -> (Vec<String>, usize, Vec<Call>) {
    let outside = Outside::start().await;
    let seeded = Seeded::named(seed, "faults");
    let plan = Plan::Random { seeded, one_in: FAULT_ONE_IN, left: FAULTS_MAX };
    let manners = Manners { duplicates: true, order: Some(Seeded::named(seed, "order")), poison: false };
    let mut world = World::start(&outside, Weather::new(plan, manners)).await;
    story(&mut world, &mut Seeded::named(seed, "story"), payments).await;
    // Whatever is still held is let go.
    let mut wrong: Vec<String> = world.drain().await.err().into_iter().collect();
    for order in 0..world.orders.len() {
        if world.payment(&world.orders[order]).await.is_some_and(|payment| payment.status == Status::OnHold) {
            world.command(order, "resume").await;
        }
    }
    wrong.extend(world.drain().await.err());
    let (struck, calls) = (world.faults.struck().len(), world.faults.calls());
    if wrong.is_empty() {
        wrong = violations(&mut world).await;
    }
    (wrong, struck, calls)
}

async fn story(world: &mut World, seeded: &mut Seeded, payments: usize) {
    for number in 0..payments {
        let card = CARDS[seeded.below(CARDS.len())];
        let seconds = if seeded.hits(6) { 40 } else { 0 };
        world.pay_later(card, true, seconds, &[Completed, Failed, Canceled]).await;
        let order = seeded.below(world.orders.len());
        match seeded.below(8) {
            0 => world.command(order, "cancel").await,
            1 => world.command(order, "hold").await,
            2 => world.command(order, "resume").await,
            3 => world.refund(order, Some(300), &format!("part-{number}")).await,
            4 => world.refund(order, None, &format!("rest-{number}")).await,
            _ => {}
        }
        world.some_batches(seeded.below(6)).await;
        if seeded.hits(20) {
            world.drain().await.unwrap();
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn many_payments_under_random_faults_all_end_once() {
    let seed = seed();
    println!("seed {seed}: FLORIN_MATRIX_SEED={seed} repeats this run");
    let (wrong, struck, calls) = block_on(run(seed, PAYMENTS));
    println!("{PAYMENTS} payments, {} calls, {struck} faults", calls.len());
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    assert!(struck > PAYMENTS / 2, "only {struck} faults struck");
}

#[test]
fn the_same_seed_makes_the_same_calls() {
    let calls = |seed| block_on(run(seed, 8)).2.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(calls(7), calls(7));
    assert_ne!(calls(7), calls(8));
}
