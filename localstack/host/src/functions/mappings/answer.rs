//! What a function says about its batch.

use std::collections::BTreeSet;

use serde_json::Value;

/// Which messages failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Those with these ids; usually none.
    Failed(BTreeSet<String>),
    /// All, because the answer cannot be understood, for this reason.
    Malformed(String),
}

/// Reads the answer of a function that reports batch item failures, by the rules of
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>: nothing, `null` and an empty or
/// absent list are a success; what names no message of the batch fails the whole batch.
pub(super) fn verdict(answer: &[u8], ids: &BTreeSet<&str>) -> Verdict {
    let malformed = |why: &str| Verdict::Malformed(why.to_owned());
    if answer.trim_ascii().is_empty() {
        return Verdict::Failed(BTreeSet::new());
    }
    let failures = match serde_json::from_slice(answer) {
        Ok(Value::Null) => return Verdict::Failed(BTreeSet::new()),
        Ok(Value::Object(mut answer)) => answer.remove("batchItemFailures").unwrap_or_default(),
        Ok(_) => return malformed("the answer is no JSON object"),
        Err(_) => return malformed("the answer is no JSON"),
    };
    let failures = match failures {
        Value::Null => return Verdict::Failed(BTreeSet::new()),
        Value::Array(failures) => failures,
        _ => return malformed("batchItemFailures is no list"),
    };
    let mut failed = BTreeSet::new();
    for failure in &failures {
        match failure.get("itemIdentifier").and_then(Value::as_str) {
            None | Some("") => return malformed("batchItemFailures has an item without itemIdentifier"),
            Some(id) if !ids.contains(id) => {
                return Verdict::Malformed(format!("itemIdentifier {id} is no message of the batch"));
            }
            Some(id) => failed.insert(id.to_owned()),
        };
    }
    Verdict::Failed(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(answer: &str) -> Option<Vec<String>> {
        match verdict(answer.as_bytes(), &BTreeSet::from(["a", "b"])) {
            Verdict::Failed(failed) => Some(failed.into_iter().collect()),
            Verdict::Malformed(_) => None,
        }
    }

    #[test]
    fn an_answer_that_names_no_failure_is_a_success() {
        for answer in ["", " ", "null", "{}", r#"{"batchItemFailures":null}"#, r#"{"batchItemFailures":[]}"#] {
            assert_eq!(of(answer), Some(vec![]), "{answer}");
        }
    }

    #[test]
    fn named_messages_failed() {
        let answer = r#"{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"b"}]}"#;
        assert_eq!(of(answer), Some(vec!["b".to_owned()]));
    }

    #[test]
    fn an_answer_that_is_not_understood_fails_all() {
        for answer in [
            "{",
            r#""ok""#,
            "[]",
            r#"{"batchItemFailures":{}}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":7}]}"#,
            r#"{"batchItemFailures":[{"messageId":"a"}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"c"}]}"#,
            r#"{"batchItemFailures":["a"]}"#,
        ] {
            assert_eq!(of(answer), None, "{answer}");
        }
    }
}
