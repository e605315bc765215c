//! The stack: what it is given, and how to reach it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::Credentials;

use crate::{
    emulator::{self, Emulator},
    local_env::LocalEnv,
    place::Place,
    process, seed,
    settings::Settings,
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
/// Requests a second of one key: tests and load runs have one key for all that they do.
const REQUESTS_PER_SECOND_PER_KEY: &str = "10000";
/// And at once.
const REQUEST_BURST_PER_KEY: &str = "20000";
/// Until everything must have answered once.
const READY_TIMEOUT_S: u64 = 60;
/// Between two tries.
const READY_EVERY_MS: u64 = 50;
/// One request to the stack.
const REQUEST_TIMEOUT_S: u64 = 20;

/// The stack's outputs by name.
pub(crate) type Outputs = BTreeMap<String, String>;

/// The template's parameters by name.
pub(crate) type Parameters = BTreeMap<String, String>;

/// What a local run sets of the template's parameters.
pub(crate) fn parameters(settings: &Settings, endpoint: &str) -> Parameters {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let parameters = [
        ("Architecture", architecture),
        ("FlorinMode", "test"),
        ("RootKey", &settings.root_key),
        ("GatewayApiKey", &settings.gateway_key),
        ("SignUp", "open"),
        ("WebhookAllowLoopback", "true"),
        ("ApiUrlPrefix", &format!("{endpoint}/_aws/execute-api/")),
        ("ConsumerConcurrency", CONSUMER_CONCURRENCY),
        ("RequestsPerSecondPerKey", REQUESTS_PER_SECOND_PER_KEY),
        ("RequestBurstPerKey", REQUEST_BURST_PER_KEY),
        ("RetainData", "false"),
    ];
    parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// Everything that a client, a test or a script needs to know.
pub(crate) fn local_env(
    outputs: &Outputs,
    settings: &Settings,
    emulator: &Emulator,
    endpoint: &str,
) -> Result<LocalEnv> {
    let output = |name: &str| outputs.get(name).with_context(|| format!("the stack has no output {name}"));
    let [first, second] = &settings.merchants;
    let mut env = LocalEnv::default();
    env.set("FLORIN_API_URL", output("ApiUrl")?);
    env.set("FLORIN_API_KEY", first.api_key(&settings.root_key)?);
    env.set("FLORIN_MERCHANT_ID", &first.id);
    env.set("FLORIN_OWNER_EMAIL", &first.email);
    env.set("FLORIN_OWNER_PASSWORD", &first.password);
    env.set("FLORIN_WEBHOOK_SECRET", first.webhook_secret(&settings.root_key)?);
    env.set("FLORIN_OTHER_API_KEY", second.api_key(&settings.root_key)?);
    env.set("FLORIN_OTHER_MERCHANT_ID", &second.id);
    env.set("FLORIN_GATEWAY_URL", output("GatewayUrl")?);
    env.set("FLORIN_GATEWAY_KEY", &settings.gateway_key);
    env.set("FLORIN_ROOT_KEY", &settings.root_key);
    env.set("FLORIN_OPERATOR_KEY", seed::operator_key(&settings.root_key)?);
    env.set("AWS_ENDPOINT_URL", endpoint);
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
    for table in ["Payments", "Merchants", "Webhooks", "Analytics", "Idempotency", "Audit", "Gateway"] {
        let name = output(&format!("{table}TableName"))?;
        env.set(&format!("FLORIN_{}_TABLE", table.to_uppercase()), name);
    }
    env.set(emulator::VARIABLE, emulator.name());
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
    let key = env.required("FLORIN_GATEWAY_KEY")?;
    tokio::try_join!(await_success(&ready, None), await_success(&charges, Some(key)))?;
    Ok(())
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

/// Whether an emulator answers there; one that nobody can ask for its health does if it answers anything.
pub(crate) async fn answers(emulator: &Emulator, endpoint: &str) -> bool {
    let Ok(client) = http_client() else { return false };
    let answer = client.get(format!("{endpoint}{}", emulator.health().unwrap_or("/"))).send().await;
    answer.is_ok_and(|answer| emulator.health().is_none() || answer.status().is_success())
}

/// A client for addresses on this machine: no proxy of the caller's comes between.
pub(crate) fn http_client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(REQUEST_TIMEOUT_S)).build()?)
}

/// What `local.env` says of a stack that this tool started and that runs.
pub(crate) async fn running(place: &Place) -> Result<Option<LocalEnv>> {
    let Some(env) = LocalEnv::read(&place.local_env())? else { return Ok(None) };
    if process::running(place).is_none() {
        return Ok(None);
    }
    let answers = answers(&Emulator::of(&env)?, env.required("AWS_ENDPOINT_URL")?).await;
    Ok(answers.then_some(env))
}

/// How to reach the stack, whoever started it.
pub(crate) fn described(place: &Place) -> Result<LocalEnv> {
    LocalEnv::read(&place.local_env())?.context("Florin does not run here; start it with ./scripts/up")
}
