//! The stack: its settings, its deployment through CloudFormation, and how to reach it.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::Credentials;
use florin_platform::random;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    emulator::{self, http_client},
    functions::Binaries,
    local_env::{LocalEnv, replace_file},
    place::Place,
    seed::SeededMerchant,
};

/// The local stack's name.
pub(crate) const STACK_NAME: &str = "florin-local";
/// The emulator's region.
pub(crate) const REGION: &str = "us-east-1";
/// Emulators take any credentials; these say what they are.
pub(crate) const ACCESS_KEY_ID: &str = "test";
/// See `ACCESS_KEY_ID`.
pub(crate) const SECRET_ACCESS_KEY: &str = "test";
/// Instances of a consumer at once: more would only take turns on a laptop.
const CONSUMER_CONCURRENCY: &str = "5";
/// Until everything must have answered once.
const READY_TIMEOUT_S: u64 = 60;
/// Between two tries.
const READY_EVERY_MS: u64 = 200;
/// Characters of a key behind its prefix: 160 bits.
const KEY_CHARACTERS: usize = 32;

/// What the stack's keys and merchants are; kept beside its data, since the data is unreadable without.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// From it API-key hashes and signing secrets are derived.
    pub(crate) root_key: String,
    /// What the gateway simulator accepts.
    pub(crate) gateway_key: String,
    /// The seeded merchant, and the second one for isolation checks.
    pub(crate) merchants: [SeededMerchant; 2],
}

impl Settings {
    fn random() -> Self {
        Self {
            root_key: format!("{}{}", random::hex128(), random::hex128()),
            gateway_key: random_key(),
            merchants: [SeededMerchant::random("First Test Shop"), SeededMerchant::random("Second Test Shop")],
        }
    }

    /// New settings, or with `--keep` those that belong to the kept data.
    pub(crate) fn prepare(place: &Place, keep: bool) -> Result<Self> {
        if !keep {
            return Ok(Self::random());
        }
        let path = place.kept().join("settings.json");
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                std::fs::create_dir_all(place.kept())?;
                let settings = Self::random();
                replace_file(&path, &serde_json::to_vec(&settings)?)?;
                Ok(settings)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

/// `sk_test_` and characters from the operating system's randomness.
pub(crate) fn random_key() -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let characters = random::bytes::<KEY_CHARACTERS>();
    let body = characters.iter().filter_map(|byte| ALPHABET.get(usize::from(byte % 32)).copied().map(char::from));
    format!("sk_test_{}", body.collect::<String>())
}

/// The stack's outputs by name.
pub(crate) type Outputs = BTreeMap<String, String>;

/// Deploys `template.yaml` by `localstack/deploy.py`. Secrets go by standard input, where no process list shows them.
pub(crate) async fn deploy(
    place: &Place,
    python: &Path,
    port: u16,
    settings: &Settings,
    binaries: &Binaries,
) -> Result<Outputs> {
    let endpoint = emulator::endpoint(port);
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let request = json!({
        "endpoint": endpoint,
        "region": REGION,
        "stack_name": STACK_NAME,
        "template": place.root.join("template.yaml"),
        "binaries": binaries,
        "parameters": {
            "Architecture": architecture,
            "FlorinMode": "test",
            "RootKey": settings.root_key,
            "GatewayApiKey": settings.gateway_key,
            "WebhookAllowLoopback": "true",
            "ApiUrlPrefix": format!("{endpoint}/_aws/execute-api/"),
            "ConsumerConcurrency": CONSUMER_CONCURRENCY,
            "RetainData": "false",
        },
    });
    let mut child = Command::new(python)
        .arg(place.root.join("localstack/deploy.py"))
        .envs([("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID), ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)])
        .envs([("AWS_CONFIG_FILE", "/dev/null"), ("NO_PROXY", "127.0.0.1")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run localstack/deploy.py")?;
    let mut input = child.stdin.take().context("the deployment takes no input")?;
    input.write_all(request.to_string().as_bytes()).await?;
    drop(input);
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!("the deployment failed; more is in {}", place.emulator_log().display());
    }
    serde_json::from_slice(&output.stdout).context("the deployment gave no outputs")
}

/// Everything that a client, a test or a script needs to know.
pub(crate) fn local_env(outputs: &Outputs, settings: &Settings, port: u16, pid: i32) -> Result<LocalEnv> {
    let output = |name: &str| outputs.get(name).with_context(|| format!("the stack has no output {name}"));
    let [first, second] = &settings.merchants;
    let mut env = LocalEnv::default();
    env.set("FLORIN_API_URL", output("ApiUrl")?);
    env.set("FLORIN_API_KEY", &first.api_key);
    env.set("FLORIN_MERCHANT_ID", &first.id);
    env.set("FLORIN_WEBHOOK_SECRET", first.webhook_secret(&settings.root_key)?);
    env.set("FLORIN_OTHER_API_KEY", &second.api_key);
    env.set("FLORIN_OTHER_MERCHANT_ID", &second.id);
    env.set("FLORIN_GATEWAY_URL", output("GatewayUrl")?);
    env.set("FLORIN_GATEWAY_KEY", &settings.gateway_key);
    env.set("FLORIN_ROOT_KEY", &settings.root_key);
    env.set("AWS_ENDPOINT_URL", emulator::endpoint(port));
    env.set("AWS_REGION", REGION);
    env.set("AWS_DEFAULT_REGION", REGION);
    env.set("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID);
    env.set("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    env.set("FLORIN_STACK_NAME", STACK_NAME);
    env.set("FLORIN_TOPIC_ARN", output("TopicArn")?);
    for consumer in CONSUMERS {
        env.set(&consumer.queue_variable(), output(&format!("{}QueueUrl", consumer.output))?);
        env.set(&consumer.dead_letters_variable(), output(&format!("{}DeadLettersUrl", consumer.output))?);
    }
    env.set("FLORIN_UNDELIVERED_EVENTS_URL", output("UndeliveredEventsUrl")?);
    for table in ["Payments", "Merchants", "Webhooks", "Analytics", "Idempotency", "Gateway"] {
        let name = output(&format!("{table}TableName"))?;
        env.set(&format!("FLORIN_{}_TABLE", table.to_uppercase()), name);
    }
    env.set("FLORIN_EMULATOR_PID", pid.to_string());
    Ok(env)
}

/// A queue with its dead-letter queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Consumer {
    /// Its name for people and commands.
    pub(crate) name: &'static str,
    /// What its outputs begin with.
    output: &'static str,
}

/// Every consumer.
pub(crate) const CONSUMERS: [Consumer; 3] = [
    Consumer { name: "processing", output: "Processing" },
    Consumer { name: "webhook", output: "Webhook" },
    Consumer { name: "analytics", output: "Analytics" },
];

impl Consumer {
    /// The variable of `local.env` that holds the queue's URL.
    pub(crate) fn queue_variable(self) -> String {
        format!("FLORIN_{}_QUEUE_URL", self.name.to_uppercase())
    }

    /// The variable of `local.env` that holds the dead-letter queue's URL.
    pub(crate) fn dead_letters_variable(self) -> String {
        format!("FLORIN_{}_DEAD_LETTERS_URL", self.name.to_uppercase())
    }
}

/// The SDK's configuration for a stack that `local.env` describes.
pub(crate) async fn sdk(env: &LocalEnv) -> Result<SdkConfig> {
    let credentials = Credentials::new(
        env.required("AWS_ACCESS_KEY_ID")?,
        env.required("AWS_SECRET_ACCESS_KEY")?,
        None,
        None,
        "local.env",
    );
    Ok(aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(env.required("AWS_ENDPOINT_URL")?)
        .region(Region::new(env.required("AWS_REGION")?.to_owned()))
        .credentials_provider(credentials)
        .load()
        .await)
}

/// Waits until the API and the gateway have answered: their first answer starts a process.
pub(crate) async fn await_ready(env: &LocalEnv) -> Result<()> {
    let ready = format!("{}/ready", env.required("FLORIN_API_URL")?);
    let charges = format!("{}/v1/payment_intents?limit=1", env.required("FLORIN_GATEWAY_URL")?);
    await_success(&ready, None).await?;
    await_success(&charges, Some(env.required("FLORIN_GATEWAY_KEY")?)).await
}

async fn await_success(url: &str, key: Option<&str>) -> Result<()> {
    let client = http_client()?;
    let deadline = Instant::now() + Duration::from_secs(READY_TIMEOUT_S);
    loop {
        let request = client.get(url);
        let request = if let Some(key) = key { request.bearer_auth(key) } else { request };
        let last = match request.send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => format!("answered {}: {}", answer.status(), answer.text().await.unwrap_or_default()),
            Err(error) => format!("does not answer: {error}"),
        };
        if Instant::now() >= deadline {
            bail!("{url} {last}");
        }
        tokio::time::sleep(Duration::from_millis(READY_EVERY_MS)).await;
    }
}

/// What `local.env` says of a stack that runs.
pub(crate) async fn running(place: &Place) -> Result<Option<LocalEnv>> {
    let Some(env) = LocalEnv::read(&place.local_env())? else { return Ok(None) };
    let answers = emulator::running(place).is_some() && emulator::answers(env.required("AWS_ENDPOINT_URL")?).await;
    Ok(answers.then_some(env))
}

/// How to reach the stack, whoever started it.
pub(crate) fn described(place: &Place) -> Result<LocalEnv> {
    LocalEnv::read(&place.local_env())?.context("Florin does not run here; start it with ./scripts/up")
}
