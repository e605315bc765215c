"""Seeds faults into template.yaml and expects the rules to find them: a rule that finds nothing proves nothing."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent
TEMPLATE = (HERE / "../../template.yaml").resolve().read_text(encoding="utf-8")
CFN_LINT = pathlib.Path(sys.executable).parent / "cfn-lint"


def lint(template: str) -> list[str]:
    """The messages of the linter on the expanded template."""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "template.yaml")
        source.write_text(template, encoding="utf-8")
        expanded = pathlib.Path(folder, "expanded.json")
        expand = [sys.executable, str(HERE / "expand.py"), str(source)]
        expanded.write_bytes(subprocess.run(expand, check=True, stdout=subprocess.PIPE).stdout)
        check = [str(CFN_LINT), "--format", "json", "--append-rules", str(HERE / "rules"), "--", str(expanded)]
        found = subprocess.run(check, check=False, stdout=subprocess.PIPE).stdout
        return [match["Message"] for match in json.loads(found or b"[]")]


class SeededFaults(unittest.TestCase):
    """Each fault is one that the plain linters let pass."""

    def seeded(self, right: str, wrong: str) -> str:
        """The messages after one replacement."""
        self.assertIn(right, TEMPLATE)
        return "\n".join(lint(TEMPLATE.replace(right, wrong, 1)))

    def test_visibility_below_six_time_outs(self):
        self.assertIn("at least 180", self.seeded("VisibilityTimeout: 180", "VisibilityTimeout: 179"))

    def test_a_window_counts_too(self):
        self.assertIn("at least 61", self.seeded("VisibilityTimeout: 61", "VisibilityTimeout: 60"))

    def test_a_batch_that_fails_as_a_whole(self):
        fault = self.seeded("            FunctionResponseTypes: [ReportBatchItemFailures]\n", "")
        self.assertIn("must report batch item failures", fault)

    def test_a_queue_without_dead_letters(self):
        redrive = "        deadLetterTargetArn: !GetAtt WebhookDeadLetters.Arn\n"
        self.assertIn("no dead-letter queue", self.seeded(redrive, ""))

    def test_two_kinds_of_scaling(self):
        scaling = "            ScalingConfig: { MaximumConcurrency: 2 }\n"
        both = scaling + "            ProvisionedPollerConfig: { MinimumPollers: 2, MaximumPollers: 4 }\n"
        self.assertIn("exclude each other", self.seeded(scaling, both))


if __name__ == "__main__":
    unittest.main()
