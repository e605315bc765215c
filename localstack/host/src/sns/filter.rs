//! Filter policies of subscriptions: the pattern language with the limits of SNS.
//!
//! Limits: <https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html>.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::pattern;
use crate::{
    model::FilterScope,
    sqs::{Attribute, AttributeValue},
};

/// Keys at the top of a policy.
const KEYS_MAX: usize = 5;
/// Combinations of the values of a policy.
const COMBINATIONS_MAX: usize = 150;
/// Levels of keys.
const NESTING_MAX: usize = 5;
/// Bytes of a policy.
const POLICY_BYTES_MAX: usize = 256 * 1024;
/// Numbers of `numeric` lie between minus and plus this.
const NUMERIC_MAX: f64 = 1e9;
/// `*` in one wildcard.
const WILDCARDS_MAX: usize = 3;
/// Points of all wildcards of a policy.
const WILDCARD_POINTS_MAX: usize = 100;

/// Whether SNS would take the policy.
///
/// # Errors
/// What is wrong with it, without the name of the parameter.
pub(crate) fn check(policy: &Value, scope: FilterScope) -> Result<(), String> {
    let Value::Object(keys) = policy else {
        return Err("FilterPolicy: failed to parse JSON. Top level must be an object.".to_owned());
    };
    if policy.to_string().len() > POLICY_BYTES_MAX {
        return Err("FilterPolicy: Filter policy is too large".to_owned());
    }
    if keys.len() > KEYS_MAX {
        return Err(format!("FilterPolicy: Filter policy can not have more than {KEYS_MAX} keys"));
    }
    let depth = depth(keys);
    if scope == FilterScope::Attributes && depth > 1 {
        return Err("Filter policy scope MessageAttributes does not support nested filter policy".to_owned());
    }
    if depth > NESTING_MAX {
        return Err(format!("FilterPolicy: Filter policy can not be nested deeper than {NESTING_MAX} levels"));
    }
    pattern::check(policy).map_err(|reason| format!("FilterPolicy: {reason}"))?;
    if combinations(keys, 1) > COMBINATIONS_MAX || wildcard_points(keys) > WILDCARD_POINTS_MAX {
        return Err("FilterPolicy: Filter policy is too complex".to_owned());
    }
    check_rules(keys)
}

/// Whether the policy takes a message with these attributes.
pub(super) fn takes_attributes(policy: &Value, attributes: &BTreeMap<String, Attribute>) -> bool {
    pattern::matches(policy, &attributes_as_json(attributes))
}

/// Whether the policy takes a message with this body. One that is no JSON object is never taken.
pub(super) fn takes_body(policy: &Value, body: &str) -> bool {
    let body: Result<Value, _> = serde_json::from_str(body);
    body.is_ok_and(|body| body.is_object() && pattern::matches(policy, &body))
}

/// Attributes as a document. Binary ones are ignored; `String.Array` is an array of JSON.
fn attributes_as_json(attributes: &BTreeMap<String, Attribute>) -> Value {
    let json = |attribute: &Attribute| {
        let AttributeValue::Text(text) = &attribute.value else { return None };
        let text = || Value::String(text.clone());
        let parsed = |wanted: fn(&Value) -> bool| {
            let parsed = text().as_str().and_then(|text| serde_json::from_str(text).ok());
            Some(parsed.filter(wanted).unwrap_or_else(text))
        };
        match attribute.data_type.split_once('.').unwrap_or((&attribute.data_type, "")) {
            (_, "Array") => parsed(Value::is_array),
            ("Number", _) => parsed(Value::is_number),
            _ => Some(text()),
        }
    };
    attributes.iter().filter_map(|(name, attribute)| Some((name.clone(), json(attribute)?))).collect()
}

/// Levels of keys; those inside of `$or` are on the level of `$or`.
fn depth(keys: &Map<String, Value>) -> usize {
    let of_key = |(key, rule): (&String, &Value)| match (pattern::alternatives(key, rule), rule) {
        (Some(alternatives), _) => alternatives.into_iter().map(depth).max().unwrap_or(1),
        (None, Value::Object(inner)) => 1 + depth(inner),
        _ => 1,
    };
    keys.iter().map(of_key).max().unwrap_or(1)
}

/// The product of the numbers of values, each times its level; alternatives are added up.
fn combinations(keys: &Map<String, Value>, level: usize) -> usize {
    let of_key = |(key, rule): (&String, &Value)| match (pattern::alternatives(key, rule), rule) {
        (Some(alternatives), _) => alternatives.into_iter().map(|keys| combinations(keys, level)).sum(),
        (None, Value::Object(inner)) => combinations(inner, level + 1),
        (None, Value::Array(values)) => values.len().saturating_mul(level),
        _ => 1,
    };
    keys.iter().map(of_key).fold(1, usize::saturating_mul)
}

/// One point for a pattern with one `*`, three for each `*` otherwise; a field's points count as often as it has
/// patterns.
fn wildcard_points(keys: &Map<String, Value>) -> usize {
    let of_key = |(key, rule): (&String, &Value)| match (pattern::alternatives(key, rule), rule) {
        (Some(alternatives), _) => alternatives.into_iter().map(wildcard_points).sum(),
        (None, Value::Object(inner)) => wildcard_points(inner),
        (None, Value::Array(values)) => {
            let counts: Vec<usize> = values.iter().flat_map(wildcards).map(stars).collect();
            let points = counts.iter().map(|stars| if *stars > 1 { 3 * stars } else { *stars });
            points.sum::<usize>().saturating_mul(counts.len())
        }
        _ => 0,
    };
    keys.iter().map(of_key).sum()
}

/// The operands of `wildcard` and of `anything-but` with it.
fn wildcards(rule: &Value) -> Vec<&str> {
    let operand = rule.get("wildcard").or_else(|| rule.get("anything-but").and_then(|inner| inner.get("wildcard")));
    match operand {
        Some(Value::Array(operands)) => operands.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(operand)) => vec![operand],
        _ => Vec::new(),
    }
}

fn stars(operand: &str) -> usize {
    operand.replace(r"\\", "").replace(r"\*", "").matches('*').count()
}

/// What the pattern language allows and SNS does not.
fn check_rules(keys: &Map<String, Value>) -> Result<(), String> {
    for (key, rule) in keys {
        match (pattern::alternatives(key, rule), rule) {
            (Some(alternatives), _) => alternatives.into_iter().try_for_each(check_rules)?,
            (None, Value::Object(inner)) => check_rules(inner)?,
            (None, Value::Array(rules)) => rules.iter().try_for_each(check_rule)?,
            _ => {}
        }
    }
    Ok(())
}

fn check_rule(rule: &Value) -> Result<(), String> {
    for name in ["prefix", "suffix"] {
        if rule.get(name).is_some_and(Value::is_object) {
            return Err(format!("FilterPolicy: {name} match pattern must be a string"));
        }
    }
    if wildcards(rule).into_iter().any(|operand| stars(operand) > WILDCARDS_MAX) {
        return Err(format!("FilterPolicy: wildcard match pattern can not have more than {WILDCARDS_MAX} wildcards"));
    }
    let bounds = rule.get("numeric").and_then(Value::as_array);
    if bounds.into_iter().flatten().filter_map(Value::as_f64).any(|bound| bound.abs() > NUMERIC_MAX) {
        return Err("FilterPolicy: Value must be between -1.0E9 and 1.0E9, inclusive".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn attribute(data_type: &str, text: &str) -> Attribute {
        Attribute { data_type: data_type.to_owned(), value: AttributeValue::Text(text.to_owned()) }
    }

    /// The example message of the documentation.
    fn purchase() -> BTreeMap<String, Attribute> {
        let attributes = [
            ("customer_interests", attribute("String.Array", r#"["soccer", "rugby", "hockey"]"#)),
            ("store", attribute("String", "example_corp")),
            ("event", attribute("String", "order_placed")),
            ("price_usd", attribute("Number", "210.75")),
            ("blob", Attribute { data_type: "Binary".into(), value: AttributeValue::Binary(vec![1]) }),
        ];
        attributes.map(|(name, attribute)| (name.to_owned(), attribute)).into()
    }

    #[test]
    fn attributes_are_filtered_by_their_types() {
        for (policy, expected) in [
            (
                json!({"store": ["example_corp"], "event": [{"anything-but": "order_cancelled"}],
                    "customer_interests": ["rugby", "football", "baseball"], "price_usd": [{"numeric": [">=", 100]}]}),
                true,
            ),
            (json!({"store": ["example_corp"], "event": ["order_cancelled"], "encrypted": [false]}), false),
            (json!({"encrypted": [false]}), false),
            (json!({"price_usd": [210.75]}), true),
            (json!({"price_usd": ["210.75"]}), false),
            (json!({"price_usd": [{"numeric": [">", 0, "<", 210]}]}), false),
            (json!({"customer_interests": [{"anything-but": ["soccer", "rugby"]}]}), true),
            (json!({"customer_interests": [{"prefix": "hock"}]}), true),
            (json!({"customer_interests": ["[\"soccer\", \"rugby\", \"hockey\"]"]}), false),
            (json!({"blob": [{"exists": true}]}), false),
            (json!({"blob": [{"exists": false}]}), true),
            (json!({"$or": [{"store": ["other"]}, {"event": [{"suffix": "_placed"}]}]}), true),
            (json!({}), true),
        ] {
            assert_eq!(check(&policy, FilterScope::Attributes), Ok(()), "{policy}");
            assert_eq!(takes_attributes(&policy, &purchase()), expected, "{policy}");
        }
    }

    #[test]
    fn a_body_is_filtered_as_json() {
        let policy = json!({"order": {"total": [{"numeric": [">", 10]}]}});

        assert_eq!(check(&policy, FilterScope::Body), Ok(()));
        assert!(takes_body(&policy, r#"{"order": {"total": 11}}"#));
        assert!(!takes_body(&policy, r#"{"order": {"total": 10}}"#));
        assert!(!takes_body(&policy, r#"[{"order": {"total": 11}}]"#));
        assert!(!takes_body(&policy, "no JSON"));
        assert!(!takes_body(&json!({}), "no JSON"));
    }

    #[test]
    fn the_documented_complexity_is_counted() {
        let count = |policy: Value| combinations(policy.as_object().unwrap(), 1);

        assert_eq!(count(json!({"key_a": [1, 2, 3], "key_b": [1], "key_c": [1, 2]})), 6);
        let nested = json!({"key_a": {"key_b": {"key_c": [1, 2, 3, 4]}}, "key_d": {"key_e": [1, 2, 3]}});
        assert_eq!(count(nested), 72);
        assert_eq!(count(json!({"$or": [{"a": [1, 2]}, {"b": [1, 2, 3]}], "c": [1, 2]})), 10);
    }

    #[test]
    fn policies_beyond_the_limits_are_refused() {
        let numbers = |count: usize| (0..count).map(Value::from).collect::<Vec<_>>();
        let (both, body) = ([FilterScope::Attributes, FilterScope::Body], [FilterScope::Body; 2]);
        for (policy, scopes, reason) in [
            (json!([]), both, "FilterPolicy: failed to parse JSON. Top level must be an object."),
            (
                json!({"a": [1], "b": [1], "c": [1], "d": [1], "e": [1], "f": [1]}),
                both,
                "FilterPolicy: Filter policy can not have more than 5 keys",
            ),
            (
                json!({"a": {"b": [1]}}),
                [FilterScope::Attributes; 2],
                "Filter policy scope MessageAttributes does not support nested filter policy",
            ),
            (
                json!({"a": {"b": {"c": {"d": {"e": {"f": [1]}}}}}}),
                body,
                "FilterPolicy: Filter policy can not be nested deeper than 5 levels",
            ),
            (json!({"a": numbers(16), "b": numbers(10)}), both, "FilterPolicy: Filter policy is too complex"),
            (
                json!({"a": (0..11).map(|n| json!({"wildcard": format!("*{n}")})).collect::<Vec<_>>()}),
                both,
                "FilterPolicy: Filter policy is too complex",
            ),
            (
                json!({"a": [{"wildcard": "*a*b*c*"}]}),
                both,
                "FilterPolicy: wildcard match pattern can not have more than 3 wildcards",
            ),
            (
                json!({"a": [{"prefix": {"equals-ignore-case": "x"}}]}),
                both,
                "FilterPolicy: prefix match pattern must be a string",
            ),
            (
                json!({"a": [{"numeric": ["=", 2e9]}]}),
                both,
                "FilterPolicy: Value must be between -1.0E9 and 1.0E9, inclusive",
            ),
            (json!({"a": "b"}), both, "FilterPolicy: \"a\" must be an object or an array"),
        ] {
            for scope in scopes {
                assert_eq!(check(&policy, scope), Err(reason.to_owned()), "{policy}");
            }
        }
        assert_eq!(check(&json!({"a": numbers(15), "b": numbers(10)}), FilterScope::Attributes), Ok(()));
        assert_eq!(check(&json!({"a": {"b": {"c": {"d": {"e": [1]}}}}}), FilterScope::Body), Ok(()));
    }
}
