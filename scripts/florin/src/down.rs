//! `florin down`.

use anyhow::Result;
use clap::Args;

use crate::{
    emulator,
    place::{Place, StateDir},
};

/// What `florin down` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    state: StateDir,
}

/// Runs `florin down`.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let place = Place::find(&options.state)?;
    let _lock = place.lock()?;
    let found = stop(&place).await?;
    say!("{}", if found { "Florin is down." } else { "Florin was not running." });
    Ok(())
}

/// Ends every process of the stack and removes what says how to reach it.
pub(crate) async fn stop(place: &Place) -> Result<bool> {
    // First the file: who reads it must not be sent to a stack that is going away.
    emulator::remove(&place.local_env())?;
    emulator::stop(place).await
}
