"""Says which checks a file by FOCUS fails: of version 1.2 by focus-validator, of 1.4 by focus-data-toolkit."""

import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

# What a provider like ours supports, as far as the validator's model can check it: of PUBLIC_PRICE_LIST_SUPPORTED it asks for prices in
# virtual currencies, and of USAGE_MEASUREMENT_SUPPORTED for quantities of corrections.
SUPPORTED = [
    "ACCOUNT_NAMING_SUPPORTED",
    "BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED",
    "NEGOTIATED_PRICING_SUPPORTED",
    "REGION_SUPPORTED",
    "RESOURCE_TYPE_ASSIGNMENT_SUPPORTED",
    "SUB_ACCOUNT_SUPPORTED",
    "UNIT_PRICING_SUPPORTED",
]


def run(*arguments, folder):
    return subprocess.run([sys.executable, "-B", "-m", *arguments], cwd=folder, capture_output=True, text=True)


def version_1_2(file):
    # It opens one of its files by a path from there.
    folder = pathlib.Path(importlib.util.find_spec("focus_validator").origin).parent.parent
    with tempfile.TemporaryDirectory() as reports:
        report = pathlib.Path(reports) / "report.xml"
        done = run(
            *["focus_validator.main", "--data-file", str(file), "--validate-version", "1.2.0.1", "--block-download"],
            *["--applicability-criteria", ",".join(SUPPORTED)],
            *["--output-type", "unittest", "--output-destination", str(report)],
            folder=folder,
        )
        assert done.returncode == 0 and report.exists(), done.stdout + done.stderr
        root = xml.parse(report).getroot()
    cases = list(root.iter("testcase"))
    bad = lambda case: case.find("failure") is not None or case.find("error") is not None
    checked = [case for case in cases if case.find("skipped") is None]
    return {"checked": len(checked), "failed": sorted(case.get("name").split(" ")[0] for case in cases if bad(case))}


def version_1_4(file):
    supports = ["--supports", "SupportsUnitPricing", "--supports", "SupportsMultiplePricingCategories"]
    done = run("focus_data_toolkit", "validate", "--dataset", "cost-and-usage", *supports, str(file), folder=file.parent)
    return {"exit": done.returncode, "says": (done.stdout + done.stderr).splitlines()}


version, file = sys.argv[1], pathlib.Path(sys.argv[2]).absolute()
print(json.dumps({"1.2": version_1_2, "1.4": version_1_4}[version](file)))
