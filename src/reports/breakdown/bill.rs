//! The lines of a bill, part by part, with the months of tenants that they come from.

use super::{billed::BilledMonths, tenant_bill::TenantBill};
use crate::{
    auth::TenantScope,
    model::{MonthRange, TenantId},
    reports::{
        CostBasis, ReportError,
        costs::{
            compute::{RatedLine, Rates, tenant_months},
            hidden,
        },
    },
    store::{CostPart, CostPosition, CostReader, Meters, SnapshotTime, Store, StoreError, VisibleOrganization},
};

/// A bill that is being read. Between its parts it holds no connection, since those who read it may be slow.
pub(super) struct Bill {
    store: Store,
    organization: VisibleOrganization,
    tenant: Option<TenantId>,
    months: MonthRange,
    snapshot: SnapshotTime,
    rates: Rates,
    /// A digest of the names at the beginning: they are what lines are ordered by.
    names: i64,
    /// What comes before what is computed.
    billed: BilledMonths,
    /// The first part, which is read to begin with.
    first: Option<CostPart>,
    next: Option<CostPosition>,
}

// === impl Bill ===

impl Bill {
    /// # Errors
    ///
    /// [`ReportError::TenantNotFound`] where the tenant is not one of the organization.
    pub(super) async fn open(
        store: &Store,
        scope: &TenantScope,
        organization: VisibleOrganization,
        tenant: Option<TenantId>,
        (months, basis): (MonthRange, CostBasis),
        snapshot: SnapshotTime,
        meters: Meters,
    ) -> Result<Self, ReportError> {
        let mut reader = store.read_costs(&organization, tenant, months, snapshot).await?;
        if let Some(tenant) = tenant
            && !reader.has_tenant(tenant).await?
        {
            reader.end().await?;
            return Err(ReportError::TenantNotFound(hidden(store, scope, tenant).await?));
        }
        let rates = Rates::new(meters, reader.take_prices(), organization.currency());
        let names = reader.names();
        let mut statements = reader.statements().to_vec();
        let newest = statements.last().map(|newest| newest.billing_month);
        statements.retain(|statement| basis == CostBasis::Bill && months.contains(statement.billing_month));
        if let (CostBasis::Bill, Some(first_open)) = (basis, newest.and_then(|newest| newest.shifted(1))) {
            reader.start_at(first_open);
        }
        let billed = BilledMonths::new(tenant, statements);
        let (first, next) = read_part(reader).await?;
        Ok(Self { store: store.clone(), organization, tenant, months, snapshot, rates, names, billed, first, next })
    }

    /// The months of tenants of the next part; none after the last. A part may have no lines.
    pub(super) async fn next_part(&mut self) -> Result<Vec<TenantBill>, ReportError> {
        let billed = self.billed.next_part(&self.store).await?;
        if !billed.is_empty() {
            return Ok(billed);
        }
        loop {
            let part = match (self.first.take(), self.next.take()) {
                (Some(part), next) => {
                    self.next = next;
                    part
                }
                (None, Some(position)) => self.read(position).await?,
                (None, None) => return Ok(Vec::new()),
            };
            let months = self.tenant_bills(&part)?;
            if !months.is_empty() {
                return Ok(months);
            }
        }
    }

    async fn read(&mut self, position: CostPosition) -> Result<CostPart, ReportError> {
        let mut reader = self.store.read_costs(&self.organization, self.tenant, self.months, self.snapshot).await?;
        if reader.names() != self.names {
            reader.end().await?;
            return Err(ReportError::NamesChanged);
        }
        reader.go_on(position);
        let (part, next) = read_part(reader).await?;
        self.next = next;
        part.ok_or_else(|| StoreError::unavailable("a part of the bill is not there any more").into())
    }

    /// The lines of each tenant's month.
    fn tenant_bills(&self, part: &CostPart) -> Result<Vec<TenantBill>, ReportError> {
        let mut reports = tenant_months(part);
        let mut months: Vec<TenantBill> = Vec::new();
        for RatedLine { line, .. } in self.rates.lines(part, [])? {
            let key = (line.month, line.tenant_id);
            match months.last_mut() {
                Some(last) if (last.report.month, last.report.tenant_id) == key => last.lines.push(line),
                _ => {
                    let report = reports.remove(&key);
                    let report = report.ok_or_else(|| StoreError::Corrupt("usage of no month".to_owned()))?;
                    months.push(TenantBill { report, snapshot: self.snapshot, lines: vec![line] });
                }
            }
        }
        Ok(months)
    }
}

/// A part, and where the next one begins. Gives the connection back.
async fn read_part(mut reader: CostReader) -> Result<(Option<CostPart>, Option<CostPosition>), StoreError> {
    let part = reader.next_part().await?;
    let next = reader.position();
    reader.end().await?;
    Ok((part, next))
}
