//! Which messages a subscription takes.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_sns::types::MessageAttributeValue;
use serde_json::{Value, json};

use crate::conformance::{Case, Context, case, check::refused, context::ARRIVAL};

const POLICY: &str = "SNS Developer Guide, Filter policy constraints";
const STRINGS: &str = "SNS Developer Guide, String value matching";
const NUMBERS: &str = "SNS Developer Guide, Numeric value matching";
const KEYS: &str = "SNS Developer Guide, Key matching";
const LOGIC: &str = "SNS Developer Guide, AND/OR logic";
const SCOPE: &str = "SNS Developer Guide, Filter policy scope";

pub(super) const CASES: &[Case] = &[
    case!(sns, filter_exact, STRINGS, "A listed value is taken, another one or none is not"),
    case!(sns, filter_prefix_and_suffix, STRINGS, "prefix and suffix"),
    case!(sns, filter_ignores_case, STRINGS, "equals-ignore-case"),
    case!(
        sns,
        filter_anything_but,
        STRINGS,
        "anything-but takes every value but those listed, of an attribute that is there"
    ),
    case!(sns, filter_anything_but_prefix, STRINGS, "anything-but with a prefix or suffix"),
    case!(sns, filter_wildcard, STRINGS, "wildcard"),
    case!(sns, filter_cidr, STRINGS, "cidr takes addresses of the network"),
    case!(
        sns,
        filter_numbers,
        NUMBERS,
        "numeric = compares numbers: 5 is 5.0; the text of a String attribute is no number"
    ),
    case!(sns, filter_ranges, NUMBERS, "numeric takes ranges with open and closed ends"),
    case!(sns, filter_exists, KEYS, "exists true or false"),
    case!(sns, filter_and_or, LOGIC, "All keys must match, one value of each is enough"),
    case!(sns, filter_or_keys, LOGIC, "$or: one of the alternatives is enough"),
    case!(sns, filter_string_array, STRINGS, "One matching element of a String.Array is enough"),
    case!(sns, filter_body, SCOPE, "FilterPolicyScope MessageBody: nested keys of the body"),
    case!(sns, filter_body_arrays, SCOPE, "One matching element of an array in the body is enough"),
    case!(sns, filter_body_takes_json_only, SCOPE, "A body that is no JSON object is not taken"),
    case!(sns, filter_policies_are_checked, POLICY, "A policy that is no JSON object of lists or objects is refused"),
    case!(sns, filter_policies_are_small, POLICY, "A policy of more than 150 combinations is refused"),
];

/// Attributes of a message: name, type, value.
type Attributes = &'static [(&'static str, &'static str, &'static str)];

/// Publishes each message and checks that the filter takes just those that it should.
async fn takes(context: &Context, scope: &str, policy: Value, messages: &[(bool, &str, Attributes)]) -> Result<()> {
    let (topic, queue) = (context.topic().await?, context.queue(&[]).await?);
    let policy = policy.to_string();
    let subscription =
        [("RawMessageDelivery", "true"), ("FilterPolicyScope", scope), ("FilterPolicy", policy.as_str())];
    context.subscribe(&topic, &queue, &subscription).await?;
    for (number, (_, message, attributes)) in messages.iter().enumerate() {
        let mut request = context.sns.publish().topic_arn(&topic).message(*message);
        for (name, data_type, value) in *attributes {
            let value = MessageAttributeValue::builder().data_type(*data_type).string_value(*value).build()?;
            request = request.message_attributes(*name, value);
        }
        let number = MessageAttributeValue::builder().data_type("Number").string_value(number.to_string()).build()?;
        request.message_attributes("number", number).send().await?;
    }
    let documented: Vec<usize> =
        messages.iter().enumerate().filter_map(|(number, (taken, ..))| taken.then_some(number)).collect();
    let mut came = queue.some(documented.len(), ARRIVAL).await.with_context(|| format!("{policy} takes too few"))?;
    came.extend(queue.receive(10, 1).await?);
    let number = |message: &aws_sdk_sqs::types::Message| {
        message.message_attributes().and_then(|all| all.get("number")?.string_value()?.parse::<usize>().ok())
    };
    let mut found: Vec<usize> = came.iter().filter_map(number).collect();
    found.sort_unstable();
    let wrong: Vec<_> = messages
        .iter()
        .enumerate()
        .filter(|(number, _)| found.contains(number) != documented.contains(number))
        .map(|(_, message)| message)
        .collect();
    ensure!(wrong.is_empty() && found.len() == documented.len(), "{policy} is wrong about {wrong:?}");
    Ok(())
}

/// The same for attributes alone.
async fn takes_attributes(context: &Context, policy: Value, messages: &[(bool, Attributes)]) -> Result<()> {
    let messages: Vec<_> = messages.iter().map(|(taken, attributes)| (*taken, "a", *attributes)).collect();
    takes(context, "MessageAttributes", policy, &messages).await
}

/// The same for bodies alone.
async fn takes_bodies(context: &Context, policy: Value, messages: &[(bool, &str)]) -> Result<()> {
    let messages: Vec<_> = messages.iter().map(|(taken, body)| (*taken, *body, &[][..])).collect();
    takes(context, "MessageBody", policy, &messages).await
}

async fn filter_exact(context: Context) -> Result<()> {
    let policy = json!({ "type": ["payment.completed", "payment.failed"] });
    takes_attributes(
        &context,
        policy,
        &[
            (true, &[("type", "String", "payment.failed")]),
            (false, &[("type", "String", "payment.fail")]),
            (false, &[("type", "String", "Payment.Failed")]),
            (false, &[("kind", "String", "payment.failed")]),
            (false, &[]),
            (true, &[("kind", "String", "x"), ("type", "String", "payment.completed")]),
        ],
    )
    .await
}

async fn filter_prefix_and_suffix(context: Context) -> Result<()> {
    let policy = json!({ "type": [{ "prefix": "pay" }, { "suffix": ".end" }] });
    takes_attributes(
        &context,
        policy,
        &[
            (true, &[("type", "String", "payment")]),
            (true, &[("type", "String", "x.end")]),
            (false, &[("type", "String", "x.end.")]),
            (false, &[("type", "String", "Pay")]),
        ],
    )
    .await
}

async fn filter_ignores_case(context: Context) -> Result<()> {
    takes_attributes(
        &context,
        json!({ "type": [{ "equals-ignore-case": "tennis" }] }),
        &[
            (true, &[("type", "String", "TENNIS")]),
            (true, &[("type", "String", "Tennis")]),
            (false, &[("type", "String", "tennis2")]),
        ],
    )
    .await
}

async fn filter_anything_but(context: Context) -> Result<()> {
    takes_attributes(
        &context,
        json!({ "sport": [{ "anything-but": ["rugby", "tennis"] }] }),
        &[
            (true, &[("sport", "String", "golf")]),
            (false, &[("sport", "String", "rugby")]),
            (false, &[("other", "String", "golf")]),
            (true, &[("sport", "String.Array", "[\"rugby\", \"golf\"]")]),
            (false, &[("sport", "String.Array", "[\"rugby\"]")]),
        ],
    )
    .await
}

async fn filter_anything_but_prefix(context: Context) -> Result<()> {
    let policy =
        json!({ "a": [{ "anything-but": { "prefix": "order-" } }], "b": [{ "anything-but": { "suffix": "ball" } }] });
    takes_attributes(
        &context,
        policy,
        &[
            (true, &[("a", "String", "x-1"), ("b", "String", "golf")]),
            (false, &[("a", "String", "order-1"), ("b", "String", "golf")]),
            (false, &[("a", "String", "x-1"), ("b", "String", "football")]),
        ],
    )
    .await
}

async fn filter_wildcard(context: Context) -> Result<()> {
    takes_attributes(
        &context,
        json!({ "sport": [{ "wildcard": "*ba*ll" }] }),
        &[
            (true, &[("sport", "String", "baseball")]),
            (true, &[("sport", "String", "ball")]),
            (false, &[("sport", "String", "balls")]),
        ],
    )
    .await
}

async fn filter_cidr(context: Context) -> Result<()> {
    takes_attributes(
        &context,
        json!({ "source": [{ "cidr": "10.0.0.0/24" }] }),
        &[
            (true, &[("source", "String", "10.0.0.255")]),
            (false, &[("source", "String", "10.0.1.0")]),
            (false, &[("source", "String", "here")]),
        ],
    )
    .await
}

async fn filter_numbers(context: Context) -> Result<()> {
    takes_attributes(
        &context,
        json!({ "price": [5], "size": [{ "numeric": ["=", 5] }] }),
        &[
            (true, &[("price", "Number", "5"), ("size", "Number", "5.0")]),
            (false, &[("price", "Number", "50"), ("size", "Number", "5")]),
            (false, &[("price", "Number", "5"), ("size", "Number", "5.1")]),
            (false, &[("price", "String", "5"), ("size", "Number", "5")]),
        ],
    )
    .await
}

async fn filter_ranges(context: Context) -> Result<()> {
    let policy = json!({ "price": [{ "numeric": [">", 0, "<=", 150] }, { "numeric": ["=", 301.5] }] });
    takes_attributes(
        &context,
        policy,
        &[
            (false, &[("price", "Number", "0")]),
            (true, &[("price", "Number", "0.01")]),
            (true, &[("price", "Number", "150")]),
            (false, &[("price", "Number", "150.01")]),
            (true, &[("price", "Number", "3.015e2")]),
            (false, &[("price", "Number", "-1")]),
        ],
    )
    .await
}

async fn filter_exists(context: Context) -> Result<()> {
    let policy = json!({ "store": [{ "exists": true }], "test": [{ "exists": false }] });
    takes_attributes(
        &context,
        policy,
        &[
            (true, &[("store", "String", "any")]),
            (false, &[("store", "String", "any"), ("test", "String", "any")]),
            (false, &[]),
        ],
    )
    .await
}

async fn filter_and_or(context: Context) -> Result<()> {
    takes_attributes(
        &context,
        json!({ "a": ["1", "2"], "b": ["3"] }),
        &[
            (true, &[("a", "String", "1"), ("b", "String", "3")]),
            (true, &[("a", "String", "2"), ("b", "String", "3")]),
            (false, &[("a", "String", "1")]),
            (false, &[("b", "String", "3")]),
        ],
    )
    .await
}

async fn filter_or_keys(context: Context) -> Result<()> {
    let policy = json!({ "source": ["aws"], "$or": [{ "metric": ["cpu"] }, { "space": ["ec2", "s3"] }] });
    takes_attributes(
        &context,
        policy,
        &[
            (true, &[("source", "String", "aws"), ("metric", "String", "cpu")]),
            (true, &[("source", "String", "aws"), ("space", "String", "s3")]),
            (false, &[("source", "String", "aws")]),
            (false, &[("metric", "String", "cpu")]),
        ],
    )
    .await
}

async fn filter_string_array(context: Context) -> Result<()> {
    takes_attributes(
        &context,
        json!({ "interests": ["rugby", 7] }),
        &[
            (true, &[("interests", "String.Array", "[\"golf\", \"rugby\"]")]),
            (true, &[("interests", "String.Array", "[1, 7]")]),
            (false, &[("interests", "String.Array", "[\"golf\", 8, null, true]")]),
        ],
    )
    .await
}

async fn filter_body(context: Context) -> Result<()> {
    let policy = json!({ "order": { "kind": [{ "prefix": "card" }], "amount": [{ "numeric": [">=", 10] }] } });
    takes_bodies(
        &context,
        policy,
        &[
            (true, r#"{"order":{"kind":"card.visa","amount":10}}"#),
            (false, r#"{"order":{"kind":"card.visa","amount":9}}"#),
            (false, r#"{"order":{"kind":"card.visa"}}"#),
            (false, r#"{"kind":"card.visa","amount":10}"#),
        ],
    )
    .await
}

async fn filter_body_arrays(context: Context) -> Result<()> {
    takes_bodies(
        &context,
        json!({ "tags": ["new"], "live": [true], "gone": [null] }),
        &[
            (true, r#"{"tags":["old","new"],"live":true,"gone":null}"#),
            (false, r#"{"tags":["old"],"live":true,"gone":null}"#),
            (false, r#"{"tags":["new"],"live":"true","gone":null}"#),
            (false, r#"{"tags":["new"],"live":true}"#),
        ],
    )
    .await
}

async fn filter_body_takes_json_only(context: Context) -> Result<()> {
    takes_bodies(
        &context,
        json!({ "a": [{ "anything-but": "x" }] }),
        &[(false, "no JSON"), (false, "\"text\""), (true, r#"{"a":"y"}"#)],
    )
    .await
}

/// Subscribing with this policy is refused.
async fn policy_is_refused(context: &Context, policy: &str) -> Result<()> {
    let (topic, queue) = (context.topic().await?, context.queue(&[]).await?);
    let request = context.sns.subscribe().topic_arn(topic).protocol("sqs").endpoint(queue.arn().await?);
    let answer = request.attributes("FilterPolicy", policy).send().await;
    refused(answer, &["InvalidParameter"]).with_context(|| policy.to_owned())
}

async fn filter_policies_are_checked(context: Context) -> Result<()> {
    for policy in [
        "{",
        "[]",
        r#"{"a":"b"}"#,
        r#"{"a":[{"unknown":"b"}]}"#,
        r#"{"a":[{"numeric":[">","b"]}]}"#,
        r#"{"a":[{"exists":"yes"}]}"#,
    ] {
        policy_is_refused(&context, policy).await?;
    }
    Ok(())
}

async fn filter_policies_are_small(context: Context) -> Result<()> {
    let values = |count: u32| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    let policy = json!({ "a": values(16), "b": values(10) }).to_string();
    policy_is_refused(&context, &policy).await
}
