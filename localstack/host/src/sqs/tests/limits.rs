//! The limit of messages in flight.

use super::{queue::IN_FLIGHT_MAX, *};

#[tokio::test]
async fn short_polls_are_told_of_the_limit_and_long_ones_wait() {
    let (_folder, queues) = with_queues(&["a"]).await;
    let message = NewMessage { body: "x".to_owned(), ..NewMessage::default() };
    queues.send_all(vec![("a".to_owned(), message); IN_FLIGHT_MAX + 1]).await.unwrap();
    let mut last = Vec::new();
    for _ in 0..IN_FLIGHT_MAX / RECEIVE_MESSAGES_MAX {
        last = queues.receive("a", RECEIVE_MESSAGES_MAX, Duration::ZERO, None).await.unwrap();
        assert_eq!(last.len(), RECEIVE_MESSAGES_MAX);
    }
    assert_eq!(queues.receive("a", 1, Duration::ZERO, None).await.unwrap_err().code, "OverLimit");

    let mut waiting = Box::pin(queues.receive("a", 1, PATIENCE, None));
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    queues.delete("a", &[last[0].receipt_handle.clone()]).await.unwrap();
    assert_eq!(waiting.await.unwrap().len(), 1);
}
