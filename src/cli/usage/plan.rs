//! Which reports several are, fixed when the download begins: as of which moment, and under which names.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::{find_tenant, text};
use crate::{
    cli::{
        CommandError,
        args::UsageArgs,
        report_form::FileFormat,
        report_name::{comparable, file_name, partition, restriction},
    },
    client::{Client, TenantUsage, WholeStatement},
    contract::{CsvFormat, LineEnd},
    model::{Month, MonthRange, OrganizationId, StatementNumber, TenantId, UsageFilter, UtcTime},
};

/// How many tenants are asked for at a time.
const LOOKUPS: usize = 8;

/// What was asked for, as it was written: the same command continues a download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    organization: Option<String>,
    tenants: Vec<String>,
    from: Option<String>,
    to: Option<String>,
    as_of: Option<String>,
    statement: Option<String>,
    asset_types: Vec<String>,
    asset_ids: Vec<String>,
    meter_names: Vec<String>,
    billing_regions: Vec<String>,
    trial: Option<bool>,
    #[serde(default = "csv")]
    format: String,
    crlf: bool,
    byte_order_mark: bool,
    neutralize_formulas: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plan {
    pub(super) asked: Asked,
    /// What all reports are as of: of a statement, its horizon.
    #[serde(with = "text")]
    pub(super) as_of: UtcTime,
    /// By tenant and month.
    pub(super) reports: Vec<Report>,
}

/// The report of a tenant and month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) organization_id: String,
    #[serde(with = "text")]
    pub(super) tenant_id: TenantId,
    pub(super) tenant_name: String,
    #[serde(with = "text")]
    pub(super) month: Month,
    /// `None`: there is no usage.
    pub(super) revision: Option<String>,
    /// The name of its file.
    pub(super) file: String,
}

// === impl Asked ===

impl Asked {
    pub(super) fn of(args: &UsageArgs) -> Self {
        // All fields, so that a new one does not compile: what is left out may change between two runs unnoticed.
        let UsageFilter { asset_types, asset_ids, meter_names, billing_regions, trial } = args.filter();
        let CsvFormat { line_end, neutralize_formulas, byte_order_mark } = args.csv_format();
        Self {
            organization: args.organization.clone(),
            tenants: args.tenant.clone(),
            from: text_of(args.month),
            to: text_of(args.to),
            as_of: text_of(args.as_of),
            statement: text_of(args.statement),
            asset_types: texts_of(&asset_types),
            asset_ids,
            meter_names,
            billing_regions: texts_of(&billing_regions),
            trial,
            format: args.format.unwrap_or_default().name(),
            crlf: matches!(line_end, LineEnd::Crlf),
            byte_order_mark,
            neutralize_formulas,
        }
    }
}

/// What all reports were before there were other formats.
fn csv() -> String {
    FileFormat::Csv.name()
}

fn text_of(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn texts_of(values: &[impl ToString]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

// === impl Plan ===

impl Plan {
    pub(super) async fn make(client: &mut Client, args: &UsageArgs) -> Result<Self, CommandError> {
        let organization = match &args.organization {
            Some(organization) => Some(client.find_organization(organization).await?),
            None => None,
        };
        let months = match args.month {
            Some(month) => {
                Some(MonthRange::new(month, args.to.unwrap_or(month)).map_err(|error| format!("--to: {error}"))?)
            }
            None => None,
        };
        let mut tenants = Vec::new();
        for tenant in &args.tenant {
            let id = find_tenant(client, organization, tenant).await?;
            if !tenants.contains(&id) {
                tenants.push(id);
            }
        }
        let (as_of, mut reports) = match (args.statement, organization, months) {
            (Some(number), Some(organization), _) => {
                let whole = statement(client, organization, number).await?;
                let mut reports = of_statement(&whole)?;
                reports.retain(|report| months.is_none_or(|months| months.contains(report.month)));
                let has = |tenant: &TenantId| reports.iter().any(|report| report.tenant_id == *tenant);
                if let Some(tenant) = tenants.iter().find(|tenant| !has(tenant)) {
                    return Err(
                        format!("statement {number} was not made of usage of tenant {tenant} in these months").into()
                    );
                }
                reports.retain(|report| tenants.is_empty() || tenants.contains(&report.tenant_id));
                if reports.is_empty() && months.is_some() {
                    return Err(format!("statement {number} was not made of usage of these months").into());
                }
                (moment(&whole)?, reports)
            }
            (Some(_), None, _) => return Err("several reports of a statement need --organization".into()),
            (None, _, None) => return Err("--month is required".into()),
            (None, _, Some(months)) => {
                let usages = usages(client, organization, tenants, args.as_of).await?;
                let as_of = usages.first().map(|usage| usage.as_of).ok_or("there are no tenants that you may see")?;
                (as_of, usages.iter().map(|usage| of_tenant(usage, months)).collect::<Result<Vec<_>, _>>()?.concat())
            }
        };
        let restriction = restriction(&args.filter(), args.as_of, args.statement);
        name(&mut reports, &restriction, args.format.unwrap_or_default());
        Ok(Self { asked: Asked::of(args), as_of, reports })
    }
}

/// The months of tenants: of those that are named, or else of all tenants of the organization. All as of one moment.
async fn usages(
    client: &mut Client,
    organization: Option<OrganizationId>,
    mut tenants: Vec<TenantId>,
    as_of: Option<UtcTime>,
) -> Result<Vec<TenantUsage>, CommandError> {
    if tenants.is_empty() {
        for tenant in client.tenants("", organization).await? {
            tenants.push(tenant.tenant_id.parse()?);
        }
    }
    let mut tenants = tenants.into_iter();
    let Some(first) = tenants.next() else { return Ok(Vec::new()) };
    // The first answer says which moment the others are asked for: one that the server knows to be settled.
    let first = client.tenant_usage(first, as_of).await?;
    let as_of = Some(first.as_of);
    let others = tenants.map(|tenant| {
        let mut client = client.clone();
        async move { client.tenant_usage(tenant, as_of).await }
    });
    let mut usages = vec![first];
    usages.extend(stream::iter(others).buffered(LOOKUPS).try_collect::<Vec<_>>().await?);
    Ok(usages)
}

/// A report for each month, whether it has usage or not.
fn of_tenant(usage: &TenantUsage, months: MonthRange) -> Result<Vec<Report>, CommandError> {
    let tenant_id = usage.tenant.tenant_id.parse()?;
    let report = |month| Report {
        organization_id: usage.tenant.organization_id.clone(),
        tenant_id,
        tenant_name: usage.tenant.name.clone(),
        month,
        revision: usage.months.iter().find(|found| found.month == month).map(|found| found.revision.clone()),
        file: String::new(),
    };
    Ok(months.iter().map(report).collect())
}

async fn statement(
    client: &mut Client,
    organization: OrganizationId,
    number: StatementNumber,
) -> Result<WholeStatement, CommandError> {
    let whole = client.statement(organization, number.billing_month).await?;
    if whole.statement.number == number.to_string() {
        return Ok(whole);
    }
    let (organization, found) = (&whole.statement.organization_name, &whole.statement.number);
    Err(format!("{organization:?} has no statement {number}; that of {} is {found}", number.billing_month).into())
}

/// What a statement was made of: the reports of its month, and those that its adjustments come from.
fn of_statement(whole: &WholeStatement) -> Result<Vec<Report>, CommandError> {
    let adjusted = whole.adjustments.iter().filter_map(|adjustment| Some((adjustment.line.as_ref()?, adjustment)));
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut revisions: HashMap<_, &str> = HashMap::new();
    for report in &whole.reports {
        revisions.insert((report.month, report.tenant_id.as_str()), &report.revision);
    }
    for (line, adjustment) in adjusted {
        names.insert(&line.tenant_id, &line.tenant_name);
        revisions.insert((line.month, line.tenant_id.as_str()), &adjustment.revision);
    }
    names.extend(whole.lines.iter().map(|line| (line.tenant_id.as_str(), line.tenant_name.as_str())));
    let mut reports = BTreeMap::new();
    for loads in &whole.loads {
        let (id, month) = (loads.tenant_id.as_str(), loads.month.unwrap_or_default());
        let name = names.get(id).copied().unwrap_or(id);
        let has_usage = loads.loads.iter().any(|load| load.record_count > 0);
        let report = Report {
            organization_id: whole.statement.organization_id.clone(),
            tenant_id: id.parse()?,
            tenant_name: name.to_owned(),
            month: Month::new(month.year, month.month)?,
            revision: revisions.get(&(loads.month, id)).filter(|_| has_usage).map(|&revision| revision.to_owned()),
            file: String::new(),
        };
        reports.insert((name, report.tenant_id, report.month), report);
    }
    Ok(reports.into_values().collect())
}

fn moment(whole: &WholeStatement) -> Result<UtcTime, CommandError> {
    let horizon = whole.statement.horizon.unwrap_or_default();
    Ok(UtcTime::from_unix(horizon.seconds, horizon.nanos)?)
}

/// Names the files: with the tenant's id where two tenants' files would be named alike.
fn name(reports: &mut [Report], restriction: &str, format: FileFormat) {
    let mut owners: HashMap<String, HashSet<TenantId>> = HashMap::new();
    for report in &*reports {
        owners.entry(comparable(&report.tenant_name)).or_default().insert(report.tenant_id);
    }
    for report in reports {
        if format == FileFormat::Parquet {
            report.file = partition(report.tenant_id, report.month, restriction, format);
            continue;
        }
        let has_namesake = owners.get(&comparable(&report.tenant_name)).is_some_and(|owners| owners.len() > 1);
        let id = has_namesake.then(|| report.tenant_id.to_string());
        report.file = file_name(&report.tenant_name, id.as_deref(), report.month, restriction, format);
    }
}
