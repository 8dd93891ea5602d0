"""Records on the workers of Citus, against one server: `make bench-citus` runs it, and docs/benchmarks-citus.md is its output.

All nodes run on this machine, so that it shows what the way costs, and not what more machines bring.

Usage: spread.py PROGRAM OUTPUT [--rows N] [--runs N]
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

import dataset
from bench import machine
from harness import Postgres, Server, process_cpu

DATABASE = "reports"
AT_ONCE = 20
# With as many tenants as there are for it.
MANY_RUNS = 2
SMALL_IMPORTS = 20
SETTINGS = {"shared_preload_libraries": "citus", "wal_level": "logical", "max_prepared_transactions": "200"}


class Way:
    """One server, or a coordinator with workers."""

    def __init__(self, program, name, workers):
        self.program, self.name = program, name
        settings = SETTINGS if workers else {}
        self.first, self.workers = Postgres(settings), [Postgres(settings) for _ in range(workers)]
        for node in self.nodes():
            node.query("postgres", f"CREATE DATABASE {DATABASE}")
            if workers:
                node.query("postgres", f"ALTER SYSTEM SET citus.local_hostname = '{node.home}'")
                node.query("postgres", "SELECT pg_reload_conf()")
                node.query(DATABASE, "CREATE EXTENSION citus")
        if workers:
            self.first.query(DATABASE, f"SELECT citus_set_coordinator_host('{self.first.home}', 5432)")
        for worker in self.workers:
            self.first.query(DATABASE, f"SELECT citus_add_node('{worker.home}', 5432)")
        self.run("migrate")
        if workers:
            self.run("migrate", "--distribute")

    def nodes(self):
        return [self.first, *self.workers]

    def env(self):
        return {**os.environ, "DATABASE_URL": self.first.url(DATABASE), "TMPDIR": tempfile.gettempdir()}

    def start(self, *command):
        return subprocess.Popen([self.program, *command], env=self.env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run(self, *command):
        subprocess.run([self.program, *command], env=self.env(), check=True, capture_output=True)

    def records_url(self):
        hosts = ",".join(str(worker.home) for worker in self.workers)
        return f"host={hosts} user=postgres dbname={DATABASE}"

    def cpu(self):
        """Of the first node, and of the others."""
        return self.first.cpu(), sum(worker.cpu() for worker in self.workers)

    def stop(self):
        for node in self.nodes():
            node.stop()


class Bench:
    def __init__(self, folder):
        self.folder, self.lines = folder, []
        self.runs = {}

    def say(self, line=""):
        print(line, flush=True)
        self.lines.append(line)

    def measure(self, what, way, name, start, server=None):
        """Starts processes at once, waits for them, and keeps what that took of the time and of the databases' CPU."""
        os.sync()
        before, own, begun = way.cpu(), process_cpu(server.pid) if server else 0, time.perf_counter()
        if any([process.wait() for process in start()]):
            raise SystemExit(f"{what}, {name}: it failed")
        seconds = time.perf_counter() - begun
        first, workers = (after - earlier for after, earlier in zip(way.cpu(), before))
        own = process_cpu(server.pid) - own if server else 0
        self.runs.setdefault(what, {}).setdefault(name, []).append((seconds, first, workers, own))

    def table(self, names, has_server):
        columns = ["what", "way", "runs", "median", "against one server", "CPU of the first node", "of the workers"]
        columns += ["of `serve`"] if has_server else []
        self.say("\n| " + " | ".join(columns) + " |")
        self.say("| --- | --- |" + " ---: |" * (len(columns) - 2))
        for what in names:
            ways = self.runs[what]
            base = statistics.median(run[0] for run in ways["one server"])
            for way, runs in sorted(ways.items(), key=lambda way: (way[0] != "one server", way[0])):
                seconds, first, workers, own = (statistics.median(run[n] for run in runs) for n in range(4))
                cells = [what, way, str(len(runs)), f"{seconds:.2f} s", f"{seconds / base:.2f}", f"{first:.2f} s", f"{workers:.2f} s"]
                self.say("| " + " | ".join(cells + ([f"{own:.2f} s"] if has_server else [])) + " |")


def in_turns(ways, run):
    """The first one is not always the first."""
    return ways if run % 2 == 0 else ways[::-1]


def month_file(folder, n, rows):
    file = folder / f"month-{n}.csv"
    dataset.write_large_month(file, rows, dataset.ORDINARY_ORGANIZATION, dataset.ordinary_tenant(n))
    return str(file)


def imports(bench, ways, rows, runs):
    one, many = f"import of {rows:,} records", f"{AT_ONCE} such imports at once, of as many tenants"
    first, later = (
        f"a {day} day of {dataset.DAILY_TENANTS:,} tenants, {dataset.DAILY_RECORDS} records each" for day in ("first", "second")
    )
    small = f"{SMALL_IMPORTS} imports of one record, one after the other"
    for n in range(runs):
        file = month_file(bench.folder, n, rows)
        for way in in_turns(ways, n):
            bench.measure(one, way, way.name, lambda way=way, file=file: [way.start("import", file)])
    for n in range(MANY_RUNS):
        files = [month_file(bench.folder, runs + AT_ONCE * n + file, rows) for file in range(AT_ONCE)]
        for way in in_turns(ways, n):
            bench.measure(many, way, way.name, lambda way=way, files=files: [way.start("import", file) for file in files])
    for what, day in ((first, 1), (later, 2)):
        file = bench.folder / f"day-{day}.csv"
        dataset.write_daily(file, day)
        for way in in_turns(ways, day):
            bench.measure(what, way, way.name, lambda way=way, file=file: [way.start("import", str(file))])
    file = bench.folder / "one.csv"
    for n in range(runs):
        for way in in_turns(ways, n):
            bench.measure(small, way, way.name, lambda way=way, n=n: small_imports(way, file, n))
    bench.table([one, many, first, later, small], False)


def small_imports(way, file, run):
    dataset.write_large_month(file, dataset.RECORDS_PER_ASSET_DAY, dataset.ORDINARY_ORGANIZATION, dataset.ordinary_tenant(49))
    head, row = file.read_text().splitlines()[:2]
    for n in range(SMALL_IMPORTS):
        fields = row.split(",")
        fields[-5] = f"{run}.{n + 1}"
        file.write_text(f"{head}\n{','.join(fields)}\n")
        process = way.start("import", str(file))
        if process.wait():
            return [process]
    return [process]


def downloads(bench, plain, spread, rows, runs):
    servers = {
        plain.name: (plain, Server(plain.program, plain.first.url(DATABASE))),
        f"{spread.name}, by its coordinator": (spread, Server(spread.program, spread.first.url(DATABASE))),
        f"{spread.name}, straight from its workers": (
            spread,
            Server(spread.program, spread.first.url(DATABASE), "--records-database-url", spread.records_url()),
        ),
    }
    one, many = f"download of {rows:,} records", f"{AT_ONCE} such downloads at once, of as many tenants"

    def usage(server, n, output):
        command = [plain.program, "usage", "--server", f"http://{server.address}", "--tenant", dataset.ordinary_tenant(n)]
        command += ["--month", dataset.MONTH, "-o", output]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    try:
        files = []
        for n, (_, server) in enumerate(servers.values()):
            files.append(bench.folder / f"report-{n}.csv")
            if usage(server, 0, str(files[-1])).wait():
                raise SystemExit("a report failed")
        if len({file.read_bytes() for file in files}) != 1:
            raise SystemExit("reports differ")
        for n in range(runs):
            for name, (way, server) in in_turns(list(servers.items()), n):
                bench.measure(one, way, name, lambda: [usage(server, 0, "/dev/null")], server)
        for n in range(runs):
            for name, (way, server) in in_turns(list(servers.items()), n):
                bench.measure(many, way, name, lambda: [usage(server, runs + n, "/dev/null") for n in range(AT_ONCE)], server)
    finally:
        for _, server in servers.values():
            server.stop()
    bench.table([one, many], True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="scr-bench-files-"))
    bench, open_ways = Bench(folder), contextlib.ExitStack()
    with open_ways:
        open_ways.callback(shutil.rmtree, folder)
        ways = []
        for name, workers in (("one server", 0), ("Citus", 2)):
            ways.append(Way(arguments.program, name, workers))
            open_ways.callback(ways[-1].stop)
        plain, spread = ways
        version = spread.first.query(DATABASE, "SELECT extversion FROM pg_extension WHERE extname = 'citus'")
        bench.say("# Benchmarks of records on Citus")
        bench.say()
        bench.say("`make bench-citus` measures what stands here, where Citus is installed, and writes this page.")
        bench.say("**All nodes run on one machine**: this shows what the way costs, and not what more machines bring.")
        bench.say()
        bench.say(f"{machine(plain.first, arguments.program)} Citus {version}, a coordinator and two workers.")
        dataset.write_catalog(folder / "catalog.json")
        for way in ways:
            way.run("catalog", "apply", str(folder / "catalog.json"))
        bench.say("\n## Imports\n\nAll of them by the coordinator.")
        imports(bench, ways, arguments.rows, arguments.runs)
        for way in ways:
            way.first.query(DATABASE, "VACUUM ANALYZE")
        bench.say("\n## Reports\n\nTo nowhere; those of the three ways are the same, byte for byte.")
        downloads(bench, plain, spread, arguments.rows, arguments.runs)
    arguments.output.write_text("\n".join(bench.lines) + "\n")


if __name__ == "__main__":
    main()
