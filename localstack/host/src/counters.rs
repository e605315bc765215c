//! What was called, by whom, and what AWS would have billed for it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;

use crate::{clock::now_ms, faults::Fired};

/// Who called when it was no function: a person, a test, another program.
pub const CLIENT: &str = "client";
/// Who calls SQS for an event source mapping.
pub const POLLER: &str = "poller";
/// Units are counted in halves, since an eventually consistent read is half a unit.
const HALVES_PER_UNIT: f64 = 2.0;
/// The step in which invocations are billed.
const BILLED_STEP_MS: u64 = 1;

/// What was called. Ordered as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CallKey {
    /// `dynamodb`, `sqs`, `sns`, `http`.
    pub service: &'static str,
    /// The operation by its API name; of HTTP APIs the method.
    pub operation: String,
    /// The function that called, [`POLLER`] or [`CLIENT`].
    pub function: String,
    /// Table, queue, topic or API, by name.
    pub resource: String,
}

/// What one call came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Call {
    /// Whether the answer was an error.
    pub failed: bool,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// DynamoDB's units.
    pub units: Units,
}

/// Request units of DynamoDB, as its price list counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Units {
    /// Read request units.
    pub read: f64,
    /// Write request units, indexes included.
    pub write: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct CallCounts {
    count: u64,
    errors: u64,
    bytes_in: u64,
    bytes_out: u64,
    read_halves: u64,
    write_halves: u64,
}

/// One invocation, as it would be billed.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// The function's name.
    pub function: &'a str,
    /// MiB that it is given.
    pub memory_mib: u32,
    /// From the event's arrival at the function to its answer.
    pub duration: Duration,
    /// From the process's start to its first question for an event; `None` when the environment was warm.
    pub init: Option<Duration>,
    /// User and system time of the process during the invocation, where the system tells.
    pub cpu: Option<Duration>,
    /// The most memory the process has had, in KiB, where the system tells.
    pub memory_kib_max: Option<u64>,
    /// Whether it gave no answer of its own, or an error.
    pub failed: bool,
}

#[derive(Debug, Clone, Default)]
struct InvocationCounts {
    memory_mib: u32,
    count: u64,
    errors: u64,
    cold_starts: u64,
    duration: Duration,
    init: Duration,
    billed_ms: u64,
    cpu: Duration,
    memory_kib_max: u64,
}

#[derive(Debug)]
struct State {
    since_ms: u64,
    calls: BTreeMap<CallKey, CallCounts>,
    invocations: BTreeMap<String, InvocationCounts>,
}

/// Counts since the start or the last reset. Shared by everything that does work.
#[derive(Debug)]
pub struct Counters(Mutex<State>);

impl Default for Counters {
    fn default() -> Self {
        Self(Mutex::new(State { since_ms: now_ms(), calls: BTreeMap::new(), invocations: BTreeMap::new() }))
    }
}

/// All counts, as `/_host/counters` gives them.
#[derive(Debug, Serialize)]
pub struct Snapshot {
    /// When counting began, in milliseconds since 1970.
    pub since_ms: u64,
    /// By service, operation, function and resource.
    pub calls: Vec<CallLine>,
    /// By function.
    pub invocations: Vec<InvocationLine>,
    /// Fault rules that are in force.
    pub faults: Vec<Fired>,
}

/// Calls of one kind.
#[derive(Debug, Serialize)]
pub struct CallLine {
    /// What was called.
    #[serde(flatten)]
    pub key: CallKey,
    /// How often.
    pub count: u64,
    /// How often the answer was an error.
    pub errors: u64,
    /// Bytes of requests.
    pub bytes_in: u64,
    /// Bytes of answers.
    pub bytes_out: u64,
    /// Read request units.
    pub read_units: f64,
    /// Write request units.
    pub write_units: f64,
}

/// Invocations of one function.
#[derive(Debug, Serialize)]
pub struct InvocationLine {
    /// Name.
    pub function: String,
    /// MiB that it is given.
    pub memory_mib: u32,
    /// How often it was invoked.
    pub count: u64,
    /// How often without an answer of its own, or with an error.
    pub errors: u64,
    /// How often a new environment was needed.
    pub cold_starts: u64,
    /// Milliseconds of all invocations.
    pub duration_ms: f64,
    /// Milliseconds of all inits.
    pub init_ms: f64,
    /// Milliseconds that would be billed: each invocation and its init, rounded up.
    pub billed_ms: u64,
    /// Milliseconds of user and system time in invocations.
    pub cpu_ms: f64,
    /// The most memory a process of it has had, in KiB.
    pub memory_kib_max: u64,
}

impl Counters {
    /// A service was called.
    pub fn called(&self, key: CallKey, call: Call) {
        let mut state = self.lock();
        let counts = state.calls.entry(key).or_default();
        counts.count += 1;
        counts.errors += u64::from(call.failed);
        counts.bytes_in += call.bytes_in;
        counts.bytes_out += call.bytes_out;
        counts.read_halves += halves(call.units.read);
        counts.write_halves += halves(call.units.write);
    }

    /// A function was invoked.
    pub fn invoked(&self, invocation: &Invocation<'_>) {
        let mut state = self.lock();
        // Looked up first: the name is there for all invocations but the first.
        if !state.invocations.contains_key(invocation.function) {
            state.invocations.insert(invocation.function.to_owned(), InvocationCounts::default());
        }
        let Some(counts) = state.invocations.get_mut(invocation.function) else { return };
        counts.memory_mib = invocation.memory_mib;
        counts.count += 1;
        counts.errors += u64::from(invocation.failed);
        counts.cold_starts += u64::from(invocation.init.is_some());
        counts.duration += invocation.duration;
        counts.init += invocation.init.unwrap_or_default();
        counts.billed_ms += billed_ms(invocation.duration + invocation.init.unwrap_or_default());
        counts.cpu += invocation.cpu.unwrap_or_default();
        counts.memory_kib_max = counts.memory_kib_max.max(invocation.memory_kib_max.unwrap_or_default());
    }

    /// Begins to count anew.
    pub fn reset(&self) {
        *self.lock() = State { since_ms: now_ms(), calls: BTreeMap::new(), invocations: BTreeMap::new() };
    }

    /// All counts, with the firings of the fault rules beside them.
    #[must_use]
    pub fn snapshot(&self, faults: Vec<Fired>) -> Snapshot {
        let state = self.lock();
        let call = |(key, counts): (&CallKey, &CallCounts)| CallLine {
            key: key.clone(),
            count: counts.count,
            errors: counts.errors,
            bytes_in: counts.bytes_in,
            bytes_out: counts.bytes_out,
            read_units: units(counts.read_halves),
            write_units: units(counts.write_halves),
        };
        let invocation = |(function, counts): (&String, &InvocationCounts)| InvocationLine {
            function: function.clone(),
            memory_mib: counts.memory_mib,
            count: counts.count,
            errors: counts.errors,
            cold_starts: counts.cold_starts,
            duration_ms: milliseconds(counts.duration),
            init_ms: milliseconds(counts.init),
            billed_ms: counts.billed_ms,
            cpu_ms: milliseconds(counts.cpu),
            memory_kib_max: counts.memory_kib_max,
        };
        Snapshot {
            since_ms: state.since_ms,
            calls: state.calls.iter().map(call).collect(),
            invocations: state.invocations.iter().map(invocation).collect(),
            faults,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every invocation is billed by itself, rounded up.
fn billed_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX).next_multiple_of(BILLED_STEP_MS)
}

#[allow(clippy::float_arithmetic, reason = "units are no money, and halves are exact")]
fn halves(units: f64) -> u64 {
    // Halves are small whole numbers; anything else is a service that answers nonsense.
    let text = format!("{:.0}", units * HALVES_PER_UNIT);
    text.parse().unwrap_or_default()
}

#[allow(clippy::float_arithmetic, reason = "units are no money, and halves are exact")]
fn units(halves: u64) -> f64 {
    u32::try_from(halves).map_or(f64::INFINITY, f64::from) / HALVES_PER_UNIT
}

#[allow(clippy::float_arithmetic, reason = "for people")]
fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl Snapshot {
    /// In Prometheus's text format.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut text = String::new();
        let mut family = |name: &str, help: &str, lines: Vec<(String, String)>| {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} counter\n"));
            text.extend(lines.into_iter().map(|(labels, value)| format!("{name}{{{labels}}} {value}\n")));
        };
        let calls = |value: &dyn Fn(&CallLine) -> String| {
            let line = |line: &CallLine| (labels(&line.key), value(line));
            self.calls.iter().map(line).collect::<Vec<_>>()
        };
        family("host_calls_total", "Calls of services.", calls(&|line| line.count.to_string()));
        family("host_call_errors_total", "Calls answered with an error.", calls(&|line| line.errors.to_string()));
        family("host_request_bytes_total", "Bytes of request bodies.", calls(&|line| line.bytes_in.to_string()));
        family("host_response_bytes_total", "Bytes of answer bodies.", calls(&|line| line.bytes_out.to_string()));
        family("host_read_units_total", "Read request units.", calls(&|line| line.read_units.to_string()));
        family("host_write_units_total", "Write request units.", calls(&|line| line.write_units.to_string()));
        let functions = |value: &dyn Fn(&InvocationLine) -> String| {
            let line = |line: &InvocationLine| (format!("function=\"{}\"", escape(&line.function)), value(line));
            self.invocations.iter().map(line).collect::<Vec<_>>()
        };
        family("host_invocations_total", "Invocations.", functions(&|line| line.count.to_string()));
        family("host_invocation_errors_total", "Failed invocations.", functions(&|line| line.errors.to_string()));
        family("host_cold_starts_total", "New environments.", functions(&|line| line.cold_starts.to_string()));
        family("host_billed_ms_total", "Milliseconds billed.", functions(&|line| line.billed_ms.to_string()));
        family("host_cpu_ms_total", "Milliseconds of CPU.", functions(&|line| format!("{:.3}", line.cpu_ms)));
        let fired = |fired: &Fired| (format!("rule=\"{}\"", fired.id), fired.fired.to_string());
        family("host_faults_fired_total", "Firings of fault rules.", self.faults.iter().map(fired).collect());
        text
    }
}

fn labels(key: &CallKey) -> String {
    format!(
        r#"service="{}",operation="{}",function="{}",resource="{}""#,
        key.service,
        escape(&key.operation),
        escape(&key.function),
        escape(&key.resource)
    )
}

/// As Prometheus wants label values.
fn escape(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    fn key(operation: &str) -> CallKey {
        CallKey {
            service: "dynamodb",
            operation: operation.to_owned(),
            function: "api".to_owned(),
            resource: "a \"table\"".to_owned(),
        }
    }

    #[test]
    fn calls_of_a_kind_add_up_and_halves_stay_halves() {
        let counters = Counters::default();
        for failed in [false, true, false] {
            let units = Units { read: 0.5, write: 2.0 };
            counters.called(key("Query"), Call { failed, bytes_in: 10, bytes_out: 100, units });
        }
        let snapshot = counters.snapshot(Vec::new());
        let line = &snapshot.calls[0];
        assert_eq!((line.count, line.errors, line.bytes_in, line.bytes_out), (3, 1, 30, 300));
        assert_eq!((line.read_units.to_string(), line.write_units.to_string()), ("1.5".to_owned(), "6".to_owned()));
        counters.reset();
        assert!(counters.snapshot(Vec::new()).calls.is_empty());
    }

    #[test]
    fn every_invocation_is_billed_with_its_init_and_rounded_up() {
        let counters = Counters::default();
        for (micros, init) in [(1_200, Some(Duration::from_micros(10_900))), (900, None), (2_000, None)] {
            counters.invoked(&Invocation {
                function: "api",
                memory_mib: 256,
                duration: Duration::from_micros(micros),
                init,
                cpu: Some(Duration::from_millis(1)),
                memory_kib_max: Some(9_000),
                failed: false,
            });
        }
        let snapshot = counters.snapshot(Vec::new());
        let line = &snapshot.invocations[0];
        assert_eq!((line.count, line.cold_starts, line.billed_ms), (3, 1, 13 + 1 + 2));
        assert_eq!(line.memory_kib_max, 9_000);
    }

    #[test]
    fn the_prometheus_text_escapes_its_labels() {
        let counters = Counters::default();
        counters.called(key("PutItem"), Call::default());
        let text = counters.snapshot(vec![Fired { id: 7, fired: 2 }]).prometheus();
        let labels = r#"service="dynamodb",operation="PutItem",function="api",resource="a \"table\"""#;
        assert!(text.contains(&format!("host_calls_total{{{labels}}} 1\n")), "{text}");
        assert!(text.contains("host_faults_fired_total{rule=\"7\"} 2\n"));
    }
}
