//! DynamoDB inside the test's own thread: the SDK's wire format without a wire. Calls end in the order in which they
//! were made, so a run can be repeated exactly, and each passes the point of faults.

use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::{
    client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use dynoxide::Database;
use serde::{Serialize, de::DeserializeOwned};

use super::{Fault, Faults, Kind};

/// The name under which no call is counted and none goes wrong: the test's own.
const TEST: &str = "test";

/// A database for one run, with all tables.
#[derive(Clone)]
pub struct InProcess {
    database: Database,
    test_client: Client,
}

impl InProcess {
    /// An empty database.
    pub async fn start() -> Self {
        let database = Database::memory().unwrap();
        let test_client = client(&database, TEST, &Faults::new(super::Plan::Calm));
        crate::dynamo::create_tables(&test_client).await;
        Self { database, test_client }
    }

    /// How many items of this table meet this condition on the attribute `#a`: asked directly, and so cheaply that a
    /// run can do so all the time.
    pub fn count(&self, table: &str, attribute: &str, condition: &str, value: Option<i64>) -> u64 {
        let mut request = serde_json::json!({
            "TableName": table,
            "FilterExpression": condition,
            "ExpressionAttributeNames": { "#a": attribute },
        });
        if let Some(value) = value {
            request["ExpressionAttributeValues"] = serde_json::json!({ ":value": { "N": value.to_string() } });
        }
        let found = self.database.scan(serde_json::from_value(request).unwrap()).unwrap();
        serde_json::to_value(found).unwrap()["Count"].as_u64().unwrap()
    }

    /// A client for the test's own use.
    pub fn test_client(&self) -> Client {
        self.test_client.clone()
    }

    /// A client for a function, whose every call may go wrong.
    pub fn client(&self, component: &'static str, faults: &Faults) -> Client {
        client(&self.database, component, faults)
    }
}

fn client(database: &Database, component: &'static str, faults: &Faults) -> Client {
    let connector = Connector { database: database.clone(), component, faults: faults.clone() };
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        // Nobody checks signatures here, and they would be a good part of a run.
        .allow_no_auth()
        .retry_config(aws_config::retry::RetryConfig::disabled())
        .stalled_stream_protection(aws_sdk_dynamodb::config::StalledStreamProtectionConfig::disabled())
        .http_client(connector);
    Client::from_conf(config.build())
}

#[derive(Clone)]
struct Connector {
    database: Database,
    component: &'static str,
    faults: Faults,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connector({})", self.component)
    }
}

impl HttpClient for Connector {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let this = self.clone();
        HttpConnectorFuture::new(async move {
            let target = request.headers().get("x-amz-target").unwrap_or_default();
            let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
            let body = request.body().bytes().unwrap_or_default().to_vec();
            if this.component == TEST {
                return Ok(answer(&this.database, &operation, &body));
            }
            let kind = match operation.as_str() {
                "TransactWriteItems" => Kind::Transaction,
                "PutItem" | "UpdateItem" | "DeleteItem" | "BatchWriteItem" => Kind::Write,
                _ => Kind::Read,
            };
            let label = format!("dynamodb.{operation} {}", table(&body));
            let passed =
                this.faults.pass(this.component, kind, &label, async || answer(&this.database, &operation, &body));
            match passed.await {
                Ok(response) => Ok(response),
                Err(Fault::TimeoutBefore | Fault::TimeoutAfter) => Err(ConnectorError::timeout("told to".into())),
                Err(Fault::Throttled) => Ok(error(400, "ProvisionedThroughputExceededException")),
                Err(Fault::TransactionConflict) if kind == Kind::Transaction => Ok(conflict()),
                Err(Fault::TransactionConflict) => Ok(error(400, "TransactionConflictException")),
                Err(_) => Ok(error(500, "InternalServerError")),
            }
        })
    }
}

/// The table that a request names first: for the label.
fn table(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let named = text.split("\"TableName\":\"").nth(1).or_else(|| text.split("\"RequestItems\":{\"").nth(1));
    named.and_then(|rest| rest.split('"').next()).unwrap_or("?").to_owned()
}

fn error(status: u16, code: &str) -> HttpResponse {
    let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"told to"}}"#);
    response(status, body)
}

fn conflict() -> HttpResponse {
    let body = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"told to",
        "CancellationReasons":[{"Code":"TransactionConflict","Message":"told to"}]}"#;
    response(400, body.to_owned())
}

fn response(status: u16, body: String) -> HttpResponse {
    HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body))
}

fn answer(database: &Database, operation: &str, body: &[u8]) -> HttpResponse {
    let result = match operation {
        "PutItem" => act(body, |request| database.put_item(request)),
        "GetItem" => act(body, |request| database.get_item(request)),
        "UpdateItem" => act(body, |request| database.update_item(request)),
        "DeleteItem" => act(body, |request| database.delete_item(request)),
        "Query" => act(body, |request| database.query(request)),
        "Scan" => act(body, |request| database.scan(request)),
        "BatchGetItem" => act(body, |request| database.batch_get_item(request)),
        "BatchWriteItem" => act(body, |request| database.batch_write_item(request)),
        "TransactWriteItems" => act(body, |request| database.transact_write_items(request)),
        "CreateTable" => act(body, |request| database.create_table(request)),
        other => panic!("no function calls {other}, as far as this harness knows"),
    };
    match result {
        Ok(text) => response(200, text),
        Err(error) => response(error.status_code(), error.to_json()),
    }
}

fn act<Request: DeserializeOwned, Response: Serialize>(
    body: &[u8],
    act: impl FnOnce(Request) -> dynoxide::Result<Response>,
) -> dynoxide::Result<String> {
    let request = serde_json::from_slice(body).unwrap_or_else(|error| panic!("not a request: {error}"));
    act(request).map(|response| serde_json::to_string(&response).unwrap())
}

#[cfg(test)]
mod tests {
    use florin_store::{
        StoreError,
        payments::{Payments, Written},
    };

    use super::*;
    use crate::{build, faults::Plan};

    /// Creates a payment under this fault; what the caller learns, and whether the payment is there.
    async fn create(fault: Fault) -> (Result<Written, StoreError>, bool) {
        let dynamo = InProcess::start().await;
        let payment = build::payment(&build::merchant("shop").id, "k");
        let faulty = Payments::new(dynamo.client("api", &Faults::new(Plan::At(1, fault))), "payments");
        let learned = faulty.create(&payment).await;
        let found = Payments::new(dynamo.test_client(), "payments").get_of_any_merchant(&payment.id).await.unwrap();
        (learned, found.is_some())
    }

    #[tokio::test]
    async fn the_store_sees_every_fault_as_dynamodb_would_show_it() {
        for (fault, effect) in [
            (Fault::ErrorBefore, false),
            (Fault::ErrorAfter, true),
            (Fault::TimeoutAfter, true),
            (Fault::Throttled, false),
            (Fault::TransactionConflict, false),
        ] {
            let (learned, found) = create(fault).await;
            assert!(learned.as_ref().is_err_and(StoreError::is_retryable), "{fault:?}: {learned:?}");
            assert_eq!(found, effect, "{fault:?}");
        }
        let (learned, found) = create(Fault::Repeated).await;
        assert!(matches!(learned, Ok(Written::Done(_))) && found, "{learned:?}");
    }
}
