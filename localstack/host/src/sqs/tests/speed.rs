//! How fast, in process: `cargo test --release -p florin-host --lib sqs::tests::speed -- --ignored --nocapture`.

use super::*;

/// Messages of a run.
const MESSAGES: usize = 100_000;
/// Senders and receivers at once.
const TASKS: usize = 64;

fn print(what: &str, begin: Instant) {
    let took_us = u64::try_from(begin.elapsed().as_micros()).unwrap().max(1);
    println!("{what}: {} a second", u64::try_from(MESSAGES).unwrap() * 1_000_000 / took_us);
}

async fn in_tasks<F: Future<Output = ()> + Send + 'static>(task: impl Fn() -> F) {
    futures::future::join_all((0..TASKS).map(|_| tokio::spawn(task())))
        .await
        .into_iter()
        .for_each(|done| done.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn messages_a_second() {
    let (_folder, queues) = with_queues(&["a"]).await;
    let message = || vec![("a".to_owned(), NewMessage { body: "x".repeat(500), ..NewMessage::default() })];
    let begin = Instant::now();
    in_tasks(|| {
        let queues = queues.clone();
        async move {
            for _ in 0..MESSAGES / TASKS {
                queues.send_all(message()).await.unwrap();
            }
        }
    })
    .await;
    print("sends of one message, each answered after its commit", begin);

    let begin = Instant::now();
    in_tasks(|| {
        let queues = queues.clone();
        async move {
            loop {
                let received = queues.receive("a", 10, Duration::ZERO, None).await.unwrap();
                if received.is_empty() {
                    return;
                }
                for message in received {
                    queues.delete("a", &[message.receipt_handle]).await.unwrap();
                }
            }
        }
    })
    .await;
    print("receives of ten, deletes of one", begin);
    assert_eq!(queues.counts("a").unwrap(), Counts::default());
}
