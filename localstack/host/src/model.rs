//! What a template asks for, with every intrinsic resolved: the contract between `template` and the modules that run
//! it.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

/// The account of everything local. It is no account of AWS.
pub const ACCOUNT_ID: &str = "000000000000";

/// Where the stack is deployed: what pseudo parameters, ARNs and addresses are made of.
#[derive(Debug, Clone)]
pub struct Place {
    /// `AWS::StackName`.
    pub stack_name: String,
    /// `AWS::Region`.
    pub region: String,
    /// The host's address without a trailing slash, such as `http://127.0.0.1:4566`.
    pub endpoint: String,
}

impl Place {
    /// `arn:aws:SERVICE:REGION:000000000000:RESOURCE`.
    #[must_use]
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{ACCOUNT_ID}:{resource}", self.region)
    }

    /// The address of a queue.
    #[must_use]
    pub fn queue_url(&self, name: &str) -> String {
        format!("{}/{ACCOUNT_ID}/{name}", self.endpoint)
    }
}

/// A template with its parameters applied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stack {
    /// Functions, by logical id.
    pub functions: BTreeMap<String, Function>,
    /// Queues, in the order of the template.
    pub queues: Vec<Queue>,
    /// Topics.
    pub topics: Vec<Topic>,
    /// Subscriptions of queues to topics.
    pub subscriptions: Vec<Subscription>,
    /// Tables.
    pub tables: Vec<Table>,
    /// Queues that feed functions.
    pub mappings: Vec<QueueMapping>,
    /// What runs by the clock.
    pub schedules: Vec<Schedule>,
    /// HTTP APIs.
    pub apis: Vec<HttpApi>,
    /// Functions with an address of their own.
    pub function_urls: Vec<FunctionUrl>,
    /// Secrets that the template generates, by logical id. Their values stay the same from start to start.
    pub secrets: Vec<Secret>,
    /// Outputs, by name.
    pub outputs: BTreeMap<String, String>,
    /// Resources that are read and checked but have no effect here (roles, alarms, log groups …): (logical id, type).
    pub without_effect: Vec<(String, String)>,
}

/// A function.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Its name; the ARN ends with it.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// The cargo binary, from `Metadata.BuildProperties.Binary`.
    pub binary: String,
    /// The handler's name, for the environment variable `_HANDLER`.
    pub handler: String,
    /// MiB.
    pub memory_mib: u32,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// What the template gives it; the runtime's own variables come on top.
    pub environment: BTreeMap<String, String>,
    /// At most this many environments at once; `None` leaves it to the host's limit.
    pub reserved_concurrency: Option<u32>,
    /// Retries of an asynchronous invocation (schedules): 0 to 2.
    pub async_retries_max: u32,
    /// How old an asynchronous event may become.
    pub async_event_age_max: Duration,
    /// Minimum level of application logs for `AWS_LAMBDA_LOG_LEVEL`; `AWS_LAMBDA_LOG_FORMAT` is JSON when it is set.
    pub application_log_level: Option<String>,
    /// Name of the log group, for `AWS_LAMBDA_LOG_GROUP_NAME`.
    pub log_group: String,
}

/// A standard queue. FIFO queues are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Name.
    pub name: String,
    /// How long a received message stays hidden.
    pub visibility_timeout: Duration,
    /// How long a message is kept.
    pub retention: Duration,
    /// How long a new message stays hidden.
    pub delay: Duration,
    /// How long a receive waits by default.
    pub receive_wait: Duration,
    /// Bytes of the largest message: body, attribute names, types and values.
    pub message_bytes_max: u32,
    /// Where messages go that were received too often.
    pub redrive: Option<Redrive>,
    /// Whose dead letters it takes.
    pub redrive_allow: RedriveAllow,
}

/// `RedrivePolicy` of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrive {
    /// ARN of the dead-letter queue.
    pub dead_letter_arn: String,
    /// The receive after this many moves the message.
    pub receives_max: u32,
}

/// `RedriveAllowPolicy` of a dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RedriveAllow {
    /// Any queue of the account.
    #[default]
    All,
    /// None.
    Deny,
    /// The queues with these ARNs.
    ByQueue(Vec<String>),
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
}

/// A queue that listens to a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    /// The topic's ARN.
    pub topic_arn: String,
    /// The queue's ARN.
    pub queue_arn: String,
    /// Whether the message arrives as it was published, without the envelope.
    pub raw: bool,
    /// Which messages it takes: the filter policy as written; `None` takes all.
    pub filter: Option<Value>,
    /// What the filter looks at.
    pub filter_scope: FilterScope,
    /// Where a message goes that could not be delivered.
    pub dead_letter_arn: Option<String>,
}

/// `FilterPolicyScope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FilterScope {
    /// The message's attributes.
    #[default]
    Attributes,
    /// The message's body, as JSON.
    Body,
}

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Name.
    pub name: String,
    /// The request that creates it, as DynamoDB's `CreateTable` takes it.
    pub create: Value,
    /// The attribute that says when an item expires.
    pub ttl_attribute: Option<String>,
}

/// An event source mapping from a queue to a function.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueMapping {
    /// ARN of the queue.
    pub queue_arn: String,
    /// Logical id of the function.
    pub function: String,
    /// Records of a batch, at most.
    pub batch_size: u32,
    /// How long to wait for a batch to fill.
    pub batching_window: Duration,
    /// Batches at work at once; `None` leaves it to the function's own limit.
    pub concurrency_max: Option<u32>,
    /// Whether the function's answer names the records that failed.
    pub reports_item_failures: bool,
    /// Patterns; a record that matches none of them is deleted unseen. Empty takes all.
    pub filters: Vec<Value>,
    /// A mapping that is switched off drains nothing.
    pub enabled: bool,
}

/// A function that the clock starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Name of the rule.
    pub name: String,
    /// ARN of the rule, in the event's `resources`.
    pub arn: String,
    /// Logical id of the function.
    pub function: String,
    /// When.
    pub rate: Rate,
    /// What the function gets instead of the rule's own event.
    pub input: Option<Value>,
    /// A schedule that is switched off never runs.
    pub enabled: bool,
}

/// When a schedule runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rate {
    /// `rate(…)`.
    Every(Duration),
    /// `cron(…)`, as written: minutes, hours, day of month, month, day of week, year.
    Cron(String),
}

/// An HTTP API, with its routes resolved to functions.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpApi {
    /// Its id: ten characters, the same from start to start.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Routes, most specific first.
    pub routes: Vec<Route>,
    /// Stage name; `$default` has no path of its own.
    pub stage: String,
    /// Limits of the default stage, in requests a second and in requests at once; `None` does not limit.
    pub throttle: Option<Throttle>,
    /// Answers to browsers; `None` leaves CORS to the function.
    pub cors: Option<Cors>,
}

/// A route of an HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// As written: `$default`, `GET /payments/{id}`, `ANY /{proxy+}`.
    pub key: String,
    /// Logical id of the function.
    pub function: String,
    /// How long the integration may take.
    pub timeout: Duration,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throttle {
    /// Requests a second.
    pub rate: f64,
    /// Requests at once.
    pub burst: u32,
}

/// `CorsConfiguration`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cors {
    /// Origins, or `*`.
    pub allow_origins: Vec<String>,
    /// Methods, or `*`.
    pub allow_methods: Vec<String>,
    /// Headers, or `*`.
    pub allow_headers: Vec<String>,
    /// Headers that scripts may read.
    pub expose_headers: Vec<String>,
    /// Whether cookies go along.
    pub allow_credentials: bool,
    /// How long a preflight counts.
    pub max_age: Option<Duration>,
}

/// `FunctionUrlConfig` of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionUrl {
    /// Its id: the same from start to start.
    pub id: String,
    /// Logical id of the function.
    pub function: String,
    /// Answers to browsers.
    pub cors: Option<Cors>,
}

/// `AWS::SecretsManager::Secret` with `GenerateSecretString`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Logical id.
    pub logical_id: String,
    /// ARN.
    pub arn: String,
}
