//! What the Runtime API refuses.

use super::*;

/// A runtime that says what it should not, over a connection of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_runtime_api_refuses_by_name() {
    let api = RuntimeApi::start().await.unwrap();
    let (registration, mut signals) = api.register("shop-tested");
    let environment = async {
        while let Some(signal) = signals.recv().await {
            match signal {
                Signal::InitError { error, taken } => {
                    assert_eq!(error, json!({ "errorType": "NoTable", "errorMessage": "there is none" }));
                    taken.send(true).unwrap();
                }
                Signal::Answer { result: Err(error), taken, .. } => {
                    assert_eq!(error["errorType"], "Runtime.InvalidResponseModeHeader");
                    taken.send(true).unwrap();
                }
                other => other.refuse(),
            }
        }
    };
    let base = registration.address();
    let requests = async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let said = async |request: reqwest::RequestBuilder| {
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            let body: Value = response.json().await.unwrap();
            (status, body["errorType"].as_str().or(body["status"].as_str()).unwrap().to_owned())
        };
        let post = |path: &str| client.post(format!("{base}{path}"));
        let of = |status: u16, name: &str| (status, name.to_owned());
        assert_eq!(said(post("/2020-01-01/extension/register")).await, of(403, "Extension.NotSupported"));
        assert_eq!(said(post("/2022-07-01/telemetry")).await, of(403, "Extension.NotSupported"));
        assert_eq!(said(post("/2018-06-01/runtime/restore/error")).await, of(404, "ResourceNotFound"));
        let next = "/2018-06-01/runtime/invocation/next";
        assert_eq!(said(client.get(format!("{base}{next}"))).await, of(403, "InvalidStateTransition"));
        let elsewhere = format!("{}77{next}", base.trim_end_matches(char::is_numeric));
        assert_eq!(said(client.get(elsewhere)).await, of(403, "UnknownEnvironment"));
        let response = "/2018-06-01/runtime/invocation/8d1c/response";
        assert_eq!(said(post(response).body("{}")).await, of(403, "InvalidStateTransition"));
        let streaming = post(response).header("Lambda-Runtime-Function-Response-Mode", "streaming").body("x");
        assert_eq!(said(streaming).await, of(400, "Runtime.InvalidResponseModeHeader"));
        let init = post("/2018-06-01/runtime/init/error");
        let init = init.json(&json!({ "errorType": "NoTable", "errorMessage": "there is none" }));
        assert_eq!(said(init).await, of(202, "OK"));
        let init = post("/2018-06-01/runtime/init/error").header("Lambda-Runtime-Function-Error-Type", "NoTable");
        assert_eq!(said(init.body("there is none")).await, of(202, "OK"));
        drop(registration);
    };
    tokio::join!(environment, requests);
    api.stop();
}
