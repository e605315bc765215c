//! A function that does what its event says, for the tests of functions as processes.
//!
//! `{"do": "echo"}` and so on; an event of a queue fails the records whose body is `fail`. `INIT` in its environment
//! says how its init ends.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "it is there to fail"
)]

use std::{
    collections::BTreeMap,
    env, hint,
    io::{self, Write},
    process, thread,
    time::{Duration, Instant},
};

use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    match env::var("INIT").as_deref() {
        Ok("exit") => {
            eprintln!("init gives up");
            process::exit(3);
        }
        Ok("sleep") => tokio::time::sleep(Duration::from_secs(60)).await,
        _ => {}
    }
    lambda_runtime::run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
    let LambdaEvent { payload, context } = event;
    if let Some(records) = payload["Records"].as_array() {
        return batch(records).await;
    }
    if let Some(path) = payload["rawPath"].as_str() {
        return Ok(answer(path).await);
    }
    let number = payload["n"].as_u64().unwrap_or(0);
    match payload["do"].as_str().unwrap_or_default() {
        "echo" => Ok(json!({ "event": payload, "pid": process::id() })),
        "environment" => Ok(json!({
            "variables": env::vars().collect::<BTreeMap<_, _>>(),
            "folder": env::current_dir().unwrap(),
            "request_id": context.request_id,
            "deadline": context.deadline,
            "arn": context.invoked_function_arn,
            "trace": context.xray_trace_id,
        })),
        "error" => Err(failed("a test was asked to fail")),
        "panic" => panic!("a test was asked to panic"),
        "exit" => process::exit(i32::try_from(number).unwrap()),
        "abort" => process::abort(),
        "sleep" => {
            tokio::time::sleep(Duration::from_millis(number)).await;
            Ok(json!({ "pid": process::id() }))
        }
        "spin" => {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(number) {
                hint::spin_loop();
            }
            Ok(Value::Null)
        }
        "work on" => {
            thread::spawn(|| {
                loop {
                    hint::spin_loop();
                }
            });
            Ok(json!({ "pid": process::id() }))
        }
        "allocate" => {
            let bytes = vec![1_u8; usize::try_from(number * 1024 * 1024).unwrap()];
            Ok(json!({ "sum": bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>() }))
        }
        "answer" => Ok(json!("x".repeat(usize::try_from(number).unwrap()))),
        "print" => {
            println!("to standard output");
            eprintln!("to standard error");
            println!("{}", "long ".repeat(usize::try_from(number).unwrap()));
            print!("without an end");
            io::stdout().flush().unwrap();
            Ok(Value::Null)
        }
        other => Err(failed(&format!("nothing known as {other}"))),
    }
}

/// Answers a request to an HTTP API: `/greeting` tells a variable, any other path is put into the table.
async fn answer(path: &str) -> Value {
    if path == "/greeting" {
        return json!({ "greeting": env::var("GREETING").unwrap() });
    }
    let item = json!({ "TableName": env::var("TABLE").unwrap(), "Item": { "pk": { "S": path } } }).to_string();
    let address = env::var("AWS_ENDPOINT_URL").unwrap().replace("http://", "");
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nX-Amz-Target: DynamoDB_20120810.PutItem\r\nX-Amz-Date: 20260101T000000Z\r\n\
         Content-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\nConnection: close\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/dynamodb/aws4_request, \
         SignedHeaders=host, Signature=0\r\n\r\n",
        item.len(),
        env::var("AWS_ACCESS_KEY_ID").unwrap()
    );
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(format!("{head}{item}").as_bytes()).await.unwrap();
    let mut answered = String::new();
    connection.read_to_string(&mut answered).await.unwrap();
    json!({ "answered": answered.lines().next() })
}

async fn batch(records: &[Value]) -> Result<Value, Diagnostic> {
    let mut failures = Vec::new();
    for record in records {
        match record["body"].as_str().unwrap_or_default() {
            "fail" => failures.push(json!({ "itemIdentifier": record["messageId"] })),
            "error" => return Err(failed("a record asked for it")),
            "exit" => process::exit(1),
            "sleep" => tokio::time::sleep(Duration::from_millis(100)).await,
            _ => {}
        }
    }
    Ok(json!({ "batchItemFailures": failures }))
}

fn failed(message: &str) -> Diagnostic {
    Diagnostic { error_type: "TestError".to_owned(), error_message: message.to_owned() }
}
