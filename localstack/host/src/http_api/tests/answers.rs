//! What callers get.

use super::*;

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
