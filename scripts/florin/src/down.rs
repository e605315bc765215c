//! `florin down`.

use anyhow::Result;
use clap::Args;

use crate::{
    cloudformation,
    emulator::Emulator,
    local_env::LocalEnv,
    place::{Place, StateDir},
    process,
    progress::step,
    python, stack,
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
    let deployed_to = match LocalEnv::read(&place.local_env())? {
        Some(env) => Some(Emulator::of(&env)?),
        None => None,
    };
    if let Some(emulator @ Emulator::Other(endpoint)) = &deployed_to {
        delete_there(&place, emulator, endpoint).await?;
        process::remove(&place.local_env())?;
        say!("Florin is down; the emulator at {endpoint} goes on without it.");
        return Ok(());
    }
    let found = stop(&place).await?;
    say!("{}", if found { "Florin is down; its data stays." } else { "Florin was not running." });
    Ok(())
}

/// Ends every process of the stack and removes what says how to reach it.
pub(crate) async fn stop(place: &Place) -> Result<bool> {
    // First the file: who reads it must not be sent to a stack that is going away.
    process::remove(&place.local_env())?;
    process::stop(place).await
}

/// An emulator that is not ours goes on, so the stack has to be deleted in it.
async fn delete_there(place: &Place, emulator: &Emulator, endpoint: &str) -> Result<()> {
    if !stack::answers(emulator, endpoint).await {
        step(&format!("Nothing answers at {endpoint} any more, so there is nothing to delete"));
        return Ok(());
    }
    step(&format!("Deleting the stack at {endpoint}"));
    cloudformation::delete(place, &python::ensure(place)?, endpoint).await
}
