//! Statements: bills that were closed, written once.

mod affected;
mod lines;
mod list;
mod publish;

use bigdecimal::BigDecimal;
use tokio_postgres::Row;

use super::{SnapshotTime, StoreError, columns};
use crate::{
    database::{Binds, PooledConnection, Statements as _, numeric::parse_sum},
    model::{Month, MonthRange, OrganizationId, StatementNumber, UtcTime},
    statement::Signature,
};

pub use affected::AffectedMonths;
pub use lines::{BilledKey, ReportLoad, ReportLoads, StatementLines};
pub(super) use lines::{billed, of_tenants as lines_of, read as read_lines, reports_of, totals_of};
pub use list::StoredKey;
pub use publish::{ClosingSession, NewStatement, Published, Sealed, StatementEntry};

/// A statement, without its lines.
#[derive(Clone, Debug)]
pub struct Statement {
    pub(super) id: i64,
    pub number: StatementNumber,
    pub billing_month: Month,
    /// What was published until then is in it.
    pub horizon: UtcTime,
    /// When it was published itself.
    pub closed_at: UtcTime,
    pub line_total: BigDecimal,
    pub adjustment_total: BigDecimal,
    /// The canonical form of its head.
    pub head: String,
    /// SHA-256 of the head.
    pub digest: [u8; 32],
    /// `None`: it was not signed.
    pub signature: Option<Signature>,
}

/// The columns of a [`Statement`], of `statement`.
const COLUMNS: &str = "statement_id, sequence_number, billing_month, horizon, closed_at, line_total::text AS line_total, adjustment_total::text AS adjustment_total, head, digest, key_id, signature";

// === impl Statement ===

impl Statement {
    /// What was published until its horizon.
    pub fn snapshot(&self) -> SnapshotTime {
        // Whoever sees the statement sees what was published before it.
        SnapshotTime::published(self.horizon)
    }

    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let sequence: i64 = row.try_get("sequence_number")?;
        let billing_month = columns::month(row, "billing_month")?;
        let signature =
            match (row.try_get::<_, Option<String>>("key_id")?, row.try_get::<_, Option<&[u8]>>("signature")?) {
                (Some(key_id), Some(bytes)) => {
                    let bytes = bytes.try_into().map_err(|_| StoreError::corrupt("a signature is not of 64 bytes"))?;
                    Some(Signature { key_id, bytes })
                }
                _ => None,
            };
        Ok(Self {
            id: row.try_get("statement_id")?,
            number: StatementNumber { billing_month, sequence: sequence.cast_unsigned() },
            billing_month,
            horizon: UtcTime::from_chrono(row.try_get("horizon")?),
            closed_at: UtcTime::from_chrono(row.try_get("closed_at")?),
            line_total: parse_sum(row.try_get("line_total")?)?,
            adjustment_total: parse_sum(row.try_get("adjustment_total")?)?,
            head: row.try_get("head")?,
            digest: columns::bytes(row, "digest")?,
            signature,
        })
    }
}

/// The statements of an organization that were published until a moment: those of some months, and the newest.
pub(super) async fn in_months(
    connection: &PooledConnection,
    organization: OrganizationId,
    months: MonthRange,
    until: UtcTime,
) -> Result<Vec<Statement>, StoreError> {
    let statement = format!(
        "-- statements_of_months
        SELECT {COLUMNS} FROM statement
        WHERE organization_id = $1 AND closed_at <= $2
          AND (billing_month BETWEEN $3 AND $4 OR billing_month = (
                  SELECT max(billing_month) FROM statement WHERE organization_id = $1 AND closed_at <= $2))
        ORDER BY billing_month"
    );
    let (start, end) = (months.start().first_day(), months.end().first_day());
    let binds: Binds<'_> = &[&organization.as_uuid(), &until.as_chrono(), &start, &end];
    connection.fetch_all(&statement, binds).await?.iter().map(Statement::from_row).collect()
}
