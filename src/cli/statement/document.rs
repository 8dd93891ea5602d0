//! A statement as a file: its head, its lists, its digest and its signature.

use std::{fmt::Display, str::FromStr};

use bigdecimal::BigDecimal;
use serde::{Deserialize, Serialize};

use crate::{
    client::WholeStatement,
    contract::proto,
    model::{BillingRegion, Month, RoundingMode, UtcTime, hex, unhex},
    statement::{Adjustment, Head, Line, ListDigest, MissingDays, Report, Signature, Tier, canonical},
};

/// A statement, with all that is signed and the signature.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Document {
    pub(super) statement: Head,
    pub(super) lines: Vec<Line>,
    pub(super) adjustments: Vec<Adjustment>,
    pub(super) reports: Vec<Report>,
    /// What the reports were made of: their revisions are digests of it.
    pub(super) loads: Vec<ReportLoads>,
    /// SHA-256 of the head in its canonical form, in hexadecimal digits.
    pub(super) digest: String,
    /// Ed25519, in hexadecimal digits; `None`: it is not signed.
    pub(super) signature: Option<String>,
    pub(super) key_id: Option<String>,
}

/// What a detailed usage report was made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ReportLoads {
    pub(super) tenant_id: String,
    pub(super) month: String,
    pub(super) loads: Vec<ReportLoad>,
}

/// The records of a day from a source.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ReportLoad {
    pub(super) usage_day: String,
    pub(super) source: String,
    pub(super) record_count: u64,
    /// In hexadecimal digits.
    pub(super) digest: String,
}

/// A message does not have what a statement has.
type Malformed = String;

// === impl Document ===

impl Document {
    pub(super) fn from_messages(whole: WholeStatement) -> Result<Self, Malformed> {
        let signature = whole.statement.signature.clone();
        let digest = whole.statement.digest.clone();
        let key_id = whole.statement.key_id.clone();
        Ok(Self {
            statement: head(whole.statement)?,
            lines: whole.lines.into_iter().map(line).collect::<Result<_, _>>()?,
            adjustments: whole.adjustments.into_iter().map(adjustment).collect::<Result<_, _>>()?,
            reports: whole.reports.into_iter().map(report).collect::<Result<_, _>>()?,
            loads: whole.loads.into_iter().map(report_loads).collect::<Result<_, _>>()?,
            digest,
            signature: (!signature.is_empty()).then(|| hex(&signature)),
            key_id: (!key_id.is_empty()).then_some(key_id),
        })
    }

    /// The file: the lists with an entry a line, so that a difference is easy to find.
    pub(super) fn to_text(&self) -> serde_json::Result<String> {
        let list = |entries: Vec<String>| match entries.as_slice() {
            [] => "[]".to_owned(),
            entries => format!("[\n    {}\n  ]", entries.join(",\n    ")),
        };
        Ok(format!(
            "{{\n  \"statement\": {},\n  \"lines\": {},\n  \"adjustments\": {},\n  \"reports\": {},\n  \"loads\": {},\n  \"digest\": {},\n  \
             \"signature\": {},\n  \"keyId\": {}\n}}\n",
            self.statement.canonical(),
            list(self.lines.iter().map(Line::canonical).collect()),
            list(self.adjustments.iter().map(Adjustment::canonical).collect()),
            list(self.reports.iter().map(Report::canonical).collect()),
            list(self.loads.iter().map(canonical).collect()),
            serde_json::to_string(&self.digest)?,
            serde_json::to_string(&self.signature)?,
            serde_json::to_string(&self.key_id)?,
        ))
    }

    /// Whether the digests are those of what is there.
    pub(super) fn check_digests(&self) -> Result<(), String> {
        let head = &self.statement;
        let lists = [
            ("lines", self.lines.iter().map(Line::canonical).collect(), head.line_count, head.lines_digest),
            (
                "adjustments",
                self.adjustments.iter().map(Adjustment::canonical).collect(),
                head.adjustment_count,
                head.adjustments_digest,
            ),
            ("reports", self.reports.iter().map(Report::canonical).collect(), head.report_count, head.reports_digest),
        ];
        for (name, entries, count, expected) in lists {
            let entries: Vec<String> = entries;
            let mut digest = ListDigest::default();
            entries.iter().for_each(|entry| digest.add(entry));
            if digest.count() != count {
                return Err(format!("it has {} {name}, and should have {count}", digest.count()));
            }
            if digest.finish() != expected {
                return Err(format!("the {name} are not those that were digested"));
            }
        }
        if hex(&head.digest()) != self.digest {
            return Err("the head is not the one that was digested".to_owned());
        }
        Ok(())
    }

    pub(super) fn signature(&self) -> Result<Option<Signature>, String> {
        let (signature, key_id) = match (&self.signature, &self.key_id) {
            (None, None) => return Ok(None),
            (Some(signature), Some(key_id)) => (signature, key_id),
            _ => return Err("it has a signature without a key, or a key without a signature".to_owned()),
        };
        let bytes = unhex(signature).ok_or_else(|| "the signature is not of 128 hexadecimal digits".to_owned())?;
        Ok(Some(Signature { key_id: key_id.clone(), bytes }))
    }
}

fn value<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|error: T::Err| format!("{field} of a statement is {text:?}: {error}"))
}

fn digest(field: &str, text: &str) -> Result<[u8; 32], Malformed> {
    unhex(text).ok_or_else(|| format!("{field} of a statement is {text:?}"))
}

fn count(field: &str, count: i64) -> Result<u32, Malformed> {
    u32::try_from(count).map_err(|_| format!("{field} of a statement is {count}"))
}

fn month(month: Option<proto::YearMonth>) -> Result<Month, Malformed> {
    let month = month.and_then(|month| Month::new(month.year, month.month).ok());
    month.ok_or_else(|| "a month of a statement is missing".to_owned())
}

fn time(time: Option<prost_types::Timestamp>) -> Result<UtcTime, Malformed> {
    let time = time.and_then(|time| UtcTime::from_unix(time.seconds, time.nanos).ok());
    time.ok_or_else(|| "a time of a statement is missing".to_owned())
}

fn amount(field: &str, text: &str) -> Result<BigDecimal, Malformed> {
    // An exponent would make a large number of a small text.
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte));
    if is_plain { value(field, text) } else { Err(format!("{field} of a statement is {text:?}")) }
}

fn head(statement: proto::Statement) -> Result<Head, Malformed> {
    Ok(Head {
        adjustment_count: count("adjustment_count", statement.adjustment_count)?,
        adjustment_total: amount("adjustment_total", &statement.adjustment_total)?,
        adjustments_digest: digest("adjustments_digest", &statement.adjustments_digest)?,
        billing_month: month(statement.billing_month)?,
        closed_at: time(statement.closed_at)?,
        closed_by: statement.closed_by,
        currency: value("currency", &statement.currency)?,
        horizon: time(statement.horizon)?,
        line_count: count("line_count", statement.line_count)?,
        line_total: amount("line_total", &statement.line_total)?,
        lines_digest: digest("lines_digest", &statement.lines_digest)?,
        number: value("number", &statement.number)?,
        organization_id: value("organization_id", &statement.organization_id)?,
        organization_name: statement.organization_name,
        previous_digest: match statement.previous_digest.as_str() {
            "" => None,
            text => Some(digest("previous_digest", text)?),
        },
        report_count: count("report_count", statement.report_count)?,
        reports_digest: digest("reports_digest", &statement.reports_digest)?,
        total: amount("total", &statement.total)?,
        version: count("version", statement.version.into())?,
    })
}

fn region(code: i32) -> Result<BillingRegion, Malformed> {
    BillingRegion::from_code(code).ok_or_else(|| format!("a billing region of a statement is {code}"))
}

fn rounding(code: i32) -> Result<Option<RoundingMode>, Malformed> {
    match proto::RoundingMode::try_from(code) {
        Ok(proto::RoundingMode::Unspecified) => Ok(None),
        Ok(proto::RoundingMode::HalfAwayFromZero) => Ok(Some(RoundingMode::HalfAwayFromZero)),
        Ok(proto::RoundingMode::HalfEven) => Ok(Some(RoundingMode::HalfEven)),
        Err(_) => Err(format!("a rounding mode of a statement is {code}")),
    }
}

fn optional_amount(field: &str, text: &str) -> Result<Option<BigDecimal>, Malformed> {
    if text.is_empty() { Ok(None) } else { amount(field, text).map(Some) }
}

fn tier(tier: &proto::CostTier) -> Result<Tier, Malformed> {
    Ok(Tier {
        amount: amount("amount", &tier.amount)?,
        from: amount("from", &tier.from)?,
        quantity: amount("quantity", &tier.quantity)?,
        to: optional_amount("to", &tier.to)?,
        unit_price: amount("unit_price", &tier.unit_price)?,
    })
}

fn line(line: proto::CostLine) -> Result<Line, Malformed> {
    Ok(Line {
        billing_region: region(line.billing_region)?,
        cost: optional_amount("cost", &line.cost)?,
        meter_id: value("meter_id", &line.meter_id)?,
        meter_name: line.meter_name,
        not_charged: line.not_charged,
        plan: line.plan,
        quantity: amount("quantity", &line.quantity)?,
        record_count: line.record_count,
        rounding: rounding(line.rounding)?,
        tenant_id: value("tenant_id", &line.tenant_id)?,
        tenant_name: line.tenant_name,
        tiers: line.tiers.iter().map(tier).collect::<Result<_, _>>()?,
        trial_quantity: amount("trial_quantity", &line.trial_quantity)?,
        unit: line.unit,
    })
}

fn adjustment(adjustment: proto::CostAdjustment) -> Result<Adjustment, Malformed> {
    let now = adjustment.line.ok_or("an adjustment of a statement has no line")?;
    Ok(Adjustment {
        amount: amount("amount", &adjustment.amount)?,
        billed: amount("billed", &adjustment.billed)?,
        usage_month: month(now.month)?,
        line: line(now)?,
        revision: digest("revision", &adjustment.revision)?,
    })
}

fn report_loads(report: proto::ReportLoads) -> Result<ReportLoads, Malformed> {
    let loads = report.loads.into_iter().map(|load| {
        let record_count = u64::try_from(load.record_count)
            .map_err(|_| format!("record_count of a statement is {}", load.record_count))?;
        Ok(ReportLoad { usage_day: load.usage_day, source: load.source, record_count, digest: load.digest })
    });
    let loads = loads.collect::<Result<_, Malformed>>()?;
    Ok(ReportLoads { tenant_id: report.tenant_id, month: month(report.month)?.to_string(), loads })
}

fn report(report: proto::TenantMonth) -> Result<Report, Malformed> {
    let missing = report.missing_days.into_iter().map(|missing| {
        let days = missing.days.iter().map(|day| value("missing_days", day));
        Ok(MissingDays { days: days.collect::<Result<_, Malformed>>()?, source: missing.source })
    });
    Ok(Report {
        data_as_of: time(report.data_as_of)?,
        missing_days: missing.collect::<Result<_, Malformed>>()?,
        revision: digest("revision", &report.revision)?,
        tenant_id: value("tenant_id", &report.tenant_id)?,
    })
}
