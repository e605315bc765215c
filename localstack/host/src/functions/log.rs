//! The log: every line of every process goes to the host's output, with the function's short name before it.

use std::{
    future,
    io::{self, PipeReader, PipeWriter, Write},
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
};

use tokio::net::unix::pipe;

use super::locked;

/// Bytes of the longest line, as CloudWatch Logs' longest event; what is longer is broken.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// Reads in a row before somebody else's turn.
const READS_MAX: usize = 64;
/// What the Rust standard library says before it aborts for lack of memory.
const ALLOCATION_FAILED: &[u8] = b"memory allocation of ";
/// Foreground colours of names, one function after the other.
const COLOURS: [&str; 6] = ["36", "32", "33", "35", "34", "31"];

/// Where lines go. Whole lines only: processes interleave by line.
pub(crate) struct Log {
    out: Mutex<Box<dyn Write + Send>>,
    coloured: bool,
}

/// What stands before a function's lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label(String);

impl Log {
    /// To the host's standard output.
    pub(crate) fn stdout(coloured: bool) -> Self {
        Self::to(Box::new(io::stdout()), coloured)
    }

    /// To somewhere else.
    pub(crate) fn to(out: Box<dyn Write + Send>, coloured: bool) -> Self {
        Self { out: Mutex::new(out), coloured }
    }

    /// The labels of functions with these names: what all names begin with is left out, and all are equally wide.
    pub(crate) fn labels(&self, names: &[&str]) -> Vec<Label> {
        let common = common_start(names);
        let short: Vec<&str> = names.iter().map(|name| name.get(common..).unwrap_or(name)).collect();
        let width = short.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let label = |(name, colour): (&&str, &&str)| match self.coloured {
            true => Label(format!("\u{1b}[{colour}m{name:<width$}\u{1b}[0m | ")),
            false => Label(format!("{name:<width$} | ")),
        };
        short.iter().zip(COLOURS.iter().cycle()).map(label).collect()
    }

    /// Writes a line of the host's own about a function.
    pub(crate) fn line(&self, label: &Label, line: &str) {
        let text = line.lines().fold(String::new(), |text, line| text + &label.0 + line + "\n");
        self.write(text.as_bytes());
    }

    /// A log that cannot be written must not stop the work: what is lost is lost.
    fn write(&self, text: &[u8]) {
        let mut out = locked(&self.out);
        if out.write_all(text).is_ok() {
            drop(out.flush());
        }
    }
}

/// Bytes that all names begin with, up to and with a hyphen.
fn common_start(names: &[&str]) -> usize {
    let [first, others @ ..] = names else { return 0 };
    if others.is_empty() {
        return 0;
    }
    let alike = |end: &usize| first.get(..*end).is_some_and(|start| others.iter().all(|name| name.starts_with(start)));
    first.match_indices('-').map(|(at, hyphen)| at + hyphen.len()).take_while(alike).last().unwrap_or(0)
}

/// What a process writes to its standard output and error, which are one pipe, so that their order stays.
pub(crate) struct Output {
    pipe: Option<pipe::Receiver>,
    /// The beginning of a line whose end is still to come.
    partial: Vec<u8>,
    log: Arc<Log>,
    label: Arc<Mutex<Label>>,
    out_of_memory: bool,
}

impl Output {
    /// The reading end, and the writing end for the process.
    pub(crate) fn new(log: Arc<Log>, label: Arc<Mutex<Label>>) -> io::Result<(Self, PipeWriter)> {
        let (reader, writer): (PipeReader, PipeWriter) = io::pipe()?;
        let pipe = Some(pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?);
        Ok((Self { pipe, partial: Vec::new(), log, label, out_of_memory: false }, writer))
    }

    /// Waits until there is something to read and passes it on. Never ready once the process has closed its end.
    /// Nothing is lost when the wait is given up.
    pub(crate) async fn pump(&mut self) {
        match &self.pipe {
            Some(pipe) if pipe.readable().await.is_ok() => self.drain(),
            Some(_) => self.pipe = None,
            None => future::pending().await,
        }
    }

    /// Passes on what is there now.
    pub(crate) fn drain(&mut self) {
        let mut bytes = [0; READ_BYTES];
        for _ in 0..READS_MAX {
            let Some(pipe) = &self.pipe else { return };
            match pipe.try_read(&mut bytes) {
                Ok(length) if length > 0 => self.take(bytes.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {
                    self.pipe = None;
                    if !self.partial.is_empty() {
                        self.take(b"\n");
                    }
                }
            }
        }
    }

    /// Passes on everything up to the end.
    pub(crate) async fn rest(&mut self) {
        while self.pipe.is_some() {
            self.pump().await;
        }
    }

    /// Whether the process said that it got no memory.
    pub(crate) fn out_of_memory(&self) -> bool {
        self.out_of_memory
    }

    fn take(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        let whole = match self.partial.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if self.partial.len() >= LINE_BYTES_MAX => self.partial.len(),
            None => return,
        };
        let rest = self.partial.split_off(whole);
        let lines = std::mem::replace(&mut self.partial, rest);
        let label = locked(&self.label).clone();
        let mut text = Vec::with_capacity(lines.len() + label.0.len() + 1);
        for line in lines.strip_suffix(b"\n").unwrap_or(&lines).split(|byte| *byte == b'\n') {
            self.out_of_memory |= line.starts_with(ALLOCATION_FAILED);
            text.extend_from_slice(label.0.as_bytes());
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        self.log.write(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_they_share() {
        let log = Log::to(Box::new(io::sink()), false);
        let text = |names: &[&str]| log.labels(names).into_iter().map(|label| label.0).collect::<Vec<_>>();
        assert_eq!(text(&["shop-api", "shop-mailer"]), ["api    | ", "mailer | "]);
        assert_eq!(text(&["shop-eu-api", "shop-eu-apis"]), ["api  | ", "apis | "]);
        assert_eq!(text(&["shop-api"]), ["shop-api | "]);
        assert_eq!(text(&["shop-", "shop-api"]), ["    | ", "api | "]);
        assert_eq!(text(&["shopapi", "shopmail"]), ["shopapi  | ", "shopmail | "]);
    }

    #[test]
    fn colours_are_an_option() {
        let log = Log::to(Box::new(io::sink()), true);
        assert_eq!(log.labels(&["a"]), [Label("\u{1b}[36ma\u{1b}[0m | ".to_owned())]);
    }
}
