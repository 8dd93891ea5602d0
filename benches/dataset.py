"""The data set of the benchmark: always the same, stated in docs/benchmarks.md.

One tenant has a large month (ROWS rows), among a thousand small tenants of one organization and a hundred thousand
tenants without usage.
"""

import datetime
import json
import random
import uuid

ORGANIZATION = str(uuid.UUID(int=0xA << 120))
LARGE_TENANT = str(uuid.UUID(int=0xB << 120))
MONTH = "2022-03"
DAYS = 31
RECORDS_PER_ASSET_DAY = 3
SMALL_TENANTS = 1_000
# With some assets, as most tenants have.
ORDINARY_ORGANIZATION = str(uuid.UUID(int=0xF << 120))
ORDINARY_TENANTS = 50
ORDINARY_RECORDS = 36
# Of whom every day's delivery has some records.
DAILY_TENANTS = 5_000
DAILY_RECORDS = 20
DAILY_ORGANIZATION = str(uuid.UUID(int=0x9 << 120))
DAILY_ORGANIZATION_TENANTS = 1_000
OTHER_DAILY_ORGANIZATION = str(uuid.UUID(int=(0x9 << 120) + 1))
IDLE_ORGANIZATIONS = 1_000
IDLE_TENANTS = 100_000
METERS = {
    "user_hours_essentials": ("4b400c00-9e3b-59ed-b541-4ee514da78c7", "hour"),
    "endpoint_hours_essentials": ("de372c67-00c8-5323-a300-46176d0f6a86", "hour"),
    "bandwidth_gib_essentials": ("4ad39f2e-83e6-4885-8034-1bf90dfed84a", "GiB"),
}
HEADER = (
    "organizationId,tenantId,assetName,assetId,assetType,meterName,meterId,start,end,quantity,"
    "billingRegion,platform,trial,trialExpiry"
)


def small_tenant(n):
    return str(uuid.UUID(int=(0xC << 120) + n))


def ordinary_tenant(n):
    return str(uuid.UUID(int=(0xF << 120) + 1 + n))


def daily_tenant(n):
    return str(uuid.UUID(int=(0x8 << 120) + n))


def daily_organization(n):
    return DAILY_ORGANIZATION if n < DAILY_ORGANIZATION_TENANTS else OTHER_DAILY_ORGANIZATION


def write_catalog(path):
    organizations = [{"id": ORGANIZATION, "name": "Large Organization", "currency": "USD"}]
    tenants = [tenant(LARGE_TENANT, ORGANIZATION, "large")]
    tenants += [tenant(small_tenant(n), ORGANIZATION, f"small-{n:04}") for n in range(SMALL_TENANTS)]
    organizations.append({"id": ORDINARY_ORGANIZATION, "name": "Ordinary Organization", "currency": "USD"})
    tenants += [tenant(ordinary_tenant(n), ORDINARY_ORGANIZATION, f"ordinary-{n:02}") for n in range(ORDINARY_TENANTS)]
    organizations.append({"id": DAILY_ORGANIZATION, "name": "Daily Organization", "currency": "USD"})
    organizations.append({"id": OTHER_DAILY_ORGANIZATION, "name": "Other Daily Organization", "currency": "USD"})
    tenants += [tenant(daily_tenant(n), daily_organization(n), f"daily-{n:04}") for n in range(DAILY_TENANTS)]
    numbers = random.Random(7)
    for n in range(IDLE_ORGANIZATIONS):
        organization = str(uuid.UUID(int=(0xD << 120) + n))
        organizations.append({"id": organization, "name": f"Organization {numbers.randrange(10**6):06}", "currency": "EUR"})
    for n in range(IDLE_TENANTS):
        organization = organizations[4 + n % IDLE_ORGANIZATIONS]["id"]
        tenants.append(tenant(str(uuid.UUID(int=(0xE << 120) + n)), organization, f"site-{numbers.randrange(10**9):09}"))
    meters = [{"id": id, "name": name, "unit": unit} for name, (id, unit) in METERS.items()]
    tiers = [{"up_to": "50", "unit_price": "0"}, {"up_to": "1000", "unit_price": "0.085"}, {"unit_price": "0.06"}]
    prices = [{"meter": name, "currency": "USD", "effective_from": "2022-01", "tiers": tiers} for name in METERS]
    catalog = {"organizations": organizations, "tenants": tenants, "meters": meters, "prices": prices}
    path.write_text(json.dumps(catalog))


def tenant(id, organization, name):
    return {"id": id, "organization_id": organization, "name": name, "plan": "essentials", "status": "NORMAL"}


def write_large_month(path, rows, organization=ORGANIZATION, tenant=LARGE_TENANT):
    """Some 260 bytes a row; assets in report order, quantities with four or six decimals."""
    assets = -(-rows // (DAYS * RECORDS_PER_ASSET_DAY))
    numbers = random.Random(2022)
    parts = []
    for n in range(assets):
        kind, id, name = [
            ("USER", f"user{n:06}@contoso.example", f'"User {n}, Global"'),
            ("ENDPOINT", f"ep-{n:06}", f"Endpoint {n}"),
            ("GATEWAY", f"gw-{n:06}", f'"Gateway ""{n}"""'),
        ][n % 3]
        hours = "user_hours_essentials" if kind == "USER" else "endpoint_hours_essentials"
        region = numbers.choice(["AF", "AP", "EU", "NA"])
        front = f"{organization},{tenant},{name},{id},{kind}"
        parts.append((front, f"{hours},{METERS[hours][0]}", region))
    gib = f"bandwidth_gib_essentials,{METERS['bandwidth_gib_essentials'][0]}"
    written = 0
    with path.open("w", buffering=1 << 20) as file:
        file.write(HEADER + "\n")
        for day in range(1, DAYS + 1):
            date = datetime.date(2022, 3, day)
            next_date = date + datetime.timedelta(days=1)
            whole, am, pm = (
                f"{date}T00:00:00Z,{next_date}T00:00:00Z",
                f"{date}T00:00:00Z,{date}T12:00:00Z",
                f"{date}T12:00:00Z,{next_date}T00:00:00Z",
            )
            for front, hours, region in parts:
                if written + RECORDS_PER_ASSET_DAY > rows:
                    break
                a, b, c = (numbers.randrange(limit) for limit in (240_000, 2_000_000, 2_000_000))
                file.write(
                    f"{front},{hours},{whole},{a // 10_000}.{a % 10_000:04},{region},,FALSE,\n"
                    f"{front},{gib},{am},{b // 1_000_000}.{b % 1_000_000:06},{region},mcp,FALSE,\n"
                    f"{front},{gib},{pm},{c // 1_000_000}.{c % 1_000_000:06},{region},azure,FALSE,\n"
                )
                written += RECORDS_PER_ASSET_DAY
    return written


def write_small_tenants(path):
    """Two meters a day for each of the small tenants, in two months: 60,000 loads and more."""
    with path.open("w") as file:
        file.write(HEADER + "\n")
        for month, days in ((2, 28), (3, 31)):
            for day in range(1, days + 1):
                start = datetime.date(2022, month, day)
                end = start + datetime.timedelta(days=1)
                for n in range(SMALL_TENANTS):
                    front = f"{ORGANIZATION},{small_tenant(n)},Joe,joe,USER"
                    times = f"{start}T00:00:00Z,{end}T00:00:00Z"
                    for name in ("user_hours_essentials", "bandwidth_gib_essentials"):
                        file.write(f"{front},{name},{METERS[name][0]},{times},{n % 24}.5,EU,,FALSE,\n")


def write_ordinary_tenants(path):
    """A month of 28 loads, each of 12 assets with three records."""
    numbers = random.Random(36)
    names = ["user_hours_essentials", "endpoint_hours_essentials", "bandwidth_gib_essentials"]
    with path.open("w") as file:
        file.write(HEADER + "\n")
        for day in range(1, 29):
            start = datetime.date(2022, 2, day)
            times = f"{start}T00:00:00Z,{start + datetime.timedelta(days=1)}T00:00:00Z"
            for n in range(ORDINARY_TENANTS):
                for record in range(ORDINARY_RECORDS):
                    asset, name = divmod(record, 3)
                    front = f"{ORDINARY_ORGANIZATION},{ordinary_tenant(n)},User {asset},user{asset:02}@example.com,USER"
                    quantity = f"{numbers.randrange(24)}.{numbers.randrange(10**4):04}"
                    file.write(f"{front},{names[name]},{METERS[names[name]][0]},{times},{quantity},EU,,FALSE,\n")


def write_daily(path, day):
    """A day of all daily tenants: ten assets with two meters each."""
    numbers = random.Random(day)
    start = datetime.date(2022, 1, day)
    times = f"{start}T00:00:00Z,{start + datetime.timedelta(days=1)}T00:00:00Z"
    with path.open("w") as file:
        file.write(HEADER + "\n")
        for n in range(DAILY_TENANTS):
            for record in range(DAILY_RECORDS):
                asset, second = divmod(record, 2)
                name = "bandwidth_gib_essentials" if second else "user_hours_essentials"
                front = f"{daily_organization(n)},{daily_tenant(n)},User {asset},user{asset:02}@example.com,USER"
                quantity = f"{numbers.randrange(24)}.{numbers.randrange(10**4):04}"
                file.write(f"{front},{name},{METERS[name][0]},{times},{quantity},EU,,FALSE,\n")
