//! DynamoDB: dynoxide on a file. Each call is told to report what it consumes, which is where the units of the counters
//! come from.
//!
//! Its own server runs beside it, since that server refuses what the service refuses, in the service's words, and its
//! parts are private. `direct.rs` spares the usual calls the way over it.

mod direct;
mod tokens;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use axum::body::Body;
use bytes::Bytes;
use dynoxide::{Database, types::ConsumedCapacity};
use http::{
    HeaderMap, HeaderValue, Request, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::net::TcpListener;

use self::{direct::Direct, tokens::Tokens};
use crate::{
    counters::Units,
    log::{self, HOST},
    model::Table,
};

/// Between two looks for expired items. AWS promises days.
const TTL_SWEEP_EVERY_S: u64 = 60;
/// A failed write costs what the write would have cost; without the item that is not known, so the least there is.
const FAILED_WRITE_UNITS: f64 = 1.0;
/// Transactions prepare and commit, and both are billed.
const TRANSACTION_FACTOR: f64 = 2.0;
/// What DynamoDB says of a token that comes with other items.
const TOKEN_REUSED: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#IdempotentParameterMismatchException",
"Message":"Request token was used with different parameters"}"#;
/// What DynamoDB's own checksum of an answer is called.
const CRC_HEADER: &str = "x-amz-crc32";

/// The database. Clones share it.
#[derive(Clone)]
pub struct Dynamo {
    database: Database,
    tokens: Arc<Mutex<Tokens>>,
    client: Client<HttpConnector, Full<Bytes>>,
    address: String,
}

impl std::fmt::Debug for Dynamo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dynamo").field("address", &self.address).finish_non_exhaustive()
    }
}

/// An answer of the database.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, without what the caller did not ask for.
    pub body: Bytes,
    /// What the call consumed.
    pub units: Units,
}

impl Answer {
    fn of(status: StatusCode, text: String, units: Units) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
        Self { status, headers, body: text.into(), units }
    }
}

impl Dynamo {
    /// Opens the database of this file and serves it on a port of its own.
    ///
    /// # Errors
    /// When the file is damaged or no port can be had.
    pub async fn open(path: &Path) -> Result<Self> {
        let name = path.to_str().context("the data folder's path is not UTF-8")?;
        let database = Database::new(name).map_err(|error| anyhow!("cannot open {name}: {error}"))?;
        // No fsync at commits: what was answered survives the end of this process, not that of the machine.
        database.enable_bulk_loading().map_err(|error| anyhow!("cannot set up {name}: {error}"))?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no port for the database")?;
        listener.set_nonblocking(true)?;
        let address = format!("http://{}", listener.local_addr()?);
        let served = database.clone();
        // SQLite works on the thread that serves, so it gets one of its own.
        let serve = move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                dynoxide::server::serve_on(TcpListener::from_std(listener)?, served).await;
                Ok(())
            })
        };
        thread::Builder::new().name("dynamodb".to_owned()).spawn(serve)?;
        tokio::spawn(sweep(database.clone()));
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Ok(Self {
            database,
            tokens: Arc::default(),
            client: Client::builder(TokioExecutor::new()).build(connector),
            address,
        })
    }

    /// Creates the table, or checks that it is as the template says.
    ///
    /// # Errors
    /// When the kept table has other keys or indexes than the template wants.
    pub fn declare(&self, table: &Table) -> Result<()> {
        let name = &table.name;
        let refused = |error: dynoxide::DynoxideError| anyhow!("table {name}: {error}");
        let describe = serde_json::from_value(serde_json::json!({ "TableName": name }))?;
        match self.database.describe_table(describe) {
            Ok(kept) => {
                let kept = serde_json::to_value(kept)?;
                check_keys(name, kept.get("Table").unwrap_or(&Value::Null), &table.create)?;
            }
            Err(dynoxide::DynoxideError::ResourceNotFoundException(_)) => {
                self.database.create_table(serde_json::from_value(table.create.clone())?).map_err(refused)?;
            }
            Err(error) => return Err(refused(error)),
        }
        if let Some(attribute) = &table.ttl_attribute {
            let ttl = serde_json::json!({
                "TableName": name, "TimeToLiveSpecification": { "AttributeName": attribute, "Enabled": true }
            });
            match self.database.update_time_to_live(serde_json::from_value(ttl)?) {
                // It was switched on in an earlier run.
                Err(dynoxide::DynoxideError::ValidationException(text)) if text.contains("already enabled") => {}
                other => drop(other.map_err(refused)?),
            }
        }
        Ok(())
    }

    /// Hands a request on and counts what it consumed.
    ///
    /// # Errors
    /// When the database's thread has ended, which is a bug.
    pub async fn call(&self, operation: &str, headers: &HeaderMap, body: Bytes) -> Result<Answer> {
        match direct::call(&self.database, &self.tokens, operation, &body) {
            Direct::Done(text, units) => return Ok(Answer::of(StatusCode::OK, text, units)),
            Direct::TokenReused => {
                return Ok(Answer::of(StatusCode::BAD_REQUEST, TOKEN_REUSED.to_owned(), Units::default()));
            }
            Direct::AskTheServer => {}
        }
        let answer = self.ask_the_server(operation, headers, body.clone()).await?;
        if operation == "TransactWriteItems" && answer.status.is_success() {
            direct::note(&self.tokens, &body, &answer.body);
        }
        Ok(answer)
    }

    async fn ask_the_server(&self, operation: &str, headers: &HeaderMap, body: Bytes) -> Result<Answer> {
        let (body, asked) = report_consumption(body);
        let sent = body.clone();
        let mut request = Request::post(&self.address);
        if let Some(to) = request.headers_mut() {
            let kept = headers.iter().filter(|(name, _)| *name != CONTENT_LENGTH);
            to.extend(kept.map(|(name, value)| (name.clone(), value.clone())));
        }
        let answer = self.client.request(request.body(Full::new(body))?).await?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        let (status, mut headers) = (parts.status, parts.headers);
        if !status.is_success() {
            return Ok(Answer { status, headers, units: failed_units(operation, &sent, &body), body });
        }
        let Some((units, stripped)) = take_consumption(operation, &body, asked) else {
            return Ok(Answer { status, headers, body, units: Units::default() });
        };
        if let Some(stripped) = &stripped {
            headers.remove(CRC_HEADER);
            headers.insert(CONTENT_LENGTH, HeaderValue::from(stripped.len()));
        }
        Ok(Answer { status, headers, body: stripped.unwrap_or(body), units })
    }
}

/// Removes expired items, again and again.
async fn sweep(database: Database) {
    loop {
        tokio::time::sleep(Duration::from_secs(TTL_SWEEP_EVERY_S)).await;
        let database = database.clone();
        let swept = tokio::task::spawn_blocking(move || database.sweep_ttl().map_err(|error| error.to_string())).await;
        if let Ok(Err(error)) = swept {
            log::line(HOST, &format!("expired items could not be swept: {error}"));
        }
    }
}

/// The tables that a request is about, with blanks between them.
#[must_use]
pub fn tables(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Peek {
        table_name: Option<String>,
        request_items: Option<std::collections::BTreeMap<String, serde::de::IgnoredAny>>,
        transact_items: Option<Vec<std::collections::BTreeMap<String, Target>>>,
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Target {
        table_name: Option<String>,
    }
    let Ok(peek) = serde_json::from_slice::<Peek>(body) else { return String::new() };
    let mut names: Vec<String> = peek.table_name.into_iter().collect();
    names.extend(peek.request_items.into_iter().flatten().map(|(name, _)| name));
    let targets = peek.transact_items.into_iter().flatten().flat_map(std::collections::BTreeMap::into_values);
    names.extend(targets.filter_map(|target| target.table_name));
    names.sort_unstable();
    names.dedup();
    names.join(" ")
}

/// How many items a transaction is about.
#[must_use]
pub fn transact_items(body: &[u8]) -> usize {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    request.get("TransactItems").and_then(Value::as_array).map_or(0, Vec::len)
}

/// Asks for consumed capacity where the caller did not, and says whether it did.
/// The text is changed rather than the value: the database checks requests as they were written.
fn report_consumption(body: Bytes) -> (Bytes, bool) {
    const FIELD: &[u8] = br#""ReturnConsumedCapacity""#;
    let asked = body.windows(FIELD.len()).any(|window| window == FIELD);
    let rest = match body.split_first() {
        Some((b'{', rest)) if !asked && rest.contains(&b':') => rest,
        _ => return (body, asked),
    };
    let text = [b"{".as_slice(), FIELD, br#":"INDEXES","#, rest].concat();
    (text.into(), asked)
}

/// The units of an answer, and the answer without them where the caller did not ask.
fn take_consumption(operation: &str, body: &[u8], asked: bool) -> Option<(Units, Option<Bytes>)> {
    let mut answer: Value = serde_json::from_slice(body).ok()?;
    let consumed = answer.as_object_mut()?.remove("ConsumedCapacity")?;
    let units = consumed_units(operation, consumed);
    let stripped = if asked { None } else { serde_json::to_vec(&answer).ok().map(Bytes::from) };
    Some((units, stripped))
}

/// As the database's server writes it: of one table, or of several.
fn consumed_units(operation: &str, consumed: Value) -> Units {
    let one = |consumed| serde_json::from_value(consumed).ok();
    let consumed: Vec<ConsumedCapacity> = match consumed {
        Value::Array(several) => several.into_iter().filter_map(one).collect(),
        other => one(other).into_iter().collect(),
    };
    units_of(operation, &consumed)
}

/// Only transactions say whether they read or wrote; of all else the operation tells.
#[allow(clippy::float_arithmetic, reason = "units are no money")]
fn units_of(operation: &str, consumed: &[ConsumedCapacity]) -> Units {
    let writes = matches!(
        operation,
        "PutItem" | "UpdateItem" | "DeleteItem" | "BatchWriteItem" | "TransactWriteItems" | "ExecuteStatement"
    );
    consumed.iter().fold(Units::default(), |sum, consumed| {
        let either = consumed.capacity_units;
        let (read, write) = match (consumed.read_capacity_units, consumed.write_capacity_units) {
            (None, None) if writes => (0.0, either),
            (None, None) => (either, 0.0),
            (read, write) => (read.unwrap_or_default(), write.unwrap_or_default()),
        };
        Units { read: sum.read + read, write: sum.write + write }
    })
}

/// A write that a condition or another transaction refused is billed all the same.
#[allow(clippy::float_arithmetic, reason = "units are no money")]
fn failed_units(operation: &str, request: &[u8], answer: &[u8]) -> Units {
    let is = |name: &[u8]| answer.windows(name.len()).any(|window| window == name);
    let write = match operation {
        "PutItem" | "UpdateItem" | "DeleteItem" if is(b"ConditionalCheckFailedException") => FAILED_WRITE_UNITS,
        "TransactWriteItems" if is(b"TransactionCanceledException") => {
            u32::try_from(transact_items(request)).map_or(0.0, f64::from) * FAILED_WRITE_UNITS * TRANSACTION_FACTOR
        }
        _ => 0.0,
    };
    Units { read: 0.0, write }
}

/// The kept table must have the keys that the template wants: items cannot be moved to others.
fn check_keys(name: &str, kept: &Value, wanted: &Value) -> Result<()> {
    let indexes = |table: &Value, field: &str| {
        let parts = |index: &Value| ["IndexName", "KeySchema", "Projection"].map(|part| index.get(part).cloned());
        let indexes = table.get(field).and_then(Value::as_array).into_iter().flatten();
        let mut indexes: Vec<String> = indexes.map(|index| format!("{:?}", parts(index))).collect();
        indexes.sort_unstable();
        indexes
    };
    let same = kept.get("KeySchema") == wanted.get("KeySchema")
        && indexes(kept, "GlobalSecondaryIndexes") == indexes(wanted, "GlobalSecondaryIndexes")
        && indexes(kept, "LocalSecondaryIndexes") == indexes(wanted, "LocalSecondaryIndexes");
    if !same {
        bail!("table {name}: the kept data has other keys or indexes than the template; start with --fresh");
    }
    Ok(())
}

/// The answer as the front sends it.
impl From<Answer> for http::Response<Body> {
    fn from(answer: Answer) -> Self {
        let mut response = Self::new(Body::from(answer.body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(create_range: bool) -> Table {
        let mut create = json!({
            "TableName": "things", "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
        });
        if create_range {
            create["AttributeDefinitions"]
                .as_array_mut()
                .unwrap()
                .push(json!({ "AttributeName": "sk", "AttributeType": "S" }));
            create["KeySchema"].as_array_mut().unwrap().push(json!({ "AttributeName": "sk", "KeyType": "RANGE" }));
        }
        Table { name: "things".to_owned(), create, ttl_attribute: Some("ttl".to_owned()) }
    }

    fn headers(operation: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let set: [(&'static str, String); 4] = [
            ("x-amz-target", format!("DynamoDB_20120810.{operation}")),
            ("content-type", "application/x-amz-json-1.0".to_owned()),
            ("x-amz-date", "20260101T000000Z".to_owned()),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature=00"
                    .to_owned(),
            ),
        ];
        for (name, value) in set {
            headers.insert(name, value.parse().unwrap());
        }
        headers
    }

    async fn call(dynamo: &Dynamo, operation: &str, body: Value) -> (StatusCode, Value, Units) {
        let answer = dynamo.call(operation, &headers(operation), body.to_string().into()).await.unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap(), answer.units)
    }

    #[tokio::test]
    async fn units_are_counted_and_not_shown_to_those_who_did_not_ask() {
        let folder = tempfile::tempdir().unwrap();
        let dynamo = Dynamo::open(&folder.path().join("tables.db")).await.unwrap();
        dynamo.declare(&table(false)).unwrap();
        let item = json!({ "pk": { "S": "a" }, "v": { "S": "x".repeat(1500) } });

        let (status, answer, units) = call(&dynamo, "PutItem", json!({ "TableName": "things", "Item": item })).await;
        assert_eq!((status, answer, units.write.to_string()), (StatusCode::OK, json!({}), "2".to_owned()));

        let get = json!({ "TableName": "things", "Key": { "pk": { "S": "a" } }, "ReturnConsumedCapacity": "TOTAL" });
        let (_, answer, units) = call(&dynamo, "GetItem", get).await;
        assert_eq!((answer["Item"].clone(), units.read.to_string()), (item.clone(), "0.5".to_owned()));
        assert_eq!(answer["ConsumedCapacity"]["TableName"], "things");

        let absent = json!({ "TableName": "things", "Item": item, "ConditionExpression": "attribute_not_exists(pk)" });
        let (status, _, units) = call(&dynamo, "PutItem", absent).await;
        assert_eq!((status, units.write.to_string()), (StatusCode::BAD_REQUEST, "1".to_owned()));

        let put = |pk: &str| json!({ "Put": { "TableName": "things", "Item": { "pk": { "S": pk } } } });
        let (status, _, units) =
            call(&dynamo, "TransactWriteItems", json!({ "TransactItems": [put("b"), put("c")] })).await;
        assert_eq!((status, units.write.to_string()), (StatusCode::OK, "4".to_owned()));
    }

    #[tokio::test]
    async fn a_transaction_is_done_once_under_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let dynamo = Dynamo::open(&folder.path().join("tables.db")).await.unwrap();
        dynamo.declare(&table(false)).unwrap();
        let add = |pk: &str| {
            let update = json!({ "TableName": "things", "Key": { "pk": { "S": pk } }, "UpdateExpression": "ADD n :one",
                                 "ExpressionAttributeValues": { ":one": { "N": "1" } } });
            json!({ "TransactItems": [{ "Update": update }], "ClientRequestToken": "t" })
        };
        for _ in 0..2 {
            let (status, answer, _) = call(&dynamo, "TransactWriteItems", add("a")).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
        }
        let get = json!({ "TableName": "things", "Key": { "pk": { "S": "a" } } });
        assert_eq!(call(&dynamo, "GetItem", get).await.1["Item"]["n"]["N"], "1");
        let (status, answer, _) = call(&dynamo, "TransactWriteItems", add("b")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(answer["__type"].as_str().unwrap().ends_with("IdempotentParameterMismatchException"), "{answer}");
    }

    #[tokio::test]
    async fn tables_are_kept_and_other_keys_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tables.db");
        for _ in 0..2 {
            Dynamo::open(&path).await.unwrap().declare(&table(false)).unwrap();
        }
        let error = Dynamo::open(&path).await.unwrap().declare(&table(true)).unwrap_err().to_string();
        assert!(error.contains("table things") && error.contains("--fresh"), "{error}");
    }

    #[test]
    fn a_request_names_its_tables() {
        for (request, names) in [
            (json!({ "TableName": "a" }), "a"),
            (json!({ "RequestItems": { "b": {}, "a": {} } }), "a b"),
            (
                json!({ "TransactItems": [{ "Put": { "TableName": "b" } }, { "Update": { "TableName": "a" } },
                                          { "Put": { "TableName": "b" } }] }),
                "a b",
            ),
            (json!({}), ""),
        ] {
            assert_eq!(tables(request.to_string().as_bytes()), names);
        }
    }
}
