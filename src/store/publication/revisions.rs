//! The revisions of months with loads that are not published yet. They are computed while the records are written: under the publish
//! lock it is enough to see that a month has not changed since.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use crate::{
    database::Statements,
    model::{Month, Source, TenantId},
    store::{LoadContent, NewLoad, Store, StoreError, TenantKey, columns, revision},
};

/// How many months are read at once.
pub(super) const PART: usize = 1000;
/// Fewer are computed under the lock: that takes less time than another look at them.
const WORTH_IT: usize = 100;
const DIGEST_BYTES: usize = 32;

pub(super) type MonthKey = (TenantKey, Month);

/// Loads to publish, by the months that they change.
pub(super) type LoadsByMonth<'a> = BTreeMap<MonthKey, Vec<&'a NewLoad>>;

pub(super) fn by_month(loads: &[NewLoad]) -> LoadsByMonth<'_> {
    let mut months = LoadsByMonth::new();
    for load in loads {
        months.entry((load.key.tenant, load.month)).or_default().push(load);
    }
    months
}

#[derive(Default)]
pub(super) struct Revisions(HashMap<MonthKey, RevisionWithLoads>);

struct RevisionWithLoads {
    /// When the month was published that the loads were added to.
    published_at: Option<DateTime<Utc>>,
    revision: [u8; 32],
}

// === impl Revisions ===

impl Revisions {
    /// Those of months as they stand now, where there are many of them, and as far as they can be read.
    pub(super) async fn ahead(store: &Store, source: &Source, loads: &LoadsByMonth<'_>) -> Self {
        let keys: Vec<MonthKey> = loads.keys().copied().collect();
        if keys.len() < WORTH_IT {
            return Self::default();
        }
        // One import at a time: the others of a server need the connections for short calls, too.
        let Ok(_turn) = store.revisions_turn.try_lock() else { return Self::default() };
        // Two at once, since the records keep the database busy in turns only.
        let (first, second) = keys.split_at(keys.len() / 2);
        let (mut first, second) =
            tokio::join!(Self::of_some(store, source, loads, first), Self::of_some(store, source, loads, second));
        first.0.extend(second.0);
        first
    }

    async fn of_some(store: &Store, source: &Source, loads: &LoadsByMonth<'_>, keys: &[MonthKey]) -> Self {
        let mut all = Self::default();
        for part in keys.chunks(PART) {
            match Self::of_part(store, source, loads, part).await {
                Ok(revisions) => all.0.extend(revisions.0),
                // The rest is computed under the lock, then.
                Err(error) => {
                    tracing::debug!(%error, "revisions cannot be computed ahead");
                    break;
                }
            }
        }
        all
    }

    async fn of_part(
        store: &Store,
        source: &Source,
        loads: &LoadsByMonth<'_>,
        keys: &[MonthKey],
    ) -> Result<Self, StoreError> {
        Self::read(&store.short().await?, source, loads, keys).await
    }

    /// Those of some of the months, as they stand now.
    pub(super) async fn read<C>(
        client: &C,
        source: &Source,
        loads: &LoadsByMonth<'_>,
        keys: &[MonthKey],
    ) -> Result<Self, StoreError>
    where
        C: Statements + Sync,
        StoreError: From<C::Error>,
    {
        let (tenants, first_days): (Vec<i64>, Vec<NaiveDate>) =
            keys.iter().map(|(tenant, month)| (tenant.0, month.first_day())).unzip();
        let rows = client
            .fetch_all(
                "-- loads_of_months
                SELECT wanted.tenant_key, wanted.usage_month, tenant.tenant_id, present.loads,
                       (SELECT max(published_at) FROM usage_month m
                        WHERE m.tenant_key = wanted.tenant_key AND m.usage_month = wanted.usage_month) AS published_at
                FROM unnest($1::bigint[], $2::date[]) AS wanted (tenant_key, usage_month)
                CROSS JOIN LATERAL (
                    SELECT tenant_id FROM tenant t WHERE t.tenant_key = wanted.tenant_key OFFSET 0
                ) AS tenant
                CROSS JOIN LATERAL (
                    -- One string: with arrays of days, sources and digests, a third of the time would be theirs.
                    SELECT string_agg(date_send(usage_day) || digest || textsend(source) || '\\000', '') AS loads
                    FROM loads_in_force(wanted.tenant_key, wanted.usage_month,
                                        (wanted.usage_month + interval '1 month')::date - 1, 'infinity')
                    WHERE record_count > 0
                ) AS present",
                &[&tenants, &first_days],
            )
            .await?;
        let mut revisions = HashMap::with_capacity(rows.len());
        for row in &rows {
            let key = (TenantKey(row.try_get("tenant_key")?), columns::month(row, "usage_month")?);
            let tenant = TenantId::from_uuid(row.try_get::<_, Uuid>("tenant_id")?);
            let present: Option<&[u8]> = row.try_get("loads")?;
            let present = parse_loads(present.unwrap_or_default())
                .ok_or_else(|| StoreError::corrupt("the loads of a month cannot be read"))?;
            let added = loads.get(&key).map(Vec::as_slice).unwrap_or_default();
            let revision = revision(tenant, key.1, with_loads(present, source, added));
            revisions.insert(key, RevisionWithLoads { published_at: row.try_get("published_at")?, revision });
        }
        Ok(Self(revisions))
    }

    /// That of a month that was last published then.
    pub(super) fn get(&self, key: MonthKey, published_at: Option<DateTime<Utc>>) -> Option<[u8; 32]> {
        let found = self.0.get(&key)?;
        (found.published_at == published_at).then_some(found.revision)
    }

    /// Why there is none under the publish lock.
    pub(super) fn why_missing(&self, key: MonthKey) -> StoreError {
        if self.0.contains_key(&key) { elsewhere() } else { StoreError::Changed("the catalog changed") }
    }
}

/// The other connection leads to a standby that is late, say.
pub(super) fn elsewhere() -> StoreError {
    StoreError::unavailable("the two connections of an import do not lead to the same database")
}

/// What is in force with the loads that are new. One that has the content of the present one changes nothing.
fn with_loads<'a>(
    mut present: Vec<LoadContent<'a>>,
    source: &'a Source,
    loads: &'a [&'a NewLoad],
) -> Vec<LoadContent<'a>> {
    let days: HashSet<NaiveDate> = loads.iter().map(|load| load.key.usage_day).collect();
    present.retain(|load| load.source != source.as_str() || !days.contains(&load.usage_day));
    let with_records = loads.iter().filter(|load| load.record_count > 0);
    present.extend(with_records.map(|load| LoadContent {
        usage_day: load.key.usage_day,
        source: source.as_str(),
        digest: &load.digest.sha256,
    }));
    present.sort_unstable();
    present
}

/// Of days (four bytes, from 2000-01-01 on), digests, and sources that end with a zero byte.
fn parse_loads(mut bytes: &[u8]) -> Option<Vec<LoadContent<'_>>> {
    let mut loads = Vec::new();
    while !bytes.is_empty() {
        let (day, rest) = bytes.split_first_chunk()?;
        let (digest, rest) = rest.split_at_checked(DIGEST_BYTES)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        let days = chrono::Duration::days(i32::from_be_bytes(*day).into());
        let usage_day = NaiveDate::from_ymd_opt(2000, 1, 1)?.checked_add_signed(days)?;
        loads.push(LoadContent { usage_day, source: std::str::from_utf8(&rest[..end]).ok()?, digest });
        bytes = &rest[end + 1..];
    }
    Some(loads)
}
