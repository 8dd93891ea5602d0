//! What costs are made of: the usage of an organization's tenants, added up by load, and the price lists.

use bigdecimal::BigDecimal;
use chrono::NaiveDate;

use super::{
    MeterKey, SnapshotTime, Store, StoreError,
    pricing::{self, PRICING_COLUMNS},
    tenants::{TenantKey, VisibleOrganization},
    usage_key::{billing_region, usage_key},
};
use crate::{
    database::{Statements as _, numeric::parse_sum},
    model::{BillingRegion, Month, MonthRange, Pricing, TenantId, UsageKey, UtcTime},
};

/// A tenant of an organization, as a bill names it.
#[derive(Clone, Debug)]
pub struct CostTenant {
    pub key: TenantKey,
    pub id: TenantId,
    pub name: String,
    pub plan: String,
}

/// A tenant's month that a bill is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostMonth {
    pub month: Month,
    pub tenant: TenantKey,
    /// The revision of its detailed usage report.
    pub revision: [u8; 32],
    /// When its newest load was published.
    pub data_as_of: UtcTime,
}

/// What a tenant used in a month, for a meter, region and trial.
#[derive(Clone, Debug)]
pub struct MonthUsage {
    pub month: Month,
    pub tenant: TenantKey,
    pub key: UsageKey<MeterKey>,
    /// The exact sum.
    pub quantity: BigDecimal,
    pub record_count: i64,
}

/// A price of a meter.
#[derive(Clone, Debug)]
pub struct Price {
    /// What is priced.
    pub meter: MeterKey,
    /// Where; `None`: in every region without a price of its own.
    pub billing_region: Option<BillingRegion>,
    /// The first month that it applies to.
    pub effective_from: Month,
    pub pricing: Pricing,
}

/// Everything that the costs of an organization are computed from, at one snapshot.
#[derive(Clone, Debug)]
pub struct OrganizationCosts {
    /// The tenants, ordered by name and id.
    pub tenants: Vec<CostTenant>,
    /// The months that have usage.
    pub months: Vec<CostMonth>,
    /// The usage, in no order.
    pub usage: Vec<MonthUsage>,
    /// The prices in the organization's currency.
    pub prices: Vec<Price>,
}

impl Store {
    /// Reads what the costs of an organization, or of one of its tenants, are computed from.
    pub async fn organization_costs(
        &self,
        organization: &VisibleOrganization,
        tenant_id: Option<TenantId>,
        months: MonthRange,
        snapshot: SnapshotTime,
    ) -> Result<OrganizationCosts, StoreError> {
        let tenants = self.cost_tenants(organization, tenant_id).await?;
        let keys: Vec<i64> = tenants.iter().map(|tenant| tenant.key.0).collect();
        // Side by side; the snapshot keeps the two alike.
        let ((months, usage), prices) =
            tokio::try_join!(self.month_usage(&keys, months, snapshot), self.prices(organization, months, snapshot),)?;
        Ok(OrganizationCosts { tenants, months, usage, prices })
    }

    async fn cost_tenants(
        &self,
        organization: &VisibleOrganization,
        tenant_id: Option<TenantId>,
    ) -> Result<Vec<CostTenant>, StoreError> {
        let client = self.short().await?;
        let statement = "-- cost_tenants
            SELECT tenant_key, tenant_id, name, plan
            FROM tenant
            WHERE organization_id = $1 AND ($2::uuid IS NULL OR tenant_id = $2)
            ORDER BY name, tenant_id";
        let tenant_id = tenant_id.map(TenantId::as_uuid);
        let rows = client.fetch_all(statement, &[&organization.id().as_uuid(), &tenant_id]).await?;
        rows.iter()
            .map(|row| {
                Ok(CostTenant {
                    key: TenantKey(row.try_get("tenant_key")?),
                    id: TenantId::from_uuid(row.try_get("tenant_id")?),
                    name: row.try_get("name")?,
                    plan: row.try_get("plan")?,
                })
            })
            .collect()
    }

    /// The months as they stood at the snapshot, and what they add up to.
    async fn month_usage(
        &self,
        tenants: &[i64],
        months: MonthRange,
        snapshot: SnapshotTime,
    ) -> Result<(Vec<CostMonth>, Vec<MonthUsage>), StoreError> {
        let client = self.short().await?;
        let statement = "-- month_usage
            SELECT m.usage_month, m.tenant_key, m.revision, m.published_at, t.meter_key, t.billing_region, t.trial,
                   t.quantity::text AS quantity, t.record_count
            FROM unnest($1::bigint[]) AS tenant (key)
            CROSS JOIN unnest($2::date[]) AS month (first_day)
            CROSS JOIN LATERAL (
                SELECT * FROM usage_month m
                WHERE m.tenant_key = tenant.key AND m.usage_month = month.first_day AND m.published_at <= $3
                ORDER BY m.published_at DESC
                LIMIT 1
            ) m
            JOIN usage_month_total t ON t.tenant_key = m.tenant_key AND t.usage_month = m.usage_month
                                    AND t.published_at = m.published_at
            ORDER BY m.usage_month, m.tenant_key";
        let first_days: Vec<NaiveDate> = months.iter().map(Month::first_day).collect();
        let rows = client.fetch_all(statement, &[&tenants, &first_days, &snapshot.time().as_chrono()]).await?;
        let mut months: Vec<CostMonth> = Vec::new();
        let mut usage = Vec::with_capacity(rows.len());
        for row in &rows {
            let (month, tenant) = (month(row.try_get("usage_month")?)?, TenantKey(row.try_get("tenant_key")?));
            if months.last().is_none_or(|last| (last.month, last.tenant) != (month, tenant)) {
                let revision: &[u8] = row.try_get("revision")?;
                months.push(CostMonth {
                    month,
                    tenant,
                    revision: revision.try_into().map_err(|_| StoreError::corrupt("a revision is not of 32 bytes"))?,
                    data_as_of: UtcTime::from_chrono(row.try_get("published_at")?),
                });
            }
            usage.push(MonthUsage {
                month,
                tenant,
                key: usage_key(row)?,
                quantity: parse_sum(row.try_get("quantity")?)?,
                record_count: row.try_get("record_count")?,
            });
        }
        Ok((months, usage))
    }

    async fn prices(
        &self,
        organization: &VisibleOrganization,
        months: MonthRange,
        snapshot: SnapshotTime,
    ) -> Result<Vec<Price>, StoreError> {
        let client = self.short().await?;
        let statement = format!(
            "-- prices
            SELECT p.meter_key, p.billing_region, p.effective_from, {PRICING_COLUMNS}
            FROM price p JOIN price_tier t USING (price_id)
            WHERE p.currency = $1 AND p.effective_from <= $2
              AND p.applied_at <= $3 AND (p.superseded_at IS NULL OR p.superseded_at > $3)
            ORDER BY p.price_id, t.from_quantity"
        );
        let rows = client
            .fetch_all(
                &statement,
                &[&organization.currency().code(), &months.end().first_day(), &snapshot.time().as_chrono()],
            )
            .await?;
        let prices = pricing::by_price(&rows).map(|rows| {
            let region: Option<i16> = rows[0].try_get("billing_region")?;
            Ok(Price {
                meter: MeterKey(rows[0].try_get("meter_key")?),
                billing_region: region.map(billing_region).transpose()?,
                effective_from: month(rows[0].try_get("effective_from")?)?,
                pricing: pricing::from_rows(rows)?,
            })
        });
        prices.collect()
    }
}

fn month(first_day: NaiveDate) -> Result<Month, StoreError> {
    Month::of(first_day).ok_or_else(|| StoreError::corrupt(format!("{first_day} is in no month")))
}
