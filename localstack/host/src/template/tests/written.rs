//! What a template may be written like, and what its parts become.

use std::time::Duration;

use serde_json::json;

use super::read_with;
use crate::model::{FilterScope, Rate, RedriveAllow, Stack};

fn read(text: &str) -> Stack {
    read_with(text, &[]).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The output `A` of a template with this value for it.
fn output(value: &str) -> String {
    let text = r#"
Transform: AWS::LanguageExtensions
Parameters:
  List: { Type: CommaDelimitedList, Default: "a, b ,c" }
  Number: { Type: Number, Default: 7 }
Conditions:
  Always: !Equals [a, a]
  Never: { "Fn::Not": [{ Condition: Always }] }
  Either: !Or [!Condition Never, Condition: Always]
  Same: !Equals [!Ref Number, 7]
Mappings:
  M: { eu-north-1: { size: big } }
Resources:
  Q: { Type: AWS::SQS::Queue }
Outputs:
  A: { Value: VALUE }
"#
    .replace("VALUE", value);
    let stack = read(&text);
    stack.outputs["A"].clone()
}

#[test]
fn intrinsics_give_what_cloudformation_gives() {
    for (value, expected) in [
        ("plain", "plain"),
        ("1.50", "1.50"),
        ("true", "true"),
        ("!Ref Number", "7"),
        ("{ Ref: Number }", "7"),
        ("!Ref AWS::Partition", "aws"),
        ("!Ref AWS::URLSuffix", "amazonaws.com"),
        ("!Ref AWS::AccountId", "000000000000"),
        ("!Sub \"${AWS::StackName}/${Number}/${!Number}/$5\"", "shop/7/${Number}/$5"),
        ("!Sub [\"${One}-${Number}\", { One: !Ref AWS::Region }]", "eu-north-1-7"),
        ("{ \"Fn::Sub\": [\"${Number}\", { Number: mine }] }", "mine"),
        ("!Sub \"${Q.QueueName}\"", "shop-Q"),
        ("!GetAtt Q.Arn", "arn:aws:sqs:eu-north-1:000000000000:shop-Q"),
        ("{ \"Fn::GetAtt\": [Q, QueueUrl] }", "http://127.0.0.1:4566/000000000000/shop-Q"),
        ("!Join [\"-\", !Ref List]", "a-b-c"),
        ("!Join [\"\", [a, !Ref AWS::NoValue, b]]", "ab"),
        ("!Join [\",\", !Split [\"/\", a/b/c]]", "a,b,c"),
        ("!Select [1, !Ref List]", "b"),
        ("!Select [\"2\", !Split [\"/\", a/b/c]]", "c"),
        ("!If [Always, a, b]", "a"),
        ("!If [Never, a, b]", "b"),
        ("!If [Either, !If [Same, deep, b], c]", "deep"),
        ("!FindInMap [M, !Ref AWS::Region, size]", "big"),
        ("!FindInMap [M, a, b, DefaultValue: small]", "small"),
        ("!Base64 abc", "YWJj"),
        ("!Length { Ref: List }", "3"),
        ("!ToJsonString { a: 1, b: [true, \"2\", !Ref Number], c: 1.5 }", r#"{"a":1,"b":[true,"2","7"],"c":1.5}"#),
        ("!!str 12", "12"),
    ] {
        assert_eq!(output(value), expected, "{value}");
    }
}

#[test]
fn an_anchor_repeats_a_value() {
    let stack = read(
        "Resources:\n  A:\n    Type: AWS::SQS::Queue\n    Properties: &settings { VisibilityTimeout: 7 }\n  B:\n    \
         Type: AWS::SQS::Queue\n    Properties: *settings\n",
    );

    let times: Vec<_> = stack.queues.iter().map(|queue| queue.visibility_timeout.as_secs()).collect();
    assert_eq!(times, [7, 7]);
}

#[test]
fn no_value_takes_a_property_away_and_false_conditions_take_resources() {
    let stack = read(
        "Conditions: { Never: !Equals [a, b] }\nResources:\n  A:\n    Type: AWS::SQS::Queue\n    Properties:\n      \
         DelaySeconds: !If [Never, 5, !Ref AWS::NoValue]\n  B:\n    Type: AWS::SQS::Queue\n    Condition: Never\n  \
         C:\n    Type: AWS::SQS::Queue\n    DependsOn: [A, B]\nOutputs:\n  B: { Condition: Never, Value: !Ref B }\n",
    );

    let names: Vec<_> = stack.queues.iter().map(|queue| queue.name.as_str()).collect();
    assert_eq!(names, ["shop-A", "shop-C"]);
    assert_eq!(stack.queues[0].delay, Duration::ZERO);
    assert!(stack.outputs.is_empty());
}

#[test]
fn queues_have_the_defaults_of_sqs() {
    let stack = read("Resources: { Q: { Type: AWS::SQS::Queue } }");

    let queue = &stack.queues[0];
    assert_eq!(queue.visibility_timeout, Duration::from_secs(30));
    assert_eq!(queue.retention, Duration::from_secs(345_600));
    assert_eq!((queue.delay, queue.receive_wait), (Duration::ZERO, Duration::ZERO));
    assert_eq!((queue.message_bytes_max, &queue.redrive), (1_048_576, &None));
    assert_eq!(queue.redrive_allow, RedriveAllow::All);
}

#[test]
fn subscriptions_have_the_defaults_of_sns_also_inside_a_topic() {
    let stack = read(
        r#"
Resources:
  Q: { Type: AWS::SQS::Queue }
  R: { Type: AWS::SQS::Queue }
  T:
    Type: AWS::SNS::Topic
    Properties:
      Subscription: [{ Protocol: sqs, Endpoint: !GetAtt Q.Arn }]
  S:
    Type: AWS::SNS::Subscription
    Properties:
      TopicArn: !Ref T
      Protocol: sqs
      Endpoint: !GetAtt R.Arn
      FilterPolicyScope: MessageBody
      FilterPolicy: { a: { b: [1, { numeric: [">", 2.5] }] }, c: [true, "1"] }
"#,
    );

    let [inline, own] = stack.subscriptions.as_slice() else { panic!("{:?}", stack.subscriptions) };
    assert_eq!((inline.raw, &inline.filter, inline.filter_scope), (false, &None, FilterScope::Attributes));
    assert_eq!(inline.dead_letter_arn, None);
    assert_eq!(own.filter_scope, FilterScope::Body);
    assert_eq!(own.filter, Some(json!({ "a": { "b": [1, { "numeric": [">", 2.5] }] }, "c": [true, "1"] })));
}

const FUNCTION: &str = "Type: AWS::Serverless::Function\n    Metadata: { BuildMethod: rust-cargolambda, \
                        BuildProperties: { Binary: f } }";

#[test]
fn globals_merge_into_functions() {
    let text = r#"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function:
    Runtime: provided.al2023
    CodeUri: .
    Handler: bootstrap
    Timeout: 9
    Environment: { Variables: { AA: global, BB: global } }
Resources:
  F:
    FUNCTION
    Properties:
      Timeout: 5
      Environment: { Variables: { BB: own, CC: !Sub "${AWS::Region}" } }
  G:
    FUNCTION
"#;

    let stack = read(&text.replace("FUNCTION", FUNCTION));

    let (first, second) = (&stack.functions["F"], &stack.functions["G"]);
    let variables: Vec<_> = first.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(variables, ["AA=global", "BB=own", "CC=eu-north-1"]);
    assert_eq!((first.timeout, second.timeout), (Duration::from_secs(5), Duration::from_secs(9)));
    assert_eq!(second.name, "shop-G");
    assert_eq!((second.memory_mib, second.application_log_level.as_deref()), (128, None));
    assert_eq!(second.log_group, "/aws/lambda/shop-G");
    // SAM makes a role for each.
    assert_eq!(stack.without_effect.len(), 2);
}

#[test]
fn events_become_mappings_and_schedules() {
    let text = r#"
Transform: AWS::Serverless-2016-10-31
Globals: { Function: { CodeUri: ., Runtime: provided.al2023, Handler: bootstrap } }
Resources:
  Q: { Type: AWS::SQS::Queue }
  F:
    FUNCTION
    Properties:
      Events:
        A:
          Type: SQS
          Properties:
            Queue: !GetAtt Q.Arn
            Enabled: false
            FilterCriteria: { Filters: [{ Pattern: '{"body":{"a":[1]}}' }] }
        B:
          Type: Schedule
          Properties: { Schedule: "cron(0 12 * * ? *)", Input: '{"a":1}', State: DISABLED }
        C:
          Type: ScheduleV2
          Properties: { ScheduleExpression: rate(2 days), Name: mine }
  G:
    FUNCTION
  M:
    Type: AWS::Lambda::EventSourceMapping
    Properties: { EventSourceArn: !GetAtt Q.Arn, FunctionName: !Ref G, BatchSize: 1 }
  R:
    Type: AWS::Events::Rule
    Properties:
      ScheduleExpression: rate(1 hour)
      Targets: [{ Id: a, Arn: !GetAtt G.Arn }]
"#;

    let stack = read(&text.replace("FUNCTION", FUNCTION));

    let mappings: Vec<_> =
        stack.mappings.iter().map(|mapping| (mapping.function.as_str(), mapping.batch_size, mapping.enabled)).collect();
    assert_eq!(mappings, [("G", 1, true), ("F", 10, false)]);
    assert_eq!(stack.mappings[1].filters, [json!({ "body": { "a": [1] } })]);
    assert!(!stack.mappings[1].reports_item_failures);
    let schedules: Vec<_> = stack
        .schedules
        .iter()
        .map(|schedule| (schedule.name.as_str(), schedule.function.as_str(), schedule.rate.clone(), schedule.enabled))
        .collect();
    assert_eq!(
        schedules,
        [
            ("shop-R", "G", Rate::Every(Duration::from_secs(3_600)), true),
            ("shop-FB", "F", Rate::Cron("0 12 * * ? *".to_owned()), false),
            ("mine", "F", Rate::Every(Duration::from_secs(172_800)), true),
        ]
    );
    assert_eq!(stack.schedules[1].input, Some(json!({ "a": 1 })));
    assert_eq!(stack.schedules[2].arn, "arn:aws:scheduler:eu-north-1:000000000000:schedule/default/mine");
}

#[test]
fn routes_stand_in_the_order_in_which_api_gateway_prefers_them() {
    let keys = [
        "$default",
        "ANY /{proxy+}",
        "GET /pets/{proxy+}",
        "GET /pets/{id}",
        "ANY /pets/dog",
        "GET /pets/dog",
        "GET /pets/dog/{n}",
        "POST /{kind}/dog",
        "GET /",
    ];
    let text = r#"
Transform: AWS::Serverless-2016-10-31
Globals: { Function: { CodeUri: ., Runtime: provided.al2023, Handler: bootstrap } }
Resources:
  F:
    FUNCTION
    Properties:
      FunctionUrlConfig: { AuthType: NONE, Cors: { AllowOrigins: ["*"], MaxAge: 60 } }
  A:
    Type: AWS::ApiGatewayV2::Api
    Properties: { Name: a, ProtocolType: HTTP }
  I:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref A
      IntegrationType: AWS_PROXY
      PayloadFormatVersion: "2.0"
      IntegrationUri: !Join
        - ""
        - [!Sub "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/", !GetAtt F.Arn, /invocations]
  S:
    Type: AWS::ApiGatewayV2::Stage
    Properties: { ApiId: !Ref A, StageName: dev, AutoDeploy: true }
ROUTES
Outputs:
  Url: { Value: !GetAtt FUrl.FunctionUrl }
  Api: { Value: !GetAtt A.ApiEndpoint }
"#;
    let routes: String = keys
        .iter()
        .enumerate()
        .map(|(number, key)| {
            format!(
                "  R{number}: {{ Type: AWS::ApiGatewayV2::Route, Properties: {{ ApiId: !Ref A, RouteKey: '{key}', \
                 Target: !Sub 'integrations/${{I}}' }} }}\n"
            )
        })
        .collect();

    let stack = read(&text.replace("FUNCTION", FUNCTION).replace("ROUTES", &routes));

    let api = &stack.apis[0];
    let found: Vec<_> = api.routes.iter().map(|route| route.key.as_str()).collect();
    assert_eq!(
        found,
        [
            "GET /",
            "GET /pets/dog",
            "ANY /pets/dog",
            "GET /pets/dog/{n}",
            "GET /pets/{id}",
            "GET /pets/{proxy+}",
            "POST /{kind}/dog",
            "ANY /{proxy+}",
            "$default",
        ]
    );
    assert_eq!((api.stage.as_str(), api.throttle), ("dev", None));
    assert_eq!(api.routes[0].timeout, Duration::from_secs(30));
    assert_eq!(stack.outputs["Api"], format!("http://127.0.0.1:4566/_aws/execute-api/{}", api.id));
    let url = &stack.function_urls[0];
    assert_eq!((url.function.as_str(), url.id.len()), ("F", 32));
    assert_eq!(url.cors.as_ref().unwrap().max_age, Some(Duration::from_secs(60)));
    assert_eq!(stack.outputs["Url"], format!("http://127.0.0.1:4566/_aws/lambda-url/{}/", url.id));
}

#[test]
fn a_generated_secret_has_the_characters_that_are_asked_for() {
    let value = |settings: &str, reference: &str| {
        let stack = read(&format!(
            "Transform: AWS::Serverless-2016-10-31\nResources:\n  S:\n    Type: AWS::SecretsManager::Secret\n    \
             Properties: {{ GenerateSecretString: {settings} }}\n  F:\n    {FUNCTION}\n    Properties:\n      \
             CodeUri: .\n      Runtime: provided.al2023\n      Handler: bootstrap\n      Environment:\n        \
             Variables:\n          AA: !Sub \"<{{{{resolve:secretsmanager:{reference}}}}}>\"\n"
        ));
        stack.functions["F"].environment["AA"].trim_start_matches('<').trim_end_matches('>').to_owned()
    };
    let any = value("{ ExcludeCharacters: \"<>\" }", "${S}");
    assert_eq!(any.len(), 32);
    for kind in ["abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"] {
        assert!(any.chars().any(|one| kind.contains(one)), "{any} has none of {kind}");
    }
    assert!(any.chars().any(|one| one.is_ascii_punctuation()), "{any}");
    assert_eq!(any, value("{ ExcludeCharacters: \"<>\" }", "shop-S:SecretString"), "the same at every start");

    let only = "{ PasswordLength: 100, ExcludePunctuation: true, ExcludeNumbers: true, ExcludeLowercase: true }";
    let only = value(only, "${S}:SecretString::AWSCURRENT");
    assert!(only.len() == 100 && only.bytes().all(|byte| byte.is_ascii_uppercase()), "{only}");

    let template = "{ PasswordLength: 5, ExcludePunctuation: true, RequireEachIncludedType: false, \
                    SecretStringTemplate: '{\"user\":\"me\"}', GenerateStringKey: password }";
    assert_eq!(value(template, "${S}:SecretString:user"), "me");
    assert_eq!(value(template, "${S}:SecretString:password").len(), 5);
}
