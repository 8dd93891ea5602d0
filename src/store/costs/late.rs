//! What may have changed of closed months, and what statements have billed for them.

use std::{collections::HashMap, sync::Arc};

use bigdecimal::BigDecimal;
use chrono::NaiveDate;

use super::{CostPart, CostReader, CostTenant};
use crate::{
    database::{Binds, Statements as _},
    model::{Month, TenantId},
    store::{BilledKey, Statement, StatementLines, StoreError, TenantKey, columns, statements},
};

/// A closed month of a tenant that may cost something else than it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateMonth {
    pub tenant: TenantKey,
    pub tenant_id: TenantId,
    pub month: Month,
}

impl CostReader {
    /// The months of tenants that were closed when the newest statement was published and of which something has changed since
    /// its horizon: their usage, or a price that they have. By month, tenant name and tenant id.
    pub async fn late_months(&self, newest: &Statement) -> Result<Vec<LateMonth>, StoreError> {
        // A month closes when it is over, so what came after its statement came after its end: those have an index.
        let sql = "-- late_months
            WITH price_change AS (
                SELECT min(effective_from) AS first_month FROM price
                WHERE currency = $3 AND effective_from <= $4
                  AND (applied_at > $5 AND applied_at <= $6 OR superseded_at > $5 AND superseded_at <= $6)
            ),
            charge_change AS (
                SELECT EXISTS (
                    SELECT FROM uncharged_meter
                    WHERE applied_at > $5 AND applied_at <= $6 OR superseded_at > $5 AND superseded_at <= $6
                ) AS any
            ),
            late AS (
                SELECT m.tenant_key, m.usage_month
                FROM tenant t JOIN usage_month m USING (tenant_key)
                WHERE t.organization_id = $1 AND ($2::uuid IS NULL OR t.tenant_id = $2) AND m.usage_month <= $4
                  AND m.published_at > $5 AND m.published_at <= $6
                  AND m.published_at >= (m.usage_month + interval '1 month') AT TIME ZONE 'UTC'
                UNION
                SELECT m.tenant_key, m.usage_month
                FROM tenant t JOIN usage_month m USING (tenant_key), price_change, charge_change
                WHERE t.organization_id = $1 AND ($2::uuid IS NULL OR t.tenant_id = $2) AND m.published_at <= $6
                  AND m.usage_month <= $4 AND (charge_change.any OR m.usage_month >= price_change.first_month)
            )
            SELECT late.tenant_key, t.tenant_id, late.usage_month
            FROM late JOIN tenant t USING (tenant_key)
            ORDER BY late.usage_month, t.name, t.tenant_id";
        let query = &self.query;
        let (organization, tenant) = (query.organization.as_uuid(), query.tenant.map(TenantId::as_uuid));
        let (currency, last) = (query.currency.code(), newest.billing_month.first_day());
        let (since, until) = (newest.horizon.as_chrono(), query.snapshot.time().as_chrono());
        let binds: Binds<'_> = &[&organization, &tenant, &currency, &last, &since, &until];
        let rows = self.connection.fetch_all(sql, binds).await?;
        let late = rows.iter().map(|row| {
            Ok(LateMonth {
                tenant: TenantKey(row.try_get("tenant_key")?),
                tenant_id: TenantId::from_uuid(row.try_get("tenant_id")?),
                month: columns::month(row, "usage_month")?,
            })
        });
        late.collect()
    }

    /// What some months of tenants are made of, and what statements that were published until the snapshot have billed for
    /// them.
    pub async fn late_part(
        &self,
        late: &[LateMonth],
    ) -> Result<(CostPart, HashMap<BilledKey, BigDecimal>), StoreError> {
        self.check_time()?;
        let asked: Vec<_> = late.iter().map(|late| (late.tenant, late.month)).collect();
        let (keys, first_days): (Vec<i64>, Vec<NaiveDate>) =
            asked.iter().map(|(tenant, month)| (tenant.0, month.first_day())).unzip();
        let tenants = "-- late_tenants
            SELECT tenant_key, tenant_id, name, plan FROM tenant WHERE tenant_key = ANY ($1) ORDER BY name, tenant_id";
        let rows = self.connection.fetch_all(tenants, &[&keys]).await?;
        let tenants: Arc<[CostTenant]> = rows.iter().map(CostTenant::from_row).collect::<Result<_, _>>()?;
        let (months, usage) = self.query.usage(&self.connection, &asked).await?;
        let (organization, until) = (self.query.organization, self.query.snapshot.time());
        let mut billed = statements::billed(&self.connection, organization, until, &keys, &first_days).await?;
        billed.retain(|key, _| asked.contains(&(key.tenant, key.month)));
        Ok((CostPart { tenants, months, usage }, billed))
    }

    /// Some lines or adjustments of a statement; none after the last.
    pub async fn statement_lines(
        &self,
        statement: &Statement,
        adjustments: bool,
        after: i32,
    ) -> Result<Vec<(i32, String)>, StoreError> {
        let lines = StatementLines { adjustments, tenant: self.query.tenant, after };
        statements::read_lines(&self.connection, statement, lines).await
    }

    /// What the lines and the adjustments of a statement add up to, as far as they are asked for.
    pub async fn statement_totals(&self, statement: &Statement) -> Result<[BigDecimal; 2], StoreError> {
        match self.query.tenant {
            Some(tenant) => statements::totals_of(&self.connection, statement, tenant).await,
            None => Ok([statement.line_total.clone(), statement.adjustment_total.clone()]),
        }
    }

    /// The reports that lines of these tenants come from, in a statement.
    pub async fn reports_of_statement(
        &self,
        statement: &Statement,
        tenants: &[TenantId],
    ) -> Result<Vec<String>, StoreError> {
        statements::reports_of(&self.connection, statement, tenants).await
    }

    /// The name of a tenant of the organization.
    pub async fn name_of(&self, tenant: TenantId) -> Result<Option<String>, StoreError> {
        let sql = "-- name_of_tenant\nSELECT name FROM tenant WHERE organization_id = $1 AND tenant_id = $2";
        let binds: Binds<'_> = &[&self.query.organization.as_uuid(), &tenant.as_uuid()];
        let row = self.connection.fetch_optional(sql, binds).await?;
        Ok(row.map(|row| row.try_get("name")).transpose()?)
    }

    /// The first month of which the organization has usage.
    pub async fn first_usage_month(&self) -> Result<Option<Month>, StoreError> {
        let sql = "-- first_usage_month
            SELECT first.usage_month
            FROM tenant t
            CROSS JOIN LATERAL (
                SELECT m.usage_month FROM usage_month m
                WHERE m.tenant_key = t.tenant_key AND m.published_at <= $2
                ORDER BY m.usage_month
                LIMIT 1
            ) first
            WHERE t.organization_id = $1
            ORDER BY first.usage_month
            LIMIT 1";
        let binds: Binds<'_> = &[&self.query.organization.as_uuid(), &self.query.snapshot.time().as_chrono()];
        let row = self.connection.fetch_optional(sql, binds).await?;
        row.map(|row| columns::month(&row, "usage_month")).transpose()
    }
}
