//! Every answer that a gateway can give, from a server of a few lines that gives exactly it, and what the adapter makes
//! of it. The bytes go over a real socket, so that time-outs and cut answers are real ones.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use florin_domain::{
    card::{Card, CardInput, Mode},
    time::Timestamp,
};
use florin_gateway::{Charge, ChargeRequest, Gateway, GatewayError, RefundRequest, StripeGateway};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const API_KEY: &str = "sk_test_0123456789abcdef";
const NUMBER: &str = "4242424242424242";
const TOKEN: &str = "pm_1abcdef";
const TIMEOUT: Duration = Duration::from_millis(400);

/// What the server does with a request.
#[derive(Clone)]
enum Reply {
    /// Status and JSON.
    Json(u16, String),
    /// These bytes, then the connection ends.
    Raw(Vec<u8>),
    /// Reads the request and says nothing.
    Silence,
}

/// A gateway that replies in the given order, the last reply for ever, and remembers what it was asked.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

impl Server {
    async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(0));
        let (seen, opened) = (requests.clone(), connections.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *opened.lock().unwrap() += 1;
                tokio::spawn(serve(stream, replies.clone(), seen.clone()));
            }
        });
        Self { url, requests, connections }
    }

    async fn json(status: u16, body: &str) -> Self {
        Self::start(vec![Reply::Json(status, body.to_owned())]).await
    }

    fn gateway(&self) -> StripeGateway {
        gateway(&self.url)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, replies: Vec<Reply>, seen: Arc<Mutex<Vec<String>>>) {
    while let Some(request) = read_request(&mut stream).await {
        let turn = {
            let mut seen = seen.lock().unwrap();
            seen.push(request);
            seen.len() - 1
        };
        match &replies[turn.min(replies.len() - 1)] {
            Reply::Json(status, body) => {
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nrequest-id: req_7\r\ncontent-length: {length}\r\n\r\n"
                );
                stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            }
            Reply::Raw(bytes) => {
                // The client may hang up before it has read all of it, which is the point of some tests.
                let _sent = stream.write_all(bytes).await;
                return;
            }
            Reply::Silence => tokio::time::sleep(Duration::from_secs(30)).await,
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        let read = stream.read(&mut chunk).await.ok()?;
        if read == 0 {
            return None;
        }
        bytes.extend_from_slice(&chunk[..read]);
    }
}

fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none())
}

fn gateway(url: &str) -> StripeGateway {
    gateway_by(client().build().unwrap(), url)
}

fn gateway_by(http: reqwest::Client, url: &str) -> StripeGateway {
    StripeGateway::new(http, &format!("{url}/"), API_KEY.to_owned().into()).with_timeout(TIMEOUT)
}

fn card() -> Card {
    let input = CardInput {
        number: "4242 4242 4242 4242".into(),
        expiry: "07/30".into(),
        cvv: "987".into(),
        holder_name: "Ada Obi".into(),
    };
    Card::check(&input, "", Mode::Test, Timestamp::from_ms(1_795_251_600_000)).unwrap()
}

fn request() -> ChargeRequest<'static> {
    ChargeRequest {
        payment_id: "pay_1",
        token: TOKEN,
        customer: None,
        amount: 10_000,
        currency: "NGN",
        description: Some("Order 17 & more"),
        key: "pay_1/charge",
    }
}

fn refund() -> RefundRequest<'static> {
    RefundRequest { refund_id: "re_ours", reference: "pi_1", amount: 250, key: "re_ours/refund" }
}

/// The class of an error, and that it gives nothing away.
fn class(error: &GatewayError) -> String {
    let text = format!("{error} {error:?}");
    for secret in [API_KEY, "sk_test", NUMBER, "4242424242", "987", TOKEN] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    match error {
        GatewayError::Declined { code, .. } => code.clone(),
        GatewayError::Unreachable { .. } => "unreachable".into(),
        GatewayError::Unavailable { .. } => "unavailable".into(),
        GatewayError::Unknown { .. } => "unknown".into(),
        GatewayError::Rejected { .. } => "rejected".into(),
    }
}

async fn charge_class(reply: Reply) -> String {
    let server = Server::start(vec![reply]).await;
    class(&server.gateway().charge(&request()).await.unwrap_err())
}

fn error(kind: &str, code: &str, decline_code: &str) -> String {
    format!(
        r#"{{"error":{{"type":"{kind}","code":"{code}","decline_code":"{decline_code}",
        "message":"{NUMBER} with 4242 4242 4242 4242 and {API_KEY} and {TOKEN}","payment_intent":{{"id":"pi_9"}}}}}}"#
    )
}

#[tokio::test]
async fn tokenise_sends_the_card_as_a_form_and_answers_the_token() {
    let server =
        Server::json(200, r#"{"id":"pm_1","object":"payment_method","card":{"fingerprint":"Xt5EWLLDS7FJjR1c"}}"#).await;
    let token = server.gateway().tokenise(&card(), "key-1").await.unwrap();
    assert_eq!((token.token.as_str(), token.fingerprint.as_deref()), ("pm_1", Some("Xt5EWLLDS7FJjR1c")));
    assert!(!format!("{token:?}").contains("pm_1"));
    let sent = &server.requests()[0];
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/payment_methods HTTP/1.1"), "{head}");
    for header in [
        "idempotency-key: key-1",
        "authorization: Bearer sk_test_0123456789abcdef",
        "stripe-version: 2025-09-30.clover",
        "content-type: application/x-www-form-urlencoded",
    ] {
        assert!(head.contains(header), "{header} in {head}");
    }
    assert_eq!(
        body,
        "type=card&card%5Bnumber%5D=4242424242424242&card%5Bexp_month%5D=7&card%5Bexp_year%5D=2030\
         &card%5Bcvc%5D=987&billing_details%5Bname%5D=Ada+Obi"
    );
}

#[tokio::test]
async fn charge_confirms_at_once_and_names_the_payment() {
    let server = Server::json(200, r#"{"id":"pi_1","status":"succeeded","metadata":{"payment_id":"pay_1"}}"#).await;
    let charge = server.gateway().charge(&request()).await.unwrap();
    assert_eq!(charge, Charge { reference: "pi_1".into() });
    let sent = &server.requests()[0];
    assert!(sent.starts_with("POST /v1/payment_intents ") && sent.contains("idempotency-key: pay_1/charge"), "{sent}");
    assert!(
        sent.ends_with(
            "amount=10000&currency=ngn&payment_method=pm_1abcdef&payment_method_types%5B%5D=card&confirm=true\
             &metadata%5Bpayment_id%5D=pay_1&description=Order+17+%26+more"
        ),
        "{sent}"
    );
    assert!(!format!("{:?}", request()).contains(TOKEN));
}

/// A charge with a stored card.
fn stored() -> ChargeRequest<'static> {
    ChargeRequest { customer: Some("cus_1"), ..request() }
}

const METHOD: &str = r#"{"id":"pm_1abcdef","object":"payment_method","customer":"cus_1"}"#;
const DETACHED: &str = r#"{"id":"pm_1abcdef","object":"payment_method","customer":null}"#;

#[tokio::test]
async fn a_card_is_attached_to_a_customer_of_its_own() {
    let server = Server::json(200, r#"{"id":"cus_1","object":"customer"}"#).await;
    assert_eq!(server.gateway().attach(TOKEN, "pm_ours", "k").await.unwrap(), "cus_1");
    let sent = &server.requests()[0];
    assert!(sent.starts_with("POST /v1/customers ") && sent.contains("idempotency-key: k\r\n"), "{sent}");
    assert!(sent.ends_with("payment_method=pm_1abcdef&metadata%5Bpayment_method_id%5D=pm_ours"), "{sent}");
    let server = Server::json(402, &error("card_error", "card_declined", "do_not_honor")).await;
    assert_eq!(class(&server.gateway().attach(TOKEN, "pm_ours", "k").await.unwrap_err()), "card_declined");
}

#[tokio::test]
async fn a_charge_with_a_stored_card_names_its_customer() {
    let server = Server::json(200, r#"{"id":"pi_1","status":"succeeded"}"#).await;
    assert_eq!(server.gateway().charge(&stored()).await.unwrap().reference, "pi_1");
    let sent = &server.requests()[0];
    assert!(sent.ends_with("&customer=cus_1&off_session=true"), "{sent}");
}

#[tokio::test]
async fn a_refused_charge_is_looked_into_when_its_card_may_be_detached() {
    let refused = |status| Reply::Json(status, error("invalid_request_error", "", ""));
    let found = |body: &str| Reply::Json(200, body.to_owned());
    let other = METHOD.replace("cus_1", "cus_2");
    for (replies, expected) in [
        (vec![refused(400), found(METHOD)], "rejected"),
        (vec![refused(400), found(DETACHED)], "payment_method_deleted"),
        (vec![refused(400), found(&other)], "payment_method_deleted"),
        (vec![refused(404), refused(404)], "payment_method_deleted"),
        (vec![refused(400), refused(503)], "unavailable"),
        // The key stands for another request, which may have been granted.
        (vec![Reply::Json(400, error("idempotency_error", "", "")), found(DETACHED)], "rejected"),
        (vec![Reply::Json(500, error("api_error", "", "")), found(DETACHED)], "unknown"),
        (vec![Reply::Json(402, error("card_error", "expired_card", "")), found(DETACHED)], "expired_card"),
    ] {
        let server = Server::start(replies).await;
        assert_eq!(class(&server.gateway().charge(&stored()).await.unwrap_err()), expected);
    }
    // A card that was never stored is nobody's to delete.
    let server = Server::start(vec![refused(400), found(DETACHED)]).await;
    assert_eq!(class(&server.gateway().charge(&request()).await.unwrap_err()), "rejected");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn detaching_what_is_detached_changes_nothing() {
    let refused = |status| Reply::Json(status, error("invalid_request_error", "", ""));
    let found = |body: &str| Reply::Json(200, body.to_owned());
    for (replies, expected) in [
        (vec![found(DETACHED)], None),
        (vec![refused(400), found(DETACHED)], None),
        (vec![refused(404), refused(404)], None),
        (vec![refused(400), found(METHOD)], Some("rejected")),
        (vec![Reply::Json(503, error("api_error", "", ""))], Some("unavailable")),
        // A 404 of somebody on the way says nothing of the card.
        (vec![Reply::Json(404, "no such page".to_owned())], Some("unavailable")),
    ] {
        let server = Server::start(replies).await;
        let answer = server.gateway().detach(TOKEN, "pm_ours/detach").await;
        assert_eq!(answer.err().map(|error| class(&error)).as_deref(), expected);
        let sent = &server.requests()[0];
        assert!(sent.starts_with("POST /v1/payment_methods/pm_1abcdef/detach "), "{sent}");
        assert!(sent.contains("idempotency-key: pm_ours/detach"), "{sent}");
    }
    let server = Server::json(200, DETACHED).await;
    for path in ["", "../payment_intents", "pm_1?x", "pm 1"] {
        assert_eq!(class(&server.gateway().detach(path, "k").await.unwrap_err()), "rejected", "{path}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_replayed_result_reads_like_the_first() {
    let reply = "HTTP/1.1 200 OK\r\nidempotent-replayed: true\r\ncontent-length: 34\r\n\r\n{\"id\":\"pi_1\",\"status\":\"succeeded\"}";
    let server = Server::start(vec![Reply::Raw(reply.into())]).await;
    let charge = server.gateway().charge(&request()).await.unwrap();
    assert_eq!(charge.reference, "pi_1");
}

#[tokio::test]
async fn card_errors_are_declines_with_our_codes() {
    for (code, decline_code, ours) in [
        ("card_declined", "insufficient_funds", "insufficient_funds"),
        ("card_declined", "generic_decline", "card_declined"),
        ("card_declined", "stolen_card", "card_declined"),
        ("card_declined", "expired_card", "expired_card"),
        ("card_declined", "invalid_account", "invalid_card"),
        ("card_declined", "issuer_not_available", "gateway_error"),
        ("incorrect_number", "", "invalid_card"),
        ("invalid_number", "", "invalid_card"),
        ("invalid_expiry_year", "", "invalid_card"),
        ("expired_card", "", "expired_card"),
        ("incorrect_cvc", "incorrect_cvc", "incorrect_cvv"),
        ("authentication_required", "authentication_required", "authentication_required"),
        ("processing_error", "processing_error", "gateway_error"),
        ("something_new", "also_new", "card_declined"),
    ] {
        let server = Server::json(402, &error("card_error", code, decline_code)).await;
        let refused = server.gateway().charge(&request()).await.unwrap_err();
        assert_eq!(class(&refused), ours, "{code} {decline_code}");
        let GatewayError::Declined { reference, message, .. } = refused else { panic!("{refused:?}") };
        assert_eq!(reference.as_deref(), Some("pi_9"));
        // A reason such as a stolen card is not for the person who holds it.
        assert!(!message.is_empty() && !message.contains("stolen"), "{message}");
    }
}

#[tokio::test]
async fn a_decline_without_the_type_is_still_one() {
    // localstripe's shape.
    let body = r#"{"error":{"charge":"ch_1","code":"card_declined","message":"x","type":"invalid_request_error"}}"#;
    let server = Server::json(402, body).await;
    let refused = server.gateway().charge(&request()).await.unwrap_err();
    assert_eq!(class(&refused), "card_declined");
    // 402 is also what Stripe says to an account that may not send card numbers: that is our problem, not the card's.
    let raw_cards = r#"{"error":{"type":"invalid_request_error","message":"Sending credit card numbers directly to the Stripe API is generally unsafe."}}"#;
    assert_eq!(charge_class(Reply::Json(402, raw_cards.into())).await, "rejected");
}

#[tokio::test]
async fn the_status_of_a_payment_intent_decides() {
    let declined = r#"{"id":"pi_2","status":"requires_payment_method","last_payment_error":{"type":"card_error","code":"card_declined","decline_code":"insufficient_funds"}}"#;
    for (body, expected) in [
        (declined, "insufficient_funds"),
        (r#"{"id":"pi_2","status":"requires_payment_method"}"#, "card_declined"),
        (r#"{"id":"pi_2","status":"requires_action"}"#, "authentication_required"),
        (r#"{"id":"pi_2","status":"processing"}"#, "unknown"),
        (r#"{"id":"pi_2","status":"requires_capture"}"#, "rejected"),
        (r#"{"id":"pi_2","status":"canceled"}"#, "rejected"),
    ] {
        assert_eq!(charge_class(Reply::Json(200, body.into())).await, expected, "{body}");
    }
    let server = Server::json(200, declined).await;
    let GatewayError::Declined { reference, .. } = server.gateway().charge(&request()).await.unwrap_err() else {
        panic!("not declined")
    };
    assert_eq!(reference.as_deref(), Some("pi_2"));
}

#[tokio::test]
async fn other_statuses_say_whether_to_try_again() {
    for (status, kind, code, expected) in [
        (400, "invalid_request_error", "parameter_missing", "rejected"),
        (400, "idempotency_error", "", "rejected"),
        (401, "invalid_request_error", "", "unavailable"),
        (403, "invalid_request_error", "", "unavailable"),
        (404, "invalid_request_error", "resource_missing", "rejected"),
        (409, "idempotency_error", "idempotency_key_in_use", "unknown"),
        (409, "invalid_request_error", "lock_timeout", "unavailable"),
        (424, "api_error", "", "unknown"),
        (429, "invalid_request_error", "rate_limit", "unavailable"),
        (429, "invalid_request_error", "lock_timeout", "unavailable"),
        (500, "api_error", "", "unknown"),
        (502, "api_error", "", "unknown"),
        (503, "api_error", "", "unavailable"),
        (504, "api_error", "", "unknown"),
    ] {
        let got = charge_class(Reply::Json(status, error(kind, code, ""))).await;
        assert_eq!(got, expected, "{status} {code}");
    }
}

#[tokio::test]
async fn strangers_on_the_way_are_not_believed_that_nothing_happened() {
    for (status, expected) in [
        (200, "unknown"),
        (301, "unavailable"),
        (307, "unavailable"),
        (400, "unavailable"),
        (404, "unavailable"),
        (408, "unknown"),
        (429, "unavailable"),
        (500, "unknown"),
        (502, "unknown"),
        (503, "unknown"),
        (504, "unknown"),
    ] {
        let html = "<html><body>hello</body></html>".to_owned();
        assert_eq!(charge_class(Reply::Json(status, html)).await, expected, "{status} html");
        if status != 200 {
            let json = r#"{"message":"Service Unavailable"}"#.to_owned();
            assert_eq!(charge_class(Reply::Json(status, json)).await, expected, "{status} json");
        }
    }
    assert_eq!(charge_class(Reply::Json(200, "{}".into())).await, "unknown");
    assert_eq!(charge_class(Reply::Raw(b"nonsense\r\n\r\n".to_vec())).await, "unknown");
}

#[tokio::test]
async fn a_silent_gateway_is_unknown_after_the_time_out() {
    let started = std::time::Instant::now();
    assert_eq!(charge_class(Reply::Silence).await, "unknown");
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\":".to_vec();
    assert!(started.elapsed() >= TIMEOUT && started.elapsed() < TIMEOUT * 5);
    // The answer begins and then the connection ends.
    assert_eq!(charge_class(Reply::Raw(head)).await, "unknown");
    // The connection ends without an answer.
    assert_eq!(charge_class(Reply::Raw(Vec::new())).await, "unknown");
}

#[tokio::test]
async fn where_there_is_no_connection_the_gateway_was_not_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    // And: no such name; nobody who speaks TLS.
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let deaf_url = format!("https://{}", deaf.local_addr().unwrap());
    tokio::spawn(async move { while deaf.accept().await.is_ok() {} });
    let nameless = client().dns_resolver(NoNames).build().unwrap();
    for gateway in [gateway(&url), gateway(&deaf_url), gateway_by(nameless, "http://gateway.example")] {
        gateway.warm().await;
        let refused = [
            gateway.tokenise(&card(), "k").await.unwrap_err(),
            gateway.charge(&request()).await.unwrap_err(),
            gateway.find_charge("pay_1", 0).await.unwrap_err(),
            gateway.refund(&refund()).await.unwrap_err(),
            gateway.find_refund("pi_1", "re_ours").await.unwrap_err(),
        ];
        for refused in refused {
            assert_eq!(class(&refused), "unreachable");
            assert!(refused.is_retryable());
        }
    }
}

/// Knows no name.
struct NoNames;

impl reqwest::dns::Resolve for NoNames {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async { Err("no such name".into()) })
    }
}

#[tokio::test]
async fn a_connection_that_is_not_there_in_time_was_not_there() {
    // A listener whose queue is full lets nobody in, and says nothing.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(TIMEOUT, TcpStream::connect(address)).await {
        queued.push(stream);
    }
    let url = format!("http://{address}");
    let hasty = gateway_by(client().connect_timeout(TIMEOUT / 4).build().unwrap(), &url);
    assert_eq!(class(&hasty.charge(&request()).await.unwrap_err()), "unreachable");
    // The time-out of the whole request does not say how far it got.
    assert_eq!(class(&gateway(&url).charge(&request()).await.unwrap_err()), "unknown");
}

#[tokio::test]
async fn a_connection_that_dies_after_the_request_was_written_is_not_one_that_never_was() {
    // Given a connection in use, which the gateway closes having read the next request.
    let paid = Reply::Json(200, r#"{"id":"pi_1","status":"succeeded"}"#.into());
    let server = Server::start(vec![paid, Reply::Raw(Vec::new())]).await;
    let gateway = server.gateway();
    gateway.charge(&request()).await.unwrap();
    assert_eq!(class(&gateway.charge(&request()).await.unwrap_err()), "unknown");
    assert_eq!(*server.connections.lock().unwrap(), 1);
    assert_eq!(server.requests().len(), 2);
    // And one that resets instead of closing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        stream.set_zero_linger().unwrap();
    });
    assert_eq!(class(&self::gateway(&url).charge(&request()).await.unwrap_err()), "unknown");
}

#[tokio::test]
async fn a_base_url_that_is_none_is_our_own_mistake() {
    let refused = gateway("not a url").charge(&request()).await.unwrap_err();
    assert_eq!(class(&refused), "rejected");
    assert!(!refused.is_retryable());
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let announced = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n{}".to_vec();
    assert_eq!(charge_class(Reply::Raw(announced)).await, "unknown");
    let mut unannounced = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    unannounced.resize(5 * 1024 * 1024, b' ');
    let server = Server::start(vec![Reply::Raw(unannounced)]).await;
    let gateway = server.gateway().with_timeout(Duration::from_secs(20));
    let refused = gateway.charge(&request()).await.unwrap_err();
    assert!(refused.to_string().contains("more than 4194304 bytes"), "{refused}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_a_card_in_the_hands() {
    let target = Server::json(200, r#"{"id":"pm_1"}"#).await;
    let redirect = format!("HTTP/1.1 307 X\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", target.url);
    let server = Server::start(vec![Reply::Raw(redirect.into_bytes())]).await;
    let refused = server.gateway().tokenise(&card(), "k").await.unwrap_err();
    assert_eq!(class(&refused), "unavailable");
    assert!(target.requests().is_empty());
}

#[tokio::test]
async fn a_card_that_cannot_be_tokenised_is_declined() {
    let server = Server::json(402, &error("card_error", "incorrect_number", "")).await;
    let refused = server.gateway().tokenise(&card(), "k").await.unwrap_err();
    assert_eq!(class(&refused), "invalid_card");
}

#[tokio::test]
async fn refunds_answer_their_reference_or_why_not() {
    let server = Server::json(200, r#"{"id":"re_1","object":"refund","status":"succeeded"}"#).await;
    assert_eq!(server.gateway().refund(&refund()).await.unwrap(), "re_1");
    let sent = &server.requests()[0];
    assert!(sent.starts_with("POST /v1/refunds ") && sent.contains("idempotency-key: re_ours/refund"), "{sent}");
    assert!(sent.ends_with("payment_intent=pi_1&amount=250&metadata%5Brefund_id%5D=re_ours"), "{sent}");
    for (body, expected) in [
        (r#"{"error":{"type":"invalid_request_error","code":"charge_already_refunded"}}"#, "already_refunded"),
        (
            r#"{"error":{"type":"invalid_request_error","param":"amount","message":"Refund amount ($2) is greater than unrefunded amount on charge ($1)"}}"#,
            "refund_too_large",
        ),
        (r#"{"error":{"type":"invalid_request_error","code":"charge_disputed"}}"#, "charge_disputed"),
        (r#"{"error":{"type":"invalid_request_error","code":"refund_disputed_payment"}}"#, "charge_disputed"),
        (r#"{"error":{"type":"invalid_request_error","param":"amount","message":"Invalid integer"}}"#, "rejected"),
    ] {
        let server = Server::json(400, body).await;
        let refused = server.gateway().refund(&refund()).await.unwrap_err();
        assert_eq!(class(&refused), expected, "{body}");
    }
    for (status, expected) in [(429, "unavailable"), (503, "unavailable"), (409, "unknown"), (500, "unknown")] {
        let server = Server::json(status, &error("api_error", "", "")).await;
        assert_eq!(class(&server.gateway().refund(&refund()).await.unwrap_err()), expected, "{status}");
    }
    let silent = Server::start(vec![Reply::Silence]).await;
    assert_eq!(class(&silent.gateway().refund(&refund()).await.unwrap_err()), "unknown");
}

#[tokio::test]
async fn the_status_of_a_refund_decides() {
    let made = |answer: Result<String, GatewayError>| answer.unwrap_or_else(|error| class(&error));
    for (status, expected) in [
        (r#""succeeded""#, "re_1"),
        (r#""pending""#, "re_1"),
        (r#""failed""#, "refund_failed"),
        (r#""canceled""#, "refund_failed"),
        // There is a refund, whatever it is: neither made nor refused.
        (r#""requires_action""#, "unknown"),
        (r#""something_new""#, "unknown"),
        ("null", "unknown"),
    ] {
        let body = format!(r#"{{"id":"re_1","status":{status},"metadata":{{"refund_id":"re_ours"}}}}"#);
        let server = Server::json(200, &body).await;
        assert_eq!(made(server.gateway().refund(&refund()).await), expected, "{status}");
        let listed = Server::json(200, &format!(r#"{{"data":[{body}],"has_more":false}}"#)).await;
        let found = listed.gateway().find_refund("pi_1", "re_ours").await;
        assert_eq!(made(found.map(Option::unwrap)), expected, "{status}");
    }
    let server = Server::json(200, r#"{"id":"re_1","status":"failed"}"#).await;
    let GatewayError::Declined { reference, .. } = server.gateway().refund(&refund()).await.unwrap_err() else {
        panic!("not declined")
    };
    assert_eq!(reference.as_deref(), Some("re_1"));
}

/// A page of payment intents or refunds, each with its status and the id that it has from us.
fn page(items: &[(&str, &str, &str)], has_more: bool) -> Reply {
    let name = |id: &str| if id.starts_with("pi_") { "payment_id" } else { "refund_id" };
    let data: Vec<_> = items
        .iter()
        .map(|(id, status, ours)| {
            serde_json::json!({"id": id, "status": status, "metadata": {name(id): ours}, "extra": [1]})
        })
        .collect();
    Reply::Json(200, serde_json::json!({"object": "list", "data": data, "has_more": has_more}).to_string())
}

#[tokio::test]
async fn find_charge_pages_until_it_finds_the_payment() {
    let server = Server::start(vec![
        page(&[("pi_9", "succeeded", "pay_9"), ("pi_8", "requires_payment_method", "pay_1")], true),
        page(&[("pi_7", "succeeded", "pay_1"), ("pi_6", "succeeded", "pay_6")], true),
    ])
    .await;
    let found = server.gateway().find_charge("pay_1", 1_795_251_600).await.unwrap();
    assert_eq!(found.unwrap().reference, "pi_7");
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    // Five minutes earlier than asked, for clocks that differ.
    assert!(
        requests[0].starts_with("GET /v1/payment_intents?limit=100&created%5Bgte%5D=1795251300 "),
        "{}",
        requests[0]
    );
    assert!(requests[1].contains("&starting_after=pi_8 "), "{}", requests[1]);
}

#[tokio::test]
async fn find_charge_says_none_only_if_it_saw_everything() {
    let server = Server::start(vec![page(&[("pi_9", "succeeded", "pay_9")], false)]).await;
    assert_eq!(server.gateway().find_charge("pay_1", 0).await.unwrap(), None);
    let endless = Server::start(vec![page(&[("pi_9", "succeeded", "pay_9")], true)]).await;
    assert_eq!(class(&endless.gateway().find_charge("pay_1", 0).await.unwrap_err()), "unknown");
    assert_eq!(endless.requests().len(), 50);
    let working = Server::start(vec![page(&[("pi_9", "processing", "pay_1")], false)]).await;
    assert_eq!(class(&working.gateway().find_charge("pay_1", 0).await.unwrap_err()), "unknown");
    let declined = Server::start(vec![page(&[("pi_9", "requires_payment_method", "pay_1")], false)]).await;
    assert_eq!(declined.gateway().find_charge("pay_1", 0).await.unwrap(), None);
    let broken = Server::json(500, "{}").await;
    assert_eq!(class(&broken.gateway().find_charge("pay_1", 0).await.unwrap_err()), "unknown");
    let odd = Server::start(vec![page(&[], true)]).await;
    assert_eq!(class(&odd.gateway().find_charge("pay_1", 0).await.unwrap_err()), "unknown");
}

#[tokio::test]
async fn find_refund_pages_through_the_refunds_of_the_charge() {
    let server = Server::start(vec![
        page(&[("re_9", "succeeded", "re_theirs"), ("re_8", "failed", "re_ours")], true),
        page(&[("re_7", "pending", "re_ours")], true),
    ])
    .await;
    // The failed attempt does not hide the one that counts.
    let found = server.gateway().find_refund("pi_1", "re_ours").await.unwrap();
    assert_eq!(found.as_deref(), Some("re_7"));
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[0].starts_with("GET /v1/refunds?limit=100&payment_intent=pi_1 "), "{}", requests[0]);
    assert!(requests[1].contains("&starting_after=re_8 "), "{}", requests[1]);
}

#[tokio::test]
async fn find_refund_says_none_only_if_it_saw_everything() {
    let find = async |replies: Vec<Reply>| {
        let server = Server::start(replies).await;
        let found = server.gateway().find_refund("pi_1", "re_ours").await;
        (found.map_err(|error| class(&error)), server.requests().len())
    };
    let theirs = page(&[("re_9", "succeeded", "re_theirs")], false);
    assert_eq!(find(vec![theirs]).await, (Ok(None), 1));
    assert_eq!(find(vec![page(&[], false)]).await, (Ok(None), 1));
    let endless = page(&[("re_9", "succeeded", "re_theirs")], true);
    assert_eq!(find(vec![endless.clone()]).await, (Err("unknown".to_owned()), 50));
    assert_eq!(find(vec![endless, Reply::Json(503, "{}".into())]).await, (Err("unknown".to_owned()), 2));
    let (canceled, last) = (page(&[("re_9", "canceled", "re_ours")], true), page(&[], false));
    assert_eq!(find(vec![canceled, last]).await, (Err("refund_failed".to_owned()), 2));
}

#[tokio::test]
async fn a_warm_connection_is_used_by_the_charges_after_it() {
    let server = Server::json(200, r#"{"id":"pi_1","status":"succeeded"}"#).await;
    let gateway = server.gateway();
    gateway.warm().await;
    for _ in 0..3 {
        gateway.charge(&request()).await.unwrap();
    }
    assert_eq!(*server.connections.lock().unwrap(), 1);
}
