"""Other ways to the same file: commands that write the flat table as CSV."""

import sys

COLUMNS = (
    '"organizationId","tenantId","assetName","assetId","assetType","meterName","meterId","start","end",quantity,'
    '"billingRegion",platform,trial,"trialExpiry"'
)
ISO = """to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS {0}"""
ISO_COLUMNS = (
    COLUMNS.replace('"start"', ISO.format('"start"'))
    .replace('"end"', ISO.format('"end"'))
    .replace("trial,", "CASE WHEN trial THEN 'TRUE' ELSE 'FALSE' END AS trial,")
    .replace('"trialExpiry"', ISO.format('"trialExpiry"'))
)
FLAT = """CREATE TABLE flat (
    "organizationId" uuid, "tenantId" uuid, "assetName" text, "assetId" text, "assetType" text, "meterName" text,
    "meterId" uuid, "start" timestamptz, "end" timestamptz, quantity numeric, "billingRegion" text, platform text,
    trial boolean, "trialExpiry" timestamptz, row_number bigserial, PRIMARY KEY ("tenantId", row_number))"""
PSYCOPG = f"""
import psycopg, sys
with psycopg.connect(sys.argv[1]) as db, open(sys.argv[2], "wb") as out:
    with db.cursor().copy('''COPY (SELECT {COLUMNS} FROM flat) TO STDOUT (FORMAT csv, HEADER)''') as copy:
        for piece in copy:
            out.write(piece)
"""
DUCKDB = """
import duckdb, sys
from duckdb_extensions import import_extension
import_extension("postgres_scanner")
with duckdb.connect() as db:
    db.execute("LOAD postgres_scanner")
    db.execute(f"ATTACH '{sys.argv[1]}' AS pg (TYPE postgres, READ_ONLY)")
    db.execute(f"COPY (SELECT * EXCLUDE row_number FROM pg.flat) TO '{sys.argv[2]}' (HEADER)")
"""


def psql(postgres, database, out, columns):
    """`psql \\copy` of the flat table."""
    return postgres.psql(database, "SET TimeZone = 'UTC'", f"\\copy (SELECT {columns} FROM flat) TO '{out}' CSV HEADER")


def others(url, out):
    """What is installed, by name."""
    found = {}
    for name, modules, script in (
        ("psycopg 3, `COPY` of the flat table", ["psycopg"], PSYCOPG),
        ("DuckDB, `COPY` of the flat table", ["duckdb", "duckdb_extensions"], DUCKDB),
    ):
        try:
            for module in modules:
                __import__(module)
        except ImportError:
            continue
        found[name] = [sys.executable, "-c", script, url, str(out)]
    return found
