//! Faults of delivery.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

#[tokio::test]
async fn a_message_delivered_twice_comes_once_more_even_if_it_is_deleted_in_between() {
    let (_folder, queues) = with_queues(&["a"]).await;
    queues.set_delivery_faults(DeliveryFaults(Arc::new(|_, _| DeliveryFault {
        twice: true,
        ..DeliveryFault::default()
    })));
    send(&queues, "a", "x").await;
    let first = receive(&queues, "a").await;
    queues.delete("a", &[first[0].receipt_handle.clone()]).await.unwrap();
    let second = receive(&queues, "a").await;
    assert_eq!((second[0].id.as_str(), second[0].receive_count), (first[0].id.as_str(), 2));
    // Not for ever: the second delete counts.
    assert!(receive(&queues, "a").await.is_empty());
    queues.delete("a", &[second[0].receipt_handle.clone()]).await.unwrap();
    assert_eq!(queues.counts("a").unwrap(), Counts::default());
}

#[tokio::test]
async fn shuffled_messages_come_all_in_another_order() {
    let (_folder, queues) = with_queues(&["a"]).await;
    queues.set_delivery_faults(DeliveryFaults(Arc::new(|_, _| DeliveryFault {
        shuffled: true,
        ..DeliveryFault::default()
    })));
    let sent: Vec<String> = (0..200).map(|number| format!("{number:03}")).collect();
    let message = |body: &String| ("a".to_owned(), NewMessage { body: body.clone(), ..NewMessage::default() });
    queues.send_all(sent.iter().map(message).collect()).await.unwrap();
    let mut got = Vec::new();
    while got.len() < sent.len() {
        got.extend(receive(&queues, "a").await.into_iter().map(|message| message.body));
    }
    assert_ne!(got, sent);
    got.sort();
    assert_eq!(got, sent);
}

#[tokio::test]
async fn a_rule_is_asked_once_for_each_receive_that_finds_something() {
    let (_folder, queues) = with_queues(&["a", "b"]).await;
    let (asked, is_wrong) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let faults = {
        let (asked, is_wrong, queues) = (Arc::clone(&asked), Arc::clone(&is_wrong), queues.clone());
        DeliveryFaults(Arc::new(move |name, _| {
            asked.fetch_add(1, Ordering::SeqCst);
            // A rule may look at the queues: no lock is held.
            is_wrong.fetch_or(name != "a" || queues.counts("a").is_err(), Ordering::SeqCst);
            DeliveryFault::default()
        }))
    };
    queues.set_delivery_faults(faults);
    receive(&queues, "b").await;
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let (waited, ()) = tokio::join!(queues.receive("a", 1, PATIENCE, None), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        send(&queues, "a", "x").await;
    });
    assert_eq!(waited.unwrap().len(), 1);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(!is_wrong.load(Ordering::SeqCst));
    // The rule holds the queues; without this the file would stay open.
    queues.set_delivery_faults(DeliveryFaults::default());
}
