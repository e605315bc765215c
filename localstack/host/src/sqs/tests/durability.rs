//! What was answered survives `kill -9`.

use std::{
    collections::HashSet,
    env,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use rusqlite::Connection;

use super::*;

/// Where the child keeps its queues.
const FOLDER: &str = "SQS_DURABILITY_FOLDER";
/// Lines of the child before it is killed.
const LINES: usize = 4_000;
/// Tasks that send, and as many that receive and delete.
const TASKS: usize = 8;

/// What the child said.
#[derive(Default)]
struct Said {
    sent: HashSet<String>,
    /// Deletes that were begun; they may or may not be answered.
    begun: HashSet<String>,
    deleted: HashSet<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in the process that the test below kills"]
async fn child() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let queues = open(Path::new(&folder));
    for name in ["a", "b"] {
        ok(&queues, "CreateQueue", json!({ "QueueName": name })).await;
    }
    println!();
    let tasks = (0..TASKS).flat_map(|task| {
        let sender = tokio::spawn(send_for_ever(queues.clone(), task));
        [sender, tokio::spawn(delete_for_ever(queues.clone()))]
    });
    futures::future::join_all(tasks).await;
}

/// Sends pairs: one message to each queue, with the same body.
async fn send_for_ever(queues: Queues, task: usize) {
    for number in 0.. {
        let body = format!("{task}-{number}");
        let message = NewMessage { body: body.clone(), ..NewMessage::default() };
        queues.send_all(vec![("a".to_owned(), message.clone()), ("b".to_owned(), message)]).await.unwrap();
        println!("sent {body}");
    }
}

/// Deletes from the first queue only.
async fn delete_for_ever(queues: Queues) {
    loop {
        for message in queues.receive("a", 3, PATIENCE, None).await.unwrap() {
            println!("begun {}", message.body);
            queues.delete("a", &[message.receipt_handle]).await.unwrap();
            println!("deleted {}", message.body);
        }
    }
}

fn run_and_kill(folder: &Path) -> Said {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "sqs::tests::durability::child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = Said::default();
    for (count, line) in BufReader::new(child.stdout.take().unwrap()).lines().enumerate() {
        let line = line.unwrap();
        match line.split_once(' ') {
            Some(("sent", body)) => said.sent.insert(body.to_owned()),
            Some(("begun", body)) => said.begun.insert(body.to_owned()),
            Some(("deleted", body)) => said.deleted.insert(body.to_owned()),
            _ => false,
        };
        if count == LINES {
            // SIGKILL. What it had said already is still read.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(said.sent.len() > 100 && said.deleted.len() > 100, "{} {}", said.sent.len(), said.deleted.len());
    said
}

/// Bodies in a queue, as the file has them.
fn bodies_in_file(folder: &Path, queue: &str) -> HashSet<String> {
    let file = Connection::open(folder.join("queues.sqlite")).unwrap();
    let sql = "SELECT body FROM messages JOIN queues ON queues.id = queue WHERE record ->> 'name' = ?1";
    let mut statement = file.prepare(sql).unwrap();
    statement.query_map([queue], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    for round in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let said = run_and_kill(folder.path());
        let (a, b) = (bodies_in_file(folder.path(), "a"), bodies_in_file(folder.path(), "b"));

        // Nothing that was answered is missing, nothing that was deleted returns.
        let lost: Vec<_> = said.sent.iter().filter(|body| !b.contains(*body)).collect();
        assert_eq!(lost, Vec::<&String>::new(), "round {round}");
        let lost: Vec<_> = said.sent.iter().filter(|body| !a.contains(*body) && !said.begun.contains(*body)).collect();
        assert_eq!(lost, Vec::<&String>::new(), "round {round}");
        let returned: Vec<_> = said.deleted.intersection(&a).collect();
        assert_eq!(returned, Vec::<&String>::new(), "round {round}");
        // A pair is there or is not.
        assert_eq!(a.difference(&b).collect::<Vec<_>>(), Vec::<&String>::new());
        assert!(b.difference(&a).all(|body| said.begun.contains(body)), "half a pair");

        // And the host starts with it.
        let queues = open(folder.path());
        let counts = queues.counts("a").unwrap();
        assert_eq!(counts.visible + counts.in_flight, u64::try_from(a.len()).unwrap());
    }
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let (folder, queues) = with_dead_letters(3).await;
    ok(&queues, "TagQueue", json!({ "QueueUrl": url("source"), "Tags": { "k": "v" } })).await;
    let attributes = json!({ "n": { "DataType": "Binary", "BinaryValue": "AAEC" } });
    let input = json!({
        "QueueUrl": url("source"), "MessageBody": "one", "MessageAttributes": attributes,
        "MessageSystemAttributes": { "AWSTraceHeader": { "DataType": "String", "StringValue": "Root=1" } },
    });
    ok(&queues, "SendMessage", input).await;
    let late = json!({ "QueueUrl": url("source"), "MessageBody": "late", "DelaySeconds": 900 });
    ok(&queues, "SendMessage", late).await;
    receive(&queues, "source").await;
    let hidden = queues.receive("source", 1, Duration::ZERO, Some(Duration::from_secs(60))).await.unwrap();
    let all = json!({ "QueueUrl": url("source"), "AttributeNames": ["All"] });
    let before = ok(&queues, "GetQueueAttributes", all.clone()).await;
    drop(queues);

    let queues = open(folder.path());
    assert_eq!(ok(&queues, "GetQueueAttributes", all).await, before);
    assert_eq!(queues.counts("source").unwrap(), Counts { visible: 0, in_flight: 1, delayed: 1 });
    assert_eq!(ok(&queues, "ListQueueTags", json!({ "QueueUrl": url("source") })).await["Tags"]["k"], "v");

    // A handle from before still changes visibility; then the third receive shows that nothing was forgotten.
    let handle = &hidden[0].receipt_handle;
    let input = json!({ "QueueUrl": url("source"), "ReceiptHandle": handle, "VisibilityTimeout": 0 });
    ok(&queues, "ChangeMessageVisibility", input).await;
    let third = receive(&queues, "source").await;
    let expected = Received { receipt_handle: third[0].receipt_handle.clone(), receive_count: 3, ..hidden[0].clone() };
    assert_eq!(third, [expected]);
    drop(queues);

    // And one from before still deletes.
    let queues = open(folder.path());
    queues.delete("source", &[third[0].receipt_handle.clone()]).await.unwrap();
    drop(queues);
    let queues = open(folder.path());
    assert_eq!(queues.counts("source").unwrap(), Counts { visible: 0, in_flight: 0, delayed: 1 });
}

#[tokio::test]
async fn the_file_does_not_keep_what_was_deleted() {
    let (folder, queues) = with_queues(&["a"]).await;
    let message = NewMessage { body: "x".repeat(1_000), ..NewMessage::default() };
    for _ in 0..20 {
        queues.send_all(vec![("a".to_owned(), message.clone()); 1_000]).await.unwrap();
    }
    while queues.counts("a").unwrap().visible > 0 {
        let handles: Vec<String> = queues
            .receive("a", 1_000, Duration::ZERO, None)
            .await
            .unwrap()
            .into_iter()
            .map(|m| m.receipt_handle)
            .collect();
        queues.delete("a", &handles).await.unwrap();
    }
    drop(queues);
    let bytes = std::fs::metadata(folder.path().join("queues.sqlite")).unwrap().len();
    assert!(bytes < 8 * 1_024 * 1_024, "{bytes}");
}

#[tokio::test]
async fn one_process_has_the_file_and_another_layout_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queues.sqlite");
    let queues = open(folder.path());
    let error = format!("{:#}", Queues::open(&path, place()).unwrap_err());
    assert!(error.contains("locked"), "{error}");
    drop(queues);
    let file = Connection::open(&path).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    drop(file);
    let error = Queues::open(&path, place()).unwrap_err().to_string();
    assert!(error.contains("layout 99"), "{error}");
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_answered_any_more() {
    // Given a file without tables, so that every write fails.
    let state = State::new(place(), rows::Kept::default(), now_ms());
    let writer = Writer::start(Connection::open_in_memory().unwrap()).unwrap();
    let shared = Shared { place: place(), faults: RwLock::default(), state: Mutex::new(state), writer };
    let queues = Queues(Arc::new(shared));
    let error = refused(&queues, "CreateQueue", json!({ "QueueName": "a" })).await;
    assert_eq!((error.status.as_u16(), error.code.as_str()), (500, "InternalFailure"));
    assert!(error.message.contains("no such table"), "{error}");
    // The queue is in memory; nobody is told.
    assert_eq!(queues.receive("a", 1, Duration::ZERO, None).await.unwrap_err(), error);
    queues.flush().await;
}
