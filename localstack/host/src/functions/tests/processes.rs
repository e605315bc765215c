//! What a process is given, and how its events end.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_environment_is_used_again() {
    let bench = Bench::of(function()).await;
    let first = bench.invoke(json!({ "do": "echo", "x": [1, "two"] })).await.unwrap();
    assert_eq!(first["event"], json!({ "do": "echo", "x": [1, "two"] }));
    for _ in 0..50 {
        assert_eq!(bench.pid().await, pid_of(&first));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_at_work_has_an_environment_of_its_own() {
    let bench = Bench::of(function()).await;
    let answers = join_all((0..4).map(|_| bench.invoke(json!({ "do": "sleep", "n": 300 })))).await;
    let mut pids: Vec<i32> = answers.into_iter().map(|answer| pid_of(&answer.unwrap())).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 4);

    // The one that was used last comes first.
    let last = bench.pid().await;
    assert_eq!(bench.pid().await, last);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_has_lambdas_variables_and_nothing_of_the_hosts() {
    let bench = Bench::of(function()).await;
    let answer = bench.invoke(json!({ "do": "environment" })).await.unwrap();
    let variables = answer["variables"].as_object().unwrap();
    let folder = bench.folder().join("shop-tested");
    let folder = folder.to_str().unwrap();
    for (name, value) in [
        ("GREETING", "hello"),
        ("MARK", "here"),
        ("_HANDLER", "bootstrap"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ACCESS_KEY_ID", "host.shop-tested.1"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_LAMBDA_FUNCTION_NAME", "shop-tested"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/shop-tested"),
        ("AWS_LAMBDA_LOG_LEVEL", "INFO"),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("LAMBDA_TASK_ROOT", folder),
        ("TZ", ":UTC"),
        ("NO_PROXY", "*"),
    ] {
        assert_eq!(variables[name], value, "{name}");
    }
    for name in ["HOME", "CARGO_MANIFEST_DIR", "USER", "AWS_PROFILE", "AWS_SESSION_TOKEN"] {
        assert!(!variables.contains_key(name), "{name}");
    }
    assert_eq!(answer["folder"], folder);
    assert_eq!(answer["arn"], "arn:aws:lambda:eu-central-1:000000000000:function:shop-tested");
    assert_eq!(answer["request_id"].as_str().unwrap().len(), 36);
    assert!(answer["trace"].as_str().unwrap().starts_with("Root=1-"), "{answer}");
    let left = answer["deadline"].as_u64().unwrap() - crate::clock::now_ms();
    assert!((4_000..=5_000).contains(&left), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_function_is_passed_on_and_keeps_its_environment() {
    let bench = Bench::of(function()).await;
    let pid = bench.pid().await;
    let error = bench.error(json!({ "do": "error" })).await;
    assert_eq!(error, ("TestError".to_owned(), "a test was asked to fail".to_owned()));
    let (_, message) = bench.error(json!({ "do": "panic" })).await;
    assert!(message.contains("a test was asked to panic"), "{message}");
    assert_eq!(bench.pid().await, pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_fails_its_event_alone() {
    let bench = Bench::of(function()).await;
    let pid = bench.pid().await;
    let error = bench.error(json!({ "do": "exit", "n": 1 })).await;
    assert_eq!(error, ("Runtime.ExitError".to_owned(), "Error: Runtime exited with error: exit status 1".to_owned()));
    let error = bench.error(json!({ "do": "exit", "n": 0 })).await;
    assert_eq!(error.1, "Error: Runtime exited without providing a reason");
    let error = bench.error(json!({ "do": "abort" })).await;
    assert_eq!(error.1, "Error: Runtime exited with error: signal: aborted");
    assert_ne!(bench.pid().await, pid);
    assert!(bench.logged.text().contains("Status: error\tError Type: Runtime.ExitError"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_is_killed_at_work_is_told_as_lambda_tells_it() {
    let bench = Bench::of(function()).await;
    bench.pid().await;
    let error = bench.error(json!({ "do": "sleep", "n": 4_000 }));
    let kill = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!bench.functions.kill_environment("host.shop-tested.2"));
        assert!(bench.functions.kill_environment("host.shop-tested.1"));
    };
    let (error, ()) = tokio::join!(error, kill);
    assert_eq!(error.1, "Error: Runtime exited with error: signal: killed");
    assert!(!bench.functions.kill_environment("host.shop-tested.1"), "it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_an_idle_environment_is_killed() {
    let bench = Bench::of(function()).await;
    for _ in 0..20 {
        let pid = bench.pid().await;
        kill_process(Pid::from_raw(pid).unwrap(), KernelSignal::KILL).unwrap();
        // Not even at once, unless the kernel has not closed its connection yet.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_ne!(bench.pid().await, pid);
    }
    assert!(bench.logged.text().contains("signal: killed while it had nothing to do"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_takes_too_long_ends_its_environment() {
    let bench = Bench::of(model::Function { timeout: Duration::from_millis(500), ..function() }).await;
    let pid = bench.pid().await;
    let begun = Instant::now();
    let error = bench.error(json!({ "do": "sleep", "n": 4_000 })).await;
    assert_eq!(error, ("Sandbox.Timedout".to_owned(), "Error: Task timed out after 0.50 seconds".to_owned()));
    assert!(begun.elapsed() < Duration::from_millis(3_900));
    assert!(!is_alive(pid));
    assert_ne!(bench.pid().await, pid);
    assert!(bench.logged.text().contains("\tStatus: timeout\t"));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_function_has_the_memory_it_was_given_and_no_more() {
    let bench = Bench::of(function()).await;
    assert_eq!(bench.invoke(json!({ "do": "allocate", "n": 90 })).await.unwrap()["sum"], 90 * 1024 * 1024);
    let error = bench.error(json!({ "do": "allocate", "n": 200 })).await;
    assert_eq!(error, ("Runtime.ExitError".to_owned(), "Error: Runtime exited with error: signal: killed".to_owned()));
    let log = bench.logged.text();
    assert!(log.contains("memory allocation of 209715200 bytes failed"), "{log}");
    let used = log.split("Max Memory Used: ").nth(1).unwrap().split(' ').next().unwrap();
    assert!((90..128).contains(&used.parse::<u32>().unwrap()), "{used}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_environment_does_nothing_between_events() {
    let bench = Bench::with(&stack(function()), true, Arc::new(Nothing)).await;
    let pid = pid_of(&bench.invoke(json!({ "do": "work on" })).await.unwrap());
    eventually(|| state(pid) == "T").await;
    assert_eq!(bench.pid().await, pid);
    eventually(|| state(pid) == "T").await;
    kill_process(Pid::from_raw(pid).unwrap(), KernelSignal::KILL).unwrap();
    eventually(|| !is_alive(pid)).await;
    assert_ne!(bench.pid().await, pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_init_is_tried_twice_and_fails_the_event() {
    let environment = BTreeMap::from([("INIT".to_owned(), "exit".to_owned())]);
    let bench = Bench::of(model::Function { environment, ..function() }).await;
    let error = bench.error(json!({ "do": "echo" })).await;
    assert_eq!(error, ("Runtime.ExitError".to_owned(), "Error: Runtime exited with error: exit status 3".to_owned()));
    let log = bench.logged.text();
    assert_eq!(log.matches("init gives up").count(), 2, "{log}");
    assert_eq!(log.matches("INIT_REPORT").count(), 1, "{log}");
    assert!(log.contains("Phase: init\tStatus: error\tError Type: Runtime.ExitError"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_init_that_takes_too_long_is_tried_again_within_the_functions_time() {
    let environment = BTreeMap::from([("INIT".to_owned(), "sleep".to_owned())]);
    let timeout = Duration::from_millis(300);
    let bench = Bench::of(model::Function { environment, timeout, ..function() }).await;
    let begun = Instant::now();
    let error = bench.error(json!({ "do": "echo" })).await;
    assert_eq!(error, ("Sandbox.Timedout".to_owned(), "Error: Task timed out after 0.30 seconds".to_owned()));
    assert!(begun.elapsed() >= Duration::from_millis(10_300), "{:?}", begun.elapsed());
    let log = bench.logged.text();
    assert!(log.contains("INIT_REPORT Init Duration: 10"), "{log}");
    assert!(log.contains("Phase: init\tStatus: timeout"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_that_cannot_run_fails_the_event() {
    let bench = Bench::of(function()).await;
    fs::remove_file(bench.folder().join("shop-tested/bootstrap")).unwrap();
    let (error_type, message) = bench.error(json!({ "do": "echo" })).await;
    assert_eq!(error_type, "Runtime.InvalidEntrypoint");
    assert!(message.contains("shop-tested/bootstrap cannot be started: No such file"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_events_than_reserved_concurrency_are_throttled() {
    let bench = Bench::of(model::Function { reserved_concurrency: Some(2), ..function() }).await;
    let answers = join_all((0..5).map(|_| bench.invoke(json!({ "do": "sleep", "n": 200 })))).await;
    let throttled = answers.iter().filter(|answer| **answer == Err(InvokeError::Throttled)).count();
    assert_eq!(throttled, 3);
    bench.pid().await;

    let bench = Bench::of(model::Function { reserved_concurrency: Some(0), ..function() }).await;
    assert_eq!(bench.invoke(json!({ "do": "echo" })).await, Err(InvokeError::Throttled));
    assert_eq!(bench.functions.invoke("Other", vec![]).await, Err(InvokeError::Unknown("Other".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_answers_have_a_limit() {
    let bench = Bench::of(function()).await;
    let event = format!("\"{}\"", "x".repeat(PAYLOAD_BYTES_MAX - 1));
    let Err(InvokeError::Function(error)) = bench.functions.invoke("Tested", event.into_bytes()).await else {
        panic!("too large");
    };
    assert_eq!(error["errorType"], "RequestEntityTooLargeException");
    let answer = bench.invoke(json!({ "do": "answer", "n": PAYLOAD_BYTES_MAX - 2 })).await.unwrap();
    assert_eq!(answer.as_str().unwrap().len(), PAYLOAD_BYTES_MAX - 2);
    let error = bench.error(json!({ "do": "answer", "n": PAYLOAD_BYTES_MAX - 1 })).await;
    assert_eq!(error.0, "Function.ResponseSizeTooLarge");
    bench.pid().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_has_its_functions_name_and_precedes_the_report() {
    let bench = Bench::of(function()).await;
    bench.invoke(json!({ "do": "print", "n": 20_000 })).await.unwrap();
    bench.functions.stop().await;
    let log = bench.logged.text();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[..2], ["shop-tested | to standard output", "shop-tested | to standard error"]);
    assert_eq!(lines[2].len(), "shop-tested | ".len() + 100_000);
    assert!(lines[3].starts_with("shop-tested | REPORT RequestId: "), "{}", lines[3]);
    assert!(lines[3].contains("Memory Size: 128 MB\tMax Memory Used: "), "{}", lines[3]);
    assert!(lines[3].contains("\tInit Duration: "), "{}", lines[3]);
    assert_eq!(lines[4], "shop-tested | without an end");
}

#[tokio::test(flavor = "multi_thread")]
async fn invocations_are_counted_with_what_they_used() {
    let bench = Bench::of(function()).await;
    bench.invoke(json!({ "do": "spin", "n": 200 })).await.unwrap();
    bench.error(json!({ "do": "error" })).await;
    bench.error(json!({ "do": "exit", "n": 1 })).await;
    let counted = bench.counters.snapshot(Vec::new()).invocations;
    let [line] = &counted[..] else { panic!("{counted:?}") };
    assert_eq!(line.function, "shop-tested");
    assert_eq!((line.count, line.errors, line.cold_starts), (3, 2, 1));
    assert!(line.duration_ms >= 200.0 && line.init_ms > 0.0, "{line:?}");
    if cfg!(target_os = "linux") {
        // How much of its time a process gets depends on what else the machine does.
        assert!((10.0..=line.duration_ms).contains(&line.cpu_ms), "{line:?}");
        assert!((1_024..131_072).contains(&line.memory_kib_max), "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_called_bootstrap() {
    let bench = Bench::of(function()).await;
    let pid = bench.pid().await;
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim(), "bootstrap");
}

/// Environments die at any moment; every event is answered all the same.
#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_answered_while_environments_are_killed() {
    let bench = Bench::of(model::Function { reserved_concurrency: Some(6), ..function() }).await;
    let (answered, failed, throttled) = (Mutex::new(0), Mutex::new(0), Mutex::new(0));
    let lane = async |number: u64| {
        for n in 0..60 {
            match bench.invoke(json!({ "do": "sleep", "n": (n + number) % 5 })).await {
                Ok(_) => *locked(&answered) += 1,
                Err(InvokeError::Throttled) => *locked(&throttled) += 1,
                Err(InvokeError::Function(error)) if error["errorType"] == "Runtime.ExitError" => {
                    *locked(&failed) += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
    };
    let killer = async {
        for number in 1..40 {
            bench.functions.kill_environment(&format!("host.shop-tested.{number}"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let lanes = join_all((0..8).map(lane));
    tokio::time::timeout(Duration::from_secs(60), futures::future::join(lanes, killer)).await.unwrap();
    let (answered, failed, throttled) = (*locked(&answered), *locked(&failed), *locked(&throttled));
    assert_eq!(answered + failed + throttled, 480);
    assert!(answered > 100, "{answered} answered, {failed} failed, {throttled} throttled");
    bench.functions.stop().await;
}

/// Prints what the machinery costs; run it with `--ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a check"]
async fn measure() {
    let bench = Bench::of(function()).await;
    let mut cold = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let pid = bench.pid().await;
        cold.push(begun.elapsed());
        kill_process(Pid::from_raw(pid).unwrap(), KernelSignal::KILL).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cold.sort_unstable();
    bench.pid().await;
    const WARM: u32 = 5_000;
    let begun = Instant::now();
    for _ in 0..WARM {
        bench.functions.invoke("Tested", br#"{"do":"echo"}"#.to_vec()).await.unwrap();
    }
    let one = begun.elapsed();
    let begun = Instant::now();
    let lane = || async {
        for _ in 0..WARM / 4 {
            bench.functions.invoke("Tested", br#"{"do":"echo"}"#.to_vec()).await.unwrap();
        }
    };
    tokio::join!(lane(), lane(), lane(), lane());
    let four = begun.elapsed();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let memory = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let rate = |took: Duration| u128::from(WARM) * 1_000_000 / took.as_micros();
    eprintln!(
        "cold: median {:?}, worst {:?}; warm: {:?} each, {}/s one after the other, {}/s four at once; {memory}",
        cold[cold.len() / 2],
        cold.last().unwrap(),
        one / WARM,
        rate(one),
        rate(four),
    );
}
