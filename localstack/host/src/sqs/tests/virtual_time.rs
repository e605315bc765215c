//! Rules of time, on the engine itself: nobody waits for a retention period.

use super::{handle::Handle, message::Taken, rows::Kept, *};

/// Begin of the test, in milliseconds since 1970.
const BEGIN_MS: u64 = 1_000_000;
const HOUR_MS: u64 = 3_600_000;

fn state() -> State {
    let mut state = State::new(place(), Kept::default(), BEGIN_MS);
    let retention = BTreeMap::from([("MessageRetentionPeriod".to_owned(), "3600".to_owned())]);
    state.create_queue("dead", &retention, BTreeMap::new(), BEGIN_MS).unwrap();
    let policy = json!({ "deadLetterTargetArn": arn("dead"), "maxReceiveCount": 1 }).to_string();
    let attributes = BTreeMap::from([
        ("RedrivePolicy".to_owned(), policy),
        ("MessageRetentionPeriod".to_owned(), "7200".to_owned()),
    ]);
    state.create_queue("a", &attributes, BTreeMap::new(), BEGIN_MS).unwrap();
    state
}

fn send_at(state: &mut State, body: &str, at_ms: u64) {
    let message = NewMessage { body: body.to_owned(), ..NewMessage::default() };
    state.send_all(vec![("a".to_owned(), message)], at_ms).unwrap();
}

fn take_at(state: &mut State, queue: &str, visibility_ms: u64, at_ms: u64) -> Vec<Taken> {
    let request = Receive {
        queue,
        max: 10,
        visibility_ms: Some(visibility_ms),
        fault: Some(DeliveryFault::default()),
        ticket: None,
        waits: false,
        is_short: true,
    };
    match state.receive(request, at_ms).unwrap() {
        Attempt::Taken(taken) => taken,
        other => panic!("{other:?}"),
    }
}

fn counts_at(state: &mut State, queue: &str, at_ms: u64) -> Counts {
    state.settle(queue, at_ms);
    state.queue(queue).unwrap().counts()
}

#[test]
fn messages_expire_counted_from_their_sending() {
    let mut state = state();
    send_at(&mut state, "1", BEGIN_MS);
    send_at(&mut state, "2", BEGIN_MS + 1);
    assert_eq!(counts_at(&mut state, "a", BEGIN_MS + 2 * HOUR_MS - 1).visible, 2);
    assert_eq!(counts_at(&mut state, "a", BEGIN_MS + 2 * HOUR_MS).visible, 1);
    let taken = take_at(&mut state, "a", 0, BEGIN_MS + 2 * HOUR_MS);
    assert_eq!(taken[0].content.body, "2");
}

#[test]
fn a_dead_letter_keeps_its_age() {
    let mut state = state();
    send_at(&mut state, "1", BEGIN_MS);
    take_at(&mut state, "a", 0, BEGIN_MS);
    assert!(take_at(&mut state, "a", 0, BEGIN_MS + HOUR_MS - 10).is_empty());
    assert_eq!(counts_at(&mut state, "dead", BEGIN_MS + HOUR_MS - 1).visible, 1);
    // An hour after it was sent, not after it died.
    assert_eq!(counts_at(&mut state, "dead", BEGIN_MS + HOUR_MS), Counts::default());
}

#[test]
fn a_message_is_hidden_for_twelve_hours_after_its_receive_at_most() {
    let mut state = State::new(place(), Kept::default(), BEGIN_MS);
    state.create_queue("a", &BTreeMap::new(), BTreeMap::new(), BEGIN_MS).unwrap();
    send_at(&mut state, "1", BEGIN_MS);
    let handle = take_at(&mut state, "a", 11 * HOUR_MS, BEGIN_MS)[0].handle;
    state.hide("a", handle, 6 * HOUR_MS, BEGIN_MS + 6 * HOUR_MS).unwrap();
    let error = state.hide("a", handle, 6 * HOUR_MS, BEGIN_MS + 6 * HOUR_MS + 1).unwrap_err();
    assert!(error.message.contains("43200"), "{error}");
    assert_eq!(counts_at(&mut state, "a", BEGIN_MS + 12 * HOUR_MS - 1).in_flight, 1);
    assert_eq!(counts_at(&mut state, "a", BEGIN_MS + 12 * HOUR_MS).visible, 1);
}

#[test]
fn a_purge_and_a_name_are_free_again_after_a_minute() {
    let mut state = state();
    state.purge("a", BEGIN_MS).unwrap();
    assert_eq!(state.purge("a", BEGIN_MS + 59_999).unwrap_err().code, "PurgeQueueInProgress");
    state.purge("a", BEGIN_MS + 60_000).unwrap();
    state.delete_queue("a", BEGIN_MS).unwrap();
    let none = BTreeMap::new();
    assert!(state.create_queue("a", &none, BTreeMap::new(), BEGIN_MS + 59_999).is_err());
    state.create_queue("a", &none, BTreeMap::new(), BEGIN_MS + 60_000).unwrap();
}

#[test]
fn a_message_that_comes_back_goes_behind_those_that_are_visible_for_longer() {
    let mut state = State::new(place(), Kept::default(), BEGIN_MS);
    state.create_queue("a", &BTreeMap::new(), BTreeMap::new(), BEGIN_MS).unwrap();
    send_at(&mut state, "1", BEGIN_MS);
    take_at(&mut state, "a", 1_000, BEGIN_MS);
    send_at(&mut state, "2", BEGIN_MS + 500);
    let taken = take_at(&mut state, "a", 1_000, BEGIN_MS + 2_000);
    assert_eq!(taken.iter().map(|taken| taken.content.body.as_str()).collect::<Vec<_>>(), ["2", "1"]);
}

#[test]
fn a_handle_of_a_receive_that_was_not_written_still_works() {
    // After a crash the engine may know less than the receiver: here it knows of no receive at all.
    let mut state = state();
    send_at(&mut state, "1", BEGIN_MS);
    let id = state.queue("a").unwrap().id;
    let sequence = state.queue("a").unwrap().ready().next().unwrap().0;
    let handle = Handle { queue: id, sequence, receive: 1, nonce: 5 };
    state.hide("a", handle, HOUR_MS, BEGIN_MS + 1).unwrap();
    assert_eq!(counts_at(&mut state, "a", BEGIN_MS + 2).in_flight, 1);
    state.delete("a", handle, BEGIN_MS + 3).unwrap();
    assert_eq!(counts_at(&mut state, "a", BEGIN_MS + 4), Counts::default());

    // But not over a receive that came after the crash and got the same number.
    send_at(&mut state, "2", BEGIN_MS + 5);
    let taken = take_at(&mut state, "a", HOUR_MS, BEGIN_MS + 6);
    let older = Handle { nonce: taken[0].handle.nonce ^ 1, ..taken[0].handle };
    state.delete("a", older, BEGIN_MS + 7).unwrap();
    assert_eq!(counts_at(&mut state, "a", BEGIN_MS + 8).in_flight, 1);
}

#[test]
fn a_number_is_never_used_again_even_if_the_clock_stands_still() {
    // Given a message that was received and deleted, and a restart within the same millisecond.
    let handle_of = |starts: u64| {
        let mut state = State::new(place(), Kept { starts, ..Kept::default() }, BEGIN_MS);
        state.create_queue("a", &BTreeMap::new(), BTreeMap::new(), BEGIN_MS).unwrap();
        send_at(&mut state, "1", BEGIN_MS);
        take_at(&mut state, "a", HOUR_MS, BEGIN_MS)[0].handle
    };
    let (before, after) = (handle_of(1), handle_of(2));
    // Then its handle fits no message of the new start.
    assert!(before.sequence < after.sequence && before.queue < after.queue);
}
