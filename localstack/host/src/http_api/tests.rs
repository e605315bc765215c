#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use std::sync::Mutex;

use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::*;

/// What a function does in a test.
#[derive(Debug, Clone)]
enum Behaviour {
    Returns(Vec<u8>),
    Fails(InvokeError),
    Panics,
    /// Returns nothing before this.
    Takes(Duration),
}

#[derive(Debug, Clone)]
struct FakeFunctions {
    behaviour: Behaviour,
    events: Arc<Mutex<Vec<(String, Value)>>>,
    finished: Arc<Mutex<usize>>,
}

impl Invoke for FakeFunctions {
    fn invoke(&self, function: String, payload: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, InvokeError>> {
        self.events.lock().unwrap().push((function, serde_json::from_slice(&payload).unwrap()));
        let (behaviour, finished) = (self.behaviour.clone(), Arc::clone(&self.finished));
        Box::pin(async move {
            let result = match behaviour {
                Behaviour::Returns(bytes) => Ok(bytes),
                Behaviour::Fails(error) => Err(error),
                Behaviour::Panics => panic!("on purpose"),
                Behaviour::Takes(time) => {
                    tokio::time::sleep(time).await;
                    Ok(b"{}".to_vec())
                }
            };
            *finished.lock().unwrap() += 1;
            result
        })
    }
}

struct Fixture {
    apis: HttpApis,
    functions: FakeFunctions,
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).into_iter().map(|value| value.to_str().unwrap()).collect()
    }
}

fn route(key: &str) -> model::Route {
    model::Route { key: key.to_owned(), function: "Function".to_owned(), timeout: Duration::from_secs(16) }
}

fn api(keys: &[&str]) -> model::HttpApi {
    model::HttpApi {
        id: "abcdefghij".to_owned(),
        name: "test".to_owned(),
        routes: keys.iter().map(|key| route(key)).collect(),
        stage: "$default".to_owned(),
        throttle: None,
        cors: None,
    }
}

fn url() -> model::FunctionUrl {
    model::FunctionUrl { id: "urlid".to_owned(), function: "Function".to_owned(), cors: None }
}

impl Fixture {
    fn new(api: model::HttpApi, behaviour: Behaviour) -> Self {
        let functions = FakeFunctions { behaviour, events: Arc::default(), finished: Arc::default() };
        let place = model::Place {
            stack_name: "test".to_owned(),
            region: "eu-central-1".to_owned(),
            endpoint: "http://127.0.0.1:4566".to_owned(),
        };
        let apis = HttpApis::with_invoker(place, Box::new(functions.clone()));
        apis.declare(&[api], &[url()]);
        Self { apis, functions }
    }

    fn returning(value: &Value) -> Self {
        Self::new(api(&["$default"]), Behaviour::Returns(value.to_string().into_bytes()))
    }

    async fn call(&self, id: &str, path: &str, request: Request) -> Answer {
        let (parts, body) = self.apis.call(id, path, request).await.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8_lossy(&body).into_owned();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// To the HTTP API.
    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        self.call("abcdefghij", path.split('?').next().unwrap(), request(method, path, headers, body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Body::empty()).await
    }

    /// The event of the last invocation.
    fn event(&self) -> Value {
        self.functions.events.lock().unwrap().last().unwrap().1.clone()
    }
}

fn request(method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request {
    let mut request = Request::builder().method(method).uri(format!("http://127.0.0.1:4566/_aws/execute-api/x{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

#[tokio::test]
async fn an_event_has_every_documented_field() {
    let fixture = Fixture::new(api(&["POST /my/{id}"]), Behaviour::Returns(b"{}".to_vec()));
    let headers = [
        ("host", "127.0.0.1:4566"),
        ("Header2", "value1"),
        ("header2", "value2"),
        ("cookie", "cookie1=a; cookie2=b"),
        ("cookie", "cookie3=c"),
        ("user-agent", "agent"),
        ("content-type", "application/json"),
        ("connection", "keep-alive"),
        ("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793"),
    ];

    let path = "/my/gr%C3%BC%C3%9Fe?parameter1=value1&parameter1=value%202&parameter2=value";
    let answer = fixture.send(Method::POST, path, &headers, "{\"a\":1}").await;

    assert_eq!(answer.status, 200);
    let mut event = fixture.event();
    let context = event["requestContext"].as_object_mut().unwrap();
    let request_id = context.remove("requestId").unwrap();
    let epoch = context.remove("timeEpoch").unwrap().as_u64().unwrap();
    let time = context.remove("time").unwrap();
    assert_eq!(answer.header("apigw-requestid"), [request_id.as_str().unwrap()]);
    assert_eq!(request_id.as_str().unwrap().len(), 16);
    assert!(epoch > 1_700_000_000_000 && time.as_str().unwrap().ends_with(" +0000"), "{time} {epoch}");
    assert_eq!(
        event,
        json!({
            "version": "2.0",
            "routeKey": "POST /my/{id}",
            "rawPath": "/my/grüße",
            "rawQueryString": "parameter1=value1&parameter1=value%202&parameter2=value",
            "cookies": ["cookie1=a", "cookie2=b", "cookie3=c"],
            "headers": {
                "content-length": "7",
                "content-type": "application/json",
                "header2": "value1,value2",
                "host": "127.0.0.1:4566",
                "user-agent": "agent",
                "x-amzn-trace-id": "Root=1-5759e988-bd862e3fe1be46a994272793",
                "x-forwarded-for": "127.0.0.1",
                "x-forwarded-port": "4566",
                "x-forwarded-proto": "http",
            },
            "queryStringParameters": {"parameter1": "value1,value 2", "parameter2": "value"},
            "pathParameters": {"id": "grüße"},
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "abcdefghij",
                "domainName": "abcdefghij.execute-api.eu-central-1.amazonaws.com",
                "domainPrefix": "abcdefghij",
                "http": {
                    "method": "POST",
                    "path": "/my/grüße",
                    "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1",
                    "userAgent": "agent",
                },
                "routeKey": "POST /my/{id}",
                "stage": "$default",
            },
            "body": "{\"a\":1}",
            "isBase64Encoded": false,
        })
    );
}

#[tokio::test]
async fn an_event_leaves_out_what_is_not_there() {
    let fixture = Fixture::returning(&json!({}));

    fixture.get("/").await;

    let event = fixture.event();
    for name in ["cookies", "queryStringParameters", "pathParameters", "stageVariables", "body"] {
        assert_eq!(event.get(name), None, "{name}");
    }
    assert_eq!((&event["rawQueryString"], &event["isBase64Encoded"]), (&json!(""), &json!(false)));
    let trace = event["headers"]["x-amzn-trace-id"].as_str().unwrap();
    assert_eq!((trace.len(), &trace[..7]), (40, "Root=1-"));
}

#[test]
fn the_time_is_written_as_in_access_logs() {
    let context = |kind| Context {
        kind,
        id: "id",
        region: "eu-central-1",
        port: 1,
        route_key: "$default",
        stage: "$default",
        parameters: Parameters::new(),
        request_id: "r",
        trace_id: "t",
        now_ms: 1_583_348_638_390,
    };
    let request = Incoming {
        method: Method::GET,
        version: http::Version::HTTP_11,
        path: "/a%3Fb/%zz%2".to_owned(),
        query: String::new(),
        headers: HeaderMap::new(),
        body: Vec::new(),
        source_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };

    let of_api = event::build(&request, &context(Kind::Api));
    let of_url = event::build(&request, &context(Kind::Url));

    assert_eq!(of_api["requestContext"]["time"], "04/Mar/2020:19:03:58 +0000");
    assert_eq!(of_api["requestContext"]["timeEpoch"], 1_583_348_638_390_u64);
    assert_eq!((&of_api["rawPath"], &of_url["rawPath"]), (&json!("/a"), &json!("/a%3Fb/%zz%2")));
}

#[tokio::test]
async fn bodies_are_text_or_base64_by_their_type() {
    let fixture = Fixture::returning(&json!({}));
    for (content_type, body, expected) in [
        (Some("application/json"), &b"{}"[..], ("{}", false)),
        (Some("application/json; charset=utf-8"), b"{}", ("{}", false)),
        (Some("text/csv"), b"a,b", ("a,b", false)),
        (Some("Application/XML"), b"<a/>", ("<a/>", false)),
        (Some("application/javascript"), b"1", ("1", false)),
        (Some("application/x-www-form-urlencoded"), b"a=b", ("YT1i", true)),
        (Some("application/octet-stream"), b"text", ("dGV4dA==", true)),
        (Some("application/problem+json"), b"{}", ("e30=", true)),
        (Some("text/plain"), b"\xff", ("/w==", true)),
        (None, b"text", ("dGV4dA==", true)),
    ] {
        let headers: Vec<_> = content_type.iter().map(|value| ("content-type", *value)).collect();
        fixture.send(Method::POST, "/", &headers, body).await;
        let event = fixture.event();
        assert_eq!(
            (&event["body"], &event["isBase64Encoded"]),
            (&json!(expected.0), &json!(expected.1)),
            "{content_type:?}"
        );
    }
}

#[tokio::test]
async fn a_function_url_has_a_context_of_its_own() {
    let fixture = Fixture::returning(&json!({"statusCode": 201}));

    let answer = fixture.call("urlid", "/a%20b", request(Method::PUT, "/a%20b?c=d", &[], "")).await;

    let event = fixture.event();
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("content-type"), ["application/json"]);
    assert_eq!(answer.header("x-amzn-requestid"), [event["requestContext"]["requestId"].as_str().unwrap()]);
    assert_eq!(event["rawPath"], "/a%20b");
    assert_eq!(event["routeKey"], "$default");
    assert_eq!(event["requestContext"]["domainName"], "urlid.lambda-url.eu-central-1.on.aws");
    assert_eq!(event["queryStringParameters"], json!({"c": "d"}));
}

#[tokio::test]
async fn a_stage_with_a_name_is_part_of_the_path() {
    let api = model::HttpApi { stage: "prod".to_owned(), ..api(&["GET /a", "GET /"]) };
    let fixture = Fixture::new(api, Behaviour::Returns(b"{}".to_vec()));

    assert_eq!(fixture.get("/prod/a").await.status, 200);
    let event = fixture.event();
    assert_eq!((&event["rawPath"], &event["requestContext"]["stage"]), (&json!("/prod/a"), &json!("prod")));
    assert_eq!(fixture.get("/a").await.status, 404);
    assert_eq!(fixture.get("/production").await.status, 404);
}

#[tokio::test]
async fn answers_are_read_or_inferred() {
    for (returned, status, content_type, body) in [
        (json!("Hello"), 200, "application/json", "Hello"),
        (json!({"message": "Hello"}), 200, "application/json", r#"{"message":"Hello"}"#),
        (json!([1]), 200, "application/json", "[1]"),
        (json!(null), 200, "application/json", "null"),
        (json!({"statusCode": 204}), 204, "text/plain;charset=UTF-8", ""),
        (json!({"statusCode": "404", "body": "x"}), 404, "text/plain;charset=UTF-8", "x"),
        (json!({"statusCode": 200, "headers": {"Content-Type": "text/html"}, "body": "<p>"}), 200, "text/html", "<p>"),
        (
            json!({"statusCode": 200, "headers": null, "cookies": null, "body": "aGk=", "isBase64Encoded": true}),
            200,
            "text/plain;charset=UTF-8",
            "hi",
        ),
    ] {
        let answer = Fixture::returning(&returned).get("/").await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{returned}");
        assert_eq!(answer.header("content-type"), [content_type], "{returned}");
    }
}

#[tokio::test]
async fn headers_and_cookies_of_an_answer_are_passed_on() {
    let returned = json!({
        "statusCode": 200,
        "headers": {"X-Text": "a, b", "x-number": 5, "x-truth": true, "x-none": null, "content-length": "99",
            "Connection": "close"},
        "cookies": ["a=1; Secure", "b=2"],
    });

    let answer = Fixture::returning(&returned).get("/").await;

    assert_eq!(answer.header("x-text"), ["a, b"]);
    assert_eq!((answer.header("x-number"), answer.header("x-truth")), (vec!["5"], vec!["true"]));
    assert_eq!(answer.header("set-cookie"), ["a=1; Secure", "b=2"]);
    for name in ["x-none", "content-length", "connection"] {
        assert!(answer.header(name).is_empty(), "{name}");
    }
}

#[tokio::test]
async fn answers_that_are_none_are_errors() {
    for returned in [
        json!({"statusCode": 99}),
        json!({"statusCode": 600}),
        json!({"statusCode": "ok"}),
        json!({"statusCode": null}),
        json!({"statusCode": 200, "body": {"a": 1}}),
        json!({"statusCode": 200, "headers": ["a"]}),
        json!({"statusCode": 200, "headers": {"a": ["b"]}}),
        json!({"statusCode": 200, "headers": {"a b": "c"}}),
        json!({"statusCode": 200, "headers": {"a": "b\n"}}),
        json!({"statusCode": 200, "cookies": "a=b"}),
        json!({"statusCode": 200, "body": "?", "isBase64Encoded": true}),
        json!({"statusCode": 200, "body": "x", "isBase64Encoded": "no"}),
    ] {
        let fixture = Fixture::returning(&returned);
        let answer = fixture.get("/").await;
        let of_url = fixture.call("urlid", "/", request(Method::GET, "/", &[], "")).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (500, r#"{"message":"Internal Server Error"}"#),
            "{returned}"
        );
        assert_eq!((of_url.status, of_url.body.as_str()), (502, "Internal Server Error"), "{returned}");
    }
}

#[tokio::test]
async fn each_failure_has_its_status() {
    let failed = InvokeError::Function(json!({"errorType": "E", "errorMessage": "m"}));
    let internal = r#"{"message":"Internal Server Error"}"#;
    for (behaviour, of_api, of_url) in [
        (Behaviour::Fails(failed), (500, internal), (502, "Internal Server Error")),
        (Behaviour::Fails(InvokeError::Unknown("F".into())), (500, internal), (502, "Internal Server Error")),
        (
            Behaviour::Fails(InvokeError::Throttled),
            (503, r#"{"message":"Service Unavailable"}"#),
            (429, r#"{"Message":"Rate Exceeded."}"#),
        ),
        (Behaviour::Panics, (500, internal), (502, "Internal Server Error")),
        (Behaviour::Returns(b"no JSON".to_vec()), (500, internal), (502, "Internal Server Error")),
        (
            Behaviour::Returns(json!("x".repeat(INVOCATION_BYTES_MAX)).to_string().into_bytes()),
            (500, internal),
            (502, "Internal Server Error"),
        ),
    ] {
        let fixture = Fixture::new(api(&["$default"]), behaviour);
        let answer = fixture.get("/").await;
        assert_eq!((answer.status, answer.body.as_str()), of_api);
        let answer = fixture.call("urlid", "/", request(Method::GET, "/", &[], "")).await;
        assert_eq!((answer.status, answer.body.as_str()), of_url);
    }
}

#[tokio::test]
async fn an_integration_has_its_time_and_the_function_goes_on() {
    let mut api = api(&["$default"]);
    api.routes[0].timeout = Duration::from_millis(20);
    let fixture = Fixture::new(api, Behaviour::Takes(Duration::from_millis(200)));

    let answer = fixture.get("/").await;
    let finished = *fixture.functions.finished.lock().unwrap();

    assert_eq!((answer.status, answer.body.as_str()), (504, r#"{"message":"Endpoint request timed out"}"#));
    assert_eq!(finished, 0);
    // A function URL waits for the function; the one before ends first.
    let answer = fixture.call("urlid", "/", request(Method::GET, "/", &[], "")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(*fixture.functions.finished.lock().unwrap(), 2);
}

#[test]
fn no_integration_has_more_than_thirty_seconds() {
    let timed = |seconds| model::Route { timeout: Duration::from_secs(seconds), ..route("$default") };

    assert_eq!(integration_timeout(&timed(60)), Duration::from_secs(30));
    assert_eq!(integration_timeout(&timed(16)), Duration::from_secs(16));
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let fixture = Fixture::returning(&json!({}));
    let text = [("content-type", "text/plain")];

    let too_large = fixture.send(Method::POST, "/", &text, vec![b'x'; API_BODY_BYTES_MAX + 1]).await;
    // An event is no larger than a function takes, although the API would take the body.
    let event_too_large = fixture.send(Method::POST, "/", &text, vec![b'x'; INVOCATION_BYTES_MAX]).await;
    let large = fixture.send(Method::POST, "/", &text, vec![b'x'; INVOCATION_BYTES_MAX - 5_000]).await;
    let headers = fixture.send(Method::GET, "/", &[("a", &"x".repeat(API_HEADER_BYTES_MAX))], "").await;

    let expected = (413, r#"{"message":"Request Entity Too Large"}"#);
    assert_eq!((too_large.status, too_large.body.as_str()), expected);
    assert_eq!((event_too_large.status, event_too_large.body.as_str()), expected);
    assert_eq!(large.status, 200);
    assert_eq!(headers.status, 431);
}

#[tokio::test]
async fn no_route_and_no_api_are_not_found() {
    let fixture = Fixture::new(api(&["GET /a"]), Behaviour::Returns(b"{}".to_vec()));

    for (id, method, path) in [("abcdefghij", "GET", "/b"), ("abcdefghij", "POST", "/a"), ("none", "GET", "/a")] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = fixture.call(id, path, request(method, path, &[], "")).await;
        assert_eq!((answer.status, answer.body.as_str()), (404, r#"{"message":"Not Found"}"#));
    }
    assert!(fixture.functions.events.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_stage_takes_no_more_than_its_burst() {
    let throttle = Some(model::Throttle { rate: 0.001, burst: 2 });
    let fixture = Fixture::new(model::HttpApi { throttle, ..api(&["$default"]) }, Behaviour::Returns(b"{}".to_vec()));

    let (first, second, third) = (fixture.get("/").await, fixture.get("/").await, fixture.get("/").await);

    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!((third.status, third.body.as_str()), (429, r#"{"message":"Too Many Requests"}"#));
    assert_eq!(fixture.functions.events.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn browsers_are_answered_by_the_api() {
    let cors = model::Cors {
        allow_origins: vec!["https://a.example".to_owned()],
        allow_methods: vec!["POST".to_owned()],
        ..model::Cors::default()
    };
    let api = model::HttpApi { cors: Some(cors), ..api(&["POST /a"]) };
    let returned = json!({"statusCode": 200, "headers": {"access-control-allow-origin": "*"}});
    let fixture = Fixture::new(api, Behaviour::Returns(returned.to_string().into_bytes()));
    let origin = ("origin", "https://a.example");

    let preflight = fixture.send(Method::OPTIONS, "/a", &[origin, ("access-control-request-method", "POST")], "").await;
    let actual = fixture.send(Method::POST, "/a", &[origin], "").await;
    let elsewhere = fixture.send(Method::POST, "/a", &[("origin", "https://b.example")], "").await;
    let not_found = fixture.send(Method::POST, "/b", &[origin], "").await;

    assert_eq!((preflight.status, preflight.body.as_str()), (204, ""));
    assert_eq!(preflight.header("access-control-allow-methods"), ["POST"]);
    assert_eq!(actual.header("access-control-allow-origin"), ["https://a.example"]);
    assert!(elsewhere.header("access-control-allow-origin").is_empty());
    assert_eq!((not_found.status, not_found.header("access-control-allow-origin")), (404, vec!["https://a.example"]));
    assert_eq!(fixture.functions.events.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_head_request_reaches_the_function_and_has_no_body_on_the_wire() {
    let fixture = Fixture::returning(&json!({"statusCode": 200, "body": "text"}));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let apis = fixture.apis.clone();
    let router = axum::Router::new().fallback(async move |request: Request| {
        let path = request.uri().path().to_owned();
        apis.call("abcdefghij", &path, request).await
    });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();

    let answer = client.head(format!("http://{address}/a/b?c=d")).send().await.unwrap();

    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.headers()["content-length"], "4");
    assert_eq!(answer.text().await.unwrap(), "");
    let event = fixture.event();
    assert_eq!(event["requestContext"]["http"]["method"], "HEAD");
    assert_eq!(event["headers"]["host"], address.to_string());
    assert_eq!((&event["rawPath"], &event["rawQueryString"]), (&json!("/a/b"), &json!("c=d")));
}
