//! Faults in resources: each is refused at the line that is marked `# <-`.

use super::{assert_all_refused, assert_refused, indented, read_with};

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
            ("TopicArn: !Ref T\nProtocol: sqs\nEndpoint: !GetAtt Q.Arn\nFilterPolicy: { a: b } # <-", "FilterPolicy: "),
            ("TopicArn: !Ref T\nProtocol: sqs\nEndpoint: !GetAtt Q.Arn\nFilterPolicy: \"{\" # <-", "is no JSON"),
            (
                "TopicArn: !Ref T\nProtocol: sqs\nEndpoint: !GetAtt Q.Arn\n\
                 FilterPolicy: { a: [1], b: [1], c: [1], d: [1], e: [1], f: [1] } # <-",
                "more than 5 keys",
            ),
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
                "Type: SQS\nProperties: { Queue: !GetAtt Q.Arn, FilterCriteria: { \
                 Filters: [{ Pattern: \"[]\" }] } } # <-",
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
