//! What the description of the API says of an answer. Every answer of every test is held against it.

use std::sync::LazyLock;

use florin_api::ROUTES;
use serde_json::Value;

/// The committed document, which `tests/openapi.rs` holds against the code.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
});

/// The path with ids in it that name nothing.
pub fn filled_in(path: &str) -> String {
    path.replace("{id}", "nothing").replace("{consumer}", "nothing").replace("{customer}", "nothing")
}

/// The path of the route that serves this one.
pub fn route(method: &str, path: &str) -> Option<&'static str> {
    let path = path.split('?').next().unwrap_or_default();
    let matches = |template: &&str| {
        let (parts, named): (Vec<_>, Vec<_>) = (path.split('/').collect(), template.split('/').collect());
        let fits = |(part, name): (&&str, &&str)| part == name || (name.starts_with('{') && !part.is_empty());
        parts.len() == named.len() && parts.iter().zip(&named).all(fits)
    };
    let of_method = ROUTES.iter().filter(|(known, _)| known.eq_ignore_ascii_case(method)).map(|(_, path)| *path);
    // A name that is written out goes before one in braces.
    of_method.filter(matches).min_by_key(|template| template.contains('{'))
}

/// Stops the test if the document does not know of this answer.
pub fn knows(method: &str, path: &str, status: u16, body: &Value) {
    let Some(route) = route(method, path) else { return };
    let operation = &DOCUMENT["paths"][route][method.to_lowercase()];
    let id = &operation["operationId"];
    let answer = &operation["responses"][status.to_string()];
    assert!(answer.is_object(), "{id} answers {status}, which the document does not know (./scripts/openapi)");
    if status < 400 {
        return;
    }
    if body.get("error").is_some() {
        let codes =
            answer["content"]["application/json"]["schema"]["allOf"][1]["properties"]["error"]["enum"].as_array();
        let code = &body["error"];
        assert!(
            codes.is_some_and(|codes| codes.contains(code)),
            "{id} answers {status} {code}, which is not described"
        );
        return;
    }
    let fixed = &answer["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"];
    let codes = fixed["code"]["enum"].as_array();
    assert!(
        codes.is_none_or(|codes| codes.contains(&body["code"])),
        "{id} answers {status} {}, which the document does not know",
        body["code"]
    );
}
