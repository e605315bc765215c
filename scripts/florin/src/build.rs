//! Building the functions and the host for this machine.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{place::Place, progress::step, python};

/// The host's binary.
pub(crate) const HOST: &str = "florin-host";

/// What was built, and where it lies.
#[derive(Debug)]
pub(crate) struct Built {
    /// Each function's binary, by the name that the template gives it.
    pub(crate) functions: BTreeMap<String, PathBuf>,
    /// The host's binary.
    pub(crate) host: PathBuf,
}

/// What to build.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// The release profile, through cargo-lambda as `sam build` does. Else the development profile: quick, and shared
    /// with the tests.
    pub(crate) release: bool,
    /// Build nothing: take what is there.
    pub(crate) as_built: bool,
    /// Whether the host must be there.
    pub(crate) host: bool,
}

/// Builds every function that the template names, and the host.
pub(crate) fn build(place: &Place, wanted: Wanted) -> Result<Built> {
    let names = named_in_template(&fs::read_to_string(place.root.join("template.yaml"))?);
    // cargo-lambda builds for Linux only, and the local run uses this machine's binaries.
    let through_cargo_lambda = wanted.release && cfg!(target_os = "linux");
    let target = target_directory()?;
    let profile = target.join(if wanted.release { "release" } else { "debug" });
    let path = |name: &str| {
        if through_cargo_lambda { target.join("lambda").join(name).join("bootstrap") } else { profile.join(name) }
    };
    let functions = names.iter().map(|name| (name.clone(), path(name))).collect();
    let built = Built { functions, host: path(HOST) };
    if !wanted.as_built {
        run(place, wanted, through_cargo_lambda, &names)?;
    }
    let needed = built.functions.values().chain(wanted.host.then_some(&built.host));
    if let Some(missing) = needed.into_iter().find(|path| !path.is_file()) {
        bail!("{} is not there; run without --no-build", missing.display());
    }
    Ok(built)
}

/// One call of cargo for all: they share most of their crates, and each call takes a while even with nothing to do.
fn run(place: &Place, wanted: Wanted, through_cargo_lambda: bool, functions: &[String]) -> Result<()> {
    let mut names = functions.to_vec();
    // Even if another emulator runs: without it every dependency would be built again, with fewer features.
    names.push(HOST.to_owned());
    match (wanted.release, through_cargo_lambda) {
        (false, _) => {
            step("Building (quick profile; the first time takes minutes)");
            cargo(place, &names, &["build"])
        }
        (true, true) => {
            ensure_cargo_lambda(place)?;
            step("Building (release profile, as deployed; this takes minutes)");
            cargo(place, &names, &["lambda", "build", "--release"])
        }
        (true, false) => {
            step("Building (release profile; this takes minutes)");
            cargo(place, &names, &["build", "--release"])
        }
    }
}

fn cargo(place: &Place, names: &[String], arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(&place.root).stdin(Stdio::null());
    // All binaries are built with the whole workspace's features, so that they share their crates.
    for name in names {
        command.args(["--bin", name]);
    }
    // The host's own linker will do for this machine; cargo-lambda would ask for a cross-linker.
    command.env("CARGO_LAMBDA_COMPILER", "cargo").env("PATH", path_with_tools(place)?);
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("it does not build; cargo says why above");
    }
    Ok(())
}

/// Takes the caller's cargo-lambda, or installs the pinned one.
fn ensure_cargo_lambda(place: &Place) -> Result<()> {
    let mut version = Command::new("cargo-lambda");
    version.args(["lambda", "--version"]).env("PATH", path_with_tools(place)?);
    version.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !version.status().is_ok_and(|status| status.success()) {
        python::ensure(place).context("--release needs cargo-lambda, which comes from PyPI")?;
    }
    Ok(())
}

fn path_with_tools(place: &Place) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(std::iter::once(place.tools().join("bin")).chain(env::split_paths(&path)))?)
}

/// This binary lies in it, in the folder of its profile; asking cargo would take as long as all the rest of a start.
fn target_directory() -> Result<PathBuf> {
    let this = env::current_exe().context("cannot tell where this binary lies")?;
    let target = this.parent().and_then(Path::parent).context("this binary lies in no target folder of cargo")?;
    Ok(target.to_path_buf())
}

/// The template is the only list of functions: what it names by `Binary` is built.
fn named_in_template(template: &str) -> Vec<String> {
    let name = |line: &str| {
        let rest = line.split_once("Binary: ")?.1;
        Some(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect())
    };
    template.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_names_the_functions() {
        let names = named_in_template(include_str!("../../../template.yaml"));
        for expected in ["api", "processor", "webhook-sender", "analytics", "sweeper", "gateway-simulator"] {
            assert!(names.iter().any(|name| name == expected), "{expected} is not in {names:?}");
        }
    }
}
