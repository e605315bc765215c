//! What becomes of processes whose host was killed.

use super::*;

/// The host of the next tests: it is another process, so that it can be killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the host of another test"]
async fn a_host_that_waits_to_be_killed() {
    let (folder, freeze) = (PathBuf::from(env::var("FOLDER").unwrap()), env::var("FREEZE").unwrap() == "true");
    let bench = Bench::at(&folder, &stack(function()), freeze, Arc::new(Nothing)).await;
    println!("pid {}", bench.pid().await);
    if env::var("BUSY").unwrap() == "true" {
        bench.invoke(json!({ "do": "sleep", "n": 60_000 })).await.unwrap();
    }
    std::future::pending().await
}

/// The process of a function whose host was killed.
#[cfg(target_os = "linux")]
fn orphan(folder: &Path, freeze: bool, busy: bool) -> i32 {
    use std::io::{BufRead, BufReader};
    let mut host = Command::new(env::current_exe().unwrap());
    host.args(["--ignored", "--nocapture", "--exact", "functions::tests::orphans::a_host_that_waits_to_be_killed"])
        .env("FOLDER", folder)
        .env("FREEZE", freeze.to_string())
        .env("BUSY", busy.to_string());
    let mut host = host.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find_map(|line| Some(line.split_once("pid ")?.1.to_owned()));
    let pid = line.unwrap().parse().unwrap();
    // It does what it is going to do.
    std::thread::sleep(Duration::from_millis(300));
    assert!(is_alive(pid));
    host.kill().unwrap();
    host.wait().unwrap();
    pid
}

/// Whoever is process 1 may be slow to wait for it.
#[cfg(target_os = "linux")]
fn has_ended(pid: i32) -> bool {
    !is_alive(pid) || state(pid) == "Z"
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_idle_process_outlives_a_host_that_is_killed() {
    for freeze in [false, true] {
        let folder = TempDir::new().unwrap();
        let pid = orphan(folder.path(), freeze, false);
        eventually(|| has_ended(pid)).await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_next_host_ends_what_a_killed_host_left_at_work() {
    let folder = TempDir::new().unwrap();
    let pid = orphan(folder.path(), false, true);
    assert!(!has_ended(pid));
    let left = folder.path().join("shop-tested/tmp/1");
    assert!(left.exists());
    let _bench = Bench::at(folder.path(), &stack(function()), false, Arc::new(Nothing)).await;
    eventually(|| has_ended(pid)).await;
    assert!(!left.exists());
}
