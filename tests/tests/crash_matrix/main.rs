//! The crash matrix: for every call of every function and every fault, the story is told again with that fault at that
//! call; then everything that waits is let happen, and all invariants are checked. `docs/crash-matrix.md` explains it,
//! `./scripts/crash-matrix` runs it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and says what it found"
)]

mod gateway;
mod invariants;
mod matrix;
#[cfg(feature = "mutations")]
mod mutations;
mod receiver;
mod report;
mod scenarios;
mod seeded_run;
mod template;
mod world;

use florin_testing::seeded::Seeded;

use crate::{
    matrix::{Mode, Point, SAME_CALLS_IN_CORE, SAMPLE_POINTS, points, try_all},
    scenarios::{SCENARIOS, Scenario},
};

/// What the caller wants: see `./scripts/crash-matrix --help`.
fn wanted(name: &str) -> Option<String> {
    std::env::var(format!("FLORIN_MATRIX_{name}")).ok().filter(|value| !value.is_empty())
}

/// The seed of everything that is drawn by lot; printed, so that a run can be repeated.
fn seed() -> u64 {
    let drawn = || u64::from_be_bytes(florin_platform::random::bytes());
    wanted("SEED").map_or_else(drawn, |text| text.parse().expect("FLORIN_MATRIX_SEED is a whole number"))
}

/// The points that are wanted: one, those of a scenario, all, or by default all of the core and a sample of the rest.
fn wanted_points(seed: u64) -> Vec<Point> {
    if let Some(point) = wanted("POINT") {
        return vec![point.parse().unwrap()];
    }
    let all = wanted("ALL").is_some();
    let name = wanted("SCENARIO");
    let scenarios: Vec<&'static Scenario> =
        SCENARIOS.iter().filter(|scenario| name.as_ref().is_none_or(|name| name == scenario.name)).collect();
    assert!(!scenarios.is_empty(), "there is no scenario {name:?}");
    let calm = scenarios.iter().flat_map(|scenario| {
        Mode::ALL.map(|mode| Point { scenario, mode, strike: None, call: None, same_before: 0, mutation: None })
    });
    let mut wanted: Vec<Point> = calm.collect();
    let modes = if all { &Mode::WITH_FAULTS[..] } else { &[Mode::Plain] };
    let whole = all || name.is_some();
    let in_core = |point: &Point| point.scenario.core && point.same_before < SAME_CALLS_IN_CORE;
    let (core, mut rest): (Vec<Point>, Vec<Point>) =
        points(&scenarios, modes).into_iter().partition(|point| whole || in_core(point));
    Seeded::named(seed, "sample").shuffle(&mut rest);
    wanted.extend(core.into_iter().chain(rest.into_iter().take(SAMPLE_POINTS)));
    wanted
}

#[test]
fn whatever_call_goes_wrong_every_payment_ends_once() {
    let seed = seed();
    let points = wanted_points(seed);
    eprintln!("{} points", points.len());
    let outcomes = try_all(points);
    let report = report::report(&outcomes, seed);
    report::publish(&report, wanted("REPORT"));
    assert!(outcomes.iter().all(matrix::Outcome::survived), "see the report");
}
