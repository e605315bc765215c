//! Building the functions for this machine.

use std::{
    collections::BTreeMap,
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{place::Place, progress::step};

/// Each function's binary and where it was built.
pub(crate) type Binaries = BTreeMap<String, PathBuf>;

/// How to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Plain cargo and the development profile: quick, and shared with the tests.
    Quick,
    /// What `sam build` does for a deployment: cargo-lambda, the release profile.
    Release,
    /// Nothing: what is there is taken.
    AsBuilt {
        /// Take the release build.
        release: bool,
    },
}

/// Builds every function that the template names.
pub(crate) fn build(place: &Place, profile: Profile) -> Result<Binaries> {
    let names = named_in_template(&fs::read_to_string(place.root.join("template.yaml"))?);
    let target = target_directory(place)?;
    let through_cargo_lambda = cfg!(target_os = "linux");
    let release = matches!(profile, Profile::Release | Profile::AsBuilt { release: true });
    match profile {
        Profile::Quick => {
            step("Building the functions (quick profile; the first time takes minutes)");
            cargo(place, &names, &["build"])?;
        }
        Profile::Release if through_cargo_lambda => {
            step("Building the functions (release profile, as deployed; this takes minutes)");
            cargo(place, &names, &["lambda", "build", "--release"])?;
        }
        Profile::Release => {
            // cargo-lambda builds for Linux only, and the local run uses this machine's binaries.
            step("Building the functions (release profile; this takes minutes)");
            cargo(place, &names, &["build", "--release"])?;
        }
        Profile::AsBuilt { .. } => {}
    }
    let path = |name: &String| match (release, through_cargo_lambda) {
        (true, true) => target.join("lambda").join(name).join("bootstrap"),
        (true, false) => target.join("release").join(name),
        (false, _) => target.join("debug").join(name),
    };
    let binaries: Binaries = names.iter().map(|name| (name.clone(), path(name))).collect();
    if let Some(missing) = binaries.values().find(|path| !path.is_file()) {
        bail!("{} is not there; run without --no-build", missing.display());
    }
    Ok(binaries)
}

/// One call for all functions: they share most of their crates.
fn cargo(place: &Place, names: &[String], arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(&place.root).stdin(Stdio::null());
    for name in names {
        command.args(["--bin", name]);
    }
    // The host's own linker will do for this machine; cargo-lambda would ask for a cross-linker.
    command.env("CARGO_LAMBDA_COMPILER", "cargo");
    let tools = [place.tools().join("bin")];
    let path = env::var_os("PATH").unwrap_or_default();
    command.env("PATH", env::join_paths(tools.into_iter().chain(env::split_paths(&path)))?);
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the functions do not build; cargo says why above");
    }
    Ok(())
}

fn target_directory(place: &Place) -> Result<PathBuf> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(&place.root)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata failed")?;
    let target = metadata.get("target_directory").and_then(serde_json::Value::as_str);
    Ok(PathBuf::from(target.context("cargo metadata names no target directory")?))
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
