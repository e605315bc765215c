//! Faults in what all templates are made of: each is refused at the line that is marked `# <-`.

use super::{assert_all_refused, indented};

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
                "Transform: AWS::Serverless-2016-10-31\nGlobals:\n  Function:\n    FunctionName: a # <-\n\
                 Resources: {}\n",
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
                "A:\n  Type: AWS::CloudWatch::Alarm\n  Properties:\n    ComparisonOperator: x\n    \
             EvaluationPeriods: 1\n    Dimensions: [{ Name: a, Value: !Ref Nothing }] # <-",
                "there is no parameter or resource Nothing",
            ),
            ("A: # <-\n  Type: AWS::Lambda::Permission\n  Properties: { Action: a, Principal: b }", "FunctionName is"),
        ],
    );
}
