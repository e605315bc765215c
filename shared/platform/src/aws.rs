//! One SDK configuration per process, with time-outs that leave a function time to answer.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, SdkConfig,
    environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider},
    retry::RetryConfig,
    timeout::TimeoutConfig,
};

/// A connection that is not there by then will not come.
const CONNECT_TIMEOUT_MS: u64 = 1_000;
/// One try of a call.
const ATTEMPT_TIMEOUT_MS: u64 = 3_000;
/// A call with all its tries. Below every function's time-out.
const OPERATION_TIMEOUT_MS: u64 = 7_000;
/// Tries of a call.
const ATTEMPTS_MAX: u32 = 3;

/// The configuration that all clients of a process share: credentials and region from the environment, as Lambda sets
/// them, and `AWS_ENDPOINT_URL` where a local run sets it. Nothing is looked for elsewhere: the SDK's own chain would
/// ask the instance metadata service.
pub async fn config() -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
        .operation_attempt_timeout(Duration::from_millis(ATTEMPT_TIMEOUT_MS))
        .operation_timeout(Duration::from_millis(OPERATION_TIMEOUT_MS))
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .region(EnvironmentVariableRegionProvider::new())
        .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
        .load()
        .await
}
