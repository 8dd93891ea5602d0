//! `close`.

use bigdecimal::Zero as _;
use futures_util::{StreamExt as _, stream};

use super::{
    CommandError,
    args::CloseArgs,
    database::Database,
    import::account,
    output::{note, say},
};
use crate::{
    auth::TenantScope,
    billing::{CloseError, CloseRequest, Closed, Closer},
    model::{Named, OrganizationId},
    store::{OrganizationSummary, Store, StoreConfig},
};

/// How many organizations are closed side by side.
const CLOSERS: usize = 4;
/// How many organizations are read at once to find one by its name.
const PAGE_SIZE: u16 = 1000;

pub(super) async fn run(args: CloseArgs) -> Result<(), CommandError> {
    let key = args.key.read()?;
    let database = Database::open(&args.database).await?;
    let config = StoreConfig { short_connections: 4 * CLOSERS, ..args.publish.config(&database.url) };
    let store = Store::new(&config)?;
    let request = |organization_id| CloseRequest {
        organization_id,
        month: args.month,
        allow_unpriced: args.allow_unpriced,
        allow_missing_days: args.allow_missing_days,
        dry_run: args.dry_run,
    };
    let scope = TenantScope::operator();
    let open = || Closer::open(store.clone(), &config, key.clone(), account());
    if key.is_none() && !args.dry_run {
        note("note: without --statement-key the statements are not signed");
    }
    if let Some(organization) = &args.organization {
        let organization = find_organization(&store, &scope, organization).await?;
        let closed = open().await?.close(&scope, &request(organization)).await?;
        return tell(&closed);
    }
    let organizations = store.organizations_with_usage(args.month).await?;
    if organizations.is_empty() {
        say!("no organization has usage up to {}", args.month)?;
        return Ok(());
    }
    let mut closers = Vec::new();
    for _ in 0..CLOSERS.min(organizations.len()) {
        closers.push(open().await?);
    }
    let count = closers.len();
    // Each of them closes every n-th.
    let shares = closers.into_iter().enumerate().map(|(index, closer)| {
        let share = organizations.iter().copied().enumerate().skip(index).step_by(count);
        close_all(closer, &scope, share.map(|(place, organization)| (place, request(organization))).collect())
    });
    let mut results: Vec<_> = stream::iter(shares).buffer_unordered(count).concat().await;
    results.sort_by_key(|(place, _)| *place);
    let mut refused = 0;
    for (place, result) in &results {
        match result {
            Ok(closed) => tell(closed)?,
            Err(error) => {
                refused += 1;
                note(&format!("{}: not closed: {error}", organizations[*place]));
            }
        }
    }
    if refused > 0 {
        let done = results.len() - refused;
        return Err(format!("{refused} of {} organizations were not closed; {done} are", results.len()).into());
    }
    Ok(())
}

/// Finds an organization by its id, or by a name that only one has.
async fn find_organization(
    store: &Store,
    scope: &TenantScope,
    id_or_name: &str,
) -> Result<OrganizationId, CommandError> {
    if let Ok(id) = id_or_name.parse() {
        return Ok(id);
    }
    let mut organizations = Vec::new();
    loop {
        let after = organizations.last().map(OrganizationSummary::position);
        let page = store.list_organizations(scope, after.as_ref(), PAGE_SIZE).await?;
        if page.organizations.is_empty() {
            break;
        }
        organizations.extend(page.organizations);
    }
    match Named::of(organizations, id_or_name, |organization| &organization.name) {
        Named::Nothing => Err(format!("there is no organization named {id_or_name:?}").into()),
        Named::One(organization) => Ok(organization.id),
        Named::Several(several) => {
            let ids: Vec<_> = several.iter().map(|organization| organization.id.to_string()).collect();
            let ids = ids.join("\n  ");
            Err(format!("several organizations are named {id_or_name:?}; use the id of one of them:\n  {ids}").into())
        }
    }
}

/// Closes some, each with its place among all.
async fn close_all(
    mut closer: Closer,
    scope: &TenantScope,
    requests: Vec<(usize, CloseRequest)>,
) -> Vec<(usize, Result<Closed, CloseError>)> {
    let mut results = Vec::with_capacity(requests.len());
    for (place, request) in requests {
        results.push((place, closer.close(scope, &request).await));
    }
    results
}

fn tell(closed: &Closed) -> Result<(), CommandError> {
    let (name, currency) = (closed.organization.name(), closed.currency());
    let (cost, adjustment) = (closed.cost.to_plain_string(), closed.adjustment.to_plain_string());
    let due = closed.amount_due().to_plain_string();
    let number = closed.statement.as_ref().map(|statement| format!(": statement {}", statement.number));
    let parts =
        if closed.adjustment.is_zero() { String::new() } else { format!(" ({cost} and adjustments of {adjustment})") };
    say!("{name}: {}{}, {due} {currency}{parts}", closed.outcome.name(), number.unwrap_or_default())?;
    Ok(())
}
