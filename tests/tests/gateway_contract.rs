//! The gateway adapter against two gateways: our simulator, and localstripe, which nobody here wrote.
//!
//! The cases are the same for both. Where localstripe differs from Stripe, [`Deviations`] says how and the test holds
//! it to that, so that a newer localstripe that has caught up is noticed. `docs/gateway.md` lists the differences.
//!
//! `FLORIN_LOCALSTRIPE` is the path of the command `localstripe` in a Python environment with
//! `tests/contract/requirements.txt`; `./scripts/test` makes one and sets it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use florin_domain::card::{Card, CardInput, Mode};
use florin_gateway::{
    CODE_PAYMENT_METHOD_DELETED, Charge, ChargeRequest, Gateway, GatewayError, RefundRequest, StripeGateway,
};
use florin_gateway_simulator::{Simulator, router};
use florin_platform::clock::Clock;
use florin_store::gateway::GatewayTable;
use florin_testing::dynamo::Dynamo;

const API_KEY: &str = "sk_test_contract";
const APPROVED: &str = "4242424242424242";

/// A gateway under test.
struct Subject {
    url: String,
    /// A card that is tokenised and then declined, and our code for it.
    declined: (&'static str, &'static str),
    /// A key that is refused.
    wrong_key: &'static str,
    deviations: Deviations,
}

/// What a gateway does not do as Stripe does.
#[derive(Default)]
struct Deviations {
    /// Forgets `Idempotency-Key`: a repeated charge is a second charge.
    forgets_keys: bool,
    /// Refuses `created` in a listing.
    refuses_created: bool,
    /// Lists the oldest first.
    lists_oldest_first: bool,
    /// Refunds more than was charged.
    refunds_too_much: bool,
    /// Refuses a description.
    refuses_description: bool,
    /// Charges a card that is not attached any number of times, for any customer, and an attached one without its own.
    forgets_attachment: bool,
    /// Takes only card numbers of 16 digits, and has no card errors when tokenising.
    takes_16_digits_only: bool,
}

impl Subject {
    fn gateway(&self) -> StripeGateway {
        self.gateway_with(API_KEY)
    }

    fn gateway_with(&self, key: &str) -> StripeGateway {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        StripeGateway::new(http, &self.url, key.to_owned().into())
    }
}

fn card(number: &str) -> Card {
    let cvv = if number.len() == 15 { "1234" } else { "123" };
    let input = CardInput {
        number: number.to_owned(),
        expiry: "12/30".to_owned(),
        cvv: cvv.to_owned(),
        holder_name: "Ada Obi".to_owned(),
    };
    Card::check(&input, "", Mode::Test, Clock::System.now()).unwrap()
}

fn request<'a>(payment_id: &'a str, token: &'a str, key: &'a str) -> ChargeRequest<'a> {
    ChargeRequest { payment_id, token, customer: None, amount: 10_000, currency: "NGN", description: None, key }
}

async fn charge(gateway: &StripeGateway, number: &str, payment_id: &str) -> Result<Charge, GatewayError> {
    let token = gateway.tokenise(&card(number), &format!("{payment_id}/tokenise")).await.unwrap().token;
    gateway.charge(&request(payment_id, &token, &format!("{payment_id}/charge"))).await
}

/// Every case, in one go: they share the charges.
async fn keeps_the_contract(subject: &Subject) {
    let gateway = subject.gateway();
    gateway.warm().await;
    let since = Clock::System.now().seconds();
    tokenises(subject, &gateway).await;
    let paid = charge(&gateway, APPROVED, "pay_paid").await.unwrap();
    assert!(paid.reference.starts_with("pi_"), "{paid:?}");
    declines(subject, &gateway).await;
    replays(subject, &gateway).await;
    describes(subject, &gateway).await;
    stores(subject, &gateway).await;
    finds(subject, &gateway, &paid, since).await;
    refunds(subject, &gateway, &paid).await;
    refuses_strangers(subject, &gateway).await;
}

async fn tokenises(subject: &Subject, gateway: &StripeGateway) {
    let first = gateway.tokenise(&card(APPROVED), "token-1").await.unwrap();
    let other = gateway.tokenise(&card(APPROVED), "token-2").await.unwrap();
    assert!(first.fingerprint.is_some() && first.fingerprint == other.fingerprint);
    let different = gateway.tokenise(&card(subject.declined.0), "token-4").await.unwrap();
    assert!(different.fingerprint.is_some() && first.fingerprint != different.fingerprint);
    let (first, other) = (first.token, other.token);
    assert!(first.starts_with("pm_") && first != other);
    let again = gateway.tokenise(&card(APPROVED), "token-1").await.unwrap().token;
    assert_eq!(again != first, subject.deviations.forgets_keys);
    let amex = gateway.tokenise(&card("378282246310005"), "token-3").await;
    if subject.deviations.takes_16_digits_only {
        assert!(matches!(amex, Err(GatewayError::Rejected { .. })), "{amex:?}");
    } else {
        assert!(amex.unwrap().token.starts_with("pm_"));
    }
}

async fn declines(subject: &Subject, gateway: &StripeGateway) {
    let (number, expected) = subject.declined;
    match charge(gateway, number, "pay_declined").await {
        Err(GatewayError::Declined { code, message, reference }) => {
            assert_eq!(code, expected);
            assert!(!message.is_empty() && reference.is_some());
        }
        other => panic!("{other:?}"),
    }
}

async fn replays(subject: &Subject, gateway: &StripeGateway) {
    let token = gateway.tokenise(&card(APPROVED), "token-replay").await.unwrap().token;
    let first = gateway.charge(&request("pay_replay", &token, "replay/charge")).await.unwrap();
    let again = gateway.charge(&request("pay_replay", &token, "replay/charge")).await.unwrap();
    assert_eq!(again != first, subject.deviations.forgets_keys);
    let other = gateway.charge(&request("pay_other", &token, "replay/charge")).await;
    if subject.deviations.forgets_keys {
        other.unwrap();
    } else {
        assert!(matches!(other, Err(GatewayError::Rejected { .. })), "{other:?}");
    }
}

async fn describes(subject: &Subject, gateway: &StripeGateway) {
    let token = gateway.tokenise(&card(APPROVED), "token-describe").await.unwrap().token;
    let request = request("pay_described", &token, "describe/charge");
    let described = gateway.charge(&ChargeRequest { description: Some("Order 17"), ..request }).await;
    if subject.deviations.refuses_description {
        assert!(matches!(described, Err(GatewayError::Rejected { .. })), "{described:?}");
    } else {
        described.unwrap();
    }
}

async fn stores(subject: &Subject, gateway: &StripeGateway) {
    let (token, customer) = reusable(gateway, "pm_stored").await;
    let (_, other) = reusable(gateway, "pm_other").await;
    assert!(customer.starts_with("cus_") && customer != other, "{customer}");
    let pay = async |payment: &str, token: &str, customer: Option<&str>| {
        let key = format!("{payment}/charge");
        gateway.charge(&ChargeRequest { customer, ..request(payment, token, &key) }).await
    };
    for payment in ["pay_stored_1", "pay_stored_2"] {
        assert!(pay(payment, &token, Some(&customer)).await.unwrap().reference.starts_with("pi_"));
    }
    let strict = !subject.deviations.forgets_attachment;
    let is_deleted = |answer: &Result<Charge, GatewayError>| matches!(answer, Err(GatewayError::Declined { code, .. }) if code == CODE_PAYMENT_METHOD_DELETED);
    let is_rejected = |answer: &Result<Charge, GatewayError>| matches!(answer, Err(GatewayError::Rejected { .. }));
    assert_eq!(is_rejected(&pay("pay_without", &token, None).await), strict);
    assert_eq!(is_deleted(&pay("pay_for_other", &token, Some(&other)).await), strict);
    let once = gateway.tokenise(&card(APPROVED), "once/tokenise").await.unwrap().token;
    pay("pay_once", &once, None).await.unwrap();
    assert_eq!(is_rejected(&pay("pay_twice", &once, None).await), strict);
    assert_eq!(gateway.attach(&once, "pm_once", "once/attach").await.is_err(), strict);

    for key in ["detach-1", "detach-1", "detach-2"] {
        gateway.detach(&token, key).await.unwrap();
    }
    gateway.detach("pm_unknown", "detach-3").await.unwrap();
    assert_eq!(is_deleted(&pay("pay_detached", &token, Some(&customer)).await), strict);
    assert!(is_deleted(&pay("pay_nobody", "pm_unknown", Some(&customer)).await));
}

/// A card that may be charged again and again.
async fn reusable(gateway: &StripeGateway, name: &str) -> (String, String) {
    let token = gateway.tokenise(&card(APPROVED), name).await.unwrap().token;
    let customer = gateway.attach(&token, name, &format!("{name}/attach")).await.unwrap();
    (token, customer)
}

async fn finds(subject: &Subject, gateway: &StripeGateway, paid: &Charge, since: i64) {
    let found = gateway.find_charge("pay_paid", since).await;
    if subject.deviations.refuses_created {
        assert!(matches!(found, Err(GatewayError::Rejected { .. })), "{found:?}");
        return;
    }
    assert_eq!(found.unwrap().as_ref(), Some(paid));
    assert_eq!(gateway.find_charge("pay_declined", since).await.unwrap(), None);
    assert_eq!(gateway.find_charge("pay_never", since).await.unwrap(), None);
    // More than a page further on, from either end.
    let (token, customer) = reusable(gateway, "token-many").await;
    for number in 0..110 {
        let (payment, key) = (format!("pay_many_{number}"), format!("many/{number}"));
        let charge = ChargeRequest { customer: Some(&customer), ..request(&payment, &token, &key) };
        gateway.charge(&charge).await.unwrap();
    }
    assert_eq!(gateway.find_charge("pay_paid", since).await.unwrap().as_ref(), Some(paid));
    assert!(gateway.find_charge("pay_many_109", since).await.unwrap().is_some());
    assert_eq!(gateway.find_charge("pay_never", since).await.unwrap(), None);
    let url = format!("{}/v1/payment_intents?limit=100", subject.url);
    let page = reqwest::Client::new().get(url).bearer_auth(API_KEY).send().await.unwrap().text().await.unwrap();
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let first = page["data"][0]["metadata"]["payment_id"].as_str().unwrap();
    assert_eq!(first == "pay_paid", subject.deviations.lists_oldest_first, "{first}");
}

async fn refunds(subject: &Subject, gateway: &StripeGateway, paid: &Charge) {
    let refund = async |refund_id: &str, amount: i64| {
        let (reference, key) = (paid.reference.as_str(), format!("{refund_id}/refund"));
        gateway.refund(&RefundRequest { refund_id, reference, amount, key: &key }).await
    };
    let find = async |refund_id: &str| gateway.find_refund(&paid.reference, refund_id).await.unwrap();
    assert_eq!(find("re_part").await, None);
    let part = refund("re_part", 4_000).await.unwrap();
    assert!(part.starts_with("re_"));
    assert_eq!(find("re_part").await.as_ref(), Some(&part));
    assert_eq!(find("re_never").await, None);
    let too_much = refund("re_too_much", 6_001).await;
    if subject.deviations.refunds_too_much {
        assert!(too_much.unwrap().starts_with("re_"));
    } else {
        assert!(matches!(too_much, Err(GatewayError::Declined { code, .. }) if code == "refund_too_large"));
        assert_eq!(find("re_too_much").await, None);
        let rest = refund("re_rest", 6_000).await.unwrap();
        assert_eq!(refund("re_rest", 6_000).await.unwrap(), rest);
        assert_eq!(find("re_rest").await, Some(rest));
        let nothing_left = refund("re_nothing_left", 1).await;
        assert!(matches!(nothing_left, Err(GatewayError::Declined { code, .. }) if code == "already_refunded"));
    }
    // Another charge's refunds are not this one's.
    let other = charge(gateway, APPROVED, "pay_refunded_too").await.unwrap();
    assert_eq!(gateway.find_refund(&other.reference, "re_part").await.unwrap(), None);
    let unknown =
        RefundRequest { refund_id: "re_unknown", reference: "pi_unknown", amount: 1, key: "re_unknown/refund" };
    let unknown = gateway.refund(&unknown).await;
    assert!(matches!(unknown, Err(GatewayError::Rejected { .. })), "{unknown:?}");
}

async fn refuses_strangers(subject: &Subject, gateway: &StripeGateway) {
    let stranger = subject.gateway_with(subject.wrong_key);
    let refused = stranger.tokenise(&card(APPROVED), "token-stranger").await;
    assert!(matches!(refused, Err(GatewayError::Unavailable { .. })), "{refused:?}");
    let refused = stranger.charge(&request("pay_stranger", "pm_unknown", "stranger/charge")).await;
    assert!(matches!(refused, Err(GatewayError::Unavailable { .. })), "{refused:?}");
    let unknown = gateway.charge(&request("pay_unknown", "pm_unknown", "unknown/charge")).await;
    assert!(matches!(unknown, Err(GatewayError::Rejected { .. })), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulator_keeps_the_contract() {
    let dynamo = Dynamo::start().await;
    let table = GatewayTable::new(dynamo.client.clone(), "gateway".to_owned());
    let simulator = Arc::new(Simulator::new(table, API_KEY.to_owned().into(), Clock::System));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router(simulator)).await.unwrap() });
    let subject = Subject {
        url,
        declined: ("4000000000000000", "insufficient_funds"),
        wrong_key: "sk_test_wrong",
        deviations: Deviations::default(),
    };
    keeps_the_contract(&subject).await;
    // Product.md's test cards, as the adapter sees them.
    let gateway = subject.gateway();
    let invalid = charge(&gateway, "4000000000001111", "pay_1111").await;
    assert!(matches!(invalid, Err(GatewayError::Declined { code, .. }) if code == "invalid_card"));
    let unavailable = charge(&gateway, "4000000000009999", "pay_9999").await;
    assert!(matches!(unavailable, Err(GatewayError::Unavailable { .. })), "{unavailable:?}");
    // The nasty one: longer than the adapter waits, and yet charged once.
    let late = charge(&gateway, "4000000000000119", "pay_0119").await;
    assert!(matches!(late, Err(GatewayError::Unknown { .. })), "{late:?}");
    let found = gateway.find_charge("pay_0119", Clock::System.now().seconds()).await.unwrap().unwrap();
    let again = charge(&gateway, "4000000000000119", "pay_0119").await.unwrap();
    assert_eq!(again, found);
    // The simulator's own cards: a refund that fails, and one whose answer comes too late and which is yet made once.
    let failing = charge(&gateway, "4000000000005126", "pay_5126").await.unwrap();
    let slow = charge(&gateway, "4000000000005134", "pay_5134").await.unwrap();
    let refund = |reference, refund_id, key| RefundRequest { refund_id, reference, amount: 4_000, key };
    let request = refund(&failing.reference, "re_5126", "re_5126/refund");
    for failed in [gateway.refund(&request).await.err(), gateway.find_refund(&failing.reference, "re_5126").await.err()]
    {
        assert!(matches!(&failed, Some(GatewayError::Declined { code, .. }) if code == "refund_failed"), "{failed:?}");
    }
    let request = refund(&slow.reference, "re_5134", "re_5134/refund");
    let late = gateway.refund(&request).await;
    assert!(matches!(late, Err(GatewayError::Unknown { .. })), "{late:?}");
    let found = gateway.find_refund(&slow.reference, "re_5134").await.unwrap();
    assert_eq!(found, Some(gateway.refund(&request).await.unwrap()));
}

fn localstripe(url: String) -> Subject {
    Subject {
        url,
        // Stripe's card that can be saved and not charged. localstripe approves ….0002, which Stripe declines.
        declined: ("4000000000000341", "card_declined"),
        // localstripe lets every key in that begins with sk_.
        wrong_key: "pk_test_wrong",
        deviations: Deviations {
            forgets_keys: true,
            refuses_created: true,
            lists_oldest_first: true,
            refunds_too_much: true,
            refuses_description: true,
            forgets_attachment: true,
            takes_16_digits_only: true,
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn localstripe_keeps_the_contract_but_for_what_it_lacks() {
    let Some(server) = LocalStripe::start(&[]) else { return };
    keeps_the_contract(&localstripe(server.url.clone())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn charges_are_found_in_the_lists_of_localstripe() {
    let Some(server) = LocalStripe::start(&["--without-created-filter"]) else { return };
    let mut subject = localstripe(server.url.clone());
    subject.deviations.refuses_created = false;
    keeps_the_contract(&subject).await;
}

/// localstripe on a free port of 127.0.0.1; ends with the value, and with this process however that ends.
struct LocalStripe {
    child: Child,
    url: String,
}

impl LocalStripe {
    /// `None` where there is none to be had and nobody insists.
    fn start(options: &[&str]) -> Option<Self> {
        let Some(command) = std::env::var_os("FLORIN_LOCALSTRIPE") else {
            let how = "set FLORIN_LOCALSTRIPE to the command `localstripe` of a Python environment with \
                       tests/contract/requirements.txt, or run ./scripts/test, which does";
            assert!(std::env::var_os("CI").is_none(), "localstripe is missing: {how}");
            // Past the capture of the test runner: a test that did nothing must not look like one that passed.
            let mut visibly = std::io::stderr();
            writeln!(visibly, "SKIPPED, localstripe is missing: {how}").unwrap();
            return None;
        };
        let python = PathBuf::from(command).with_file_name("python3");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/contract/start_localstripe.py");
        let mut child = Command::new(&python)
            .arg(script)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", python.display()));
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        assert!(!port.is_empty(), "localstripe does not start; is tests/contract/requirements.txt installed?");
        Some(Self { child, url: format!("http://127.0.0.1:{}", port.trim()) })
    }
}

impl Drop for LocalStripe {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed by then.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}
