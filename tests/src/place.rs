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

/// Whether the binaries that are deployed are tested, rather than a quick build.
pub fn is_release() -> bool {
    std::env::var("FLORIN_TEST_RELEASE").is_ok_and(|value| value == "1")
}

/// The local host, of the build that is tested: beside this binary, or where cargo-lambda puts it.
pub fn host(binary: &Path) -> Result<PathBuf> {
    if !is_release() {
        return built_beside(binary, "florin-host");
    }
    let target = binary.parent().and_then(Path::parent).context("a binary without a folder")?;
    let path = target.join("lambda/florin-host/bootstrap");
    ensure!(path.is_file(), "{} is missing: ./scripts/up --release builds it", path.display());
    Ok(path)
}
