"""Says what data tools find in files of reports: the sum of all quantities, and sums by meter, region and trial."""

import json
import sys

import duckdb
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

parquet, arrows, csv = sys.argv[1:]
found = {}
table = pyarrow.parquet.read_table(parquet)
found["pyarrow"] = str(pc.sum(table["quantity"]).as_py())
found["polars"] = str(polars.read_parquet(parquet)["quantity"].sum())
found["duckdb"] = str(duckdb.sql(f"SELECT sum(quantity) FROM '{parquet}'").fetchone()[0])
stream = pa.ipc.open_stream(arrows).read_all()
found["pyarrow, arrow"] = str(pc.sum(stream["quantity"]).as_py())
found["polars, arrow"] = str(polars.read_ipc_stream(arrows)["quantity"].sum())
text = f"read_csv('{csv}', all_varchar = true, header = true)"
found["csv"] = str(duckdb.sql(f"SELECT sum(quantity::decimal(38, 18)) FROM {text}").fetchone()[0])
# The dictionaries of batches differ, and so does how columns are divided; the values do not.
assert table.schema.equals(stream.schema)
assert table.to_pylist() == stream.to_pylist()
sums = f"SELECT meterName, billingRegion, trial, sum(quantity) FROM '{parquet}' GROUP BY ALL ORDER BY ALL"
found["sums"] = [[*key, str(quantity)] for *key, quantity in duckdb.sql(sums).fetchall()]
metadata = pyarrow.parquet.read_metadata(parquet)
days = []
for group in range(metadata.num_row_groups):
    starts = metadata.row_group(group).column(7)
    assert starts.path_in_schema == "start" and starts.compression == "ZSTD"
    statistics = starts.statistics
    days.append([metadata.row_group(group).num_rows, str(statistics.min)[:10], str(statistics.max)[:10]])
found["groups"] = days
found["metadata"] = {name.decode(): value.decode() for name, value in metadata.metadata.items() if name != b"ARROW:schema"}
json.dump(found, sys.stdout)
