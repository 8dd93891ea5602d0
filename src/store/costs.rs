//! What costs are made of: the usage of an organization's tenants, added up by load, and the price lists.

use bigdecimal::BigDecimal;
use chrono::NaiveDate;

use super::{
    Horizon, Load, MeterKey, Store, StoreError,
    loads::{billing_region, usage_key},
    numeric::{Numeric, parse_sum},
    tenants::{TenantKey, VisibleOrganization},
};
use crate::model::{BillingRegion, Month, MonthRange, PriceTier, TenantId, UsageKey};

/// A tenant of an organization, as a bill names it.
#[derive(Clone, Debug)]
pub struct CostTenant {
    /// The key.
    pub key: TenantKey,
    /// The GUID.
    pub id: TenantId,
    /// The name.
    pub name: String,
    /// The plan.
    pub plan: String,
}

/// What a tenant used in a month, for a meter, region and trial.
#[derive(Clone, Debug)]
pub struct MonthUsage {
    /// The month.
    pub month: Month,
    /// The tenant.
    pub tenant: TenantKey,
    /// The meter, region and trial.
    pub key: UsageKey<MeterKey>,
    /// The exact sum.
    pub quantity: BigDecimal,
    /// Of how many records.
    pub record_count: i64,
}

/// A graduated price.
#[derive(Clone, Debug)]
pub struct Price {
    /// What is priced.
    pub meter: MeterKey,
    /// Where; `None`: in every region without a price of its own.
    pub billing_region: Option<BillingRegion>,
    /// The first month that it applies to.
    pub effective_from: Month,
    /// In order; only the last has no end.
    pub tiers: Vec<PriceTier>,
}

/// Everything that the costs of an organization are computed from, at one horizon.
#[derive(Clone, Debug)]
pub struct OrganizationCosts {
    /// The tenants, ordered by name and id.
    pub tenants: Vec<CostTenant>,
    /// The loads in force, per month and tenant, each ordered by day and source.
    pub manifests: Vec<((Month, TenantKey), Vec<Load>)>,
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
        horizon: Horizon,
    ) -> Result<OrganizationCosts, StoreError> {
        let tenants = self.cost_tenants(organization, tenant_id).await?;
        let keys: Vec<i64> = tenants.iter().map(|tenant| tenant.key.0).collect();
        Ok(OrganizationCosts {
            manifests: self.manifests(&keys, months, horizon).await?,
            usage: self.month_usage(&keys, months, horizon).await?,
            prices: self.prices(organization, months, horizon).await?,
            tenants,
        })
    }

    async fn cost_tenants(
        &self,
        organization: &VisibleOrganization,
        tenant_id: Option<TenantId>,
    ) -> Result<Vec<CostTenant>, StoreError> {
        let client = self.short().await?;
        let statement = client
            .prepare_cached(
                "-- cost_tenants
                SELECT tenant_key, tenant_id, name, plan
                FROM tenant
                WHERE organization_id = $1 AND ($2::uuid IS NULL OR tenant_id = $2)
                ORDER BY name, tenant_id",
            )
            .await?;
        let tenant_id = tenant_id.map(TenantId::as_uuid);
        let rows = client.query(&statement, &[&organization.id().as_uuid(), &tenant_id]).await?;
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

    async fn manifests(
        &self,
        tenants: &[i64],
        months: MonthRange,
        horizon: Horizon,
    ) -> Result<Vec<((Month, TenantKey), Vec<Load>)>, StoreError> {
        let client = self.short().await?;
        let statement = client
            .prepare_cached(
                "-- manifests
                SELECT DISTINCT ON (usage_month, tenant_key, usage_day, source)
                       usage_month, tenant_key, load_id, usage_day, source, digest, record_count, published_at
                FROM usage_load
                WHERE tenant_key = ANY ($1) AND usage_month BETWEEN $2 AND $3 AND published_at <= $4
                ORDER BY usage_month, tenant_key, usage_day, source, published_at DESC",
            )
            .await?;
        let (start, end) = (months.start().first_day(), months.end().first_day());
        let rows = client.query(&statement, &[&tenants, &start, &end, &horizon.time().as_chrono()]).await?;
        let mut manifests: Vec<((Month, TenantKey), Vec<Load>)> = Vec::new();
        for row in &rows {
            let group = (month(row.try_get("usage_month")?)?, TenantKey(row.try_get("tenant_key")?));
            let load = Load::from_row(row)?;
            match manifests.last_mut() {
                Some((last, loads)) if *last == group => loads.push(load),
                _ => manifests.push((group, vec![load])),
            }
        }
        Ok(manifests)
    }

    async fn month_usage(
        &self,
        tenants: &[i64],
        months: MonthRange,
        horizon: Horizon,
    ) -> Result<Vec<MonthUsage>, StoreError> {
        let client = self.short().await?;
        let statement = client
            .prepare_cached(
                "-- month_usage
                SELECT l.usage_month, l.tenant_key, t.meter_key, t.billing_region, t.trial,
                       sum(t.quantity)::text AS quantity, sum(t.record_count)::bigint AS record_count
                FROM (
                    SELECT DISTINCT ON (tenant_key, usage_month, usage_day, source) tenant_key, usage_month, load_id
                    FROM usage_load
                    WHERE tenant_key = ANY ($1) AND usage_month BETWEEN $2 AND $3 AND published_at <= $4
                    ORDER BY tenant_key, usage_month, usage_day, source, published_at DESC
                ) l
                JOIN usage_total t ON t.tenant_key = l.tenant_key AND t.load_id = l.load_id
                GROUP BY l.usage_month, l.tenant_key, t.meter_key, t.billing_region, t.trial",
            )
            .await?;
        let (start, end) = (months.start().first_day(), months.end().first_day());
        let rows = client.query(&statement, &[&tenants, &start, &end, &horizon.time().as_chrono()]).await?;
        rows.iter()
            .map(|row| {
                Ok(MonthUsage {
                    month: month(row.try_get("usage_month")?)?,
                    tenant: TenantKey(row.try_get("tenant_key")?),
                    key: usage_key(row)?,
                    quantity: parse_sum(row.try_get("quantity")?)?,
                    record_count: row.try_get("record_count")?,
                })
            })
            .collect()
    }

    async fn prices(
        &self,
        organization: &VisibleOrganization,
        months: MonthRange,
        horizon: Horizon,
    ) -> Result<Vec<Price>, StoreError> {
        let client = self.short().await?;
        let statement = client
            .prepare_cached(
                "-- prices
                SELECT p.price_id, p.meter_key, p.billing_region, p.effective_from, t.up_to, t.unit_price
                FROM price p JOIN price_tier t USING (price_id)
                WHERE p.currency = $1 AND p.effective_from <= $2
                  AND p.applied_at <= $3 AND (p.superseded_at IS NULL OR p.superseded_at > $3)
                ORDER BY p.price_id, t.from_quantity",
            )
            .await?;
        let rows = client
            .query(
                &statement,
                &[&organization.currency().code(), &months.end().first_day(), &horizon.time().as_chrono()],
            )
            .await?;
        let mut prices: Vec<(i64, Price)> = Vec::new();
        for row in &rows {
            let id: i64 = row.try_get("price_id")?;
            let region: Option<i16> = row.try_get("billing_region")?;
            let up_to: Option<Numeric> = row.try_get("up_to")?;
            let Numeric(unit_price) = row.try_get("unit_price")?;
            let tier = PriceTier { up_to: up_to.map(|Numeric(decimal)| decimal), unit_price };
            match prices.last_mut() {
                Some((last, price)) if *last == id => price.tiers.push(tier),
                _ => prices.push((
                    id,
                    Price {
                        meter: MeterKey(row.try_get("meter_key")?),
                        billing_region: region.map(billing_region).transpose()?,
                        effective_from: month(row.try_get("effective_from")?)?,
                        tiers: vec![tier],
                    },
                )),
            }
        }
        // Constraints keep tiers from gaps; that the last one has no end, and only that one, is up to whoever writes.
        let is_open = |price: &Price| {
            price
                .tiers
                .iter()
                .rev()
                .map(|tier| tier.up_to.is_none())
                .eq(std::iter::once(true).chain(std::iter::repeat_n(false, price.tiers.len() - 1)))
        };
        if let Some((id, _)) = prices.iter().find(|(_, price)| !is_open(price)) {
            return Err(StoreError::corrupt(format!(
                "the tiers of price {id} do not end with the one tier without an end"
            )));
        }
        Ok(prices.into_iter().map(|(_, price)| price).collect())
    }
}

fn month(first_day: NaiveDate) -> Result<Month, StoreError> {
    Month::of(first_day).ok_or_else(|| StoreError::corrupt(format!("{first_day} is in no month")))
}
