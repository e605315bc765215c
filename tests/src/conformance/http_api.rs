//! HTTP APIs with functions behind them: events of payload version 2.0, and what answers become.

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::{Case, Context, case, check::same};

const EVENT: &str = "API Gateway Developer Guide, Lambda proxy integrations for HTTP APIs";
const ROUTES: &str = "API Gateway Developer Guide, Routes for HTTP APIs";
const ERRORS: &str = "API Gateway Developer Guide, Troubleshooting HTTP API Lambda integrations";

pub(super) fn cases() -> Vec<Case> {
    CASES.to_vec()
}

const CASES: &[Case] = &[
    case!(http_api, event_shape, EVENT, "An event has version 2.0, route, path, and the request's context"),
    case!(
        http_api,
        query_strings,
        EVENT,
        "The query is there as sent, and by name with repeated values joined by commas"
    ),
    case!(http_api, headers, EVENT, "Headers have names in lower case, repeated ones are joined by commas"),
    case!(http_api, cookies, EVENT, "Cookies come in a list of their own"),
    case!(http_api, path_parameters, ROUTES, "A path's variables come decoded, greedy ones with their slashes"),
    case!(http_api, text_body, EVENT, "A body of text arrives as text"),
    case!(http_api, binary_body, EVENT, "A body that is no text arrives as base64"),
    case!(http_api, empty_fields_are_absent, EVENT, "Without query, cookies or body the fields are not there"),
    case!(http_api, structured_answer, EVENT, "An answer with statusCode sets status, headers, cookies and body"),
    case!(http_api, inferred_answer, EVENT, "An answer without statusCode is the body of a 200 with JSON"),
    case!(http_api, binary_answer, EVENT, "An answer with isBase64Encoded is decoded"),
    case!(http_api, most_specific_route, ROUTES, "A full match goes before a variable, a variable before a greedy one"),
    case!(http_api, unknown_route, ROUTES, "A request that matches no route: 404 Not Found"),
    case!(http_api, failing_function, ERRORS, "A function that fails: 500 Internal Server Error"),
];

fn request(context: &Context, method: Method, path: &str) -> Result<RequestBuilder> {
    Ok(context.http.request(method, format!("{}{path}", context.probe()?.output("ApiUrl")?)))
}

/// The event that the function got.
async fn event(request: RequestBuilder) -> Result<Value> {
    let answer = request.send().await?;
    same("the status", answer.status().as_u16(), 200)?;
    Ok(answer.json().await?)
}

/// What becomes of this answer of the function.
async fn answered(context: &Context, answer: Value) -> Result<Response> {
    Ok(request(context, Method::POST, "/answer")?.json(&answer).send().await?)
}

async fn event_shape(context: Context) -> Result<()> {
    let event = event(request(&context, Method::PATCH, "/echo/a/b")?.header("user-agent", "probe/1")).await?;
    same("version", event["version"].as_str(), Some("2.0"))?;
    same("routeKey", event["routeKey"].as_str(), Some("ANY /echo/{proxy+}"))?;
    same("rawPath", event["rawPath"].as_str(), Some("/echo/a/b"))?;
    let about = &event["requestContext"];
    same("http.method", about["http"]["method"].as_str(), Some("PATCH"))?;
    same("http.path", about["http"]["path"].as_str(), Some("/echo/a/b"))?;
    same("http.protocol", about["http"]["protocol"].as_str(), Some("HTTP/1.1"))?;
    same("http.userAgent", about["http"]["userAgent"].as_str(), Some("probe/1"))?;
    same("stage", about["stage"].as_str(), Some("$default"))?;
    same("routeKey of the context", about["routeKey"].as_str(), Some("ANY /echo/{proxy+}"))?;
    for name in ["accountId", "apiId", "domainName", "domainPrefix", "requestId", "time"] {
        ensure!(about[name].as_str().is_some_and(|text| !text.is_empty()), "requestContext.{name} is {}", about[name]);
    }
    ensure!(about["http"]["sourceIp"].is_string(), "http.sourceIp is missing");
    ensure!(about["timeEpoch"].as_u64() > Some(1_600_000_000_000), "timeEpoch is {}", about["timeEpoch"]);
    same("isBase64Encoded", event["isBase64Encoded"].as_bool(), Some(false))
}

async fn query_strings(context: Context) -> Result<()> {
    let event = event(request(&context, Method::GET, "/echo/q?a=1&b=x%20y&a=2&c=")?).await?;
    same("rawQueryString", event["rawQueryString"].as_str(), Some("a=1&b=x%20y&a=2&c="))?;
    same("queryStringParameters", &event["queryStringParameters"], &json!({ "a": "1,2", "b": "x y", "c": "" }))
}

async fn headers(context: Context) -> Result<()> {
    let request = request(&context, Method::GET, "/echo/h")?.header("X-Many", "one").header("X-Many", "two");
    let event = event(request).await?;
    same(
        "x-many",
        event["headers"]["x-many"].as_str().map(|text| text.replace(", ", ",")),
        Some("one,two".to_owned()),
    )?;
    ensure!(event["headers"].get("X-Many").is_none(), "a name is not in lower case");
    Ok(())
}

async fn cookies(context: Context) -> Result<()> {
    let event = event(request(&context, Method::GET, "/echo/c")?.header("cookie", "a=1; b=2")).await?;
    same("cookies", &event["cookies"], &json!(["a=1", "b=2"]))?;
    ensure!(event["headers"].get("cookie").is_none(), "the cookie header is there too");
    Ok(())
}

async fn path_parameters(context: Context) -> Result<()> {
    let one = event(request(&context, Method::GET, "/items/a%20b")?).await?;
    same("pathParameters", &one["pathParameters"], &json!({ "id": "a b" }))?;
    let greedy = event(request(&context, Method::GET, "/echo/x/y")?).await?;
    same("pathParameters", &greedy["pathParameters"], &json!({ "proxy": "x/y" }))
}

async fn text_body(context: Context) -> Result<()> {
    for media in ["application/json", "text/plain; charset=utf-8"] {
        let body = "{\"a\": \"caf\u{e9}\"}";
        let request = request(&context, Method::POST, "/echo/t")?.header("content-type", media).body(body);
        let event = event(request).await.context(media)?;
        same(media, (event["body"].as_str(), event["isBase64Encoded"].as_bool()), (Some(body), Some(false)))?;
    }
    Ok(())
}

async fn binary_body(context: Context) -> Result<()> {
    let request = request(&context, Method::POST, "/echo/b")?.header("content-type", "application/octet-stream");
    let event = event(request.body(vec![0, 255])).await?;
    same("the body", (event["body"].as_str(), event["isBase64Encoded"].as_bool()), (Some("AP8="), Some(true)))
}

async fn empty_fields_are_absent(context: Context) -> Result<()> {
    let event = event(request(&context, Method::GET, "/echo/e")?).await?;
    same("rawQueryString", event["rawQueryString"].as_str(), Some(""))?;
    for name in ["queryStringParameters", "cookies", "body"] {
        same(name, event.get(name).filter(|value| !value.is_null()), None::<&Value>)?;
    }
    Ok(())
}

async fn structured_answer(context: Context) -> Result<()> {
    let answer = json!({ "statusCode": 201, "headers": { "X-Own": "v", "content-type": "text/plain" },
                         "cookies": ["a=1; Path=/", "b=2"], "body": "made" });
    let answer = answered(&context, answer).await?;
    same("the status", answer.status().as_u16(), 201)?;
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    same("the headers", (header("x-own"), header("content-type")), (Some("v"), Some("text/plain")))?;
    let cookies: Vec<_> =
        answer.headers().get_all("set-cookie").iter().filter_map(|value| value.to_str().ok()).collect();
    same("the cookies", cookies, ["a=1; Path=/", "b=2"])?;
    same("the body", answer.text().await?, "made")
}

async fn inferred_answer(context: Context) -> Result<()> {
    let answer = answered(&context, json!({ "message": "no status" })).await?;
    let media = answer.headers().get("content-type").and_then(|value| value.to_str().ok()).map(str::to_owned);
    same("the status and the type", (answer.status().as_u16(), media.as_deref()), (200, Some("application/json")))?;
    same("the body", answer.json::<Value>().await?, json!({ "message": "no status" }))
}

async fn binary_answer(context: Context) -> Result<()> {
    let answer = json!({ "statusCode": 200, "isBase64Encoded": true, "body": "AP8=" });
    same("the body", answered(&context, answer).await?.bytes().await?.to_vec(), [0, 255])
}

async fn most_specific_route(context: Context) -> Result<()> {
    for (path, route) in [("/items/special", "GET /items/special"), ("/items/other", "GET /items/{id}")] {
        same(path, event(request(&context, Method::GET, path)?).await?["routeKey"].as_str(), Some(route))?;
    }
    Ok(())
}

async fn unknown_route(context: Context) -> Result<()> {
    for (method, path) in [(Method::GET, "/nowhere"), (Method::POST, "/items/special"), (Method::GET, "/items/a/b")] {
        let answer = request(&context, method, path)?.send().await?;
        same(path, answer.status().as_u16(), 404)?;
        same(path, answer.json::<Value>().await?, json!({ "message": "Not Found" }))?;
    }
    Ok(())
}

async fn failing_function(context: Context) -> Result<()> {
    let answer = request(&context, Method::GET, "/fail")?.send().await?;
    same("the status", answer.status().as_u16(), 500)?;
    same("the body", answer.json::<Value>().await?, json!({ "message": "Internal Server Error" }))
}
