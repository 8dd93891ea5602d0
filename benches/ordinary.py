"""Tenants of the usual size: small ones."""

import concurrent.futures
import datetime
import itertools
import statistics
import subprocess
import threading
import time

import dataset
import stubs
from harness import Server, percentile, process_cpu

WARM_UP = 20
IMPORTS_AT_ONCE = (1, 8)
IMPORTED_RECORDS = 10


def measure(bench):
    """Most tenants are small, and all are asked for."""
    count = dataset.ORDINARY_TENANTS
    bench.say(f"\n## {count} tenants with a month of 28 loads of {dataset.ORDINARY_RECORDS} records")
    limits = [f"--max-{calls}{per}={10_000}" for calls in ("downloads", "short-calls") for per in ("", "-per-caller")]
    limits += [f"--max-unread-bytes{per}={1 << 30}" for per in ("", "-per-caller")]
    limits += [f"--max-imports{per}={max(IMPORTS_AT_ONCE)}" for per in ("", "-per-caller")]
    server = Server(bench.program, bench.postgres.url("base"), *limits)
    try:
        latency(bench, server)
        rate(bench, server)
        imports(bench, server)
    finally:
        server.stop()


def latency(bench, server):
    stub, pb, types = stubs.python(server)
    month = types.YearMonth(year=2022, month=2)
    tenants = [dataset.ordinary_tenant(n) for n in range(dataset.ORDINARY_TENANTS)] * 4
    only = pb.UsageFilter(asset_ids=["user03@example.com"])
    costs = [
        pb.GetMonthlyCostsRequest(organization_id=dataset.ORDINARY_ORGANIZATION, tenant_id=id, start_month=month)
        for id in tenants
    ]
    reports = [pb.GetDetailedUsageRequest(tenant_id=id, month=month) for id in tenants]
    filtered = [pb.GetDetailedUsageRequest(tenant_id=id, month=month, filter=only) for id in tenants]
    bench.say(f"\nOne call after the other, by a Python client, after {WARM_UP} to warm up:")
    bench.table("call", "p50", "p99", "against costs, p50", "CPU a call: server", "PostgreSQL")
    base = None
    for name, call, requests in (
        ("`GetMonthlyCosts` of a tenant", stub.GetMonthlyCosts, costs),
        ("`GetDetailedUsage`, all of it", lambda request: list(stub.GetDetailedUsage(request)), reports),
        ("`GetDetailedUsage`, of one asset", lambda request: list(stub.GetDetailedUsage(request)), filtered),
    ):
        for request in requests[:WARM_UP]:
            call(request)
        before = process_cpu(server.pid), bench.postgres.cpu()
        times = []
        for request in requests:
            start = time.perf_counter()
            call(request)
            times.append(time.perf_counter() - start)
        cpu = [(after - before) * 1000 / len(requests) for after, before in zip((process_cpu(server.pid), bench.postgres.cpu()), before)]
        p50 = percentile(times, 50)
        base = base or p50
        bench.row(
            name, f"{p50 * 1000:.1f} ms", f"{percentile(times, 99) * 1000:.1f} ms", f"{p50 / base:.2f}×",
            f"{cpu[0]:.1f} ms", f"{cpu[1]:.1f} ms",
        )


def rate(bench, server):
    tenants = [dataset.ordinary_tenant(n) for n in range(dataset.ORDINARY_TENANTS)]
    bench.say("\nCalls a second, 50 connections with 4 calls each (`benches/calls`), median of 3:")
    bench.table("call", "calls/s")
    for name, kind, ids in (
        ("`ListTenants`, a search", "tenants", [f"ordinary-{n:02}" for n in range(dataset.ORDINARY_TENANTS)]),
        (f"`GetMonthlyCosts` of {dataset.ORDINARY_TENANTS} tenants", "costs", [dataset.ORDINARY_ORGANIZATION]),
        ("`GetDetailedUsage`", "usage", tenants),
    ):
        command = ["cargo", "bench", "--locked", "--quiet", "--bench", "calls", "--"]
        command += [f"http://{server.address}", kind, "50", "4", "4000", *ids]
        runs = [float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout) for _ in range(3)]
        bench.row(name, f"{statistics.median(runs):,.0f}")


def imports(bench, server):
    """Deliveries of a few records, each of another tenant's day."""
    import grpc

    _, _, types = stubs.python(server)
    from google.protobuf.timestamp_pb2 import Timestamp
    from secureconnect.reports.v1 import usage_import_service_pb2 as pb
    from secureconnect.reports.v1 import usage_import_service_pb2_grpc as service

    meter, (meter_id, _) = next(iter(dataset.METERS.items()))
    numbers = itertools.count()

    def request():
        day, tenant = divmod(next(numbers), dataset.ORDINARY_TENANTS)
        start = datetime.datetime(2022, 3, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(days=day)
        start, end = (Timestamp(seconds=int((start + datetime.timedelta(days=n)).timestamp())) for n in (0, 1))
        records = [
            types.UsageRecord(
                organization_id=dataset.ORDINARY_ORGANIZATION, tenant_id=dataset.ordinary_tenant(tenant), asset_id=f"user{n}",
                asset_type=types.ASSET_TYPE_USER, meter_name=meter, meter_id=meter_id, start=start, end=end, quantity=f"{n}.5",
                billing_region=types.BILLING_REGION_EU,
            )
            for n in range(IMPORTED_RECORDS)
        ]
        return pb.ImportUsageRequest(records=records)

    options = [("grpc.use_local_subchannel_pool", 1)]
    local = threading.local()

    def call(request):
        if not hasattr(local, "stub"):
            local.stub = service.UsageImportServiceStub(grpc.insecure_channel(server.address, options))
        answer = local.stub.ImportUsage(iter([request]))
        assert answer.load_count == 1 and answer.HasField("published_at")

    bench.say(f"\n`ImportUsage` of {IMPORTED_RECORDS} records, each of another tenant's day, by a Python client, after {WARM_UP} to warm up:")
    bench.table("at once", "calls/s", "CPU a call: server", "PostgreSQL")
    for at_once in IMPORTS_AT_ONCE:
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            list(pool.map(call, [request() for _ in range(WARM_UP)]))
            requests = [request() for _ in range(200 * at_once)]
            before, start = (process_cpu(server.pid), bench.postgres.cpu()), time.perf_counter()
            list(pool.map(call, requests))
            seconds = time.perf_counter() - start
            cpu = [(after - before) * 1000 / len(requests) for after, before in zip((process_cpu(server.pid), bench.postgres.cpu()), before)]
        bench.row(f"{at_once}", f"{len(requests) / seconds:,.0f}", f"{cpu[0]:.1f} ms", f"{cpu[1]:.1f} ms")
