//! Lists of tenants, and searches in them, always within a scope (docs/decisions/007).

use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{
    auth::TenantScope,
    database::Statements as _,
    model::{Month, OrganizationId, TenantId, TenantStatus, UtcTime},
    store::{Store, StoreError, scope},
};

#[derive(Clone, Debug)]
pub struct TenantSummary {
    pub id: TenantId,
    pub name: String,
    pub organization_id: OrganizationId,
    pub organization_name: String,
    pub status: TenantStatus,
    pub plan: String,
    pub trial: bool,
    pub trial_expiry: Option<UtcTime>,
    /// The first and the last month with usage.
    pub usage_months: Option<(Month, Month)>,
}

/// Which tenants to list.
#[derive(Clone, Debug, Default)]
pub struct TenantSearch {
    /// A part of a name or id, [folded](crate::model::folded); empty: all.
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
    pub organization_name: String,
    pub tenant_name: String,
    pub tenant_id: TenantId,
}

#[derive(Clone, Debug)]
pub struct TenantPage {
    /// The tenants, in order.
    pub tenants: Vec<TenantSummary>,
    /// How many tenants match in all.
    pub total_size: i64,
}

// === impl TenantSummary ===

impl TenantSummary {
    /// One tenant, by its key.
    pub(super) fn statement_of_one() -> String {
        format!("-- tenant\n{}", page_of_one())
    }

    pub(super) fn from_row(row: &Row) -> Result<Self, StoreError> {
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

/// How many matches are looked up at once, put in order and counted. Where there are more, it is quicker to walk through
/// the tenants in order until the page is full. The planner cannot know: its statistics say little of what a text has
/// inside, and the wrong way takes a hundred times as long.
const FEW: i64 = 4000;

/// Names are found by their suffixes, of which so many characters are kept (migration 10).
const SUFFIX_CHARACTERS: usize = 24;

/// The tenants of the organizations of a scope.
fn own_tenants() -> String {
    format!("(SELECT * FROM tenant WHERE {} OFFSET 0)", scope::condition("organization_id", "$1"))
}

/// The tenants of one organization.
const OF_ORGANIZATION: &str = "(SELECT * FROM tenant WHERE organization_id = $2 OFFSET 0)";

/// The conditions on a tenant `t`.
fn matches() -> String {
    format!(
        "{}
              AND ($2::uuid IS NULL OR t.organization_id = $2)
              AND ($3::text IS NULL OR t.search_text LIKE $3 OR t.tenant_id::text LIKE $4)",
        scope::condition("t.organization_id", "$1")
    )
}

/// The first or the last month of a tenant `t` that has usage: months of which all days were withdrawn have none. Nearly
/// always it is the first one that is looked at, and no other is read.
fn usage_month(order: &str) -> String {
    format!(
        "SELECT month.usage_month FROM (
                SELECT DISTINCT ON (m.usage_month) m.usage_month, m.totals FROM usage_month m
                WHERE m.tenant_key = t.tenant_key
                ORDER BY m.usage_month {order}, m.published_at DESC
            ) AS month
            WHERE cardinality(month.totals) > 0
            ORDER BY month.usage_month {order} LIMIT 1"
    )
}

/// The columns of a tenant `t` with its first and last month.
fn with_months(tenants: &str) -> String {
    format!(
        "SELECT t.tenant_id, t.name, t.organization_id, t.organization_name, t.status, t.plan, t.trial, t.trial_expiry,
               usage.first_usage_month, usage.last_usage_month
        FROM ({tenants}) t
        CROSS JOIN LATERAL (
            SELECT ({}) AS first_usage_month, ({}) AS last_usage_month
        ) usage",
        usage_month("ASC"),
        usage_month("DESC")
    )
}

fn page_of_one() -> String {
    with_months("SELECT * FROM tenant WHERE tenant_key = $1")
}

/// A page of what `tenants` stands for, of those that meet the conditions.
fn page_of(tenants: &str, conditions: &str) -> String {
    with_months(&format!(
        "
            SELECT t.*
            FROM {tenants} t
            WHERE {conditions}
              AND ($5::text IS NULL OR (t.organization_name, t.name, t.tenant_id) > ($5, $6, $7::uuid))
            ORDER BY t.organization_name, t.name, t.tenant_id
            LIMIT $8
        "
    ))
}

/// Where few tenants match: a page of them, each row with how many match in all. Where none is on the page, one row has
/// that alone. Where they are not few, they are counted as one more.
///
/// Among all tenants, they are found by what names and ids have in them: the candidates, some perhaps twice. Some tenants
/// only are looked at one by one. With a scope it must be so: whoever may see some organizations only must not find out by
/// the time it takes what is in others, and OFFSET keeps the planner from turning that round.
fn few_statement(some: Option<&str>) -> String {
    let matches = matches();
    let found = if let Some(some) = some {
        format!(
            "found AS MATERIALIZED (SELECT t.* FROM {some} t WHERE {matches} LIMIT $9),
        total AS (SELECT count(*) AS size FROM found)"
        )
    } else {
        format!(
            "candidate AS MATERIALIZED (
            SELECT ARRAY(
                SELECT tenant_key FROM tenant_name_suffix WHERE suffix LIKE $10
                UNION ALL
                SELECT unnest(ARRAY(SELECT t.tenant_key FROM tenant t WHERE t.organization_id = s.organization_id LIMIT $9))
                FROM organization_name_suffix s WHERE s.suffix LIKE $10
                UNION ALL
                SELECT t.tenant_key FROM tenant t WHERE t.tenant_id::text LIKE $4
                LIMIT $9
            ) AS keys
        ),
        found AS MATERIALIZED (
            SELECT t.*
            FROM candidate JOIN tenant t ON t.tenant_key = ANY (candidate.keys)
            WHERE cardinality(candidate.keys) < $9 AND {matches}
        ),
        total AS (
            SELECT CASE WHEN cardinality(keys) < $9 THEN (SELECT count(*) FROM found) ELSE $9 END AS size FROM candidate
        )"
        )
    };
    format!(
        "-- list_tenants: few
        WITH {found}
        SELECT total.size AS total_size, page.*
        FROM total LEFT JOIN ({}) AS page ON true
        ORDER BY page.organization_name, page.name, page.tenant_id",
        page_of("found", "true")
    )
}

/// How many tenants match, among those that `tenants` stands for.
fn count_statement(tenants: &str) -> String {
    format!("-- list_tenants: count\nSELECT count(*) AS total_size FROM {tenants} t WHERE {}", matches())
}

/// A page of them.
fn page_statement(tenants: &str) -> String {
    format!("-- list_tenants: page\n{} ORDER BY t.organization_name, t.name, t.tenant_id", page_of(tenants, &matches()))
}

impl Store {
    /// Lists tenants, ordered by organization name, tenant name and tenant id.
    pub async fn list_tenants(&self, scope: &TenantScope, search: &TenantSearch) -> Result<TenantPage, StoreError> {
        let client = self.short().await?;
        let organizations = scope::bind(scope);
        let organization = search.organization_id.map(OrganizationId::as_uuid);
        let pattern = (!search.text.is_empty()).then(|| contains_pattern(&search.text));
        // Nothing else can stand in an id, so ids need not be looked at for it.
        let of_id = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        let id_pattern = pattern.as_ref().filter(|_| search.text.bytes().all(of_id));
        let own = organizations.as_ref().map(|_| own_tenants());
        let after = search.after.as_ref();
        let name = after.map(|position| position.organization_name.as_str());
        let tenant_name = after.map(|position| position.tenant_name.as_str());
        let tenant_id = after.map(|position| position.tenant_id.as_uuid());
        let limit = i64::from(search.limit);
        let page: [&(dyn ToSql + Sync); 8] =
            [&organizations, &organization, &pattern, &id_pattern, &name, &tenant_name, &tenant_id, &limit];
        if pattern.is_some() {
            let some = own.as_deref().or_else(|| organization.map(|_| OF_ORGANIZATION));
            let few = &few_statement(some);
            let more_than_few = FEW + 1;
            let suffix = suffix_pattern(&search.text);
            let mut binds = page.to_vec();
            binds.push(&more_than_few);
            if some.is_none() {
                binds.push(&suffix);
            }
            let rows = client.fetch_all(few, &binds).await?;
            let total_size = rows.first().map_or(Ok(0), |row| row.try_get("total_size"))?;
            if total_size <= FEW {
                let on_page =
                    rows.iter().filter(|row| !matches!(row.try_get::<_, Option<Uuid>>("tenant_id"), Ok(None)));
                let tenants = on_page.map(TenantSummary::from_row).collect::<Result<_, _>>()?;
                return Ok(TenantPage { tenants, total_size });
            }
        }
        let tenants = own.as_deref().unwrap_or("tenant");
        let count = &count_statement(tenants);
        let total_size = client.fetch_one(count, &page[..4]).await?.try_get("total_size")?;
        let statement = &page_statement(tenants);
        let rows = client.fetch_all(statement, &page).await?;
        let tenants = rows.iter().map(TenantSummary::from_row).collect::<Result<_, _>>()?;
        Ok(TenantPage { tenants, total_size })
    }
}

/// A pattern of LIKE that finds a text anywhere.
fn contains_pattern(text: &str) -> String {
    format!("%{}%", escape(text.chars()))
}

/// A pattern of LIKE that finds suffixes which begin with a text, as far as they are kept.
fn suffix_pattern(text: &str) -> String {
    format!("{}%", escape(text.chars().take(SUFFIX_CHARACTERS)))
}

/// Makes LIKE take each character as itself.
fn escape(characters: impl Iterator<Item = char>) -> String {
    let mut escaped = String::new();
    for character in characters {
        if matches!(character, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
