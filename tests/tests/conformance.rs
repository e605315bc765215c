//! What AWS documents, against the endpoint that the environment names (`. .florin/local.env`).
//!
//! The cases, and what is known to differ, are in docs/conformance.md.
//! `FLORIN_CONFORMANCE_ONLY=sqs.batch` runs the cases whose names hold that text.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops at a surprise, and tells what it found")]

use std::{path::Path, sync::Arc, time::Instant};

use florin_tests::conformance::{Context, cases, differences, probe::Probe, runner};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_passes_or_is_a_known_difference() {
    let emulator = std::env::var("FLORIN_EMULATOR").unwrap_or_else(|_| "ministack".to_owned());
    let only = std::env::var("FLORIN_CONFORMANCE_ONLY").unwrap_or_default();
    let (functional, plain): (Vec<_>, Vec<_>) = cases()
        .into_iter()
        .filter(|case| case.name.contains(&only))
        .partition(|case| ["mappings.", "http_api."].iter().any(|service| case.name.starts_with(service)));
    let context = Context::from_env().await;
    let started = Instant::now();
    // The functions' stack starts while the cases without functions run.
    let with_functions = async {
        if functional.is_empty() {
            return Vec::new();
        }
        let probe = Probe::start(&emulator, Path::new(env!("CARGO_BIN_EXE_conformance-probe"))).await;
        let probe = Arc::new(probe.map_err(|error| format!("{error:#}")));
        let log = (*probe).as_ref().ok().and_then(Probe::log).unwrap_or_default();
        println!("the functions' stack took {} ms; its log is {}", started.elapsed().as_millis(), log.display());
        let results = runner::run(&context.clone().with_probe(Arc::clone(&probe)), functional).await;
        // Ending it blocks.
        tokio::task::spawn_blocking(move || drop(probe)).await.unwrap();
        results
    };
    let (mut results, more) = tokio::join!(runner::run(&context, plain), with_functions);
    results.extend(more);
    let (table, wrong) = runner::judge(results, &differences::of(&emulator));
    println!("{table}in {} s, on {emulator}", started.elapsed().as_secs());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
