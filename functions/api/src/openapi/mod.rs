//! The description of the API (OpenAPI 3.1), made from the attributes above the handlers and from `schemas`.
//!
//! Nothing of this is reached by the function, which serves the committed files of `assets`: the linker drops it.
//! `tests/openapi.rs` makes those files and holds them, and every answer of the API's tests, against this.
//!
//! An attribute says what is an operation's own. What follows from its shape is added here: the errors of its key, its
//! body, its query and its path, the headers of every answer, the schemes behind `caller`, and the examples.

pub mod errors;
pub mod page;
pub mod params;
pub mod schemas;

use florin_domain::{
    money,
    payment::{METADATA_ENTRIES_MAX, METADATA_KEY_CHARACTERS_MAX, METADATA_VALUE_CHARACTERS_MAX},
    permission::{Permission, Permissions},
};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

/// Types that only other types' attributes name, or none.
#[derive(OpenApi)]
#[openapi(components(schemas(schemas::errors::Problem, schemas::errors::FieldProblem)))]
struct Shared;

/// The whole document, with these examples: by operation, `request` and `responses`.
pub fn document(examples: &Value) -> Value {
    let mut described = crate::Paths::openapi();
    described.merge(Shared::openapi());
    let mut document = serde_json::to_value(described).unwrap_or_default();
    flatten(&mut document);
    put(&mut document, "info", info());
    put(&mut document, "servers", json!([{ "url": "/", "description": "The host that serves this document." }]));
    put(&mut document, "tags", tags());
    if let Some(components) = document.get_mut("components") {
        put(components, "securitySchemes", security_schemes());
        put(components, "headers", headers());
        put(components, "parameters", parameters());
        if let Some(schemas) = components.get_mut("schemas") {
            fill_in(schemas);
        }
    }
    for operation in operations_mut(&mut document) {
        expand_security(operation);
        make_optional(operation);
        errors::spell_out(operation);
        add_common(operation);
        add_examples(operation, examples);
    }
    document
}

/// Every operation with its method, in small letters, and its path.
pub fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document.get("paths").and_then(Value::as_object);
    paths.into_iter().flatten().flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
    })
}

fn operations_mut(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    paths.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut).flat_map(Map::values_mut)
}

/// Puts a member into what is an object.
fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

/// An inlined type comes as `allOf` of itself and of an object that has only a description, which no string is.
fn flatten(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(flatten),
        Value::Object(members) => {
            members.values_mut().for_each(flatten);
            let parts = members.get("allOf").and_then(Value::as_array).map(Vec::as_slice);
            if let Some([Value::Object(inlined), Value::Object(described)]) = parts
                && described.keys().all(|name| name == "type" || name == "description")
            {
                let description = described.get("description").cloned();
                *members = inlined.clone();
                members.extend(description.map(|text| ("description".to_owned(), text)));
            }
        }
        _ => {}
    }
}

/// The member, an empty object if there is none yet.
fn member<'a>(object: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    Some(object.as_object_mut()?.entry(name).or_insert_with(|| json!({})))
}

fn info() -> Value {
    json!({
        "title": "Florin",
        "summary": "Payments, refunds and what operators need.",
        "version": env!("CARGO_PKG_VERSION"),
        "description": DESCRIPTION.trim(),
        "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
    })
}

const DESCRIPTION: &str = "
JSON in and out, snake_case, UTC times in RFC 3339 with milliseconds, amounts in whole minor units.

Whatever creates something takes an `Idempotency-Key`: whatever goes wrong on the way, send the same request again.
The same key and the same fields are answered as the first time, with `Idempotent-Replayed: true`; the same key and other fields are refused, and the field that differs is named.

Every error is a problem detail (RFC 9457) with a stable `code`: decide by it. Those of `/oauth/token` are OAuth's own.
One bad request always yields one code; `errors` lists every wrong field.
What is another merchant's is answered as if it had never been: 404.

A list has at most 100 items; `next_cursor` begins the next page.
There is no route with a trailing slash: 404 `route_not_found`.
A method that a route does not have is a 405 `method_not_allowed`, and the header `Allow` names those it has.
";

fn tags() -> Value {
    json!([
        { "name": "Payments", "description": "Intents to move money from a card to you." },
        { "name": "Refunds", "description": "Money given back for a payment, in part or whole." },
        { "name": "Payment methods", "description": "Cards that the gateway keeps for later payments." },
        { "name": "Customers", "description": "What is kept of your customers, by your own references." },
        { "name": "Analytics", "description": "Counts and sums of what has ended." },
        { "name": "Merchants", "description": "Sign-up and profile." },
        { "name": "API keys", "description": "What your programs call with. People make them; no key does." },
        { "name": "Sign-in", "description": "Access tokens for people and for clients. A quarter of an hour each." },
        { "name": "Users", "description": "Your people and their roles." },
        { "name": "Audit", "description": "Who did what. Nothing changes or removes an entry." },
        { "name": "Operations", "description": "For whoever runs Florin, with the operator key; not for merchants." },
        { "name": "Health", "description": "Whether the API is there and can work, and its description. They take no key." },
    ])
}

/// The ways of showing who calls. `caller` in an attribute stands for those that merchants have.
fn security_schemes() -> Value {
    json!({
        "apiKey": {
            "type": "http", "scheme": "bearer",
            "description": "A merchant's secret key: `Authorization: Bearer sk_test_…`, or `sk_live_…` where real money moves.",
        },
        "apiKeyHeader": {
            "type": "apiKey", "in": "header", "name": "X-API-Key",
            "description": "The same key in a header of its own.",
        },
        "accessToken": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "The access token of a user who is signed in, or of a client: `Authorization: Bearer eyJ…`. An operation that takes this and no key is for users only.",
        },
        "operatorKey": {
            "type": "http", "scheme": "bearer",
            "description": "The operator key of this deployment: `Authorization: Bearer op_…`.",
        },
    })
}

fn expand_security(operation: &mut Value) {
    let asked = operation.get("security").and_then(Value::as_array).into_iter().flatten();
    let Some(scopes) = asked.filter_map(|asked| asked.get("caller")?.as_array()).next().cloned() else {
        return;
    };
    let for_keys = scopes.iter().filter_map(|scope| Permission::parse(scope.as_str()?)).all(Permission::is_for_keys);
    let schemes: &[&str] = if for_keys { &["apiKey", "apiKeyHeader", "accessToken"] } else { &["accessToken"] };
    let expanded = schemes.iter().map(|scheme| json!({ *scheme: scopes })).collect();
    put(operation, "security", Value::Array(expanded));
}

/// A body that may be left out is no body that may be `null`.
fn make_optional(operation: &mut Value) {
    let schema = operation.pointer_mut("/requestBody/content/application~1json/schema");
    let Some(schema) = schema else { return };
    let choices = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let (nulls, others): (Vec<_>, Vec<_>) = choices.cloned().partition(|choice| *choice == json!({ "type": "null" }));
    if let ([_], [body]) = (nulls.as_slice(), others.as_slice()) {
        *schema = body.clone();
    }
}

fn headers() -> Value {
    let text = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    let required = |description: &str| json!({ "description": description, "required": true, "schema": { "type": "string", "minLength": 1 } });
    json!({
        "RequestId": required("Names the request; the same as `request_id` of an error."),
        "CorrelationId": text("The `X-Correlation-Id` that was sent, if it was fit to be passed on."),
        "WwwAuthenticate": required("`Bearer`; `Basic` for a client's id and secret."),
        "RateLimitPolicy": text("How many requests (`q`) the caller may make in so many seconds (`w`)."),
        "RateLimit": text("How many requests are left (`r`), and the seconds until there are more (`t`)."),
        "RetryAfter": json!({
            "description": "Seconds after which to try again.", "required": true,
            "schema": { "type": "integer", "minimum": 1 },
        }),
    })
}

fn parameters() -> Value {
    json!({
        "CorrelationId": {
            "name": "X-Correlation-Id", "in": "header", "required": false, "schema": { "type": "string" },
            "description": "1 to 64 visible ASCII characters that every event and log line of this request carry on. Others are passed over.",
        },
        "Traceparent": {
            "name": "traceparent", "in": "header", "required": false, "schema": { "type": "string" },
            "description": "W3C Trace Context, which every event of this request carries on. Others are passed over.",
        },
    })
}

/// What the attributes of the schemas cannot say: the currencies that there are, the limits of maps, and that a payment
/// has a delay or a moment.
fn fill_in(schemas: &mut Value) {
    if let Some(currency) = schemas.get_mut("Currency") {
        put(currency, "enum", currencies().into());
    }
    if let Some(scope) = schemas.get_mut("KeyScope") {
        let scopes: Vec<_> = Permissions::of_keys().iter().map(Permission::scope).collect();
        put(scope, "enum", scopes.into());
    }
    if let Some(scopes) = schemas.pointer_mut("/NewApiKey/properties/scopes") {
        put(scopes, "uniqueItems", true.into());
    }
    for (whole, part) in [("CustomerPayment", "Payment"), ("NewlyMadeApiKey", "ApiKey"), ("InvitedUser", "User")] {
        extend(schemas, whole, part);
    }
    if let Some(payment) = schemas.get_mut("NewPayment") {
        let both = json!({ "delay_seconds": { "type": "integer" }, "process_at": { "type": "string" } });
        put(payment, "not", json!({ "required": ["delay_seconds", "process_at"], "properties": both }));
    }
    if let Some(metadata) = schemas.get_mut("Metadata") {
        put(metadata, "maxProperties", METADATA_ENTRIES_MAX.into());
        put(metadata, "propertyNames", json!({ "minLength": 1, "maxLength": METADATA_KEY_CHARACTERS_MAX }));
        let value = json!({ "type": "string", "maxLength": METADATA_VALUE_CHARACTERS_MAX });
        put(metadata, "additionalProperties", value);
    }
}

/// Letters of a currency's code.
const CURRENCY_CODE_CHARACTERS: usize = 3;

/// Every code that a payment may have, by trying all of three letters.
fn currencies() -> Vec<String> {
    let longer = |codes: Vec<String>, _| -> Vec<String> {
        codes.iter().flat_map(|code| ('A'..='Z').map(move |letter| format!("{code}{letter}"))).collect()
    };
    let codes = (0..CURRENCY_CODE_CHARACTERS).fold(vec![String::new()], longer);
    codes.into_iter().filter(|code| money::Currency::parse(code).is_some()).collect()
}

/// Gives a schema the members of another one, as `serde(flatten)` does: closed objects cannot be joined by `allOf`.
fn extend(schemas: &mut Value, whole: &str, part: &str) {
    let Some(part) = schemas.get(part).cloned() else { return };
    let Some(whole) = schemas.get_mut(whole) else { return };
    let members = part.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    if let Some(properties) = whole.get_mut("properties").and_then(Value::as_object_mut) {
        properties.extend(members);
    }
    let names = part.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(required) = whole.get_mut("required").and_then(Value::as_array_mut) {
        required.extend(names);
    }
}

/// What every answer has, and what every request that sets something off may have.
fn add_common(operation: &mut Value) {
    if operation.get("security").is_some() && operation.get("requestBody").is_some() {
        let shared = ["CorrelationId", "Traceparent"].map(|name| reference("parameters", name));
        if let Some(object) = operation.as_object_mut()
            && let Some(parameters) = object.entry("parameters").or_insert_with(|| json!([])).as_array_mut()
        {
            parameters.extend(shared);
        }
    }
    let has_rate = operation.pointer("/responses/429").is_some() && operation.get("security").is_some();
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    for (status, response) in responses.into_iter().flatten() {
        let Some(headers) = member(response, "headers") else { continue };
        put(headers, "X-Request-Id", reference("headers", "RequestId"));
        put(headers, "X-Correlation-Id", reference("headers", "CorrelationId"));
        if has_rate && status != "401" {
            put(headers, "RateLimit-Policy", reference("headers", "RateLimitPolicy"));
            put(headers, "RateLimit", reference("headers", "RateLimit"));
        }
        match status.as_str() {
            "401" => put(headers, "WWW-Authenticate", reference("headers", "WwwAuthenticate")),
            "429" | "503" => put(headers, "Retry-After", reference("headers", "RetryAfter")),
            _ => {}
        }
    }
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

/// What a test sent, and what it was answered.
fn add_examples(operation: &mut Value, examples: &Value) {
    let id = operation.get("operationId").and_then(Value::as_str).unwrap_or_default();
    let Some(recorded) = examples.get(id) else { return };
    if let Some(body) = recorded.get("request").filter(|body| !body.is_null()) {
        add_example(operation.get_mut("requestBody"), body);
    }
    for (status, body) in recorded.get("responses").and_then(Value::as_object).into_iter().flatten() {
        let responses = operation.get_mut("responses");
        add_example(responses.and_then(|responses| responses.get_mut(status)), body);
    }
}

fn add_example(described: Option<&mut Value>, body: &Value) {
    let content = described.and_then(|described| described.get_mut("content")).and_then(Value::as_object_mut);
    for media in content.into_iter().flat_map(Map::values_mut) {
        put(media, "example", body.clone());
    }
}
