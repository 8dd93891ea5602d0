//! Lines as statements have them, and back.

use std::sync::Arc;

use super::{CostAdjustment, CostLine, TenantMonth};
use crate::{
    model::{Meter, Month},
    reports::{RatedTier, manifest::Revision},
    statement::{Adjustment, Line, MissingDays, Report, Tier},
    store::StoreError,
};

/// The line of a statement, as a document has it.
pub(crate) fn line(line: &CostLine) -> Line {
    Line {
        billing_region: line.billing_region,
        cost: line.cost.clone(),
        meter_id: line.meter.id,
        meter_name: line.meter.name.clone(),
        not_charged: !line.is_charged,
        plan: line.plan.clone(),
        quantity: line.quantity.clone(),
        record_count: line.record_count,
        rounding: line.rounding,
        tenant_id: line.tenant_id,
        tenant_name: line.tenant_name.clone(),
        tiers: line.tiers.iter().map(tier).collect(),
        trial_quantity: line.trial_quantity.clone(),
        unit: line.meter.unit.clone(),
    }
}

fn tier(tier: &RatedTier) -> Tier {
    Tier {
        amount: tier.amount.clone(),
        from: tier.from.clone(),
        quantity: tier.quantity.clone(),
        to: tier.to.clone(),
        unit_price: tier.unit_price.clone(),
    }
}

pub(crate) fn adjustment(adjustment: &CostAdjustment) -> Adjustment {
    Adjustment {
        amount: adjustment.amount.clone(),
        billed: adjustment.billed.clone(),
        line: line(&adjustment.line),
        revision: adjustment.revision.0,
        usage_month: adjustment.line.month,
    }
}

fn cost_line(line: Line, month: Month) -> CostLine {
    let tier = |tier: Tier| RatedTier {
        from: tier.from,
        to: tier.to,
        quantity: tier.quantity,
        unit_price: tier.unit_price,
        amount: tier.amount,
    };
    CostLine {
        month,
        tenant_id: line.tenant_id,
        tenant_name: line.tenant_name,
        plan: line.plan,
        meter: Arc::new(Meter { id: line.meter_id, name: line.meter_name, unit: line.unit }),
        billing_region: line.billing_region,
        quantity: line.quantity,
        trial_quantity: line.trial_quantity,
        tiers: line.tiers.into_iter().map(tier).collect(),
        cost: line.cost,
        is_charged: !line.not_charged,
        rounding: line.rounding,
        record_count: line.record_count,
    }
}

/// Reads an entry of a statement.
fn read<T: serde::de::DeserializeOwned>(content: &str) -> Result<T, StoreError> {
    serde_json::from_str(content).map_err(|error| StoreError::corrupt(format!("an entry of a statement: {error}")))
}

/// The line of a statement's month.
pub(crate) fn read_line(content: &str, month: Month) -> Result<CostLine, StoreError> {
    Ok(cost_line(read(content)?, month))
}

/// An adjustment of a statement.
pub(crate) fn read_adjustment(content: &str, billing_month: Month) -> Result<CostAdjustment, StoreError> {
    let Adjustment { amount, billed, line, revision, usage_month } = read(content)?;
    Ok(CostAdjustment {
        billing_month,
        line: cost_line(line, usage_month),
        billed,
        amount,
        revision: Revision(revision),
    })
}

/// A report of a statement's month.
pub(crate) fn read_report(content: &str, month: Month) -> Result<TenantMonth, StoreError> {
    let Report { data_as_of, missing_days, revision, tenant_id } = read(content)?;
    Ok(TenantMonth { month, tenant_id, revision: Revision(revision), data_as_of: Some(data_as_of), missing_days })
}

/// The report of a tenant's month, as a document has it.
pub(crate) fn report(report: &TenantMonth) -> Option<Report> {
    Some(Report {
        data_as_of: report.data_as_of?,
        missing_days: report.missing_days.clone(),
        revision: report.revision.0,
        tenant_id: report.tenant_id,
    })
}

/// Days of a source, as a document has them.
pub(crate) fn missing_days(missing: crate::store::MissingDays) -> MissingDays {
    MissingDays { days: missing.days, source: missing.source }
}
