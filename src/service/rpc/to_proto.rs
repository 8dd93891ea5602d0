//! What reports answer, as messages of the contract.

use crate::{
    contract::proto,
    model::plain,
    reports::{CostLine, Costs, RatedTier, Tenants, UsageHeader, UsageTotal},
    store::TenantSummary,
};

impl From<&UsageHeader> for proto::ReportHeader {
    fn from(header: &UsageHeader) -> Self {
        Self {
            tenant_id: header.tenant.id().to_string(),
            tenant_name: header.tenant.name().to_owned(),
            organization_id: header.tenant.organization_id().to_string(),
            month: Some(header.month.into()),
            revision: header.revision.to_string(),
            data_as_of: header.data_as_of.map(Into::into),
            record_count: header.record_count.cast_signed(),
            resumed_record_count: header.resumed_record_count.cast_signed(),
        }
    }
}

impl From<&UsageTotal> for proto::UsageTotal {
    fn from(total: &UsageTotal) -> Self {
        Self {
            meter_name: total.meter.name.clone(),
            meter_id: total.meter.id.to_string(),
            billing_region: total.billing_region.code().into(),
            trial: total.trial,
            quantity: plain(&total.quantity),
            record_count: total.record_count.cast_signed(),
        }
    }
}

impl From<TenantSummary> for proto::Tenant {
    fn from(tenant: TenantSummary) -> Self {
        let (first, last) = tenant.usage_months.unzip();
        Self {
            tenant_id: tenant.id.to_string(),
            name: tenant.name,
            organization_id: tenant.organization_id.to_string(),
            organization_name: tenant.organization_name,
            status: tenant.status.code().into(),
            plan: tenant.plan,
            trial: tenant.trial,
            trial_expiry: tenant.trial_expiry.map(Into::into),
            first_usage_month: first.map(Into::into),
            last_usage_month: last.map(Into::into),
        }
    }
}

impl From<Tenants> for proto::ListTenantsResponse {
    fn from(page: Tenants) -> Self {
        Self {
            tenants: page.tenants.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
            total_size: page.total_size,
        }
    }
}

impl From<Costs> for proto::GetMonthlyCostsResponse {
    fn from(costs: Costs) -> Self {
        let currency = costs.currency.code();
        let organization_id = costs.organization_id.to_string();
        let unpriced = costs.lines.iter().filter(|line| line.cost.is_none());
        Self {
            unpriced_meters: unpriced.map(|line| unpriced_meter(line, currency)).collect(),
            lines: costs.lines.iter().map(|line| cost_line(line, &organization_id, currency)).collect(),
            totals: costs
                .totals
                .iter()
                .map(|total| proto::CostTotal {
                    month: Some(total.month.into()),
                    currency: currency.to_owned(),
                    cost: total.cost.to_plain_string(),
                })
                .collect(),
            tenant_months: costs
                .tenant_months
                .iter()
                .map(|report| proto::TenantMonth {
                    month: Some(report.month.into()),
                    tenant_id: report.tenant_id.to_string(),
                    revision: report.revision.to_string(),
                    data_as_of: report.data_as_of.map(Into::into),
                })
                .collect(),
            next_page_token: costs.next_page_token,
        }
    }
}

fn cost_line(line: &CostLine, organization_id: &str, currency: &str) -> proto::CostLine {
    proto::CostLine {
        month: Some(line.month.into()),
        organization_id: organization_id.to_owned(),
        tenant_id: line.tenant_id.to_string(),
        tenant_name: line.tenant_name.clone(),
        plan: line.plan.clone(),
        meter_name: line.meter.name.clone(),
        meter_id: line.meter.id.to_string(),
        unit: line.meter.unit.clone(),
        billing_region: line.billing_region.code().into(),
        quantity: plain(&line.quantity),
        trial_quantity: plain(&line.trial_quantity),
        tiers: line.tiers.iter().map(cost_tier).collect(),
        // Costs show the currency's minor digits, so their zeros stay.
        cost: line.cost.as_ref().map(bigdecimal::BigDecimal::to_plain_string).unwrap_or_default(),
        currency: currency.to_owned(),
        record_count: line.record_count,
    }
}

fn cost_tier(tier: &RatedTier) -> proto::CostTier {
    proto::CostTier {
        from: plain(&tier.from),
        to: tier.to.as_ref().map(plain).unwrap_or_default(),
        quantity: plain(&tier.quantity),
        unit_price: plain(&tier.unit_price),
        amount: plain(&tier.amount),
    }
}

fn unpriced_meter(line: &CostLine, currency: &str) -> proto::UnpricedMeter {
    proto::UnpricedMeter {
        month: Some(line.month.into()),
        tenant_id: line.tenant_id.to_string(),
        meter_name: line.meter.name.clone(),
        meter_id: line.meter.id.to_string(),
        billing_region: line.billing_region.code().into(),
        currency: currency.to_owned(),
        quantity: plain(&line.quantity),
    }
}
