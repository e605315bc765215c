//! Logs: one JSON object a line when Lambda says so (`AWS_LAMBDA_LOG_FORMAT`), plain text otherwise.

use tracing_subscriber::{EnvFilter, fmt::time::FormatTime};

use crate::clock::Clock;

struct Rfc3339;

impl FormatTime for Rfc3339 {
    fn format_time(&self, writer: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", Clock::System.now())
    }
}

/// Sends events of level `AWS_LAMBDA_LOG_LEVEL` (default `INFO`) and above to standard output, where CloudWatch reads
/// them. Dependencies speak from `WARN` on: what they say below is theirs, and may repeat what we must not log.
pub fn init() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").unwrap_or_else(|_| "INFO".to_owned());
    let filter = EnvFilter::new(format!("warn,florin={level}"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_timer(Rfc3339).with_ansi(false);
    let json = std::env::var("AWS_LAMBDA_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("json"));
    let installed = if json {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    } else {
        builder.try_init()
    };
    if let Err(error) = installed {
        tracing::debug!(%error, "a subscriber is installed already");
    }
}
