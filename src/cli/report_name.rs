//! The names of files that nobody named. A name says what the report is, so that no report takes another one's place.

use std::path::PathBuf;

use super::{
    CommandError, output,
    partial::{MAX_NAME_BYTES, shortened},
};
use crate::{
    client::{Client, UsageQuery},
    contract::proto::Tenant,
    model::{folded, is_deceptive},
};

/// How much of a name says what the report is restricted to.
const MAX_RESTRICTION_BYTES: usize = 96;

/// `<tenant name>_detailed_usage_<YYYY-MM>.csv`; with the tenant's id where another tenant's file would be named alike, and
/// with what the report is restricted to. `None`: there is no such tenant.
pub(super) async fn default_path(client: &mut Client, query: &UsageQuery) -> Result<Option<PathBuf>, CommandError> {
    let id = query.tenant_id.to_string();
    let tenants = client.tenants(&id, None).await?;
    let Some(tenant) = tenants.iter().find(|tenant| tenant.tenant_id == id) else { return Ok(None) };
    // Some file systems take upper and lower case for one.
    let is_namesake = |other: &Tenant| folded(&safe(&other.name)) == folded(&safe(&tenant.name));
    let namesakes = client.tenants(&tenant.name, None).await?.iter().filter(|other| is_namesake(other)).count();
    let id = if namesakes > 1 { format!("_{id}") } else { String::new() };
    let restriction = shortened(&safe(&restriction(query)), MAX_RESTRICTION_BYTES);
    let end = format!("{id}_detailed_usage_{}{restriction}.csv", query.month);
    let name = safe(&tenant.name);
    let name = name.trim_start_matches('.');
    let short_name = shortened(name, MAX_NAME_BYTES - end.len());
    let path = PathBuf::from(format!("{short_name}{end}"));
    if short_name != name {
        output::note(&format!("the tenant's name is too long for a file name, so the file is {}", path.display()));
    }
    Ok(Some(path))
}

/// What a report has not all of, and as of when it is.
fn restriction(query: &UsageQuery) -> String {
    let filter = &query.filter;
    let mut parts: Vec<String> = Vec::new();
    parts.extend(filter.asset_types.iter().map(ToString::to_string));
    parts.extend(filter.asset_ids.iter().cloned());
    parts.extend(filter.meter_names.iter().cloned());
    parts.extend(filter.billing_regions.iter().map(ToString::to_string));
    parts.extend(filter.trial.map(|trial| if trial { "trial" } else { "billable" }.to_owned()));
    parts.extend(query.as_of.map(|time| format!("as-of-{}", time.to_string().replace(':', ""))));
    parts.extend(query.statement.map(|number| format!("statement-{number}")));
    parts.into_iter().map(|part| format!("_{part}")).collect()
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
    use crate::model::{AssetType, BillingRegion, UsageFilter};

    #[test]
    fn a_name_says_what_the_report_is() {
        let tenant = "0f8fad5b-d9cb-469f-a165-70867728950e".parse().expect("an id");
        let whole = UsageQuery::new(tenant, "2022-02".parse().expect("a month"));
        assert_eq!(restriction(&whole), "");
        let filter = UsageFilter {
            asset_types: vec![AssetType::User],
            asset_ids: vec!["a/b".to_owned()],
            meter_names: vec!["user_hours".to_owned()],
            billing_regions: vec![BillingRegion::Eu, BillingRegion::Na],
            trial: Some(false),
        };
        let part = UsageQuery { filter, as_of: Some("2022-03-01T00:00:00Z".parse().expect("a time")), ..whole };
        assert_eq!(safe(&restriction(&part)), "_USER_a_b_user_hours_EU_NA_billable_as-of-2022-03-01T000000Z");
    }
}
