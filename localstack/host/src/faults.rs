//! Faults on purpose, by rule: what may go wrong in AWS, made to happen here.
//!
//! A rule says which calls it is about (service, operation, resource, calling function), which of them it hits (the
//! nth, a share of them, for a time) and what then happens. Every firing is logged.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    counters::POLLER,
    deliveries::DeliveryFault,
    log::{self, HOST},
};

/// Rules at once.
pub const RULES_MAX: usize = 100;
/// The longest delay, in milliseconds.
pub const DELAY_MS_MAX: u64 = 900_000;

/// Which calls are hit, and what happens to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The service that is called.
    pub service: Service,
    /// Its operation, such as `PutItem`; `Invoke` of functions, the method of HTTP APIs. All when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// A part of the name of the table, queue, topic, function or API. All when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The calling function's name or a part of it; `poller` for event source mappings, `client` for everybody else.
    /// All when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Hits only the nth call that the rule is about, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// Hits this share of the calls, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Makes the share the same calls in every run.
    #[serde(default)]
    pub seed: u64,
    /// Hits so many times at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// Is in force for so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u64>,
    /// What happens.
    pub fault: Fault,
}

/// A service that rules know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Tables.
    Dynamodb,
    /// Queues.
    Sqs,
    /// Topics.
    Sns,
    /// HTTP APIs and function URLs.
    Http,
    /// Invocations of functions.
    Function,
}

impl Service {
    /// As rules and counters write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dynamodb => "dynamodb",
            Self::Sqs => "sqs",
            Self::Sns => "sns",
            Self::Http => "http",
            Self::Function => "function",
        }
    }
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The service refuses it as too many; nothing is done.
    Throttle {},
    /// The service fails (500); nothing is done.
    ErrorBefore {},
    /// It is done; the service then answers that it failed (500).
    ErrorAfter {},
    /// It is done later.
    Delay {
        /// Milliseconds.
        delay_ms: u64,
    },
    /// It is done at once and answered later: past the caller's patience, a time-out after the effect.
    DelayAfter {
        /// Milliseconds.
        delay_ms: u64,
    },
    /// DynamoDB refuses it because of another transaction; nothing is done.
    Conflict {},
    /// It is done; the connection ends without an answer.
    DropReply {},
    /// The calling function is killed (SIGKILL); nothing is done. An invoked function is killed as it gets the event.
    KillBefore {},
    /// It is done; the calling function is killed before it hears of it. An invoked function is killed as it answers.
    KillAfter {},
    /// The service is away (503); nothing is done. Usually with `for_seconds`.
    Outage {},
    /// What is received from the queue stays visible and comes once more.
    Duplicate {},
    /// What is received from the queue comes in random order.
    Reorder {},
}

/// A call that rules may be about.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The service that is called.
    pub service: Service,
    /// Its operation.
    pub operation: &'a str,
    /// Table, queue, topic, function or API; several with a blank between them.
    pub resource: &'a str,
    /// The calling function, or `client`.
    pub function: &'a str,
}

/// A rule in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listed {
    /// Its number.
    pub id: u64,
    /// How often it has hit.
    pub fired: u64,
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
}

/// How often a rule has hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fired {
    /// The rule's number.
    pub id: u64,
    /// Hits.
    pub fired: u64,
}

#[derive(Debug)]
struct Active {
    id: u64,
    rule: Rule,
    /// Calls that it was about.
    matched: u64,
    fired: u64,
    until: Option<Instant>,
    /// State of the generator behind `probability`.
    random: u64,
}

/// All rules. Shared by everything that can be hit.
#[derive(Debug, Default)]
pub struct Faults(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    rules: Vec<Active>,
}

impl Faults {
    /// Puts a rule in force and returns its number.
    ///
    /// # Errors
    /// A field that makes no sense, by name.
    pub fn add(&self, rule: Rule) -> Result<u64, String> {
        check(&rule)?;
        let mut state = self.lock();
        if state.rules.len() >= RULES_MAX {
            return Err(format!("there are {RULES_MAX} rules already; clear some"));
        }
        state.last_id += 1;
        let id = state.last_id;
        let until = rule.for_seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let random = rule.seed;
        state.rules.push(Active { id, rule, matched: 0, fired: 0, until, random });
        Ok(id)
    }

    /// Takes one rule, or all of them, out of force. Returns whether there was any.
    pub fn clear(&self, id: Option<u64>) -> bool {
        let mut state = self.lock();
        let before = state.rules.len();
        state.rules.retain(|active| id.is_some_and(|id| id != active.id));
        state.rules.len() < before
    }

    /// The rules in force.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        let listed = |active: &Active| Listed { id: active.id, fired: active.fired, rule: active.rule.clone() };
        self.lock().rules.iter().map(listed).collect()
    }

    /// How often each rule in force has hit.
    #[must_use]
    pub fn fired(&self) -> Vec<Fired> {
        self.lock().rules.iter().map(|active| Fired { id: active.id, fired: active.fired }).collect()
    }

    /// What happens to this call: the first rule that hits decides. Rules about deliveries are asked by
    /// [`Self::delivery`].
    #[must_use]
    pub fn decide(&self, call: &Call<'_>) -> Option<Fault> {
        self.first(call, |fault| !matches!(fault, Fault::Duplicate {} | Fault::Reorder {}))
    }

    /// What happens to a receive from this queue, which has messages. The pollers behind mappings do not pass where
    /// calls are refused, so that they are refused here.
    #[must_use]
    pub fn delivery(&self, queue: &str, caller: &str) -> DeliveryFault {
        let call = Call { service: Service::Sqs, operation: "ReceiveMessage", resource: queue, function: caller };
        let refuses = |fault: &Fault| matches!(fault, Fault::Throttle {} | Fault::ErrorBefore {} | Fault::Outage {});
        DeliveryFault {
            twice: self.first(&call, |fault| matches!(fault, Fault::Duplicate {})).is_some(),
            shuffled: self.first(&call, |fault| matches!(fault, Fault::Reorder {})).is_some(),
            withheld: caller == POLLER && self.first(&call, refuses).is_some(),
        }
    }

    fn first(&self, call: &Call<'_>, kind: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut state = self.lock();
        if state.rules.is_empty() {
            return None;
        }
        let now = Instant::now();
        let hit = state.rules.iter_mut().find_map(|active| {
            let hits = kind(&active.rule.fault) && active.rule.is_about(call) && active.hits(now);
            hits.then_some((active.id, active.rule.fault))
        });
        drop(state);
        let (id, fault) = hit?;
        let Call { service, operation, resource, function } = call;
        let by = if function.is_empty() { String::new() } else { format!(" by {function}") };
        log::line(HOST, &format!("fault {id} fired: {fault:?} on {} {operation} {resource}{by}", service.name()));
        Some(fault)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rule {
    fn is_about(&self, call: &Call<'_>) -> bool {
        let part = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| found.contains(wanted));
        self.service == call.service
            && self.operation.as_ref().is_none_or(|operation| operation == call.operation)
            && part(&self.resource, call.resource)
            && part(&self.function, call.function)
    }
}

impl Active {
    /// Counts a call that the rule is about, and says whether it is hit.
    fn hits(&mut self, now: Instant) -> bool {
        if self.until.is_some_and(|until| now >= until) {
            return false;
        }
        self.matched += 1;
        // Drawn for every call, so that a seed hits the same calls whatever else the rule says.
        let drawn = self.rule.probability.is_none_or(|share| self.draw() < share);
        let hit = drawn
            && self.rule.nth.is_none_or(|nth| nth == self.matched)
            && self.rule.times.is_none_or(|times| self.fired < times);
        self.fired += u64::from(hit);
        hit
    }

    /// A number from 0 to below 1 (SplitMix64, whose state is a counter: any seed will do).
    #[allow(clippy::float_arithmetic, reason = "a probability")]
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        u32::try_from(mixed >> 32).map_or(0.0, |high| f64::from(high) / (f64::from(u32::MAX) + 1.0))
    }
}

/// Refuses a rule that could never do what it says.
fn check(rule: &Rule) -> Result<(), String> {
    let only = |service: Service, what: &str| {
        if rule.service == service { Ok(()) } else { Err(format!("fault: {what} is for service {}", service.name())) }
    };
    if rule.nth == Some(0) {
        return Err("nth: counts from 1".to_owned());
    }
    if rule.times == Some(0) {
        return Err("times: at least 1".to_owned());
    }
    if rule.for_seconds == Some(0) {
        return Err("for_seconds: at least 1".to_owned());
    }
    if rule.probability.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
        return Err("probability: from 0 to 1".to_owned());
    }
    if rule.function.is_some() && matches!(rule.service, Service::Http | Service::Function) {
        return Err(format!("function: who calls service {} is not known", rule.service.name()));
    }
    match rule.fault {
        Fault::KillBefore {} | Fault::KillAfter {} if rule.service == Service::Http => {
            Err("fault: to kill a function as it serves a request, use service function".to_owned())
        }
        Fault::Delay { delay_ms } | Fault::DelayAfter { delay_ms } if delay_ms > DELAY_MS_MAX => {
            Err(format!("fault.delay_ms: at most {DELAY_MS_MAX}"))
        }
        Fault::Conflict {} => only(Service::Dynamodb, "conflict"),
        Fault::Duplicate {} => only(Service::Sqs, "duplicate"),
        Fault::Reorder {} => only(Service::Sqs, "reorder"),
        Fault::DropReply {} if rule.service == Service::Function => {
            Err("fault: drop_reply is for services, not for functions".to_owned())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    fn rule(json: &str) -> Result<Rule, serde_json::Error> {
        serde_json::from_str(json)
    }

    fn faults(json: &str) -> Faults {
        let faults = Faults::default();
        faults.add(rule(json).unwrap()).unwrap();
        faults
    }

    const PUT: Call<'_> =
        Call { service: Service::Dynamodb, operation: "PutItem", resource: "florin-payments", function: "api" };

    #[test]
    fn a_rule_is_about_what_it_names() {
        for (names, hits) in [
            ("", true),
            (r#""operation":"PutItem","#, true),
            (r#""operation":"Put","#, false),
            (r#""resource":"payments","#, true),
            (r#""resource":"webhooks","#, false),
            (r#""function":"api","#, true),
            (r#""function":"client","#, false),
        ] {
            let faults = faults(&format!(r#"{{"service":"dynamodb",{names}"fault":{{"kind":"throttle"}}}}"#));
            assert_eq!(faults.decide(&PUT).is_some(), hits, "{names}");
        }
        let other = faults(r#"{"service":"sqs","fault":{"kind":"throttle"}}"#);
        assert_eq!(other.decide(&PUT), None);
    }

    #[test]
    fn the_nth_call_is_hit_and_no_other() {
        let faults = faults(r#"{"service":"dynamodb","nth":3,"fault":{"kind":"error_after"}}"#);
        let hits: Vec<_> = (0..5).map(|_| faults.decide(&PUT).is_some()).collect();
        assert_eq!(hits, [false, false, true, false, false]);
        assert_eq!(faults.fired()[0].fired, 1);
    }

    #[test]
    fn a_share_is_the_same_calls_for_the_same_seed() {
        let draw = |seed: u64| {
            let faults = faults(&format!(
                r#"{{"service":"dynamodb","probability":0.25,"seed":{seed},"fault":{{"kind":"error_before"}}}}"#
            ));
            (0..1000).map(|_| faults.decide(&PUT).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let hits = draw(1).into_iter().filter(|hit| *hit).count();
        assert!((200..300).contains(&hits), "{hits}");
    }

    #[test]
    fn times_end_a_rule() {
        let faults = faults(r#"{"service":"dynamodb","times":2,"fault":{"kind":"outage"}}"#);
        let hits = (0..5).filter(|_| faults.decide(&PUT).is_some()).count();
        assert_eq!(hits, 2);
    }

    #[test]
    fn deliveries_are_asked_apart_from_calls() {
        let faults = faults(r#"{"service":"sqs","resource":"webhook","fault":{"kind":"duplicate"}}"#);
        let receive = Call { service: Service::Sqs, operation: "ReceiveMessage", resource: "webhook", function: "" };
        assert_eq!(faults.decide(&receive), None);
        assert_eq!(
            faults.delivery("florin-webhook", POLLER),
            DeliveryFault { twice: true, ..DeliveryFault::default() }
        );
        assert_eq!(faults.delivery("florin-analytics", POLLER), DeliveryFault::default());
    }

    #[test]
    fn a_queue_that_is_away_gives_nothing_to_pollers() {
        let faults = faults(r#"{"service":"sqs","function":"poller","fault":{"kind":"outage"}}"#);
        assert!(faults.delivery("florin-webhook", POLLER).withheld);
        let receive = Call { service: Service::Sqs, operation: "ReceiveMessage", resource: "q", function: "client" };
        assert_eq!(faults.decide(&receive), None, "others still receive");
        assert!(!faults.delivery("florin-webhook", "client").withheld);
    }

    #[test]
    fn a_rule_that_makes_no_sense_names_its_field() {
        for (json, field) in [
            (r#"{"service":"sqs","nth":0,"fault":{"kind":"throttle"}}"#, "nth"),
            (r#"{"service":"sqs","times":0,"fault":{"kind":"throttle"}}"#, "times"),
            (r#"{"service":"sqs","probability":1.5,"fault":{"kind":"throttle"}}"#, "probability"),
            (r#"{"service":"sqs","fault":{"kind":"conflict"}}"#, "conflict"),
            (r#"{"service":"function","function":"api","fault":{"kind":"throttle"}}"#, "function"),
            (r#"{"service":"http","fault":{"kind":"kill_after"}}"#, "service function"),
            (r#"{"service":"sns","fault":{"kind":"duplicate"}}"#, "duplicate"),
            (r#"{"service":"sqs","fault":{"kind":"delay","delay_ms":900001}}"#, "delay_ms"),
        ] {
            let error = Faults::default().add(rule(json).unwrap()).unwrap_err();
            assert!(error.contains(field), "{json}: {error}");
        }
        for json in [
            r#"{"service":"s3","fault":{"kind":"throttle"}}"#,
            r#"{"service":"sqs","fault":{"kind":"explode"}}"#,
            r#"{"service":"sqs","often":true,"fault":{"kind":"throttle"}}"#,
        ] {
            assert!(rule(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_cleared_rule_is_gone() {
        let faults = faults(r#"{"service":"dynamodb","fault":{"kind":"throttle"}}"#);
        assert!(!faults.clear(Some(9)) && faults.clear(Some(1)) && !faults.clear(None));
        assert_eq!(faults.decide(&PUT), None);
    }
}
