//! Reading a card from a request's body, wherever it stands there.

use florin_domain::{
    card::{Card, CardInput},
    time::Timestamp,
};

use crate::{Api, body::Fields};

/// The card in these fields, of which none is left. Whether it has expired is judged later, for a replay may come when
/// it has.
pub(crate) fn read(api: &Api, fields: &mut Fields) -> Option<Card> {
    let number = fields.required_text("number", "card_number_missing", "card_number_invalid");
    let expiry = fields.required_text("expiry", "expiry_missing", "expiry_invalid");
    let cvv = fields.required_text("cvv", "cvv_missing", "cvv_invalid");
    let holder_name = fields.required_text("holder_name", "holder_name_missing", "holder_name_invalid");
    let (Some(number), Some(expiry), Some(cvv), Some(holder_name)) = (number, expiry, cvv, holder_name) else {
        return None;
    };
    let input = CardInput { number, expiry, cvv, holder_name };
    let card = Card::check(&input, fields.pointer(), api.dependencies.mode, Timestamp::MIN);
    card.map_err(|errors| fields.errors.extend(errors)).ok()
}
