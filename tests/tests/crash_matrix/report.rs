//! What was tried and what survived, as a table.

use std::{collections::BTreeMap, fmt::Write};

use florin_testing::faults::Fault;

use crate::matrix::{Mode, Outcome};

/// Failures that are told in full.
const FAILURES_TOLD_MAX: usize = 20;

/// The whole report; its last line says how many points were tried and how many survived.
pub(crate) fn report(outcomes: &[Outcome], seed: u64) -> String {
    let mut text = format!("seed {seed}\n\n");
    table_of_faults(&mut text, outcomes);
    table_of_modes(&mut text, outcomes);
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| !outcome.survived()).collect();
    for outcome in failed.iter().take(FAILURES_TOLD_MAX) {
        failure(&mut text, outcome);
    }
    if failed.len() > FAILURES_TOLD_MAX {
        writeln!(text, "… and {} more\n", failed.len() - FAILURES_TOLD_MAX).unwrap();
    }
    writeln!(text, "points tried {}, survived {}", outcomes.len(), outcomes.len() - failed.len()).unwrap();
    text
}

/// Shows the report, or leaves it in the file where the script looks for it.
pub(crate) fn publish(report: &str, file: Option<String>) {
    match file {
        Some(file) => std::fs::write(file, report).unwrap(),
        None => println!("{report}"),
    }
}

#[derive(Default, Clone, Copy)]
struct Tally {
    tried: usize,
    survived: usize,
}

impl Tally {
    fn add(&mut self, outcome: &Outcome) {
        self.tried += 1;
        self.survived += usize::from(outcome.survived());
    }

    fn show(self) -> String {
        if self.tried == 0 { "-".to_owned() } else { format!("{}/{}", self.survived, self.tried) }
    }
}

/// Survived and tried, by the function whose call went wrong and by what went wrong.
fn table_of_faults(text: &mut String, outcomes: &[Outcome]) {
    let mut tallies: BTreeMap<&str, BTreeMap<Fault, Tally>> = BTreeMap::new();
    for outcome in outcomes {
        if let (Some((number, fault)), calls) = (outcome.point.strike, &outcome.calls) {
            let component = calls.get(number.saturating_sub(1)).map_or("?", |call| call.component);
            tallies.entry(component).or_default().entry(fault).or_default().add(outcome);
        }
    }
    if tallies.is_empty() {
        return;
    }
    let width = |fault: Fault| fault.as_str().len().max(9) + 2;
    write!(text, "{:<15}", "survived/tried").unwrap();
    for fault in Fault::ALL {
        write!(text, "{:>width$}", fault.as_str(), width = width(fault)).unwrap();
    }
    text.push('\n');
    for (component, row) in &tallies {
        write!(text, "{component:<15}").unwrap();
        for fault in Fault::ALL {
            let tally = row.get(&fault).copied().unwrap_or_default();
            write!(text, "{:>width$}", tally.show(), width = width(fault)).unwrap();
        }
        text.push('\n');
    }
    text.push('\n');
}

/// Survived and tried without a fault, by how the queues behaved.
fn table_of_modes(text: &mut String, outcomes: &[Outcome]) {
    let mut tallies: BTreeMap<Mode, Tally> = BTreeMap::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.point.strike.is_none()) {
        tallies.entry(outcome.point.mode).or_default().add(outcome);
    }
    if tallies.is_empty() {
        return;
    }
    let cells: Vec<String> = tallies.iter().map(|(mode, tally)| format!("{mode} {}", tally.show())).collect();
    writeln!(text, "without a fault: {}\n", cells.join(", ")).unwrap();
}

fn failure(text: &mut String, outcome: &Outcome) {
    let point = &outcome.point;
    writeln!(text, "FAILED {point}").unwrap();
    if let Some((number, fault)) = point.strike {
        let call = outcome.calls.get(number.saturating_sub(1)).map_or_else(|| "?".to_owned(), ToString::to_string);
        writeln!(text, "  {} at call {call}", fault.as_str()).unwrap();
    }
    for violation in &outcome.violations {
        writeln!(text, "  {violation}").unwrap();
    }
    writeln!(text, "  ./scripts/crash-matrix --point {point}\n").unwrap();
}
