//! `migrate` and `catalog apply`.

mod preview;

use std::path::Path;

use super::{
    CommandError,
    args::{CatalogApplyArgs, MigrateArgs},
    database::Database,
    output::{note, say},
};
use crate::{
    catalog::{self, Catalog, CatalogFormat, InvalidCatalog},
    model::UtcTime,
    store::{self, Access, AffectedMonths, CatalogChanges, Changes, Distributed, Grant, Layout, Store, StoreConfig},
};

pub(super) async fn migrate(args: MigrateArgs) -> Result<(), CommandError> {
    let database = Database::connect(&args.database).await?;
    let applied = store::migrate(&database.url).await?;
    // All of it is done before any of it is told: nobody may be reading.
    let distributed = if args.distribute { Some(store::distribute(&database.url).await?) } else { None };
    let layout = store::layout(&database.url).await?;
    let granted = match args.grant_to.as_slice() {
        [] => None,
        grants => Some(store::grant(&database.url, grants).await?),
    };
    match applied.as_slice() {
        [] => say!("the schema is up to date")?,
        applied => say!("applied {}", applied.join(", "))?,
    }
    match distributed {
        Some(Distributed { workers, is_new }) => {
            let when = if is_new { "now" } else { "as before" };
            say!("records are spread over {workers} workers of Citus, {when}")?;
        }
        None if layout == Layout::Spreadable => say!("records lie {layout}")?,
        None => {}
    }
    if let Some(granted) = granted {
        for Grant { access, role } in &args.grant_to {
            match access {
                Access::Reader => say!("{role} may read, but not change anything")?,
                Access::Writer => say!("{role} may read, import usage, apply catalogs and close months")?,
            }
        }
        for (role, what, revoke) in granted.left {
            say!("{role} may still {what}, as everyone may: have an administrator run {revoke}")?;
        }
        for role in granted.new {
            say!(
                "{role} is new and cannot log in: run ALTER ROLE {role} LOGIN PASSWORD '...', or GRANT {role} TO a \
                 role that can"
            )?;
        }
    }
    Ok(())
}

/// Reads a catalog file, which may be wrong.
pub(super) async fn read(path: &Path) -> Result<Result<Catalog, InvalidCatalog>, CommandError> {
    let name = path.display();
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => CatalogFormat::Toml,
        Some("json") => CatalogFormat::Json,
        _ => return Err(format!("{name}: a catalog must be a .toml or .json file").into()),
    };
    // It may be a pipe, which has to be waited for.
    let file = path.to_owned();
    let text = tokio::task::spawn_blocking(|| std::fs::read_to_string(file)).await?;
    let text = text.map_err(|error| format!("{name}: {error}"))?;
    Ok(catalog::read(&text, format))
}

pub(super) async fn apply(args: CatalogApplyArgs) -> Result<(), CommandError> {
    let path = args.file.display();
    let refused = |error: &dyn std::fmt::Display| format!("{path} was not applied, and nothing was changed:\n{error}");
    let catalog = read(&args.file).await?.map_err(|error| refused(&error))?;
    let database = Database::open(&args.database).await?;
    let config = args.publish.config(&database.url);
    if let Some(months) = args.preview {
        let changes = store::try_out_catalog(&config, &catalog).await.map_err(|error| refused(&error))?;
        return preview::show(&config, &catalog, changes, months).await;
    }
    let changes = store::apply_catalog(&config, &catalog).await.map_err(|error| refused(&error))?;
    tell(changes)?;
    if let Some(published_at) = changes.published_at {
        tell_of_closed_months(&config, published_at).await;
    }
    Ok(())
}

/// The catalog is applied, whatever becomes of this.
async fn tell_of_closed_months(config: &StoreConfig, published_at: UtcTime) {
    let found = async { Store::new(config)?.affected_months(published_at).await };
    match found.await {
        Ok(None) => {}
        Ok(Some(AffectedMonths { organizations, first, last })) => note(&format!(
            "note: {organizations} organizations have closed months that these prices are of ({first} to {last}): their statements \
             stay, and where usage costs something else now, adjustments follow on the bills of their first open months"
        )),
        Err(error) => note(&format!("warning: it is not known whether adjustments of closed months follow: {error}")),
    }
}

fn tell(changes: CatalogChanges) -> Result<(), CommandError> {
    for (kind, changes) in [
        ("organizations", changes.organizations),
        ("tenants", changes.tenants),
        ("meters", changes.meters),
        ("prices", changes.prices),
    ] {
        let Changes { created, updated, unchanged } = changes;
        say!("{kind:<14}{created:>6} created {updated:>6} updated {unchanged:>6} unchanged")?;
    }
    Ok(())
}
