//! The process of an environment: what it is given, what it may use, how it is stopped.

use std::{
    fs, io,
    io::PipeWriter,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::{Options, runtime_api::Registration};
use crate::model;

/// What a process may have on top of its memory: the limit counts what is reserved, such as stacks of threads, not only
/// what is used.
#[cfg(target_os = "linux")]
const MEMORY_HEADROOM_MIB: u64 = 32;

/// A running process. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) pid: Pid,
    /// Its own temporary folder.
    temporary: PathBuf,
    frozen: bool,
}

impl Process {
    /// Starts `folder/bootstrap`.
    pub(crate) fn start(
        function: &model::Function,
        options: &Options,
        folder: &Path,
        registration: &Registration,
        output: PipeWriter,
    ) -> io::Result<Self> {
        let temporary = folder.join("tmp").join(registration.id.to_string());
        fs::create_dir_all(&temporary)?;
        let mut command = Command::new(folder.join("bootstrap"));
        command
            .current_dir(folder)
            .env_clear()
            .envs(environment(function, options, folder, registration))
            .env("TMPDIR", &temporary)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A group of its own: Ctrl-C reaches the host alone, which then ends it. And when the host is killed, the
            // kernel sends SIGHUP and SIGCONT to groups that are orphaned while they are stopped.
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn()?;
        let raw = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pid = raw.ok_or_else(|| io::Error::other("the process has ended"))?;
        limit_memory(pid, function.memory_mib);
        Ok(Self { child, pid, temporary, frozen: false })
    }

    /// Waits for its end. May be given up and called again.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it now.
    pub(crate) async fn kill(&mut self) {
        // It fails only when the process has ended already.
        drop(self.child.kill().await);
    }

    /// Stops it from running, as Lambda freezes an environment that has nothing to do.
    pub(crate) fn freeze(&mut self) {
        self.frozen = kill_process(self.pid, Signal::STOP).is_ok();
    }

    /// Lets it run again.
    pub(crate) fn thaw(&mut self) {
        if self.frozen {
            self.frozen = kill_process(self.pid, Signal::CONT).is_err();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What is left is removed with the next deployment.
        drop(fs::remove_dir_all(&self.temporary));
    }
}

/// Kills what a killed host left at work in this folder of functions, and removes their files: a process ends by itself
/// when it asks for its next event, but a host that starts again should not find it writing. Without /proc there is
/// nothing to be found.
pub fn end_leftovers(folder: &Path) {
    let Ok(folder) = folder.canonicalize() else { return };
    for function in fs::read_dir(&folder).into_iter().flatten().flatten() {
        // What cannot be removed is in nobody's way.
        drop(fs::remove_dir_all(function.path().join("tmp")));
    }
    let Ok(processes) = fs::read_dir("/proc") else { return };
    // A binary that was replaced still has its old path, with a mark behind it.
    let ours =
        |process: &fs::DirEntry| fs::read_link(process.path().join("exe")).is_ok_and(|exe| exe.starts_with(&folder));
    for process in processes.flatten().filter(ours) {
        if let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) {
            // It fails only when the process has ended already.
            kill_process(pid, Signal::KILL).unwrap_or_default();
        }
    }
}

/// A limit on data rather than on addresses: a reservation is no memory.
#[cfg(target_os = "linux")]
fn limit_memory(pid: Pid, memory_mib: u32) {
    use rustix::process::{Resource, Rlimit, prlimit};
    let bytes = Some((u64::from(memory_mib) + MEMORY_HEADROOM_MIB) * 1024 * 1024);
    let limit = prlimit(Some(pid), Resource::Data, Rlimit { current: bytes, maximum: bytes });
    // It fails only when the process has ended already.
    limit.map(|_| ()).unwrap_or_default();
}

/// Other systems cannot limit a process that runs.
#[cfg(not(target_os = "linux"))]
fn limit_memory(_pid: Pid, _memory_mib: u32) {}

/// The whole environment: nothing comes from the host's own. The template's variables win over the runtime's, except
/// for those that Lambda reserves.
fn environment(
    function: &model::Function,
    options: &Options,
    folder: &Path,
    registration: &Registration,
) -> Vec<(String, String)> {
    let folder = folder.display().to_string();
    let mut variables: Vec<(String, String)> = vec![
        ("PATH".into(), "/usr/local/bin:/usr/bin/:/bin".into()),
        ("LANG".into(), "en_US.UTF-8".into()),
        ("TZ".into(), ":UTC".into()),
        ("NO_PROXY".into(), "*".into()),
        ("AWS_EC2_METADATA_DISABLED".into(), "true".into()),
        ("AWS_CONFIG_FILE".into(), "/dev/null".into()),
        ("AWS_SHARED_CREDENTIALS_FILE".into(), "/dev/null".into()),
        ("AWS_ENDPOINT_URL".into(), options.endpoint.clone()),
    ];
    variables.extend(function.environment.clone());
    variables.extend(options.extra_environment.iter().cloned());
    let mut reserve = |name: &str, value: &str| variables.push((name.to_owned(), value.to_owned()));
    reserve("_HANDLER", &function.handler);
    reserve("AWS_REGION", &options.region);
    reserve("AWS_DEFAULT_REGION", &options.region);
    reserve("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023");
    reserve("AWS_LAMBDA_FUNCTION_NAME", &function.name);
    reserve("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST");
    reserve("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &function.memory_mib.to_string());
    reserve("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand");
    reserve("AWS_LAMBDA_LOG_GROUP_NAME", &function.log_group);
    reserve("AWS_LAMBDA_LOG_STREAM_NAME", &format!("[$LATEST]{:032x}", registration.id));
    reserve("AWS_LAMBDA_RUNTIME_API", &registration.address());
    if let Some(level) = &function.application_log_level {
        reserve("AWS_LAMBDA_LOG_LEVEL", level);
        reserve("AWS_LAMBDA_LOG_FORMAT", "JSON");
    }
    reserve("LAMBDA_TASK_ROOT", &folder);
    reserve("LAMBDA_RUNTIME_DIR", &folder);
    reserve("AWS_ACCESS_KEY_ID", &registration.access_key_id);
    reserve("AWS_SECRET_ACCESS_KEY", "local");
    variables
}
