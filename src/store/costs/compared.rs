//! Two bills of an organization, read side by side: the same tenants of both, part by part. Between the parts nothing is held.

use std::sync::Arc;

use super::{
    CostPart, CostTenant,
    reader::{PART, has_tenant, month_usage},
};
use crate::{
    database::{Binds, PooledConnection, Statements as _},
    model::{Currency, Month, MonthRange, OrganizationId, TenantId, UtcTime},
    store::{
        BilledKey, SnapshotTime, Statement, Store, StoreError,
        cost_turns::CostTurn,
        prices::{PriceList, price_list},
        statements,
        tenants::{TenantKey, VisibleOrganization},
    },
};

/// How many tenants a part has: of each, two months are read.
const TENANTS: usize = PART / 2;

/// A bill to compare.
#[derive(Clone, Copy, Debug)]
pub struct AskedBill {
    pub month: Month,
    pub as_of: SnapshotTime,
    /// Whether a month that is closed has the usage and prices of its statement.
    pub by_statement: bool,
    /// Whether its lines are computed, though they may be in a statement.
    pub is_drafted: bool,
}

/// A bill that is compared.
#[derive(Clone, Debug)]
pub struct ComparedBill {
    pub month: Month,
    pub as_of: SnapshotTime,
    /// Whether the month was closed then.
    pub is_closed: bool,
    /// Whose usage and prices it has.
    pub statement: Option<Statement>,
    /// What its usage is rated by.
    pub prices: PriceList,
    source: Source,
}

/// Where the lines of a bill come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Computed from the usage as of the bill's snapshot.
    Usage,
    Statement,
    /// There are none: the month was closed without usage, before the first statement.
    Nothing,
}

/// Two bills of an organization, or of one of its tenants.
#[derive(Clone, Debug)]
pub struct ComparedBills {
    organization: OrganizationId,
    tenant: Option<TenantId>,
    /// The base and the target.
    pub sides: [ComparedBill; 2],
}

/// The same tenants of both bills.
#[derive(Clone, Debug)]
pub struct ComparedPart {
    /// Ordered by name and id.
    pub tenants: Arc<[CostTenant]>,
    pub sides: [SidePart; 2],
    /// A digest of the names of these tenants, and of all behind them.
    pub names: i64,
    /// A digest of the names of those behind them.
    pub names_behind: i64,
    /// The last of the tenants, if there may be more.
    pub last: Option<CostTenant>,
}

/// What one bill has of some tenants.
#[derive(Clone, Debug)]
pub enum SidePart {
    /// Usage, to be rated.
    Usage(CostPart),
    /// Entries of a statement in their canonical form: lines, in no order, and the reports that they come from.
    Statement {
        lines: Vec<(BilledKey, String)>,
        reports: Vec<String>,
    },
    Nothing,
}

// === impl ComparedBill ===

impl ComparedBill {
    /// The usage and prices that it has are those that were published until then.
    pub fn snapshot(&self) -> SnapshotTime {
        self.statement.as_ref().map_or(self.as_of, Statement::snapshot)
    }
}

impl Store {
    /// Finds two bills to compare. `None`: the organization has no such tenant.
    pub async fn compare_bills(
        &self,
        organization: &VisibleOrganization,
        tenant: Option<TenantId>,
        [base, target]: [AskedBill; 2],
    ) -> Result<Option<ComparedBills>, StoreError> {
        let (connection, _turn) = self.compared_connection(organization.id()).await?;
        if let Some(tenant) = tenant
            && !has_tenant(&connection, organization.id(), tenant).await?
        {
            return Ok(None);
        }
        let currency = organization.currency();
        let organization = organization.id();
        let base = find_bill(&connection, organization, currency, base).await?;
        let target = find_bill(&connection, organization, currency, target).await?;
        Ok(Some(ComparedBills { organization, tenant, sides: [base, target] }))
    }

    /// The tenants behind one, and what both bills have of them; from the first one on if there is none. A part may have no
    /// tenants.
    pub async fn compared_part(
        &self,
        bills: &ComparedBills,
        after: Option<&CostTenant>,
    ) -> Result<ComparedPart, StoreError> {
        let (connection, _turn) = self.compared_connection(bills.organization).await?;
        let (tenants, names, names_behind) = bills.tenants(&connection, after).await?;
        let [base, target] = &bills.sides;
        let base_part = base.part(&connection, &tenants).await?;
        // Where only the prices differ, the usage is the same.
        let is_same = (base.source, base.month, base.snapshot()) == (target.source, target.month, target.snapshot());
        let target_part = if is_same { base_part.clone() } else { target.part(&connection, &tenants).await? };
        let last = tenants.last().filter(|_| tenants.len() == TENANTS).cloned();
        Ok(ComparedPart { tenants, sides: [base_part, target_part], names, names_behind, last })
    }

    /// One connection for everything, as bills have it.
    async fn compared_connection(
        &self,
        organization: OrganizationId,
    ) -> Result<(PooledConnection, CostTurn), StoreError> {
        let turn = self.cost_turns.take(organization, self.connect_timeout).await?;
        Ok((self.short().await?, turn))
    }
}

async fn find_bill(
    connection: &PooledConnection,
    organization: OrganizationId,
    currency: Currency,
    asked: AskedBill,
) -> Result<ComparedBill, StoreError> {
    let AskedBill { month, as_of, by_statement, is_drafted } = asked;
    let months = MonthRange::single(month);
    // The statement of the month, and the newest one.
    let statements = statements::in_months(connection, organization, months, as_of.time()).await?;
    let is_closed = statements.last().is_some_and(|newest| month <= newest.billing_month);
    let statement = statements.into_iter().find(|statement| by_statement && statement.billing_month == month);
    let source = match &statement {
        Some(_) if is_drafted => Source::Usage,
        Some(_) => Source::Statement,
        None if by_statement && is_closed => Source::Nothing,
        None => Source::Usage,
    };
    let mut bill = ComparedBill { month, as_of, is_closed, statement, prices: PriceList::default(), source };
    bill.prices = price_list(connection, currency, months, bill.snapshot()).await?;
    Ok(bill)
}

// === impl ComparedBills ===

impl ComparedBills {
    /// The next tenants, a digest of their names and of those behind them, and of the latter alone.
    async fn tenants(
        &self,
        connection: &PooledConnection,
        after: Option<&CostTenant>,
    ) -> Result<(Arc<[CostTenant]>, i64, i64), StoreError> {
        // Without OFFSET, the planner might look at all months of everyone.
        let select = |condition: &str| {
            format!(
                "-- compared_tenants
                SELECT *, bit_xor(name_digest) OVER () AS names FROM (
                    SELECT tenant_key, tenant_id, name, plan,
                           hashtextextended(concat_ws(chr(31), tenant_id, name), 0) AS name_digest
                    FROM tenant
                    WHERE organization_id = $1 AND ($2::uuid IS NULL OR tenant_id = $2) AND EXISTS (
                        SELECT FROM usage_month m
                        WHERE m.tenant_key = tenant.tenant_key AND m.usage_month = ANY ($3) AND m.published_at <= $4
                        OFFSET 0
                    ){condition}
                ) AS compared
                ORDER BY name, tenant_id
                LIMIT {TENANTS}"
            )
        };
        let (organization, tenant) = (self.organization.as_uuid(), self.tenant.map(TenantId::as_uuid));
        let months: Vec<_> = self.sides.iter().map(|side| side.month.first_day()).collect();
        let until = self.sides.iter().map(|side| side.snapshot().time()).max().map(UtcTime::as_chrono);
        let common: Binds<'_> = &[&organization, &tenant, &months, &until];
        let rows = match after {
            None => connection.fetch_all(&select(""), common).await?,
            Some(CostTenant { name, id, .. }) => {
                let sql = select(" AND (name, tenant_id) > ($5, $6)");
                connection.fetch_all(&sql, &[common, &[name, &id.as_uuid()]].concat()).await?
            }
        };
        let names: i64 = rows.first().map(|row| row.try_get("names")).transpose()?.unwrap_or_default();
        let mut names_behind = names;
        let mut tenants = Vec::with_capacity(rows.len());
        for row in &rows {
            tenants.push(CostTenant::from_row(row)?);
            names_behind ^= row.try_get::<_, i64>("name_digest")?;
        }
        Ok((tenants.into(), names, names_behind))
    }
}

// === impl ComparedBill ===

impl ComparedBill {
    async fn part(&self, connection: &PooledConnection, tenants: &Arc<[CostTenant]>) -> Result<SidePart, StoreError> {
        match (self.source, &self.statement) {
            (Source::Statement, Some(statement)) => {
                let keys: Vec<TenantKey> = tenants.iter().map(|tenant| tenant.key).collect();
                let ids: Vec<TenantId> = tenants.iter().map(|tenant| tenant.id).collect();
                let lines = statements::lines_of(connection, statement, &keys).await?;
                let reports = statements::reports_of(connection, statement, &ids).await?;
                Ok(SidePart::Statement { lines, reports })
            }
            (Source::Nothing, _) => Ok(SidePart::Nothing),
            _ => {
                let asked: Vec<_> = tenants.iter().map(|tenant| (tenant.key, self.month)).collect();
                let (months, usage) = month_usage(connection, self.snapshot(), &asked).await?;
                Ok(SidePart::Usage(CostPart { tenants: Arc::clone(tenants), months, usage }))
            }
        }
    }
}
