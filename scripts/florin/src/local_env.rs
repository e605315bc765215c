//! `local.env`: how to reach the running stack, in shell syntax.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use anyhow::{Context, Result};

/// Only the owner may read: the file holds keys.
const MODE: u32 = 0o600;

/// Names and values, in the order of the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LocalEnv(Vec<(String, String)>);

impl LocalEnv {
    /// Adds a variable.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a variable that the file must hold.
    pub(crate) fn required(&self, name: &str) -> Result<&str> {
        self.get(name).with_context(|| format!("local.env holds no {name}; start again with ./scripts/up"))
    }

    /// Reads the file; `None` when there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(Self::parse(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes the file in one step, so that nobody reads half of it.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        replace_file(path, self.to_shell().as_bytes())
    }

    fn to_shell(&self) -> String {
        self.0.iter().map(|(name, value)| format!("export {name}={}\n", quote(value))).collect()
    }

    fn parse(text: &str) -> Self {
        let variable = |line: &str| {
            let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
            Some((name.to_owned(), unquote(value)))
        };
        Self(text.lines().filter_map(variable).collect())
    }
}

/// Writes a file that only its owner may read, in one step.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&new)?;
        // The mode above counts only for a file that was not there.
        file.set_permissions(Permissions::from_mode(MODE))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Single quotes take everything but a single quote.
fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

fn unquote(text: &str) -> String {
    text.trim().trim_start_matches('\'').trim_end_matches('\'').replace(r"'\''", "'")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const NASTY: &str = "a b$c`d`\"e\" it's; rm -rf / #\\";

    fn nasty() -> LocalEnv {
        let mut env = LocalEnv::default();
        env.set("FLORIN_API_URL", "http://127.0.0.1:4566/_aws/execute-api/abc");
        env.set("FLORIN_NASTY", NASTY);
        env
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(LocalEnv::parse(&nasty().to_shell()), nasty());
    }

    #[test]
    fn a_shell_reads_the_same_value() {
        let script = format!("{}printf %s \"$FLORIN_NASTY\"", nasty().to_shell());
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), NASTY);
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error = LocalEnv::default().required("FLORIN_API_KEY").unwrap_err();
        assert!(error.to_string().contains("FLORIN_API_KEY"));
    }
}
