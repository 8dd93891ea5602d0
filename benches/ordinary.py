"""Tenants of the usual size: small ones."""

import statistics
import subprocess
import time

import dataset
from harness import Server, percentile, process_cpu

WARM_UP = 20


def measure(bench, stubs):
    """Most tenants are small, and all are asked for."""
    count = dataset.ORDINARY_TENANTS
    bench.say(f"\n## {count} tenants with a month of 28 loads of {dataset.ORDINARY_RECORDS} records")
    limits = [f"--max-{calls}{per}={10_000}" for calls in ("downloads", "short-calls") for per in ("", "-per-caller")]
    limits += [f"--max-unread-bytes{per}={1 << 30}" for per in ("", "-per-caller")]
    server = Server(bench.program, bench.postgres.url("base"), *limits)
    try:
        latency(bench, stubs, server)
        rate(bench, server)
    finally:
        server.stop()


def latency(bench, stubs, server):
    stub, pb, types = stubs(server)
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
