"""Downloads the detailed usage of a tenant's month as CSV, over a network and from servers that may fail meanwhile.

Usage: usage_to_csv.py HOST:PORT TENANT_ID YYYY-MM FILE

FILE is the file that `secure-connect-reports usage` writes, byte for byte. It appears only when the report is whole.
Until then the rows are in FILE.part, which is removed when the download fails; a killed process leaves it, and the
next download overwrites it. Run one download of a FILE at a time.

The token is taken from SCR_TOKEN. SCR_CA_FILE names the authorities for TLS (PEM), for instance
/etc/ssl/certs/ca-certificates.crt. Unset: plain text, and a token is then sent to this machine only.
The stubs are generated from ../../proto at each run; a program of your own would keep them.
Needs requirements.txt: pip install -r examples/python/requirements.txt
"""

import ipaddress
import os
import pathlib
import random
import sys
import tempfile
import time

import grpc
import grpc_tools.protoc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

# How long to go on trying without a single record.
GIVE_UP_SECONDS = 120
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 15

CHANNEL_OPTIONS = [
    # gRPC's own pauses between connections grow to two minutes. They must not be longer than ours.
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Detects a connection that is dead and was never closed.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
]


def generate_stubs(out):
    protos = pathlib.Path(__file__).resolve().parent.parent.parent / "proto"
    files = [str(path) for path in protos.rglob("*.proto")]
    include = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    options = [f"-I{protos}", f"-I{include}", f"--python_out={out}", f"--grpc_python_out={out}"]
    if grpc_tools.protoc.main(["protoc", *options, *files]) != 0:
        raise SystemExit("the contract does not compile")


with tempfile.TemporaryDirectory() as stubs:
    generate_stubs(stubs)
    sys.path.insert(0, stubs)
    from secureconnect.reports.v1 import reports_service_pb2 as pb
    from secureconnect.reports.v1 import reports_service_pb2_grpc as service
    from secureconnect.reports.v1 import types_pb2 as types


def detail(error, kind):
    """A google.rpc detail of an error, for instance its RetryInfo; None where it is missing or damaged.

    This does not use rpc_status.from_call of grpc_status. That raises ValueError where code or message of the details
    differ from those of the call, for instance because a proxy changed one of them.
    """
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            try:
                for packed in status_pb2.Status.FromString(value).details:
                    message = kind()
                    if packed.Unpack(message):
                        return message
            except DecodeError:
                return None
    return None


def is_transient(error):
    """Whether another try may help."""
    info = detail(error, error_details_pb2.ErrorInfo)
    if info and info.reason == "CALLER_LIMIT":
        # Lost streams of ours still count, until the server notices that they are lost.
        return True
    # The server gives a reason with each error. An error without one comes from the transport or from a proxy.
    transport = ("UNKNOWN", "INTERNAL", "CANCELLED", "DEADLINE_EXCEEDED", "ABORTED")
    return error.code().name == "UNAVAILABLE" or (info is None and error.code().name in transport)


def checked_revision(message, received, revision):
    """The revision of the stream that begins with this message. It must go on exactly behind what was received."""
    if not message.HasField("header"):
        raise SystemExit("the server sent no header")
    if received and message.header.revision != revision:
        raise SystemExit("the report has another revision now")
    if message.header.resumed_record_count != received:
        position = message.header.resumed_record_count
        raise SystemExit(f"{received} records were received, and the server goes on after {position}")
    return message.header.revision


def records(stub, request, metadata):
    """The records of a report, over as many streams as it takes."""
    received, revision = 0, None
    tries, failing_since = 0, None
    while True:
        try:
            for number, message in enumerate(stub.GetDetailedUsage(request, metadata=metadata)):
                if number == 0:
                    revision = checked_revision(message, received, revision)
                yield from message.records
                received += len(message.records)
                if message.records:
                    tries, failing_since = 0, None
                if message.resume_token:
                    # Records and token of a message belong together: both count, or neither.
                    request.resume_token = message.resume_token
                if message.HasField("summary"):
                    if message.summary.record_count != received:
                        raise SystemExit(f"{received} records came, and the report has {message.summary.record_count}")
                    return
            # A stream that ends without a summary was cut, whatever its status.
            reason, asked = "the stream ended before its summary", 0
        except grpc.RpcError as error:
            reason = f"{error.code().name}: {error.details()}"
            if not is_transient(error):
                raise SystemExit(reason)
            retry = detail(error, error_details_pb2.RetryInfo)
            asked = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9 if retry else 0
        # Twice as long each time, and by chance a little shorter: many clients lose one server at once.
        longest = min(FIRST_PAUSE_SECONDS * 2**tries, LONGEST_PAUSE_SECONDS)
        pause = max(asked, longest * random.uniform(0.5, 1))
        tries += 1
        now = time.monotonic()
        failing_since = now if failing_since is None else failing_since
        if now + pause - failing_since > GIVE_UP_SECONDS:
            raise SystemExit(f"{reason}; gave up after {received} records")
        print(f"{reason}; going on after {received} records in {pause:.1f} s", file=sys.stderr)
        time.sleep(pause)


def time_text(value):
    text = value.ToJsonString()
    return text if "." not in text else text.rstrip("Z").rstrip("0") + "Z"


def enum_text(enum, number):
    """A value as the CSV has it: EU for BILLING_REGION_EU. A newer server may know values that this contract lacks."""
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")
    if number == 0 or number not in enum.values():
        raise SystemExit(f"the server sent {prefix}{number}, which is not in this contract")
    return enum.Name(number).removeprefix(prefix)


def row(record):
    return [
        record.organization_id,
        record.tenant_id,
        record.asset_name,
        record.asset_id,
        enum_text(types.AssetType, record.asset_type),
        record.meter_name,
        record.meter_id,
        time_text(record.start),
        time_text(record.end),
        record.quantity,
        enum_text(types.BillingRegion, record.billing_region),
        enum_text(types.Platform, record.platform).lower() if record.platform else "",
        "TRUE" if record.trial else "FALSE",
        time_text(record.trial_expiry) if record.HasField("trial_expiry") else "",
    ]


def csv_line(fields):
    """A line of CSV: a field is quoted if it holds a comma, a quote, a CR or an LF, and only then.

    This does not use the csv module. In older Pythons, such as 3.11.7, it leaves a lone CR unquoted, and readers take
    that for the end of the line.
    """
    quoted = ('"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text for text in fields)
    return ",".join(quoted) + "\n"


def save(lines, file):
    """Writes a file. It gets its name when it is complete and on disk."""
    part = file.with_name(file.name + ".part")
    try:
        with part.open("w", newline="", encoding="utf-8") as out:
            out.writelines(lines)
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    # The name is on disk only when the folder is.
    if os.name == "posix":
        folder = os.open(file.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def is_loopback(server):
    host = server.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def channel(server, token):
    authorities = os.environ.get("SCR_CA_FILE")
    if authorities:
        credentials = grpc.ssl_channel_credentials(pathlib.Path(authorities).read_bytes())
        return grpc.secure_channel(server, credentials, CHANNEL_OPTIONS)
    if token and not is_loopback(server):
        raise SystemExit(f"the token would go to {server} in plain text: set SCR_CA_FILE for TLS")
    return grpc.insecure_channel(server, CHANNEL_OPTIONS)


def main(server, tenant_id, month, file):
    year, number = map(int, month.split("-"))
    request = pb.GetDetailedUsageRequest(tenant_id=tenant_id, month=types.YearMonth(year=year, month=number))
    token = os.environ.get("SCR_TOKEN", "").strip()
    # gRPC would show such a token in its error.
    if not (token.isascii() and token.isprintable()):
        raise SystemExit("SCR_TOKEN is not a token: it holds a character that a header cannot have")
    metadata = [("authorization", f"Bearer {token}")] if token else []

    def lines(stub):
        # The JSON names of the fields are the columns of the report.
        yield csv_line(field.json_name for field in types.UsageRecord.DESCRIPTOR.fields)
        for record in records(stub, request, metadata):
            yield csv_line(row(record))

    with channel(server, token) as connection:
        save(lines(service.ReportsServiceStub(connection)), pathlib.Path(file))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
