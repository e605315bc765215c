//! The emulator's process, whichever it is, and the function processes that it starts.
//!
//! All of them carry a mark in their environment, which they inherit: the state folder of their stack. So `down` finds
//! what is left even after a crash, and never ends a process of another stack.

use std::{
    collections::HashSet,
    env, fs,
    fs::OpenOptions,
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, test_kill_process, waitpid};

use crate::{place::Place, progress::last_lines};

/// The mark.
pub(crate) const MARK: &str = "FLORIN_EMULATOR_STATE_DIR";
/// How long a start may take.
const START_TIMEOUT_MS: u64 = 30_000;
/// How long the emulator may take to end: MiniStack writes its data then.
const STOP_TIMEOUT_MS: u64 = 15_000;
/// How long leftover processes may take to end.
const LEFTOVER_TIMEOUT_MS: u64 = 2_000;
/// Between two looks at what starts.
const START_LOOK_EVERY_MS: u64 = 10;
/// Between two looks at what ends.
const LOOK_EVERY_MS: u64 = 50;
/// What is shown of the log of an emulator that does not start.
const LOG_LINES_SHOWN: usize = 20;
/// What the emulator may see of the caller's environment. Not AWS settings: a profile or a proxy of the caller would
/// send the functions elsewhere.
const INHERITED: [&str; 8] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "RUST_LOG", "RUST_BACKTRACE"];

/// A port that somebody holds is the caller's to decide about.
pub(crate) fn ensure_port_is_free(port: u16) -> Result<()> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!("port {port} of 127.0.0.1 is in use: stop what uses it, or choose another one with --port")
        }
        Err(error) => Err(error).with_context(|| format!("port {port} cannot be used; choose another one with --port")),
    }
}

/// A command that becomes the emulator: nothing of the caller's environment but what is listed above, its own process
/// group, so that Ctrl-C reaches this tool alone, which then ends the emulator in order.
pub(crate) fn command(place: &Place, program: &Path) -> Result<Command> {
    fs::create_dir_all(place.temporary())?;
    // What functions say is their owner's business; the mode of a file counts only when it is made.
    remove(&place.emulator_log())?;
    let log = OpenOptions::new().create_new(true).append(true).mode(0o600).open(place.emulator_log())?;
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?))))
        .env(MARK, &place.state)
        .env("TMPDIR", place.temporary())
        .current_dir(&place.state)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    Ok(command)
}

/// Starts it and writes down its process id.
pub(crate) fn spawn(place: &Place, command: &mut Command) -> Result<Child> {
    let name = command.get_program().display().to_string();
    let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    fs::write(place.emulator_pid(), child.id().to_string())?;
    Ok(child)
}

/// Asks `ready` again and again until it has something; an emulator that ends or takes too long is an error with the
/// end of its log.
pub(crate) async fn await_start<T>(
    place: &Place,
    pid: Pid,
    mut ready: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + Duration::from_millis(START_TIMEOUT_MS);
    loop {
        if let Some(ready) = ready().await? {
            return Ok(ready);
        }
        if !is_alive(pid) || Instant::now() >= deadline {
            let said = last_lines(&place.emulator_log(), LOG_LINES_SHOWN);
            stop(place).await?;
            bail!("the emulator does not start; it said:\n{said}");
        }
        tokio::time::sleep(Duration::from_millis(START_LOOK_EVERY_MS)).await;
    }
}

/// The emulator of this stack, if it lives.
pub(crate) fn running(place: &Place) -> Option<Pid> {
    let pid = fs::read_to_string(place.emulator_pid()).ok()?.trim().parse().ok().and_then(Pid::from_raw)?;
    // The number alone proves nothing: the system may have given it to another process since.
    let ours = !Path::new("/proc/self/environ").exists() || is_marked(pid, place);
    (ours && is_alive(pid)).then_some(pid)
}

/// Ends the emulator and every function process, and says whether there was any.
pub(crate) async fn stop(place: &Place) -> Result<bool> {
    let mut found = false;
    if let Some(pid) = running(place) {
        found = true;
        signal(pid, Signal::TERM);
        if !ended(&[pid], STOP_TIMEOUT_MS).await {
            if kill_process_group(pid, Signal::KILL).is_err() {
                signal(pid, Signal::KILL);
            }
            ended(&[pid], LEFTOVER_TIMEOUT_MS).await;
        }
    }
    let leftovers = marked(place);
    if !leftovers.is_empty() {
        found = true;
        leftovers.iter().for_each(|pid| signal(*pid, Signal::TERM));
        ended(&leftovers, LEFTOVER_TIMEOUT_MS).await;
        // A process may start another one while it is being ended, so they are looked for until there are none.
        let deadline = Instant::now() + Duration::from_millis(LEFTOVER_TIMEOUT_MS);
        loop {
            let left = marked(place);
            if left.is_empty() || Instant::now() >= deadline {
                break;
            }
            left.iter().for_each(|pid| signal(*pid, Signal::KILL));
            look_again().await;
        }
    }
    remove(&place.emulator_pid())?;
    remove(&place.ready_file())?;
    match fs::remove_dir_all(place.temporary()) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("cannot remove temporary files"),
        _ => Ok(found),
    }
}

/// Removes a file that may be absent.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A process that has ended meanwhile needs no signal.
fn signal(pid: Pid, signal: Signal) {
    if kill_process(pid, signal).is_err() {
        // Gone already.
    }
}

async fn ended(pids: &[Pid], timeout_ms: u64) -> bool {
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    while pids.iter().any(|pid| is_alive(*pid)) {
        if Instant::now() >= deadline {
            return false;
        }
        look_again().await;
    }
    true
}

async fn look_again() {
    tokio::time::sleep(Duration::from_millis(LOOK_EVERY_MS)).await;
}

/// Whether the process runs. One that has ended but was not waited for does not.
pub(crate) fn is_alive(pid: Pid) -> bool {
    // Reaps it if it is a child of this process; of others the system says so and nothing happens.
    if waitpid(Some(pid), WaitOptions::NOHANG).is_ok_and(|status| status.is_some()) {
        return false;
    }
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let is_zombie = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'));
    !is_zombie && test_kill_process(pid).is_ok()
}

/// Every process of this stack. Empty where there is no `/proc`.
fn marked(place: &Place) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids: HashSet<i32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.into_iter().filter_map(Pid::from_raw).filter(|pid| is_marked(*pid, place) && is_alive(*pid)).collect()
}

fn is_marked(pid: Pid, place: &Place) -> bool {
    let mark = [MARK.as_bytes(), b"=", place.state.as_os_str().as_bytes()].concat();
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == mark)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::place::StateDir;

    fn place(folder: &tempfile::TempDir) -> Place {
        Place::find(&StateDir { state_dir: folder.path().join("state") }).unwrap()
    }

    /// A process as the emulator would start one: with the mark of its stack, and deaf to polite requests.
    fn leftover(place: &Place) -> std::process::Child {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; while :; do sleep 0.05; done"]).env(MARK, &place.state);
        // Should the test fail, nobody waits for the output of what it leaves behind.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        // Between fork and exec the environment is still the test's.
        while !is_marked(Pid::from_child(&child), place) {
            std::thread::yield_now();
        }
        child
    }

    #[test]
    fn a_held_port_names_the_option() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let error = ensure_port_is_free(port).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--port"), "{error}");
        drop(held);
        ensure_port_is_free(port).unwrap();
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn stop_ends_what_is_left_of_its_own_stack_and_nothing_else() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [mine, other] = folders.each_ref().map(place);
        let (my_child, mut other_child) = (leftover(&mine), leftover(&other));

        assert!(stop(&mine).await.unwrap());

        assert!(!is_alive(Pid::from_child(&my_child)));
        assert!(is_alive(Pid::from_child(&other_child)));
        other_child.kill().unwrap();
        other_child.wait().unwrap();
        assert!(!stop(&mine).await.unwrap(), "a second stop finds nothing");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_reused_process_id_is_not_the_emulator() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(&folder);
        fs::write(place.emulator_pid(), std::process::id().to_string()).unwrap();
        assert_eq!(running(&place), None);
    }
}
