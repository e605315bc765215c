#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{check, matches};

fn taken(pattern: &str, event: &Value) -> bool {
    let pattern = serde_json::from_str(pattern).unwrap();
    assert_eq!(check(&pattern), Ok(()), "{pattern}");
    matches(&pattern, event)
}

/// (pattern, event, whether it is taken)
type Case = (&'static str, Value, bool);

fn run(cases: Vec<Case>) {
    for (pattern, event, expected) in cases {
        assert_eq!(taken(pattern, &event), expected, "{pattern} on {event}");
    }
}

#[test]
fn values_are_compared_exactly() {
    let interests = r#"{"customer_interests": ["rugby", "tennis"]}"#;
    run(vec![
        (interests, json!({"customer_interests": "rugby"}), true),
        (interests, json!({"customer_interests": "tennis", "more": 1}), true),
        (interests, json!({"customer_interests": ["hockey", "tennis"]}), true),
        (interests, json!({"customer_interests": "baseball"}), false),
        (interests, json!({"customer_interests": ["baseball"]}), false),
        (interests, json!({"customer_interests": "Rugby"}), false),
        (interests, json!({"customer_interests": []}), false),
        (interests, json!({"other": "rugby"}), false),
        (r#"{"n": [100]}"#, json!({"n": 100}), true),
        (r#"{"n": [100]}"#, json!({"n": "100"}), false),
        (r#"{"n": [100]}"#, json!({"n": 100.5}), false),
        (r#"{"n": [300]}"#, json!({"n": 300.0}), false),
        (r#"{"f": [true]}"#, json!({"f": true}), true),
        (r#"{"f": [true]}"#, json!({"f": "true"}), false),
        (r#"{"f": [false]}"#, json!({"f": true}), false),
        (r#"{"f": [null]}"#, json!({"f": null}), true),
        (r#"{"f": [null]}"#, json!({"g": 1}), false),
        (r#"{"f": [""]}"#, json!({"f": ""}), true),
        (r#"{"f": [""]}"#, json!({"f": null}), false),
    ]);
}

#[test]
fn text_has_prefixes_suffixes_and_cases() {
    run(vec![
        (r#"{"a": [{"prefix": "bas"}]}"#, json!({"a": "baseball"}), true),
        (r#"{"a": [{"prefix": "bas"}]}"#, json!({"a": "rugby"}), false),
        (r#"{"a": [{"prefix": "bas"}]}"#, json!({"a": 5}), false),
        (r#"{"a": [{"prefix": {"equals-ignore-case": "eventb"}}]}"#, json!({"a": "EventBridge"}), true),
        (r#"{"a": [{"suffix": {"equals-ignore-case": "tbridge"}}]}"#, json!({"a": "EVENTBRIDGE"}), true),
        (r#"{"a": [{"suffix": {"equals-ignore-case": "tbridge"}}]}"#, json!({"a": "bridges"}), false),
        (r#"{"a": [{"suffix": "ball"}]}"#, json!({"a": "baseball"}), true),
        (r#"{"a": [{"suffix": "ball"}]}"#, json!({"a": "ballet"}), false),
        (r#"{"a": [{"equals-ignore-case": "tennis"}]}"#, json!({"a": "TENnis"}), true),
        (r#"{"a": [{"equals-ignore-case": "tennis"}]}"#, json!({"a": "tennis "}), false),
        (r#"{"a": ["exact", {"prefix": "x-"}]}"#, json!({"a": "x-1"}), true),
        (r#"{"a": ["exact", {"prefix": "x-"}]}"#, json!({"a": "exact"}), true),
    ]);
}

#[test]
fn anything_but_excludes() {
    run(vec![
        (r#"{"a": [{"anything-but": ["rugby", "tennis"]}]}"#, json!({"a": "baseball"}), true),
        (r#"{"a": [{"anything-but": ["rugby", "tennis"]}]}"#, json!({"a": ["rugby", "baseball"]}), true),
        (r#"{"a": [{"anything-but": ["rugby", "tennis"]}]}"#, json!({"a": "rugby"}), false),
        (r#"{"a": [{"anything-but": ["rugby", "tennis"]}]}"#, json!({"a": ["rugby"]}), false),
        (r#"{"a": [{"anything-but": "rugby"}]}"#, json!({"b": 1}), false),
        (r#"{"a": [{"anything-but": "order_cancelled"}]}"#, json!({"a": "order_placed"}), true),
        (r#"{"a": [{"anything-but": [100, 500]}]}"#, json!({"a": 101}), true),
        (r#"{"a": [{"anything-but": [100, 500]}]}"#, json!({"a": 100.1}), true),
        (r#"{"a": [{"anything-but": [100, 500]}]}"#, json!({"a": [100, 50]}), true),
        (r#"{"a": [{"anything-but": [100, 500]}]}"#, json!({"a": 100}), false),
        (r#"{"a": [{"anything-but": {"prefix": "order-"}}]}"#, json!({"a": "data-entry"}), true),
        (r#"{"a": [{"anything-but": {"prefix": "order-"}}]}"#, json!({"a": "order-cancelled"}), false),
        (r#"{"a": [{"anything-but": {"suffix": "ball"}}]}"#, json!({"a": "football"}), false),
        (r#"{"a": [{"anything-but": {"suffix": [".png", ".jpg"]}}]}"#, json!({"a": "x.jpg"}), false),
        (r#"{"a": [{"anything-but": {"suffix": [".png", ".jpg"]}}]}"#, json!({"a": "x.gif"}), true),
        (r#"{"a": [{"anything-but": {"equals-ignore-case": "init"}}]}"#, json!({"a": "INIT"}), false),
        (r#"{"a": [{"anything-but": {"wildcard": "*/lib/*"}}]}"#, json!({"a": "/usr/lib/x"}), false),
        (r#"{"a": [{"anything-but": {"wildcard": "*/lib/*"}}]}"#, json!({"a": "/usr/bin/x"}), true),
    ]);
}

#[test]
fn numbers_have_ranges() {
    run(vec![
        (r#"{"p": [{"numeric": ["=", 301.5]}]}"#, json!({"p": 301.5}), true),
        (r#"{"p": [{"numeric": ["=", 301.5]}]}"#, json!({"p": 3.015e2}), true),
        (r#"{"p": [{"numeric": ["=", 300]}]}"#, json!({"p": 300.0}), true),
        (r#"{"p": [{"numeric": ["=", 301.5]}]}"#, json!({"p": "301.5"}), false),
        (r#"{"p": [{"numeric": ["<", 0]}]}"#, json!({"p": -1}), true),
        (r#"{"p": [{"numeric": ["<", 0]}]}"#, json!({"p": 0}), false),
        (r#"{"p": [{"numeric": [">", 0, "<=", 150]}]}"#, json!({"p": 150}), true),
        (r#"{"p": [{"numeric": [">", 0, "<=", 150]}]}"#, json!({"p": 150.001}), false),
        (r#"{"p": [{"numeric": [">", 0, "<=", 150]}]}"#, json!({"p": 0}), false),
        (r#"{"p": [{"numeric": [">=", 100]}]}"#, json!({"p": 100}), true),
        (r#"{"p": [{"numeric": [">=", 100]}]}"#, json!({"p": 99.99999}), false),
        (r#"{"p": [{"numeric": [">=", 100]}]}"#, json!({"q": 100}), false),
    ]);
}

#[test]
fn exists_asks_about_leaves() {
    run(vec![
        (r#"{"store": [{"exists": true}]}"#, json!({"store": "fans"}), true),
        (r#"{"store": [{"exists": true}]}"#, json!({"store": null}), true),
        (r#"{"store": [{"exists": true}]}"#, json!({"other": 1}), false),
        (r#"{"store": [{"exists": false}]}"#, json!({"other": 1}), true),
        (r#"{"store": [{"exists": false}]}"#, json!({"store": "fans"}), false),
        // What is no leaf does not exist.
        (r#"{"detail": {"c": [{"exists": false}]}}"#, json!({"detail": {"c": {"c1": 100}}}), true),
        (r#"{"detail": {"c": [{"exists": true}]}}"#, json!({"detail": {"c": {"c1": 100}}}), false),
        (r#"{"detail": {"c": [{"exists": false}]}}"#, json!({}), true),
        (r#"{"detail": {"c": [{"exists": false}, "x"]}}"#, json!({"detail": {"c": "x"}}), true),
    ]);
}

#[test]
fn addresses_are_in_ranges() {
    run(vec![
        (r#"{"ip": [{"cidr": "10.0.0.0/24"}]}"#, json!({"ip": "10.0.0.255"}), true),
        (r#"{"ip": [{"cidr": "10.0.0.0/24"}]}"#, json!({"ip": "10.0.1.0"}), false),
        (r#"{"ip": [{"cidr": "10.0.0.0/24"}]}"#, json!({"ip": "::ffff:10.0.0.1"}), false),
        (r#"{"ip": [{"cidr": "10.0.0.0/24"}]}"#, json!({"ip": "no address"}), false),
        (r#"{"ip": [{"cidr": "0.0.0.0/0"}]}"#, json!({"ip": "203.0.113.9"}), true),
        (r#"{"ip": [{"cidr": "10.0.0.7/32"}]}"#, json!({"ip": "10.0.0.8"}), false),
        (r#"{"ip": [{"cidr": "2001:db8::/32"}]}"#, json!({"ip": "2001:db8:1::5"}), true),
        (r#"{"ip": [{"cidr": "2001:db8::/32"}]}"#, json!({"ip": "2001:db9::5"}), false),
    ]);
}

#[test]
fn wildcards_take_any_text() {
    run(vec![
        (r#"{"f": [{"wildcard": "dir/*.png"}]}"#, json!({"f": "dir/sub/x.png"}), true),
        (r#"{"f": [{"wildcard": "dir/*.png"}]}"#, json!({"f": "dir/x.png.txt"}), false),
        (r#"{"f": [{"wildcard": "*"}]}"#, json!({"f": ""}), true),
        (r#"{"f": [{"wildcard": "a*b*c"}]}"#, json!({"f": "aXbXbXc"}), true),
        (r#"{"f": [{"wildcard": "a*b*c"}]}"#, json!({"f": "aXcXb"}), false),
        (r#"{"f": [{"wildcard": "a\\*b"}]}"#, json!({"f": "a*b"}), true),
        (r#"{"f": [{"wildcard": "a\\*b"}]}"#, json!({"f": "aXb"}), false),
        (r#"{"f": [{"wildcard": "a\\\\b*"}]}"#, json!({"f": "a\\bcd"}), true),
        (r#"{"f": [{"wildcard": "plain"}]}"#, json!({"f": "plain"}), true),
        (r#"{"f": [{"wildcard": "plain"}]}"#, json!({"f": "plainer"}), false),
    ]);
}

#[test]
fn keys_are_joined_by_and_and_alternatives_by_or() {
    let both = r#"{"customer_interests": ["rugby"], "price_usd": [{"numeric": [">", 100]}]}"#;
    let either = r#"{"source": ["aws.cloudwatch"], "$or": [{"metricName": ["CPUUtilization", "ReadLatency"]},
        {"metricType": ["MetricType"], "namespace": ["AWS/EC2", "AWS/ES"]}]}"#;
    run(vec![
        (both, json!({"customer_interests": "rugby", "price_usd": 101}), true),
        (both, json!({"customer_interests": "rugby", "price_usd": 100}), false),
        (both, json!({"price_usd": 101}), false),
        (either, json!({"source": "aws.cloudwatch", "metricName": "CPUUtilization"}), true),
        (either, json!({"source": "aws.cloudwatch", "metricType": "MetricType", "namespace": "AWS/ES"}), true),
        (either, json!({"source": "aws.cloudwatch", "metricType": "MetricType"}), false),
        (either, json!({"source": "other", "metricName": "CPUUtilization"}), false),
        // One object is no alternative: `$or` is a key then, as it is with an operator's name inside.
        (r#"{"$or": ["x"]}"#, json!({"$or": "x"}), true),
        (r#"{"$or": [{"prefix": "a"}, {"prefix": "b"}]}"#, json!({"$or": "bc"}), true),
        ("{}", json!({"anything": 1}), true),
    ]);
}

#[test]
fn nested_keys_follow_objects_and_arrays() {
    let nested = r#"{"order": {"items": {"kind": ["fruit"], "price": [{"numeric": ["<", 5]}]}}}"#;
    let within = r#"{"a": {"$or": [{"b": [1]}, {"c": [2]}], "d": [3]}}"#;
    run(vec![
        (nested, json!({"order": {"items": {"kind": "fruit", "price": 4}}}), true),
        (nested, json!({"order": {"items": [{"kind": "nut", "price": 1}, {"kind": "fruit", "price": 4}]}}), true),
        // Both rules must hold for one element.
        (nested, json!({"order": {"items": [{"kind": "nut", "price": 1}, {"kind": "fruit", "price": 9}]}}), false),
        (nested, json!({"order": "items"}), false),
        (nested, json!([{"order": {"items": {"kind": "fruit", "price": 4}}}]), true),
        (within, json!({"a": {"c": 2, "d": 3}}), true),
        (within, json!({"a": {"b": 1, "d": 4}}), false),
    ]);
}

#[test]
fn bad_patterns_are_refused_with_the_reason() {
    for (pattern, reason) in [
        (r#""text""#, "Filter is not an object"),
        (r#"{"a": "b"}"#, "\"a\" must be an object or an array"),
        (r#"{"a": []}"#, "Empty arrays are not allowed"),
        (r#"{"a": {}}"#, "Empty objects are not allowed"),
        (r#"{"a": [["b"]]}"#, "Match value must be String, number, true, false, or null"),
        (r#"{"a": [{"prefix": "b", "suffix": "c"}]}"#, "Only one key allowed in match expression"),
        (r#"{"a": [{"like": "b"}]}"#, "Unrecognized match type like"),
        (r#"{"a": [{"prefix": 1}]}"#, "prefix match pattern must be a string"),
        (r#"{"a": [{"exists": "yes"}]}"#, "exists match pattern must be either true or false."),
        (r#"{"a": [{"anything-but": {"numeric": ["=", 1]}}]}"#, "Unsupported anything-but pattern: numeric"),
        (r#"{"a": [{"anything-but": []}]}"#, "Empty arrays are not allowed"),
        (r#"{"a": [{"numeric": []}]}"#, "Invalid member in numeric match: ]"),
        (r#"{"a": [{"numeric": [5, "="]}]}"#, "Invalid member in numeric match: 5"),
        (r#"{"a": [{"numeric": ["=="]}]}"#, "Unrecognized numeric range operator: =="),
        (r#"{"a": [{"numeric": ["="]}]}"#, "Value of equals must be numeric"),
        (r#"{"a": [{"numeric": [">", "1"]}]}"#, "Value of > must be numeric"),
        (r#"{"a": [{"numeric": ["<", 1, ">", 0]}]}"#, "Too many elements in numeric expression"),
        (r#"{"a": [{"numeric": [">", 1, ">", 2]}]}"#, "Bad numeric range operator: >"),
        (r#"{"a": [{"numeric": [">", 2, "<", 1]}]}"#, "Bottom must be less than top"),
        (r#"{"a": [{"numeric": [">", 1, "<", 2, "<", 3]}]}"#, "Too many terms in numeric range expression"),
        (r#"{"a": [{"numeric": [">", 6e9]}]}"#, "Value must be between -5.0E9 and 5.0E9, inclusive"),
        (r#"{"a": [{"cidr": "10.0.0.0"}]}"#, "Malformed CIDR, one '/' required"),
        (r#"{"a": [{"cidr": "10.0.0.0/x"}]}"#, "Malformed CIDR, mask bits must be an integer"),
        (r#"{"a": [{"cidr": "10.0.0.0/33"}]}"#, "Malformed CIDR, mask bits must be between 0 and 32"),
        (r#"{"a": [{"cidr": "xx/24"}]}"#, "Nonstandard IP address: xx"),
        (r#"{"a": [{"wildcard": "a**b"}]}"#, "Consecutive wildcard characters at pos 1"),
        (r#"{"a": [{"wildcard": "a\\b"}]}"#, "Invalid escape character at pos 1"),
        (r#"{"$or": [{"a": [1]}, {"b": 2}]}"#, "\"b\" must be an object or an array"),
    ] {
        let pattern = serde_json::from_str(pattern).unwrap();
        assert_eq!(check(&pattern), Err(reason.to_owned()), "{pattern}");
    }
}

/// A wildcard without escapes, tried in every way.
fn naive(pattern: &[char], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some(('*', after)), rest) => naive(after, text) || rest.is_some_and(|(_, rest)| naive(pattern, rest)),
        (Some((wanted, after)), Some((found, rest))) => wanted == found && naive(after, rest),
        _ => false,
    }
}

proptest! {
    #[test]
    fn a_wildcard_takes_what_trying_in_every_way_finds(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
        prop_assume!(!pattern.contains("**"));
        let characters = |text: &str| text.chars().collect::<Vec<_>>();
        let expected = naive(&characters(&pattern), &characters(&text));

        prop_assert_eq!(matches(&json!({"f": [{"wildcard": pattern}]}), &json!({"f": text})), expected);
    }
}
