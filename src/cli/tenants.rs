//! `tenants`.

use serde_json::json;

use super::{
    CommandError,
    args::{Format, ReadArgs, TenantsArgs},
    output::{Rows, month, note, print_json, text_or_null, time},
};
use crate::{client::Client, contract::proto::Tenant, model::TenantStatus};

pub(super) async fn connect(args: &ReadArgs) -> Result<Client, CommandError> {
    Ok(Client::connect(&args.config()?).await?)
}

pub(super) async fn run(args: TenantsArgs) -> Result<(), CommandError> {
    let mut client = connect(&args.server).await?;
    let organization = match &args.organization {
        Some(organization) => Some(client.find_organization(organization).await?),
        None => None,
    };
    let tenants = client.tenants(&args.search, organization).await?;
    print(tenants, args.format)
}

pub(super) fn print(tenants: Vec<Tenant>, format: Format) -> Result<(), CommandError> {
    match format {
        Format::Table => {
            let count = tenants.len();
            let rows = tenants.into_iter().map(|tenant| {
                let [first, last] = usage_months(&tenant);
                let usage = if first.is_empty() { "-".to_owned() } else { format!("{first} to {last}") };
                let status = status(&tenant).to_owned();
                vec![tenant.organization_name, tenant.name, tenant.tenant_id, status, tenant.plan, usage]
            });
            let headers = vec!["ORGANIZATION", "TENANT", "TENANT ID", "STATUS", "PLAN", "USAGE"];
            Rows { headers, numbers: Vec::new(), rows: rows.collect() }.print_table()?;
            note(&format!("{count} tenants"));
            Ok(())
        }
        Format::Csv => {
            let headers = vec![
                "tenantId",
                "name",
                "organizationId",
                "organizationName",
                "status",
                "plan",
                "trial",
                "trialExpiry",
                "firstUsageMonth",
                "lastUsageMonth",
            ];
            let rows = tenants.into_iter().map(|tenant| {
                let [first, last] = usage_months(&tenant);
                let status = status(&tenant).to_owned();
                vec![
                    tenant.tenant_id,
                    tenant.name,
                    tenant.organization_id,
                    tenant.organization_name,
                    status,
                    tenant.plan,
                    if tenant.trial { "TRUE" } else { "FALSE" }.to_owned(),
                    time(tenant.trial_expiry),
                    first,
                    last,
                ]
            });
            Ok(Rows { headers, numbers: Vec::new(), rows: rows.collect() }.print_csv()?)
        }
        Format::Json => Ok(print_json(&tenants.iter().map(to_json).collect())?),
    }
}

pub(super) fn to_json(tenant: &Tenant) -> serde_json::Value {
    let [first, last] = usage_months(tenant);
    let status = status(tenant);
    json!({
        "tenantId": tenant.tenant_id,
        "name": tenant.name,
        "organizationId": tenant.organization_id,
        "organizationName": tenant.organization_name,
        "status": status,
        "plan": tenant.plan,
        "trial": tenant.trial,
        "trialExpiry": text_or_null(time(tenant.trial_expiry)),
        "firstUsageMonth": text_or_null(first),
        "lastUsageMonth": text_or_null(last),
    })
}

fn usage_months(tenant: &Tenant) -> [String; 2] {
    [month(tenant.first_usage_month), month(tenant.last_usage_month)]
}

fn status(tenant: &Tenant) -> &'static str {
    TenantStatus::from_code(tenant.status).map_or("?", TenantStatus::as_str)
}
