"""Downloads the detailed usage of a tenant's month as CSV, over a network and from servers that may fail meanwhile.

Usage: usage_to_csv.py HOST:PORT TENANT_ID YYYY-MM FILE

A token is taken from SCR_TOKEN, authorities for TLS from SCR_CA_FILE (PEM; unset: plain text). FILE is there only when
the report is whole. The stubs are generated from ../../proto at each run; a program of your own would keep them.
Needs requirements.txt: pip install -r examples/python/requirements.txt
"""

import csv
import os
import pathlib
import random
import sys
import tempfile
import time

import grpc
import grpc_tools.protoc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

# How long to go on trying without a single record.
GIVE_UP_SECONDS = 120
LONGEST_PAUSE_SECONDS = 15


def generate_stubs():
    protos = pathlib.Path(__file__).resolve().parent.parent.parent / "proto"
    out = tempfile.mkdtemp()
    files = [str(path) for path in protos.rglob("*.proto")]
    include = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    options = [f"-I{protos}", f"-I{include}", f"--python_out={out}", f"--grpc_python_out={out}"]
    if grpc_tools.protoc.main(["protoc", *options, *files]) != 0:
        raise SystemExit("the contract does not compile")
    sys.path.insert(0, out)


generate_stubs()
from secureconnect.reports.v1 import reports_service_pb2 as pb  # noqa: E402
from secureconnect.reports.v1 import reports_service_pb2_grpc as service  # noqa: E402
from secureconnect.reports.v1 import types_pb2 as types  # noqa: E402


def detail(error, kind):
    """What an error says in google.rpc terms, if anything."""
    status = rpc_status.from_call(error)
    for packed in status.details if status else []:
        message = kind()
        if packed.Unpack(message):
            return message
    return None


def is_transient(error):
    """UNAVAILABLE asks for another try. What comes without a reason of ours is of the transport, or of a proxy."""
    if error.code() == grpc.StatusCode.UNAVAILABLE:
        return True
    info = detail(error, error_details_pb2.ErrorInfo)
    ours = info is not None
    # The places of streams that were lost are free again when the server has noticed.
    if ours and info.reason == "CALLER_LIMIT":
        return True
    transport = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED, grpc.StatusCode.ABORTED)
    return error.code() in transport and not ours


def records(stub, request, metadata):
    """The records of a report, over as many streams as it takes."""
    received, revision = 0, None
    tries, since = 0, time.monotonic()
    while True:
        try:
            for message in stub.GetDetailedUsage(request, metadata=metadata):
                if message.HasField("header"):
                    # Another stream goes on in the same revision, behind what is here. All else would be a fault.
                    if received and message.header.revision != revision:
                        raise SystemExit("the report has another revision now")
                    if message.header.resumed_record_count != received:
                        raise SystemExit(f"{received} records are here, and the server goes on elsewhere")
                    revision = message.header.revision
                yield from message.records
                received += len(message.records)
                if message.records:
                    tries, since = 0, time.monotonic()
                if message.resume_token:
                    # Records and token of a message belong together: what counts is what is here.
                    request.resume_token = message.resume_token
                if message.HasField("summary"):
                    if message.summary.record_count != received:
                        raise SystemExit(f"{received} records came, and there are {message.summary.record_count}")
                    return
            # A stream that ends without a summary is one that was cut.
            reason, asked = "the stream ended before its summary", 0
        except grpc.RpcError as error:
            if not is_transient(error):
                raise SystemExit(f"{error.code().name}: {error.details()}")
            retry = detail(error, error_details_pb2.RetryInfo)
            reason, asked = error.details(), retry.retry_delay.ToTimedelta().total_seconds() if retry else 0
        # Twice as long each time, and by chance: many clients lose one server at once.
        pause = max(asked, min(0.25 * 2**tries, LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1))
        tries += 1
        if time.monotonic() + pause - since > GIVE_UP_SECONDS:
            raise SystemExit(f"{reason}; {received} records came")
        print(f"{reason}; going on after {received} records in {pause:.1f} s", file=sys.stderr)
        time.sleep(pause)


def time_text(value):
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
        time_text(record.start),
        time_text(record.end),
        record.quantity,
        types.BillingRegion.Name(record.billing_region).removeprefix("BILLING_REGION_"),
        "" if platform == "unspecified" else platform,
        "TRUE" if record.trial else "FALSE",
        time_text(record.trial_expiry) if record.HasField("trial_expiry") else "",
    ]


def channel(server):
    authorities = os.environ.get("SCR_CA_FILE")
    if not authorities:
        return grpc.insecure_channel(server)
    return grpc.secure_channel(server, grpc.ssl_channel_credentials(pathlib.Path(authorities).read_bytes()))


def main(server, tenant_id, month, file):
    year, number = map(int, month.split("-"))
    request = pb.GetDetailedUsageRequest(tenant_id=tenant_id, month=types.YearMonth(year=year, month=number))
    token = os.environ.get("SCR_TOKEN")
    metadata = [("authorization", f"Bearer {token}")] if token else []
    file = pathlib.Path(file)
    part = file.with_name(file.name + ".part")
    with channel(server) as connection, part.open("w", newline="", encoding="utf-8") as out:
        lines = csv.writer(out, lineterminator="\n")
        # The JSON names of the fields are the columns of the report.
        lines.writerow(field.json_name for field in types.UsageRecord.DESCRIPTOR.fields)
        for record in records(service.ReportsServiceStub(connection), request, metadata):
            lines.writerow(row(record))
        out.flush()
        os.fsync(out.fileno())
    # Under its own name only when it is whole.
    part.rename(file)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
