//! No client breaks by an update: the description is held against the last release, `docs/openapi/released.json`.
//! (No crate that is looked after does this for OpenAPI 3.1; what is compared is what Florin's descriptions have.)
//!
//! After a release, `functions/api/assets/openapi.json` of that release is copied there. Before, what this test lists
//! goes into a new version of the API, or is taken back.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise"
)]

use std::{collections::BTreeSet, fs, path::Path};

use florin_api::openapi::operations;
use serde_json::{Value, json};

fn read(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()).unwrap()
}

/// Which way a schema goes: what clients send may be widened, what they get may be narrowed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// Compares two documents and notes what breaks clients of the old one.
struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    breaks: Vec<String>,
    /// References that are compared already, by the way they go: schemas may contain themselves.
    seen: BTreeSet<(bool, String, String)>,
}

fn breaks(old: &Value, new: &Value) -> Vec<String> {
    let mut comparison = Comparison { old, new, breaks: Vec::new(), seen: BTreeSet::new() };
    comparison.documents();
    comparison.breaks
}

impl Comparison<'_> {
    fn note(&mut self, place: &str, what: impl AsRef<str>) {
        self.breaks.push(format!("{place}: {}", what.as_ref()));
    }

    fn documents(&mut self) {
        let (old, new) = (self.old, self.new);
        for (method, path, was) in operations(old) {
            let place = format!("{method} {path}");
            match operations(new).find(|(m, p, _)| (*m, *p) == (method, path)) {
                None => self.note(&place, "the operation is gone"),
                Some((.., is)) => self.operation(&place, was, is),
            }
        }
    }

    fn operation(&mut self, place: &str, was: &Value, is: &Value) {
        if was["operationId"] != is["operationId"] {
            self.note(place, "its operationId has changed, after which generated clients name it");
        }
        self.security(place, &was["security"], &is["security"]);
        self.parameters(place, was, is);
        match (was.get("requestBody"), is.get("requestBody")) {
            (None, Some(body)) if body["required"] == true => self.note(place, "it takes a body now"),
            (Some(_), None) => self.note(place, "it takes no body any more"),
            (Some(was), Some(is)) => {
                if was["required"] != true && is["required"] == true {
                    self.note(place, "its body is required now");
                }
                self.content(&format!("{place} body"), was, is, Way::In);
            }
            _ => {}
        }
        for (status, was) in was["responses"].as_object().into_iter().flatten() {
            let place = format!("{place} {status}");
            match is["responses"].get(status) {
                None => self.note(&place, "the answer is gone"),
                Some(is) => self.answer(&place, was, is),
            }
        }
    }

    fn answer(&mut self, place: &str, was: &Value, is: &Value) {
        for name in was["headers"].as_object().into_iter().flatten().map(|(name, _)| name) {
            if is["headers"].get(name).is_none() {
                self.note(place, format!("the header {name} is gone"));
            }
        }
        self.content(place, was, is, Way::Out);
    }

    /// A scheme that is no longer taken, or a scope that is needed now.
    fn security(&mut self, place: &str, was: &Value, is: &Value) {
        let Some(is) = is.as_array() else { return };
        let was = was.as_array().map(Vec::as_slice).unwrap_or_default();
        if was.is_empty() {
            return self.note(place, "it takes a key now");
        }
        for (scheme, scopes) in was.iter().filter_map(Value::as_object).flatten() {
            match is.iter().find_map(|scheme_of_now| scheme_of_now.get(scheme)) {
                None => self.note(place, format!("it is closed to {scheme}")),
                Some(needed) if !all_in(needed, scopes) => self.note(place, format!("it needs {needed} now")),
                Some(_) => {}
            }
        }
    }

    fn parameters(&mut self, place: &str, was: &Value, is: &Value) {
        let (old, new) = (self.old, self.new);
        let all = |document, operation: &Value| -> Vec<Value> {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            parameters.iter().map(|parameter| resolved(document, parameter).clone()).collect()
        };
        let (was, is) = (all(old, was), all(new, is));
        let named = |parameters: &[Value], wanted: &Value| {
            parameters.iter().find(|one| one["name"] == wanted["name"] && one["in"] == wanted["in"]).cloned()
        };
        for parameter in &is {
            let before = named(&was, parameter);
            if parameter["required"] == true && before.is_none_or(|before| before["required"] != true) {
                self.note(place, format!("the parameter {} is required now", parameter["name"]));
            }
        }
        for parameter in &was {
            match named(&is, parameter) {
                None => self.note(place, format!("the parameter {} is gone", parameter["name"])),
                Some(now) => {
                    let place = format!("{place} {}", parameter["name"].as_str().unwrap_or_default());
                    self.schema(&place, &parameter["schema"], &now["schema"], Way::In);
                }
            }
        }
    }

    fn content(&mut self, place: &str, was: &Value, is: &Value, way: Way) {
        for (media, was) in was["content"].as_object().into_iter().flatten() {
            match is["content"].get(media) {
                None => self.note(place, format!("{media} is gone")),
                Some(is) => self.schema(place, &was["schema"], &is["schema"], way),
            }
        }
    }

    fn schema(&mut self, place: &str, was: &Value, is: &Value, way: Way) {
        if let (Some(from), Some(to)) = (was["$ref"].as_str(), is["$ref"].as_str())
            && !self.seen.insert((way == Way::In, from.to_owned(), to.to_owned()))
        {
            return;
        }
        let (old, new) = (self.old, self.new);
        let (was, is) = (resolved(old, was), resolved(new, is));
        self.types(place, was, is, way);
        self.choices(place, was, is, way);
        self.limits(place, was, is, way);
        self.members(place, was, is, way);
        for name in ["items", "additionalProperties", "propertyNames"] {
            match (&was[name], &is[name]) {
                (was @ Value::Object(_), is @ Value::Object(_)) => {
                    self.schema(&format!("{place} {name}"), was, is, way)
                }
                (_, is @ Value::Object(_)) if way == Way::In && name != "additionalProperties" => {
                    self.note(place, format!("{name} are {is} now"));
                }
                _ => {}
            }
        }
        for name in ["oneOf", "anyOf", "allOf"] {
            self.variants(place, name, &was[name], &is[name], way);
        }
    }

    /// What may be sent must still be taken, what may come must have come before.
    fn types(&mut self, place: &str, was: &Value, is: &Value, way: Way) {
        let list = |schema: &Value| match &schema["type"] {
            Value::Array(types) => types.clone(),
            Value::Null => Vec::new(),
            one => vec![one.clone()],
        };
        let (was, is) = (list(was), list(is));
        let (all, of) = if way == Way::In { (&was, &is) } else { (&is, &was) };
        let narrowed = all.iter().any(|one| !(of.contains(one) || (one == "integer" && of.contains(&json!("number")))));
        if !of.is_empty() && (narrowed || all.is_empty()) {
            self.note(place, format!("the type was {} and is {}", json!(was), json!(is)));
        }
    }

    fn choices(&mut self, place: &str, was: &Value, is: &Value, way: Way) {
        let (before, now) = (&was["enum"], &is["enum"]);
        let fewer = way == Way::In && now.is_array() && (!before.is_array() || !all_in(before, now));
        // A client may know every state there is; codes of errors grow, and clients know that.
        let more = way == Way::Out && before.is_array() && (!now.is_array() || !all_in(now, before));
        let is_error = place.split(' ').nth(2).is_some_and(|status| status.starts_with(['4', '5']));
        let gone = is_error && before.is_array() && now.is_array() && !all_in(before, now);
        if fewer || (more && !is_error) || gone {
            self.note(place, format!("the choices were {before} and are {now}"));
        }
        if was["const"] != is["const"] {
            self.note(place, format!("it was always {} and is always {}", was["const"], is["const"]));
        }
    }

    fn limits(&mut self, place: &str, was: &Value, is: &Value, way: Way) {
        for (name, is_least) in [
            ("minimum", true),
            ("maximum", false),
            ("minLength", true),
            ("maxLength", false),
            ("minItems", true),
            ("maxItems", false),
            ("maxProperties", false),
        ] {
            // What is not there limits nothing.
            let limit = |schema: &Value| schema[name].as_f64().unwrap_or(if is_least { f64::MIN } else { f64::MAX });
            let (before, now) = (limit(was), limit(is));
            let narrowed = if is_least { now > before } else { now < before };
            let widened = if is_least { now < before } else { now > before };
            if (way == Way::In && narrowed) || (way == Way::Out && widened) {
                self.note(place, format!("{name} was {} and is {}", was[name], is[name]));
            }
        }
        for name in ["pattern", "format"] {
            let changed = was[name] != is[name];
            let dropped = if way == Way::In { is[name].is_null() } else { was[name].is_null() };
            if changed && !dropped {
                self.note(place, format!("{name} was {} and is {}", was[name], is[name]));
            }
        }
    }

    fn members(&mut self, place: &str, was: &Value, is: &Value, way: Way) {
        let required = |schema: &Value, name: &str| {
            schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
        };
        for (name, before) in was["properties"].as_object().into_iter().flatten() {
            let place = format!("{place} {name}");
            match is["properties"].get(name) {
                None => self.note(&place, "it is gone"),
                Some(now) => self.schema(&place, before, now, way),
            }
            if way == Way::Out && required(was, name) && !required(is, name) {
                self.note(&place, "it may be left out now");
            }
        }
        for name in is["properties"].as_object().into_iter().flatten().map(|(name, _)| name) {
            if way == Way::In && required(is, name) && !required(was, name) {
                self.note(&format!("{place} {name}"), "it is required now");
            }
        }
    }

    /// Variants are compared by their places; a new one is for what is sent only.
    fn variants(&mut self, place: &str, name: &str, was: &Value, is: &Value, way: Way) {
        let (was, is) = (was.as_array().cloned().unwrap_or_default(), is.as_array().cloned().unwrap_or_default());
        for (number, (was, is)) in was.iter().zip(&is).enumerate() {
            self.schema(&format!("{place} {name}/{number}"), was, is, way);
        }
        let breaks = match (way, name) {
            (_, "allOf") => was.len() != is.len(),
            (Way::In, _) => is.len() < was.len(),
            (Way::Out, _) => is.len() > was.len(),
        };
        if breaks {
            self.note(place, format!("{name} had {} variants and has {}", was.len(), is.len()));
        }
    }
}

fn all_in(some: &Value, all: &Value) -> bool {
    let all = all.as_array().map(Vec::as_slice).unwrap_or_default();
    some.as_array().into_iter().flatten().all(|one| all.contains(one))
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let pointer = value["$ref"].as_str().and_then(|target| target.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(value)
}

#[test]
fn nothing_breaks_a_client_of_the_last_release() {
    let found = breaks(&read("../../docs/openapi/released.json"), &read("assets/openapi.json"));
    assert!(found.is_empty(), "these changes break clients of the last release:\n  {}", found.join("\n  "));
}

/// A document with one operation of everything that is compared.
fn sample() -> Value {
    json!({
        "paths": {
            "/v1/things": {
                "post": {
                    "operationId": "create_thing",
                    "security": [{ "apiKey": ["things:write"] }, { "apiKeyHeader": ["things:write"] }],
                    "parameters": [
                        { "name": "limit", "in": "query", "schema": { "type": "integer", "maximum": 100 } },
                        { "$ref": "#/components/parameters/Key" },
                    ],
                    "requestBody": { "content": { "application/json": {
                        "schema": { "$ref": "#/components/schemas/NewThing" } } } },
                    "responses": {
                        "201": {
                            "headers": { "Location": {} },
                            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Thing" } } },
                        },
                        "409": { "content": { "application/problem+json": { "schema": { "properties": {
                            "code": { "enum": ["thing_gone", "thing_busy"] }, "status": { "const": 409 } } } } } },
                    },
                },
                "get": { "operationId": "list_things", "responses": { "200": {} } },
            },
        },
        "components": {
            "parameters": { "Key": { "name": "Key", "in": "header", "schema": { "type": "string" } } },
            "schemas": {
                "NewThing": {
                    "type": "object", "required": ["size"], "additionalProperties": false,
                    "properties": {
                        "size": { "type": "integer", "minimum": 1, "maximum": 9 },
                        "name": { "type": ["string", "null"], "maxLength": 40 },
                        "kind": { "enum": ["red", "blue"] },
                        "parts": { "type": "array", "maxItems": 5, "items": { "type": "string" } },
                        "place": { "oneOf": [{ "type": "null" }, { "type": "string", "pattern": "^a" }] },
                    },
                },
                "Thing": {
                    "type": "object", "required": ["id", "state"],
                    "properties": {
                        "id": { "type": "string", "pattern": "^t_" },
                        "state": { "enum": ["new", "old"] },
                        "size": { "type": "integer", "maximum": 9 },
                        "inner": { "$ref": "#/components/schemas/Thing" },
                    },
                },
            },
        },
    })
}

/// The sample with something put at a pointer, or taken away.
fn changed(pointer: &str, value: Option<Value>) -> Value {
    let mut document = sample();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let name = name.replace("~1", "/");
    match (document.pointer_mut(parent).unwrap(), value) {
        (Value::Array(list), Some(value)) if name == "-" => list.push(value),
        (Value::Array(list), None) => drop(list.remove(name.parse().unwrap())),
        (parent, Some(value)) => parent[name] = value,
        (parent, None) => drop(parent.as_object_mut().unwrap().remove(&name).unwrap()),
    }
    document
}

const POST: &str = "/paths/~1v1~1things/post";
const ASKED: &str = "/components/schemas/NewThing";
const SHOWN: &str = "/components/schemas/Thing";

#[test]
fn every_seeded_break_is_caught() {
    let errors = format!("{POST}/responses/409/content/application~1problem+json/schema/properties/code/enum");
    let key = json!({ "name": "key", "in": "query", "required": true, "schema": {} });
    for (pointer, value, expected) in [
        (POST.to_owned(), None, "the operation is gone"),
        ("/paths/~1v1~1things".to_owned(), None, "the operation is gone"),
        (format!("{POST}/operationId"), Some(json!("make_thing")), "operationId has changed"),
        (format!("{POST}/security/1"), None, "closed to apiKeyHeader"),
        (format!("{POST}/security/0/apiKey"), Some(json!(["things:fly"])), "it needs [\"things:fly\"] now"),
        ("/paths/~1v1~1things/get/security".to_owned(), Some(json!([{ "apiKey": [] }])), "takes a key now"),
        (format!("{POST}/parameters/0"), None, "the parameter \"limit\" is gone"),
        (format!("{POST}/parameters/1"), None, "the parameter \"Key\" is gone"),
        (format!("{POST}/parameters/-"), Some(key), "the parameter \"key\" is required now"),
        (format!("{POST}/parameters/0/required"), Some(json!(true)), "the parameter \"limit\" is required now"),
        (format!("{POST}/parameters/0/schema/maximum"), Some(json!(50)), "maximum was 100 and is 50"),
        (format!("{POST}/requestBody"), None, "takes no body any more"),
        (format!("{POST}/requestBody/required"), Some(json!(true)), "its body is required now"),
        (format!("{POST}/requestBody/content/application~1json"), None, "application/json is gone"),
        (format!("{POST}/responses/409"), None, "the answer is gone"),
        (format!("{POST}/responses/201/headers/Location"), None, "the header Location is gone"),
        (format!("{errors}/1"), None, "the choices were"),
        (format!("{ASKED}/required/-"), Some(json!("name")), "name: it is required now"),
        (format!("{ASKED}/properties/size/maximum"), Some(json!(8)), "maximum was 9 and is 8"),
        (format!("{ASKED}/properties/size/minimum"), Some(json!(2)), "minimum was 1 and is 2"),
        (format!("{ASKED}/properties/size/type"), Some(json!("string")), "the type was"),
        (format!("{ASKED}/properties/name/type"), Some(json!("string")), "the type was"),
        (format!("{ASKED}/properties/name/maxLength"), Some(json!(20)), "maxLength was 40 and is 20"),
        (format!("{ASKED}/properties/name/pattern"), Some(json!("^a")), "pattern was null"),
        (format!("{ASKED}/properties/kind/enum/0"), None, "the choices were"),
        (format!("{ASKED}/properties/size/enum"), Some(json!([1, 2])), "the choices were"),
        (format!("{ASKED}/properties/name"), None, "name: it is gone"),
        (format!("{ASKED}/properties/parts/maxItems"), Some(json!(4)), "maxItems was 5 and is 4"),
        (format!("{ASKED}/properties/parts/items/type"), Some(json!("integer")), "items: the type was"),
        (format!("{ASKED}/properties/place/oneOf/0"), None, "had 2 variants and has 1"),
        (format!("{SHOWN}/properties/size"), None, "size: it is gone"),
        (format!("{SHOWN}/properties/id/type"), Some(json!(["string", "null"])), "the type was"),
        (format!("{SHOWN}/properties/id/pattern"), Some(json!("^x_")), "pattern was"),
        (format!("{SHOWN}/properties/state/enum/-"), Some(json!("lost")), "the choices were"),
        (format!("{SHOWN}/properties/size/maximum"), Some(json!(10)), "maximum was 9 and is 10"),
        (format!("{SHOWN}/required/0"), None, "id: it may be left out now"),
    ] {
        let found = breaks(&sample(), &changed(&pointer, value));
        assert!(found.iter().any(|what| what.contains(expected)), "{pointer}: wanted {expected:?}, found {found:?}");
    }
}

#[test]
fn what_only_adds_or_allows_more_is_no_break() {
    let errors = format!("{POST}/responses/409/content/application~1problem+json/schema/properties/code/enum");
    let optional = json!({ "name": "key", "in": "query", "schema": {} });
    assert_eq!(breaks(&sample(), &sample()), Vec::<String>::new());
    for (pointer, value) in [
        ("/paths/~1v1~1others".to_owned(), Some(json!({ "get": {} }))),
        (format!("{POST}/security/-"), Some(json!({ "accessToken": ["things:write"] }))),
        (format!("{POST}/parameters/-"), Some(optional)),
        (format!("{POST}/parameters/0/schema/maximum"), Some(json!(200))),
        (format!("{POST}/responses/503"), Some(json!({}))),
        (format!("{POST}/responses/201/headers/Extra"), Some(json!({}))),
        (format!("{errors}/-"), Some(json!("thing_lost"))),
        (format!("{ASKED}/properties/extra"), Some(json!({ "type": "string" }))),
        (format!("{ASKED}/properties/kind/enum/-"), Some(json!("green"))),
        (format!("{ASKED}/properties/size/maximum"), Some(json!(10))),
        (format!("{ASKED}/required/0"), None),
        (format!("{SHOWN}/properties/extra"), Some(json!({ "type": "string" }))),
        (format!("{SHOWN}/properties/state/enum/0"), None),
        (format!("{SHOWN}/required/-"), Some(json!("size"))),
    ] {
        let found = breaks(&sample(), &changed(&pointer, value));
        assert_eq!(found, Vec::<String>::new(), "{pointer}");
    }
}
