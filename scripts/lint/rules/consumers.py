"""What every queue consumer of Florin keeps, checked on the expanded template."""

from cfnlint.rules import CloudFormationLintRule, RuleMatch

# AWS advises six times the function's time-out, so that retries of a throttled batch fit in it:
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
VISIBILITY_TIMES_TIMEOUT = 6


class Consumers(CloudFormationLintRule):
    """Queue, function and mapping belong together; no schema sees all three at once."""

    id = "E9001"
    shortdesc = "Queue consumers keep Florin's rules"
    description = "Visibility, dead-letter queue, partial batch responses and scaling of every queue consumer"
    source_url = "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html"
    tags = ["sqs", "lambda"]

    def match(self, cfn):
        """Checks each mapping from a queue of this template to a function of this template."""
        queues = cfn.get_resources("AWS::SQS::Queue")
        functions = cfn.get_resources("AWS::Lambda::Function")
        matches = []
        for name, mapping in cfn.get_resources("AWS::Lambda::EventSourceMapping").items():
            properties = mapping["Properties"]
            queue_name = _target(properties.get("EventSourceArn"))
            function_name = _target(properties.get("FunctionName"))
            if queue_name not in queues or function_name not in functions:
                message = f"{name}: source and function must be resources of this template"
                matches.append(RuleMatch(["Resources", name], message))
                continue
            queue = queues[queue_name]["Properties"]
            function = functions[function_name]["Properties"]
            for fault in _faults(properties, queue, function):
                matches.append(RuleMatch(["Resources", name, "Properties"], f"{name} ({queue_name}): {fault}"))
        return matches


def _faults(mapping, queue, function):
    window = mapping.get("MaximumBatchingWindowInSeconds", 0)
    least = VISIBILITY_TIMES_TIMEOUT * function.get("Timeout", 3) + window
    if queue.get("VisibilityTimeout", 30) < least:
        yield f"VisibilityTimeout must be at least {least}: six times the function's time-out and the window"
    if "deadLetterTargetArn" not in queue.get("RedrivePolicy", {}):
        yield "the queue has no dead-letter queue"
    if mapping.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
        yield "the mapping must report batch item failures, or one bad record fails its batch"
    if "ScalingConfig" in mapping and "ProvisionedPollerConfig" in mapping:
        yield "ScalingConfig and ProvisionedPollerConfig exclude each other"


def _target(reference):
    """The logical id behind a Ref or an Arn."""
    if not isinstance(reference, dict):
        return None
    if "Ref" in reference:
        return reference["Ref"]
    attribute = reference.get("Fn::GetAtt")
    if isinstance(attribute, str):
        return attribute.split(".")[0]
    return attribute[0] if attribute else None
