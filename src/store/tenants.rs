//! Tenants, always within a scope.

use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{Store, StoreError};
use crate::{
    auth::TenantScope,
    model::{Currency, Month, OrganizationId, TenantId, TenantStatus, UtcTime},
};

/// Stands for a tenant in per-tenant tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantKey(pub(super) i64);

/// A tenant that a scope was found to include. Only [`Store::find_tenant`] makes one, and reports are read by it.
#[derive(Clone, Debug)]
pub struct VisibleTenant {
    key: TenantKey,
    id: TenantId,
    name: String,
    organization_id: OrganizationId,
}

/// An organization that a scope was found to include.
#[derive(Clone, Debug)]
pub struct VisibleOrganization {
    id: OrganizationId,
    currency: Currency,
}

/// What was found of something that a caller named.
#[derive(Clone, Debug)]
pub enum Lookup<T> {
    /// It is there, within the scope.
    Visible(T),
    /// It is not to be seen.
    Hidden(Hidden),
}

/// Why something is not to be seen. For the log only: callers get one answer for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// There is no such thing.
    Unknown,
    /// It is outside the caller's scope.
    OutOfScope,
}

/// A tenant in a list.
#[derive(Clone, Debug)]
pub struct TenantSummary {
    /// The GUID.
    pub id: TenantId,
    /// The name.
    pub name: String,
    /// Whose tenant.
    pub organization_id: OrganizationId,
    /// The organization's name.
    pub organization_name: String,
    /// The state.
    pub status: TenantStatus,
    /// The plan.
    pub plan: String,
    /// Whether it is on trial.
    pub trial: bool,
    /// When the trial expires or expired.
    pub trial_expiry: Option<UtcTime>,
    /// The first and the last month with usage.
    pub usage_months: Option<(Month, Month)>,
}

/// Which tenants to list.
#[derive(Clone, Debug, Default)]
pub struct TenantSearch {
    /// A part of a name or id, in lower case; empty: all.
    pub text: String,
    /// Of this organization.
    pub organization_id: Option<OrganizationId>,
    /// After this position in the order.
    pub after: Option<TenantPosition>,
    /// At most so many.
    pub limit: u16,
}

/// A position in the order of tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantPosition {
    /// The organization's name.
    pub organization_name: String,
    /// The tenant's name.
    pub tenant_name: String,
    /// The tenant.
    pub tenant_id: TenantId,
}

/// A page of tenants.
#[derive(Clone, Debug)]
pub struct TenantPage {
    /// The tenants, in order.
    pub tenants: Vec<TenantSummary>,
    /// How many tenants match in all.
    pub total_size: i64,
}

/// The names that searches look into. `U+001F` cannot stand in a name, so no search reaches across them.
pub(super) fn search_text(tenant_name: &str, organization_name: &str) -> String {
    format!("{tenant_name}\u{1f}{organization_name}").to_lowercase()
}

// === impl VisibleTenant ===

impl VisibleTenant {
    pub(super) fn key(&self) -> i64 {
        self.key.0
    }

    /// The GUID.
    pub fn id(&self) -> TenantId {
        self.id
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose tenant.
    pub fn organization_id(&self) -> OrganizationId {
        self.organization_id
    }
}

// === impl VisibleOrganization ===

impl VisibleOrganization {
    /// The GUID.
    pub fn id(&self) -> OrganizationId {
        self.id
    }

    /// What it is billed in.
    pub fn currency(&self) -> Currency {
        self.currency
    }
}

// === impl Lookup ===

impl<T> Lookup<T> {
    fn of(row: Option<Row>, visible: impl Fn(&Row) -> Result<T, StoreError>) -> Result<Self, StoreError> {
        let Some(row) = row else { return Ok(Self::Hidden(Hidden::Unknown)) };
        if row.try_get("in_scope")? { visible(&row).map(Self::Visible) } else { Ok(Self::Hidden(Hidden::OutOfScope)) }
    }

    /// What is visible, or why nothing is.
    pub fn visible(self) -> Result<T, Hidden> {
        match self {
            Self::Visible(value) => Ok(value),
            Self::Hidden(hidden) => Err(hidden),
        }
    }
}

// === impl TenantSummary ===

impl TenantSummary {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let code: i16 = row.try_get("status")?;
        let status = TenantStatus::from_code(code.into())
            .ok_or_else(|| StoreError::corrupt(format!("a tenant has status {code}")))?;
        let month = |column: &str| -> Result<Option<Month>, StoreError> {
            Ok(row.try_get::<_, Option<_>>(column)?.and_then(Month::of))
        };
        Ok(Self {
            id: TenantId::from_uuid(row.try_get("tenant_id")?),
            name: row.try_get("name")?,
            organization_id: OrganizationId::from_uuid(row.try_get("organization_id")?),
            organization_name: row.try_get("organization_name")?,
            status,
            plan: row.try_get("plan")?,
            trial: row.try_get("trial")?,
            trial_expiry: row.try_get::<_, Option<_>>("trial_expiry")?.map(UtcTime::from_chrono),
            usage_months: month("first_usage_month")?.zip(month("last_usage_month")?),
        })
    }

    /// Where it stands in the order.
    pub fn position(&self) -> TenantPosition {
        TenantPosition {
            organization_name: self.organization_name.clone(),
            tenant_name: self.name.clone(),
            tenant_id: self.id,
        }
    }
}

/// The tenants of the organizations of a scope.
const OWN_TENANTS: &str = "(SELECT * FROM tenant WHERE organization_id = ANY ($1) OFFSET 0)";

/// How many matches are looked up at once, put in order and counted. Where there are more, it is quicker to walk through
/// the tenants in order until the page is full. The planner cannot know: its statistics say little of what a text has
/// inside, and the wrong way takes a hundred times as long.
const FEW: i64 = 4000;

/// The conditions on a tenant `t`.
const MATCHES: &str = "($1::uuid[] IS NULL OR t.organization_id = ANY ($1))
              AND ($2::uuid IS NULL OR t.organization_id = $2)
              AND ($3::text IS NULL OR t.search_text LIKE $3 OR t.tenant_id::text LIKE $4)";

/// A page of what `tenants` stands for.
fn page_of(tenants: &str) -> String {
    format!(
        "SELECT t.tenant_id, t.name, t.organization_id, t.organization_name, t.status, t.plan, t.trial, t.trial_expiry,
               usage.first_usage_month, usage.last_usage_month
        FROM (
            SELECT t.*
            FROM {tenants} t
            WHERE {MATCHES}
              AND ($5::text IS NULL OR (t.organization_name, t.name, t.tenant_id) > ($5, $6, $7::uuid))
            ORDER BY t.organization_name, t.name, t.tenant_id
            LIMIT $8
        ) t
        CROSS JOIN LATERAL (
            SELECT min(l.usage_month) AS first_usage_month, max(l.usage_month) AS last_usage_month
            FROM usage_load l
            WHERE l.tenant_key = t.tenant_key
        ) usage"
    )
}

/// Where few tenants match: a page of them, each row with how many match in all. Where none is on the page, one row has
/// that alone.
fn few_statement(tenants: &str) -> String {
    format!(
        "-- list_tenants: few
        WITH found AS MATERIALIZED (SELECT t.* FROM {tenants} t WHERE {MATCHES} LIMIT $9)
        SELECT total.size AS total_size, page.*
        FROM (SELECT count(*) AS size FROM found) AS total
        LEFT JOIN ({}) AS page ON true
        ORDER BY page.organization_name, page.name, page.tenant_id",
        page_of("found")
    )
}

/// How many tenants match, among those that `tenants` stands for.
fn count_statement(tenants: &str) -> String {
    format!("-- list_tenants: count\nSELECT count(*) AS total_size FROM {tenants} t WHERE {MATCHES}")
}

/// A page of them.
fn page_statement(tenants: &str) -> String {
    format!("-- list_tenants: page\n{} ORDER BY t.organization_name, t.name, t.tenant_id", page_of(tenants))
}

impl Store {
    /// Lists tenants, ordered by organization name, tenant name and tenant id.
    pub async fn list_tenants(&self, scope: &TenantScope, search: &TenantSearch) -> Result<TenantPage, StoreError> {
        let client = self.short().await?;
        let organizations = scope_filter(scope);
        let organization = search.organization_id.map(OrganizationId::as_uuid);
        let pattern = (!search.text.is_empty()).then(|| contains_pattern(&search.text));
        // Nothing else can stand in an id, so ids need not be looked at for it.
        let of_id = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        let id_pattern = pattern.as_ref().filter(|_| search.text.bytes().all(of_id));
        // Whoever may see some organizations only must not find out by the time it takes what is in others: the search
        // begins with what may be seen, which OFFSET keeps the planner from turning round.
        let tenants = if organizations.is_some() { OWN_TENANTS } else { "tenant" };
        let after = search.after.as_ref();
        let name = after.map(|position| position.organization_name.as_str());
        let tenant_name = after.map(|position| position.tenant_name.as_str());
        let tenant_id = after.map(|position| position.tenant_id.as_uuid());
        let limit = i64::from(search.limit);
        let page: [&(dyn ToSql + Sync); 8] =
            [&organizations, &organization, &pattern, &id_pattern, &name, &tenant_name, &tenant_id, &limit];
        if pattern.is_some() {
            let few = client.prepare_cached(&few_statement(tenants)).await?;
            let more_than_few = FEW + 1;
            let mut binds = page.to_vec();
            binds.push(&more_than_few);
            let rows = client.query(&few, &binds).await?;
            let total_size = rows.first().map_or(Ok(0), |row| row.try_get("total_size"))?;
            if total_size <= FEW {
                let on_page =
                    rows.iter().filter(|row| !matches!(row.try_get::<_, Option<Uuid>>("tenant_id"), Ok(None)));
                let tenants = on_page.map(TenantSummary::from_row).collect::<Result<_, _>>()?;
                return Ok(TenantPage { tenants, total_size });
            }
        }
        let count = client.prepare_cached(&count_statement(tenants)).await?;
        let total_size = client.query_one(&count, &page[..4]).await?.try_get("total_size")?;
        let statement = client.prepare_cached(&page_statement(tenants)).await?;
        let rows = client.query(&statement, &page).await?;
        let tenants = rows.iter().map(TenantSummary::from_row).collect::<Result<_, _>>()?;
        Ok(TenantPage { tenants, total_size })
    }

    /// Finds a tenant within a scope. One that is outside takes the same work as one that does not exist.
    pub async fn find_tenant(&self, scope: &TenantScope, id: TenantId) -> Result<Lookup<VisibleTenant>, StoreError> {
        let client = self.short().await?;
        let statement = client
            .prepare_cached(
                "-- find_tenant
                SELECT tenant_key, name, organization_id, $2::uuid[] IS NULL OR organization_id = ANY ($2) AS in_scope
                FROM tenant
                WHERE tenant_id = $1",
            )
            .await?;
        let row = client.query_opt(&statement, &[&id.as_uuid(), &scope_filter(scope)]).await?;
        Lookup::of(row, |row| {
            Ok(VisibleTenant {
                key: TenantKey(row.try_get("tenant_key")?),
                id,
                name: row.try_get("name")?,
                organization_id: OrganizationId::from_uuid(row.try_get("organization_id")?),
            })
        })
    }

    /// Finds an organization within a scope.
    pub async fn find_organization(
        &self,
        scope: &TenantScope,
        id: OrganizationId,
    ) -> Result<Lookup<VisibleOrganization>, StoreError> {
        let client = self.short().await?;
        let statement = client
            .prepare_cached(
                "-- find_organization
                SELECT currency, $2::uuid[] IS NULL OR organization_id = ANY ($2) AS in_scope
                FROM organization
                WHERE organization_id = $1",
            )
            .await?;
        let row = client.query_opt(&statement, &[&id.as_uuid(), &scope_filter(scope)]).await?;
        Lookup::of(row, |row| Ok(VisibleOrganization { id, currency: currency(row)? }))
    }
}

/// The scope as a parameter: null stands for every organization.
pub(super) fn scope_filter(scope: &TenantScope) -> Option<Vec<Uuid>> {
    scope.organizations().map(|ids| ids.iter().map(|id| id.as_uuid()).collect())
}

pub(super) fn currency(row: &Row) -> Result<Currency, StoreError> {
    let code: String = row.try_get("currency")?;
    code.parse().map_err(|_| StoreError::corrupt(format!("{code:?} is not a currency")))
}

/// A pattern of LIKE that finds a text anywhere, each of its characters as itself.
fn contains_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}
