//! What a deployment changes and what it leaves alone.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_leaves_alone_what_stays_as_it_is() {
    let bench = Bench::of(function()).await;
    let first = bench.pid().await;
    bench.functions.deploy(&stack(function()), &|_| test_function()).await.unwrap();
    assert_eq!(bench.pid().await, first);

    // Other settings: the event at work finishes in the old environment, the next one gets a new one.
    let at_work = bench.invoke(json!({ "do": "sleep", "n": 300 }));
    let deploy = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let changed = model::Function { memory_mib: 256, ..function() };
        bench.functions.deploy(&stack(changed), &|_| test_function()).await.unwrap();
        assert_ne!(bench.pid().await, first);
    };
    let (answer, ()) = tokio::join!(at_work, deploy);
    assert_eq!(pid_of(&answer.unwrap()), first);
    eventually(|| !is_alive(first)).await;

    // Another binary.
    let second = bench.pid().await;
    let built = bench.folder().join("built");
    fs::copy(test_function(), &built).unwrap();
    let changed = stack(model::Function { memory_mib: 256, ..function() });
    bench.functions.deploy(&changed, &|_| bench.folder().join("built")).await.unwrap();
    assert_ne!(bench.pid().await, second);

    // No function.
    let third = bench.pid().await;
    bench.functions.deploy(&model::Stack::default(), &|_| test_function()).await.unwrap();
    assert_eq!(bench.invoke(json!({})).await, Err(InvokeError::Unknown("Tested".to_owned())));
    eventually(|| !is_alive(third)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_cannot_be_changes_nothing() {
    let bench = Bench::of(function()).await;
    let pid = bench.pid().await;
    let error = bench.functions.deploy(&stack(function()), &|name| Path::new("/nowhere").join(name)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "shop-tested: its binary test_function is not at /nowhere/test_function: build it first"
    );
    let schedule = model::Schedule {
        name: "nightly".to_owned(),
        arn: String::new(),
        function: "Tested".to_owned(),
        rate: model::Rate::Cron("0 0 L * ? *".to_owned()),
        input: None,
        enabled: true,
    };
    let wrong = model::Stack { schedules: vec![schedule], ..stack(model::Function { memory_mib: 512, ..function() }) };
    let error = bench.functions.deploy(&wrong, &|_| test_function()).await.unwrap_err();
    assert!(error.to_string().starts_with("the schedule nightly: L of the day of month"), "{error}");
    assert_eq!(bench.pid().await, pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_waits_for_what_is_at_work_and_leaves_no_process() {
    let bench = Bench::of(function()).await;
    bench.functions.warm_up();
    let pid = bench.pid().await;
    let at_work = bench.invoke(json!({ "do": "sleep", "n": 300 }));
    let stop = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.functions.stop().await;
        assert!(!is_alive(pid));
        assert!(bench.invoke(json!({ "do": "echo" })).await.is_err());
    };
    let (answer, ()) = tokio::join!(at_work, stop);
    assert_eq!(pid_of(&answer.unwrap()), pid);
    assert_eq!(fs::read_dir(bench.folder().join("shop-tested/tmp")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_feeds_a_process() {
    let folder = TempDir::new().unwrap();
    let place = model::Place {
        stack_name: "shop".to_owned(),
        region: "eu-central-1".to_owned(),
        endpoint: "http://127.0.0.1:1".to_owned(),
    };
    let queues = Queues::open(&folder.path().join("queues"), place.clone()).unwrap();
    let queue = model::Queue {
        name: "work".to_owned(),
        visibility_timeout: Duration::from_secs(1),
        retention: Duration::from_secs(600),
        delay: Duration::ZERO,
        receive_wait: Duration::ZERO,
        message_bytes_max: 1024,
        redrive: None,
        redrive_allow: model::RedriveAllow::All,
    };
    queues.declare(&queue).await.unwrap();
    let bodies = (0..200).map(|number| if number % 50 == 0 { "fail" } else { "do" });
    let message = |body: &str| ("work".to_owned(), NewMessage { body: body.to_owned(), ..NewMessage::default() });
    queues.send_all(bodies.map(message).collect()).await.unwrap();
    let mapping = model::QueueMapping {
        queue_arn: place.arn("sqs", "work"),
        function: "Tested".to_owned(),
        batch_size: 10,
        batching_window: Duration::ZERO,
        concurrency_max: Some(2),
        reports_item_failures: true,
        filters: Vec::new(),
        enabled: true,
    };
    let stack = model::Stack { queues: vec![queue], mappings: vec![mapping], ..stack(function()) };
    let bench = Bench::with(&stack, false, Arc::new(Polled::plain(queues.clone()))).await;
    let left = || {
        let counts = queues.counts("work").unwrap();
        counts.visible + counts.in_flight
    };
    eventually(|| left() == 4).await;

    // Without the mapping nothing is received any more.
    let without = model::Stack { mappings: Vec::new(), ..stack };
    bench.functions.deploy(&without, &|_| test_function()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(queues.counts("work").unwrap().visible, 4);
    bench.functions.stop().await;
}
