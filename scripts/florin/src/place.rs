//! Where things lie: the project, and the folder that holds the state of one local stack.

use std::{
    fs::{DirBuilder, File, TryLockError},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::emulator::Emulator;

/// The option that every command on a local stack takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct StateDir {
    /// Folder of the stack's state; another one is another stack, beside the first
    #[arg(long, default_value = ".florin", env = "FLORIN_STATE_DIR", global = true)]
    pub(crate) state_dir: PathBuf,
}

/// The folders of one local stack.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The project: where `template.yaml` is.
    pub(crate) root: PathBuf,
    /// The stack's state; absolute, since it marks the stack's processes.
    pub(crate) state: PathBuf,
}

impl Place {
    /// Finds the project from the current folder upwards and makes the state folder.
    pub(crate) fn find(options: &StateDir) -> Result<Self> {
        let here = std::env::current_dir()?;
        let root = here
            .ancestors()
            .find(|folder| folder.join("template.yaml").is_file() && folder.join("localstack").is_dir())
            .context("run this inside the project: no template.yaml in this folder or above")?
            .to_path_buf();
        // The default lies in the project, wherever in it the command is called; a given path is the caller's.
        let base = if options.state_dir == Path::new(".florin") { &root } else { &here };
        let state = base.join(&options.state_dir);
        // The emulator's files hold the stack's keys: nobody else looks in.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&state);
        made.with_context(|| format!("cannot make {}", state.display()))?;
        Ok(Self { root, state: state.canonicalize()? })
    }

    /// How to call a script for this stack.
    pub(crate) fn script(&self, name: &str) -> String {
        if self.state == self.root.join(".florin") {
            format!("./scripts/{name}")
        } else {
            format!("./scripts/{name} --state-dir {}", self.state.display())
        }
    }

    /// What a shell reads to talk to the stack.
    pub(crate) fn local_env(&self) -> PathBuf {
        self.state.join("local.env")
    }

    /// The emulator's process id.
    pub(crate) fn emulator_pid(&self) -> PathBuf {
        self.state.join("emulator.pid")
    }

    /// What the emulator and the functions say.
    pub(crate) fn emulator_log(&self) -> PathBuf {
        self.state.join("emulator.log")
    }

    /// Unpacked functions and the like; gone with the stack.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.state.join("tmp")
    }

    /// What the host writes once everything answers.
    pub(crate) fn ready_file(&self) -> PathBuf {
        self.state.join("ready.json")
    }

    /// What stays from run to run: data and the keys that belong to it, apart for each emulator.
    pub(crate) fn data(&self, emulator: &Emulator) -> PathBuf {
        self.state.join("data").join(emulator.folder())
    }

    /// Tools from PyPI, shared by all stacks of the project.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join(".florin/venv")
    }

    /// Only one command at a time may start or stop the stack; the lock goes with the process.
    pub(crate) fn lock(&self) -> Result<File> {
        let file = File::create(self.state.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                bail!("another `up` or `down` is at work in {}", self.state.display())
            }
            Err(TryLockError::Error(error)) => Err(error).context("cannot lock the state folder"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn only_one_command_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::find(&StateDir { state_dir: folder.path().to_path_buf() }).unwrap();
        let first = place.lock().unwrap();
        let error = place.lock().unwrap_err().to_string();
        assert!(error.contains("another"), "{error}");
        drop(first);
        place.lock().unwrap();
    }
}
