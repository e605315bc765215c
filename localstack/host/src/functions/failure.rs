//! What goes wrong with an environment, in Lambda's words.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use serde_json::{Value, json};

use super::usage::{Status, seconds};

/// Why an environment gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The process ended, as described.
    Exited(String),
    /// It took longer than this.
    TimedOut(Duration),
    /// It said what failed in its init.
    Init(Value),
    /// The process could not be started.
    NotStarted(String),
}

impl Failure {
    /// The error object that the caller gets.
    pub(crate) fn error(&self, request_id: &str) -> Value {
        match self {
            Self::Init(error) => error.clone(),
            other => json!({
                "errorType": other.error_type(),
                "errorMessage": format!("RequestId: {request_id} Error: {}", other.what()),
            }),
        }
    }

    /// What happened, without the request.
    pub(crate) fn what(&self) -> String {
        match self {
            Self::Exited(how) => format!("Runtime {how}"),
            Self::TimedOut(after) => format!("Task timed out after {} seconds", seconds(*after)),
            Self::Init(error) => error.to_string(),
            Self::NotStarted(why) => why.clone(),
        }
    }

    /// Lambda's name for it.
    pub(crate) fn error_type(&self) -> &str {
        match self {
            Self::Exited(_) => "Runtime.ExitError",
            Self::TimedOut(_) => "Sandbox.Timedout",
            Self::Init(error) => error.get("errorType").and_then(Value::as_str).unwrap_or("Runtime.Unknown"),
            Self::NotStarted(_) => "Runtime.InvalidEntrypoint",
        }
    }

    /// For the report.
    pub(crate) fn status(&self) -> Status<'_> {
        match self {
            Self::TimedOut(_) => Status::TimedOut,
            other => Status::Died(other.error_type()),
        }
    }
}

/// How a process ended, in the words of Go's `os/exec`, which are Lambda's. A process that aborts because it got no
/// memory is told as Lambda tells it, where the kernel kills it.
pub(crate) fn exit(status: ExitStatus, out_of_memory: bool) -> String {
    let error = match (status.code(), status.signal()) {
        (Some(0), _) => return "exited without providing a reason".to_owned(),
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(6)) if out_of_memory => "signal: killed".to_owned(),
        (None, Some(signal)) => format!("signal: {}", signal_name(signal)),
        (None, None) => "unknown".to_owned(),
    };
    format!("exited with error: {error}")
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        15 => "terminated",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_speak_lambdas_words() {
        let exited = Failure::Exited(exit(ExitStatus::from_raw(1 << 8), false));
        assert_eq!(
            exited.error("8d1c"),
            json!({
                "errorType": "Runtime.ExitError",
                "errorMessage": "RequestId: 8d1c Error: Runtime exited with error: exit status 1",
            })
        );
        let late = Failure::TimedOut(Duration::from_secs(3));
        assert_eq!(
            late.error("8d1c"),
            json!({
                "errorType": "Sandbox.Timedout",
                "errorMessage": "RequestId: 8d1c Error: Task timed out after 3.00 seconds",
            })
        );
        let init = json!({ "errorType": "MissingTable", "errorMessage": "there is no table" });
        assert_eq!(Failure::Init(init.clone()).error("8d1c"), init);
    }

    #[test]
    fn signals_have_names() {
        assert_eq!(exit(ExitStatus::from_raw(9), false), "exited with error: signal: killed");
        assert_eq!(exit(ExitStatus::from_raw(6), false), "exited with error: signal: aborted");
        assert_eq!(exit(ExitStatus::from_raw(6), true), "exited with error: signal: killed");
        assert_eq!(exit(ExitStatus::from_raw(0), false), "exited without providing a reason");
    }
}
