//! Runs cases, many at once: most of them wait for something.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use futures::{StreamExt as _, stream};

use super::{Case, Context, Outcome, differences::Difference};

/// Cases at once: an emulator that is asked by more answers late, and cases look at the clock.
const AT_ONCE: usize = 32;
/// How long a case may take.
const CASE_WITHIN: Duration = Duration::from_secs(50);

/// What came of a case.
#[derive(Debug)]
pub struct Result {
    pub name: &'static str,
    pub outcome: Outcome,
    pub took: Duration,
}

/// Runs these cases and removes what they made.
pub async fn run(context: &Context, cases: Vec<Case>) -> Vec<Result> {
    let running = cases.into_iter().map(|case| {
        let context = context.for_case();
        async move {
            let started = Instant::now();
            let outcome = match tokio::time::timeout(CASE_WITHIN, (case.run)(context.clone())).await {
                Ok(outcome) => outcome,
                Err(_) => Err(anyhow!("not over after {CASE_WITHIN:?}")),
            };
            let took = started.elapsed();
            context.clean_up().await;
            Result { name: case.name, outcome, took }
        }
    });
    stream::iter(running).buffer_unordered(AT_ONCE).collect().await
}

/// The results as a table, and what is wrong with them: failures that are not listed, differences that are no more.
pub fn judge(mut results: Vec<Result>, differences: &BTreeMap<&str, Difference>) -> (String, Vec<String>) {
    results.sort_by_key(|result| result.name);
    let width = results.iter().map(|result| result.name.len()).max().unwrap_or(0);
    let (mut table, mut wrong, mut passed) = (String::new(), Vec::new(), 0);
    for Result { name, outcome, took } in &results {
        let difference = differences.get(name);
        let verdict = match (outcome, difference) {
            (Ok(()), None) => {
                passed += 1;
                "pass".to_owned()
            }
            (Err(error), Some(_)) => format!("known difference: {error:#}"),
            (Err(error), None) => {
                wrong.push(format!("{name}: {error:#}"));
                format!("FAIL: {error:#}")
            }
            (Ok(()), Some(difference)) if difference.at_times => {
                passed += 1;
                "pass, this time".to_owned()
            }
            (Ok(()), Some(_)) => {
                passed += 1;
                wrong.push(format!("{name}: it passes; take it out of tests/src/conformance/differences.rs"));
                "pass, although listed as a difference".to_owned()
            }
        };
        table.push_str(&format!("{name:width$}  {:>5} ms  {}\n", took.as_millis(), verdict.replace('\n', " ")));
    }
    let known =
        results.iter().filter(|result| result.outcome.is_err() && differences.contains_key(result.name)).count();
    table.push_str(&format!("conformance: {} cases, {passed} passed, {known} known differences\n", results.len()));
    (table, wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_differences_that_is_not_true_fails() {
        let result = |name, fails: bool| {
            let outcome = if fails { Err(anyhow!("it does not")) } else { Ok(()) };
            Result { name, outcome, took: Duration::ZERO }
        };
        let difference = Difference { emulator: "e", case: "c", does: "nothing", at_times: false };
        let known = BTreeMap::from([("listed", difference)]);

        let (table, wrong) = judge(vec![result("listed", true), result("other", false)], &known);
        assert!(table.ends_with("conformance: 2 cases, 1 passed, 1 known differences\n"), "{table}");
        assert_eq!(wrong, Vec::<String>::new());

        assert_eq!(judge(vec![result("listed", false)], &known).1.len(), 1, "it passes and is listed");
        let at_times = BTreeMap::from([("listed", Difference { at_times: true, ..difference })]);
        assert_eq!(judge(vec![result("listed", false)], &at_times).1, Vec::<String>::new());
        assert_eq!(judge(vec![result("other", true)], &known).1.len(), 1, "it fails and is not listed");
    }
}
