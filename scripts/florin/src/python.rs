//! The project's own virtual environment, with the tools that `localstack/requirements.txt` pins.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    place::Place,
    progress::{run_quietly, step},
};

/// The environment's interpreter, after making or updating the environment if it is not as pinned.
pub(crate) fn ensure(place: &Place) -> Result<PathBuf> {
    let venv = place.tools();
    let python = venv.join("bin/python");
    let wanted = fs::read_to_string(place.root.join("localstack/requirements.txt"))?;
    let installed = venv.join("installed.txt");
    let is_installed = || fs::read_to_string(&installed).is_ok_and(|text| text == wanted) && python.exists();
    if is_installed() {
        return Ok(python);
    }
    fs::create_dir_all(&venv)?;
    // Two stacks may start at once; the second waits for the first to finish and finds everything there.
    let lock = File::create(venv.with_extension("lock"))?;
    lock.lock()?;
    if is_installed() {
        return Ok(python);
    }
    step("Installing the pinned tools into .florin/venv (about half a minute, once)");
    make(&venv)?;
    let log = venv.with_extension("log");
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "-r"])
        .arg(place.root.join("localstack/requirements.txt"));
    run_quietly(&mut pip, &log).context("pip could not install localstack/requirements.txt")?;
    fs::write(&installed, wanted)?;
    Ok(python)
}

fn make(venv: &PathBuf) -> Result<()> {
    let output = Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(venv)
        .stdin(Stdio::null())
        .output()
        .context("python3 is needed for the local run; install Python 3.10 or later")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        bail!("python3 cannot make a virtual environment (on Debian: apt install python3-venv)\n{said}");
    }
    Ok(())
}
