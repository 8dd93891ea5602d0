"""A month as columns: scripts that read it into an Arrow table, and files of Parquet. Each says how long it took, without the time
in which Python starts and its modules load."""

import json
import subprocess
import sys

from ways import COLUMNS

TIMED = """
import json, sys, time
{modules}
address, tenant, month, url, out = sys.argv[1:]
start = time.perf_counter()
{read}
print(json.dumps([time.perf_counter() - start, {rows}]))
"""
FLIGHT = """
client = flight.connect(f"grpc://{address}")
info = client.get_flight_info(flight.FlightDescriptor.for_path("detailed_usage", tenant, month))
read = lambda endpoint: client.do_get(endpoint.ticket).read_all()
with concurrent.futures.ThreadPoolExecutor(READERS) as readers:
    table = pa.concat_tables(list(readers.map(read, info.endpoints)))
"""
ADBC = f"""
with adbc_driver_postgresql.dbapi.connect("postgresql://?" + url.replace(" ", "&")) as db, db.cursor() as cursor:
    cursor.execute('''SELECT {COLUMNS} FROM flat''')
    table = cursor.fetch_arrow_table()
"""
CONNECTORX = f"""
parts = dict(part.split("=") for part in url.split())
host = urllib.parse.quote(parts["host"], safe="")
table = connectorx.read_sql(f"postgresql://{{parts['user']}}@{{host}}/{{parts['dbname']}}",
    '''SELECT {COLUMNS.replace('quantity', 'quantity::float8 AS quantity')} FROM flat''', return_type="arrow")
"""
DUCKDB_PARQUET = """
import_extension("postgres_scanner")
with duckdb.connect() as db:
    db.execute("LOAD postgres_scanner")
    db.execute(f"ATTACH '{url}' AS pg (TYPE postgres, READ_ONLY)")
    db.execute(f"COPY (SELECT * EXCLUDE row_number FROM pg.flat) TO '{out}' (FORMAT parquet, COMPRESSION zstd)")
"""
ROWS = "table.num_rows"

# Name, modules, script, and how many rows it has.
TABLES = [
    ("Flight, one slice after the other", "import concurrent.futures, pyarrow as pa, pyarrow.flight as flight", FLIGHT.replace("READERS", "1"), ROWS),
    ("Flight, two slices at a time", "import concurrent.futures, pyarrow as pa, pyarrow.flight as flight", FLIGHT.replace("READERS", "2"), ROWS),
    ("ADBC, the flat table", "import adbc_driver_postgresql.dbapi", ADBC, ROWS),
    ("connectorx, the flat table, quantities as floating point", "import connectorx, urllib.parse", CONNECTORX, ROWS),
]
DUCKDB = ("DuckDB, `COPY ... TO` Parquet from the flat table", "import duckdb\nfrom duckdb_extensions import import_extension", DUCKDB_PARQUET, "0")


def script(way):
    _, modules, read, rows = way
    return TIMED.format(modules=modules, read=read, rows=rows)


def timed(way, *arguments):
    """How many seconds a script takes, and how many rows it has read."""
    command = [sys.executable, "-c", script(way), *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)
