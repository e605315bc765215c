"""Deploys template.yaml to an emulator through CloudFormation, as `sam deploy` does to AWS, or deletes it there.

Reads one JSON request from standard input (secrets stay off the command line), tells its progress on standard
error, and writes the outputs of a deployed stack as JSON to standard output.

The template goes up unchanged but for `CodeUri`: each function's directory becomes the zip that was built for it,
found by the `Binary` of its metadata.
"""

import hashlib
import io
import json
import pathlib
import sys
import time
import zipfile

import boto3
import botocore.config
import botocore.exceptions
from samtranslator.yaml_helper import yaml_parse

POLL_S = 0.5
DEPLOY_TIMEOUT_S = 300
# The binaries are large and stay on this machine: speed counts, size does not.
ZIP_LEVEL = 1
EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)
EXECUTABLE = 0o100755 << 16


def main() -> None:
    """Does what the request's `action` says; deploys when it says nothing."""
    request = json.load(sys.stdin)
    clients = Clients(request["endpoint"], request["region"])
    if request.get("action") == "delete":
        delete(clients, request["stack_name"])
    else:
        create_or_update(clients, request)


def create_or_update(clients: "Clients", request: dict) -> None:
    """Uploads, deploys, completes what the emulator left out, prints the outputs."""
    with open(request["template"], encoding="utf-8") as source:
        template = yaml_parse(source.read())
    bucket = code_bucket(request["stack_name"])
    clients.s3.create_bucket(Bucket=bucket)
    upload_functions(clients.s3, bucket, template, request["binaries"])
    clients.s3.put_object(Bucket=bucket, Key="template.json", Body=json.dumps(template))
    outputs = deploy(
        clients.cloudformation,
        request["stack_name"],
        f"{request['endpoint']}/{bucket}/template.json",
        request["parameters"],
    )
    switch_on_ttl(clients, request["stack_name"], template)
    limit_concurrency(clients.functions)
    json.dump(outputs, sys.stdout)


def delete(clients: "Clients", stack_name: str) -> None:
    """Deletes the stack, and the bucket that its code was uploaded to."""
    if stack_status(clients.cloudformation, stack_name):
        clients.cloudformation.delete_stack(StackName=stack_name)
        deadline = time.monotonic() + DEPLOY_TIMEOUT_S
        while (status := stack_status(clients.cloudformation, stack_name)) not in (None, "DELETE_COMPLETE"):
            if status == "DELETE_FAILED" or time.monotonic() >= deadline:
                sys.exit(f"the stack {stack_name} could not be deleted: {status}")
            time.sleep(POLL_S)
    bucket = code_bucket(stack_name)
    try:
        for page in clients.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", []):
                clients.s3.delete_object(Bucket=bucket, Key=entry["Key"])
        clients.s3.delete_bucket(Bucket=bucket)
    except clients.s3.exceptions.NoSuchBucket:
        pass


def code_bucket(stack_name: str) -> str:
    """Where the functions' zips go."""
    return f"{stack_name}-code"


class Clients:
    """One client per service, all at the emulator."""

    def __init__(self, endpoint: str, region: str):
        common = {
            "endpoint_url": endpoint,
            "region_name": region,
            "config": botocore.config.Config(
                connect_timeout=2, read_timeout=60, retries={"max_attempts": 3}, s3={"addressing_style": "path"}
            ),
        }
        self.s3 = boto3.client("s3", **common)
        self.cloudformation = boto3.client("cloudformation", **common)
        self.dynamodb = boto3.client("dynamodb", **common)
        self.functions = boto3.client("lambda", **common)


def upload_functions(s3, bucket: str, template: dict, binaries: dict) -> None:
    """Uploads each function's binary as a deterministic zip and points its CodeUri there."""
    for resource in template["Resources"].values():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        binary = resource["Metadata"]["BuildProperties"]["Binary"]
        body = zipped(pathlib.Path(binaries[binary]))
        # A key that names its content: the same binary is no change, another one always is.
        key = f"{binary}-{hashlib.sha256(body).hexdigest()[:16]}.zip"
        s3.put_object(Bucket=bucket, Key=key, Body=body)
        resource["Properties"]["CodeUri"] = {"Bucket": bucket, "Key": key}


def zipped(binary: pathlib.Path) -> bytes:
    """The same binary gives the same bytes: no clock, no owner, no directory order."""
    entry = zipfile.ZipInfo("bootstrap", EPOCH_OF_ZIP)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # Unix, or the executable bit is lost
    entry.external_attr = EXECUTABLE
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(entry, binary.read_bytes(), compresslevel=ZIP_LEVEL)
    return buffer.getvalue()


def deploy(cloudformation, stack_name: str, template_url: str, parameters: dict) -> dict:
    """Creates or updates the stack by a change set and returns its outputs."""
    kind = "UPDATE" if stack_status(cloudformation, stack_name) else "CREATE"
    change_set = cloudformation.create_change_set(
        StackName=stack_name,
        ChangeSetName=f"up-{int(time.time())}",
        ChangeSetType=kind,
        TemplateURL=template_url,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )["Id"]
    if changes_are_ready(cloudformation, change_set):
        cloudformation.execute_change_set(ChangeSetName=change_set)
        await_stack(cloudformation, stack_name, f"{kind}_COMPLETE")
    stack = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def stack_status(cloudformation, stack_name: str) -> str | None:
    """None when there is no such stack, which CloudFormation says by an error."""
    try:
        return cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]["StackStatus"]
    except botocore.exceptions.ClientError as error:
        if "does not exist" in str(error):
            return None
        raise


def changes_are_ready(cloudformation, change_set: str) -> bool:
    """False when the stack is already as the template says."""
    deadline = time.monotonic() + DEPLOY_TIMEOUT_S
    while time.monotonic() < deadline:
        answer = cloudformation.describe_change_set(ChangeSetName=change_set)
        reason = answer.get("StatusReason", "")
        if answer["Status"] == "CREATE_COMPLETE":
            return True
        if answer["Status"] == "FAILED":
            if "didn't contain changes" in reason or "No updates" in reason:
                return False
            sys.exit(f"CloudFormation refused the template: {reason}")
        time.sleep(POLL_S)
    sys.exit(f"the change set was not ready within {DEPLOY_TIMEOUT_S} s")


def await_stack(cloudformation, stack_name: str, wanted: str) -> None:
    """Tells how many resources are done; a failure is told with its reasons."""
    deadline = time.monotonic() + DEPLOY_TIMEOUT_S
    told = None
    while time.monotonic() < deadline:
        status = stack_status(cloudformation, stack_name)
        resources = cloudformation.describe_stack_resources(StackName=stack_name)["StackResources"]
        done = sum(resource["ResourceStatus"].endswith("_COMPLETE") for resource in resources)
        if done != told and status != wanted:
            print(f"    {done} resources", file=sys.stderr, flush=True)
            told = done
        if status == wanted:
            print(f"    {done} resources, {status}", file=sys.stderr, flush=True)
            return
        if status is None or "ROLLBACK" in status or status.endswith("FAILED"):
            for event in cloudformation.describe_stack_events(StackName=stack_name)["StackEvents"]:
                if event["ResourceStatus"].endswith("FAILED"):
                    reason = event.get("ResourceStatusReason", "no reason given")
                    print(f"    {event['LogicalResourceId']}: {reason}", file=sys.stderr)
            sys.exit(f"the stack ended in {status}")
        time.sleep(POLL_S)
    sys.exit(f"the stack was not {wanted} within {DEPLOY_TIMEOUT_S} s")


def switch_on_ttl(clients: Clients, stack_name: str, template: dict) -> None:
    """MiniStack expires items, but its CloudFormation does not pass the attribute on."""
    resources = clients.cloudformation.describe_stack_resources(StackName=stack_name)["StackResources"]
    for resource in resources:
        properties = template["Resources"].get(resource["LogicalResourceId"], {}).get("Properties", {})
        specification = properties.get("TimeToLiveSpecification")
        if resource["ResourceType"] != "AWS::DynamoDB::Table" or not specification:
            continue
        table = resource["PhysicalResourceId"]
        state = clients.dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
        if state.get("TimeToLiveStatus") not in ("ENABLED", "ENABLING"):
            clients.dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=specification)


def limit_concurrency(functions) -> None:
    """MiniStack keeps a number that came by parameter as text, and its poller stumbles over it."""
    for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
        limit = mapping.get("ScalingConfig", {}).get("MaximumConcurrency")
        if limit is not None:
            functions.update_event_source_mapping(
                UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": int(limit)}
            )


if __name__ == "__main__":
    main()
