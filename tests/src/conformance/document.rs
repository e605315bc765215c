//! `docs/conformance.md` is written from the cases and the differences.

use super::{cases, differences};

/// Titles of the document's parts, by the service that a case's name begins with.
const PARTS: [(&str, &str); 5] = [
    ("sqs", "SQS: standard queues"),
    ("sns", "SNS: topics with queues as subscribers"),
    ("mappings", "Lambda: event source mappings of queues"),
    ("http_api", "API Gateway: HTTP APIs with functions"),
    ("dynamodb", "DynamoDB: what Florin relies on"),
];

const EMULATORS: [(&str, &str); 2] = [("host", "The local host"), ("ministack", "MiniStack 1.5.33")];

/// The document.
pub fn document() -> String {
    let cases = cases();
    let mut text = format!(
        "# Conformance\n\n\
         What AWS documents, checked against a running emulator: {} small cases, each for one sentence of the AWS \
         documentation.\n\
         `./scripts/up --detach && . .florin/local.env && cargo test -p florin-tests --test conformance -- --nocapture` \
         runs them; they work against any endpoint that the environment names, and with `FLORIN_EMULATOR=aws` against AWS.\n\
         Cases of mappings and HTTP APIs run on an emulator of their own with `tests/conformance/template.yaml`; for any \
         other endpoint deploy that template and name a JSON file of its outputs in `FLORIN_CONFORMANCE_OUTPUTS`.\n\
         A case that fails and is not listed below fails the run, and so does one that is listed and passes.\n\n\
         This page is written from the code: `FLORIN_WRITE_DOCS=1 cargo test -p florin-tests --lib conformance`.\n\n\
         ## Known differences\n",
        cases.len()
    );
    for (emulator, title) in EMULATORS {
        let known = differences::of(emulator);
        text.push_str(&format!("\n### {title}\n\n"));
        if known.is_empty() {
            text.push_str("None.\n");
            continue;
        }
        text.push_str("| case | AWS documents | it does |\n|---|---|---|\n");
        for case in cases.iter().filter(|case| known.contains_key(case.name)) {
            let does = known.get(case.name).map(|difference| difference.does).unwrap_or_default();
            text.push_str(&format!("| `{}` | {} | {does} |\n", case.name, case.rule));
        }
    }
    text.push_str("\n## Cases\n");
    for (service, title) in PARTS {
        text.push_str(&format!("\n### {title}\n\n| case | the rule | page |\n|---|---|---|\n"));
        for case in cases.iter().filter(|case| case.name.split('.').next() == Some(service)) {
            text.push_str(&format!("| `{}` | {} | {} |\n", case.name, case.rule, case.page));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;
    use crate::place::root;

    #[test]
    fn the_page_is_what_the_code_says() {
        let path = root().join("docs/conformance.md");
        if std::env::var_os("FLORIN_WRITE_DOCS").is_some() {
            fs::write(&path, document()).unwrap();
        }
        let page = fs::read_to_string(&path).unwrap_or_default();
        assert!(page == document(), "docs/conformance.md is not up to date; it says how it is written");
    }

    #[test]
    fn names_are_unique_and_differences_name_cases() {
        let all = cases();
        let names: BTreeSet<_> = all.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().all(|case| PARTS.iter().any(|(service, _)| case.name.starts_with(service))));
        let mut listed = BTreeSet::new();
        for difference in differences::DIFFERENCES {
            assert!(names.contains(difference.case), "{} is no case", difference.case);
            assert!(listed.insert((difference.emulator, difference.case)), "{} is listed twice", difference.case);
            assert!(EMULATORS.iter().any(|(name, _)| *name == difference.emulator));
        }
    }
}
