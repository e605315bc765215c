//! What the local host counted: calls, units and invocations, as AWS would bill them. And `florin counters`.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Deserialize;

use crate::{
    control::Control,
    place::{Place, StateDir},
    stack, table,
};

/// What `florin counters` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    state: StateDir,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Shows calls by resource too, which `florin status` adds up
    Show,
    /// Begins to count anew
    Reset,
}

/// Everything counted since the start or the last reset.
#[derive(Debug, Deserialize)]
pub(crate) struct Counters {
    /// Milliseconds since 1970.
    since_ms: u64,
    calls: Vec<Calls>,
    invocations: Vec<Invocations>,
}

#[derive(Debug, Deserialize)]
struct Calls {
    service: String,
    operation: String,
    function: String,
    resource: String,
    count: u64,
    errors: u64,
    bytes_in: u64,
    bytes_out: u64,
    read_units: f64,
    write_units: f64,
}

#[derive(Debug, Deserialize)]
struct Invocations {
    function: String,
    memory_mib: u64,
    count: u64,
    errors: u64,
    cold_starts: u64,
    duration_ms: f64,
    billed_ms: u64,
    cpu_ms: f64,
    memory_kib_max: u64,
}

/// Runs `florin counters`.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let place = Place::find(&options.state)?;
    let control = Control::of(&stack::described(&place)?)?;
    match options.what {
        What::Show => Counters::of(&control).await?.lines(true).iter().for_each(|line| say!("{line}")),
        What::Reset => {
            control.trigger("/counters/reset").await?;
            say!("The counters begin anew.");
        }
    }
    Ok(())
}

impl Counters {
    /// Asks the host.
    pub(crate) async fn of(control: &Control) -> Result<Self> {
        control.get("/counters").await
    }

    /// Two tables, calls and invocations; with or without the resource of each call.
    pub(crate) fn lines(&self, by_resource: bool) -> Vec<String> {
        let since = Duration::from_millis(self.since_ms);
        let mut lines = vec![format!("counted for {}", text_of(now().saturating_sub(since))), String::new()];
        lines.extend(self.call_lines(by_resource));
        lines.push(String::new());
        lines.extend(self.invocation_lines());
        lines
    }

    fn call_lines(&self, by_resource: bool) -> Vec<String> {
        let mut sums: BTreeMap<[&str; 4], Sum> = BTreeMap::new();
        for calls in &self.calls {
            let resource = if by_resource { calls.resource.as_str() } else { "" };
            sums.entry([&calls.service, &calls.operation, &calls.function, resource]).or_default().add(calls);
        }
        let mut headings = vec!["service", "operation", "caller"];
        if by_resource {
            headings.push("resource");
        }
        let texts = headings.len();
        headings.extend(["calls", "errors", "write units", "read units", "KiB in", "KiB out"]);
        let row = |(names, sum): (&[&str; 4], &Sum)| {
            let mut row: Vec<String> = names.iter().take(texts).map(|name| (*name).to_owned()).collect();
            row.extend(sum.cells());
            row
        };
        table::lines(&headings, texts, &sums.iter().map(row).collect::<Vec<_>>())
    }

    fn invocation_lines(&self) -> Vec<String> {
        let headings =
            ["function", "invoked", "errors", "cold", "ms", "billed ms", "CPU ms", "KiB at most", "MiB given"];
        let row = |of: &Invocations| {
            let counts = [of.count, of.errors, of.cold_starts].map(table::thousands);
            let mut row = vec![of.function.clone()];
            row.extend(counts);
            row.extend([format!("{:.0}", of.duration_ms), table::thousands(of.billed_ms), format!("{:.0}", of.cpu_ms)]);
            row.extend([of.memory_kib_max, of.memory_mib].map(table::thousands));
            row
        };
        table::lines(&headings, 1, &self.invocations.iter().map(row).collect::<Vec<_>>())
    }
}

/// Calls of several resources together.
#[derive(Debug, Default)]
struct Sum {
    count: u64,
    errors: u64,
    bytes_in: u64,
    bytes_out: u64,
    read_units: f64,
    write_units: f64,
}

impl Sum {
    #[expect(clippy::float_arithmetic, reason = "units come in halves, which floats add exactly, and are no money")]
    fn add(&mut self, calls: &Calls) {
        self.count += calls.count;
        self.errors += calls.errors;
        self.bytes_in += calls.bytes_in;
        self.bytes_out += calls.bytes_out;
        self.read_units += calls.read_units;
        self.write_units += calls.write_units;
    }

    fn cells(&self) -> [String; 6] {
        let kib = |bytes: u64| table::thousands(bytes.div_ceil(1_024));
        let units = |units: f64| if units > 0.0 { format!("{units:.1}") } else { String::new() };
        [
            table::thousands(self.count),
            table::thousands(self.errors),
            units(self.write_units),
            units(self.read_units),
            kib(self.bytes_in),
            kib(self.bytes_out),
        ]
    }
}

/// Since 1970.
#[expect(clippy::disallowed_methods, reason = "this is no function: a person asks how long ago something was")]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn text_of(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::control::fake;

    const COUNTED: &str = r#"{"since_ms":0,"faults":[],
        "calls":[
            {"service":"dynamodb","operation":"PutItem","function":"api","resource":"payments","count":1000,"errors":1,
             "bytes_in":2048,"bytes_out":100,"read_units":0.0,"write_units":3000.0},
            {"service":"dynamodb","operation":"PutItem","function":"api","resource":"other","count":2,"errors":0,
             "bytes_in":1,"bytes_out":1,"read_units":0.0,"write_units":2.5},
            {"service":"sqs","operation":"SendMessage","function":"client","resource":"q","count":3,"errors":0,
             "bytes_in":10,"bytes_out":10,"read_units":0.0,"write_units":0.0}],
        "invocations":[{"function":"api","memory_mib":256,"count":1002,"errors":0,"cold_starts":1,"duration_ms":5010.4,
             "init_ms":20.1,"billed_ms":6000,"cpu_ms":900.6,"memory_kib_max":14000}]}"#;

    #[tokio::test]
    async fn counts_are_shown_as_tables() {
        let (env, asked) = fake::host(200, COUNTED).await;
        let counters = Counters::of(&Control::of(&env).unwrap()).await.unwrap();
        assert_eq!(asked.lock().unwrap().first().unwrap().0, "GET /_host/counters");
        assert_eq!(
            counters.lines(false).get(2..).unwrap(),
            [
                "service   operation    caller  calls  errors  write units  read units  KiB in  KiB out",
                "dynamodb  PutItem      api     1,002       1       3002.5                   3        1",
                "sqs       SendMessage  client      3       0                                1        1",
                "",
                "function  invoked  errors  cold    ms  billed ms  CPU ms  KiB at most  MiB given",
                "api         1,002       0     1  5010      6,000     901       14,000        256",
            ]
        );
        assert!(counters.lines(true).iter().any(|line| line.starts_with("dynamodb  PutItem      api     other")));
    }

    #[test]
    fn times_are_told_roughly() {
        for (seconds, text) in [(5, "5 s"), (119, "119 s"), (120, "2 min"), (7_199, "119 min"), (9_000, "2 h")] {
            assert_eq!(text_of(Duration::from_secs(seconds)), text);
        }
    }
}
