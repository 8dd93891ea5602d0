//! Positions in a report, and the tokens that hold them.

use crate::{
    model::{Month, TenantId, UtcTime},
    reports::{
        manifest::Revision,
        token::{self, InvalidToken, Kind, take},
    },
    store::Load,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// The index of the load in the manifest.
    pub(super) load: usize,
    /// The last row of the load before the position; 0: none.
    pub(super) row: i32,
    /// How many records of the report (after the filter) are before the position.
    pub(super) records_before: u64,
}

/// The report that a position is in. Everything that is needed to find it again is here, so that any replica can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resume {
    pub(super) tenant_id: TenantId,
    pub(super) month: Month,
    pub(super) snapshot: UtcTime,
    pub(super) revision: Revision,
    pub(super) filter_digest: [u8; 8],
}

/// A token belongs to another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenMismatch {
    #[error("a token of another tenant or month; repeat the request that it came from")]
    Report,
    #[error("a token of another filter; repeat the request that it came from")]
    Filter,
}

// === impl Position ===

impl Position {
    /// Whether the position exists in these loads.
    pub(super) fn is_in(&self, loads: &[Load]) -> bool {
        loads.get(self.load).is_some_and(|load| (0..=load.record_count).contains(&self.row))
    }
}

// === impl Resume ===

impl Resume {
    pub(super) fn seal(&self, position: Position) -> String {
        let mut payload = Vec::with_capacity(84);
        payload.extend_from_slice(self.tenant_id.as_uuid().as_bytes());
        payload.extend_from_slice(&self.month.year().to_be_bytes());
        payload.extend_from_slice(&self.month.number().to_be_bytes());
        payload.extend_from_slice(&self.snapshot.unix_micros().to_be_bytes());
        payload.extend_from_slice(&self.revision.0);
        payload.extend_from_slice(&self.filter_digest);
        payload.extend_from_slice(&u32::try_from(position.load).unwrap_or(u32::MAX).to_be_bytes());
        payload.extend_from_slice(&position.row.to_be_bytes());
        payload.extend_from_slice(&position.records_before.to_be_bytes());
        token::seal(Kind::Usage, &payload)
    }

    pub(super) fn open(token: &str) -> Result<(Self, Position), InvalidToken> {
        let payload = token::open(Kind::Usage, token)?;
        let payload = &mut payload.as_slice();
        let tenant_id = TenantId::from_uuid(uuid::Uuid::from_bytes(take(payload)?));
        let year = i32::from_be_bytes(take(payload)?);
        let month = i32::from_be_bytes(take(payload)?);
        let resume = Self {
            tenant_id,
            month: Month::new(year, month).map_err(|_| InvalidToken::Damaged)?,
            snapshot: UtcTime::from_unix_micros(i64::from_be_bytes(take(payload)?)).ok_or(InvalidToken::Damaged)?,
            revision: Revision(take(payload)?),
            filter_digest: take(payload)?,
        };
        let position = Position {
            load: usize::try_from(u32::from_be_bytes(take(payload)?)).map_err(|_| InvalidToken::Damaged)?,
            row: i32::from_be_bytes(take(payload)?),
            records_before: u64::from_be_bytes(take(payload)?),
        };
        if payload.is_empty() { Ok((resume, position)) } else { Err(InvalidToken::Damaged) }
    }

    /// Checks that the token belongs to this request.
    pub(super) fn check(&self, tenant_id: TenantId, month: Month, filter_digest: [u8; 8]) -> Result<(), TokenMismatch> {
        if (self.tenant_id, self.month) != (tenant_id, month) {
            return Err(TokenMismatch::Report);
        }
        if self.filter_digest != filter_digest {
            return Err(TokenMismatch::Filter);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_position_is_in_a_load_and_its_rows() {
        let load = |id, record_count| Load {
            id,
            usage_day: chrono::NaiveDate::MIN,
            source: "default".to_owned(),
            digest: [0; 32],
            record_count,
            published_at: UtcTime::from_unix_micros(0).expect("in range"),
            is_purged: false,
        };
        let loads = [load(1, 10), load(2, 5)];
        let is_in = |load, row| Position { load, row, records_before: 0 }.is_in(&loads);
        assert!(is_in(0, 0) && is_in(0, 10) && is_in(1, 5));
        assert!(!is_in(0, -1) && !is_in(0, 11) && !is_in(1, 6) && !is_in(2, 0) && !is_in(usize::MAX, 0));
    }

    proptest! {
        #[test]
        fn round_trip(
            tenant in any::<u128>(), year in 1..=9999, month in 1..=12, micros in 0..4_000_000_000_000_000_i64,
            revision in any::<[u8; 32]>(), filter_digest in any::<[u8; 8]>(), load in any::<u32>(), row in any::<i32>(),
            records_before in any::<u64>(),
        ) {
            let resume = Resume {
                tenant_id: TenantId::from_uuid(uuid::Uuid::from_u128(tenant)),
                month: Month::new(year, month).expect("in range"),
                snapshot: UtcTime::from_unix_micros(micros).expect("in range"),
                revision: Revision(revision),
                filter_digest,
            };
            let position = Position { load: load as usize, row, records_before };
            prop_assert_eq!(Resume::open(&resume.seal(position)), Ok((resume, position)));
        }
    }
}
