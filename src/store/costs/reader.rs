//! Reads what costs are made of, part by part, so that the costs of an organization of any size take bounded memory.

use std::sync::Arc;

use chrono::NaiveDate;
use tokio::time::Instant;
use tokio_postgres::Row;

use super::{CostMonth, CostTenant, MonthUsage};
use crate::{
    database::{Binds, DatabaseError, PooledConnection, Statements as _, numeric::parse_sum},
    model::{Currency, Month, MonthRange, OrganizationId, TenantId, UtcTime},
    store::{
        SnapshotTime, Statement, Store, StoreError, columns,
        cost_turns::CostTurn,
        prices::{PriceList, price_list},
        statements,
        tenants::{TenantKey, VisibleOrganization},
        usage_key::usage_key,
    },
};

/// How many months of tenants are read at once: some 10 rows each, and 240 with 30 meters everywhere.
pub(super) const PART: usize = 100;

/// Some tenants and months of a bill.
#[derive(Clone, Debug)]
pub struct CostPart {
    /// Ordered by name and id.
    pub tenants: Arc<[CostTenant]>,
    /// The months that have usage.
    pub months: Vec<CostMonth>,
    /// The usage, in no order.
    pub usage: Vec<MonthUsage>,
}

/// Reads the usage of an organization's tenants, or of one of them, by month, tenant name and tenant id. Names stay as they
/// were at the beginning.
pub struct CostReader {
    pub(super) connection: PooledConnection,
    _turn: CostTurn,
    /// When it has taken too long in all.
    end: Option<Instant>,
    pub(super) query: Query,
    /// The statements of the months, and the newest one.
    statements: Vec<Statement>,
    /// How many tenants have usage in the months.
    tenant_count: usize,
    /// A digest of their ids and names.
    names: i64,
    /// The first of them: all, where a part holds them.
    first: Arc<[CostTenant]>,
    /// In the organization's currency.
    prices: PriceList,
    /// Where the next part begins; `None` after the last.
    next: Option<(Month, Start)>,
}

pub(super) struct Query {
    pub(super) organization: OrganizationId,
    pub(super) currency: Currency,
    pub(super) tenant: Option<TenantId>,
    months: MonthRange,
    pub(super) snapshot: SnapshotTime,
}

/// Where a reader goes on, for another one with the same question: nothing is held between the two.
#[derive(Clone, Debug)]
pub struct CostPosition(Month, Start);

/// The first of a part's tenants.
#[derive(Clone, Debug)]
enum Start {
    First,
    At(CostTenant),
    After(CostTenant),
}

/// Tenants of a bill: those that have usage. Without OFFSET, the planner might look at all months of everyone.
fn tenants_statement(name: &str, columns: &str, condition: &str) -> String {
    format!(
        "-- {name}
        SELECT tenant_key, tenant_id, name, plan{columns}
        FROM tenant
        WHERE organization_id = $1 AND ($2::uuid IS NULL OR tenant_id = $2) AND EXISTS (
            SELECT FROM usage_month m
            WHERE m.tenant_key = tenant.tenant_key AND m.usage_month BETWEEN $3 AND $4 AND m.published_at <= $5
            OFFSET 0
        ){condition}
        ORDER BY name, tenant_id
        LIMIT {PART}"
    )
}

// === impl CostTenant ===

impl CostTenant {
    pub(super) fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            key: TenantKey(row.try_get("tenant_key")?),
            id: TenantId::from_uuid(row.try_get("tenant_id")?),
            name: row.try_get("name")?,
            plan: row.try_get("plan")?,
        })
    }
}

impl Store {
    /// Begins to read what the costs of an organization, or of one of its tenants, are made of.
    pub async fn read_costs(
        &self,
        organization: &VisibleOrganization,
        tenant: Option<TenantId>,
        months: MonthRange,
        snapshot: SnapshotTime,
    ) -> Result<CostReader, StoreError> {
        let turn = self.cost_turns.take(organization.id(), self.connect_timeout).await?;
        let end = (!self.statement_timeout.is_zero()).then(|| Instant::now() + self.statement_timeout);
        // One connection for everything: calls that had one each and waited for another would wait for each other.
        let mut connection = self.short().await?;
        let (organization, currency) = (organization.id(), organization.currency());
        let query = Query { organization, currency, tenant, months, snapshot };
        let (mut rows, prices, statements) = tokio::try_join!(
            query.first_tenants(&connection),
            price_list(&connection, currency, months, snapshot),
            statements::in_months(&connection, organization, months, snapshot.time()),
        )?;
        // The rest must be of the same moment.
        if rows.len() == PART {
            connection.freeze().await?;
            rows = query.first_tenants(&connection).await?;
        }
        let first = rows.iter().map(CostTenant::from_row).collect::<Result<_, _>>()?;
        let (tenant_count, names): (i64, i64) = match rows.first() {
            None => (0, 0),
            Some(row) => (row.try_get("tenant_count")?, row.try_get("names")?),
        };
        let tenant_count = usize::try_from(tenant_count).unwrap_or(usize::MAX);
        let mut reader = CostReader {
            connection,
            _turn: turn,
            end,
            query,
            statements,
            tenant_count,
            names,
            first,
            prices,
            next: None,
        };
        reader.rewind();
        Ok(reader)
    }
}

// === impl Query ===

impl Query {
    /// The rows of a statement about tenants. `more`: its binds after those of [`tenants_statement`].
    async fn rows(
        &self,
        connection: &PooledConnection,
        statement: &str,
        tenant: Option<TenantId>,
        more: Binds<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let (start, end) = (self.months.start().first_day(), self.months.end().first_day());
        let (organization, tenant) = (self.organization.as_uuid(), tenant.map(TenantId::as_uuid));
        let snapshot = self.snapshot.time().as_chrono();
        let common: Binds<'_> = &[&organization, &tenant, &start, &end, &snapshot];
        Ok(connection.fetch_all(statement, &[common, more].concat()).await?)
    }

    /// Each row also tells of all tenants.
    async fn first_tenants(&self, connection: &PooledConnection) -> Result<Vec<Row>, StoreError> {
        let columns = ", count(*) OVER () AS tenant_count,
               bit_xor(hashtextextended(concat_ws(chr(31), tenant_id, name), 0)) OVER () AS names";
        let statement = tenants_statement("first_cost_tenants", columns, "");
        self.rows(connection, &statement, self.tenant, &[]).await
    }

    async fn find(&self, connection: &PooledConnection, tenant: TenantId) -> Result<Option<CostTenant>, StoreError> {
        let statement = tenants_statement("cost_tenant", "", "");
        let rows = self.rows(connection, &statement, Some(tenant), &[]).await?;
        rows.first().map(CostTenant::from_row).transpose()
    }

    /// Tenants by names and ids that compare so with these.
    async fn tenants(
        &self,
        connection: &PooledConnection,
        comparison: &str,
        (name, id): (&str, TenantId),
    ) -> Result<Arc<[CostTenant]>, StoreError> {
        let condition = format!(" AND (name, tenant_id) {comparison} ($6, $7)");
        let statement = tenants_statement("cost_tenants", "", &condition);
        let rows = self.rows(connection, &statement, self.tenant, &[&name, &id.as_uuid()]).await?;
        rows.iter().map(CostTenant::from_row).collect()
    }

    pub(super) async fn usage(
        &self,
        connection: &PooledConnection,
        months: &[(TenantKey, Month)],
    ) -> Result<(Vec<CostMonth>, Vec<MonthUsage>), StoreError> {
        month_usage(connection, self.snapshot, months).await
    }
}

/// Months of tenants as they stood at a snapshot, and what they add up to. A month of which all was withdrawn adds up to
/// nothing.
pub(super) async fn month_usage(
    connection: &PooledConnection,
    snapshot: SnapshotTime,
    months: &[(TenantKey, Month)],
) -> Result<(Vec<CostMonth>, Vec<MonthUsage>), StoreError> {
    let statement = "-- month_usage
        SELECT m.usage_month, m.tenant_key, m.revision, m.published_at, t.meter_key, t.billing_region, t.trial,
               t.quantity::text AS quantity, t.record_count
        FROM unnest($1::bigint[], $2::date[]) AS asked (tenant_key, first_day)
        CROSS JOIN LATERAL (
            SELECT * FROM usage_month m
            WHERE m.tenant_key = asked.tenant_key AND m.usage_month = asked.first_day AND m.published_at <= $3
            ORDER BY m.published_at DESC
            LIMIT 1
        ) m
        LEFT JOIN LATERAL unnest(m.totals) AS t ON true
        ORDER BY m.usage_month, m.tenant_key";
    let (keys, first_days): (Vec<i64>, Vec<NaiveDate>) =
        months.iter().map(|(tenant, month)| (tenant.0, month.first_day())).unzip();
    let rows = connection.fetch_all(statement, &[&keys, &first_days, &snapshot.time().as_chrono()]).await?;
    let mut months: Vec<CostMonth> = Vec::new();
    let mut usage = Vec::with_capacity(rows.len());
    for row in &rows {
        let (month, tenant) = (columns::month(row, "usage_month")?, TenantKey(row.try_get("tenant_key")?));
        if months.last().is_none_or(|last| (last.month, last.tenant) != (month, tenant)) {
            months.push(CostMonth {
                month,
                tenant,
                revision: columns::bytes(row, "revision")?,
                data_as_of: UtcTime::from_chrono(row.try_get("published_at")?),
            });
        }
        if row.try_get::<_, Option<i64>>("meter_key")?.is_none() {
            continue;
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

/// Whether an organization has a tenant, with or without usage.
pub(super) async fn has_tenant(
    connection: &PooledConnection,
    organization: OrganizationId,
    tenant: TenantId,
) -> Result<bool, StoreError> {
    let statement = "-- has_tenant\nSELECT FROM tenant WHERE organization_id = $1 AND tenant_id = $2";
    let binds: Binds<'_> = &[&organization.as_uuid(), &tenant.as_uuid()];
    Ok(connection.fetch_optional(statement, binds).await?.is_some())
}

// === impl CostReader ===

impl CostReader {
    /// Whether the organization has this tenant, with or without usage.
    pub async fn has_tenant(&self, tenant: TenantId) -> Result<bool, StoreError> {
        if self.first.iter().any(|first| first.id == tenant) {
            return Ok(true);
        }
        has_tenant(&self.connection, self.query.organization, tenant).await
    }

    /// A digest of which tenants there are and how they are named: their order.
    pub fn names(&self) -> i64 {
        self.names
    }

    pub fn take_prices(&mut self) -> PriceList {
        std::mem::take(&mut self.prices)
    }

    /// Goes on at a month of a tenant, which is returned; `None`: it has no usage here.
    pub async fn seek(&mut self, month: Month, tenant: TenantId) -> Result<Option<CostTenant>, StoreError> {
        let found = match self.first.iter().find(|first| first.id == tenant) {
            Some(found) => Some(found.clone()),
            None if self.has_all() => None,
            None => self.query.find(&self.connection, tenant).await?,
        };
        if let Some(tenant) = &found {
            self.next = Some((month, Start::At(tenant.clone())));
        }
        Ok(found)
    }

    /// Goes on at the beginning.
    pub fn rewind(&mut self) {
        self.next = (self.tenant_count > 0).then_some((self.query.months.start(), Start::First));
    }

    /// Where it goes on; `None` after the last part.
    pub fn position(&self) -> Option<CostPosition> {
        self.next.clone().map(|(month, start)| CostPosition(month, start))
    }

    /// Goes on where another reader has stopped. The names must be the same.
    pub fn go_on(&mut self, CostPosition(month, start): CostPosition) {
        self.next = Some((month, start));
    }

    fn has_all(&self) -> bool {
        self.tenant_count <= self.first.len()
    }

    /// Leaves out the months before one; none are left where that is the end of it.
    pub fn start_at(&mut self, month: Month) {
        match MonthRange::new(month.max(self.query.months.start()), self.query.months.end()) {
            Ok(months) => {
                self.query.months = months;
                self.rewind();
            }
            Err(_) => {
                self.tenant_count = 0;
                self.next = None;
            }
        }
    }

    /// The statements of the months that were published until the snapshot, and the newest one, in order.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    pub(super) fn check_time(&self) -> Result<(), StoreError> {
        if self.end.is_some_and(|end| Instant::now() > end) {
            return Err(DatabaseError::StatementTimeout.into());
        }
        Ok(())
    }

    /// The next part; `None` after the last.
    pub async fn next_part(&mut self) -> Result<Option<CostPart>, StoreError> {
        let Some((month, start)) = self.next.take() else { return Ok(None) };
        self.check_time()?;
        let last = self.query.months.end();
        let (tenants, months) = if self.has_all() {
            let count = i32::try_from(PART / self.tenant_count.max(1)).unwrap_or(1);
            let until = month.shifted(count - 1).map_or(last, |until| until.min(last));
            self.next = until.shifted(1).filter(|next| *next <= last).map(|next| (next, Start::First));
            (Arc::clone(&self.first), month..=until)
        } else {
            let tenants = match start {
                Start::First => Arc::clone(&self.first),
                Start::At(CostTenant { name, id, .. }) => {
                    self.query.tenants(&self.connection, ">=", (&name, id)).await?
                }
                Start::After(CostTenant { name, id, .. }) => {
                    self.query.tenants(&self.connection, ">", (&name, id)).await?
                }
            };
            self.next = match tenants.last().filter(|_| tenants.len() == PART) {
                Some(tenant) => Some((month, Start::After(tenant.clone()))),
                None => month.shifted(1).filter(|next| *next <= last).map(|next| (next, Start::First)),
            };
            (tenants, month..=month)
        };
        let months = self.query.months.iter().filter(|month| months.contains(month));
        let asked: Vec<_> = months.flat_map(|month| tenants.iter().map(move |tenant| (tenant.key, month))).collect();
        let (months, usage) = self.query.usage(&self.connection, &asked).await?;
        Ok(Some(CostPart { tenants, months, usage }))
    }

    /// Gives the connection back.
    pub async fn end(self) -> Result<(), StoreError> {
        Ok(self.connection.thaw().await?)
    }
}
