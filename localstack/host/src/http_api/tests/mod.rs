#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod answers;
mod events;

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
