//! The names of files that nobody named. A name says what the report is, so that no report takes another one's place.

use std::path::PathBuf;

use super::{
    CommandError, output,
    partial::{MAX_NAME_BYTES, shortened},
    report_form::FileFormat,
};
use crate::{
    client::{Client, UsageQuery},
    model::{Month, StatementNumber, TenantId, UsageFilter, UtcTime, folded, is_deceptive},
};

/// How much of a name says what the report is restricted to.
const MAX_RESTRICTION_BYTES: usize = 96;

/// `<tenant name>_detailed_usage_<YYYY-MM>.csv`, or with the end of another format; with the tenant's id where another tenant's file would be named alike, and
/// with what the report is restricted to. `None`: there is no such tenant.
pub(super) async fn default_path(
    client: &mut Client,
    query: &UsageQuery,
    format: FileFormat,
) -> Result<Option<PathBuf>, CommandError> {
    let id = query.tenant_id.to_string();
    let tenants = client.tenants(&id, None).await?;
    let Some(tenant) = tenants.iter().find(|tenant| tenant.tenant_id == id) else { return Ok(None) };
    let namesakes = client.tenants(&tenant.name, None).await?;
    let namesakes = namesakes.iter().filter(|other| comparable(&other.name) == comparable(&tenant.name)).count();
    let restriction = restriction(&query.filter, query.as_of, query.statement);
    let id = (namesakes > 1).then_some(id.as_str());
    let name = file_name(&tenant.name, id, query.month, &restriction, format);
    if !name.starts_with(safe_name(&tenant.name).as_str()) {
        output::note(&format!("the tenant's name is too long for a file name, so the file is {name}"));
    }
    Ok(Some(name.into()))
}

/// The same of parts that are known. `id`: where the name alone would not do.
pub(super) fn file_name(tenant: &str, id: Option<&str>, month: Month, restriction: &str, format: FileFormat) -> String {
    let id = id.map(|id| format!("_{id}")).unwrap_or_default();
    let restriction = shortened(&safe(restriction), MAX_RESTRICTION_BYTES);
    let end = format!("{id}_detailed_usage_{month}{restriction}.{}", format.ending());
    format!("{}{end}", shortened(&safe_name(tenant), MAX_NAME_BYTES - end.len()))
}

/// The path of a report in a data set that is partitioned as Hive does it, by parts of the path.
pub(super) fn partition(tenant: TenantId, month: Month, restriction: &str, format: FileFormat) -> String {
    let restriction = shortened(&safe(restriction), MAX_RESTRICTION_BYTES);
    let (year, number, ending) = (month.year(), month.number(), format.ending());
    format!("year={year:04}/month={number:02}/tenant={tenant}/detailed_usage{restriction}.{ending}")
}

/// Files of tenants for which this is equal would be named alike: some file systems take upper and lower case for one.
pub(super) fn comparable(tenant: &str) -> String {
    folded(&safe_name(tenant))
}

/// What a report has not all of, and as of when it is.
pub(super) fn restriction(filter: &UsageFilter, as_of: Option<UtcTime>, statement: Option<StatementNumber>) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(filter.asset_types.iter().map(ToString::to_string));
    parts.extend(filter.asset_ids.iter().cloned());
    parts.extend(filter.meter_names.iter().cloned());
    parts.extend(filter.billing_regions.iter().map(ToString::to_string));
    parts.extend(filter.trial.map(|trial| if trial { "trial" } else { "billable" }.to_owned()));
    parts.extend(as_of.map(|time| format!("as-of-{}", time.to_string().replace(':', ""))));
    parts.extend(statement.map(|number| format!("statement-{number}")));
    parts.into_iter().map(|part| format!("_{part}")).collect()
}

/// A name that a file's name may begin with.
fn safe_name(tenant: &str) -> String {
    safe(tenant).trim_start_matches('.').to_owned()
}

/// Without characters that file names cannot contain, or that a terminal would not show.
fn safe(name: &str) -> String {
    let safe = |character: char| {
        if is_deceptive(character) || r#"/\:*?"<>|"#.contains(character) { '_' } else { character }
    };
    name.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AssetType, BillingRegion};

    #[test]
    fn a_name_says_what_the_report_is() {
        let whole = UsageFilter::default();
        assert_eq!(restriction(&whole, None, None), "");
        let filter = UsageFilter {
            asset_types: vec![AssetType::User],
            asset_ids: vec!["a/b".to_owned()],
            meter_names: vec!["user_hours".to_owned()],
            billing_regions: vec![BillingRegion::Eu, BillingRegion::Na],
            trial: Some(false),
        };
        let as_of = Some("2022-03-01T00:00:00Z".parse().expect("a time"));
        assert_eq!(
            safe(&restriction(&filter, as_of, None)),
            "_USER_a_b_user_hours_EU_NA_billable_as-of-2022-03-01T000000Z"
        );
        let month = "2022-02".parse().expect("a month");
        assert_eq!(file_name("..a/b", None, month, "", FileFormat::Csv), "a_b_detailed_usage_2022-02.csv");
        assert_eq!(
            file_name("A", Some("id"), month, "_EU", FileFormat::Parquet),
            "A_id_detailed_usage_2022-02_EU.parquet"
        );
        assert_eq!(comparable("..ärger/1"), comparable("ÄRGER_1"));
    }
}
