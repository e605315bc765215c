//! Where things lie.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// The project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Another binary of the same build.
pub fn built_beside(binary: &Path, name: &str) -> Result<PathBuf> {
    let path = binary.parent().context("a binary without a folder")?.join(name);
    ensure!(path.is_file(), "{} is missing: cargo build --bin {name}", path.display());
    Ok(path)
}
