//! What an invocation used, as the kernel tells, and the line that Lambda writes about it.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::Pid;

/// Milliseconds of a clock tick in /proc: the kernel shows 100 a second on every architecture. One invocation's time is
/// as coarse as that; the sum over many is exact, as nothing is lost between two of them.
const TICK_MS: u64 = 10;
/// The peak of memory is asked for again after this time: the question costs more than a small invocation.
const MEMORY_EVERY_MS: u64 = 100;

/// Reads what a process has used. Without /proc it knows nothing.
#[derive(Debug)]
pub(crate) struct Usage {
    pid: Pid,
    cpu: Option<Duration>,
    memory: Option<(Instant, u64)>,
}

impl Usage {
    /// From now on.
    pub(crate) fn of(pid: Pid) -> Self {
        Self { pid, cpu: cpu(pid), memory: None }
    }

    /// CPU time since the last question.
    pub(crate) fn cpu(&mut self) -> Option<Duration> {
        let now = cpu(self.pid);
        let used = Some(now?.saturating_sub(self.cpu?));
        self.cpu = now;
        used
    }

    /// The most memory so far, in KiB.
    pub(crate) fn memory_kib_max(&mut self) -> Option<u64> {
        let fresh = |(at, _): &(Instant, u64)| at.elapsed() < Duration::from_millis(MEMORY_EVERY_MS);
        if !self.memory.as_ref().is_some_and(fresh)
            && let Some(memory) = memory_kib_max(self.pid)
        {
            self.memory = Some((Instant::now(), memory));
        }
        self.memory.map(|(_, memory)| memory)
    }
}

/// User and system time of all threads.
fn cpu(pid: Pid) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    cpu_of_stat(&stat)
}

/// The command stands in parentheses and may hold anything; user and system time are the 12th and 13th field behind it.
fn cpu_of_stat(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    Some(Duration::from_millis(ticks * TICK_MS))
}

fn memory_kib_max(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// How an invocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status<'a> {
    /// With an answer, or with an error that the function reported.
    Answered,
    /// `Status: timeout`.
    TimedOut,
    /// `Status: error`, and its type.
    Died(&'a str),
}

/// The line that Lambda writes after each invocation. Init is billed, too.
pub(crate) fn report(
    request_id: &str,
    memory_mib: u32,
    duration: Duration,
    init: Option<Duration>,
    memory_kib_max: Option<u64>,
    status: Status<'_>,
) -> String {
    let billed_ms = (duration + init.unwrap_or_default()).as_nanos().div_ceil(1_000_000);
    let used = memory_kib_max.unwrap_or(0).div_ceil(1024);
    let mut line = format!(
        "REPORT RequestId: {request_id}\tDuration: {} ms\tBilled Duration: {billed_ms} ms\t\
         Memory Size: {memory_mib} MB\tMax Memory Used: {used} MB\t",
        milliseconds(duration)
    );
    if let Some(init) = init {
        line.push_str(&format!("Init Duration: {} ms\t", milliseconds(init)));
    }
    match status {
        Status::Answered => {}
        Status::TimedOut => line.push_str("Status: timeout\t"),
        Status::Died(error_type) => line.push_str(&format!("Status: error\tError Type: {error_type}\t")),
    }
    line
}

/// With two decimals.
pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{}.{:02}", duration.as_micros() / 1_000, duration.as_micros() % 1_000 / 10)
}

/// With two decimals.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{}.{:02}", duration.as_secs(), duration.subsec_millis() / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_reads_like_lambdas() {
        let cold = report(
            "8d1c",
            128,
            Duration::from_micros(1_239),
            Some(Duration::from_micros(12_501)),
            Some(9_217),
            Status::Answered,
        );
        assert_eq!(
            cold,
            "REPORT RequestId: 8d1c\tDuration: 1.23 ms\tBilled Duration: 14 ms\tMemory Size: 128 MB\t\
             Max Memory Used: 10 MB\tInit Duration: 12.50 ms\t"
        );
        let late = report("8d1c", 256, Duration::from_secs(3), None, None, Status::TimedOut);
        assert_eq!(
            late,
            "REPORT RequestId: 8d1c\tDuration: 3000.00 ms\tBilled Duration: 3000 ms\tMemory Size: 256 MB\t\
             Max Memory Used: 0 MB\tStatus: timeout\t"
        );
        let dead = report("8d1c", 256, Duration::ZERO, None, None, Status::Died("Runtime.ExitError"));
        assert!(dead.ends_with("Status: error\tError Type: Runtime.ExitError\t"), "{dead}");
    }

    #[test]
    fn a_command_may_hold_anything() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 12 30 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_of_stat(stat), Some(Duration::from_millis(420)));
        assert_eq!(cpu_of_stat("7 (a"), None);
    }

    #[test]
    fn the_kernel_knows_this_process() {
        let pid = rustix::process::getpid();
        assert!(memory_kib_max(pid).is_some_and(|kib| kib > 100));
        assert!(cpu(pid).is_some());
    }
}
