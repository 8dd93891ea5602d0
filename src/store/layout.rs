//! Where records lie: with everything else, or apart from it on the machines of Citus, by tenant (`docs/scaling.md`).
//!
//! What is published, and the clock that it is published by, always lies on one machine: on others, a commit becomes visible on one
//! after the other, and a report could find a part of it.

use std::fmt;

use tokio_postgres::Error;

use super::{StoreError, admin::TABLES};
use crate::database::{DatabaseError, Statements};

/// The tables that may lie apart.
pub(super) const APART: [&str; 2] = ["asset", "usage_block"];

/// Where records lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// On the machine of everything else.
    Together,
    /// The same, and the database could spread them.
    Spreadable,
    /// On other machines, by tenant.
    Apart,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Together => "with everything else",
            Self::Spreadable => "with everything else; `migrate --distribute` spreads them over the machines of Citus",
            Self::Apart => "on the machines of Citus, by tenant",
        })
    }
}

// === impl Layout ===

impl Layout {
    /// The layout of a database. It is refused where other tables are spread than those of records, or these by other columns.
    pub(super) async fn of(client: &impl Statements<Error = Error>) -> Result<Self, StoreError> {
        let has_citus = "-- citus\nSELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL AS has_citus";
        if !client.fetch_one(has_citus, &[]).await?.try_get::<_, bool>("has_citus")? {
            return Ok(Self::Together);
        }
        let spread = "-- spread_tables
            SELECT coalesce(string_agg(c.relname::text, ', ' ORDER BY c.relname), '') AS tables,
                   count(DISTINCT d.colocationid) = 1 AS are_side_by_side,
                   bool_and(d.partmethod = 'h' AND column_to_column_name(d.logicalrelid, d.partkey) = 'tenant_key') AS are_by_tenant
            FROM pg_catalog.pg_dist_partition d JOIN pg_class c ON c.oid = d.logicalrelid
            -- Tables that it only knows of lie where they were.
            WHERE NOT (d.partmethod = 'n' AND d.repmodel <> 't')
              AND c.relnamespace = 'public'::regnamespace AND c.relname = ANY (string_to_array($1, ', '))";
        let row = client.fetch_one(spread, &[&TABLES]).await?;
        let tables: String = row.try_get("tables")?;
        if tables.is_empty() {
            return Ok(Self::Spreadable);
        }
        let is = |column: &str| Ok::<bool, Error>(row.try_get::<_, Option<bool>>(column)? == Some(true));
        if tables == APART.join(", ") && is("are_side_by_side")? && is("are_by_tenant")? {
            return Ok(Self::Apart);
        }
        Err(DatabaseError::Unsuitable(format!(
            "Citus has distributed tables of this service ({tables}) in another way than `migrate --distribute` does it, and a report could find a \
             part of what was published: bring each back with SELECT undistribute_table('TABLE', cascade_via_foreign_keys => true)"
        ))
        .into())
    }
}
