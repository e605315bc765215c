//! The operations that functions live on, called in this process: half of what a call costs is its second trip over
//! loopback.
//!
//! What goes well is answered from here. Whatever does not, a request that cannot be read or an operation that is
//! refused, has had no effect and goes to the database's own server, which knows how DynamoDB says it.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use dynoxide::{Database, actions::transact_write_items::TransactWriteItemsRequest, types::ConsumedCapacity};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    tokens::{self, Known, Tokens},
    units_of,
};
use crate::counters::Units;

/// Asks for the units of indexes, too.
const INDEXES: &str = "INDEXES";

/// A request or an answer, as far as consumed capacity goes.
trait Consuming {
    /// `ReturnConsumedCapacity`.
    fn asked(&mut self) -> &mut Option<String>;
}

/// An answer that may tell what was consumed.
trait Consumed {
    /// Takes it out.
    fn take(&mut self) -> Vec<ConsumedCapacity>;
    /// Tells the caller after all.
    fn give(&mut self, consumed: Vec<ConsumedCapacity>);
}

macro_rules! consuming {
    ($($module:ident: $request:ident, $response:ident;)*) => {$(
        impl Consuming for dynoxide::actions::$module::$request {
            fn asked(&mut self) -> &mut Option<String> {
                &mut self.return_consumed_capacity
            }
        }
        impl Consumed for dynoxide::actions::$module::$response {
            fn take(&mut self) -> Vec<ConsumedCapacity> {
                self.consumed_capacity.take().into_iter().collect::<Flat>().0
            }
            fn give(&mut self, consumed: Vec<ConsumedCapacity>) {
                self.consumed_capacity = Flat(consumed).into();
            }
        }
    )*};
}

/// One or several, depending on the operation.
struct Flat(Vec<ConsumedCapacity>);

impl FromIterator<ConsumedCapacity> for Flat {
    fn from_iter<T: IntoIterator<Item = ConsumedCapacity>>(iter: T) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl FromIterator<Vec<ConsumedCapacity>> for Flat {
    fn from_iter<T: IntoIterator<Item = Vec<ConsumedCapacity>>>(iter: T) -> Self {
        Self(iter.into_iter().flatten().collect())
    }
}

impl From<Flat> for Option<ConsumedCapacity> {
    fn from(flat: Flat) -> Self {
        flat.0.into_iter().next()
    }
}

impl From<Flat> for Option<Vec<ConsumedCapacity>> {
    fn from(flat: Flat) -> Self {
        Some(flat.0).filter(|consumed| !consumed.is_empty())
    }
}

consuming! {
    put_item: PutItemRequest, PutItemResponse;
    get_item: GetItemRequest, GetItemResponse;
    update_item: UpdateItemRequest, UpdateItemResponse;
    delete_item: DeleteItemRequest, DeleteItemResponse;
    query: QueryRequest, QueryResponse;
    batch_get_item: BatchGetItemRequest, BatchGetItemResponse;
    transact_write_items: TransactWriteItemsRequest, TransactWriteItemsResponse;
}

/// What came of a call.
pub(super) enum Direct {
    /// The answer's body, and what was consumed.
    Done(String, Units),
    /// Another transaction was done under this token.
    TokenReused,
    /// The server must say why not.
    AskTheServer,
}

/// Makes the call here if it is one of those that functions live on.
pub(super) fn call(database: &Database, tokens: &Mutex<Tokens>, operation: &str, body: &[u8]) -> Direct {
    let done = match operation {
        "PutItem" => read(body).and_then(|request| act(operation, request, |request| database.put_item(request))),
        "GetItem" => read(body).and_then(|request| act(operation, request, |request| database.get_item(request))),
        "UpdateItem" => read(body).and_then(|request| act(operation, request, |request| database.update_item(request))),
        "DeleteItem" => read(body).and_then(|request| act(operation, request, |request| database.delete_item(request))),
        "Query" => read(body).and_then(|request| act(operation, request, |request| database.query(request))),
        "BatchGetItem" => {
            read(body).and_then(|request| act(operation, request, |request| database.batch_get_item(request)))
        }
        "TransactWriteItems" => return transact(database, tokens, body),
        _ => None,
    };
    done.map_or(Direct::AskTheServer, |(text, units)| Direct::Done(text, units))
}

/// A transaction, unless its token says that it was done. The tokens are held meanwhile: of two that come at once under
/// one token, the second waits for the first.
fn transact(database: &Database, tokens: &Mutex<Tokens>, body: &[u8]) -> Direct {
    let Some(mut request) = read::<TransactWriteItemsRequest>(body) else { return Direct::AskTheServer };
    let token = request.client_request_token.take();
    let Some(fingerprint) = tokens::fingerprint(&request.transact_items) else { return Direct::AskTheServer };
    let mut tokens = tokens.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(token) = &token {
        match tokens.look(token, fingerprint, Instant::now()) {
            Known::No => {}
            Known::Done(answer) => return Direct::Done(answer, Units::default()),
            Known::Other => return Direct::TokenReused,
        }
    }
    let done = act("TransactWriteItems", request, |request| database.transact_write_items(request));
    let Some((text, units)) = done else { return Direct::AskTheServer };
    if let Some(token) = token {
        tokens.note(token, fingerprint, text.clone(), Instant::now());
    }
    Direct::Done(text, units)
}

/// Remembers a transaction that the server has done after all.
pub(super) fn note(tokens: &Mutex<Tokens>, request: &[u8], answer: &[u8]) {
    let Some(mut request) = read::<TransactWriteItemsRequest>(request) else { return };
    let answer = String::from_utf8_lossy(answer).into_owned();
    if let (Some(token), Some(fingerprint)) =
        (request.client_request_token.take(), tokens::fingerprint(&request.transact_items))
    {
        tokens.lock().unwrap_or_else(PoisonError::into_inner).note(token, fingerprint, answer, Instant::now());
    }
}

fn read<Request: DeserializeOwned>(body: &[u8]) -> Option<Request> {
    serde_json::from_slice(body).ok()
}

fn act<Request: Consuming, Response: Serialize + Consumed>(
    operation: &str,
    mut request: Request,
    act: impl FnOnce(Request) -> dynoxide::Result<Response>,
) -> Option<(String, Units)> {
    let asked = request.asked().as_deref().is_some_and(|asked| asked != "NONE");
    if !asked {
        *request.asked() = Some(INDEXES.to_owned());
    }
    let mut response = act(request).ok()?;
    let consumed = response.take();
    let units = units_of(operation, &consumed);
    if asked {
        response.give(consumed);
    }
    Some((serde_json::to_string(&response).ok()?, units))
}
