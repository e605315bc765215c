//! The whole host on a small template: one address, faults, counters, changes of the template, data that is kept.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use florin_host::host::{Host, Options};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Parameters:
  Greeting: { Type: String, Default: hello }
Resources:
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{ AttributeName: pk, AttributeType: S }]
      KeySchema: [{ AttributeName: pk, KeyType: HASH }]
  Work:
    Type: AWS::SQS::Queue
    Properties: { VisibilityTimeout: 60 }
  Tested:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda, BuildProperties: { Binary: test_function } }
    Properties:
      CodeUri: .
      Runtime: provided.al2023
      Handler: bootstrap
      FunctionName: shop-tested
      Timeout: 5
      Environment: { Variables: { GREETING: !Ref Greeting, TABLE: !Ref Things } }
      Events:
        Work: { Type: SQS, Properties: { Queue: !GetAtt Work.Arn, FunctionResponseTypes: [ReportBatchItemFailures] } }
  Api: { Type: AWS::ApiGatewayV2::Api, Properties: { Name: tested, ProtocolType: HTTP } }
  Integration:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Api
      IntegrationType: AWS_PROXY
      IntegrationUri: !GetAtt Tested.Arn
      PayloadFormatVersion: "2.0"
  Route:
    Type: AWS::ApiGatewayV2::Route
    Properties: { ApiId: !Ref Api, RouteKey: $default, Target: !Sub "integrations/${Integration}" }
  Stage:
    Type: AWS::ApiGatewayV2::Stage
    Properties: { ApiId: !Ref Api, StageName: $default, AutoDeploy: true }
Outputs:
  Api: { Value: !Ref Api }
  Queue: { Value: !Ref Work }
  Table: { Value: !Ref Things }
"#;

struct Bench {
    host: Host,
    http: reqwest::Client,
    folder: TempDir,
}

fn options(folder: &Path) -> Options {
    let here = env::current_exe().unwrap();
    Options {
        template: folder.join("template.yaml"),
        parameters: BTreeMap::new(),
        binaries: here.parent().unwrap().parent().unwrap().join("examples"),
        data: folder.join("data"),
        fresh: false,
        port: 0,
        stack_name: "shop".to_owned(),
        region: "eu-central-1".to_owned(),
        freeze: false,
        colour: false,
        extra_environment: Vec::new(),
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap()
}

impl Bench {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("template.yaml"), TEMPLATE).unwrap();
        let host = Host::start(options(folder.path())).await.unwrap();
        Self { host, http: client(), folder }
    }

    /// Stops the host and starts another one on the same folder.
    async fn again(self, fresh: bool) -> Self {
        let Self { host, http, folder } = self;
        host.stop().await;
        for _ in 0..100 {
            // Within one process the last handle of the old host's files may close a moment later.
            if let Ok(host) = Host::start(Options { fresh, ..options(folder.path()) }).await {
                return Self { host, http, folder };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the host does not start again");
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.host.endpoint())
    }

    fn output(&self, name: &str) -> &str {
        &self.host.outputs()[name]
    }

    /// A call of a service as an SDK makes it.
    async fn call(&self, target: &str, body: Value) -> reqwest::Result<(StatusCode, Value)> {
        let request =
            self.http.post(self.url("/")).header("x-amz-target", target).header("x-amz-date", "20260101T000000Z");
        let credential = "AWS4-HMAC-SHA256 Credential=test/20260101/eu-central-1/any/aws4_request, SignedHeaders=host, \
                          Signature=0";
        let request = request.header("authorization", credential).header("content-type", "application/x-amz-json-1.0");
        let answer = request.body(body.to_string()).send().await?;
        Ok((answer.status(), answer.json().await?))
    }

    async fn put(&self, pk: &str) -> reqwest::Result<(StatusCode, Value)> {
        let put = json!({ "TableName": self.output("Table"), "Item": { "pk": { "S": pk } } });
        self.call("DynamoDB_20120810.PutItem", put).await
    }

    async fn has(&self, pk: &str) -> bool {
        let get = json!({ "TableName": self.output("Table"), "Key": { "pk": { "S": pk } }, "ConsistentRead": true });
        let (status, answer) = self.call("DynamoDB_20120810.GetItem", get).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer.get("Item").is_some()
    }

    /// A request to the API.
    async fn api(&self, path: &str) -> (StatusCode, Value) {
        let answer = self.http.get(self.url(&format!("/_aws/execute-api/{}{path}", self.output("Api")))).send().await;
        let answer = answer.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn control(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.http.request(method, self.url(path));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    /// Puts one rule in force, instead of all others.
    async fn fault(&self, rule: Value) {
        self.control(Method::DELETE, "/_host/faults", None).await;
        let (status, answer) = self.control(Method::POST, "/_host/faults", Some(rule)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_do_what_they_say() {
    let bench = Bench::start().await;
    // Kind, status of the answer (none when the connection ends), whether the item is there.
    for (kind, status, written) in [
        ("throttle", Some(400), false),
        ("error_before", Some(500), false),
        ("error_after", Some(500), true),
        ("conflict", Some(400), false),
        ("outage", Some(503), false),
        ("drop_reply", None, true),
    ] {
        bench.fault(json!({ "service": "dynamodb", "operation": "PutItem", "fault": { "kind": kind } })).await;
        let answer = bench.put(kind).await;
        assert_eq!(answer.as_ref().ok().map(|(status, _)| status.as_u16()), status, "{kind}");
        assert_eq!(bench.has(kind).await, written, "{kind}");
    }
    let put = |pk: &str| json!({ "Put": { "TableName": bench.output("Table"), "Item": { "pk": { "S": pk } } } });
    bench
        .fault(json!({ "service": "dynamodb", "fault": { "kind": "conflict" }, "operation": "TransactWriteItems" }))
        .await;
    let both = json!({ "TransactItems": [put("a"), put("b")] });
    let (status, answer) = bench.call("DynamoDB_20120810.TransactWriteItems", both).await.unwrap();
    let codes: Vec<_> = answer["CancellationReasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| reason["Code"].as_str().unwrap())
        .collect();
    assert_eq!((status.as_u16(), codes), (400, vec!["TransactionConflict", "None"]), "one reason for each item");
    for (kind, hidden) in [("delay", true), ("delay_after", false)] {
        let fault = json!({ "kind": kind, "delay_ms": 300 });
        bench.fault(json!({ "service": "dynamodb", "operation": "PutItem", "fault": fault })).await;
        let (begun, seen) = (Instant::now(), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            bench.has(kind).await
        });
        let (answer, seen) = tokio::join!(bench.put(kind), seen);
        assert_eq!((answer.unwrap().0, seen), (StatusCode::OK, !hidden), "{kind}");
        assert!(begun.elapsed() >= Duration::from_millis(300), "{kind}");
    }
    bench.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_killed_at_the_call_that_a_rule_names() {
    let bench = Bench::start().await;
    assert_eq!(bench.api("/plain").await, (StatusCode::OK, json!({ "answered": "HTTP/1.1 200 OK" })));
    for (service, operation, kind, written) in [
        ("dynamodb", "PutItem", "kill_before", false),
        ("dynamodb", "PutItem", "kill_after", true),
        ("function", "Invoke", "kill_before", false),
        ("function", "Invoke", "kill_after", true),
    ] {
        let rule = json!({ "service": service, "operation": operation, "times": 1, "fault": { "kind": kind } });
        bench.fault(rule).await;
        let path = format!("/{service}/{kind}");
        let (status, _) = bench.api(&path).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert_eq!(bench.has(&path).await, written, "{path}");
        assert_eq!(bench.api("/next").await.0, StatusCode::OK, "{path}: the next one is served by a new process");
    }
    bench.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_invoked_by_hand_and_rules_count_that_too() {
    let bench = Bench::start().await;
    let invoke = |name: &'static str| {
        let event = json!({ "do": "echo", "n": 7 });
        bench.control(Method::POST, name, Some(event))
    };
    let (status, answer) = invoke("/_host/invoke/shop-tested").await;
    assert_eq!((status, &answer["event"]["n"]), (StatusCode::OK, &json!(7)), "{answer}");
    assert_eq!(invoke("/_host/invoke/shop").await.0, StatusCode::NOT_FOUND, "a part of a name is no name");
    bench.fault(json!({ "service": "function", "times": 1, "fault": { "kind": "kill_before" } })).await;
    assert_eq!(invoke("/_host/invoke/shop-tested").await.0, StatusCode::BAD_GATEWAY);
    assert_eq!(invoke("/_host/invoke/shop-tested").await.0, StatusCode::OK);
    bench.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_by_caller_and_resource() {
    let bench = Bench::start().await;
    bench.api("/counted").await;
    bench.put("counted").await.unwrap();
    let (_, counters) = bench.control(Method::GET, "/_host/counters", None).await;
    let calls = counters["calls"].as_array().unwrap();
    for (function, count) in [("shop-tested", 1), ("client", 1)] {
        let line = calls.iter().find(|line| line["operation"] == "PutItem" && line["function"] == function).unwrap();
        assert_eq!((&line["count"], &line["write_units"]), (&json!(count), &json!(1.0)), "{line}");
        assert_eq!(line["resource"], bench.output("Table"));
    }
    assert_eq!(counters["invocations"][0]["function"], "shop-tested");
    assert_eq!(counters["invocations"][0]["cold_starts"], 1);
    let metrics = bench.http.get(bench.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("host_invocations_total{function=\"shop-tested\"} 1\n"), "{metrics}");
    bench.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_loopback_names_are_answered_and_strangers_are_told() {
    let bench = Bench::start().await;
    let stranger = bench.http.get(bench.url("/_host/counters")).header("host", "evil.example").send().await.unwrap();
    assert_eq!(stranger.status(), StatusCode::FORBIDDEN);
    let (status, text) = {
        let answer = bench.http.post(bench.url("/")).header("x-amz-target", "Kinesis_20131202.PutRecord").send().await;
        let answer = answer.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    assert_eq!(status, StatusCode::NOT_IMPLEMENTED);
    assert!(text.contains("Kinesis_20131202.PutRecord"), "{text}");
    let (status, answer) = bench
        .control(
            Method::POST,
            "/_host/faults",
            Some(json!({ "service": "sqs", "nth": 0, "fault": { "kind": "outage" } })),
        )
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["error"].as_str().unwrap().starts_with("nth"), "{answer}");
    bench.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_template_is_applied_and_a_faulty_one_changes_nothing() {
    let mut bench = Bench::start().await;
    let path = bench.folder.path().join("template.yaml");
    assert_eq!(bench.api("/greeting").await.1, json!({ "greeting": "hello" }));

    fs::write(&path, TEMPLATE.replace("Default: hello", "Default: good day")).unwrap();
    bench.host.reload().await.unwrap();
    assert_eq!(bench.api("/greeting").await.1, json!({ "greeting": "good day" }));

    fs::write(&path, TEMPLATE.replace("VisibilityTimeout: 60", "FifoQueue: true")).unwrap();
    let error = format!("{:#}", bench.host.reload().await.unwrap_err());
    assert!(error.contains("line 14: Work: "), "{error}");
    assert_eq!(bench.api("/greeting").await.1, json!({ "greeting": "good day" }));
    bench.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_kept_from_start_to_start_and_belongs_to_one_host() {
    let bench = Bench::start().await;
    bench.put("kept").await.unwrap();
    let error = Host::start(options(bench.folder.path())).await.unwrap_err().to_string();
    assert!(error.contains("another host"), "{error}");
    let bench = bench.again(false).await;
    assert!(bench.has("kept").await);
    let bench = bench.again(true).await;
    assert!(!bench.has("kept").await);
    bench.host.stop().await;
}

#[test]
fn the_test_function_is_built() {
    let binary: PathBuf = options(Path::new(".")).binaries.join("test_function");
    assert!(binary.is_file(), "build it first: cargo build -p florin-host --example test_function");
}
