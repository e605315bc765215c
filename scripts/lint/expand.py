"""Writes what CloudFormation sees: the SAM resources of template.yaml expanded to plain ones.

The linters check SAM resources by schema only.
Faults such as a visibility time-out below the function's time-out show in the expanded template alone.
"""

import json
import sys

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

SAM_TRANSFORM = "AWS::Serverless-2016-10-31"


def expand(template: dict) -> dict:
    """Translates as AWS would; SAM's managed policies are left out, since every function names its role."""
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://packaged/later.zip"
    # Actions of other transforms stay in place; cfn-lint knows AWS::LanguageExtensions itself.
    others = [name for name in template["Transform"] if name != SAM_TRANSFORM]
    expanded = Translator({}, Parser()).translate(template, {})
    expanded["Transform"] = others
    return expanded


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as source:
        json.dump(expand(yaml_parse(source.read())), sys.stdout, indent=2)
