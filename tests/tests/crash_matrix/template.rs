//! The queues as `template.yaml` has them, so that the matrix runs on what is deployed.

use florin_testing::bus::Subscription;

/// Each consumer's queue, by its names in the template.
pub(crate) const PROCESSING: &str = "processing";
pub(crate) const WEBHOOK: &str = "webhook";
pub(crate) const ANALYTICS: &str = "analytics";

const TEMPLATE: &str = include_str!("../../../template.yaml");
const QUEUES: [(&str, &str, &str); 3] = [
    (PROCESSING, "ProcessingQueue", "ProcessingSubscription"),
    (WEBHOOK, "WebhookQueue", "WebhookSubscription"),
    (ANALYTICS, "AnalyticsQueue", "AnalyticsSubscription"),
];

/// The queues and what they take.
pub(crate) fn subscriptions() -> Vec<Subscription> {
    let read = |(queue, resource, subscription): &(&'static str, &str, &str)| {
        let policy = value(TEMPLATE, subscription, "FilterPolicy:").split("RedrivePolicy").next().unwrap();
        let words = policy.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_')));
        let types: Vec<String> = words.filter(|word| word.contains('.')).map(str::to_owned).collect();
        assert!(!types.is_empty(), "{subscription} takes no event");
        Subscription {
            queue,
            types,
            visibility_ms: number(TEMPLATE, resource, "VisibilityTimeout: ") * 1_000,
            receives_max: u32::try_from(number(TEMPLATE, resource, "maxReceiveCount: ")).unwrap(),
        }
    };
    QUEUES.iter().map(read).collect()
}

/// What stands behind this text in a resource.
fn value<'a>(template: &'a str, resource: &str, key: &str) -> &'a str {
    let from = template.split(&format!("\n  {resource}:\n")).nth(1).unwrap();
    let until = from.find("\n\n  ").unwrap_or(from.len());
    from[..until].split(key).nth(1).unwrap_or_else(|| panic!("{resource} has no {key}"))
}

fn number(template: &str, resource: &str, key: &str) -> i64 {
    let digits: String = value(template, resource, key).chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}
