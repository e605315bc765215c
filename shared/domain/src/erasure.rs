//! What is left when a merchant erases one of its customers: the facts of the ledger, and nothing that tells of a
//! person.
//!
//! Amounts, currency, ids, times, brand, last four digits, expiry and the gateway's reference of the charge stay. The
//! version does not move, for the event that tells of the end is named by it.

use std::collections::BTreeMap;

use crate::{
    journal::JournalEntry,
    payment::{CardSource, NewPayment, Payment, StoredCard},
    refund::{NewRefund, Refund},
    time::Timestamp,
};

impl CardSource {
    /// Without the holder and without what the gateway calls card and holder.
    fn erased(&self) -> Self {
        let stored = self.stored.as_ref();
        let stored = stored.map(|stored| StoredCard { id: stored.id.clone(), gateway_customer: String::new() });
        Self { holder_name: String::new(), token: String::new(), stored, ..self.clone() }
    }
}

impl NewPayment {
    /// What can still be compared with a payment that was erased.
    pub(crate) fn erased(&self) -> Self {
        Self {
            money: self.money,
            source: self.source.erased(),
            customer: None,
            description: None,
            metadata: BTreeMap::new(),
            webhook_url: None,
            when: self.when,
        }
    }
}

impl Payment {
    /// Whether something is still to happen to it: it or one of its refunds has not ended.
    pub const fn is_open(&self) -> bool {
        !self.status.is_terminal() || self.amount_reserved != self.amount_refunded
    }

    /// The payment without its customer.
    pub fn erased(&self, now: Timestamp) -> Self {
        Self {
            source: self.source.erased(),
            customer: None,
            description: None,
            metadata: BTreeMap::new(),
            webhook_url: None,
            journal: without_notes(&self.journal),
            erased_at: Some(now),
            correlation_id: None,
            ..self.clone()
        }
    }
}

impl NewRefund {
    /// What can still be compared with a refund that was erased.
    pub(crate) fn erased(&self) -> Self {
        Self { amount: self.amount, reason: None, metadata: BTreeMap::new() }
    }
}

impl Refund {
    /// The refund without what was written to it.
    pub fn erased(&self, now: Timestamp) -> Self {
        Self {
            reason: None,
            metadata: BTreeMap::new(),
            journal: without_notes(&self.journal),
            erased_at: Some(now),
            correlation_id: None,
            ..self.clone()
        }
    }
}

/// The journal without what operators wrote to it. Errors stay: they are the gateway's fixed sentences.
fn without_notes(journal: &[JournalEntry]) -> Vec<JournalEntry> {
    journal.iter().map(|entry| JournalEntry { note: None, ..entry.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        card::{Brand, Expiry},
        ids::{MerchantId, PaymentMethodId},
        journal::Step,
        money::{Currency, Money},
        payment::{Status, When},
    };

    fn asked() -> NewPayment {
        NewPayment {
            money: Money::new(100, Currency::parse("NGN").unwrap()),
            source: CardSource {
                brand: Brand::Visa,
                last4: "4242".to_owned(),
                expiry: Expiry { year: 2030, month: 12 },
                holder_name: "Ada Obi".to_owned(),
                token: "pm_token".to_owned(),
                stored: None,
            },
            customer: Some("cust-7".to_owned()),
            description: Some("For Ada".to_owned()),
            metadata: [("name".to_owned(), "Ada".to_owned())].into(),
            webhook_url: Some("https://shop.example/ada".to_owned()),
            when: When::Now,
        }
    }

    fn payment(new: NewPayment) -> Payment {
        let merchant_id = MerchantId::derive(&["shop"]);
        let mut payment = Payment::create(Payment::id_for(&merchant_id, "k"), merchant_id, new, Timestamp::MIN);
        payment.status = Status::Completed;
        payment.gateway_reference = Some("pi_1".to_owned());
        payment.correlation_id = Some("order-of-Ada".to_owned());
        payment.journal.push(JournalEntry::noted(Step::Resolve, 1, "Ada called", Timestamp::MIN));
        payment
    }

    #[test]
    fn nothing_of_a_person_is_left_of_a_payment_or_refund() {
        let stored = StoredCard { id: PaymentMethodId::derive(&["m"]), gateway_customer: "cus_ada".to_owned() };
        let new = NewPayment { source: CardSource { stored: Some(stored.clone()), ..asked().source }, ..asked() };
        let payment = payment(new);
        let erased = payment.erased(Timestamp::MAX);
        let shown = format!("{erased:?}");
        for trace in ["Ada", "/ada", "_ada", "cust-7", "pm_token"] {
            assert!(!shown.contains(trace), "{trace}: {shown}");
        }
        assert_eq!(erased.source.stored.as_ref().map(|stored| &stored.id), Some(&stored.id));
        assert_eq!((erased.version, &erased.gateway_reference), (payment.version, &payment.gateway_reference));

        let ask = NewRefund { amount: Some(60), reason: Some("Ada".to_owned()), metadata: asked().metadata };
        let mut refund = Refund::create(
            Refund::id_for(&payment.merchant_id, &payment.id, "r"),
            &payment,
            ask.clone(),
            Timestamp::MIN,
        )
        .unwrap();
        refund.journal.push(JournalEntry::noted(Step::Resolve, 1, "Ada called", Timestamp::MIN));
        refund.correlation_id = Some("refund-of-Ada".to_owned());
        let erased = refund.erased(Timestamp::MAX);
        assert!(!format!("{erased:?}").contains("Ada"));
        assert_eq!((refund.differs_from(&ask), erased.differs_from(&ask)), (None, None));
        assert_eq!(erased.differs_from(&NewRefund { amount: Some(61), ..ask }), Some("/amount"));
    }

    #[test]
    fn what_is_left_is_still_compared() {
        let erased = payment(asked()).erased(Timestamp::MAX);
        assert_eq!(erased.differs_from(&asked()), None);
        assert_eq!(erased.differs_from(&NewPayment { customer: None, description: None, ..asked() }), None);
        let more = NewPayment { money: Money::new(101, Currency::parse("NGN").unwrap()), ..asked() };
        assert_eq!(erased.differs_from(&more), Some("/amount"));
        let other = NewPayment { source: CardSource { last4: "0002".to_owned(), ..asked().source }, ..asked() };
        assert_eq!(erased.differs_from(&other), Some("/source/number"));
    }

    #[test]
    fn a_payment_is_open_while_it_or_a_refund_has_not_ended() {
        let completed = payment(asked());
        assert!(!completed.is_open());
        assert!(Payment { status: Status::OnHold, ..completed.clone() }.is_open());
        let refunding = Payment { amount_reserved: 60, ..completed };
        assert!(refunding.is_open());
        assert!(!Payment { amount_refunded: 60, ..refunding }.is_open());
    }
}
