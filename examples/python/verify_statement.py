"""Checks a statement without the provider: verify_statement.py STATEMENT.json KEYS.json DETAIL.csv...
The files come from `statement get`, `statement keys` and `usage --statement NUMBER`; docs/statements.md describes them."""
import base64, csv, functools, hashlib, json, sys
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, getcontext
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
getcontext().prec = 200  # sums are exact
# RFC 8785, for texts, small integers, true, false and null
canonical = functools.partial(json.dumps, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
def csv_line(texts):  # as `usage` writes it without options
    quoted = ['"%s"' % text.replace('"', '""') if set(text) & set(',"\r\n') else text for text in texts]
    return ",".join(quoted) + "\n"
def check(holds, what):
    holds or sys.exit(f"wrong: {what}")
def cost(line, unit):
    total = start = Decimal(0)
    for tier in line["tiers"]:
        end = min(Decimal(tier["to"] or "Infinity"), Decimal(line["quantity"]))
        stated = [Decimal(tier[name]) for name in ("from", "quantity", "amount")]
        check(stated == [start, end - start, (end - start) * Decimal(tier["unitPrice"])], tier)
        total, start = total + Decimal(tier["amount"]), end
    rounded = total.quantize(unit, ROUND_HALF_EVEN if line["rounding"] == "half_even" else ROUND_HALF_UP)
    unpriced = line["cost"] is None and not (line["tiers"] or line["notCharged"])
    covered = line["notCharged"] or start == Decimal(line["quantity"])
    check(unpriced or covered and line["cost"] == str(rounded), line)
    return rounded

document, keys = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:3])
head, month = document["statement"], document["statement"]["billingMonth"]
for name in ("lines", "adjustments", "reports"):
    entries = "".join(canonical(entry) + "\n" for entry in document[name]).encode()
    check(hashlib.sha256(entries).hexdigest() == head[f"{name}Digest"], f"the digest of the {name}")
digest = hashlib.sha256(canonical(head).encode()).digest()
check(digest.hex() == document["digest"], "the digest of the head")
key = next(base64.urlsafe_b64decode(key["x"] + "=") for key in keys["keys"] if key["kid"] == document["keyId"])
Ed25519PublicKey.from_public_bytes(key).verify(bytes.fromhex(document["signature"]), digest)  # or raises
total, unit = 0, Decimal(1).scaleb(Decimal(head["total"]).as_tuple().exponent)
billed = {(month, report["tenantId"]): (report["revision"], []) for report in document["reports"]}
for usage_month, line, change in [(month, line, None) for line in document["lines"]] + [
        (change["usageMonth"], change["line"], change) for change in document["adjustments"]]:
    amount = cost(line, unit) - Decimal(change["billed"] if change else 0)
    check(not change or amount == Decimal(change["amount"]), change)
    billed.setdefault((usage_month, line["tenantId"]), (change and change["revision"], []))[1].append(line)
    total += amount
check(total == Decimal(head["total"]), "the total")
for path in sys.argv[3:]:
    rows = list(csv.DictReader(open(path, newline="", encoding="utf-8-sig")))
    report = next(of for of in document["loads"] if (of["month"], of["tenantId"]) == (rows[0]["start"][:7], rows[0]["tenantId"]))
    revision, rest = hashlib.sha256(f"{report['tenantId']} {report['month']}\n".encode()), iter(rows)
    for load in report["loads"]:
        text = "".join(csv_line(next(rest, {}).values()) for _ in range(load["recordCount"]))
        check(hashlib.sha256(text.encode()).hexdigest() == load["digest"], f"{path} on {load['usageDay']}")
        revision.update(f"{load['usageDay']} {load['source']} ".encode() + bytes.fromhex(load["digest"]))
    expected, lines = billed[report["month"], report["tenantId"]]
    check(next(rest, None) is None and revision.hexdigest() == expected, f"{path} is not what was billed")
    for line in lines:
        own = [row for row in rows if (row["meterId"], row["billingRegion"]) == (line["meterId"], line["billingRegion"])]
        found = [sum(Decimal(row["quantity"]) for row in own if row["trial"] == trial) for trial in ("FALSE", "TRUE")]
        check(found + [len(own)] == [Decimal(line["quantity"]), Decimal(line["trialQuantity"]), line["recordCount"]], line)
print(f"{head['number']}: {head['total']} {head['currency']}, {len(sys.argv) - 3} files, signed with {document['keyId']}")
