"""Reads a tenant's month by Arrow Flight, as data tools do, and says what each of them finds."""

import decimal
import json
import os
import sys

import duckdb
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.flight as flight

uri, tenant, month, csv_file = sys.argv[1:]
authorities = os.environ.get("SCR_CA_FILE")
options = {"tls_root_certs": open(authorities, "rb").read()} if authorities else {}
headers = [(b"authorization", b"Bearer " + os.environ["SCR_TOKEN"].encode())] if "SCR_TOKEN" in os.environ else []
call = flight.FlightCallOptions(headers=headers, timeout=60)

client = flight.FlightClient(uri, **options)
info = client.get_flight_info(flight.FlightDescriptor.for_path("detailed_usage", tenant, month), call)
schema = client.get_schema(flight.FlightDescriptor.for_path("detailed_usage", tenant, month), call).schema
assert schema.equals(info.schema, check_metadata=True)


def read(endpoint):
    """The table of a slice, which must add up to what its last batch says."""
    batches, summary = [], None
    for chunk in client.do_get(endpoint.ticket, call):
        batches.append(chunk.data)
        summary = chunk.app_metadata or summary
    summary = json.loads(summary.to_pybytes())
    table = pa.Table.from_batches(batches)
    assert table.schema.equals(info.schema, check_metadata=False), table.schema
    assert table.num_rows == int(summary["recordCount"]) == int(table.schema.metadata[b"recordCount"])
    assert table.schema.metadata[b"revision"] == info.schema.metadata[b"revision"]
    return table


table = usage = pa.concat_tables(read(endpoint) for endpoint in info.endpoints)
assert table.num_rows == info.total_records
table.validate(full=True)

# Value by value, with the CSV of the command line.
columns = {name: pa.string() for name in table.column_names}
options = pyarrow.csv.ConvertOptions(column_types=columns, strings_can_be_null=False)
text = pyarrow.csv.read_csv(csv_file, convert_options=options, parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True))
assert table.column_names == text.column_names
for name in table.column_names:
    column, expected = table[name], text[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    if pa.types.is_timestamp(column.type):
        expected = pc.if_else(pc.equal(expected, ""), None, expected).cast(column.type)
    elif pa.types.is_decimal(column.type):
        expected = expected.cast(column.type)
    elif pa.types.is_boolean(column.type):
        expected = pc.equal(expected, "TRUE")
    elif column.null_count:
        column = column.fill_null("")
    assert column.equals(expected), name

narrow = table.schema.field("quantity").type.bit_width == 128
found = {"pyarrow": str(pc.sum(table["quantity"]).as_py())}
if narrow:
    # More than 38 digits are for pyarrow alone.
    found["polars"] = str(polars.from_arrow(table)["quantity"].sum())
    found["duckdb"] = str(duckdb.sql("SELECT sum(quantity) FROM usage").fetchone()[0])
    by_type = duckdb.sql("SELECT assetType, count(*) FROM usage GROUP BY 1 ORDER BY 1").fetchall()
    expected = duckdb.sql("SELECT assetType, count(*) FROM text GROUP BY 1 ORDER BY 1").fetchall()
    assert by_type == expected, by_type

costs = flight.FlightDescriptor.for_path("monthly_costs", text["organizationId"][0].as_py(), month)
bill = client.get_flight_info(costs, call)
chunks = [client.do_get(endpoint.ticket, call).read_all() for endpoint in bill.endpoints]
lines = pa.concat_tables(chunks).filter(pc.field("tenantId") == tenant)
decimal.getcontext().prec = 100
found["billed"] = str(sum(lines["quantity"].to_pylist() + lines["trialQuantity"].to_pylist()))
found["flights"] = [[part.decode() for part in listed.descriptor.path] for listed in client.list_flights(b"", call)]
json.dump(found, sys.stdout)
