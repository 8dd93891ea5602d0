"""Downloads a detailed usage report with stubs generated from the contract, and writes it as CSV.

Usage: usage_to_csv.py PROTO_FOLDER SERVER TENANT_ID YYYY-MM
A token is taken from SCR_TOKEN, if that is set. The stream is broken off after its first message and resumed, so that the recipe for it is tried out too.
"""

import csv
import os
import sys
import tempfile

import grpc
import grpc_tools.protoc


def generate(proto_folder, out):
    files = []
    for folder, _, names in os.walk(proto_folder):
        files += [os.path.join(folder, name) for name in names if name.endswith(".proto")]
    include = os.path.join(os.path.dirname(grpc_tools.__file__), "_proto")
    options = [f"-I{proto_folder}", f"-I{include}", f"--python_out={out}", f"--grpc_python_out={out}"]
    if grpc_tools.protoc.main(["protoc", *options, *files]) != 0:
        raise SystemExit("the contract does not compile")


def main(proto_folder, server, tenant_id, month):
    stubs = tempfile.mkdtemp()
    generate(proto_folder, stubs)
    sys.path.insert(0, stubs)
    from secureconnect.reports.v1 import reports_service_pb2 as pb
    from secureconnect.reports.v1 import reports_service_pb2_grpc as service
    from secureconnect.reports.v1 import types_pb2 as types

    year, number = map(int, month.split("-"))
    request = pb.GetDetailedUsageRequest(tenant_id=tenant_id, month=types.YearMonth(year=year, month=number))

    def time(value):
        text = value.ToJsonString()
        return text if "." not in text else text.rstrip("Z").rstrip("0") + "Z"

    def row(record):
        platform = types.Platform.Name(record.platform).removeprefix("PLATFORM_").lower()
        return [
            record.organization_id,
            record.tenant_id,
            record.asset_name,
            record.asset_id,
            types.AssetType.Name(record.asset_type).removeprefix("ASSET_TYPE_"),
            record.meter_name,
            record.meter_id,
            time(record.start),
            time(record.end),
            record.quantity,
            types.BillingRegion.Name(record.billing_region).removeprefix("BILLING_REGION_"),
            "" if platform == "unspecified" else platform,
            "TRUE" if record.trial else "FALSE",
            time(record.trial_expiry) if record.HasField("trial_expiry") else "",
        ]

    token = os.environ.get("SCR_TOKEN")
    metadata = [("authorization", f"Bearer {token}")] if token else []

    with grpc.insecure_channel(server) as channel:
        reports = service.ReportsServiceStub(channel)
        out = csv.writer(sys.stdout, lineterminator="\n")
        # The names of the fields are the columns of the report.
        out.writerow(field.json_name for field in types.UsageRecord.DESCRIPTOR.fields)
        count, broken_off, summary = 0, False, None
        while summary is None:
            stream = reports.GetDetailedUsage(request, metadata=metadata)
            for message in stream:
                for record in message.records:
                    out.writerow(row(record))
                    count += 1
                if message.resume_token:
                    request.resume_token = message.resume_token
                if message.HasField("summary"):
                    summary = message.summary
                elif not broken_off:
                    broken_off = True
                    stream.cancel()
                    break
        if summary.record_count != count:
            raise SystemExit(f"{count} records came, and there are {summary.record_count}")


main(*sys.argv[1:])
