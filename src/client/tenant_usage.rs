//! `GetTenant`, held against the request.

use super::{
    Client, ClientError,
    pages::read_page,
    report_check::{check_as_of, check_revision, moment},
};
use crate::{
    contract::proto,
    model::{Month, TenantId, UtcTime},
};

/// `GetTenantResponse.months` is among so many fields.
const LISTS: u32 = 2;
/// More than the years 1 to 9999 have months.
const MAX_MONTHS: usize = 120_000;

/// A tenant, and the months that have usage.
#[derive(Clone, Debug)]
pub struct TenantUsage {
    /// As it is now.
    pub tenant: proto::Tenant,
    pub months: Vec<UsageMonth>,
    /// What the months are as of. Other reports with this as-of are of the same moment.
    pub as_of: UtcTime,
}

/// A month that has usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageMonth {
    pub month: Month,
    pub revision: String,
    pub record_count: u64,
    pub data_as_of: UtcTime,
    /// Whether the month has its final bill.
    pub state: proto::BillState,
    /// Empty where the month has no statement.
    pub statement_number: String,
}

// === impl Client ===

impl Client {
    /// Gets a tenant and its months as they were at a time; `None`: now.
    ///
    /// # Errors
    ///
    /// [`ClientError::WrongAnswer`] if it is another tenant, of another moment, or if its months are out of order.
    pub async fn tenant_usage(
        &mut self,
        tenant_id: TenantId,
        as_of: Option<UtcTime>,
    ) -> Result<TenantUsage, ClientError> {
        let request = proto::GetTenantRequest { tenant_id: tenant_id.to_string(), as_of: as_of.map(Into::into) };
        let bytes = self.unary("GetTenant", &request).await?;
        let answer: proto::GetTenantResponse = read_page(&bytes, LISTS, MAX_MONTHS)?;
        TenantUsage::of(answer, tenant_id, as_of)
    }
}

// === impl TenantUsage ===

impl TenantUsage {
    fn of(answer: proto::GetTenantResponse, tenant_id: TenantId, as_of: Option<UtcTime>) -> Result<Self, ClientError> {
        let tenant = answer.tenant.unwrap_or_default();
        if tenant.tenant_id != tenant_id.to_string() {
            return Err(ClientError::wrong(format!("it is of tenant {:?}, not of {tenant_id}", tenant.tenant_id)));
        }
        let found = moment(answer.as_of).ok_or_else(|| ClientError::malformed("as_of", "none"))?;
        if as_of.is_some_and(|asked| asked != found) {
            return Err(ClientError::wrong(format!("it is as of {found}")));
        }
        let mut months: Vec<UsageMonth> = Vec::new();
        for month in answer.months {
            let month = UsageMonth::try_from(month)?;
            check_as_of(Some(month.data_as_of), Some(found))?;
            if months.last().is_some_and(|last| last.month >= month.month) {
                return Err(ClientError::wrong("its months are not in order, or come twice"));
            }
            months.push(month);
        }
        Ok(Self { tenant, months, as_of: found })
    }
}

impl TryFrom<proto::UsageMonth> for UsageMonth {
    type Error = ClientError;

    fn try_from(found: proto::UsageMonth) -> Result<Self, ClientError> {
        let month = found.month.and_then(|month| Month::new(month.year, month.month).ok());
        let month = month.ok_or_else(|| ClientError::malformed("month", found.month))?;
        check_revision(&found.revision)?;
        let record_count = u64::try_from(found.record_count);
        let record_count = record_count.map_err(|_| ClientError::malformed("record_count", found.record_count))?;
        let data_as_of = moment(found.data_as_of).ok_or_else(|| ClientError::malformed("data_as_of", "none"))?;
        let state = match found.state() {
            proto::BillState::Unspecified => return Err(ClientError::malformed("state", found.state)),
            state => state,
        };
        let (revision, statement_number) = (found.revision, found.statement_number);
        Ok(Self { month, revision, record_count, data_as_of, state, statement_number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

    fn time(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    fn answer() -> proto::GetTenantResponse {
        let month = |month| proto::UsageMonth {
            month: Some(proto::YearMonth { year: 2022, month }),
            revision: "ab".repeat(32),
            record_count: 7,
            data_as_of: time(40),
            state: proto::BillState::Open.into(),
            ..proto::UsageMonth::default()
        };
        let tenant = proto::Tenant { tenant_id: ID.to_owned(), ..proto::Tenant::default() };
        proto::GetTenantResponse { tenant: Some(tenant), months: vec![month(2), month(3)], as_of: time(50) }
    }

    fn read(change: impl Fn(&mut proto::GetTenantResponse), as_of: Option<i64>) -> Result<TenantUsage, ClientError> {
        let mut answer = answer();
        change(&mut answer);
        let as_of = as_of.map(|seconds| UtcTime::from_unix(seconds, 0).expect("a time"));
        TenantUsage::of(answer, ID.parse().expect("an id"), as_of)
    }

    #[test]
    fn an_answer_is_held_against_the_request() {
        let usage = read(|_| (), None).expect("a sound answer");
        assert_eq!(usage.as_of.to_string(), "1970-01-01T00:00:50Z");
        let months: Vec<_> = usage.months.iter().map(|month| (month.month.to_string(), month.record_count)).collect();
        assert_eq!(months, [("2022-02".to_owned(), 7), ("2022-03".to_owned(), 7)]);
        assert!(read(|_| (), Some(50)).is_ok());
        assert!(read(|_| (), Some(51)).is_err(), "of another moment");
        let wrong: [fn(&mut proto::GetTenantResponse); 11] = [
            |answer| answer.tenant = None,
            |answer| answer.tenant.as_mut().expect("a tenant").tenant_id = ID.replace('0', "1"),
            |answer| answer.as_of = None,
            |answer| answer.as_of = time(39),
            |answer| answer.months.swap(0, 1),
            |answer| answer.months[1].month = answer.months[0].month,
            |answer| answer.months[0].month = Some(proto::YearMonth { year: 2022, month: 13 }),
            |answer| answer.months[0].revision.truncate(63),
            |answer| answer.months[0].record_count = -1,
            |answer| answer.months[0].data_as_of = None,
            |answer| answer.months[0].state = 0,
        ];
        for (number, change) in wrong.into_iter().enumerate() {
            assert!(read(change, None).is_err(), "{number}");
        }
    }
}
