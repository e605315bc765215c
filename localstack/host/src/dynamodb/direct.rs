//! The operations that functions live on, called in this process: half of what a call costs is its second trip over
//! loopback.
//!
//! What goes well is answered from here. Whatever does not, a request that cannot be read or an operation that is
//! refused, has had no effect and goes to the database's own server, which knows how DynamoDB says it.

use dynoxide::{Database, types::ConsumedCapacity};
use serde::{Serialize, de::DeserializeOwned};

use super::units_of;
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

/// The answer's body and what was consumed; `None` when the server must say why not.
pub(super) fn call(database: &Database, operation: &str, body: &[u8]) -> Option<(String, Units)> {
    match operation {
        "PutItem" => run(operation, body, |request| database.put_item(request)),
        "GetItem" => run(operation, body, |request| database.get_item(request)),
        "UpdateItem" => run(operation, body, |request| database.update_item(request)),
        "DeleteItem" => run(operation, body, |request| database.delete_item(request)),
        "Query" => run(operation, body, |request| database.query(request)),
        "BatchGetItem" => run(operation, body, |request| database.batch_get_item(request)),
        "TransactWriteItems" => run(operation, body, |request| database.transact_write_items(request)),
        _ => None,
    }
}

fn run<Request: DeserializeOwned + Consuming, Response: Serialize + Consumed>(
    operation: &str,
    body: &[u8],
    act: impl FnOnce(Request) -> dynoxide::Result<Response>,
) -> Option<(String, Units)> {
    let mut request: Request = serde_json::from_slice(body).ok()?;
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
