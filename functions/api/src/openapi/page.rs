//! The document as one page for people: plain HTML with its style in it, no script, nothing from elsewhere.

use serde_json::Value;

use super::operations;

/// The style of the page, which stands in it.
pub const STYLE: &str = include_str!("../../assets/docs.css");
/// How many members of an `enum` are shown.
const CHOICES_SHOWN_MAX: usize = 12;
/// What a reference to a schema begins with.
const SCHEMA_PREFIX: &str = "#/components/schemas/";

/// Writes a line to the text. Into a string nothing can fail, which `writeln!` does not know.
macro_rules! line {
    ($html:ident, $($written:tt)*) => {
        $html.push_str(&format!($($written)*));
        $html.push('\n');
    };
}

/// The page.
pub fn page(document: &Value) -> String {
    let mut html = String::new();
    let version = text(document, "/info/version");
    html += "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
    html += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    html += "<title>Florin: the HTTP API</title>\n";
    html += &format!("<style>{STYLE}</style>\n</head>\n<body>\n<div class=\"page\">\n");
    html += &contents(document);
    html += "<main>\n<h1 id=\"top\">The HTTP API</h1>\n";
    html += &format!("<p class=\"soft\">Version {}. ", escaped(version));
    html += "For programs: <a href=\"/openapi.json\">openapi.json</a>, OpenAPI 3.1.</p>\n";
    html += &prose(text(document, "/info/description"));
    html += &authentication(document);
    for tag in list(document, "/tags") {
        let name = text(tag, "/name");
        html += &format!("<h2 id=\"{}\">{}</h2>\n{}", anchor(name), escaped(name), prose(text(tag, "/description")));
        for (method, path, operation) in of_tag(document, name) {
            html += &operation_section(document, method, path, operation);
        }
    }
    html += "<h2 id=\"schemas\">Schemas</h2>\n<p class=\"soft\">What answers are made of. No other member comes.</p>\n";
    for (name, schema) in members(document, "/components/schemas") {
        html += &schema_section(name, schema);
    }
    html += "<footer>Made from the code of this version.</footer>\n</main>\n</div>\n</body>\n</html>\n";
    html
}

/// The operations of a tag: what is short before what is long, and reading before writing.
fn of_tag<'a>(document: &'a Value, tag: &str) -> Vec<(&'a str, &'a str, &'a Value)> {
    let is_tagged = |operation: &Value| list(operation, "/tags").iter().any(|name| name == tag);
    operations(document).filter(|(.., operation)| is_tagged(operation)).collect()
}

fn contents(document: &Value) -> String {
    let version = escaped(text(document, "/info/version"));
    let mut html = format!("<nav>\n<a class=\"brand\" href=\"#top\">Florin <small>{version}</small></a>\n");
    html += "<h2>Begin</h2>\n<ul>\n<li><a href=\"#authentication\">Authentication</a></li>\n</ul>\n";
    for tag in list(document, "/tags") {
        let name = text(tag, "/name");
        line!(html, "<h2>{}</h2>\n<ul>", escaped(name));
        for (method, _, operation) in of_tag(document, name) {
            let id = text(operation, "/operationId");
            let title = escaped(&id.replace('_', " "));
            line!(html, "<li><a href=\"#{id}\"><span class=\"method {method}\">{method}</span>{title}</a></li>");
        }
        html += "</ul>\n";
    }
    html += "<h2>Reference</h2>\n<ul>\n<li><a href=\"#schemas\">Schemas</a></li>\n</ul>\n</nav>\n";
    html
}

fn authentication(document: &Value) -> String {
    let mut html = String::from("<h2 id=\"authentication\">Authentication</h2>\n<table>\n");
    for (name, scheme) in members(document, "/components/securitySchemes") {
        let description = inline(text(scheme, "/description"));
        line!(html, "<tr><td><span class=\"name\">{}</span></td><td>{description}</td></tr>", escaped(name));
    }
    html + "</table>\n"
}

fn operation_section(document: &Value, method: &str, path: &str, operation: &Value) -> String {
    let id = text(operation, "/operationId");
    let mut html = format!("<section class=\"operation\" id=\"{id}\">\n");
    let title = inline(text(operation, "/summary").trim_end_matches('.'));
    line!(html, "<h3>{title}</h3>");
    line!(
        html,
        "<div class=\"route\"><span class=\"method {method}\">{method}</span><span class=\"path\">{}</span>{}</div>",
        escaped(path),
        needs(operation),
    );
    html += &prose(text(operation, "/description"));
    html += &parameters(document, operation);
    html += &request_body(document, operation);
    html += "<h4>Answers</h4>\n";
    for (status, response) in members(operation, "/responses") {
        html += &answer(status, response);
    }
    html + "</section>\n"
}

/// Which key, and which scope.
fn needs(operation: &Value) -> String {
    let Some((scheme, scopes)) = list(operation, "/security").iter().filter_map(Value::as_object).flatten().next()
    else {
        return "<span class=\"needs\">no key</span>".to_owned();
    };
    if scheme == "operatorKey" {
        let is_optional = list(operation, "/security").len() > 1;
        return format!("<span class=\"needs\">{}operator key</span>", if is_optional { "no key, or " } else { "" });
    }
    let who = if scheme == "accessToken" { "for users; " } else { "" };
    let scopes = scopes.as_array().into_iter().flatten().filter_map(Value::as_str);
    let scopes: Vec<String> = scopes.map(|scope| format!("<code>{}</code>", escaped(scope))).collect();
    format!("<span class=\"needs\">{who}needs {}</span>", scopes.join(", "))
}

fn parameters(document: &Value, operation: &Value) -> String {
    let all = list(operation, "/parameters");
    if all.is_empty() {
        return String::new();
    }
    let mut html = String::from("<h4>Parameters</h4>\n<div class=\"scroll\"><table>\n");
    for parameter in all {
        let parameter = resolved(document, parameter);
        let must = parameter.get("required").is_some_and(|is| is == true);
        let schema = parameter.get("schema").unwrap_or(&Value::Null);
        let kind = format!("{}, in the {}", kind(schema), text(parameter, "/in"));
        html += &row(text(parameter, "/name"), must, &kind, text(parameter, "/description"));
    }
    html + "</table></div>\n"
}

fn request_body(document: &Value, operation: &Value) -> String {
    let Some((media_type, media)) = members(operation, "/requestBody/content").next() else { return String::new() };
    let mut html = String::from(if media_type == "application/json" { "<h4>Body</h4>\n" } else { "<h4>Form</h4>\n" });
    let schema = media.get("schema").unwrap_or(&Value::Null);
    for variant in variants(document, schema) {
        html += "<div class=\"scroll\"><table>\n";
        html += &fields(document, variant, "");
        html += "</table></div>\n";
    }
    html + &example(media)
}

/// The objects that a body may be.
fn variants<'a>(document: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let schema = resolved(document, schema);
    let choices = list(schema, "/oneOf");
    if choices.is_empty() {
        return vec![schema];
    }
    let variants = choices.iter().map(|choice| resolved(document, choice));
    variants.filter(|choice| choice.get("properties").is_some()).collect()
}

/// A row for each field, those of objects within too.
fn fields(document: &Value, schema: &Value, prefix: &str) -> String {
    let mut html = String::new();
    for (name, described, must) in properties(schema) {
        let name = format!("{prefix}{name}");
        let target = resolved(document, described);
        let description = match text(described, "/description") {
            "" => text(target, "/description"),
            description => description,
        };
        html += &row(&name, must, &kind(described), description);
        if target.get("properties").is_some() {
            html += &fields(document, target, &format!("{name}."));
        }
    }
    html
}

/// Name, schema and whether it must be there: those that must come first.
fn properties(schema: &Value) -> Vec<(&str, &Value, bool)> {
    let required = list(schema, "/required");
    let described = members(schema, "/properties");
    let mut all: Vec<_> =
        described.map(|(name, schema)| (name, schema, required.iter().any(|is| is == name))).collect();
    all.sort_by_key(|(_, _, must)| !must);
    all
}

fn row(name: &str, must: bool, kind: &str, description: &str) -> String {
    let must = if must { "<span class=\"must\">required</span>" } else { "" };
    format!(
        "<tr><td><span class=\"name\">{}</span>{must}</td><td>{}<span class=\"kind\">{kind}</span></td></tr>\n",
        escaped(name),
        inline(description),
    )
}

/// A schema in few words.
fn kind(schema: &Value) -> String {
    if let Some(name) = text(schema, "/$ref").strip_prefix(SCHEMA_PREFIX) {
        return linked(name);
    }
    for choices in ["/oneOf", "/anyOf", "/allOf"] {
        let choices = list(schema, choices);
        if !choices.is_empty() {
            return choices.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    let mut words = vec![match schema.get("type") {
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        Some(Value::String(name)) => name.clone(),
        _ => "any".to_owned(),
    }];
    if let Some(items) = schema.get("items") {
        words.push(format!("of {}", kind(items)));
    }
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        words.push(format!("of {}", kind(values)));
    }
    words.extend(limits(schema));
    words.join(", ").replace("array, of", "array of").replace("object, of", "object of")
}

fn limits(schema: &Value) -> Vec<String> {
    let number = |name: &str| schema.get(name).filter(|value| value.is_number()).map(Value::to_string);
    let mut words = Vec::new();
    for (least, most, unit) in
        [("minimum", "maximum", ""), ("minLength", "maxLength", " characters"), ("minItems", "maxItems", " items")]
    {
        match (number(least), number(most)) {
            (Some(least), Some(most)) => words.push(format!("{least} to {most}{unit}")),
            (Some(least), None) => words.push(format!("at least {least}{unit}")),
            (None, Some(most)) => words.push(format!("at most {most}{unit}")),
            (None, None) => {}
        }
    }
    let choices = list(schema, "/enum");
    let shown = choices.iter().take(CHOICES_SHOWN_MAX).map(|value| match value {
        Value::String(value) => format!("<code>{}</code>", escaped(value)),
        other => format!("<code>{other}</code>"),
    });
    let mut shown: Vec<String> = shown.collect();
    if choices.len() > CHOICES_SHOWN_MAX {
        shown.push(format!("… ({} in all)", choices.len()));
    }
    if !shown.is_empty() {
        words.push(shown.join(" "));
    }
    if let Some(default) = schema.get("default") {
        words.push(format!("<code>{default}</code> unless told"));
    }
    words
}

fn answer(status: &str, response: &Value) -> String {
    let class = if status.starts_with('2') { "good" } else { "bad" };
    let open = if class == "good" { " open" } else { "" };
    let description = text(response, "/description");
    let codes: Vec<&str> = description.lines().filter_map(|line| line.strip_prefix("- `")?.split('`').next()).collect();
    let summary = match codes.as_slice() {
        [] => inline(description),
        [code] => format!("<code>{}</code>", escaped(code)),
        [first, rest @ ..] => format!("<code>{}</code> and {} more", escaped(first), rest.len()),
    };
    let mut html =
        format!("<details{open}><summary><span class=\"status {class}\">{status}</span>{summary}</summary><div>\n");
    if codes.is_empty() {
        let schemas = members(response, "/content").filter_map(|(_, media)| media.get("schema"));
        for schema in schemas {
            line!(html, "<p class=\"soft\">{}</p>", kind(schema));
        }
    } else {
        html += &prose(description);
    }
    let own = members(response, "/headers").filter(|(_, header)| header.get("$ref").is_none());
    for (name, header) in own {
        line!(html, "<p><code>{}</code> {}</p>", escaped(name), inline(text(header, "/description")));
    }
    for (_, media) in members(response, "/content") {
        html += &example(media);
    }
    html + "</div></details>\n"
}

fn example(media: &Value) -> String {
    let shown = match media.get("example") {
        None => return String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => serde_json::to_string_pretty(value).unwrap_or_default(),
    };
    format!("<pre>{}</pre>\n", escaped(&shown))
}

fn schema_section(name: &str, schema: &Value) -> String {
    let mut html = format!("<section class=\"schema\" id=\"schema-{0}\">\n<h3>{0}</h3>\n", escaped(name));
    html += &prose(text(schema, "/description"));
    let fields = properties(schema);
    if fields.is_empty() {
        line!(html, "<p class=\"soft\">{}</p>", kind(schema));
    } else {
        html += "<div class=\"scroll\"><table>\n";
        for (name, described, must) in fields {
            html += &row(name, must, &kind(described), text(described, "/description"));
        }
        html += "</table></div>\n";
    }
    html + "</section>\n"
}

fn linked(name: &str) -> String {
    format!("<a href=\"#schema-{0}\">{0}</a>", escaped(name))
}

/// What a reference stands for. References of references do not occur.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let target = value.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
    target.and_then(|pointer| document.pointer(pointer)).unwrap_or(value)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn members<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let object = value.pointer(pointer).and_then(Value::as_object);
    object.into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn anchor(name: &str) -> String {
    name.to_lowercase().replace(' ', "-")
}

/// Paragraphs and lists; within them `code`.
fn prose(text: &str) -> String {
    let mut html = String::new();
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        if block.trim_start().starts_with("- ") {
            let items = block.lines().map(|line| format!("<li>{}</li>\n", inline(line.trim_start_matches("- "))));
            line!(html, "<ul>\n{}</ul>", items.collect::<String>());
        } else {
            line!(html, "<p>{}</p>", inline(block.trim()));
        }
    }
    html
}

/// `code` between backticks; everything else is text.
fn inline(text: &str) -> String {
    let parts = escaped(text);
    let parts = parts.split('`').enumerate();
    parts.map(|(place, part)| if place % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() }).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
