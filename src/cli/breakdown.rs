//! `costs --by`: what parts of a bill cost.

mod bar;

use std::io::{self, IsTerminal as _};

use prost::Message;
use serde_json::{Map, Value, json};

use super::{
    CommandError,
    args::CostsFormat,
    background::BackgroundWriter,
    costs::csv::CSV_HEADERS,
    output::{Lines, Rows, STDOUT, month, note, print_json, put_csv_line, region, text_or_null, time},
    text_columns,
};
use crate::{
    client::CostBreakdown,
    contract::{
        CsvFormat,
        proto::{BreakdownReport, BreakdownTotal, CostShare},
    },
    model::{AssetType, CostGroup, CostGroups, Platform, printable},
};
use bar::bars;

/// Lines of CSV are written when at least this much is buffered.
const WRITE_BYTES: usize = 64 << 10;
/// Rows of a table, or of JSON, as they come; in memory they take several times as much.
const MAX_KEPT_BYTES: usize = 64 << 20;
/// The column behind which those of groups stand.
const BEFORE_GROUPS: &str = "billingRegion";

/// A column of a group: its name in CSV and JSON, its header in tables, and its value.
struct GroupColumn {
    name: &'static str,
    header: &'static str,
    value: fn(&CostShare) -> String,
}

/// Lines without a price, each once.
#[derive(Default)]
struct Unpriced {
    notes: Vec<String>,
    last: Option<(String, String, String, i32)>,
}

/// Everything of a breakdown: a table and JSON are of the whole.
struct Whole {
    rows: Vec<CostShare>,
    reports: Vec<BreakdownReport>,
    totals: Vec<BreakdownTotal>,
}

pub(super) async fn print(
    breakdown: CostBreakdown,
    groups: CostGroups,
    format: CostsFormat,
    csv: CsvFormat,
) -> Result<(), CommandError> {
    let mut unpriced = Unpriced::default();
    match (format, format.columns()) {
        (CostsFormat::Json, _) => print_json(&to_json(read(breakdown, &mut unpriced).await?, groups))?,
        (CostsFormat::Csv, _) => print_csv(breakdown, groups, csv, &mut unpriced).await?,
        (_, Some(format)) => {
            let columns = columns(groups);
            let rows = read(breakdown, &mut unpriced).await?.rows;
            let rows = rows.iter().map(|row| cells(row, &columns)).collect();
            text_columns::print(&Rows { headers: names(&columns), numbers: Vec::new(), rows }, format).await?;
        }
        (_, None) => print_table(&read(breakdown, &mut unpriced).await?, groups)?,
    }
    unpriced.notes.iter().for_each(|text| note(text));
    Ok(())
}

async fn read(mut breakdown: CostBreakdown, unpriced: &mut Unpriced) -> Result<Whole, CommandError> {
    let (mut rows, mut reports) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    while let Some(next) = breakdown.next().await? {
        bytes += next.rows.iter().map(Message::encoded_len).sum::<usize>();
        if bytes > MAX_KEPT_BYTES {
            let limit = MAX_KEPT_BYTES >> 20;
            return Err(
                format!("there are more than {limit} MiB of rows; `--format csv` writes them one by one").into()
            );
        }
        unpriced.see(&next.rows);
        rows.extend(next.rows);
        reports.extend(next.reports);
    }
    Ok(Whole { rows, reports, totals: breakdown.totals().to_vec() })
}

/// The columns of groups, in order.
fn columns(groups: CostGroups) -> Vec<GroupColumn> {
    let mut columns = Vec::new();
    if groups.tells_asset_type() {
        columns.push(GroupColumn { name: "assetType", header: "TYPE", value: asset_type });
    }
    if groups.contains(CostGroup::Asset) {
        columns.push(GroupColumn { name: "assetId", header: "ASSET", value: |row| row.asset_id.clone() });
        columns.push(GroupColumn { name: "assetName", header: "NAME", value: |row| row.asset_name.clone() });
    }
    if groups.contains(CostGroup::UsageDay) {
        columns.push(GroupColumn { name: "usageDay", header: "DAY", value: |row| row.usage_day.clone() });
    }
    if groups.contains(CostGroup::Platform) {
        columns.push(GroupColumn { name: "platform", header: "PLATFORM", value: platform });
    }
    columns
}

fn asset_type(row: &CostShare) -> String {
    AssetType::name_of(row.asset_type).unwrap_or("?").to_owned()
}

fn platform(row: &CostShare) -> String {
    match row.platform {
        0 => String::new(),
        code => Platform::name_of(code).unwrap_or("?").to_owned(),
    }
}

fn print_table(whole: &Whole, groups: CostGroups) -> Result<(), CommandError> {
    let columns = columns(groups);
    let mut headers = vec!["MONTH", "TENANT", "METER", "REGION"];
    headers.extend(columns.iter().map(|column| column.header));
    let amounts = headers.len();
    headers.extend(["QUANTITY", "TRIAL", "UNIT", "COST", "CURRENCY"]);
    // For people who look at it; programs and files get none.
    let mut bars = if io::stdout().is_terminal() { bars(&whole.rows) } else { Vec::new() }.into_iter();
    if bars.len() > 0 {
        headers.push("");
    }
    let mut rows: Vec<Vec<String>> = Vec::with_capacity(whole.rows.len() + whole.totals.len());
    for row in &whole.rows {
        let mut cells =
            vec![month(row.month), row.tenant_name.clone(), row.meter_name.clone(), region(row.billing_region).into()];
        cells.extend(columns.iter().map(|column| (column.value)(row)));
        let cost = if row.cost.is_empty() { "no price".to_owned() } else { row.cost.clone() };
        cells.extend([row.quantity.clone(), row.trial_quantity.clone(), row.unit.clone(), cost, row.currency.clone()]);
        cells.extend(bars.next());
        rows.push(cells);
    }
    for total in &whole.totals {
        let mut cells = vec![String::new(); headers.len()];
        cells[0] = month(total.month);
        "TOTAL".clone_into(&mut cells[1]);
        cells[amounts + 3].clone_from(&total.cost);
        cells[amounts + 4].clone_from(&total.currency);
        rows.push(cells);
    }
    Ok(Rows { headers, numbers: vec![amounts, amounts + 1, amounts + 3], rows }.print_table()?)
}

/// Writes rows as they come.
async fn print_csv(
    mut breakdown: CostBreakdown,
    groups: CostGroups,
    format: CsvFormat,
    unpriced: &mut Unpriced,
) -> Result<(), CommandError> {
    let columns = columns(groups);
    let mut lines = Vec::with_capacity(2 * WRITE_BYTES);
    put_csv_line(names(&columns), format, &mut lines);
    let mut writer = BackgroundWriter::start(Lines::new(io::stdout()));
    let read = loop {
        match breakdown.next().await {
            Ok(Some(next)) => {
                unpriced.see(&next.rows);
                for row in &next.rows {
                    put_csv_line(cells(row, &columns).iter().map(String::as_str), format, &mut lines);
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        if lines.len() >= WRITE_BYTES && !writer.write(&mut lines).await {
            break Ok(());
        }
    };
    writer.write(&mut lines).await;
    let (_, written) = writer.finish().await?;
    written.map_err(|error| format!("{STDOUT}: {error}"))?;
    Ok(read?)
}

/// The columns of CSV.
fn names(columns: &[GroupColumn]) -> Vec<&'static str> {
    let names = CSV_HEADERS.iter().flat_map(|&header| {
        let groups = if header == BEFORE_GROUPS { columns } else { &[] };
        std::iter::once(header).chain(groups.iter().map(|column| column.name))
    });
    names.collect()
}

fn cells(row: &CostShare, columns: &[GroupColumn]) -> Vec<String> {
    let mut cells = vec![
        month(row.month),
        row.organization_id.clone(),
        row.tenant_id.clone(),
        row.tenant_name.clone(),
        row.plan.clone(),
        row.meter_name.clone(),
        row.meter_id.clone(),
        row.unit.clone(),
        region(row.billing_region).to_owned(),
    ];
    cells.extend(columns.iter().map(|column| (column.value)(row)));
    cells.extend([row.quantity.clone(), row.trial_quantity.clone(), row.cost.clone(), row.currency.clone()]);
    cells.push(row.record_count.to_string());
    cells
}

fn to_json(whole: Whole, groups: CostGroups) -> Value {
    let columns = columns(groups);
    json!({
        "groupBy": groups.iter().map(CostGroup::as_str).collect::<Vec<_>>(),
        "rows": whole.rows.into_iter().map(|row| row_to_json(row, &columns)).collect::<Vec<_>>(),
        "totals": whole.totals.into_iter().map(|total| json!({
            "month": month(total.month),
            "currency": total.currency,
            "cost": total.cost,
        })).collect::<Vec<_>>(),
        "reports": whole.reports.into_iter().map(|report| json!({
            "month": month(report.month),
            "tenantId": report.tenant_id,
            "revision": report.revision,
            "dataAsOf": text_or_null(time(report.data_as_of)),
        })).collect::<Vec<_>>(),
    })
}

fn row_to_json(row: CostShare, columns: &[GroupColumn]) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("month", month(row.month).into());
    let groups: Vec<(&str, String)> = columns.iter().map(|column| (column.name, (column.value)(&row))).collect();
    put("organizationId", row.organization_id.into());
    put("tenantId", row.tenant_id.into());
    put("tenantName", row.tenant_name.into());
    put("plan", row.plan.into());
    put("meterName", row.meter_name.into());
    put("meterId", row.meter_id.into());
    put("unit", row.unit.into());
    put("billingRegion", region(row.billing_region).into());
    for (name, value) in groups {
        // Assets may have no name; usage may have no platform.
        put(name, if name == "platform" { text_or_null(value) } else { value.into() });
    }
    put("quantity", row.quantity.into());
    put("trialQuantity", row.trial_quantity.into());
    put("cost", text_or_null(row.cost));
    put("currency", row.currency.into());
    put("recordCount", row.record_count.into());
    Value::Object(object)
}

// === impl Unpriced ===

impl Unpriced {
    fn see(&mut self, rows: &[CostShare]) {
        for row in rows.iter().filter(|row| row.cost.is_empty()) {
            let line = (month(row.month), row.tenant_id.clone(), row.meter_name.clone(), row.billing_region);
            if self.last.as_ref() == Some(&line) {
                continue;
            }
            let (month, tenant, meter, code) = &line;
            self.notes.push(format!(
                "warning: no price in {} covers the usage of {} in {} ({month}, tenant {tenant}); it is not in the total",
                printable(&row.currency),
                printable(meter),
                region(*code),
            ));
            self.last = Some(line);
        }
    }
}
