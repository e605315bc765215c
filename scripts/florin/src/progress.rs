//! Telling what is going on.

use std::{
    fmt::Display,
    fs::File,
    io::Write,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Between two looks at a child.
const LOOK_EVERY_MS: u64 = 100;
/// Between two signs of life of a silent step.
const SIGN_OF_LIFE_EVERY_S: u64 = 10;
/// What is shown of a failed command's output.
const LINES_SHOWN_MAX: usize = 40;

/// Prints a line as `println!` does, but survives a closed pipe.
macro_rules! say {
    ($($line:tt)*) => { $crate::progress::say(format_args!($($line)*)) };
}

/// Announces a step.
pub(crate) fn step(text: &str) {
    if writeln!(std::io::stderr().lock(), "==> {text}").is_err() {
        // Nobody listens; the work goes on.
    }
}

/// Runs a command whose own output is no pleasure: into a log, with a sign of life now and then, and shown if it
/// failed.
#[expect(clippy::disallowed_methods, reason = "this is no function: nobody is billed while it waits")]
pub(crate) fn run_quietly(command: &mut Command, log: &Path) -> Result<()> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let name = command.get_program().display().to_string();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    let started = Instant::now();
    let mut signs = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            return succeed(status, &name, log);
        }
        let passed_s = started.elapsed().as_secs();
        if passed_s / SIGN_OF_LIFE_EVERY_S > signs {
            signs = passed_s / SIGN_OF_LIFE_EVERY_S;
            eprintln!("    … {passed_s} s");
        }
        thread::sleep(Duration::from_millis(LOOK_EVERY_MS));
    }
}

fn succeed(status: ExitStatus, name: &str, log: &Path) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    eprintln!("{}", last_lines(log, LINES_SHOWN_MAX));
    bail!("{name} failed ({status}); its output is in {}", log.display())
}

/// The end of a log, for people who need to see why.
pub(crate) fn last_lines(log: &Path, count: usize) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

/// A line for the caller: what `say!` calls. A closed pipe (`florin status | head -1`) is nobody's error.
pub(crate) fn say(line: impl Display) {
    pass_on(format!("{line}\n").as_bytes());
}

/// Bytes to standard output as they are.
pub(crate) fn pass_on(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        // Nobody listens; the stack goes on.
    }
}
