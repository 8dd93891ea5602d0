//! `loads` and `tenant`.

use serde_json::{Value, json};

use super::{
    CommandError,
    args::{Format, LoadsArgs, TenantArgs},
    output::{Rows, bill_state, note, print_json, text_or_null, time},
    tenants::{connect, to_json as tenant_to_json},
};
use crate::{
    client::TenantUsage,
    contract::proto::{Load, LoadState},
};

pub(super) async fn run(args: LoadsArgs) -> Result<(), CommandError> {
    let mut client = connect(&args.server).await?;
    let tenant = client.find_tenant(&args.tenant).await?;
    let loads = client.loads(tenant, args.month, args.as_of).await?;
    match args.format {
        Format::Table => {
            let count = loads.len();
            let headers =
                vec!["DAY", "SOURCE", "STATE", "RECORDS", "PUBLISHED AT", "BY", "FILE", "SUPERSEDED AT", "INSTEAD OF"];
            let rows = loads.into_iter().map(|load| {
                vec![
                    load.usage_day.clone(),
                    load.source.clone(),
                    state(&load).to_owned(),
                    load.record_count.to_string(),
                    time(load.published_at),
                    load.imported_by,
                    load.file_name,
                    time(load.superseded_at),
                    time(load.superseded_load_published_at),
                ]
            });
            Rows { headers, numbers: vec![3], rows: rows.collect() }.print_table()?;
            note(&format!("{count} loads"));
            Ok(())
        }
        Format::Csv => {
            let headers = vec![
                "usageDay",
                "source",
                "state",
                "publishedAt",
                "importedBy",
                "fileName",
                "recordCount",
                "digest",
                "supersededAt",
                "supersededLoadPublishedAt",
                "supersededRecordCount",
                "purged",
            ];
            let rows = loads.into_iter().map(|load| {
                vec![
                    load.usage_day.clone(),
                    load.source.clone(),
                    state(&load).to_owned(),
                    time(load.published_at),
                    load.imported_by,
                    load.file_name,
                    load.record_count.to_string(),
                    load.digest,
                    time(load.superseded_at),
                    time(load.superseded_load_published_at),
                    load.superseded_record_count.to_string(),
                    if load.purged { "TRUE" } else { "FALSE" }.to_owned(),
                ]
            });
            Ok(Rows { headers, numbers: Vec::new(), rows: rows.collect() }.print_csv()?)
        }
        Format::Json => Ok(print_json(&loads.iter().map(load_to_json).collect())?),
    }
}

fn state(load: &Load) -> &'static str {
    match load.state() {
        LoadState::Unspecified => "?",
        LoadState::InForce => "IN_FORCE",
        LoadState::Superseded => "SUPERSEDED",
        LoadState::Withdrawn => "WITHDRAWN",
    }
}

fn load_to_json(load: &Load) -> Value {
    json!({
        "usageDay": load.usage_day,
        "source": load.source,
        "state": state(load),
        "publishedAt": time(load.published_at),
        "importedBy": load.imported_by,
        "fileName": load.file_name,
        "recordCount": load.record_count,
        "digest": load.digest,
        "supersededAt": text_or_null(time(load.superseded_at)),
        "supersededLoadPublishedAt": text_or_null(time(load.superseded_load_published_at)),
        "supersededRecordCount": load.superseded_record_count,
        "purged": load.purged,
    })
}

pub(super) async fn tenant(args: TenantArgs) -> Result<(), CommandError> {
    let mut client = connect(&args.server).await?;
    let tenant = client.find_tenant(&args.tenant).await?;
    let TenantUsage { tenant, months, as_of } = client.tenant_usage(tenant, args.as_of).await?;
    let headers = vec!["MONTH", "RECORDS", "STATE", "STATEMENT", "DATA AS OF", "REVISION"];
    match args.format {
        Format::Table => {
            let rows = months.into_iter().map(|usage| {
                vec![
                    usage.month.to_string(),
                    usage.record_count.to_string(),
                    bill_state(usage.state).to_owned(),
                    usage.statement_number,
                    usage.data_as_of.to_string(),
                    usage.revision,
                ]
            });
            Ok(Rows { headers, numbers: vec![1], rows: rows.collect() }.print_table()?)
        }
        Format::Csv => {
            let headers = vec!["month", "recordCount", "state", "statementNumber", "dataAsOf", "revision"];
            let rows = months.into_iter().map(|usage| {
                let state = bill_state(usage.state).to_owned();
                let records = usage.record_count.to_string();
                let as_of = usage.data_as_of.to_string();
                vec![usage.month.to_string(), records, state, usage.statement_number, as_of, usage.revision]
            });
            Ok(Rows { headers, numbers: Vec::new(), rows: rows.collect() }.print_csv()?)
        }
        Format::Json => {
            let mut value = tenant_to_json(&tenant);
            value["asOf"] = as_of.to_string().into();
            let months = months.into_iter().map(|usage| {
                json!({
                    "month": usage.month.to_string(),
                    "recordCount": usage.record_count,
                    "state": bill_state(usage.state),
                    "statementNumber": text_or_null(usage.statement_number),
                    "dataAsOf": usage.data_as_of.to_string(),
                    "revision": usage.revision,
                })
            });
            value["months"] = months.collect();
            Ok(print_json(&value)?)
        }
    }
}
