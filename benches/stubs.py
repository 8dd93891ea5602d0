"""What programs in Python, Node and Go reach with stubs that are generated from the contract."""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import dataset
from harness import process_cpu

PROJECT = pathlib.Path(__file__).parent.parent
PROTO = PROJECT / "proto"
READERS = PROJECT / "benches/readers"
NODE_MODULES = PROJECT / "target/tools/node/node_modules"
# As Debian packages them.
GO_PACKAGES = "golang-go golang-google-grpc-dev golang-google-protobuf-dev protoc-gen-go-1-5 protoc-gen-go-grpc protobuf-compiler"
GO_SOURCES = "/usr/share/gocode"
GO_GRPC = f"{GO_SOURCES}/src/google.golang.org/grpc"
GO_PACKAGE = "secureconnect/reports/v1"


def python(server):
    """The stub of the reports, and the modules of its messages and of their types."""
    import grpc
    import grpc_tools.protoc

    folder = pathlib.Path(tempfile.gettempdir()) / f"scr-bench-stubs-{os.getpid()}"
    if not folder.exists():
        folder.mkdir()
        include = pathlib.Path(grpc_tools.__file__).parent / "_proto"
        files = [str(path) for path in PROTO.rglob("*.proto")]
        options = [f"-I{PROTO}", f"-I{include}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
        if grpc_tools.protoc.main(["protoc", *options, *files]) != 0:
            raise SystemExit("the contract does not compile")
        sys.path.insert(0, str(folder))
    from secureconnect.reports.v1 import reports_service_pb2 as pb
    from secureconnect.reports.v1 import reports_service_pb2_grpc as service
    from secureconnect.reports.v1 import types_pb2 as types

    options = [("grpc.max_receive_message_length", 64 << 20)]
    return service.ReportsServiceStub(grpc.insecure_channel(server.address, options)), pb, types


def measure(bench, rows, server):
    """What a program takes that reads all messages and looks at each quantity."""
    readers = {"Python": python_reader(server), "Node": process_reader(server, ["node", str(READERS / "read.js")])}
    if all(map(shutil.which, ("go", "protoc", "protoc-gen-go", "protoc-gen-go-grpc"))) and os.path.isdir(GO_GRPC):
        readers["Go"] = process_reader(server, [str(go_program(bench.folder))])
    bench.say(f"\nThe report by generated stubs, {bench.runs} runs in turns:")
    bench.table("what", "median", "rows/s", "CPU of the server")
    taken = {(name, way): [] for name in readers for way in ("records", "packed")}
    for _ in range(bench.runs):
        for name, way in taken:
            before = process_cpu(server.pid)
            seconds, digits = readers[name](way)
            taken[name, way].append((seconds, process_cpu(server.pid) - before, digits))
    if len({digits for runs in taken.values() for _, _, digits in runs}) != 1:
        raise SystemExit("not all ways have the same quantities")
    for (name, way), runs in taken.items():
        seconds, cpu = (statistics.median(run[n] for run in runs) for n in (0, 1))
        field = "`packed_records`" if way == "packed" else "`records`"
        bench.row(f"{name}, {field}", f"{seconds:.2f} s", f"{rows / seconds:,.0f}", f"{cpu:.2f} s")
    if "Go" not in readers:
        bench.say(f"\nGo was not measured: it needs {GO_PACKAGES}.")


def python_reader(server):
    stub, pb, types = python(server)

    def read(way):
        request = pb.GetDetailedUsageRequest(
            tenant_id=dataset.LARGE_TENANT, month=types.YearMonth(year=2022, month=3), packed=way == "packed"
        )
        start, digits = time.perf_counter(), 0
        for message in stub.GetDetailedUsage(request):
            digits += sum(len(record.quantity) for record in message.records)
            digits += sum(len(quantity) for quantity in message.packed_records.quantities)
        return time.perf_counter() - start, digits

    return read


def process_reader(server, command):
    def read(way):
        arguments = [server.address, dataset.LARGE_TENANT, "2022", "3", way]
        environment = {**os.environ, "NODE_PATH": str(NODE_MODULES)}
        answer = subprocess.run([*command, *arguments], env=environment, stdout=subprocess.PIPE, check=True).stdout
        found = json.loads(answer)
        return found["seconds"], found["digits"]

    return read


def go_program(folder):
    program, path = folder / "read-go", folder / "go"
    if not program.exists():
        sources = path / "src"
        sources.mkdir(parents=True)
        files = [str(file.relative_to(PROTO)) for file in PROTO.rglob("*.proto")]
        packages = [option for file in files for option in (f"--go_opt=M{file}={GO_PACKAGE}", f"--go-grpc_opt=M{file}={GO_PACKAGE}")]
        subprocess.run(["protoc", f"-I{PROTO}", f"--go_out={sources}", f"--go-grpc_out={sources}", *packages, *files], check=True)
        environment = {
            **os.environ, "GO111MODULE": "off", "GOPATH": f"{path}:{GO_SOURCES}", "GOCACHE": str(folder / "go-cache"), "GOFLAGS": "",
        }
        subprocess.run(["go", "build", "-o", str(program), str(READERS / "read.go")], env=environment, check=True)
    return program
