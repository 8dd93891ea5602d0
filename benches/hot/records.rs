//! The records of a block, in each form that they take on their way: each fast way next to the plain one that it replaces.

use std::sync::Arc;

use prost::Message as _;

use secure_connect_reports::{
    client::CsvLines,
    contract::{CsvFormat, CsvWriter, proto},
    model::{
        Asset, AssetType, BillingRegion, Decimal, Meter, MeterId, Month, OrganizationId, Platform, RecordDimensions,
        TenantId, UsageRecord, UtcTime,
    },
    service::{CurrentAssets, RecordEncoder},
    store::{AssetKey, MeterKey, RecordBlock, RecordFilter, RecordRow, RecordRows, StoredDimensions},
};

/// Three records of each asset: one meter by the day, another by the half day.
const RECORDS_PER_ASSET: i64 = 3;

/// The records of a block, in each form that they take on their way.
pub(crate) struct Hot {
    stored: RecordRows,
    records: Vec<UsageRecord>,
    blocks: Vec<RecordBlock>,
    encoder: RecordEncoder,
    encoded: Vec<Vec<u8>>,
    lines: CsvLines,
    out: Vec<u8>,
}

// === impl Hot ===

impl Hot {
    /// How many records there are.
    pub(crate) const RECORDS: usize = 1024;

    /// Makes them up.
    pub(crate) fn new() -> Self {
        let (organization_id, tenant_id) = (OrganizationId::from_uuid(uuid(1)), TenantId::from_uuid(uuid(2)));
        let meters = ["user_hours_essentials", "bandwidth_gib_essentials"].map(|name| {
            Arc::new(Meter { id: MeterId::from_uuid(uuid(3)), name: name.to_owned(), unit: "hour".to_owned() })
        });
        let mut encoder = RecordEncoder::new(organization_id, tenant_id, CurrentAssets::new(Arc::default(), tenant_id));
        let midnight = UtcTime::midnight(Month::new(2022, 3).expect("a month").first_day()).unix_micros();
        let hour = |hour: i64| UtcTime::from_unix_micros(midnight + hour * 3_600_000_000).expect("a time of 2022");
        let (mut stored, mut records) = (RecordRows::default(), Vec::new());
        for (row_number, n) in (1..).zip(0..Self::RECORDS as i64) {
            let (asset_number, part) = (n / RECORDS_PER_ASSET, n % RECORDS_PER_ASSET);
            let (start, end, meter) = [(0, 24, 0), (0, 12, 1), (12, 24, 1)][part as usize];
            let asset = Arc::new(Asset {
                asset_type: AssetType::User,
                id: format!("user{asset_number:06}@contoso.example"),
                name: format!("User {asset_number}, Global"),
            });
            let dimensions = RecordDimensions {
                meter: MeterKey::from_number(meter as i64 + 1),
                start: hour(start),
                end: hour(end),
                billing_region: BillingRegion::Eu,
                platform: (part > 0).then_some(Platform::Azure),
                trial: false,
                trial_expiry: None,
            };
            let row = RecordRow {
                row_number,
                asset: AssetKey::from_number(asset_number + 1),
                dimensions: part as usize,
                quantity: Decimal::new(u128::from(n.unsigned_abs()) * 7919 % 2_000_000, 6).expect("few digits"),
            };
            if stored.dimensions.len() == row.dimensions {
                let dimensions = dimensions.clone();
                stored.dimensions.push(StoredDimensions { asset_type: AssetType::User, dimensions });
            }
            encoder.assets().put(vec![(row.asset, (*asset).clone())]);
            if !encoder.knows_meter(dimensions.meter) {
                encoder.add_meter(dimensions.meter, &meters[meter]);
            }
            records.push(UsageRecord {
                organization_id,
                tenant_id,
                asset,
                dimensions: dimensions.with_meter(Arc::clone(&meters[meter])),
                quantity: row.quantity,
            });
            stored.rows.push(row);
        }
        let encoded = records.iter().map(|record| proto::UsageRecord::from(record).encode_to_vec()).collect();
        let blocks = RecordBlock::of_rows(&stored);
        Self { stored, records, blocks, encoder, encoded, lines: CsvLines::new(CsvFormat::default()), out: Vec::new() }
    }

    /// From what the database sends to rows.
    pub(crate) fn read_block(&self) -> usize {
        let mut records = RecordRows { dimensions: Vec::new(), rows: Vec::with_capacity(Self::RECORDS) };
        let filter = RecordFilter::default();
        self.blocks.iter().filter(|block| block.read_into(0, &filter, &mut records).is_ok()).count();
        records.rows.len()
    }

    /// From rows to the bytes of a message.
    pub(crate) fn encode(&mut self) -> usize {
        self.out.clear();
        let Self { stored, encoder, out, .. } = self;
        encoder.prepare(&stored.dimensions);
        stored.rows.iter().filter(|row| encoder.encode(row, out)).count();
        self.out.len()
    }

    /// The same by the generated code.
    pub(crate) fn encode_plainly(&mut self) -> usize {
        self.out.clear();
        let records = self.records.iter().map(Into::into).collect();
        proto::GetDetailedUsageResponse { records, ..Default::default() }.encode_to_vec().len()
    }

    /// From encoded records to lines.
    pub(crate) fn write_lines(&mut self) -> usize {
        self.out.clear();
        let Self { encoded, lines, out, .. } = self;
        encoded.iter().filter(|record| lines.write(record, out).is_ok()).count();
        self.out.len()
    }

    /// The same by way of messages.
    pub(crate) fn write_lines_plainly(&mut self) -> usize {
        self.out.clear();
        let Self { encoded, lines, out, .. } = self;
        encoded.iter().filter(|record| lines.write_plain(record, out).is_ok()).count();
        self.out.len()
    }

    /// What an import digests of each record.
    pub(crate) fn write_records(&mut self) -> usize {
        self.out.clear();
        let mut csv = CsvWriter::new(&mut self.out, CsvFormat::default());
        let written = self.records.iter().try_for_each(|record| csv.write(record)).and_then(|()| csv.flush());
        assert!(written.is_ok(), "a vector has room");
        self.out.len()
    }
}

impl Default for Hot {
    fn default() -> Self {
        Self::new()
    }
}

fn uuid(number: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(number << 120)
}
