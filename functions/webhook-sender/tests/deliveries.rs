//! The webhook sender against a real receiver on loopback and an embedded DynamoDB.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a test may stop at the first surprise")]

mod common;

use std::{
    io::Write,
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use common::{Endless, Reply, TOTAL, World, event_to, payment_to, root, shop_secret};
use florin_domain::{
    effect::StepResult,
    event::Event,
    ids::RefundId,
    journal::{Failure, Step},
    payment::Payment,
    refund::{NewRefund, Refund},
    saga::{self, Command},
    webhook::{ATTEMPTS_MAX, DeliveryStatus, WAITS_MS, WebhookEndpoint},
};
use florin_platform::guard::Guard;
use florin_testing::build;
use florin_webhook_sender::ENDPOINTS_AGE_MS_MAX;

/// No message failed.
const NONE: [&str; 0] = [];

#[tokio::test]
async fn the_reference_library_verifies_what_is_sent() {
    let world = World::start().await;
    let event = world.event("1", "/hooks?token=1");
    assert_eq!(world.deliver(&[&event]).await, NONE);

    let requests = world.receiver.requests();
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    assert_eq!(request.path, "/hooks?token=1");
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("webhook-id"), event.id.as_str());
    assert_eq!(request.header("webhook-timestamp"), world.clock.now().seconds().to_string());
    assert!(request.header("user-agent").starts_with("Florin/"));
    assert!(request.verifies(&shop_secret()));
    assert!(!request.verifies(&root().webhook_secret("another owner", 1)));
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body["id"], event.id.as_str());
    assert_eq!(body["type"], "payment.completed");
    assert_eq!(body["timestamp"], event.time.to_string());
    assert_eq!(body["data"], serde_json::to_value(&event.data).unwrap());
    assert_eq!(world.own_delivery(&event).await.unwrap().status, DeliveryStatus::Delivered);
}

#[tokio::test]
async fn endpoints_and_the_payments_own_url_are_told_each_with_its_own_secret() {
    let world = World::start().await;
    let (a, b) = (world.endpoint("/a").await, world.endpoint("/b").await);
    let disabled = WebhookEndpoint { enabled: false, ..world.endpoint("/disabled").await };
    world.webhooks.put_endpoint(&disabled).await.unwrap();
    // The same URL twice is told twice: the secrets differ.
    let event = world.event("1", "/a");
    assert_eq!(world.deliver(&[&event]).await, NONE);
    assert_eq!(world.receiver.paths(), ["/a", "/a", "/b"]);
    let requests = world.receiver.requests();
    let secrets = [("/a", shop_secret())].into_iter();
    let secrets = secrets.chain(
        [("/a", a), ("/b", b)]
            .map(|(path, endpoint)| (path, root().webhook_secret(endpoint.id.as_str(), endpoint.secret_generation))),
    );
    for (path, secret) in secrets {
        let signed = requests.iter().filter(|request| request.verifies(&secret)).collect::<Vec<_>>();
        assert_eq!(signed.len(), 1, "each is signed with one secret");
        assert_eq!(signed[0].path, path);
        assert_eq!(signed[0].header("webhook-id"), event.id.as_str());
    }
}

#[tokio::test]
async fn a_batch_costs_one_read_and_a_delivery_one_write_unit() {
    let world = World::start().await;
    world.endpoint("/endpoint").await;
    let events: Vec<Event> = (0..10).map(|n| world.event(&n.to_string(), "/own")).collect();
    let batch = |events: &[Event]| build::batch(events.iter().map(build::body));
    let sender = world.sender();
    world.dynamo.meter.reset();
    assert!(sender.handle(batch(&events), None).await.unwrap().batch_item_failures.is_empty());
    let counts = world.dynamo.meter.counts();
    assert_eq!((counts.calls["BatchGetItem"], counts.calls["UpdateItem"], counts.calls["Query"]), (1, 20, 1));
    assert_eq!(counts.calls.len(), 3);
    assert_eq!(counts.write_units.into_iter().collect::<Vec<_>>(), [("webhooks".to_owned(), 20.0)]);
    assert_eq!(world.receiver.requests().len(), 20);
    assert_eq!(world.visibility.changes(), []);

    // The endpoints are remembered for a while, and then asked for again.
    world.clock.advance_ms(ENDPOINTS_AGE_MS_MAX - 1);
    world.dynamo.meter.reset();
    sender.handle(batch(&[world.event("10", "/own")]), None).await.unwrap();
    let counts = world.dynamo.meter.counts();
    assert_eq!((counts.calls["BatchGetItem"], counts.calls["UpdateItem"]), (1, 2));
    assert_eq!(counts.calls.get("Query"), None);
    world.clock.advance_ms(1);
    sender.handle(batch(&[world.event("11", "/own")]), None).await.unwrap();
    assert_eq!(world.dynamo.meter.counts().calls["Query"], 1);
}

#[tokio::test]
async fn a_failure_is_retried_when_it_is_due_and_not_before() {
    let world = World::start().await;
    let event = world.event("1", "/hooks");
    world.receiver.script([Reply::Status(500)]);
    assert_eq!(world.deliver(&[&event]).await, ["m0"]);
    assert_eq!(world.visibility.changes(), [("r0".to_owned(), 5)]);
    // The message came back too early, or as a duplicate: nothing is sent, and it is hidden for the rest.
    world.clock.advance_ms(2_000);
    assert_eq!(world.deliver(&[&event]).await, ["m0"]);
    assert_eq!(world.hidden(), 3);
    assert_eq!(world.receiver.requests().len(), 1);
    world.clock.advance_ms(3_000);
    assert_eq!(world.deliver(&[&event]).await, NONE);

    let requests = world.receiver.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    assert_ne!(requests[0].header("webhook-timestamp"), requests[1].header("webhook-timestamp"));
    assert!(requests.iter().all(|request| request.verifies(&shop_secret())));
    let delivery = world.own_delivery(&event).await.unwrap();
    assert_eq!((delivery.status, delivery.attempts), (DeliveryStatus::Delivered, 2));
    assert_eq!(world.own_results(&event).await, ["500", "200"]);
}

#[tokio::test]
async fn used_up_attempts_end_as_failed_and_not_as_a_dead_letter() {
    let world = World::start().await;
    let event = world.event("1", "/hooks");
    world.receiver.script(vec![Reply::Status(503); 20]);
    for wait in WAITS_MS {
        assert_eq!(world.deliver(&[&event]).await, ["m0"]);
        assert_eq!(i64::from(world.hidden()) * 1_000, wait);
        world.clock.advance_ms(wait);
    }
    assert_eq!(world.deliver(&[&event]).await, NONE);
    let delivery = world.own_delivery(&event).await.unwrap();
    assert_eq!((delivery.status, delivery.attempts), (DeliveryStatus::Failed, ATTEMPTS_MAX));
    assert_eq!(world.deliver(&[&event]).await, NONE, "it stays failed");
    assert_eq!(world.receiver.requests().len(), 7);
}

#[tokio::test]
async fn deliveries_that_failed_together_are_retried_together_and_others_not_again() {
    let world = World::start().await;
    for path in ["/a", "/b", "/c"] {
        world.endpoint(path).await;
    }
    let event = event_to("1", None);
    // Which of the three is asked first is open: one fails, one hangs until the time-out, one takes it.
    world.receiver.script([Reply::Status(500), Reply::Hang, Reply::Status(200)]);
    assert_eq!(world.deliver(&[&event]).await, ["m0"]);
    world.clock.advance_ms(i64::from(world.hidden()) * 1_000);
    assert_eq!(world.deliver(&[&event]).await, NONE);
    assert_eq!(world.receiver.requests().len(), 5, "what was delivered is not sent again");
}

#[tokio::test]
async fn a_message_that_comes_twice_is_sent_once() {
    let world = World::start().await;
    let event = world.event("1", "/hooks");
    assert_eq!(world.deliver(&[&event]).await, NONE);
    assert_eq!(world.deliver(&[&event]).await, NONE);
    assert_eq!(world.receiver.requests().len(), 1);
}

#[tokio::test]
async fn an_event_that_is_twice_in_a_batch_is_sent_once_and_both_messages_share_its_fate() {
    let world = World::start().await;
    let event = world.event("1", "/hooks");
    world.receiver.script([Reply::Status(500)]);
    assert_eq!(world.deliver(&[&event, &event]).await, ["m0", "m1"]);
    assert_eq!(world.visibility.changes(), [("r0".to_owned(), 5), ("r1".to_owned(), 5)]);
    assert_eq!(world.receiver.requests().len(), 1);
    world.clock.advance_ms(5_000);
    assert_eq!(world.deliver(&[&event, &event]).await, NONE);
    assert_eq!(world.receiver.requests().len(), 2);
}

#[tokio::test]
async fn a_sender_killed_between_send_and_record_sends_again_under_the_same_id() {
    let world = World::start().await;
    let event = world.event("1", "/hooks");
    world.receiver.script([Reply::Hang]);
    let events = [&event];
    tokio::select! {
        _ = world.deliver(&events) => unreachable!("the receiver does not answer"),
        () = world.receiver.got_one() => {}
    }
    assert_eq!(world.own_delivery(&event).await, None);
    assert_eq!(world.deliver(&[&event]).await, NONE);
    let ids: Vec<String> =
        world.receiver.requests().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    assert_eq!(ids, [event.id.as_str(), event.id.as_str()]);
}

#[tokio::test]
async fn an_attempt_that_could_not_be_recorded_is_made_again_under_the_same_id() {
    let world = World::start().await;
    let event = world.event("1", "/hooks");
    world.write_fault.set(true);
    assert_eq!(world.deliver(&[&event]).await, ["m0"]);
    assert_eq!(world.visibility.changes(), [], "it comes again when the queue's time-out ends");
    world.write_fault.set(false);
    assert_eq!(world.deliver(&[&event]).await, NONE);
    let requests = world.receiver.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    assert_eq!(world.own_delivery(&event).await.unwrap().attempts, 1);
}

#[tokio::test]
async fn redirects_are_failures_and_nobody_follows_them() {
    let world = World::start().await;
    let elsewhere = Endless::start("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"", Duration::from_secs(1)).await;
    for (place, status) in [301, 302, 303, 307, 308].into_iter().enumerate() {
        for (n, to) in [elsewhere.url(), "http://169.254.169.254/latest/meta-data/".to_owned()].into_iter().enumerate()
        {
            let event = world.event(&format!("{place}/{n}"), "/hooks");
            world.receiver.script([Reply::Redirect(status, to)]);
            assert_eq!(world.deliver(&[&event]).await, ["m0"]);
            assert_eq!(world.own_results(&event).await, [status.to_string()]);
        }
    }
    assert_eq!(elsewhere.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn forbidden_addresses_are_never_contacted_and_their_deliveries_are_over() {
    let mut world = World::start().await;
    world.guard = Guard::new(false);
    let internal = Endless::start("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"", Duration::from_secs(1)).await;
    let port = internal.address.port();
    for (place, (url, code)) in [
        (format!("https://127.0.0.1:{port}/"), "url_address_forbidden"),
        (format!("https://[::ffff:127.0.0.1]:{port}/"), "url_address_forbidden"),
        (format!("https://2130706433:{port}/"), "url_address_forbidden"),
        (format!("https://localhost:{port}/"), "url_address_forbidden"),
        (format!("http://127.0.0.1:{port}/"), "url_scheme_forbidden"),
        (format!("https://user:secret@127.0.0.1:{port}/"), "url_userinfo_forbidden"),
        ("https://169.254.169.254/latest/meta-data/".to_owned(), "url_address_forbidden"),
        ("https://[::ffff:169.254.169.254]/".to_owned(), "url_address_forbidden"),
        ("https://[fd00:ec2::254]/".to_owned(), "url_address_forbidden"),
        ("https://10.0.0.1/".to_owned(), "url_address_forbidden"),
        ("not a URL".to_owned(), "url_invalid"),
    ]
    .into_iter()
    .enumerate()
    {
        let event = event_to(&place.to_string(), Some(url.clone()));
        assert_eq!(world.deliver(&[&event]).await, NONE, "{url}");
        assert_eq!(world.own_delivery(&event).await.unwrap().status, DeliveryStatus::Failed, "{url}");
        assert_eq!(world.own_results(&event).await, [code], "{url}");
    }
    assert_eq!(internal.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn loopback_does_not_open_the_other_addresses() {
    let world = World::start().await;
    let event = event_to("1", Some("https://[::ffff:169.254.169.254]/".to_owned()));
    assert_eq!(world.deliver(&[&event]).await, NONE);
    assert_eq!(world.own_results(&event).await, ["url_address_forbidden"]);
}

#[tokio::test]
async fn silence_and_closed_doors_are_failures() {
    let world = World::start().await;
    let silent = world.event("silent", "/hooks");
    world.receiver.script([Reply::Hang]);
    assert_eq!(world.deliver(&[&silent]).await, ["m0"]);
    assert_eq!(world.own_results(&silent).await, ["timeout"]);
    // A port that was free a moment ago.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closed = event_to("closed", Some(format!("http://{closed}/")));
    assert_eq!(world.deliver(&[&closed]).await, ["m0"]);
    assert_eq!(world.own_results(&closed).await, ["connection_failed"]);
    let nonsense = Endless::start("SSH-2.0-OpenSSH_9.9\r\n", b"", Duration::from_secs(1)).await;
    let nonsense = event_to("nonsense", Some(nonsense.url()));
    assert_eq!(world.deliver(&[&nonsense]).await, ["m0"]);
    assert_eq!(world.own_results(&nonsense).await, ["no_answer"]);
}

#[tokio::test]
async fn headers_that_trickle_in_end_with_the_time_out() {
    let world = World::start().await;
    let loris = Endless::start("HTTP/1.1 200 OK\r\n", b"x-more: 1\r\n", Duration::from_millis(50)).await;
    let event = event_to("1", Some(loris.url()));
    let started = Instant::now();
    assert_eq!(world.deliver(&[&event]).await, ["m0"]);
    assert!((TOTAL..TOTAL * 3).contains(&started.elapsed()), "{:?}", started.elapsed());
    assert_eq!(world.own_results(&event).await, ["timeout"]);
}

#[tokio::test]
async fn an_endless_body_is_left_at_its_limit() {
    let mut world = World::start().await;
    world.total = Duration::from_secs(60);
    let endless = Endless::start(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1000000000000\r\n\r\n",
        &[b'x'; 1_024],
        Duration::from_micros(100),
    );
    let endless = endless.await;
    let event = event_to("1", Some(endless.url()));
    let started = Instant::now();
    assert_eq!(world.deliver(&[&event]).await, NONE, "the status was told");
    endless.gone.notified().await;
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    let written = endless.written.load(Ordering::SeqCst);
    assert!(written < 16 * 1024 * 1024, "{written} bytes were taken from it, most of them by the sockets' buffers");
    assert_eq!(world.own_results(&event).await, ["200"]);
}

#[tokio::test]
async fn a_body_that_never_comes_does_not_undo_its_status() {
    let world = World::start().await;
    let late = Endless::start("HTTP/1.1 204 No Content\r\n\r\n", b"", Duration::from_secs(1)).await;
    let stuck = Endless::start("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", b"", Duration::from_secs(1)).await;
    for (key, server) in [("late", late), ("stuck", stuck)] {
        assert_eq!(world.deliver(&[&event_to(key, Some(server.url()))]).await, NONE, "{key}");
    }
}

#[tokio::test]
async fn poison_and_bad_receivers_cost_the_others_nothing() {
    let world = World::start().await;
    let good = world.event("good", "/good");
    let refused = event_to("refused", Some("https://10.0.0.1/".to_owned()));
    let closed = event_to("closed", Some("http://127.0.0.1:1/".to_owned()));
    let initiated = Event::initiated(&build::payment(&build::merchant("shop").id, "new"), &build::correlation());
    let silent = event_to("nobody asked", None);
    let events = [&good, &refused, &closed, &initiated, &silent];
    let bodies = events.into_iter().map(build::body).chain(["poison".to_owned()]);
    assert_eq!(world.deliver_bodies(bodies).await, ["m2", "m5"]);
    assert_eq!(world.visibility.changes(), [("r2".to_owned(), 5), ("r5".to_owned(), 0)]);
    assert_eq!(world.receiver.paths(), ["/good"]);
}

#[tokio::test]
async fn holds_resumptions_and_refunds_are_told_to_endpoints_and_not_to_a_payments_own_url() {
    let world = World::start().await;
    let endpoint = world.endpoint("/endpoint").await;
    let secret = root().webhook_secret(endpoint.id.as_str(), endpoint.secret_generation);
    for (name, event) in untold_to_own_url(&world.receiver.url("/own")) {
        let before = world.receiver.requests().len();
        assert_eq!(world.deliver(&[&event]).await, NONE, "{name}");
        let requests = world.receiver.requests().split_off(before);
        let paths: Vec<&str> = requests.iter().map(|request| request.path.as_str()).collect();
        assert_eq!(paths, ["/endpoint"], "{name}");
        assert!(requests[0].verifies(&secret), "{name}");
        let body: serde_json::Value = serde_json::from_str(&requests[0].body).unwrap();
        assert_eq!(body["type"], name);
        assert_eq!(body["data"]["object"], name.split_once('.').unwrap().0);
        assert_eq!(body["data"], serde_json::to_value(&event.data).unwrap());
        assert_eq!(body["data"]["version"], event.sequence, "receivers sort by it");
    }
}

#[tokio::test]
async fn an_event_that_the_sweeper_publishes_once_more_is_sent_once() {
    let world = World::start().await;
    world.endpoint("/endpoint").await;
    let [(_, held), ..] = untold_to_own_url(&world.receiver.url("/own"));
    let again = Event { correlationid: held.subject.clone(), ..held.clone() };
    assert_eq!(world.deliver(&[&held]).await, NONE);
    assert_eq!(world.deliver(&[&again]).await, NONE);
    assert_eq!(world.receiver.requests().len(), 1);
}

#[tokio::test]
async fn a_cancellation_is_told_to_the_payments_own_url_too() {
    let world = World::start().await;
    world.endpoint("/endpoint").await;
    let payment = payment_to("1", Some(world.receiver.url("/own")));
    let Command::Store(canceled) = saga::cancel(&payment, build::START) else { unreachable!("it is pending") };
    assert_eq!(world.deliver(&[&build::ended(&canceled)]).await, NONE);
    assert_eq!(world.receiver.paths(), ["/endpoint", "/own"]);
}

#[tokio::test]
async fn nobody_is_told_that_something_was_initiated() {
    let world = World::start().await;
    world.endpoint("/endpoint").await;
    let payment = build::completed(&payment_to("1", Some(world.receiver.url("/own"))), 100);
    let events = [
        Event::initiated(&payment, &build::correlation()),
        Event::refund_initiated(&refund(&payment, "r"), &build::correlation()),
    ];
    assert_eq!(world.deliver(&events.iter().collect::<Vec<_>>()).await, NONE);
    assert!(world.receiver.requests().is_empty());
}

fn refund(payment: &Payment, key: &str) -> Refund {
    let all = NewRefund { amount: None, reason: Some("Broken".to_owned()), metadata: payment.metadata.clone() };
    Refund::create(RefundId::derive(&[key]), payment, all, build::START).unwrap()
}

/// The events of which a payment's own URL hears nothing, by type, for a payment that has one.
fn untold_to_own_url(own_url: &str) -> [(&'static str, Event); 4] {
    let correlation = build::correlation();
    let payment = payment_to("1", Some(own_url.to_owned()));
    let Command::Store(held) = saga::hold(&payment, build::START) else { unreachable!("it is pending") };
    let Command::Store(resumed) = saga::resume(&held, build::START) else { unreachable!("it is held") };
    let ended = |key, result| {
        let claimed = refund(&build::completed(&payment, 100), key).claim(Step::Refund, build::START);
        let (refund, _) = claimed.apply(result, build::START, 0, false);
        Event::refund_ended(&refund, &correlation).unwrap()
    };
    let refused = StepResult::Refused { failure: Failure::new("charge_disputed", "No."), reference: None };
    [
        ("payment.held", Event::held(&held, &correlation)),
        ("payment.resumed", Event::resumed(&resumed, &correlation)),
        ("refund.completed", ended("done", StepResult::Done { reference: "re_1".to_owned() })),
        ("refund.failed", ended("refused", refused)),
    ]
}

#[tokio::test]
async fn all_deliveries_of_a_batch_are_under_way_at_once() {
    let world = World::start().await;
    let events: Vec<Event> = (0..10).map(|n| world.event(&n.to_string(), "/hooks")).collect();
    world.receiver.script(vec![Reply::Hang; 10]);
    let started = Instant::now();
    assert_eq!(world.deliver(&events.iter().collect::<Vec<_>>()).await.len(), 10);
    assert!(started.elapsed() < TOTAL * 3, "{:?}", started.elapsed());
}

#[tokio::test]
async fn the_log_tells_who_and_what_but_no_query_and_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    let filter = tracing_subscriber::EnvFilter::new("warn,florin=trace");
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    // With one subscriber alone, what another test's thread logs first is switched off for all threads.
    let second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());

    let world = World::start().await;
    let endpoint = world.endpoint("/path-token?query-token").await;
    world.receiver.script([Reply::Hang, Reply::Status(500)]);
    let event = world.event("1", "/path-token?query-token");
    let closed = event_to("2", Some("http://127.0.0.1:1/path-token?query-token".to_owned()));
    world.deliver(&[&event, &closed]).await;
    world.write_fault.set(true);
    world.deliver(&[&world.event("3", "/path-token?query-token")]).await;
    drop((guard, second));

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let attempts: Vec<_> = lines.iter().filter(|line| line["message"] == "delivery attempted").collect();
    assert_eq!(attempts.len(), 6);
    for attempt in attempts {
        for name in ["subject", "merchant_id", "event_id", "correlation_id", "delivery_id", "host", "status", "result"]
        {
            assert!(attempt[name].is_string(), "{name} of {attempt}");
        }
        assert!(attempt["attempt"].is_number() && attempt["duration_ms"].is_number(), "{attempt}");
        assert_eq!(attempt["host"], "127.0.0.1");
    }
    let secret = |owner: &str, generation| root().webhook_secret(owner, generation).expose_text();
    for hidden in ["token", &shop_secret().expose_text()[6..], &secret(endpoint.id.as_str(), 3)[6..], "v1,"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
}

/// What was logged.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
