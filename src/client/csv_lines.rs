//! Encoded records as lines of CSV, without a message, a record or a text per field in between.
//!
//! What repeats from record to record is read and written once, and copied from then on: the parts of the tenant,
//! the asset and the meter, the period, and what follows the quantity. Whatever a record has that this way does not know,
//! such as fields in another order, goes the plain way: a message, a record of the model, [`CsvWriter`]. Both write the
//! same bytes; a test holds them to that.
//!
//! Whether records are those of the request is checked where a part is read, not for each record that has it.

use prost::Message as _;

use self::memo::Memo;
use super::{
    ClientError,
    checkpoint::CheckpointSum,
    exact::exact,
    report_check::RecordCheck,
    report_message::{Encoded, MAX_METERS},
};
use crate::{
    contract::{
        CsvFormat, CsvWriter, Fields, RecordReader, WireValue, billing_region, part_length, proto, read_part,
        read_time, write_decimal,
    },
    model::{
        AssetType, BillingRegion, Column, Decimal, MAX_ASSET_ID_BYTES, MAX_ASSET_NAME_BYTES, Meter, Part, Total,
        Totals, UsageKey, UtcTime,
    },
};

mod memo;
mod packed;

/// Writes encoded records as lines and adds them up.
pub struct CsvLines {
    format: CsvFormat,
    check: RecordCheck,
    /// The usage day of the last record.
    day: i32,
    plain: RecordReader,
    tenant: CachedPart,
    asset: CachedPart,
    meters: Vec<CachedMeter>,
    meter: usize,
    periods: Memo<Period>,
    attributes: Memo<Attributes>,
    totals: Totals<usize>,
}

/// The encoded fields of a part, and their text in a line.
#[derive(Default)]
struct CachedPart {
    encoded: Vec<u8>,
    line: Vec<u8>,
}

struct CachedMeter {
    part: CachedPart,
    meter: Meter,
}

struct Period {
    line: Vec<u8>,
    day: i32,
}

/// What follows the quantity of a record, to the end of its line.
struct Attributes {
    line: Vec<u8>,
    billing_region: BillingRegion,
    trial: bool,
}

// === impl CsvLines ===

impl CsvLines {
    /// For records of any report.
    pub fn new(format: CsvFormat) -> Self {
        Self::checked(format, RecordCheck::default())
    }

    /// For records that pass a check.
    pub(super) fn checked(format: CsvFormat, check: RecordCheck) -> Self {
        Self {
            format,
            check,
            day: i32::MIN,
            plain: RecordReader::default(),
            tenant: CachedPart::default(),
            asset: CachedPart::default(),
            meters: Vec::new(),
            meter: 0,
            periods: Memo::new(),
            attributes: Memo::new(),
            totals: Totals::default(),
        }
    }

    /// Starts from the totals of a checkpoint.
    pub(super) fn resumed(format: CsvFormat, check: RecordCheck, sums: &[CheckpointSum]) -> Result<Self, ClientError> {
        let mut lines = Self::checked(format, check);
        for sum in sums {
            let malformed = |value: &str| ClientError::malformed("checkpoint", value);
            let id = sum.meter_id.parse().map_err(|_| malformed(&sum.meter_id))?;
            let meter = lines.meter_index(&Meter { id, name: sum.meter_name.clone(), unit: String::new() })?;
            let quantity = exact(&sum.quantity).ok_or_else(|| malformed(&sum.quantity))?;
            let key = UsageKey { meter, billing_region: billing_region(sum.billing_region)?, trial: sum.trial };
            lines.totals.resume(&key, sum.record_count.cast_unsigned(), quantity);
        }
        Ok(lines)
    }

    /// The totals, for a checkpoint.
    pub(super) fn checkpoint(&self) -> Vec<CheckpointSum> {
        let sums = self.totals().map(|(key, total)| CheckpointSum {
            meter_id: key.meter.id.to_string(),
            meter_name: key.meter.name.clone(),
            billing_region: key.billing_region.code().into(),
            trial: key.trial,
            record_count: total.record_count.cast_signed(),
            quantity: total.quantity.total().to_plain_string(),
        });
        sums.collect()
    }

    /// The totals of the records so far.
    pub(super) fn totals(&self) -> impl Iterator<Item = (UsageKey<&Meter>, &Total)> {
        self.totals.iter().map(|(key, total)| {
            let UsageKey { meter, billing_region, trial } = *key;
            (UsageKey { meter: &self.meters[meter].meter, billing_region, trial }, total)
        })
    }

    /// Adds the lines of records.
    pub(super) fn write_all(&mut self, records: &Encoded<'_>, out: &mut Vec<u8>) -> Result<(), ClientError> {
        match records {
            Encoded::Record(record) => self.write(record, out),
            Encoded::Packed(packed) => self.write_packed(packed, out),
        }
    }

    /// Adds the line of an encoded record.
    ///
    /// # Errors
    ///
    /// The record violates the contract.
    pub fn write(&mut self, record: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
        let start = out.len();
        if self.write_fast(record, out).is_some() {
            return Ok(());
        }
        out.truncate(start);
        self.write_plain(record, out)
    }

    /// The plain way, which reads every record and says what is wrong with one.
    ///
    /// # Errors
    ///
    /// The record violates the contract.
    pub fn write_plain(&mut self, record: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
        let malformed = |error: String| ClientError::malformed("record", error);
        let message = proto::UsageRecord::decode(record).map_err(|error| malformed(error.to_string()))?;
        let record = self.plain.read(message)?;
        self.check.record(&record)?;
        let day = record.dimensions.start.day_number();
        self.check.days(self.day, day)?;
        let written = {
            let mut csv = CsvWriter::new(&mut *out, self.format);
            csv.write(&record).and_then(|()| csv.flush())
        };
        written.map_err(|error| malformed(error.to_string()))?;
        let meter = self.meter_index(&record.dimensions.meter)?;
        let UsageKey { billing_region, trial, .. } = record.dimensions.usage_key();
        self.totals.add(&UsageKey { meter, billing_region, trial }, record.quantity);
        self.day = day;
        Ok(())
    }

    /// `None`: something is not as usual. The line may then be begun, and nothing else has happened.
    fn write_fast(&mut self, record: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let rest = match self.tenant.strip(Part::Tenant, record) {
            Some(rest) => rest,
            None => self.read_tenant(record)?,
        };
        out.extend_from_slice(&self.tenant.line);
        let rest = match self.asset.strip(Part::Asset, rest) {
            Some(rest) => rest,
            None => self.read_asset(rest)?,
        };
        out.extend_from_slice(&self.asset.line);
        let rest = self.read_meter(rest)?;
        out.extend_from_slice(&self.meters[self.meter].part.line);
        let (period, rest) = rest.split_at(part_length(Part::Period, rest));
        let period = self.periods.get(period, || Period::read(period, &self.check, self.format))?;
        if !self.check.may_follow(self.day, period.day) {
            return None;
        }
        out.extend_from_slice(&period.line);
        let (quantity, rest) = write_quantity(rest, out)?;
        let attributes = self.attributes.get(rest, || Attributes::read(rest, &self.check, self.format))?;
        out.extend_from_slice(&attributes.line);
        let key = UsageKey { meter: self.meter, billing_region: attributes.billing_region, trial: attributes.trial };
        self.totals.add(&key, quantity);
        self.day = period.day;
        Some(())
    }

    /// Reads the tenant, and checks it; returns what follows.
    fn read_tenant<'a>(&mut self, record: &'a [u8]) -> Option<&'a [u8]> {
        let (mut organization_id, mut tenant_id) = (None, None);
        let mut part = std::mem::take(&mut self.tenant);
        let after = part.replace(Part::Tenant, record, self.format, |column, value| match column {
            Column::OrganizationId => organization_id = value.text(),
            Column::TenantId => tenant_id = value.text(),
            _ => {}
        })?;
        self.check.tenant(organization_id?.parse().ok()?, tenant_id?.parse().ok()?).ok()?;
        self.tenant = part;
        Some(after)
    }

    /// Reads the asset, and checks it; returns what follows. Assets change every few records.
    fn read_asset<'a>(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        if !self.check.filters_assets() {
            let mut is_short = true;
            let after = self.asset.replace(Part::Asset, rest, self.format, |column, value| {
                let max = if column == Column::AssetId { MAX_ASSET_ID_BYTES } else { MAX_ASSET_NAME_BYTES };
                is_short &= !matches!(value, WireValue::Bytes(text) if text.len() > max);
            });
            // The plain way says what is wrong.
            return after.filter(|_| is_short);
        }
        let (mut id, mut name, mut code) = (None, None, None);
        let mut part = std::mem::take(&mut self.asset);
        let after = part.replace(Part::Asset, rest, self.format, |column, value| match (column, value) {
            (Column::AssetId, _) => id = value.text(),
            (Column::AssetName, _) => name = value.text(),
            (Column::AssetType, WireValue::Varint(value)) => code = i32::try_from(value).ok(),
            _ => {}
        })?;
        self.check.asset(AssetType::from_code(code?)?, id?, name.unwrap_or_default()).ok()?;
        self.asset = part;
        Some(after)
    }

    fn meter_index(&mut self, meter: &Meter) -> Result<usize, ClientError> {
        if let Some(index) = self.meters.iter().position(|known| known.meter == *meter) {
            return Ok(index);
        }
        if self.meters.len() == MAX_METERS {
            return Err(ClientError::wrong(format!("it has more than {MAX_METERS} meters")));
        }
        // Without encoded fields, the fast path never matches it.
        self.meters.push(CachedMeter { part: CachedPart::default(), meter: meter.clone() });
        Ok(self.meters.len() - 1)
    }

    /// Finds the meter, or reads it; returns what follows.
    fn read_meter<'a>(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        // Meters alternate, often in the same order.
        let count = self.meters.len();
        for index in (self.meter..count).chain(0..self.meter.min(count)) {
            if let Some(after) = self.meters[index].part.strip(Part::Meter, rest) {
                self.meter = index;
                return Some(after);
            }
        }
        let mut part = CachedPart::default();
        let (mut name, mut id) = (None, None);
        let after = part.replace(Part::Meter, rest, self.format, |column, value| match column {
            Column::MeterName => name = value.text(),
            Column::MeterId => id = value.text(),
            _ => {}
        })?;
        let meter = Meter { id: id?.parse().ok()?, name: name?.to_owned(), unit: String::new() };
        self.check.meter(&meter.name).ok()?;
        self.meter = self.meter_index(&meter).ok()?;
        self.meters[self.meter].part = part;
        Some(after)
    }
}

/// Writes the quantity; returns it and what follows.
fn write_quantity<'a>(rest: &'a [u8], out: &mut Vec<u8>) -> Option<(Decimal, &'a [u8])> {
    let mut fields = Fields::new(rest);
    let WireValue::Bytes(digits) = fields.next_if(Column::Quantity.field())? else { return None };
    let quantity = write_decimal(digits, out)?;
    out.push(b',');
    Some((quantity, fields.rest))
}

// === impl CachedPart ===

impl CachedPart {
    /// What follows the part in a record that begins with it, where all that follow are fields after the part.
    fn strip<'a>(&self, part: Part, record: &'a [u8]) -> Option<&'a [u8]> {
        if self.encoded.is_empty() {
            return None;
        }
        let rest = record.strip_prefix(self.encoded.as_slice())?;
        // The order of the other fields is checked when they are read.
        let next = Fields::new(rest).peek()?;
        (next > part.columns().last()?.field()).then_some(rest)
    }

    /// Reads the part that a record begins with; returns what follows. `see` gets the values. The buffers are used again, since
    /// assets change every few records.
    fn replace<'a>(
        &mut self,
        part: Part,
        record: &'a [u8],
        format: CsvFormat,
        see: impl FnMut(Column, WireValue<'a>),
    ) -> Option<&'a [u8]> {
        // The old content is invalid, even if reading fails.
        self.encoded.clear();
        self.line.clear();
        let mut fields = Fields::new(record);
        read_part(part, &mut fields, format, &mut self.line, see)?;
        self.encoded.extend_from_slice(&record[..record.len() - fields.rest.len()]);
        Some(fields.rest)
    }
}

// === impl Period ===

impl Period {
    fn read(period: &[u8], check: &RecordCheck, format: CsvFormat) -> Option<Self> {
        let mut line = Vec::new();
        let mut times: [Option<UtcTime>; 2] = [None; 2];
        read_part(Part::Period, &mut Fields::new(period), format, &mut line, |column, value| {
            if let WireValue::Bytes(encoded) = value {
                times[usize::from(column == Column::End)] = read_time(encoded);
            }
        })?;
        let [start, end] = times;
        check.period(start?, end?).ok()?;
        Some(Self { line, day: start?.day_number() })
    }
}

// === impl Attributes ===

impl Attributes {
    fn read(rest: &[u8], check: &RecordCheck, format: CsvFormat) -> Option<Self> {
        let mut fields = Fields::new(rest);
        let mut line = Vec::new();
        let (mut region, mut trial) = (0, false);
        read_part(Part::Attributes, &mut fields, format, &mut line, |column, value| match (column, value) {
            (Column::BillingRegion, WireValue::Varint(code)) => region = code,
            (Column::Trial, WireValue::Varint(value)) => trial = value != 0,
            _ => {}
        })?;
        if !fields.rest.is_empty() {
            return None;
        }
        // Replaces the last comma.
        line.pop();
        line.extend_from_slice(format.line_end.as_bytes());
        let billing_region = BillingRegion::from_code(i32::try_from(region).ok()?)?;
        check.attributes(billing_region, trial).ok()?;
        Some(Self { line, billing_region, trial })
    }
}

#[cfg(test)]
mod tests;
