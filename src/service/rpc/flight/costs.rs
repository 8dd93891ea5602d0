//! Costs as columns: those of the command line's CSV.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bigdecimal::BigDecimal;

use super::usage_batches::BatchError;
use crate::{
    auth::TenantScope,
    contract::{decimal, decimal_array, dictionary, text_array},
    model::{Digits, Month, UtcTime},
    reports::{CostForms, CostLine, Costs, CostsRequest, InvalidField, ReportError},
    service::rpc::services::Reports,
};

/// Names are long, and a message has room for all names of a batch.
const BATCH_ROWS: usize = 1000;

/// What can be said of costs before their columns are made.
pub(super) struct CostsOutline {
    pub(super) forms: CostForms,
    pub(super) line_count: u64,
    pub(super) as_of: UtcTime,
}

/// A line of a bill as the columns have it: on whose bill, and what that bill has of it.
struct Row<'a> {
    line: &'a CostLine,
    billing_month: Month,
    amount: Option<&'a BigDecimal>,
}

// === impl CostsOutline ===

impl CostsOutline {
    /// Goes over the whole bill, since the columns have as many digits as their longest number.
    pub(super) async fn find(
        reports: &Reports,
        scope: &TenantScope,
        request: CostsRequest,
    ) -> Result<Self, ReportError> {
        let mut pages = reports.cost_pages(scope, request).await?;
        let (mut quantities, mut amounts, mut line_count) = (Digits::default(), Digits::default(), 0);
        while let Some(page) = pages.next().await? {
            for row in rows(&page) {
                line_count += 1;
                quantities = quantities.and([&row.line.quantity, &row.line.trial_quantity]);
                amounts = amounts.and(row.line.cost.iter().chain(row.amount));
            }
            amounts = amounts.and(page.totals.iter().map(|total| &total.cost));
        }
        let (Some(quantities), Some(amounts)) = (quantities.quantity_form(), amounts.amount_form()) else {
            let reason =
                "numbers of these costs have more digits than columns can have; GetMonthlyCosts has them as text";
            return Err(InvalidField::new("descriptor", reason).into());
        };
        Ok(Self { forms: CostForms { quantities, amounts }, line_count, as_of: pages.as_of() })
    }
}

/// The lines of a page, and the adjustments behind them.
fn rows(costs: &Costs) -> impl Iterator<Item = Row<'_>> {
    let lines = costs.lines.iter().map(|line| Row { line, billing_month: line.month, amount: line.cost.as_ref() });
    lines.chain(costs.adjustments.iter().map(|adjustment| Row {
        line: &adjustment.line,
        billing_month: adjustment.billing_month,
        amount: Some(&adjustment.amount),
    }))
}

pub(super) fn schema(forms: CostForms, metadata: HashMap<String, String>) -> SchemaRef {
    let text = || dictionary(DataType::Int32);
    let (quantity, amount) = (decimal(forms.quantities), decimal(forms.amounts));
    let fields = vec![
        Field::new("month", text(), false),
        Field::new("organizationId", text(), false),
        Field::new("tenantId", text(), false),
        Field::new("tenantName", text(), false),
        Field::new("plan", text(), false),
        Field::new("meterName", text(), false),
        Field::new("meterId", text(), false),
        Field::new("unit", text(), false),
        Field::new("billingRegion", text(), false),
        Field::new("quantity", quantity.clone(), false),
        Field::new("trialQuantity", quantity, false),
        Field::new("cost", amount.clone(), true),
        Field::new("currency", text(), false),
        Field::new("recordCount", DataType::Int64, false),
        Field::new("billingMonth", text(), false),
        Field::new("amount", amount, true),
    ];
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

/// A page as batches.
pub(super) fn batches(costs: &Costs, forms: CostForms, schema: &SchemaRef) -> Result<Vec<RecordBatch>, BatchError> {
    let rows: Vec<Row<'_>> = rows(costs).collect();
    rows.chunks(BATCH_ROWS).map(|rows| batch(costs, rows, forms, schema)).collect()
}

fn batch(costs: &Costs, rows: &[Row<'_>], forms: CostForms, schema: &SchemaRef) -> Result<RecordBatch, BatchError> {
    let text = |text: &dyn Fn(&Row<'_>) -> String| {
        let column: Vec<String> = rows.iter().map(text).collect();
        text_array(column.iter().map(|text| Some(text.as_str())))
    };
    // Where it fails, the ticket was made up, or is of other costs.
    let decimals = |form, number: &dyn for<'r> Fn(&'r Row<'r>) -> Option<&'r BigDecimal>| {
        decimal_array(form, rows.iter().map(number)).ok_or(BatchError::TooLong)
    };
    let arrays = vec![
        text(&|row| row.line.month.to_string()),
        text(&|_| costs.organization_id.to_string()),
        text(&|row| row.line.tenant_id.to_string()),
        text(&|row| row.line.tenant_name.clone()),
        text(&|row| row.line.plan.clone()),
        text(&|row| row.line.meter.name.clone()),
        text(&|row| row.line.meter.id.to_string()),
        text(&|row| row.line.meter.unit.clone()),
        text(&|row| row.line.billing_region.to_string()),
        decimals(forms.quantities, &|row| Some(&row.line.quantity))?,
        decimals(forms.quantities, &|row| Some(&row.line.trial_quantity))?,
        decimals(forms.amounts, &|row| row.line.cost.as_ref())?,
        text(&|_| costs.currency.code().to_owned()),
        Arc::new(rows.iter().map(|row| Some(row.line.record_count)).collect::<Int64Array>()),
        text(&|row| row.billing_month.to_string()),
        decimals(forms.amounts, &|row| row.amount)?,
    ];
    Ok(RecordBatch::try_new(Arc::clone(schema), arrays)?)
}
