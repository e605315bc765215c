//! The rules of this repository, each with its reason: what a crate may know, what the template must hold, tidiness.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use florin_domain::{breaker, effect, webhook};
use florin_messaging::{batch::REQUEUE_AFTER_RECEIVES, visibility::DELAY_SECONDS_MAX};
use florin_store::{
    payments::{DUE_AFTER_MS, HANDOVER_MS},
    schema::TABLES,
};
use serde_json::Value;

/// Longest comment line of Rust, in characters.
const LINE_CHARACTERS_MAX: usize = 120;
/// Receives that a message has for crashes and passing failures, whatever its waits have cost.
const SPARE_RECEIVES_MIN: u32 = 4;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file that git tracks, or would if it were added, by path below the root.
fn files() -> Vec<String> {
    let arguments = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success());
    let listed = String::from_utf8(output.stdout).unwrap();
    listed.lines().filter(|path| root().join(path).is_file()).map(str::to_owned).collect()
}

/// The product's own sources: no tests, no helpers of tests.
fn product_sources() -> Vec<String> {
    let is_product = |path: &String| {
        path.ends_with(".rs")
            && path.contains("/src/")
            && !path.starts_with("tests/")
            && !path.starts_with("shared/testing/")
    };
    files().into_iter().filter(is_product).collect()
}

/// A source without its unit tests, which stand at its end.
fn without_tests(source: &str) -> &str {
    source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default()
}

fn metadata() -> Value {
    // Without dependencies: a new machine has downloaded those of its own platform only, and cargo would miss the rest.
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--offline"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Each crate of the workspace: its folder, and the crates of the workspace that its product code depends on.
fn workspace() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let metadata = metadata();
    let root = format!("{}/", root().display());
    let packages = metadata["packages"].as_array().unwrap().iter().filter(|package| package["source"].is_null());
    packages
        .map(|package| {
            let manifest = package["manifest_path"].as_str().unwrap();
            let folder = manifest.strip_prefix(&root).unwrap().trim_end_matches("/Cargo.toml").to_owned();
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let ours = dependencies
                .filter(|dependency| dependency["kind"].is_null() && dependency["path"].is_string())
                .map(|dependency| dependency["name"].as_str().unwrap().to_owned());
            (package["name"].as_str().unwrap().to_owned(), (folder, ours.collect()))
        })
        .collect()
}

/// Which of these crates break a sentence of the architecture.
fn wrong_dependencies(workspace: &BTreeMap<String, (String, BTreeSet<String>)>) -> Vec<String> {
    let folder = |name: &String| workspace[name].0.as_str();
    let mut wrong = Vec::new();
    for (name, (at, dependencies)) in workspace {
        for dependency in dependencies {
            if at.starts_with("functions/") && !folder(dependency).starts_with("shared/") {
                wrong.push(format!("{name} knows {dependency}: a function knows shared/*, never another function"));
            }
            if at.starts_with("shared/") && !folder(dependency).starts_with("shared/") {
                wrong.push(format!("{name} knows {dependency}: what is shared knows no function"));
            }
            if at == "shared/domain" {
                wrong.push(format!("{name} knows {dependency}: the domain knows nothing"));
            }
            if dependency == "florin-testing" && at != "tests" {
                wrong.push(format!("{name} needs {dependency} outside its tests"));
            }
        }
    }
    wrong
}

#[test]
fn a_crates_dependencies_are_its_boundary() {
    assert_eq!(wrong_dependencies(&workspace()), Vec::<String>::new());

    let crates = |list: &[(&str, &str, &[&str])]| {
        let entry = |(name, at, knows): &(&str, &str, &[&str])| {
            let knows = knows.iter().map(|name| (*name).to_owned()).collect();
            ((*name).to_owned(), ((*at).to_owned(), knows))
        };
        wrong_dependencies(&list.iter().map(entry).collect())
    };
    assert_eq!(crates(&[("a", "functions/a", &["b"]), ("b", "functions/b", &[])]).len(), 1);
    assert_eq!(crates(&[("s", "shared/s", &["b"]), ("b", "functions/b", &[])]).len(), 1);
    assert_eq!(crates(&[("d", "shared/domain", &["s"]), ("s", "shared/s", &[])]).len(), 1);
}

/// What only `shared/store` may write: expressions, and attributes of items.
fn writes_expressions(source: &str) -> Option<&'static str> {
    // SNS and SQS have attributes of their own, on messages.
    let source = source.replace("MessageAttributeValue", "").replace("MessageSystemAttributeValue", "");
    let marks =
        ["_expression(", "expression_attribute_", "AttributeValue", ".exclusive_start_key(", ".key(\"", ".set_item("];
    marks.into_iter().find(|mark| source.contains(mark))
}

#[test]
fn only_the_store_writes_expressions() {
    // The local host plays DynamoDB, SQS and SNS, and knows no table of ours.
    let may = |path: &&String| path.starts_with("shared/store/") || path.starts_with("localstack/host/");
    for path in product_sources().iter().filter(|path| !may(path)) {
        let found = writes_expressions(without_tests(&read(path)));
        assert_eq!(
            found, None,
            "{path}: shared/store is the only crate that writes an expression or names an attribute"
        );
    }
    assert!(writes_expressions("client.put_item().condition_expression(\"x\")").is_some());
    assert!(writes_expressions("AttributeValue::S(x)").is_some());
    assert!(writes_expressions("client.get_item().key(\"pk\", id)").is_some());
    assert!(writes_expressions("MessageAttributeValue::builder(); AttributeValue::S(x)").is_some());
    assert!(writes_expressions("MessageAttributeValue::builder()").is_none());
}

#[test]
fn functions_have_one_tls_stack_and_log_in_nowhere() {
    for (name, (folder, _)) in workspace().iter().filter(|(_, (folder, _))| folder.starts_with("functions/")) {
        // `cargo metadata` also lists what an unused feature would bring; `cargo tree` what is built.
        let arguments = ["tree", "--edges", "normal", "--prefix", "none", "--locked", "--offline", "--package"];
        let output = Command::new(env!("CARGO")).args(arguments).arg(name).current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let crates: BTreeSet<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
        let versions = |name: &str| crates.iter().filter(|line| line.starts_with(&format!("{name} v"))).count();
        for banned in ["aws-sdk-sso", "aws-sdk-ssooidc", "openssl-sys", "native-tls", "ring", "dynoxide-rs"] {
            assert_eq!(versions(banned), 0, "{folder}: {banned} costs size and init, and is not needed");
        }
        for single in ["tokio", "rustls", "hyper"] {
            assert_eq!(versions(single), 1, "{folder}: one {single}");
        }
    }
}

/// The lines of a resource of the template.
fn resource<'a>(template: &'a str, name: &str) -> Vec<&'a str> {
    let mut lines = template.lines().skip_while(|line| *line != format!("  {name}:"));
    assert!(lines.next().is_some(), "the template has no {name}");
    lines.take_while(|line| line.is_empty() || line.starts_with("   ")).collect()
}

/// The whole number behind `key:`.
fn number(lines: &[&str], key: &str) -> i64 {
    let text = lines.iter().find_map(|line| line.trim().strip_prefix(&format!("{key}: ")));
    let digits: String = text.unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no {key} in {lines:?}"))
}

/// A change to the template that a rule has to notice.
fn changed(template: &str, resource: &str, from: &str, to: &str) -> String {
    let (before, after) = template.split_once(&format!("\n  {resource}:\n")).unwrap();
    assert!(after.contains(from), "{from}");
    format!("{before}\n  {resource}:\n{}", after.replacen(from, to, 1))
}

/// Where the template's tables are not those that the store is written for.
fn wrong_tables(template: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for table in &TABLES {
        let name = format!("{}{}Table", table.name[..1].to_uppercase(), &table.name[1..]);
        let text = resource(template, &name).join("\n");
        let mut has = |what: String| {
            if !text.contains(&what) {
                wrong.push(format!("{name} has no {what}, which shared/store/src/schema.rs is written for"));
            }
        };
        has(format!("- {{ AttributeName: {}, KeyType: HASH }}", table.hash));
        if let Some(range) = table.range {
            has(format!("- {{ AttributeName: {range}, KeyType: RANGE }}"));
        }
        if let Some(ttl) = table.ttl {
            has(format!("TimeToLiveSpecification: {{ AttributeName: {ttl}, Enabled: true }}"));
        }
        for index in table.indexes {
            has(format!("IndexName: {}", index.name));
            has(format!("- {{ AttributeName: {}, KeyType: HASH }}", index.hash));
            has(format!("- {{ AttributeName: {}, KeyType: RANGE }}", index.range));
            has(format!("- {{ AttributeName: {}, AttributeType: N }}", index.range));
        }
        has("BillingMode: PAY_PER_REQUEST".to_owned());
        has("PointInTimeRecoveryEnabled".to_owned());
        if table.ttl.is_none() && text.contains("TimeToLiveSpecification") {
            wrong.push(format!("{name} has a TTL that the store does not know"));
        }
        for index in table.indexes {
            let projection = match index.include {
                [] => "ProjectionType: KEYS_ONLY".to_owned(),
                names => format!("ProjectionType: INCLUDE, NonKeyAttributes: [{}]", names.join(", ")),
            };
            // Several indexes may carry the same.
            let alike = table.indexes.iter().filter(|other| other.include == index.include).count();
            if text.matches(&projection).count() != alike {
                wrong.push(format!("{name} has not {alike} of {projection}, as shared/store/src/schema.rs has"));
            }
        }
        let indexes = text.matches("IndexName:").count();
        if indexes != table.indexes.len() {
            wrong.push(format!("{name} has {indexes} indexes; the store knows {}", table.indexes.len()));
        }
    }
    wrong
}

#[test]
fn the_templates_tables_are_those_that_the_store_is_written_for() {
    let template = read("template.yaml");
    assert_eq!(wrong_tables(&template), Vec::<String>::new());

    for (table, from, to) in [
        ("PaymentsTable", "AttributeName: da, KeyType: RANGE", "AttributeName: ca, KeyType: RANGE"),
        ("PaymentsTable", "NonKeyAttributes: [c]", "NonKeyAttributes: [c, st]"),
        ("PaymentsTable", "ProjectionType: KEYS_ONLY", "ProjectionType: ALL"),
        ("MerchantsTable", "AttributeName: sk, KeyType: RANGE", "AttributeName: sort, KeyType: RANGE"),
        ("WebhooksTable", "AttributeName: ttl, Enabled: true", "AttributeName: expires, Enabled: true"),
        ("AnalyticsTable", "      KeySchema:", "      TimeToLiveSpecification: {}\n      KeySchema:"),
    ] {
        assert!(!wrong_tables(&changed(&template, table, from, to)).is_empty(), "{table}: {from}");
    }
}

/// The variables that the template sets for functions and that this text does not name.
fn unknown_variables(template: &str, text: &str) -> Vec<String> {
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let names = template.lines().filter_map(|line| line.strip_prefix("          ")?.split_once(':'));
    let names = names.map(|(name, _)| name).filter(|name| is_name(name));
    names.filter(|name| !text.contains(&format!("\"{name}\""))).map(str::to_owned).collect()
}

#[test]
fn what_init_costs_is_measured_with_every_setting_of_the_template() {
    let (template, measured) = (read("template.yaml"), read("bench/src/init_cost.rs"));
    assert_eq!(unknown_variables(&template, &measured), Vec::<String>::new());
    assert_eq!(unknown_variables(&template, &measured.replace("\"SIGN_UP\"", "")), ["SIGN_UP"]);
}

/// Where queues and functions do not go together.
fn wrong_queues(template: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (function, queue, waits) in [
        // From then on a message waits as a copy of itself, which has been received never.
        ("ProcessorFunction", "ProcessingQueue", REQUEUE_AFTER_RECEIVES),
        // Its last waits are longer than SQS delays a copy.
        ("WebhookSenderFunction", "WebhookQueue", REQUEUE_AFTER_RECEIVES.max(webhook::ATTEMPTS_MAX)),
        ("AnalyticsFunction", "AnalyticsQueue", 0),
    ] {
        let timeout = number(&resource(template, function), "Timeout");
        let queue_lines = resource(template, queue);
        let visibility = number(&queue_lines, "VisibilityTimeout");
        if visibility < 6 * timeout {
            wrong.push(format!("{queue}: {visibility} s is less than six times {function}'s {timeout} s, as AWS asks"));
        }
        if number(&queue_lines, "maxReceiveCount") < i64::from(waits + SPARE_RECEIVES_MIN) {
            wrong.push(format!("{queue}: {waits} waits and {SPARE_RECEIVES_MIN} crashes must not make a dead letter"));
        }
    }
    let timeout_ms = number(&resource(template, "ProcessorFunction"), "Timeout") * 1_000;
    if effect::LEASE_MS.min(breaker::PROBE_MS) <= timeout_ms {
        wrong.push("ProcessorFunction: a lease or probe may not end before its processor is certainly dead".to_owned());
    }
    let sweeper_timeout_ms = number(&resource(template, "SweeperFunction"), "Timeout") * 1_000;
    if sweeper_timeout_ms >= DUE_AFTER_MS {
        wrong.push("SweeperFunction: a run may not last until the next one begins".to_owned());
    }
    wrong
}

#[test]
fn queues_hide_messages_long_enough_and_show_them_often_enough() {
    let template = read("template.yaml");
    assert_eq!(wrong_queues(&template), Vec::<String>::new());

    for (resource, from, to) in [
        ("ProcessingQueue", "VisibilityTimeout: 60", "VisibilityTimeout: 59"),
        ("ProcessingQueue", "maxReceiveCount: 20", "maxReceiveCount: 10"),
        ("WebhookQueue", "maxReceiveCount: 12", "maxReceiveCount: 10"),
        ("AnalyticsQueue", "maxReceiveCount: 8", "maxReceiveCount: 3"),
        ("ProcessorFunction", "Timeout: 10", "Timeout: 12"),
        ("SweeperFunction", "Timeout: 50", "Timeout: 60"),
    ] {
        assert!(!wrong_queues(&changed(&template, resource, from, to)).is_empty(), "{resource}: {to}");
    }
}

#[test]
fn sqs_can_keep_every_wait_that_is_left_to_it() {
    let delay_ms_max = i64::try_from(DELAY_SECONDS_MAX).unwrap() * 1_000;
    // A longer one would use up receives, since no copy can wait so long.
    assert!([effect::WAIT_MAX_MS, breaker::OPEN_MS_MAX].iter().all(|wait_ms| *wait_ms <= delay_ms_max));
    // The sweeper comes once a minute, may miss one, and hands over what is left then.
    assert!(HANDOVER_MS + 2 * DUE_AFTER_MS <= delay_ms_max);
    // A payment that a processor holds is none that was lost.
    const { assert!(effect::LEASE_MS < DUE_AFTER_MS) };
}

/// The value of a product of whole numbers, such as `64 * 1024`.
fn product(text: &str) -> Option<i64> {
    text.split('*').map(|factor| factor.trim().replace('_', "").parse::<i64>().ok()).product()
}

/// The constant of this name in a source, or the default of a template's parameter.
fn constant(source: &str, name: &str) -> Option<i64> {
    let after = |start: &str| source.split_once(start).map(|(_, rest)| rest);
    let of_code = || after(&format!("const {name}: "))?.split_once('=')?.1.split_once(';').map(|(value, _)| value);
    let of_template = || after(&format!("\n  {name}:\n"))?.split_once("Default: ")?.1.lines().next();
    product(of_code().or_else(of_template)?)
}

/// Rows `| limit | value | constant | file |` whose value is not that of the constant, and how many rows there are.
fn wrong_limits(document: &str) -> (Vec<String>, usize) {
    let rows = document.lines().filter(|line| line.ends_with("` |") && line.matches('|').count() == 5);
    let (mut wrong, mut count) = (Vec::new(), 0);
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let value = cells[2].split(' ').next().and_then(|number| product(&number.replace(',', "")));
        if value.is_none() || value != constant(&read(cells[4]), cells[3]) {
            wrong.push(row.to_owned());
        }
        count += 1;
    }
    (wrong, count)
}

#[test]
fn the_limits_that_are_documented_are_those_of_the_code() {
    let document = read("docs/limits.md");
    let (wrong, count) = wrong_limits(&document);
    assert_eq!(wrong, Vec::<String>::new());
    assert!(count > 30, "only {count} limits found");

    for (from, to) in [("65,536", "65,535"), ("1,000 requests a second", "2,000 requests a second")] {
        assert_eq!(wrong_limits(&document.replace(from, to)).0.len(), 1, "{from}");
    }
    let missing = "| x | 1 s | `NO_SUCH_LIMIT_MAX` | `shared/domain/src/rate.rs` |";
    assert_eq!(wrong_limits(missing).0.len(), 1);
}

/// What is wrong with a file, by line.
fn untidy(path: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    // Put together, or this file would find itself.
    let unfinished =
        [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"], ["todo", "!("], ["unimplemented", "!("], ["dbg", "!("]];
    for (line, number) in text.lines().zip(1..) {
        let mut note = |what: &str| wrong.push(format!("{path}:{number}: {what}"));
        if line.ends_with([' ', '\t']) {
            note("white space at the end");
        }
        // rustfmt sees to code; a row of a table cannot be broken.
        let comment = line.trim_start().starts_with("//") && !line.trim_start().starts_with("//! |");
        if path.ends_with(".rs") && comment && line.chars().count() > LINE_CHARACTERS_MAX {
            note("longer than 120 characters");
        }
        // Tests may feed them to what they test.
        if !path.contains("/tests/") && line.chars().any(is_emoji) {
            note("an emoji");
        }
        if path.ends_with(".rs") && unfinished.iter().any(|parts| line.contains(&parts.concat())) {
            note("unfinished work belongs into an issue");
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        wrong.push(format!("{path}: no new line at the end"));
    }
    wrong
}

/// Emoji and pictographs; arrows and lines of diagrams are none.
fn is_emoji(character: char) -> bool {
    matches!(character, '\u{1F000}'..='\u{1FAFF}' | '\u{2600}'..='\u{27BF}' | '\u{2B50}' | '\u{FE0F}')
}

#[test]
fn files_are_tidy() {
    let mut wrong = Vec::new();
    // Others wrote the licence and the lock file.
    for path in files().iter().filter(|path| !["LICENSE", "Cargo.lock"].contains(&path.as_str())) {
        wrong.extend(untidy(path, &read(path)));
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(untidy("a.rs", &format!("// {} \n", "x".repeat(121))).len(), 2);
    assert_eq!(untidy("a.rs", "// TO\u{44}O").len(), 2);
    assert_eq!(untidy("a.md", "Done \u{2705}\n").len(), 1);
}

#[test]
fn every_crate_has_the_workspaces_lints() {
    for (folder, _) in workspace().values() {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{folder}: its code is held to other rules");
        assert!(
            !manifest.contains("version = \"0") || folder.is_empty(),
            "{folder}: versions are pinned in the root alone"
        );
    }
}

/// Manifests in which something enables the wrong versions of the product, other than the switch of their test.
fn enables_mutations<'a>(manifests: &[(&'a str, &str)]) -> Vec<&'a str> {
    let names_it = |text: &str, switch: &str| {
        text.lines().any(|line| !line.starts_with('#') && line.contains("mutations") && line != switch)
    };
    let switch = |path: &str| match path {
        "shared/domain/Cargo.toml" => "mutations = []",
        "tests/Cargo.toml" => "mutations = [\"florin-domain/mutations\"]",
        _ => "",
    };
    let wrong = manifests.iter().filter(|(path, text)| names_it(text, switch(path)));
    wrong.map(|(path, _)| *path).collect()
}

#[test]
fn nothing_that_is_deployed_can_be_wrong_on_purpose() {
    let paths: Vec<String> = files().into_iter().filter(|path| path.ends_with("Cargo.toml")).collect();
    let texts: Vec<String> = paths.iter().map(|path| read(path)).collect();
    let manifests: Vec<(&str, &str)> = paths.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
    assert_eq!(enables_mutations(&manifests), Vec::<&str>::new());

    let wrong = "florin-domain = { workspace = true, features = [\"mutations\"] }";
    assert_eq!(enables_mutations(&[("functions/api/Cargo.toml", wrong)]).len(), 1);
    assert_eq!(
        enables_mutations(&[("shared/domain/Cargo.toml", "default = [\"mutations\"]\nmutations = []")]).len(),
        1
    );
}

#[test]
fn decisions_are_numbered_without_gaps() {
    let mut numbers: Vec<u32> =
        files().iter().filter_map(|path| path.strip_prefix("docs/adr/")?.split('-').next()?.parse().ok()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=u32::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());
    assert!(!numbers.is_empty());
}

/// Words in quotes that look like an error code: lower case, with an underscore, in the sources that name codes.
fn codes_in(source: &str) -> BTreeSet<String> {
    let quoted = source.split('"').skip(1).step_by(2);
    let looks_like_a_code = |text: &&str| {
        let known = [
            "_missing",
            "_invalid",
            "_out_of_range",
            "_unsupported",
            "_unknown",
            "_too_long",
            "_too_large",
            "_forbidden",
            "_not_found",
            "_not_allowed",
            "_reused",
            "_refused",
            "_unavailable",
            "_error",
            "_unreadable",
            "_repeated",
            "_in_text",
            "_many_entries",
            "_expired",
            "_live_mode",
            "_limited",
        ];
        text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && known.iter().any(|end| text.ends_with(end))
    };
    quoted.filter(looks_like_a_code).map(str::to_owned).collect()
}

/// The codes that a row of a table explains: what stands in its first cell.
fn codes_explained(document: &str) -> BTreeSet<String> {
    let first_cells = document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let is_code = |text: &&str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    first_cells.filter(is_code).map(str::to_owned).collect()
}

#[test]
fn every_error_code_is_documented_and_every_documented_code_exists() {
    let explained = codes_explained(&read("docs/errors.md"));
    let mut codes = BTreeSet::new();
    let mut product = String::new();
    for path in product_sources() {
        let source = read(&path);
        let source = without_tests(&source);
        if path.starts_with("functions/api/src/")
            || ["shared/platform/src/guard.rs", "shared/domain/src/card.rs"].contains(&path.as_str())
        {
            codes.extend(codes_in(source));
        }
        product.push_str(source);
    }
    assert!(codes.len() > 40, "only {codes:?} found");
    let missing: Vec<_> = codes.difference(&explained).collect();
    assert!(missing.is_empty(), "docs/errors.md does not explain {missing:?}");
    let invented: Vec<_> = explained.iter().filter(|code| !product.contains(&format!("\"{code}\""))).collect();
    assert!(invented.is_empty(), "docs/errors.md explains {invented:?}, which nothing answers with");

    assert!(codes_in("wrong(\"amount\", \"amount_missing\", x)").contains("amount_missing"));
    let sample =
        codes_explained("See `other_invalid`.\n| code | x |\n| `amount_missing` | `/amount` |\n| `failure.code` | x |");
    assert_eq!(sample.into_iter().collect::<Vec<_>>(), ["amount_missing"]);
}
