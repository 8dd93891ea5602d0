//! Tokens for pages of costs: the query, the snapshot, the names, and the line that came last.

use uuid::Uuid;

use super::{CostLine, CostsRequest, page::LinePosition};
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
    last: LastLine,
}

/// The last line of a page.
#[derive(Clone, Copy, Debug)]
struct LastLine {
    month: Month,
    tenant: TenantId,
    meter: MeterId,
    billing_region: BillingRegion,
}

const BYTES: usize = 8 + 8 + 8 + 4 + 4 + 16 + 16 + 2;

impl PageToken {
    pub(super) fn new(query: [u8; 8], snapshot: SnapshotTime, names: i64, last: &CostLine) -> Self {
        let last = LastLine {
            month: last.month,
            tenant: last.tenant_id,
            meter: last.meter.id,
            billing_region: last.billing_region,
        };
        Self { query, snapshot: snapshot.time(), names, last }
    }

    /// A digest that identifies the query.
    pub(super) fn query(request: &CostsRequest) -> [u8; 8] {
        let CostsRequest { organization_id, tenant_id, months, as_of, .. } = request;
        let tenant_id = tenant_id.map(|id| id.to_string()).unwrap_or_default();
        let as_of = as_of.map(|time| time.to_string()).unwrap_or_default();
        let (start, end) = (months.start(), months.end());
        short_digest(format!("{organization_id} {tenant_id} {start} {end} {as_of}").as_bytes())
    }

    pub(super) fn seal(&self) -> String {
        let Self { query, snapshot, names, last } = self;
        let mut payload = Vec::with_capacity(BYTES);
        payload.extend_from_slice(query);
        payload.extend_from_slice(&snapshot.unix_micros().to_be_bytes());
        payload.extend_from_slice(&names.to_be_bytes());
        payload.extend_from_slice(&last.month.year().to_be_bytes());
        payload.extend_from_slice(&last.month.number().to_be_bytes());
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
            last: LastLine {
                month: Month::new(i32::from_be_bytes(take(payload)?), i32::from_be_bytes(take(payload)?))
                    .map_err(|_| damaged)?,
                tenant: TenantId::from_uuid(Uuid::from_bytes(take(payload)?)),
                meter: MeterId::from_uuid(Uuid::from_bytes(take(payload)?)),
                billing_region: BillingRegion::from_code(i16::from_be_bytes(take(payload)?).into()).ok_or(damaged)?,
            },
        })
    }

    pub(super) fn snapshot(&self) -> UtcTime {
        self.snapshot
    }

    /// The last line of the page before, from which `reader` goes on.
    pub(super) async fn position(
        &self,
        request: &CostsRequest,
        reader: &mut CostReader,
        meters: &Meters,
    ) -> Result<LinePosition, ReportError> {
        if self.names != reader.names() {
            return Err(ReportError::PageTokenExpired);
        }
        let LastLine { month, tenant, meter, billing_region } = self.last;
        let made_up = || InvalidField::new("page_token", "a token of a line that the bill does not have");
        let meter_name = meters.name_of(meter).ok_or_else(made_up)?.to_owned();
        if !request.months.contains(month) {
            return Err(made_up().into());
        }
        let tenant = reader.seek(month, tenant).await?.ok_or_else(made_up)?;
        Ok(LinePosition { month, tenant_name: tenant.name, tenant_id: tenant.id, meter_name, billing_region })
    }
}
