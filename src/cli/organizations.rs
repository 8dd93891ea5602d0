//! `organizations`.

use serde_json::json;

use super::{
    CommandError,
    args::{Format, OrganizationsArgs},
    output::{Rows, note, print_json},
    tenants::connect,
};

pub(super) async fn run(args: OrganizationsArgs) -> Result<(), CommandError> {
    let mut client = connect(&args.server).await?;
    let organizations = client.organizations().await?;
    let count = organizations.len();
    match args.format {
        Format::Table => {
            let rows = organizations.into_iter().map(|found| vec![found.name, found.organization_id, found.currency]);
            let headers = vec!["ORGANIZATION", "ORGANIZATION ID", "CURRENCY"];
            Rows { headers, numbers: Vec::new(), rows: rows.collect() }.print_table()?;
            note(&format!("{count} organizations"));
            Ok(())
        }
        Format::Csv => {
            let rows = organizations.into_iter().map(|found| vec![found.organization_id, found.name, found.currency]);
            let headers = vec!["organizationId", "name", "currency"];
            Ok(Rows { headers, numbers: Vec::new(), rows: rows.collect() }.print_csv()?)
        }
        Format::Json => {
            let organizations = organizations.into_iter().map(|found| {
                json!({ "organizationId": found.organization_id, "name": found.name, "currency": found.currency })
            });
            Ok(print_json(&organizations.collect())?)
        }
    }
}
