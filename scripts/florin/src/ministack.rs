//! MiniStack, the second opinion: an emulator from PyPI.

use std::path::Path;

use anyhow::Result;
use rustix::process::Pid;

use crate::{
    emulator::Emulator,
    place::Place,
    process,
    stack::{self, ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY},
};

/// Starts it, on loopback only, and waits until it answers.
pub(crate) async fn start(place: &Place, python: &Path, port: u16, data: &Path) -> Result<Pid> {
    let endpoint = Emulator::MiniStack.endpoint(port);
    let mut command = process::command(place, python)?;
    command
        .arg(place.root.join("localstack/start.py"))
        .env("GATEWAY_PORT", port.to_string())
        .env("BIND_HOST", "127.0.0.1")
        .env("MINISTACK_HOST", "127.0.0.1")
        .env("MINISTACK_REGION", REGION)
        .env("SFTP_ENABLED", "0")
        .env("IOT_MTLS_ENABLED", "0")
        .env("PERSIST_STATE", "1")
        .env("STATE_DIR", data)
        // The functions inherit these.
        .env("AWS_ENDPOINT_URL", &endpoint)
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    let pid = Pid::from_child(&process::spawn(place, &mut command)?);
    let ready = async || Ok(stack::answers(&Emulator::MiniStack, &endpoint).await.then_some(()));
    process::await_start(place, pid, ready).await?;
    Ok(pid)
}
