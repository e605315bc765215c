//! The collection in `http/`, run against a running stack as an editor's HTTP client runs it: what people try first has
//! to work. Every route has a request in it.
//!
//! `./scripts/test` starts a stack of its own for it; to run it against yours: `. .florin/local.env` first.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and says what it counted"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use florin_tests::stack::{SETTLE, Stack, setting, until};
use reqwest::Method;
use serde_json::Value;

/// One request of a file, as it is written there.
#[derive(Debug, Default, PartialEq)]
struct Request {
    title: String,
    name: Option<String>,
    /// The status, and the `code` of an error.
    expected: (u16, Option<String>),
    /// A member of the answer and the value for which to ask again until it is there.
    until: Option<(String, String)>,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// The variables of a file and its requests.
fn parsed(text: &str) -> (BTreeMap<String, String>, Vec<Request>) {
    let mut blocks = text.split("\n###");
    let variable = |line: &str| {
        let (name, value) = line.strip_prefix('@')?.split_once(" = ")?;
        Some((name.to_owned(), value.to_owned()))
    };
    let variables = blocks.next().unwrap().lines().filter_map(variable).collect();
    (variables, blocks.map(request).collect())
}

fn request(block: &str) -> Request {
    let mut lines = block.lines();
    let mut request = Request { title: lines.next().unwrap().trim().to_owned(), ..Request::default() };
    for line in lines.by_ref() {
        if let Some(comment) = line.strip_prefix("# ") {
            comment_of(&mut request, comment);
        } else if let Some((method, url)) = line.split_once(' ').filter(|_| request.method.is_empty()) {
            (request.method, request.url) = (method.to_owned(), url.to_owned());
        } else if let Some((name, value)) = line.split_once(": ") {
            request.headers.push((name.to_owned(), value.to_owned()));
        } else {
            assert!(line.is_empty(), "{}: {line:?} is no header", request.title);
            break;
        }
    }
    request.body = lines.collect::<Vec<_>>().join("\n").trim().to_owned();
    assert!(request.expected.0 != 0, "{}: no `# Expect` says with which status it is answered", request.title);
    request
}

fn comment_of(request: &mut Request, comment: &str) {
    let words: Vec<&str> = comment.split(' ').collect();
    match words.as_slice() {
        ["@name", name] => request.name = Some((*name).to_owned()),
        ["Expect", status] => request.expected = (status.parse().unwrap(), None),
        ["Expect", status, code] => request.expected = (status.parse().unwrap(), Some((*code).to_owned())),
        ["Until", member, "is", value] => {
            request.until = Some((member.strip_prefix("$.").unwrap().to_owned(), (*value).to_owned()));
        }
        _ => panic!("{}: what is {comment:?}?", request.title),
    }
}

/// The variables of a file, and the answers that have names.
struct Run {
    variables: BTreeMap<String, String>,
    answers: BTreeMap<String, Value>,
}

impl Run {
    /// The text with every `{{…}}` replaced.
    fn filled(&self, text: &str) -> String {
        let mut parts = text.split("{{");
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |filled, part| {
            let (name, rest) = part.split_once("}}").unwrap();
            format!("{filled}{}{rest}", self.value(name.trim()))
        })
    }

    fn value(&self, name: &str) -> String {
        if name == "$guid" {
            return format!("{}-{}", std::process::id(), florin_platform::random::hex128());
        }
        if let Some(variable) = name.strip_prefix("$processEnv ") {
            return setting(variable);
        }
        if let Some((answer, member)) = name.split_once(".response.body.$.") {
            let answer = self.answers.get(answer).unwrap_or_else(|| panic!("no request before is named {answer}"));
            return answer[member].as_str().unwrap().to_owned();
        }
        self.filled(self.variables.get(name).unwrap_or_else(|| panic!("there is no variable {name}")))
    }

    async fn send(&self, stack: &Stack, request: &Request) -> (u16, Value) {
        let method = Method::from_bytes(request.method.as_bytes()).unwrap();
        let mut call = stack.http.request(method, self.filled(&request.url));
        for (name, value) in &request.headers {
            call = call.header(name, self.filled(value));
        }
        if !request.body.is_empty() {
            call = call.body(self.filled(&request.body));
        }
        let answer = call.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// Sends the request, again and again if it waits for something, and holds the answer against what is expected.
    async fn carry_out(&mut self, stack: &Stack, request: &Request) {
        let title = format!("{} ({} {})", request.title, request.method, request.url);
        let (status, body) = match &request.until {
            None => self.send(stack, request).await,
            Some((member, value)) => {
                until(&title, SETTLE, async || {
                    let (status, body) = self.send(stack, request).await;
                    (body[member] == **value).then_some((status, body))
                })
                .await
            }
        };
        let code = body["code"].as_str().filter(|_| status >= 400).map(str::to_owned);
        assert_eq!((status, code), request.expected, "{title}: {body}");
        if let Some(name) = &request.name {
            self.answers.insert(name.clone(), body);
        }
    }
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../http");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn every_request_is_answered_as_it_says() {
    let stack = Stack::from_env().await;
    let mut count = 0;
    for file in files() {
        let (variables, requests) = parsed(&fs::read_to_string(&file).unwrap());
        let mut run = Run { variables, answers: BTreeMap::new() };
        for request in &requests {
            run.carry_out(&stack, request).await;
        }
        println!("{}: {} requests", file.file_name().unwrap().to_string_lossy(), requests.len());
        count += requests.len();
    }
    println!("{count} requests were answered as the collection says");
}

/// Whether the route of this path serves this URL.
fn serves(path: &str, url: &str) -> bool {
    let url = url.strip_prefix("{{api}}").unwrap_or(url).split('?').next().unwrap();
    let (names, parts): (Vec<_>, Vec<_>) = (path.split('/').collect(), url.split('/').collect());
    names.len() == parts.len() && names.iter().zip(&parts).all(|(name, part)| name == part || name.starts_with('{'))
}

#[test]
fn every_route_has_a_request() {
    let all: Vec<Request> = files().iter().flat_map(|file| parsed(&fs::read_to_string(file).unwrap()).1).collect();
    let has_request = |(method, path): &(&str, &str)| {
        all.iter().any(|request| request.method.eq_ignore_ascii_case(method) && serves(path, &request.url))
    };
    let missing: BTreeSet<_> = florin_api::ROUTES.into_iter().filter(|route| !has_request(route)).collect();
    assert!(missing.is_empty(), "no request of http/*.http tries {missing:?}");
}

#[test]
fn a_request_is_read_as_it_is_written() {
    let text = "# About\n@api = http://a\n\n### Create.\n# Expect 201\n# @name one\nPOST {{api}}/x\nA: b\n\n{ \"c\": 1 }\n\n\
                ### Read.\n# Expect 404 gone\n# Until $.status is done\nGET {{api}}/x/{{one.response.body.$.id}}\n";
    let (variables, requests) = parsed(text);
    assert_eq!(variables, BTreeMap::from([("api".to_owned(), "http://a".to_owned())]));
    let [create, read] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!((create.name.as_deref(), create.expected.0, create.body.as_str()), (Some("one"), 201, "{ \"c\": 1 }"));
    assert_eq!(create.headers, [("A".to_owned(), "b".to_owned())]);
    assert_eq!(read.expected, (404, Some("gone".to_owned())));
    let run = Run { variables, answers: BTreeMap::from([("one".to_owned(), serde_json::json!({ "id": "t_1" }))]) };
    assert_eq!(run.filled(&read.url), "http://a/x/t_1");
    assert!(serves("/x/{id}", &read.url) && !serves("/x", &read.url));
}
