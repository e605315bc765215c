//! A gateway in memory that keeps the promises of a real one, whatever its script does to the answers.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use florin_domain::card::Card;
use florin_gateway::{
    CODE_PAYMENT_METHOD_DELETED, CardToken, Charge, ChargeRequest, Gateway, GatewayError, RefundRequest,
};

/// What the gateway does with the next charge or refund.
#[derive(Debug, Clone)]
pub enum Script {
    /// Declines with this code, and so for ever under this key.
    Decline(&'static str),
    /// Nothing happens, and the gateway says so.
    Unavailable,
    /// The request does not get there.
    Unreachable,
    /// It is done, but its answer is lost.
    TakenThenLost,
    /// It is not done, and nobody learns that.
    Lost,
    /// The call panics, as a bug would.
    Panic,
}

/// A gateway with these promises, which its script cannot break:
///
/// - one charge or refund for each key, and one answer: a decline is kept too;
/// - a key that comes with another request is rejected;
/// - the refunds of a charge never exceed it;
/// - a token that was attached to a customer is charged with that customer, and not at all once it is detached.
#[derive(Debug, Default)]
pub struct FakeGateway(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    script: VecDeque<Script>,
    refund_script: VecDeque<Script>,
    storing_script: VecDeque<Script>,
    look_ups_fail: bool,
    away: bool,
    /// The customer that a token is attached to, by token; `None` once it was detached.
    customers: HashMap<String, Option<String>>,
    /// By key.
    charges: HashMap<String, Attempt>,
    /// By key.
    refunds: HashMap<String, Attempt>,
    calls: Vec<String>,
    refund_calls: Vec<String>,
}

/// A charge or a refund that was answered.
#[derive(Debug, Clone)]
struct Attempt {
    /// The payment's id, or the refund's.
    ours: String,
    amount: i64,
    /// Of the charge, where this is a refund of it.
    charge: String,
    answer: Result<String, GatewayError>,
}

impl FakeGateway {
    /// What happens with the next cards and charges, in order; afterwards they are approved.
    pub fn script(&self, script: impl IntoIterator<Item = Script>) {
        self.state().script.extend(script);
    }

    /// What happens with the next refunds, in order; afterwards they are made.
    pub fn script_refunds(&self, script: impl IntoIterator<Item = Script>) {
        self.state().refund_script.extend(script);
    }

    /// What happens with the next requests to attach and to detach, in order; afterwards they are obeyed.
    pub fn script_storing(&self, script: impl IntoIterator<Item = Script>) {
        self.state().storing_script.extend(script);
    }

    /// The tokens that are attached to a customer.
    pub fn attached(&self) -> Vec<String> {
        let state = self.state();
        let mut tokens: Vec<_> =
            state.customers.iter().filter(|(_, to)| to.is_some()).map(|(t, _)| t.clone()).collect();
        tokens.sort();
        tokens
    }

    /// Whether questions about charges and refunds go unanswered.
    pub fn fail_look_ups(&self, fail: bool) {
        self.state().look_ups_fail = fail;
    }

    /// Whether nothing reaches the gateway. Meanwhile its scripts wait.
    pub fn away(&self, away: bool) {
        self.state().away = away;
    }

    /// How many charges were taken.
    pub fn charges(&self) -> usize {
        self.state().charges.values().filter(|charge| charge.answer.is_ok()).count()
    }

    /// How many charges were taken for the payment.
    pub fn charges_of(&self, payment_id: &str) -> usize {
        let state = self.state();
        state.charges.values().filter(|charge| charge.answer.is_ok() && charge.ours == payment_id).count()
    }

    /// The refunds made for a payment or for a charge, as (refund id, amount), by refund id.
    pub fn refunds_of(&self, payment_or_reference: &str) -> Vec<(String, i64)> {
        let state = self.state();
        let is_of = |refund: &Attempt| {
            let charges = state.charges.values();
            let mut payments = charges.filter(|c| c.answer.as_ref() == Ok(&refund.charge)).map(|c| &c.ours);
            refund.charge == payment_or_reference || payments.any(|payment| payment == payment_or_reference)
        };
        let made = state.refunds.values().filter(|refund| refund.answer.is_ok() && is_of(refund));
        let mut refunds: Vec<_> = made.map(|refund| (refund.ours.clone(), refund.amount)).collect();
        refunds.sort();
        refunds
    }

    /// The keys under which charges were asked for, in order, whether or not they got here.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// The keys under which refunds were asked for, in order, whether or not they got here.
    pub fn refund_calls(&self) -> Vec<String> {
        self.state().refund_calls.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn charge(&mut self, asked: &ChargeRequest<'_>, decline: Option<&str>) -> Result<String, GatewayError> {
        if !self.charges.contains_key(asked.key)
            && let Some(refused) = self.not_chargeable(asked)
        {
            return Err(refused);
        }
        let answer = match decline {
            Some(code) => Err(declined(code, "pi_declined")),
            None => Ok(format!("pi_{}", self.charges.len())),
        };
        let (ours, key) = (asked.payment_id.to_owned(), asked.key.to_owned());
        once(&mut self.charges, key, Attempt { ours, amount: asked.amount, charge: String::new(), answer })
    }

    fn refund(&mut self, asked: &RefundRequest<'_>, decline: Option<&str>) -> Result<String, GatewayError> {
        let Some(charge) = self.charges.values().find(|c| c.answer.as_deref() == Ok(asked.reference)) else {
            return Err(GatewayError::Rejected { message: "no such charge".to_owned() });
        };
        let of_charge = self.refunds.values().filter(|r| r.charge == asked.reference && r.answer.is_ok());
        let left = charge.amount - of_charge.map(|refund| refund.amount).sum::<i64>();
        if asked.amount > left && !self.refunds.contains_key(asked.key) {
            // Refused before there is a refund, so nothing is kept.
            let code = if left == 0 { "already_refunded" } else { "refund_too_large" };
            return Err(declined(code, asked.reference));
        }
        let answer = match decline {
            Some(code) => Err(declined(code, "re_declined")),
            None => Ok(format!("re_gateway_{}", self.refunds.len())),
        };
        let (ours, charge) = (asked.refund_id.to_owned(), asked.reference.to_owned());
        once(&mut self.refunds, asked.key.to_owned(), Attempt { ours, amount: asked.amount, charge, answer })
    }

    /// What the next request about stored cards meets, unless it does not get here.
    fn storing(&mut self) -> Result<Option<Script>, GatewayError> {
        if self.away { Err(unreachable()) } else { Ok(self.storing_script.pop_front()) }
    }

    /// Why this token cannot be charged for this customer.
    fn not_chargeable(&self, charge: &ChargeRequest<'_>) -> Option<GatewayError> {
        let attached = self.customers.get(charge.token).map(Option::as_deref);
        match (charge.customer, attached) {
            (None, None) => None,
            (Some(customer), Some(Some(attached))) if customer == attached => None,
            (Some(_), _) => Some(declined(CODE_PAYMENT_METHOD_DELETED, "pi_none")),
            (None, Some(_)) => {
                Some(GatewayError::Rejected { message: "the card is stored: name its customer".to_owned() })
            }
        }
    }

    /// What a question is answered, unless it can be looked up.
    fn no_look_up(&self) -> Option<GatewayError> {
        if self.away {
            return Some(unreachable());
        }
        self.look_ups_fail.then(|| GatewayError::Unavailable { message: "told to".to_owned() })
    }
}

/// The same for the same number.
fn fingerprint(card: &Card) -> String {
    let mut hash = DefaultHasher::new();
    card.number().expose().hash(&mut hash);
    format!("print_{:x}", hash.finish())
}

/// The answer of the key: that of its first request.
fn once(answered: &mut HashMap<String, Attempt>, key: String, next: Attempt) -> Result<String, GatewayError> {
    let first = answered.entry(key).or_insert_with(|| next.clone());
    if (&first.ours, first.amount, &first.charge) != (&next.ours, next.amount, &next.charge) {
        return Err(GatewayError::Rejected { message: "the key stands for another request".to_owned() });
    }
    first.answer.clone()
}

/// What the caller gets of what the gateway does, which `act` is, given the code to decline with.
fn play<T>(
    script: Option<Script>,
    act: impl FnOnce(Option<&str>) -> Result<T, GatewayError>,
) -> Result<T, GatewayError> {
    let unknown = || Err(GatewayError::Unknown { message: "timed out".to_owned() });
    match script {
        None => act(None),
        Some(Script::Decline(code)) => act(Some(code)),
        Some(Script::Unavailable) => Err(GatewayError::Unavailable { message: "503".to_owned() }),
        Some(Script::Unreachable) => Err(unreachable()),
        Some(Script::TakenThenLost) => {
            drop(act(None));
            unknown()
        }
        Some(Script::Lost) => unknown(),
        Some(Script::Panic) => panic!("told to"),
    }
}

fn declined(code: &str, reference: &str) -> GatewayError {
    let (code, message) = (code.to_owned(), "Declined.".to_owned());
    GatewayError::Declined { code, message, reference: Some(reference.to_owned()) }
}

fn unreachable() -> GatewayError {
    GatewayError::Unreachable { message: "no connection".to_owned() }
}

#[async_trait]
impl Gateway for FakeGateway {
    async fn tokenise(&self, card: &Card, key: &str) -> Result<CardToken, GatewayError> {
        let next = {
            let mut state = self.state();
            if state.away {
                return Err(unreachable());
            }
            state.script.pop_front()
        };
        play(next, |decline| match decline {
            None => {
                Ok(CardToken { token: format!("pm_{}", key.replace('/', "_")), fingerprint: Some(fingerprint(card)) })
            }
            Some(code) => Err(GatewayError::Declined {
                code: code.to_owned(),
                message: format!("The card ending in {} was declined.", card.last4()),
                reference: None,
            }),
        })
    }

    async fn attach(&self, token: &str, _reference: &str, _key: &str) -> Result<String, GatewayError> {
        let next = self.state().storing()?;
        play(next, |decline| {
            if let Some(code) = decline {
                return Err(declined(code, token));
            }
            let customer = format!("cus_of_{token}");
            let mut state = self.state();
            let now = state.customers.entry(token.to_owned()).or_insert_with(|| Some(customer));
            now.clone().ok_or_else(|| GatewayError::Rejected { message: "it was detached".to_owned() })
        })
    }

    async fn detach(&self, token: &str, _key: &str) -> Result<(), GatewayError> {
        let next = self.state().storing()?;
        play(next, |_| {
            self.state().customers.insert(token.to_owned(), None);
            Ok(())
        })
    }

    async fn charge(&self, charge: &ChargeRequest<'_>) -> Result<Charge, GatewayError> {
        let next = {
            let mut state = self.state();
            state.calls.push(charge.key.to_owned());
            if state.away {
                return Err(unreachable());
            }
            state.script.pop_front()
        };
        play(next, |decline| self.state().charge(charge, decline)).map(|reference| Charge { reference })
    }

    async fn find_charge(&self, payment_id: &str, _created_after: i64) -> Result<Option<Charge>, GatewayError> {
        let state = self.state();
        if let Some(error) = state.no_look_up() {
            return Err(error);
        }
        let mut of_payment = state.charges.values().filter(|charge| charge.ours == payment_id);
        Ok(of_payment.find_map(|charge| charge.answer.clone().ok()).map(|reference| Charge { reference }))
    }

    async fn refund(&self, refund: &RefundRequest<'_>) -> Result<String, GatewayError> {
        let next = {
            let mut state = self.state();
            state.refund_calls.push(refund.key.to_owned());
            if state.away {
                return Err(unreachable());
            }
            state.refund_script.pop_front()
        };
        play(next, |decline| self.state().refund(refund, decline))
    }

    async fn find_refund(&self, reference: &str, refund_id: &str) -> Result<Option<String>, GatewayError> {
        let state = self.state();
        if let Some(error) = state.no_look_up() {
            return Err(error);
        }
        let is_it = |refund: &&Attempt| refund.charge == reference && refund.ours == refund_id;
        let found: Vec<_> = state.refunds.values().filter(is_it).map(|refund| refund.answer.clone()).collect();
        match found.iter().find(|answer| answer.is_ok()).or(found.first()) {
            Some(answer) => answer.clone().map(Some),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge<'a>(payment_id: &'a str, amount: i64, key: &'a str) -> ChargeRequest<'a> {
        ChargeRequest { payment_id, token: "pm_1", customer: None, amount, currency: "NGN", description: None, key }
    }

    fn refund<'a>(refund_id: &'a str, reference: &'a str, amount: i64, key: &'a str) -> RefundRequest<'a> {
        RefundRequest { refund_id, reference, amount, key }
    }

    fn code<T: std::fmt::Debug>(answer: Result<T, GatewayError>) -> String {
        match answer.unwrap_err() {
            GatewayError::Declined { code, .. } => code,
            GatewayError::Unreachable { .. } => "unreachable".to_owned(),
            GatewayError::Unavailable { .. } => "unavailable".to_owned(),
            GatewayError::Unknown { .. } => "unknown".to_owned(),
            GatewayError::Rejected { .. } => "rejected".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_key_is_charged_once_and_another_key_again() {
        let gateway = FakeGateway::default();
        gateway.script([Script::Lost, Script::Unreachable, Script::TakenThenLost, Script::Decline("late")]);
        for expected in ["unknown", "unreachable", "unknown"] {
            assert_eq!(code(gateway.charge(&charge("pay_1", 10, "k")).await), expected);
        }
        // A decline cannot undo what was taken.
        let first = gateway.charge(&charge("pay_1", 10, "k")).await.unwrap();
        assert_eq!(gateway.charge(&charge("pay_1", 10, "k")).await.unwrap(), first);
        assert_eq!(gateway.find_charge("pay_1", 0).await.unwrap(), Some(first.clone()));
        for other in [charge("pay_2", 10, "k"), charge("pay_1", 11, "k")] {
            assert_eq!(code(gateway.charge(&other).await), "rejected");
        }
        assert_eq!((gateway.charges(), gateway.charges_of("pay_1"), gateway.charges_of("pay_2")), (1, 1, 0));
        // What a client does that draws a fresh key for each attempt.
        assert_ne!(gateway.charge(&charge("pay_1", 10, "fresh")).await.unwrap(), first);
        assert_eq!((gateway.charges(), gateway.charges_of("pay_1")), (2, 2));
        assert_eq!(gateway.calls().len(), 8);
    }

    #[tokio::test]
    async fn a_decline_is_kept_and_is_no_charge() {
        let gateway = FakeGateway::default();
        gateway.script([Script::Decline("insufficient_funds")]);
        for _ in 0..2 {
            assert_eq!(code(gateway.charge(&charge("pay_1", 10, "k")).await), "insufficient_funds");
        }
        assert_eq!((gateway.charges(), gateway.find_charge("pay_1", 0).await.unwrap()), (0, None));
    }

    #[tokio::test]
    async fn refunds_are_made_once_for_a_key_and_never_exceed_the_charge() {
        let gateway = FakeGateway::default();
        let pi = gateway.charge(&charge("pay_1", 10, "k")).await.unwrap().reference;
        gateway.charge(&charge("pay_2", 10, "k2")).await.unwrap();
        gateway.script_refunds([Script::TakenThenLost, Script::Unavailable]);
        assert_eq!(code(gateway.refund(&refund("re_1", &pi, 6, "r1")).await), "unknown");
        assert_eq!(code(gateway.refund(&refund("re_1", &pi, 6, "r1")).await), "unavailable");
        let first = gateway.refund(&refund("re_1", &pi, 6, "r1")).await.unwrap();
        assert_eq!(gateway.find_refund(&pi, "re_1").await.unwrap(), Some(first));
        assert_eq!(code(gateway.refund(&refund("re_1", &pi, 5, "r1")).await), "rejected");
        assert_eq!(code(gateway.refund(&refund("re_2", &pi, 5, "r2")).await), "refund_too_large");
        assert_eq!(gateway.find_refund(&pi, "re_2").await.unwrap(), None);
        // One that fails gives its money free again.
        gateway.script_refunds([Script::Decline("refund_failed")]);
        for _ in 0..2 {
            assert_eq!(code(gateway.refund(&refund("re_3", &pi, 4, "r3")).await), "refund_failed");
        }
        assert_eq!(code(gateway.find_refund(&pi, "re_3").await), "refund_failed");
        gateway.refund(&refund("re_4", &pi, 4, "r4")).await.unwrap();
        assert_eq!(code(gateway.refund(&refund("re_5", &pi, 1, "r5")).await), "already_refunded");
        assert_eq!(code(gateway.refund(&refund("re_6", "pi_none", 1, "r6")).await), "rejected");
        let made = [("re_1".to_owned(), 6), ("re_4".to_owned(), 4)];
        assert_eq!((gateway.refunds_of("pay_1"), gateway.refunds_of(&pi)), (made.to_vec(), made.to_vec()));
        assert_eq!(gateway.refunds_of("pay_2"), []);
        assert_eq!(gateway.refund_calls().len(), 10);
    }

    #[tokio::test]
    async fn a_stored_card_is_charged_with_its_customer_until_it_is_detached() {
        let gateway = FakeGateway::default();
        gateway.script_storing([Script::Decline("card_declined"), Script::TakenThenLost]);
        assert_eq!(code(gateway.attach("pm_1", "ours", "a").await), "card_declined");
        assert_eq!(code(gateway.attach("pm_1", "ours", "a").await), "unknown");
        let customer = gateway.attach("pm_1", "ours", "a").await.unwrap();
        assert_eq!(gateway.attached(), ["pm_1"]);
        let with = |customer| ChargeRequest { customer, ..charge("pay_1", 10, "k") };
        assert_eq!(code(gateway.charge(&with(None)).await), "rejected");
        assert_eq!(code(gateway.charge(&with(Some("cus_other"))).await), CODE_PAYMENT_METHOD_DELETED);
        let made = gateway.charge(&with(Some(&customer))).await.unwrap();
        for _ in 0..2 {
            gateway.detach("pm_1", "d").await.unwrap();
        }
        assert!(gateway.attached().is_empty());
        assert_eq!(gateway.charge(&with(Some(&customer))).await.unwrap(), made, "the key has its answer");
        let next = ChargeRequest { key: "next", ..with(Some(&customer)) };
        assert_eq!(code(gateway.charge(&next).await), CODE_PAYMENT_METHOD_DELETED);
        assert_eq!(code(gateway.attach("pm_1", "ours", "b").await), "rejected", "never again");
    }

    #[tokio::test]
    async fn while_it_is_away_nothing_gets_there_and_scripts_wait() {
        let gateway = FakeGateway::default();
        gateway.script([Script::Decline("insufficient_funds")]);
        gateway.away(true);
        assert_eq!(code(gateway.charge(&charge("pay_1", 10, "k")).await), "unreachable");
        assert_eq!(code(gateway.find_charge("pay_1", 0).await), "unreachable");
        assert_eq!(code(gateway.refund(&refund("re_1", "pi_0", 1, "r")).await), "unreachable");
        assert_eq!(code(gateway.find_refund("pi_0", "re_1").await), "unreachable");
        gateway.away(false);
        assert_eq!(code(gateway.charge(&charge("pay_1", 10, "k")).await), "insufficient_funds");
        assert_eq!((gateway.calls().len(), gateway.refund_calls().len()), (2, 1));
    }
}
