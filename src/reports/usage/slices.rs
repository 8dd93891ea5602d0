//! A report in slices of whole days, for those who read several at the same time. Slices one after the other are the report.

use super::{FoundReport, UsageHeader, UsageReport, UsageRequest, filter, position::Position, totals::missing_totals};
use crate::{
    auth::TenantScope,
    model::{DecimalForm, Digits, UtcTime},
    reports::{
        InvalidField, ReportError,
        manifest::{self, Revision},
        ticket::{put_form, take_form},
        token::{InvalidToken, take},
    },
    store::{Load, RecordFilter, Store, StoreError},
};

/// How many records a slice has at least, where there are more days.
const SLICE_RECORDS: i64 = 100_000;

/// Some of the loads of a report, and how its quantities are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageSlice {
    pub revision: Revision,
    /// The index of the first load.
    first: u32,
    /// The index after the last one.
    end: u32,
    pub quantities: DecimalForm,
}

/// What can be said of a report before any of it is read.
#[derive(Clone, Debug)]
pub struct UsageOutline {
    /// Of the whole report.
    pub header: UsageHeader,
    /// `None`: it is not known before its records are read.
    pub record_count: Option<u64>,
    /// The report is as it was then.
    pub as_of: UtcTime,
    pub quantities: DecimalForm,
    /// At least one.
    pub slices: Vec<UsageSlice>,
}

// === impl UsageSlice ===

impl UsageSlice {
    /// Puts it into a ticket.
    pub(in crate::reports) fn put(self, payload: &mut Vec<u8>) {
        payload.extend_from_slice(&self.revision.0);
        payload.extend_from_slice(&self.first.to_be_bytes());
        payload.extend_from_slice(&self.end.to_be_bytes());
        put_form(self.quantities, payload);
    }

    /// Takes it off the front of a ticket.
    pub(in crate::reports) fn take(payload: &mut &[u8]) -> Result<Self, InvalidToken> {
        Ok(Self {
            revision: Revision(take(payload)?),
            first: u32::from_be_bytes(take(payload)?),
            end: u32::from_be_bytes(take(payload)?),
            quantities: take_form(payload)?,
        })
    }

    #[cfg(test)]
    pub(in crate::reports) fn of_loads(revision: [u8; 32], (first, end): (u32, u32), quantities: DecimalForm) -> Self {
        Self { revision: Revision(revision), first, end, quantities }
    }

    /// Its loads; `None` where the report has not as many.
    fn of<'a>(&self, loads: &'a [Load]) -> Option<&'a [Load]> {
        loads.get(usize::try_from(self.first).ok()?..usize::try_from(self.end).ok()?)
    }
}

// === impl UsageOutline ===

impl UsageOutline {
    /// # Errors
    ///
    /// Those of [`UsageReport::open`].
    pub async fn find(
        store: &Store,
        scope: &TenantScope,
        request: &UsageRequest,
        max_slices: usize,
    ) -> Result<Self, ReportError> {
        let snapshot = manifest::snapshot(store, request.as_of);
        let found = FoundReport::find(store, scope, request, snapshot).await?;
        if found.is_purged() {
            return Err(ReportError::Purged);
        }
        let filter = filter::resolve(&request.filter, store, &found.tenant, &found.meters).await?;
        // Of all records, so that each filter has the same columns.
        let totals = store.stored_totals(&found.tenant, &found.loads, &RecordFilter::default()).await?;
        let Some(totals) = totals else {
            return Err(missing_totals(store, &found.tenant, &found.loads).await);
        };
        let digits = Digits::of_parts(totals.iter().map(|total| &total.quantity));
        let quantities = digits.quantity_form().ok_or_else(|| StoreError::corrupt("a total has too many digits"))?;
        let matching = totals.iter().filter(|total| filter.passes_total(&total.key));
        let record_count = matching.map(|total| u64::try_from(total.record_count).unwrap_or_default()).sum();
        let slice = |(first, end)| UsageSlice { revision: found.revision, first, end, quantities };
        Ok(Self {
            header: found.header(),
            record_count: (!filter.is_by_asset()).then_some(record_count),
            as_of: found.snapshot.time(),
            quantities,
            slices: ranges(&found.loads, max_slices).into_iter().map(slice).collect(),
        })
    }
}

impl UsageReport {
    /// Opens a slice of the report that a request asks for, at the moment of its outline.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), and [`ReportError::SliceExpired`] if there is no such report any more.
    pub async fn open_slice(
        store: Store,
        scope: &TenantScope,
        request: &UsageRequest,
        slice: &UsageSlice,
    ) -> Result<Self, ReportError> {
        let snapshot = async {
            match request.as_of {
                Some(moment) => manifest::snapshot_of_token(&store, moment, "ticket").await,
                None => manifest::snapshot(&store, None).await,
            }
        };
        let mut found = FoundReport::find(&store, scope, request, snapshot).await?;
        if found.revision != slice.revision {
            return Err(ReportError::SliceExpired);
        }
        let header = found.header();
        found.loads = slice.of(&found.loads).ok_or(ReportError::SliceExpired)?.to_vec();
        if found.is_purged() {
            return Err(ReportError::Purged);
        }
        let filter = filter::resolve(&request.filter, &store, &found.tenant, &found.meters).await?;
        let report = Self::begin_at(store, found, header, (filter, Position::default()), request).await?;
        // A ticket may be made up.
        if !slice.quantities.has_room_for(Digits::of_parts(report.totals().map(|total| &total.quantity))) {
            return Err(InvalidField::new("ticket", "has no room for the digits of its report").into());
        }
        Ok(report)
    }
}

/// Ranges of loads with whole days and about as many records; at least one. The loads are ordered by day.
fn ranges(loads: &[Load], max: usize) -> Vec<(u32, u32)> {
    let records: i64 = loads.iter().map(|load| i64::from(load.record_count)).sum();
    let enough = SLICE_RECORDS.max(records / i64::try_from(max.max(1)).unwrap_or(i64::MAX) + 1);
    let mut ranges = Vec::new();
    let (mut first, mut records, mut day) = (0, 0, None);
    for (index, load) in (0..).zip(loads) {
        if records >= enough && day != Some(load.usage_day) {
            ranges.push((first, index));
            (first, records) = (index, 0);
        }
        (records, day) = (records + i64::from(load.record_count), Some(load.usage_day));
    }
    ranges.push((first, u32::try_from(loads.len()).unwrap_or(u32::MAX)));
    ranges
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn slices_have_whole_days_and_are_the_report(
            loads in prop::collection::vec((0..3_u64, 0..250_000_i32), 0..60), max in 1..40_usize,
        ) {
            let mut day = NaiveDate::default();
            let loads: Vec<Load> = loads.iter().zip(1..).map(|(&(days, record_count), id)| {
                day = day + chrono::Days::new(days);
                Load {
                    id, usage_day: day, source: String::new(), digest: [0; 32], record_count,
                    published_at: UtcTime::from_unix_micros(0).expect("in range"), is_purged: false,
                }
            }).collect();
            let ranges = ranges(&loads, max);
            prop_assert!((1..=max).contains(&ranges.len()), "{:?}", ranges);
            prop_assert_eq!((ranges[0].0, ranges[ranges.len() - 1].1 as usize), (0, loads.len()));
            for pair in ranges.windows(2) {
                prop_assert_eq!(pair[0].1, pair[1].0);
                let at = pair[0].1 as usize;
                prop_assert!(loads[at - 1].usage_day < loads[at].usage_day);
                let of_slice = &loads[pair[0].0 as usize..at];
                prop_assert!(of_slice.iter().map(|load| i64::from(load.record_count)).sum::<i64>() >= SLICE_RECORDS);
            }
        }
    }
}
