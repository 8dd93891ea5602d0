//! The lines and adjustments of statements, and what they have billed so far.

use std::collections::HashMap;

use bigdecimal::BigDecimal;
use chrono::NaiveDate;

use super::Statement;
use crate::{
    database::{Binds, PooledConnection, Statements as _, numeric::parse_sum},
    model::{BillingRegion, Month, OrganizationId, TenantId, UtcTime},
    store::{MeterKey, Store, StoreError, TenantKey, columns, usage_key::billing_region},
};

/// How many lines are read at once.
const LINES: i64 = 250;
/// How many reports are read at once: some 30 loads each.
const REPORTS: i64 = 50;

/// What is billed for itself: a tenant's usage of a meter in a region and month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BilledKey {
    pub month: Month,
    pub tenant: TenantKey,
    pub meter: MeterKey,
    pub billing_region: BillingRegion,
}

/// Which lines of a statement to read.
#[derive(Clone, Copy, Debug)]
pub struct StatementLines {
    /// Adjustments, not lines.
    pub adjustments: bool,
    /// Of one tenant.
    pub tenant: Option<TenantId>,
    /// After this number.
    pub after: i32,
}

impl Store {
    /// Some lines or adjustments of a statement, in order, in their canonical form, with their numbers; none after the last.
    pub async fn statement_lines(
        &self,
        statement: &Statement,
        lines: StatementLines,
    ) -> Result<Vec<(i32, String)>, StoreError> {
        read(&self.short().await?, statement, lines).await
    }

    /// Some reports of a statement, in order, in their canonical form, with their numbers; none after the last.
    pub async fn statement_reports(&self, statement: &Statement, after: i32) -> Result<Vec<(i32, String)>, StoreError> {
        let client = self.short().await?;
        let sql = "-- statement_reports
            SELECT report_number, content FROM statement_report
            WHERE statement_id = $1 AND report_number > $2
            ORDER BY report_number
            LIMIT $3";
        let rows = client.fetch_all(sql, &[&statement.id, &after, &LINES]).await?;
        rows.iter().map(|row| Ok((row.try_get("report_number")?, row.try_get("content")?))).collect()
    }
}

impl Store {
    /// The reports of a statement for some tenants, in their canonical form.
    pub async fn statement_reports_of(
        &self,
        statement: &Statement,
        tenants: &[TenantId],
    ) -> Result<Vec<String>, StoreError> {
        reports_of(&self.short().await?, statement, tenants).await
    }
}

/// What a detailed usage report was made of.
#[derive(Clone, Debug)]
pub struct ReportLoads {
    pub tenant: TenantId,
    pub month: Month,
    /// Those that have records, by day and source.
    pub loads: Vec<ReportLoad>,
}

/// The records of a day from a source.
#[derive(Clone, Debug)]
pub struct ReportLoad {
    pub usage_day: NaiveDate,
    pub source: String,
    pub record_count: i32,
    pub digest: [u8; 32],
}

impl Store {
    /// What the reports of a statement, and of what it adjusts, were made of: after some that were read before, by month and
    /// tenant; none after the last.
    pub async fn statement_loads(
        &self,
        statement: &Statement,
        after: Option<(Month, TenantId)>,
    ) -> Result<Vec<ReportLoads>, StoreError> {
        let client = self.short().await?;
        let sql = "-- statement_loads
            SELECT asked.tenant_id, asked.usage_month, l.usage_day, l.source, l.record_count, l.digest
            FROM (
                SELECT t.tenant_key, t.tenant_id, report.usage_month
                FROM (
                    SELECT tenant_key, $2::date AS usage_month FROM statement_report WHERE statement_id = $1
                    UNION
                    SELECT tenant_key, usage_month FROM statement_line WHERE statement_id = $1 AND adjustment
                ) AS report
                JOIN tenant t USING (tenant_key)
                WHERE $4::date IS NULL OR (report.usage_month, t.tenant_id) > ($4, $5::uuid)
                ORDER BY report.usage_month, t.tenant_id
                LIMIT $6
            ) AS asked
            LEFT JOIN LATERAL (
                SELECT * FROM loads_in_force(asked.tenant_key, asked.usage_month,
                                             (asked.usage_month + interval '1 month')::date - 1, $3) AS load
                WHERE load.record_count > 0
            ) AS l ON true
            ORDER BY asked.usage_month, asked.tenant_id, l.usage_day, l.source";
        let (after_month, after_tenant) = after.map(|(month, tenant)| (month.first_day(), tenant.as_uuid())).unzip();
        let binds: Binds<'_> = &[
            &statement.id,
            &statement.billing_month.first_day(),
            &statement.horizon.as_chrono(),
            &after_month,
            &after_tenant,
            &REPORTS,
        ];
        let rows = client.fetch_all(sql, binds).await?;
        let mut reports: Vec<ReportLoads> = Vec::new();
        for row in &rows {
            let month = columns::month(row, "usage_month")?;
            let tenant = TenantId::from_uuid(row.try_get("tenant_id")?);
            if reports.last().is_none_or(|last| (last.month, last.tenant) != (month, tenant)) {
                reports.push(ReportLoads { tenant, month, loads: Vec::new() });
            }
            // A month of which all was withdrawn has none.
            if let (Some(report), Some(usage_day)) = (reports.last_mut(), row.try_get("usage_day")?) {
                report.loads.push(ReportLoad {
                    usage_day,
                    source: row.try_get("source")?,
                    record_count: row.try_get("record_count")?,
                    digest: columns::bytes(row, "digest")?,
                });
            }
        }
        Ok(reports)
    }
}

pub(in crate::store) async fn read(
    connection: &PooledConnection,
    statement: &Statement,
    lines: StatementLines,
) -> Result<Vec<(i32, String)>, StoreError> {
    let sql = "-- statement_lines
        SELECT line_number, content FROM statement_line
        WHERE statement_id = $1 AND adjustment = $2 AND line_number > $3
          AND ($4::uuid IS NULL OR tenant_key = (SELECT tenant_key FROM tenant WHERE tenant_id = $4))
        ORDER BY line_number
        LIMIT $5";
    let tenant = lines.tenant.map(TenantId::as_uuid);
    let rows = connection.fetch_all(sql, &[&statement.id, &lines.adjustments, &lines.after, &tenant, &LINES]).await?;
    rows.iter().map(|row| Ok((row.try_get("line_number")?, row.try_get("content")?))).collect()
}

/// The lines of a statement for some tenants, in their canonical form, in no order.
pub(in crate::store) async fn of_tenants(
    connection: &PooledConnection,
    statement: &Statement,
    tenants: &[TenantKey],
) -> Result<Vec<(BilledKey, String)>, StoreError> {
    let sql = "-- statement_lines_of_tenants
        SELECT tenant_key, meter_key, billing_region, content FROM statement_line
        WHERE tenant_key = ANY ($1) AND usage_month = $2 AND statement_id = $3 AND NOT adjustment";
    let tenants: Vec<i64> = tenants.iter().map(|key| key.0).collect();
    let month = statement.billing_month;
    let rows = connection.fetch_all(sql, &[&tenants, &month.first_day(), &statement.id]).await?;
    let lines = rows.iter().map(|row| {
        let key = BilledKey {
            month,
            tenant: TenantKey(row.try_get("tenant_key")?),
            meter: MeterKey(row.try_get("meter_key")?),
            billing_region: billing_region(row.try_get("billing_region")?)?,
        };
        Ok((key, row.try_get("content")?))
    });
    lines.collect()
}

/// What the lines and the adjustments of a statement bill to one tenant.
pub(in crate::store) async fn totals_of(
    connection: &PooledConnection,
    statement: &Statement,
    tenant: TenantId,
) -> Result<[BigDecimal; 2], StoreError> {
    let sql = "-- statement_totals
        SELECT coalesce(sum(amount) FILTER (WHERE NOT adjustment), 0)::text AS lines,
               coalesce(sum(amount) FILTER (WHERE adjustment), 0)::text AS adjustments
        FROM statement_line
        WHERE statement_id = $1 AND tenant_key = (SELECT tenant_key FROM tenant WHERE tenant_id = $2)";
    let row = connection.fetch_one(sql, &[&statement.id, &tenant.as_uuid()]).await?;
    Ok([parse_sum(row.try_get("lines")?)?, parse_sum(row.try_get("adjustments")?)?])
}

/// The reports of a statement for some tenants.
pub(in crate::store) async fn reports_of(
    connection: &PooledConnection,
    statement: &Statement,
    tenants: &[TenantId],
) -> Result<Vec<String>, StoreError> {
    let sql = "-- statement_reports_of_tenants
        SELECT content FROM statement_report
        WHERE statement_id = $1
          AND tenant_key = ANY (ARRAY(SELECT tenant_key FROM tenant WHERE tenant_id = ANY ($2)))
        ORDER BY report_number";
    let tenants: Vec<_> = tenants.iter().map(|tenant| tenant.as_uuid()).collect();
    let rows = connection.fetch_all(sql, &[&statement.id, &tenants]).await?;
    rows.iter().map(|row| Ok(row.try_get("content")?)).collect()
}

/// What the statements of an organization that were published until a moment have billed for usage of these tenants in these
/// months.
pub(in crate::store) async fn billed(
    connection: &PooledConnection,
    organization: OrganizationId,
    until: UtcTime,
    tenants: &[i64],
    months: &[NaiveDate],
) -> Result<HashMap<BilledKey, BigDecimal>, StoreError> {
    let sql = "-- billed
        SELECT l.usage_month, l.tenant_key, l.meter_key, l.billing_region, coalesce(sum(l.amount), 0)::text AS amount
        FROM statement_line l JOIN statement s USING (statement_id)
        WHERE l.tenant_key = ANY ($1) AND l.usage_month = ANY ($2) AND s.organization_id = $3 AND s.closed_at <= $4
        GROUP BY l.usage_month, l.tenant_key, l.meter_key, l.billing_region";
    let binds: Binds<'_> = &[&tenants, &months, &organization.as_uuid(), &until.as_chrono()];
    let rows = connection.fetch_all(sql, binds).await?;
    let billed = rows.iter().map(|row| {
        let key = BilledKey {
            month: columns::month(row, "usage_month")?,
            tenant: TenantKey(row.try_get("tenant_key")?),
            meter: MeterKey(row.try_get("meter_key")?),
            billing_region: billing_region(row.try_get("billing_region")?)?,
        };
        Ok((key, parse_sum(row.try_get("amount")?)?))
    });
    billed.collect()
}
