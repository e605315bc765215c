//! What functions get.

use super::*;

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
