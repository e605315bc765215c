//! DynamoDB inside the test: dynoxide on SQLite in memory, behind the real SDK and the real wire protocol.

use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::{
    Client,
    config::Credentials,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
        ScalarAttributeType,
    },
};
use florin_store::schema::{Index, TABLES, Table};

use crate::meter::Meter;

/// A database of its own for one test, with all tables. It ends with the test's process.
#[derive(Debug, Clone)]
pub struct Dynamo {
    /// A client without the SDK's own retries: a fault that a test injects is seen once.
    pub client: Client,
    /// Counts what the client does.
    pub meter: Meter,
    /// Where it listens.
    pub endpoint: String,
}

impl Dynamo {
    /// Starts the database and creates all tables, named as in `schema`.
    pub async fn start() -> Self {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // SQLite works on the thread that serves: it must not be the test's.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                dynoxide::server::serve_on(listener, dynoxide::Database::memory().unwrap()).await;
            });
        });
        let endpoint = format!("http://{}", receiver.await.unwrap());
        let meter = Meter::default();
        let client = client(&endpoint, &meter).await;
        create_tables(&client).await;
        meter.reset();
        Self { client, meter, endpoint }
    }
}

/// Creates all tables, named as in `schema`.
pub(crate) async fn create_tables(client: &Client) {
    for table in &TABLES {
        create(client, table).await;
    }
}

async fn client(endpoint: &str, meter: &Meter) -> Client {
    let config = test_config(endpoint).await;
    Client::from_conf(aws_sdk_dynamodb::config::Builder::from(&config).interceptor(meter.clone()).build())
}

/// The configuration of a client that calls `endpoint`, once: the SDK's own retries are off.
pub async fn test_config(endpoint: &str) -> aws_config::SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .retry_config(aws_config::retry::RetryConfig::disabled())
        .load()
        .await
}

async fn create(client: &Client, table: &Table) {
    let mut attributes = vec![(table.hash, ScalarAttributeType::S)];
    attributes.extend(table.range.map(|range| (range, ScalarAttributeType::S)));
    for index in table.indexes {
        for attribute in [(index.hash, ScalarAttributeType::S), (index.range, ScalarAttributeType::N)] {
            // Several indexes may sort by the same one.
            if !attributes.contains(&attribute) {
                attributes.push(attribute);
            }
        }
    }
    let attributes = attributes
        .into_iter()
        .map(|(name, kind)| AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap())
        .collect();
    let indexes: Vec<_> = table.indexes.iter().map(index).collect();
    client
        .create_table()
        .table_name(table.name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(attributes))
        .set_key_schema(Some(keys(table.hash, table.range)))
        .set_global_secondary_indexes((!indexes.is_empty()).then_some(indexes))
        .send()
        .await
        .unwrap();
}

fn keys(hash: &str, range: Option<&str>) -> Vec<KeySchemaElement> {
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let mut keys = vec![key(hash, KeyType::Hash)];
    keys.extend(range.map(|range| key(range, KeyType::Range)));
    keys
}

fn index(index: &Index) -> GlobalSecondaryIndex {
    let include: Vec<String> = index.include.iter().map(|name| (*name).to_owned()).collect();
    let projection = if include.is_empty() {
        Projection::builder().projection_type(ProjectionType::KeysOnly)
    } else {
        Projection::builder().projection_type(ProjectionType::Include).set_non_key_attributes(Some(include))
    };
    GlobalSecondaryIndex::builder()
        .index_name(index.name)
        .set_key_schema(Some(keys(index.hash, Some(index.range))))
        .projection(projection.build())
        .build()
        .unwrap()
}
