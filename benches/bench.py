"""The benchmark: our reports against other ways to the same file. `make bench` runs it; docs/benchmarks.md is its output.

Usage: bench.py PROGRAM OUTPUT [--rows N,N,...] [--runs N]
"""

import argparse
import hashlib
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import columns
import daily
import dataset
import ordinary
import stubs
import ways
from harness import Peak, Postgres, Server, median, peak_mib, percentile, process_cpu, run

WARM_UP = 20
# Beyond, other ways take an hour, and what they are slower by does not change: only ours is measured, twice.
COMPARED_ROWS = 10_000_000
OURS = "`usage -o FILE`"
PSQL = "`psql \\copy` of a flat table"
PSQL_ISO = "the same, with ISO times"


class Bench:
    def __init__(self, program, runs, folder):
        self.program, self.runs, self.folder = program, runs, folder
        self.postgres = Postgres()
        self.lines = []
        self.growth = {}

    def say(self, line=""):
        print(line, flush=True)
        self.lines.append(line)

    def table(self, *columns):
        self.say()
        self.say("| " + " | ".join(columns) + " |")
        self.say("| " + " | ".join("---" if n == 0 else "---:" for n in range(len(columns))) + " |")

    def row(self, *cells):
        self.say("| " + " | ".join(cells) + " |")

    def own(self, database, *command):
        return run([self.program, *command], env={"DATABASE_URL": self.postgres.url(database)})

    def grows(self, name, value):
        """Keeps a figure of the size that is being measured."""
        self.growth.setdefault(name, []).append(value)

    def say_growth(self, sizes):
        self.say("\n## With more rows")
        self.table("what", *[f"{size:,} rows" for size in sizes])
        for name, values in self.growth.items():
            self.row(name, *values)

    # === data ===

    def prepare(self):
        """A database with the catalog, to copy for each size."""
        dataset.write_catalog(self.folder / "catalog.json")
        dataset.write_small_tenants(self.folder / "small.csv")
        self.postgres.query("postgres", "CREATE DATABASE base")
        self.own("base", "migrate")
        self.own("base", "catalog", "apply", str(self.folder / "catalog.json"))
        self.own("base", "import", str(self.folder / "small.csv"))
        dataset.write_ordinary_tenants(self.folder / "ordinary.csv")
        self.own("base", "import", str(self.folder / "ordinary.csv"))
        for command in (ways.FLAT, "VACUUM ANALYZE"):
            self.postgres.query("base", command)

    def database(self, name):
        self.postgres.query("postgres", f"CREATE DATABASE {name} TEMPLATE base")
        return name

    def copy_in(self, database, file):
        return run(self.postgres.psql(database, f"\\copy flat({ways.COLUMNS}) FROM '{file}' CSV HEADER"))

    # === one size ===

    def size(self, rows):
        file = self.folder / "large.csv"
        rows = dataset.write_large_month(file, rows)
        self.say(f"\n## {rows:,} rows, {file.stat().st_size / 1e6:.0f} MB of CSV")
        self.compares = rows <= COMPARED_ROWS
        self.imports(rows, file)
        server = Server(self.program, self.postgres.url("imported"))
        try:
            self.reports(rows, file, server)
            if self.compares:
                self.tables(rows, server)
                self.parquet(rows, server)
                stubs.measure(self, rows, server)
            self.first_row(server)
            self.concurrent(rows, server)
            self.short_calls(server)
        finally:
            server.stop()
        starts = []
        for _ in range(self.runs):
            server = Server(self.program, self.postgres.url("imported"))
            starts.append(server.serving_after)
            server.stop()
        self.say(f"\nFrom the start of `serve` to SERVING: {statistics.median(starts) * 1000:.0f} ms.")
        self.postgres.query("postgres", "DROP DATABASE imported")

    def imports(self, rows, file):
        ours, theirs = [], []
        for n in range(max(2, self.runs // 2) if self.compares else 1):
            if n > 0:
                self.postgres.query("postgres", "DROP DATABASE imported")
            self.database("imported")
            ours.append(self.own("imported", "import", str(file)))
            if self.compares:
                theirs.append(self.copy_in("imported", file))
        for table in ("usage_block", "usage_load", "usage_month", "asset", "flat"):
            self.postgres.query("imported", f"VACUUM ANALYZE {table}")
        self.grows("import", f"{median(ours):.2f} s")
        self.say("\nImport, with all its checks, and psql into a flat table with a key:")
        self.table("what", "median", "rows/s", "against psql", "CPU of the process", "peak")
        for name, runs in (("`import FILE`", ours), ("`psql \\copy flat FROM`", theirs)):
            if not runs:
                continue
            seconds = median(runs)
            self.row(
                name, f"{seconds:.2f} s", f"{rows / seconds:,.0f}", ratio(theirs, seconds),
                f"{median(runs, 'cpu'):.2f} s", f"{median(runs, 'peak_mib'):.0f} MiB",
            )

    def reports(self, rows, file, server):
        out = self.folder / "out.csv"
        usage = [
            self.program, "usage", "--server", f"http://{server.address}", "--tenant", "large", "--month", dataset.MONTH,
            "--force", "-o", str(out),
        ]

        commands = {OURS: usage}
        if self.compares:
            commands[PSQL] = ways.psql(self.postgres, "imported", out, ways.COLUMNS)
            commands[PSQL_ISO] = ways.psql(self.postgres, "imported", out, ways.ISO_COLUMNS)
        # They take long, and what they are slower by does not change.
        if rows <= 3_000_000:
            commands |= ways.others(self.postgres.url("imported"), out)
        taken = {name: [] for name in commands}
        cpu = {name: [] for name in commands}
        contents = {}
        count = self.runs if self.compares else 2
        for n in range(count):
            for name, command in commands.items():
                before = self.postgres.cpu(), process_cpu(server.pid)
                taken[name].append(run(command))
                cpu[name].append((self.postgres.cpu() - before[0], process_cpu(server.pid) - before[1]))
                if n == 0 and name in (OURS, PSQL_ISO):
                    contents[name] = content(out)
        wanted = content(file)
        if any(found != wanted for found in contents.values()):
            raise SystemExit("the files do not hold the same rows")
        base = taken.get(PSQL, [])
        seconds = median(taken[OURS])
        self.grows("report to CSV on disk", f"{seconds:.2f} s")
        self.grows("rows/s", f"{rows / seconds:,.0f}")
        self.grows("against psql", ratio(base, seconds))
        self.grows("client's peak", f"{median(taken[OURS], 'peak_mib'):.0f} MiB")
        self.say(f"\nReport to CSV on disk, {count} runs in turns; `usage` and ISO times hold the same rows, compared. `usage` ends")
        self.say("when the disk has the file, and the others when the system has it:")
        self.table("what", "median", "fastest", "rows/s", "against psql", "CPU: client", "server", "PostgreSQL", "peak")
        for name, runs in taken.items():
            seconds = median(runs)
            self.row(
                name, f"{seconds:.2f} s", f"{min(run.seconds for run in runs):.2f} s", f"{rows / seconds:,.0f}",
                ratio(base, seconds), f"{median(runs, 'cpu'):.2f} s",
                f"{statistics.median(server for _, server in cpu[name]):.2f} s",
                f"{statistics.median(backend for backend, _ in cpu[name]):.2f} s", f"{median(runs, 'peak_mib'):.0f} MiB",
            )
        out.unlink()

    def tables(self, rows, server):
        arguments = [server.address, dataset.LARGE_TENANT, dataset.MONTH, self.postgres.url("imported"), ""]
        taken = {way[0]: [] for way in columns.TABLES}
        cpu = {way[0]: [] for way in columns.TABLES}
        for _ in range(self.runs):
            for way in columns.TABLES:
                before = process_cpu(server.pid)
                seconds, read = columns.timed(way, *arguments)
                if read != rows:
                    raise SystemExit(f"{way[0]} has {read} rows")
                taken[way[0]].append(seconds)
                cpu[way[0]].append(process_cpu(server.pid) - before)
        medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
        peers = min(seconds for name, seconds in medians.items() if not name.startswith("Flight"))
        self.grows("month to Arrow table, against the fastest peer", f"{peers / medians[columns.TABLES[0][0]]:.2f}×")
        self.say(f"\nThe month as an Arrow table in Python, {self.runs} runs in turns:")
        self.table("what", "median", "fastest", "rows/s", "against the fastest peer", "CPU of the server")
        for name, seconds in medians.items():
            self.row(
                name, f"{seconds:.2f} s", f"{min(taken[name]):.2f} s", f"{rows / seconds:,.0f}", f"{peers / seconds:.2f}×",
                f"{statistics.median(cpu[name]):.2f} s",
            )

    def parquet(self, rows, server):
        out = self.folder / "out.parquet"
        usage = [
            self.program, "usage", "--server", f"http://{server.address}", "--tenant", "large", "--month", dataset.MONTH,
            "--force", "-o", str(out),
        ]
        url = self.postgres.url("imported")
        theirs = [sys.executable, "-c", columns.script(columns.DUCKDB), server.address, "", "", url, str(out)]
        taken = {"`usage -o FILE.parquet`": [], columns.DUCKDB[0]: []}
        sizes = {}
        for _ in range(self.runs):
            for name, command in zip(taken, (usage, theirs)):
                taken[name].append(run(command))
                sizes[name] = out.stat().st_size
        self.say(f"\nParquet on disk, {self.runs} runs in turns; both with zstd:")
        self.table("what", "median", "rows/s", "against DuckDB", "CPU of the process", "peak", "file")
        for name, runs in taken.items():
            seconds = median(runs)
            self.row(
                name, f"{seconds:.2f} s", f"{rows / seconds:,.0f}", ratio(taken[columns.DUCKDB[0]], seconds),
                f"{median(runs, 'cpu'):.2f} s", f"{median(runs, 'peak_mib'):.0f} MiB", f"{sizes[name] / 1e6:.1f} MB",
            )
        out.unlink()

    def first_row(self, server):
        stub, pb, types = stubs.python(server)
        request = pb.GetDetailedUsageRequest(tenant_id=dataset.LARGE_TENANT, month=types.YearMonth(year=2022, month=3))
        times = []
        for _ in range(50):
            start = time.perf_counter()
            stream = stub.GetDetailedUsage(request)
            next(iter(stream))
            times.append(time.perf_counter() - start)
            stream.cancel()
        self.say(f"\nFirst rows of the report, by a Python client: {latency(times)}.")
        self.grows("first rows, p50", f"{percentile(times, 50) * 1000:.1f} ms")

    def concurrent(self, rows, server):
        self.say("\nDownloads at once, to nowhere:")
        self.table("downloads", "time", "rows/s in all", "server's peak", "largest client's peak")
        usage = [
            self.program, "usage", "--server", f"http://{server.address}", "--tenant", "large", "--month", dataset.MONTH,
            "-o", "/dev/null",
        ]
        for count in (1, 4, 16):
            start = time.perf_counter()
            processes = [subprocess.Popen(usage, stderr=subprocess.DEVNULL) for _ in range(count)]
            peaks = [Peak(process.pid) for process in processes]
            ends = [process.wait() for process in processes]
            seconds = time.perf_counter() - start
            if any(ends):
                raise SystemExit("a download failed")
            largest = max(peak.mib for peak in peaks)
            if count == 16:
                self.grows("server's peak, 16 downloads", f"{peak_mib(server.pid):.0f} MiB")
            self.row(str(count), f"{seconds:.2f} s", f"{rows * count / seconds:,.0f}", f"{peak_mib(server.pid):.0f} MiB",
                     f"{largest:.0f} MiB")

    def short_calls(self, server):
        stub, pb, types = stubs.python(server)
        searches = [f"site-{n:03}" for n in range(300)]
        month = types.YearMonth(year=2022, month=2)
        costs = pb.GetMonthlyCostsRequest(organization_id=dataset.ORGANIZATION, start_month=month)
        calls = {
            f"`ListTenants`, a search among {dataset.IDLE_TENANTS + dataset.SMALL_TENANTS + 1:,} tenants": [
                (stub.ListTenants, pb.ListTenantsRequest(search=text)) for text in searches
            ],
            "`ListTenants`, the first 100 of all": [(stub.ListTenants, pb.ListTenantsRequest())] * 100,
            f"`GetMonthlyCosts` of {dataset.SMALL_TENANTS:,} tenants, a page": [(stub.GetMonthlyCosts, costs)] * 50,
        }
        self.say(f"\nShort calls, by a Python client, after {WARM_UP} to warm up:")
        self.table("call", "p50", "p99")
        for name, requests in calls.items():
            for call, request in requests[:WARM_UP]:
                call(request)
            times = []
            for call, request in requests:
                start = time.perf_counter()
                call(request)
                times.append(time.perf_counter() - start)
            self.row(name, f"{percentile(times, 50) * 1000:.1f} ms", f"{percentile(times, 99) * 1000:.1f} ms")
            self.grows(f"{name}, p99", f"{percentile(times, 99) * 1000:.1f} ms")


def latency(seconds):
    return f"p50 {percentile(seconds, 50) * 1000:.1f} ms, p99 {percentile(seconds, 99) * 1000:.1f} ms"


def ratio(runs, seconds):
    """By how much a way is quicker than these runs."""
    return f"{median(runs) / seconds:.2f}×" if runs else "-"


def content(file):
    """A file's lines, whatever their order: the sum of their digests."""
    total = 0
    with open(file, "rb") as lines:
        for line in lines:
            total += int.from_bytes(hashlib.blake2b(line, digest_size=16).digest())
    return total


def machine(postgres, program):
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    version = postgres.query("postgres", "SHOW server_version")
    return (
        f"{os.cpu_count()} cores ({cpu}), {memory:.0f} GiB, Linux {platform.release()}, PostgreSQL {version}; the program "
        f"has {os.path.getsize(program) / 2**20:.1f} MiB."
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--rows", default="2700000")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="scr-bench-files-"))
    bench = Bench(arguments.program, arguments.runs, folder)
    try:
        bench.say("# Benchmarks")
        bench.say()
        bench.say("`make bench` measures what stands here, and writes this page. What it compares, and on what data: see")
        bench.say("`benches/`. Nothing else should run meanwhile.")
        bench.say()
        bench.say(machine(bench.postgres, arguments.program))
        bench.prepare()
        ordinary.measure(bench)
        daily.measure(bench)
        sizes = [int(rows) for rows in arguments.rows.split(",")]
        for rows in sizes:
            bench.size(rows)
        if len(sizes) > 1:
            bench.say_growth(sizes)
    finally:
        bench.postgres.stop()
        shutil.rmtree(folder)
    arguments.output.write_text("\n".join(bench.lines) + "\n")


if __name__ == "__main__":
    main()
