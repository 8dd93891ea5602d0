//! Tokens for pages of costs: the query, the snapshot, the names, and what came last.

use uuid::Uuid;

use super::{
    CostsRequest,
    page::{LineNames, Page, Position, Section},
};
use crate::{
    model::{BillingRegion, MeterId, Month, TenantId, UtcTime},
    reports::{
        InvalidField, ReportError,
        token::{self, InvalidToken, Kind, short_digest, take},
    },
    store::{CostReader, Meters, SnapshotTime},
};

#[derive(Clone, Copy, Debug)]
pub(super) struct PageToken {
    query: [u8; 8],
    snapshot: UtcTime,
    /// A digest of the tenants and their names, which may change between two pages: the snapshot does not fix them.
    names: i64,
    last: LastEntry,
}

/// The last line or adjustment of a page.
#[derive(Clone, Copy, Debug)]
struct LastEntry {
    section: Section,
    month: Month,
    number: i32,
    tenant: TenantId,
    meter: MeterId,
    billing_region: BillingRegion,
}

const SECTIONS: [Section; 4] = [Section::Billed, Section::Open, Section::BilledAdjustments, Section::Adjustments];

const BYTES: usize = 8 + 8 + 8 + 1 + 4 + 4 + 4 + 16 + 16 + 2;

/// Digests of the tenants that sections without numbers have, and of their names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SectionNames {
    pub(super) open: i64,
    pub(super) adjustments: i64,
}

// === impl SectionNames ===

impl SectionNames {
    fn of(self, section: Section) -> i64 {
        match section {
            // What a statement says is fixed.
            Section::Billed | Section::BilledAdjustments => 0,
            Section::Open => self.open,
            Section::Adjustments => self.adjustments,
        }
    }
}

impl PageToken {
    /// The token for the rest, after a page.
    pub(super) fn new(query: [u8; 8], snapshot: SnapshotTime, names: SectionNames, page: &Page) -> Option<Self> {
        let (section, month, number, line) = page.last()?;
        let (tenant, meter, billing_region) = (line.tenant_id, line.meter.id, line.billing_region);
        let last = LastEntry { section, month, number, tenant, meter, billing_region };
        Some(Self { query, snapshot: snapshot.time(), names: names.of(section), last })
    }

    /// A digest that identifies the query.
    pub(super) fn query(request: &CostsRequest) -> [u8; 8] {
        let CostsRequest { organization_id, tenant_id, months, as_of, basis, .. } = request;
        let tenant_id = tenant_id.map(|id| id.to_string()).unwrap_or_default();
        let as_of = as_of.map(|time| time.to_string()).unwrap_or_default();
        let (start, end) = (months.start(), months.end());
        short_digest(format!("{organization_id} {tenant_id} {start} {end} {as_of} {basis:?}").as_bytes())
    }

    pub(super) fn seal(&self) -> String {
        let Self { query, snapshot, names, last } = self;
        let mut payload = Vec::with_capacity(BYTES);
        payload.extend_from_slice(query);
        payload.extend_from_slice(&snapshot.unix_micros().to_be_bytes());
        payload.extend_from_slice(&names.to_be_bytes());
        payload.push(SECTIONS.iter().position(|section| *section == last.section).unwrap_or(0) as u8);
        payload.extend_from_slice(&last.month.year().to_be_bytes());
        payload.extend_from_slice(&last.month.number().to_be_bytes());
        payload.extend_from_slice(&last.number.to_be_bytes());
        payload.extend_from_slice(last.tenant.as_uuid().as_bytes());
        payload.extend_from_slice(last.meter.as_uuid().as_bytes());
        payload.extend_from_slice(&last.billing_region.code().to_be_bytes());
        token::seal(Kind::Costs, &payload)
    }

    /// Parses the token of a request; `None` if it is empty.
    pub(super) fn open(token: &str, query: [u8; 8]) -> Result<Option<Self>, InvalidField> {
        if token.is_empty() {
            return Ok(None);
        }
        let token = Self::parse(token).map_err(|error| InvalidField::new("page_token", error))?;
        if token.query != query {
            let reason = "a token of another request; repeat the request of the previous page";
            return Err(InvalidField::new("page_token", reason));
        }
        Ok(Some(token))
    }

    fn parse(token: &str) -> Result<Self, InvalidToken> {
        let payload = token::open(Kind::Costs, token)?;
        if payload.len() != BYTES {
            return Err(InvalidToken::Version);
        }
        let payload = &mut payload.as_slice();
        let damaged = InvalidToken::Damaged;
        Ok(Self {
            query: take(payload)?,
            snapshot: UtcTime::from_unix_micros(i64::from_be_bytes(take(payload)?)).ok_or(damaged)?,
            names: i64::from_be_bytes(take(payload)?),
            last: LastEntry {
                section: *SECTIONS.get(usize::from(u8::from_be_bytes(take(payload)?))).ok_or(damaged)?,
                month: Month::new(i32::from_be_bytes(take(payload)?), i32::from_be_bytes(take(payload)?))
                    .map_err(|_| damaged)?,
                number: i32::from_be_bytes(take(payload)?),
                tenant: TenantId::from_uuid(Uuid::from_bytes(take(payload)?)),
                meter: MeterId::from_uuid(Uuid::from_bytes(take(payload)?)),
                billing_region: BillingRegion::from_code(i16::from_be_bytes(take(payload)?).into()).ok_or(damaged)?,
            },
        })
    }

    pub(super) fn snapshot(&self) -> UtcTime {
        self.snapshot
    }

    /// The last entry of the page before, from which `reader` goes on.
    pub(super) async fn position(
        &self,
        names: SectionNames,
        reader: &mut CostReader,
        meters: &Meters,
    ) -> Result<Position, ReportError> {
        let LastEntry { section, month, number, tenant, meter, billing_region } = self.last;
        if self.names != names.of(section) {
            return Err(ReportError::PageTokenExpired);
        }
        let made_up = || InvalidField::new("page_token", "a token of a line that the bill does not have");
        let has_number = matches!(section, Section::Billed | Section::BilledAdjustments);
        if has_number != (number > 0) {
            return Err(made_up().into());
        }
        if has_number {
            return Ok(Position { section, month, number, names: None });
        }
        let meter_name = meters.name_of(meter).ok_or_else(made_up)?.to_owned();
        let tenant_name = if section == Section::Open {
            reader.seek(month, tenant).await?.map(|tenant| tenant.name)
        } else {
            reader.name_of(tenant).await?
        };
        let tenant_name = tenant_name.ok_or_else(made_up)?;
        let names = Some(LineNames { tenant_name, tenant, meter_name, billing_region });
        Ok(Position { section, month, number, names })
    }
}
