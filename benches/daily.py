"""Every day brings all tenants: deliveries of thousands of small ones, and the reports of a thousand of them."""

import statistics

import dataset
import ways
from harness import Server, median, run

DAYS = 4
# Whose last days are measured, too: what was published before must not matter.
MONTH_DAYS = 28
MONTH = "2022-01"


def measure(bench):
    """A day's file of all daily tenants, the first one with assets that nobody knows, and then the reports of one organization."""
    count, records = dataset.DAILY_TENANTS, dataset.DAILY_RECORDS
    bench.say(f"\n## Deliveries of {count:,} tenants with {records} records each")
    files = [bench.folder / f"day-{day}.csv" for day in range(1, MONTH_DAYS + 1)]
    for day, file in enumerate(files, 1):
        dataset.write_daily(file, day)
    ours = {"first": [], "later": [], "last": []}
    theirs = {"first": [], "later": [], "last": []}

    def import_days(database, some, kind=None):
        for file in some:
            own, other = bench.own(database, "import", str(file)), bench.copy_in(database, file)
            if kind:
                ours[kind].append(own)
                theirs[kind].append(other)

    for n in range(bench.runs):
        bench.database("daily")
        import_days("daily", files[:1], "first")
        import_days("daily", files[1:DAYS], "later")
        if n + 1 < bench.runs:
            bench.postgres.query("postgres", "DROP DATABASE daily")
    bench.postgres.query("postgres", "CREATE DATABASE month TEMPLATE daily")
    try:
        import_days("month", files[DAYS : -DAYS + 1])
        for _ in range(bench.runs):
            bench.postgres.query("postgres", "CREATE DATABASE month_end TEMPLATE month")
            import_days("month_end", files[-DAYS + 1 :], "last")
            bench.postgres.query("postgres", "DROP DATABASE month_end")
    finally:
        bench.postgres.query("postgres", "DROP DATABASE month")
    bench.say(
        f"\nImport of a day, and psql into a flat table with a key, in turns; {bench.runs} first days, {bench.runs * (DAYS - 1)} of the next {DAYS - 1}, "
        f"and as many of the last {DAYS - 1} of {MONTH_DAYS}:"
    )
    bench.table("what", "median", "psql", "against psql", "CPU of the process", "peak")
    for name, kind in (("the first day, with new assets", "first"), ("a later day", "later"), (f"up to day {MONTH_DAYS}", "last")):
        seconds, other = median(ours[kind]), median(theirs[kind])
        bench.row(
            name, f"{seconds:.2f} s", f"{other:.2f} s", f"{other / seconds:.2f}×",
            f"{median(ours[kind], 'cpu'):.2f} s", f"{median(ours[kind], 'peak_mib'):.0f} MiB",
        )
    try:
        reports(bench)
    finally:
        bench.postgres.query("postgres", "DROP DATABASE daily")


def reports(bench):
    tenants = [dataset.daily_tenant(n) for n in range(dataset.DAILY_ORGANIZATION_TENANTS)]
    for table in ("usage_block", "usage_load", "usage_month", "asset", "flat"):
        bench.postgres.query("daily", f"VACUUM ANALYZE {table}")
    server = Server(bench.program, bench.postgres.url("daily"))
    ours, theirs = bench.folder / "ours", bench.folder / "theirs"
    theirs.mkdir()
    script = bench.folder / "tenants.sql"
    copies = [
        f"""\\copy (SELECT {ways.COLUMNS} FROM flat WHERE "tenantId" = '{id}') TO '{theirs}/{id}.csv' CSV HEADER""" for id in tenants
    ]
    script.write_text("\n".join(["SET TimeZone = 'UTC';", *copies]) + "\n")
    usage = [
        bench.program, "usage", "--server", f"http://{server.address}", "--organization", dataset.DAILY_ORGANIZATION, "--month", MONTH,
        "--force", "-o", f"{ours}/",
    ]
    one = [
        "sh", "-c", " && ".join(" ".join(f"'{part}'" for part in bench.postgres.psql("daily", "SET TimeZone = 'UTC'", copy.replace("'", "'\\''"))) for copy in copies[:100])
    ]
    taken = {"usage": [], "script": [], "loop": []}
    try:
        for _ in range(bench.runs):
            taken["usage"].append(run(usage))
            taken["script"].append(run(bench.postgres.psql("daily") + ["-f", str(script)]))
            taken["loop"].append(run(one))
    finally:
        server.stop()
    count = len(tenants)
    seconds = median(taken["usage"])
    bench.say(f"\nThe reports of the {count:,} tenants of an organization, {DAYS} days of {dataset.DAILY_RECORDS} records each, a file for each, in turns:")
    bench.table("way", "median", "files/s", "against it")
    bench.row("`usage --organization`", f"{seconds:.2f} s", f"{count / seconds:,.0f}", "")
    for name, kind, files in (("one `psql` with a `\\copy` for each", "script", count), ("a loop of `psql -c '\\copy'`, 100 of them", "loop", 100)):
        other = statistics.median(files / found.seconds for found in taken[kind])
        bench.row(name, f"{median(taken[kind]):.2f} s", f"{other:,.0f}", f"{count / seconds / other:.2f}×")
