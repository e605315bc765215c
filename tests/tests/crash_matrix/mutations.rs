//! A harness that cannot fail is worthless: each way in which the product can be wrong is caught by a part of the
//! matrix that the product itself survives.

use florin_domain::mutation::Mutation;
use florin_testing::faults::Kind;

use crate::{
    matrix::{Mode, Outcome, Point, points, try_all, try_until},
    scenarios::{SCENARIOS, Scenario},
};

/// The part: small, for it is tried once for every mutation.
const PART: [&str; 5] = ["approved", "charge-answer-lost", "event-lost", "canceled-meanwhile", "refunded"];

fn part() -> Vec<Point> {
    let scenarios: Vec<&'static Scenario> = SCENARIOS.iter().filter(|scenario| PART.contains(&scenario.name)).collect();
    let calm = scenarios.iter().flat_map(|scenario| {
        [Mode::Plain, Mode::Twice].map(|mode| Point {
            scenario,
            mode,
            strike: None,
            call: None,
            same_before: 0,
            mutation: None,
        })
    });
    let mut part: Vec<Point> = calm.collect();
    let struck = points(&scenarios, &[Mode::Plain]).into_iter();
    part.extend(struck.filter(|point| point.call.as_ref().is_some_and(|call| call.kind == Kind::Publish)));
    part
}

#[test]
fn each_mutation_is_caught_by_a_part_of_the_matrix_that_the_product_survives() {
    let part = part();
    let outcomes = try_all(part.clone());
    assert!(outcomes.iter().all(Outcome::survived), "the product itself does not survive");
    let mut missed = Vec::new();
    for mutation in Mutation::ALL {
        let mutated = part.iter().map(|point| Point { mutation: Some(mutation), ..point.clone() }).collect();
        let outcomes = try_until(mutated, |outcome| !outcome.survived());
        match outcomes.iter().find(|outcome| !outcome.survived()) {
            Some(caught) => println!("{mutation:?} is caught at {}: {}", caught.point, caught.violations[0]),
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
    println!("mutations tried {}, caught {}", Mutation::ALL.len(), Mutation::ALL.len());
}
