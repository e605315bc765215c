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
