//! What goes into a merchant's audit log: who did what, told in the transaction that does it.

use std::collections::BTreeMap;

use florin_domain::{ids::MerchantId, time::Timestamp};
use florin_platform::random;
use florin_store::audit::{AuditEntry, Told};

use crate::{Api, auth::Actor, problem::Problem};

/// An entry for the audit log of a merchant. Details name no secret, and no person but by an id.
pub(crate) fn told(
    api: &Api,
    merchant_id: &MerchantId,
    actor: &Actor,
    action: &str,
    details: &[(&str, &str)],
) -> Result<Told, Problem> {
    let entry = entry(actor.id().to_owned(), action, details, api.dependencies.clock.now());
    Ok(api.dependencies.audit.told(merchant_id.as_str(), &entry)?)
}

/// An entry.
pub(crate) fn entry(actor: String, action: &str, details: &[(&str, &str)], at: Timestamp) -> AuditEntry {
    let details = details.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let details: BTreeMap<_, _> = details.collect();
    AuditEntry { at, id: random::hex128(), actor, action: action.to_owned(), details }
}
