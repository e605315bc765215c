//! This repository's own template, read completely.

use std::{path::Path, time::Duration};

use serde_json::json;

use super::read_with;
use crate::model::{FilterScope, Function, Queue, Rate, RedriveAllow, Stack};

/// The template of the repository that this crate lives in.
pub(super) fn text() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml")).unwrap()
}

const ROOT_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const GATEWAY_KEY: &str = "sk_test_0123456789abcdefghjkmnpq";
const PREFIX: &str = "http://127.0.0.1:4566/_aws/execute-api/";

/// What a local deployment gives.
const LOCAL: [(&str, &str); 8] = [
    ("Architecture", "x86_64"),
    ("FlorinMode", "test"),
    ("RootKey", ROOT_KEY),
    ("GatewayApiKey", GATEWAY_KEY),
    ("WebhookAllowLoopback", "true"),
    ("ApiUrlPrefix", PREFIX),
    ("ConsumerConcurrency", "5"),
    ("RetainData", "false"),
];

fn local() -> Stack {
    read_with(&text(), &LOCAL).unwrap_or_else(|error| panic!("{error}"))
}

fn local_but(changes: &[(&'static str, &'static str)]) -> Stack {
    let kept = LOCAL.into_iter().filter(|(name, _)| changes.iter().all(|(other, _)| other != name));
    let parameters: Vec<_> = kept.chain(changes.iter().copied()).collect();
    read_with(&text(), &parameters).unwrap_or_else(|error| panic!("{error}"))
}

fn queue<'s>(stack: &'s Stack, name: &str) -> &'s Queue {
    stack.queues.iter().find(|queue| queue.name == name).unwrap()
}

fn function<'s>(stack: &'s Stack, id: &str) -> &'s Function {
    &stack.functions[id]
}

fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:eu-north-1:000000000000:{name}")
}

#[test]
fn every_function_is_there_with_globals_and_its_own() {
    let stack = local();

    let found: Vec<_> = stack
        .functions
        .iter()
        .map(|(id, function)| {
            (id.as_str(), function.name.as_str(), function.binary.as_str(), function.memory_mib, function.timeout)
        })
        .collect();
    let expected = [
        ("AnalyticsFunction", "shop-analytics", "analytics", 128, 10),
        ("ApiFunction", "shop-api", "api", 256, 15),
        ("GatewaySimulatorFunction", "shop-gateway-simulator", "gateway-simulator", 128, 15),
        ("ProcessorFunction", "shop-processor", "processor", 256, 10),
        ("SweeperFunction", "shop-sweeper", "sweeper", 256, 50),
        ("WebhookSenderFunction", "shop-webhook-sender", "webhook-sender", 256, 30),
    ]
    .map(|(id, name, binary, memory, timeout)| (id, name, binary, memory, Duration::from_secs(timeout)));
    assert_eq!(found, expected);
    for function in stack.functions.values() {
        assert_eq!(function.handler, "bootstrap");
        assert_eq!(function.application_log_level.as_deref(), Some("INFO"));
        assert_eq!(function.reserved_concurrency, None);
        assert_eq!(function.arn, format!("arn:aws:lambda:eu-north-1:000000000000:function:{}", function.name));
        assert_eq!(function.log_group, function.name.replace("shop-", "/florin/shop/"));
    }
    let sweeper = function(&stack, "SweeperFunction");
    assert_eq!((sweeper.async_retries_max, sweeper.async_event_age_max), (0, Duration::from_secs(60)));
    let api = function(&stack, "ApiFunction");
    assert_eq!((api.async_retries_max, api.async_event_age_max), (2, Duration::from_secs(21_600)));
}

#[test]
fn environments_hold_names_addresses_and_parameters() {
    let stack = local();

    let gateway = stack.apis.iter().find(|api| api.name == "shop-gateway-simulator").unwrap();
    let gateway_url = format!("{PREFIX}{}", gateway.id);
    let merchants = stack.apis.iter().find(|api| api.name == "shop-merchants").unwrap();
    let public_url = format!("{PREFIX}{}", merchants.id);
    let expected = [
        ("ACCESS_TOKEN_GENERATION", "1"),
        ("ANALYTICS_TABLE", "shop-AnalyticsTable"),
        ("AUDIT_RETENTION_DAYS", "0"),
        ("AUDIT_TABLE", "shop-AuditTable"),
        ("EVENTS_TOPIC_ARN", "arn:aws:sns:eu-north-1:000000000000:shop-payment-events"),
        ("FLORIN_MODE", "test"),
        ("GATEWAY_API_KEY", GATEWAY_KEY),
        ("GATEWAY_BASE_URL", &gateway_url),
        ("IDEMPOTENCY_TABLE", "shop-IdempotencyTable"),
        ("MERCHANTS_TABLE", "shop-MerchantsTable"),
        ("OIDC_AUDIENCE", ""),
        ("OIDC_ISSUER", ""),
        ("OIDC_MERCHANT_CLAIM", "custom:merchant_id"),
        ("OIDC_SCOPE_CLAIM", "scope"),
        ("PAYMENTS_TABLE", "shop-PaymentsTable"),
        ("PUBLIC_URL", &public_url),
        ("QUEUE_PREFIX", "shop"),
        ("REQUESTS_PER_SECOND_PER_KEY", "500"),
        ("REQUEST_BURST_PER_KEY", "1000"),
        ("ROOT_KEY", ROOT_KEY),
        ("SIGN_UP", "operators"),
        ("WEBHOOK_ALLOW_LOOPBACK", "true"),
    ];
    let api = &function(&stack, "ApiFunction").environment;
    let found: Vec<_> = api.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(found, expected);
    let processor = &function(&stack, "ProcessorFunction").environment;
    assert_eq!(processor["QUEUE_URL"], "http://127.0.0.1:4566/000000000000/shop-processing");
    assert_eq!(function(&stack, "GatewaySimulatorFunction").environment["GATEWAY_TABLE"], "shop-GatewayTable");
}

#[test]
fn queues_have_their_times_and_dead_letters() {
    let stack = local();

    let names: Vec<_> = stack.queues.iter().map(|queue| queue.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "shop-undelivered-events",
            "shop-processing",
            "shop-processing-dead-letters",
            "shop-webhook",
            "shop-webhook-dead-letters",
            "shop-analytics",
            "shop-analytics-dead-letters",
        ]
    );
    for (name, visibility_s, receives_max) in
        [("shop-processing", 60, 20), ("shop-webhook", 180, 12), ("shop-analytics", 61, 8)]
    {
        let read = queue(&stack, name);
        assert_eq!(read.visibility_timeout, Duration::from_secs(visibility_s));
        let redrive = read.redrive.as_ref().unwrap();
        assert_eq!(redrive.receives_max, receives_max);
        assert_eq!(redrive.dead_letter_arn, queue_arn(&format!("{name}-dead-letters")));
        let dead_letters = queue(&stack, &format!("{name}-dead-letters"));
        assert_eq!(dead_letters.redrive_allow, RedriveAllow::ByQueue(vec![queue_arn(name)]));
        assert_eq!(dead_letters.redrive, None);
    }
    for queue in &stack.queues {
        assert_eq!(queue.retention, Duration::from_secs(1_209_600));
        assert_eq!((queue.delay, queue.receive_wait), (Duration::ZERO, Duration::ZERO));
        assert_eq!(queue.message_bytes_max, 1_048_576);
    }
}

#[test]
fn the_topic_has_three_raw_filtered_subscriptions() {
    let stack = local();

    let topic = "arn:aws:sns:eu-north-1:000000000000:shop-payment-events";
    assert_eq!(stack.topics.len(), 1);
    assert_eq!((stack.topics[0].name.as_str(), stack.topics[0].arn.as_str()), ("shop-payment-events", topic));
    let told = [
        "payment.completed",
        "payment.failed",
        "payment.canceled",
        "payment.held",
        "payment.resumed",
        "refund.completed",
        "refund.failed",
    ];
    let expected = [
        ("shop-processing", json!({ "type": ["payment.initiated", "refund.initiated"] })),
        ("shop-webhook", json!({ "type": told })),
        ("shop-analytics", json!({ "type": ["payment.completed", "payment.failed", "payment.canceled"] })),
    ];
    assert_eq!(stack.subscriptions.len(), expected.len());
    for (subscription, (name, filter)) in stack.subscriptions.iter().zip(expected) {
        assert_eq!(subscription.topic_arn, topic);
        assert_eq!(subscription.queue_arn, queue_arn(name));
        assert!(subscription.raw);
        assert_eq!(subscription.filter.as_ref(), Some(&filter));
        assert_eq!(subscription.filter_scope, FilterScope::Attributes);
        assert_eq!(subscription.dead_letter_arn, Some(queue_arn("shop-undelivered-events")));
    }
}

#[test]
fn tables_are_create_table_requests() {
    let stack = local();

    let found: Vec<_> =
        stack.tables.iter().map(|table| (table.name.as_str(), table.ttl_attribute.as_deref())).collect();
    assert_eq!(
        found,
        [
            ("shop-PaymentsTable", None),
            ("shop-MerchantsTable", Some("ttl")),
            ("shop-WebhooksTable", Some("ttl")),
            ("shop-AnalyticsTable", None),
            ("shop-IdempotencyTable", Some("ttl")),
            ("shop-AuditTable", Some("ttl")),
            ("shop-GatewayTable", Some("ttl")),
        ]
    );
    let expected = json!({
        "TableName": "shop-PaymentsTable",
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            { "AttributeName": "pk", "AttributeType": "S" },
            { "AttributeName": "m", "AttributeType": "S" },
            { "AttributeName": "cu", "AttributeType": "S" },
            { "AttributeName": "ca", "AttributeType": "N" },
            { "AttributeName": "ds", "AttributeType": "S" },
            { "AttributeName": "da", "AttributeType": "N" },
        ],
        "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "by_merchant",
                "KeySchema": [
                    { "AttributeName": "m", "KeyType": "HASH" },
                    { "AttributeName": "ca", "KeyType": "RANGE" },
                ],
                "Projection": { "ProjectionType": "INCLUDE", "NonKeyAttributes": ["c"] },
            },
            {
                "IndexName": "by_customer",
                "KeySchema": [
                    { "AttributeName": "cu", "KeyType": "HASH" },
                    { "AttributeName": "ca", "KeyType": "RANGE" },
                ],
                "Projection": { "ProjectionType": "INCLUDE", "NonKeyAttributes": ["c"] },
            },
            {
                "IndexName": "due",
                "KeySchema": [
                    { "AttributeName": "ds", "KeyType": "HASH" },
                    { "AttributeName": "da", "KeyType": "RANGE" },
                ],
                "Projection": { "ProjectionType": "KEYS_ONLY" },
            },
        ],
    });
    assert_eq!(stack.tables[0].create, expected);
}

#[test]
fn queues_feed_functions_and_the_clock_starts_the_sweeper() {
    let stack = local();

    let found: Vec<_> = stack
        .mappings
        .iter()
        .map(|mapping| {
            (
                mapping.function.as_str(),
                mapping.queue_arn.clone(),
                mapping.batch_size,
                mapping.batching_window.as_secs(),
                mapping.concurrency_max,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("ProcessorFunction", queue_arn("shop-processing"), 10, 0, Some(5)),
            ("WebhookSenderFunction", queue_arn("shop-webhook"), 10, 0, Some(5)),
            ("AnalyticsFunction", queue_arn("shop-analytics"), 50, 1, Some(2)),
        ]
    );
    for mapping in &stack.mappings {
        assert!(mapping.reports_item_failures && mapping.enabled && mapping.filters.is_empty());
    }
    assert_eq!(stack.schedules.len(), 1);
    let schedule = &stack.schedules[0];
    assert_eq!(schedule.name, "shop-SweeperFunctionEveryMinute");
    assert_eq!(schedule.arn, "arn:aws:events:eu-north-1:000000000000:rule/shop-SweeperFunctionEveryMinute");
    assert_eq!(schedule.function, "SweeperFunction");
    assert_eq!(schedule.rate, Rate::Every(Duration::from_secs(60)));
    assert!(schedule.enabled && schedule.input.is_none());
}

#[test]
fn both_apis_lead_to_their_functions() {
    let stack = local();

    for (api, (name, function)) in stack
        .apis
        .iter()
        .zip([("shop-merchants", "ApiFunction"), ("shop-gateway-simulator", "GatewaySimulatorFunction")])
    {
        assert_eq!(api.name, name);
        assert_eq!(api.id.len(), 10);
        assert!(api.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
        assert_eq!(api.stage, "$default");
        let throttle = api.throttle.unwrap();
        assert_eq!((throttle.rate, throttle.burst), (1000.0, 1000));
        assert_eq!(api.cors, None);
        assert_eq!(api.routes.len(), 1);
        assert_eq!((api.routes[0].key.as_str(), api.routes[0].function.as_str()), ("$default", function));
        assert_eq!(api.routes[0].timeout, Duration::from_secs(16));
    }
    assert_eq!(stack.apis.len(), 2);
    assert_ne!(stack.apis[0].id, stack.apis[1].id);
    assert_eq!(stack, local(), "everything is the same from start to start");
}

#[test]
fn outputs_name_everything_a_client_needs() {
    let stack = local();

    let merchants = &stack.apis[0].id;
    let gateway = &stack.apis[1].id;
    let queue_url = |name: &str| format!("http://127.0.0.1:4566/000000000000/shop-{name}");
    let expected = [
        ("AnalyticsDeadLettersUrl", queue_url("analytics-dead-letters")),
        ("AnalyticsQueueUrl", queue_url("analytics")),
        ("AnalyticsTableName", "shop-AnalyticsTable".to_owned()),
        ("ApiUrl", format!("{PREFIX}{merchants}")),
        ("AuditTableName", "shop-AuditTable".to_owned()),
        ("GatewayTableName", "shop-GatewayTable".to_owned()),
        ("GatewayUrl", format!("{PREFIX}{gateway}")),
        ("IdempotencyTableName", "shop-IdempotencyTable".to_owned()),
        ("MerchantsTableName", "shop-MerchantsTable".to_owned()),
        ("PaymentsTableName", "shop-PaymentsTable".to_owned()),
        ("ProcessingDeadLettersUrl", queue_url("processing-dead-letters")),
        ("ProcessingQueueUrl", queue_url("processing")),
        ("TopicArn", "arn:aws:sns:eu-north-1:000000000000:shop-payment-events".to_owned()),
        ("UndeliveredEventsUrl", queue_url("undelivered-events")),
        ("WebhookDeadLettersUrl", queue_url("webhook-dead-letters")),
        ("WebhookQueueUrl", queue_url("webhook")),
        ("WebhooksTableName", "shop-WebhooksTable".to_owned()),
    ];
    let found: Vec<_> = stack.outputs.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_has_no_effect_is_listed_and_no_secret_is_made() {
    let stack = local();

    let count = |kind: &str| stack.without_effect.iter().filter(|(_, other)| other == kind).count();
    assert_eq!(count("AWS::IAM::Role"), 6);
    assert_eq!(count("AWS::Logs::LogGroup"), 7);
    assert_eq!(count("AWS::Logs::MetricFilter"), 2);
    assert_eq!(count("AWS::CloudWatch::Alarm"), 14);
    assert_eq!(count("AWS::SQS::QueuePolicy"), 1);
    assert_eq!(count("AWS::Lambda::Permission"), 2);
    assert_eq!(stack.without_effect.len(), 32);
    assert!(stack.secrets.is_empty() && stack.function_urls.is_empty());
}

#[test]
fn a_gateway_elsewhere_leaves_the_simulator_out() {
    let stack = local_but(&[("GatewayBaseUrl", "https://api.example.com"), ("ApiUrlPrefix", "")]);

    assert!(!stack.functions.contains_key("GatewaySimulatorFunction"));
    assert_eq!(stack.functions.len(), 5);
    assert_eq!(stack.tables.len(), 6);
    assert_eq!(stack.apis.len(), 1);
    assert!(stack.without_effect.iter().all(|(id, _)| !id.starts_with("Gateway")));
    assert!(!stack.outputs.contains_key("GatewayTableName"));
    assert_eq!(stack.outputs["GatewayUrl"], "https://api.example.com");
    let merchants = &stack.apis[0].id;
    assert_eq!(stack.outputs["ApiUrl"], format!("https://{merchants}.execute-api.eu-north-1.amazonaws.com"));
    for id in ["ApiFunction", "ProcessorFunction"] {
        assert_eq!(function(&stack, id).environment["GATEWAY_BASE_URL"], "https://api.example.com");
    }
}

#[test]
fn without_a_root_key_a_secret_of_64_hexadecimal_digits_is_made() {
    let stack = local_but(&[("RootKey", ""), ("RetainData", "true")]);

    assert_eq!(stack.secrets.len(), 1);
    let secret = &stack.secrets[0];
    assert_eq!(secret.logical_id, "RootKeySecret");
    assert!(secret.arn.starts_with("arn:aws:secretsmanager:eu-north-1:000000000000:secret:shop-RootKeySecret-"));
    let key = &function(&stack, "ApiFunction").environment["ROOT_KEY"];
    assert_eq!(key.len(), 64);
    assert!(key.bytes().all(|byte| b"0123456789abcdef".contains(&byte)), "{key}");
    assert_eq!(key, &function(&stack, "WebhookSenderFunction").environment["ROOT_KEY"]);
}

#[test]
fn an_alarm_topic_and_the_live_mode_take_their_branches() {
    let stack = local_but(&[
        ("FlorinMode", "live"),
        ("GatewayBaseUrl", "https://api.example.com"),
        ("WebhookAllowLoopback", "false"),
        ("AlarmTopicArn", "arn:aws:sns:eu-north-1:000000000000:alarms"),
    ]);

    for charging in ["ApiFunction", "ProcessorFunction"] {
        let environment = &function(&stack, charging).environment;
        assert_eq!(environment["FLORIN_MODE"], "live", "{charging}");
        assert_eq!(environment["GATEWAY_BASE_URL"], "https://api.example.com", "{charging}");
    }
    // Nothing of the simulator is there.
    assert!(!stack.functions.contains_key("GatewaySimulatorFunction"));
    assert!(stack.tables.iter().all(|table| table.name != "shop-GatewayTable"));
    assert!(stack.apis.iter().all(|api| api.name != "shop-gateway-simulator"));
}

#[test]
fn pages_of_named_origins_may_call_the_merchants_api() {
    let stack = local();
    assert!(stack.apis.iter().all(|api| api.cors.is_none()));

    let stack = local_but(&[("CorsAllowedOrigins", "https://a.example,http://localhost:3000")]);
    let cors = stack.apis[0].cors.as_ref().unwrap();
    assert_eq!(cors.allow_origins, ["https://a.example", "http://localhost:3000"]);
    assert!(cors.allow_headers.iter().any(|name| name == "idempotency-key"));
    assert!(cors.expose_headers.iter().any(|name| name == "ratelimit"));
    assert!(!cors.allow_credentials);
    assert!(stack.apis[1].cors.is_none(), "the simulator is for no browser");
}

#[test]
fn rules_and_parameters_are_kept() {
    let text = text();
    let refused = |changes: &[(&'static str, &'static str)]| {
        let kept = LOCAL.into_iter().filter(|(name, _)| changes.iter().all(|(other, _)| other != name));
        let parameters: Vec<_> = kept.chain(changes.iter().copied()).collect();
        read_with(&text, &parameters).unwrap_err()
    };

    let live = refused(&[("FlorinMode", "live")]);
    assert_eq!(live.resource.as_deref(), Some("LiveModeIsReal"));
    assert_eq!(live.message, "Live mode needs GatewayBaseUrl; the gateway simulator moves no money");
    let key = refused(&[("GatewayApiKey", "too short!")]);
    assert_eq!(key.resource.as_deref(), Some("GatewayApiKey"));
    assert!(!key.to_string().contains("too short!"), "{key}");
    let slash = refused(&[("GatewayBaseUrl", "https://api.example.com/")]);
    assert!(slash.message.contains("AllowedPattern"), "{slash}");
    let spaces = refused(&[("CorsAllowedOrigins", "https://a.example, https://b.example")]);
    assert!(spaces.message.contains("AllowedPattern"), "{spaces}");
    let missing = read_with(&text, &[]).unwrap_err();
    assert_eq!(missing.resource.as_deref(), Some("GatewayApiKey"));
    assert!(missing.message.contains("is missing"), "{missing}");
}
