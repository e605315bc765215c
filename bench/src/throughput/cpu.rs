//! CPU time of the emulator and of the functions that it has started, from `/proc`.

use std::{collections::HashMap, fs};

use anyhow::{Context, Result};

/// The kernel counts in hundredths of a second, everywhere that Linux runs on a laptop or server.
const MS_PER_TICK: u64 = 10;
/// What function processes are called.
const FUNCTION: &str = "bootstrap";

/// CPU time so far, user and system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    /// Of the emulator's own process.
    pub(crate) emulator_ms: u64,
    /// Of the functions' processes below it: those that run, and those that have ended and were waited for.
    pub(crate) functions_ms: u64,
}

/// What `/proc/PID/stat` says.
struct Stat {
    name: String,
    parent: u32,
    own_ticks: u64,
    ended_children_ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything.
    let (head, tail) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = tail.split(' ').collect();
    // Numbered from the state, which is the third field of proc(5).
    let ticks =
        |first: usize| Some(fields.get(first)?.parse::<u64>().ok()? + fields.get(first + 1)?.parse::<u64>().ok()?);
    Some(Stat {
        name: head.split_once('(')?.1.to_owned(),
        parent: fields.get(1)?.parse().ok()?,
        own_ticks: ticks(11)?,
        ended_children_ticks: ticks(13)?,
    })
}

/// Adds up what the emulator with this process id and its functions have used.
///
/// # Errors
/// When there is no such process, or no `/proc`.
pub(crate) fn measure(emulator: u32) -> Result<Cpu> {
    let pids = fs::read_dir("/proc").context("CPU time needs /proc")?.flatten();
    let processes: HashMap<u32, Stat> = pids
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect();
    let of_emulator =
        processes.get(&emulator).with_context(|| format!("the emulator, process {emulator}, has ended"))?;
    let below = |pid: &u32| {
        let mut parent = processes.get(pid).map(|process| process.parent);
        while let Some(pid) = parent.filter(|pid| *pid != 0) {
            if pid == emulator {
                return true;
            }
            parent = processes.get(&pid).map(|process| process.parent);
        }
        false
    };
    let running = processes.iter().filter(|(pid, process)| process.name == FUNCTION && below(pid));
    let running: u64 = running.map(|(_, process)| process.own_ticks + process.ended_children_ticks).sum();
    Ok(Cpu {
        emulator_ms: of_emulator.own_ticks * MS_PER_TICK,
        functions_ms: (running + of_emulator.ended_children_ticks) * MS_PER_TICK,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_own_time() {
        let before = measure(std::process::id()).unwrap().emulator_ms;
        let mut spun = 0_u64;
        while measure(std::process::id()).unwrap().emulator_ms < before + 3 * MS_PER_TICK {
            spun += 1;
        }
        assert!(spun > 0);
        assert!(measure(u32::MAX).is_err());
    }
}
