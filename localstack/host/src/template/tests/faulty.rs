//! Faulty templates: each is refused with the line that is marked `# <-`, and a message that says what is wrong.

use super::read_with;

/// The line of the mark, or 1.
fn marked_line(text: &str) -> usize {
    text.lines().position(|line| line.contains("# <-")).map_or(1, |position| position + 1)
}

fn assert_refused(text: &str, expected: &str) {
    let parameters: &[(&str, &str)] = if text.contains("NoEcho") { &[("Secret", "hunter2hunter2")] } else { &[] };
    let Err(error) = read_with(text, parameters) else { panic!("was read, but should not have been:\n{text}") };

    assert!(error.message.contains(expected), "expected {expected:?}, got {error}:\n{text}");
    assert_eq!(error.line, marked_line(text), "{error}:\n{text}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

fn assert_all_refused(around: impl Fn(&str) -> String, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_refused(&around(text), expected);
    }
}

/// Lines of a block, indented.
fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect()
}

#[test]
fn documents() {
    assert_all_refused(
        str::to_owned,
        &[
            ("", "empty"),
            ("a: ] # <-\n", "not YAML"),
            ("Resources: {}\n--- # <-\nResources: {}\n", "one YAML document"),
            ("Resources: {}\nResources: {} # <-\n", "Resources is there twice; line 1"),
            ("AWSTemplateFormatVersion: \"2010-09-09\"\n", "Resources is missing"),
            ("AWSTemplateFormatVersion: 2011-09-09 # <-\nResources: {}\n", "must be 2010-09-09"),
            ("Resources: {}\nHooks: {} # <-\n", "Hooks is no section"),
            ("Resources: {}\nConditions: # <-\n", "Conditions: the value is missing"),
            ("- Resources\n", "the template must be a map"),
            ("Transform: AWS::Include # <-\nResources: {}\n", "the transform AWS::Include"),
            (
                "Transform:\n  - AWS::Serverless-2016-10-31\n  - AWS::LanguageExtensions # <-\nResources: {}\n",
                "must come before",
            ),
            ("Globals:\n  Api: {} # <-\nResources: {}\n", "Globals.Api is not supported"),
            (
                "Transform: AWS::Serverless-2016-10-31\nGlobals:\n  Function:\n    FunctionName: a # <-\nResources: {}\n",
                "Globals.Function.FunctionName",
            ),
            ("Resources: {}\nOutputs:\n  A:\n    <<: {} # <-\n", "merge keys"),
            ("Resources: {}\nOutputs:\n  A:\n    Value: yes # <-\n", "quote it"),
            ("Resources: {}\nOutputs:\n  A:\n    Value: 0123 # <-\n", "leading zero"),
            ("Resources: {}\nOutputs:\n  A:\n    Value: !!binary abc # <-\n", "!!binary"),
            ("Resources: {}\nOutputs:\n  A:\n    Value: &a [*a] # <-\n", "alias"),
            ("Resources: {}\nOutputs:\n  A-B: # <-\n    Value: x\n", "A-B is no name"),
            ("Resources: {}\nOutputs:\n  A: # <-\n    Description: x\n", "Value is missing"),
            ("Resources: {}\nOutputs:\n  A:\n    Value: x\n    Export: { Name: a } # <-\n", "Export is not supported"),
            (
                "Resources: {}\nOutputs:\n  A:\n    Value: x\n    Colour: red # <-\n",
                "Colour is no property of an output",
            ),
            ("Resources: {}\nOutputs:\n  A:\n    Value: [x] # <-\n", "Value must be text"),
            ("Resources: {}\nOutputs:\n  A:\n    Condition: No # <-\n    Value: x\n", "quote it"),
            ("Resources: {}\nOutputs:\n  A:\n    Condition: Nope # <-\n    Value: x\n", "there is no condition Nope"),
        ],
    );
}

#[test]
fn parameters_and_rules() {
    let around = |text: &str| format!("Parameters:\n{}Resources: {{}}\n", indented(text, 2));
    assert_all_refused(
        around,
        &[
            ("A: {} # <-", "Type is missing"),
            ("A: { Type: String } # <-", "the parameter is missing"),
            ("A: { Type: List<Number>, Default: x } # <-", "the type List<Number> is not supported"),
            ("A: { Type: Number, Default: x } # <-", "x is not allowed: it must be a number"),
            ("A: { Type: Number, Default: nan } # <-", "it must be a number"),
            ("A: { Type: Number, Default: 4, MinValue: 5 } # <-", "at least 5"),
            ("A: { Type: Number, Default: 6, MaxValue: 5 } # <-", "at most 5"),
            ("A: { Type: String, Default: ab, MinLength: 3 } # <-", "at least 3 characters"),
            ("A: { Type: String, Default: abcd, MaxLength: 3 } # <-", "at most 3 characters"),
            ("A: { Type: String, Default: x, MinValue: 3 } # <-", "for the type Number"),
            ("A: { Type: Number, Default: 5, MinLength: 3 } # <-", "for the type String"),
            ("A: { Type: String, Default: c, AllowedValues: [a, b] } # <-", "one of a, b"),
            ("A: { Type: String, Default: xay, AllowedPattern: a } # <-", "does not match AllowedPattern"),
            ("A:\n  Type: String\n  Default: a\n  AllowedPattern: \"(\" # <-", "AllowedPattern is no pattern"),
            ("A: { Type: String, Default: b, AllowedPattern: a, ConstraintDescription: only a } # <-", "only a"),
            ("A: { Type: CommaDelimitedList, Default: \"a, c\", AllowedValues: [a, b] } # <-", "c is not allowed"),
            ("A:\n  Type: String\n  Default: [a] # <-", "Default must be text"),
            ("A:\n  Type: String\n  Default: a\n  Colour: red # <-", "Colour is no property of a parameter"),
            ("A:\n  Type: String\n  Default: a\n  NoEcho: maybe # <-\nSecret: { Type: String }", "NoEcho"),
            ("Secret: { Type: String, NoEcho: true, MaxLength: 3 } # <-", "not shown"),
            ("Secret: { Type: Number, NoEcho: true } # <-", "not shown"),
        ],
    );
    let around = |text: &str| format!("Resources: {{}}\nRules:\n  R:\n{}", indented(text, 4));
    assert_all_refused(
        around,
        &[
            ("Assertions:\n  - Assert: !Equals [a, b] # <-\n    AssertDescription: a is not b", "a is not b"),
            ("Assertions:\n  - Assert: !Contains [[a], b] # <-", "does not hold"),
            ("Assertions:\n  - AssertDescription: x # <-", "Assert is missing"),
            ("Assertions:\n  - Assert: !Equals [!Ref Nothing, b] # <-", "Nothing is no parameter"),
            ("Colour: red # <-", "Colour is no property of a rule"),
        ],
    );
}

#[test]
fn conditions_and_intrinsics() {
    let around = |text: &str| format!("Conditions:\n{}Resources: {{}}\n", indented(text, 2));
    assert_all_refused(
        around,
        &[
            ("A: !Equals [a] # <-", "Fn::Equals takes 2 arguments, not 1"),
            ("A: !And [!Equals [a, a]] # <-", "Fn::And takes 2 to 10"),
            ("A: yep # <-", "a condition must stand here"),
            ("A: !Not [!Condition B] # <-", "there is no condition B"),
            (
                "A: !Not [{ Condition: B }] # <-\nB: !Not [!Condition A]",
                "a circle: the condition A needs the condition B",
            ),
            ("A: !Equals [!Ref Q, b] # <-", "Q is no parameter"),
            ("A: !Equals [!GetAtt Q.Arn, b] # <-", "Q is no parameter"),
            ("A: !Equals [[a], b] # <-", "must be text"),
        ],
    );
    let around = |text: &str| {
        format!(
            "Transform: AWS::LanguageExtensions\nConditions: {{ Never: !Equals [a, b] }}\n\
             Mappings: {{ M: {{ a: {{ b: c }} }} }}\nResources:\n  Q: {{ Type: AWS::SQS::Queue }}\n\
             \x20 Absent: {{ Type: AWS::SQS::Queue, Condition: Never }}\nOutputs:\n  A:\n    Value: {text} # <-\n"
        )
    };
    assert_all_refused(
        around,
        &[
            ("!Ref Nothing", "there is no parameter or resource Nothing"),
            ("!Ref AWS::NotificationARNs", "there is no parameter or resource AWS::NotificationARNs"),
            ("!Ref AWS::NoValue", "AWS::NoValue cannot stand here"),
            ("!Sub \"a${AWS::NoValue}\"", "AWS::NoValue cannot stand inside text"),
            ("!Sub \"a${Nothing}\"", "there is no parameter or resource Nothing"),
            ("!Sub \"a${Q.Size}\"", "Q has no attribute Size"),
            ("!Sub \"a${Q\"", "not closed"),
            ("!GetAtt Q.Size", "AWS::SQS::Queue has Arn, QueueName, QueueUrl"),
            ("!GetAtt Nothing.Arn", "there is no resource Nothing"),
            ("!GetAtt Q", "must be RESOURCE.ATTRIBUTE"),
            ("!Ref Absent", "Absent does not exist here: its condition Never is false"),
            ("!GetAtt [Absent, Arn]", "Absent does not exist here"),
            ("!If [Never, a]", "Fn::If takes 3 arguments, not 2"),
            ("!If [Nothing, a, b]", "there is no condition Nothing"),
            ("!If [Never, !Ref Nothing, b]", "there is no parameter or resource Nothing"),
            ("!Select [1, [a]]", "Fn::Select asks for item 1 of 1"),
            ("!Select [x, [a]]", "the index of Fn::Select must be a whole number"),
            ("!Join [\",\", a]", "must be a list"),
            ("!Join [\",\", [[a]]]", "an item of Fn::Join must be text"),
            ("!Split [\"\", a]", "the delimiter of Fn::Split is empty"),
            ("!FindInMap [M, a, c]", "there is no M.a.c in Mappings"),
            ("!ImportValue x", "the function ImportValue is not supported"),
            ("!Equals [a, b]", "Equals is a condition"),
            ("{ \"Fn::Sub\": a, b: c }", "Fn::Sub must be the only key"),
            ("{ \"Fn::ForEach::X\": [a, [b], {}] }", "Fn::ForEach is not supported"),
            ("!Sub \"{{resolve:secretsmanager:a}}\"", "an output cannot refer to the value of a secret"),
        ],
    );
}

#[test]
fn resources_of_any_type() {
    let around = |text: &str| format!("Resources:\n{}", indented(text, 2));
    assert_all_refused(
        around,
        &[
            ("A: {} # <-", "Type is missing"),
            ("A: { Type: AWS::EC2::VPC } # <-", "the type AWS::EC2::VPC is not supported"),
            ("A: { Type: AWS::Lambda::Function } # <-", "use AWS::Serverless::Function"),
            ("A: { Type: AWS::Serverless::HttpApi } # <-", "use AWS::ApiGatewayV2"),
            ("A: { Type: AWS::Lambda::Url } # <-", "FunctionUrlConfig"),
            ("A: { Type: AWS::Serverless::Function } # <-", "needs Transform"),
            ("A:\n  Type: AWS::SQS::Queue\n  CreationPolicy: {} # <-", "the attribute CreationPolicy"),
            ("A:\n  Type: AWS::SQS::Queue\n  DependsOn: B # <-", "DependsOn names B"),
            ("A:\n  Type: AWS::SQS::Queue\n  Condition: B # <-", "there is no condition B"),
            ("A:\n  Type: AWS::SQS::Queue\n  DeletionPolicy: Keep # <-", "DeletionPolicy must be"),
            ("A:\n  Type: AWS::SQS::Queue\n  DeletionPolicy: !If [C, Retain, Delete] # <-", "LanguageExtensions"),
            ("A:\n  Type: AWS::SQS::Queue\n  DependsOn: B # <-\nB:\n  Type: AWS::SQS::Queue\n  DependsOn: A", "circle"),
            (
                "A:\n  Type: AWS::SQS::Queue\n  Properties:\n    QueueName: !Sub ${B.QueueName}x # <-\n\
             B:\n  Type: AWS::SQS::Queue\n  Properties:\n    QueueName: !Sub ${A.QueueName}x",
                "a circle: the name of A needs the name of B needs the name of A",
            ),
            (
                "A: { Type: AWS::SQS::Queue, Properties: { QueueName: same } }\n\
             B:\n  Type: AWS::SQS::Queue\n  Properties:\n    QueueName: same # <-",
                "QueueName same is taken by A",
            ),
            ("A: # <-\n  Type: AWS::IAM::Role\n  Properties: { Path: / }", "AssumeRolePolicyDocument is missing"),
            ("A:\n  Type: AWS::Logs::LogGroup\n  Properties:\n    Retention: 3 # <-", "Retention is no property of"),
            (
                "A:\n  Type: AWS::CloudWatch::Alarm\n  Properties:\n    ComparisonOperator: x\n    EvaluationPeriods: 1\n    \
             Dimensions: [{ Name: a, Value: !Ref Nothing }] # <-",
                "there is no parameter or resource Nothing",
            ),
            ("A: # <-\n  Type: AWS::Lambda::Permission\n  Properties: { Action: a, Principal: b }", "FunctionName is"),
        ],
    );
}

#[test]
fn queues() {
    let around = |text: &str| {
        format!(
            "Resources:\n  Dead: {{ Type: AWS::SQS::Queue, Properties: {{ RedriveAllowPolicy: {{ redrivePermission: \
             denyAll }} }} }}\n  Q:\n    Type: AWS::SQS::Queue\n    Properties:\n{}",
            indented(text, 6)
        )
    };
    assert_all_refused(
        around,
        &[
            ("FifoQueue: true # <-", "FifoQueue is not supported by this host: standard queues only"),
            ("DeduplicationScope: queue # <-", "DeduplicationScope is not supported"),
            ("QueueName: a.fifo # <-", "QueueName must be 1 to 80 letters, digits or -_, not a.fifo"),
            ("QueueName: [a] # <-", "a name must be text"),
            ("VisibilityTimeout: 43201 # <-", "VisibilityTimeout must be a whole number from 0 to 43200, not 43201"),
            ("VisibilityTimeout: 1.5 # <-", "from 0 to 43200, not 1.5"),
            ("VisibilityTimeout: -1 # <-", "from 0 to 43200, not -1"),
            ("MessageRetentionPeriod: 59 # <-", "from 60 to 1209600"),
            ("DelaySeconds: 901 # <-", "from 0 to 900"),
            ("ReceiveMessageWaitTimeSeconds: 21 # <-", "from 0 to 20"),
            ("MaximumMessageSize: 1023 # <-", "from 1024 to 1048576"),
            ("Visibility: 5 # <-", "Visibility is no property of AWS::SQS::Queue that this host knows"),
            ("RedrivePolicy: x # <-", "RedrivePolicy must be a map"),
            ("RedrivePolicy: { maxReceiveCount: 5 } # <-", "RedrivePolicy.deadLetterTargetArn is missing"),
            ("RedrivePolicy: { deadLetterTargetArn: !GetAtt Q.Arn } # <-", "RedrivePolicy.maxReceiveCount is missing"),
            (
                "RedrivePolicy:\n  deadLetterTargetArn: !GetAtt Q.Arn\n  maxReceiveCount: 1001 # <-",
                "RedrivePolicy.maxReceiveCount must be a whole number from 1 to 1000",
            ),
            (
                "RedrivePolicy: { deadLetterTargetArn: !Ref Dead, maxReceiveCount: 5 } # <-",
                "is no queue of this template",
            ),
            (
                "RedrivePolicy: { deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 5 } # <-",
                "does not let this queue send to it",
            ),
            (
                "RedriveAllowPolicy: { redrivePermission: some } # <-",
                "must be one of allowAll, denyAll, byQueue, not some",
            ),
            ("RedriveAllowPolicy: { redrivePermission: byQueue } # <-", "must name 1 to 10 queues"),
            ("RedriveAllowPolicy: { sourceQueueArns: [a] } # <-", "goes with redrivePermission byQueue only"),
        ],
    );
}

#[test]
fn topics_and_subscriptions() {
    let around = |text: &str| {
        format!(
            "Resources:\n  Q: {{ Type: AWS::SQS::Queue }}\n  T:\n    Type: AWS::SNS::Topic\n    Properties:\n{}",
            indented(text, 6)
        )
    };
    assert_all_refused(
        around,
        &[
            ("FifoTopic: true # <-", "FifoTopic is not supported by this host: standard topics only"),
            ("TopicName: a b # <-", "TopicName must be"),
            ("Colour: red # <-", "Colour is no property of AWS::SNS::Topic"),
            ("Subscription: [{ Protocol: email, Endpoint: a@b.c }] # <-", "Protocol email is not supported"),
        ],
    );
    let around = |text: &str| {
        format!(
            "Resources:\n  Q: {{ Type: AWS::SQS::Queue }}\n  T: {{ Type: AWS::SNS::Topic }}\n  S: {{ Type: \
             AWS::SNS::Subscription, Properties: {{ TopicArn: !Ref T, Protocol: sqs, Endpoint: !GetAtt Q.Arn }} }}\n  \
             Other: \n    Type: AWS::SNS::Subscription\n    Properties:\n{}",
            indented(text, 6)
        )
    };
    assert_all_refused(
        around,
        &[
            ("TopicArn: a # <-\nProtocol: sqs\nEndpoint: !GetAtt Q.Arn", "a is no topic of this template"),
            ("TopicArn: !Ref T\nProtocol: https # <-\nEndpoint: !GetAtt Q.Arn", "Protocol https is not supported"),
            ("TopicArn: !Ref T\nProtocol: sqs\nEndpoint: !Ref Q # <-", "is no queue of this template"),
            ("TopicArn: !Ref T\nDeliveryPolicy: {} # <-", "DeliveryPolicy is not supported"),
            ("TopicArn: !Ref T\nProtocol: sqs\nEndpoint: !GetAtt Q.Arn\nFilterPolicy: { a: b } # <-", "FilterPolicy.a"),
            ("TopicArn: !Ref T\nProtocol: sqs\nEndpoint: !GetAtt Q.Arn\nFilterPolicy: \"{\" # <-", "is no JSON"),
            ("TopicArn: !Ref T\nProtocol: sqs\nEndpoint: !GetAtt Q.Arn\nRawMessageDelivery: 1 # <-", "true or false"),
        ],
    );
}

#[test]
fn tables() {
    let around = |text: &str| {
        format!("Resources:\n  T: # <-\n    Type: AWS::DynamoDB::Table\n    Properties:\n{}", indented(text, 6))
    };
    assert_all_refused(
        around,
        &[
            ("BillingMode: PAY_PER_REQUEST", "KeySchema must have one or two keys, not 0"),
            (
                "AttributeDefinitions: [{ AttributeName: a, AttributeType: S }]\n\
             KeySchema: [{ AttributeName: a, KeyType: HASH }]",
                "ProvisionedThroughput is missing",
            ),
            (
                "BillingMode: PAY_PER_REQUEST\nAttributeDefinitions: [{ AttributeName: a, AttributeType: S }, \
             { AttributeName: b, AttributeType: S }]\nKeySchema: [{ AttributeName: a, KeyType: HASH }]",
                "b is no key of the table",
            ),
        ],
    );
    let around = |text: &str| {
        format!("Resources:\n  T:\n    Type: AWS::DynamoDB::Table\n    Properties:\n{}", indented(text, 6))
    };
    assert_all_refused(
        around,
        &[
            (
                "BillingMode: PAY_PER_REQUEST\nAttributeDefinitions: [{ AttributeName: a, AttributeType: S }]\n\
             KeySchema: [{ AttributeName: a, KeyType: HASH }]\nTimeToLiveSpecification: { Enabled: true } # <-",
                "TimeToLiveSpecification.AttributeName is missing",
            ),
            ("StreamSpecification: { StreamViewType: NEW_IMAGE } # <-", "StreamSpecification is not supported"),
            ("TableName: ab # <-", "TableName must be 3 to 255"),
            ("AttributeDefinitions: [{ AttributeName: a, AttributeType: X }] # <-", "must be one of S, N, B, not X"),
            ("KeySchema: [{ AttributeName: a, KeyType: HASH }] # <-", "a is missing in AttributeDefinitions"),
            (
                "AttributeDefinitions: [{ AttributeName: a, AttributeType: S }]\n\
             KeySchema: [{ AttributeName: a, KeyType: RANGE }] # <-",
                "the KeyType of a must be HASH",
            ),
            (
                "BillingMode: PAY_PER_REQUEST\nAttributeDefinitions: [{ AttributeName: a, AttributeType: S }]\n\
             KeySchema: [{ AttributeName: a, KeyType: HASH }]\nGlobalSecondaryIndexes:\n  - IndexName: i # <-\n    \
             KeySchema: [{ AttributeName: a, KeyType: HASH }]",
                "GlobalSecondaryIndexes.Projection is missing",
            ),
            (
                "BillingMode: PAY_PER_REQUEST\nAttributeDefinitions: [{ AttributeName: a, AttributeType: S }]\n\
             KeySchema: [{ AttributeName: a, KeyType: HASH }]\nGlobalSecondaryIndexes:\n  - IndexName: i\n    \
             KeySchema: [{ AttributeName: a, KeyType: HASH }]\n    Projection: { ProjectionType: INCLUDE } # <-",
                "must name 1 to 100 attributes with INCLUDE",
            ),
        ],
    );
}

const FUNCTION: &str = "Transform: AWS::Serverless-2016-10-31\nResources:\n  Q: { Type: AWS::SQS::Queue }\n  F:\n    \
                        Type: AWS::Serverless::Function\n    Metadata: { BuildMethod: rust-cargolambda, \
                        BuildProperties: { Binary: f } }\n    Properties:\n      CodeUri: .\n      Runtime: \
                        provided.al2023\n      Handler: bootstrap\n";

#[test]
fn functions() {
    assert_all_refused(
        |text| format!("{FUNCTION}{}", indented(text, 6)),
        &[
            ("Layers: [a] # <-", "Layers is not supported by this host: functions are native binaries"),
            ("VpcConfig: {} # <-", "VpcConfig is not supported"),
            ("MemorySize: 127 # <-", "from 128 to 10240"),
            ("Timeout: 901 # <-", "from 1 to 900"),
            ("FunctionName: a.b # <-", "FunctionName must be"),
            ("Architectures: [mips] # <-", "must be arm64 or x86_64, not mips"),
            ("ReservedConcurrentExecutions: -1 # <-", "from 0 to 1000"),
            ("Environment: { Variables: { AWS_REGION: a } } # <-", "AWS_REGION is set by the runtime"),
            ("Environment: { Variables: { 1A: a } } # <-", "1A is no name that Lambda takes"),
            ("Environment: { Variables: { AB: [a] } } # <-", "AB must be text"),
            ("Environment: { Colour: red } # <-", "Environment.Colour is no property"),
            ("EventInvokeConfig: { MaximumRetryAttempts: 3 } # <-", "from 0 to 2"),
            ("EventInvokeConfig: { DestinationConfig: {} } # <-", "DestinationConfig is not supported"),
            ("LoggingConfig: { ApplicationLogLevel: INFO } # <-", "log levels need the LogFormat JSON"),
            ("FunctionUrlConfig: { AuthType: AWS_IAM } # <-", "AWS_IAM is not supported"),
            ("Colour: red # <-", "Colour is no property of AWS::Serverless::Function"),
        ],
    );
    for (from, to, expected) in [
        ("provided.al2023", "python3.13 # <-", "Runtime must be one of provided.al2023, provided.al2"),
        ("Binary: f } }", "Program: f } } # <-", "Binary is missing: write Metadata"),
        ("rust-cargolambda", "makefile", "BuildMethod is another one"),
        ("Binary: f }", "Binary: ../f }", "must be the name of a cargo binary"),
    ] {
        let text = FUNCTION.replace(from, to);
        let text = if to.contains("# <-") { text } else { text.replace("f } }\n", "f } } # <-\n") };

        assert_refused(&text, expected);
    }
}

#[test]
fn events() {
    let around = |text: &str| format!("{FUNCTION}      Events:\n        E:\n{}", indented(text, 10));
    assert_all_refused(
        around,
        &[
            ("Type: HttpApi # <-\nProperties: { Path: /, Method: get }", "use AWS::ApiGatewayV2"),
            ("Type: S3 # <-\nProperties: {}", "events of type S3 are not supported"),
            ("Type: SQS # <-", "Events.E.Properties is missing"),
            ("Type: SQS\nProperties: { Queue: a } # <-", "a is no queue of this template"),
            (
                "Type: SQS\nProperties: { Queue: !GetAtt Q.Arn, BatchSize: 11 } # <-",
                "must be at least 1 when BatchSize",
            ),
            ("Type: SQS\nProperties: { Queue: !GetAtt Q.Arn, BatchSize: 10001 } # <-", "from 1 to 10000"),
            (
                "Type: SQS\nProperties: { Queue: !GetAtt Q.Arn, FunctionResponseTypes: [All] } # <-",
                "must be [ReportBatchItemFailures], not All",
            ),
            (
                "Type: SQS\nProperties: { Queue: !GetAtt Q.Arn, ScalingConfig: { MaximumConcurrency: 1 } } # <-",
                "Events.E.Properties.ScalingConfig.MaximumConcurrency must be a whole number from 2 to 1000",
            ),
            (
                "Type: SQS\nProperties: { Queue: !GetAtt Q.Arn, ScalingConfigg: {} } # <-",
                "ScalingConfigg is no property",
            ),
            (
                "Type: SQS\nProperties: { Queue: !GetAtt Q.Arn, FilterCriteria: { Filters: [{ Pattern: \"[]\" }] } } # <-",
                "Pattern must be a JSON object in a text",
            ),
            ("Type: Schedule\nProperties: { Schedule: rate(1 minutes) } # <-", "is no rate"),
            ("Type: Schedule\nProperties: { Schedule: rate(5 minute) } # <-", "is no rate"),
            ("Type: Schedule\nProperties: { Schedule: rate(0 minutes) } # <-", "is no rate"),
            ("Type: Schedule\nProperties: { Schedule: \"cron(* * * * *)\" } # <-", "six fields"),
            ("Type: Schedule\nProperties: { Schedule: \"at(2030-01-01T00:00:00)\" } # <-", "rate(…) or cron(…)"),
            ("Type: Schedule\nProperties: { Schedule: rate(1 hour), Input: \"{\" } # <-", "Input is no JSON"),
            ("Type: Schedule\nProperties: { Schedule: rate(1 hour), Enabled: true, State: ENABLED } # <-", "exclude"),
            ("Type: ScheduleV2\nProperties: { Schedule: rate(1 hour) } # <-", "ScheduleExpression is missing"),
            ("Type: ScheduleV2\nProperties: { ScheduleExpression: rate(1 hour), RetryPolicy: {} } # <-", "RetryPolicy"),
        ],
    );
    let slow = FUNCTION.replace("      CodeUri", "      Timeout: 31\n      CodeUri");
    assert_refused(
        &format!("{slow}      Events:\n        E: {{ Type: SQS, Properties: {{ Queue: !GetAtt Q.Arn }} }} # <-\n"),
        "Queue visibility timeout: 30 seconds is less than Function timeout: 31 seconds",
    );
    let twice = "      Events:\n        E: { Type: SQS, Properties: { Queue: !GetAtt Q.Arn } }\n        \
                 G: { Type: SQS, Properties: { Queue: !GetAtt Q.Arn } } # <-\n";
    assert_refused(&format!("{FUNCTION}{twice}"), "feeds F already");
}

#[test]
fn http_apis() {
    let whole = |api: &str, integration: &str, route: &str, stage: &str| {
        format!(
            "{FUNCTION}  A:\n    Type: AWS::ApiGatewayV2::Api\n    Properties:\n      ProtocolType: {api}\n      \
             Name: a\n  I:\n    Type: AWS::ApiGatewayV2::Integration\n    Properties:\n      ApiId: !Ref A\n      \
             IntegrationType: AWS_PROXY\n      {integration}\n  R:\n    Type: AWS::ApiGatewayV2::Route\n    \
             Properties:\n      ApiId: !Ref A\n      {route}\n  S:\n    Type: AWS::ApiGatewayV2::Stage\n    \
             Properties:\n      ApiId: !Ref A\n      StageName: $default\n      {stage}\n"
        )
    };
    const INTEGRATION: &str = "IntegrationUri: !GetAtt F.Arn\n      PayloadFormatVersion: \"2.0\"";
    const ROUTE: &str = "Target: !Sub integrations/${I}\n      RouteKey: $default";
    const STAGE: &str = "AutoDeploy: true";
    let fine = whole("HTTP", INTEGRATION, ROUTE, STAGE);
    assert!(read_with(&fine, &[]).is_ok(), "{:?}", read_with(&fine, &[]));

    assert_refused(&whole("WEBSOCKET # <-", INTEGRATION, ROUTE, STAGE), "HTTP only");
    assert_refused(&whole("HTTP\n      Body: {} # <-", INTEGRATION, ROUTE, STAGE), "Body is not supported");
    let credentials = "HTTP\n      CorsConfiguration: { AllowCredentials: true, AllowOrigins: [\"*\"] } # <-";
    assert_refused(&whole(credentials, INTEGRATION, ROUTE, STAGE), "AllowCredentials does not go with");
    assert_all_refused(
        |text| whole("HTTP", text, ROUTE, STAGE),
        &[
            ("IntegrationUri: !GetAtt F.Arn\n      PayloadFormatVersion: \"1.0\" # <-", "must be \"2.0\""),
            (
                "IntegrationUri: https://a.b # <-\n      PayloadFormatVersion: \"2.0\"",
                "is no function of this template",
            ),
            (
                "TimeoutInMillis: 30001 # <-\n      IntegrationUri: !GetAtt F.Arn\n      PayloadFormatVersion: \"2.0\"",
                "50",
            ),
            ("RequestParameters: {} # <-", "RequestParameters is not supported"),
        ],
    );
    assert_all_refused(
        |text| whole("HTTP", INTEGRATION, text, STAGE),
        &[
            ("Target: !Sub integrations/${I}\n      RouteKey: GET # <-", "METHOD /path"),
            ("Target: !Sub integrations/${I}\n      RouteKey: FETCH /a # <-", "begins with no method"),
            ("Target: !Sub integrations/${I}\n      RouteKey: GET /{a+}/b # <-", "something behind"),
            ("Target: !Sub integrations/${I}\n      RouteKey: GET /a{b} # <-", "half a variable"),
            ("Target: !Ref I # <-\n      RouteKey: $default", "Target must be integrations/ID"),
            ("AuthorizationType: JWT # <-", "NONE only"),
        ],
    );
    assert_all_refused(
        |text| whole("HTTP", INTEGRATION, ROUTE, text),
        &[
            ("AutoDeploy: true\n      StageVariables: {} # <-", "StageVariables is not supported"),
            (
                "AutoDeploy: true\n      DefaultRouteSettings: { ThrottlingRateLimit: fast } # <-",
                "must be a number from 0",
            ),
            ("AutoDeploy: true\n      DefaultRouteSettings: { ThrottlingBurstLimit: 1.5 } # <-", "a whole number"),
        ],
    );
    let manual = whole("HTTP", INTEGRATION, ROUTE, "AutoDeploy: false").replace("  S:\n", "  S: # <-\n");
    assert_refused(&manual, "AutoDeploy must be true");
    let (no_stage, _) = fine.split_once("  S:\n").unwrap();
    assert_refused(&no_stage.replace("  A:\n", "  A: # <-\n"), "no AWS::ApiGatewayV2::Stage");
}

#[test]
fn secrets_and_what_must_not_be_shown() {
    let around = |text: &str| {
        format!("Resources:\n  S:\n    Type: AWS::SecretsManager::Secret\n    Properties:\n{}", indented(text, 6))
    };
    assert_all_refused(
        around,
        &[
            ("SecretString: a # <-", "SecretString is not supported"),
            ("GenerateSecretString: { PasswordLength: 0 } # <-", "from 1 to 4096"),
            ("GenerateSecretString: { PasswordLength: 3 } # <-", "too small for a character of each of 4 kinds"),
            (
                "GenerateSecretString: { ExcludeLowercase: true, ExcludeUppercase: true, ExcludePunctuation: true, \
             ExcludeCharacters: \"0123456789\" } # <-",
                "leaves no character",
            ),
            ("GenerateSecretString: { SecretStringTemplate: \"{}\" } # <-", "go together"),
        ],
    );
    let around = |text: &str| {
        format!(
            "Parameters:\n  Secret: {{ Type: String, NoEcho: true }}\nResources:\n  S:\n    Type: \
             AWS::SecretsManager::Secret\n    Properties: {{ GenerateSecretString: {{}} }}\n  Q:\n    Type: \
             AWS::SQS::Queue\n    Properties:\n      {text} # <-\n"
        )
    };
    assert_all_refused(
        around,
        &[
            ("VisibilityTimeout: !Ref Secret", "not ****"),
            ("QueueName: !Sub \"a ${Secret}\"", "not a ****"),
            ("VisibilityTimeout: !Select [0, !Split [\"r2\", !Ref Secret]]", "not ****"),
            ("VisibilityTimeout: !Base64 { Ref: Secret }", "not ****"),
            ("VisibilityTimeout: !Sub \"{{resolve:secretsmanager:${S}}}\"", "not ****"),
            ("QueueName: \"{{resolve:ssm:a}}\"", "dynamic references to ssm are not supported"),
            ("KmsMasterKeyId: \"{{resolve:secretsmanager:a}}\"", "names no secret of this template"),
            ("KmsMasterKeyId: \"{{resolve:secretsmanager:a\"", "not closed"),
            ("KmsMasterKeyId: !Sub \"{{resolve:secretsmanager:${S}:SecretBinary}}\"", "gives the SecretString"),
            ("KmsMasterKeyId: !Sub \"{{resolve:secretsmanager:${S}:SecretString:user}}\"", "has no key user"),
        ],
    );
    let error = read_with("Resources: {}", &[("Nothing", "hunter2")]).unwrap_err();
    assert_eq!((error.line, error.message.as_str()), (1, "the template has no parameter Nothing"));
}
