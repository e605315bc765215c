//! Deployment through CloudFormation by `localstack/deploy.py`, for emulators that are not our own host.

use std::{path::Path, process::Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    build::Built,
    place::Place,
    stack::{ACCESS_KEY_ID, Outputs, Parameters, REGION, SECRET_ACCESS_KEY, STACK_NAME},
};

/// Creates the stack, or brings it up to the template, and tells its outputs.
pub(crate) async fn deploy(
    place: &Place,
    python: &Path,
    endpoint: &str,
    parameters: &Parameters,
    built: &Built,
) -> Result<Outputs> {
    let request = json!({
        "action": "deploy",
        "endpoint": endpoint,
        "region": REGION,
        "stack_name": STACK_NAME,
        "template": place.root.join("template.yaml"),
        "binaries": built.functions,
        "parameters": parameters,
    });
    let output = run(place, python, &request).await.context("the deployment failed")?;
    serde_json::from_slice(&output).context("the deployment gave no outputs")
}

/// Deletes the stack and the code that was uploaded for it; a stack that is not there is deleted already.
pub(crate) async fn delete(place: &Place, python: &Path, endpoint: &str) -> Result<()> {
    let request = json!({ "action": "delete", "endpoint": endpoint, "region": REGION, "stack_name": STACK_NAME });
    run(place, python, &request).await.context("the stack could not be deleted")?;
    Ok(())
}

/// The request goes by standard input, where no process list shows its secrets.
async fn run(place: &Place, python: &Path, request: &Value) -> Result<Vec<u8>> {
    let mut child = Command::new(python)
        .arg(place.root.join("localstack/deploy.py"))
        .envs([("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID), ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)])
        .envs([("AWS_CONFIG_FILE", "/dev/null"), ("NO_PROXY", "127.0.0.1")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run localstack/deploy.py")?;
    let mut input = child.stdin.take().context("localstack/deploy.py takes no input")?;
    input.write_all(request.to_string().as_bytes()).await?;
    drop(input);
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!("localstack/deploy.py says why above");
    }
    Ok(output.stdout)
}
