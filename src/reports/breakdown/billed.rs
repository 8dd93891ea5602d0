//! The lines of statements, part by part, with the months of tenants that they come from.

use std::collections::{HashMap, VecDeque};

use super::tenant_bill::TenantBill;
use crate::{
    model::TenantId,
    reports::{
        CostLine, ReportError, TenantMonth,
        costs::document::{read_line, read_report},
    },
    store::{Statement, StatementLines, Store, StoreError},
};

/// The statements that a bill begins with.
pub(super) struct BilledMonths {
    tenant: Option<TenantId>,
    /// Those that are left, the first with the number of its last line that was read.
    statements: VecDeque<Statement>,
    after: i32,
    /// Lines of a tenant that may have more.
    begun: Vec<CostLine>,
}

// === impl BilledMonths ===

impl BilledMonths {
    pub(super) fn new(tenant: Option<TenantId>, statements: Vec<Statement>) -> Self {
        Self { tenant, statements: statements.into(), after: 0, begun: Vec::new() }
    }

    /// The months of tenants of the next part; none after the last.
    pub(super) async fn next_part(&mut self, store: &Store) -> Result<Vec<TenantBill>, ReportError> {
        while let Some(statement) = self.statements.front() {
            let asked = StatementLines { adjustments: false, tenant: self.tenant, after: self.after };
            let entries = store.statement_lines(statement, asked).await?;
            let mut months: Vec<Vec<CostLine>> = Vec::new();
            let mut lines = std::mem::take(&mut self.begun);
            for (_, content) in &entries {
                let line = read_line(content, statement.billing_month)?;
                if lines.last().is_some_and(|last| last.tenant_id != line.tenant_id) {
                    months.push(std::mem::take(&mut lines));
                }
                lines.push(line);
            }
            let bills = match entries.last() {
                Some(&(last, _)) => {
                    self.after = last;
                    self.begun = lines;
                    tenant_bills(store, statement, months).await?
                }
                None => {
                    months.extend((!lines.is_empty()).then_some(lines));
                    let bills = tenant_bills(store, statement, months).await?;
                    self.statements.pop_front();
                    self.after = 0;
                    bills
                }
            };
            if !bills.is_empty() {
                return Ok(bills);
            }
        }
        Ok(Vec::new())
    }
}

/// Months of tenants with the reports that their lines come from.
async fn tenant_bills(
    store: &Store,
    statement: &Statement,
    months: Vec<Vec<CostLine>>,
) -> Result<Vec<TenantBill>, ReportError> {
    let tenants: Vec<TenantId> = months.iter().filter_map(|lines| lines.first()).map(|line| line.tenant_id).collect();
    if tenants.is_empty() {
        return Ok(Vec::new());
    }
    let mut reports: HashMap<TenantId, TenantMonth> = HashMap::new();
    for content in store.statement_reports_of(statement, &tenants).await? {
        let report = read_report(&content, statement.billing_month)?;
        reports.insert(report.tenant_id, report);
    }
    let bills = tenants.into_iter().zip(months).map(|(tenant, lines)| {
        let report =
            reports.remove(&tenant).ok_or_else(|| StoreError::corrupt("lines of a statement have no report"))?;
        Ok(TenantBill { report, snapshot: statement.snapshot(), lines })
    });
    bills.collect()
}
