//! Encoded records as lines of CSV, without a message, a record or a text per field in between.
//!
//! What repeats from record to record is read and written once, and copied from then on: the parts of the tenant,
//! the asset and the meter, and times. Whatever a record has that this way does not know, such as fields in
//! another order, goes the plain way: a message, a record of the model, [`CsvWriter`]. Both write the same bytes; a test
//! holds them to that.

use prost::Message as _;

use super::{
    ClientError,
    checkpoint::CheckpointSum,
    from_proto::{RecordReader, malformed, region},
    wire::{Fields, Value},
};
use crate::{
    model::{
        AssetType, BillingRegion, CsvFormat, CsvWriter, Decimal, DecimalSum, Meter, MeterId, Platform, UsageKey,
        UtcTime,
    },
    proto,
};

/// Times that are kept as text; a power of two. Records of a day have few.
const KEPT_TIMES: usize = 64;

/// Makes lines of records, and adds the records up.
pub(crate) struct CsvLines {
    format: CsvFormat,
    plain: RecordReader,
    /// Fields 1 and 2.
    tenant: Part,
    /// Fields 3 to 5.
    asset: Part,
    meters: Vec<MeterPart>,
    /// The meter of the last record.
    meter: usize,
    /// Each in the place that its bytes lead to.
    times: Vec<Part>,
    sums: Vec<(UsageKey<usize>, i64, DecimalSum)>,
    sum: usize,
}

/// Encoded fields, and what they are in a line.
#[derive(Default)]
struct Part {
    encoded: Vec<u8>,
    line: Vec<u8>,
}

struct MeterPart {
    part: Part,
    meter: Meter,
}

/// What the fast way has read of a record, beyond its asset and meter.
#[derive(Default)]
struct Tail<'a> {
    start: &'a [u8],
    end: &'a [u8],
    quantity: &'a [u8],
    billing_region: u64,
    platform: u64,
    trial: u64,
    trial_expiry: Option<&'a [u8]>,
}

// === impl CsvLines ===

impl CsvLines {
    pub(crate) fn new(format: CsvFormat) -> Self {
        Self {
            format,
            plain: RecordReader::default(),
            tenant: Part::default(),
            asset: Part::default(),
            meters: Vec::new(),
            meter: 0,
            times: std::iter::repeat_with(Part::default).take(KEPT_TIMES).collect(),
            sums: Vec::new(),
            sum: 0,
        }
    }

    /// Goes on from what records added up to before.
    pub(super) fn resumed(format: CsvFormat, sums: &[CheckpointSum]) -> Result<Self, ClientError> {
        let mut lines = Self::new(format);
        for sum in sums {
            let id = sum.meter_id.parse().map_err(|_| malformed("checkpoint", &sum.meter_id))?;
            let meter = lines.meter_place(&Meter { id, name: sum.meter_name.clone(), unit: String::new() });
            let quantity = sum.quantity.parse().map_err(|_| malformed("checkpoint", &sum.quantity))?;
            let key = UsageKey { meter, billing_region: region(sum.billing_region)?, trial: sum.trial };
            lines.sums.push((key, sum.record_count, DecimalSum::from_total(quantity)));
        }
        Ok(lines)
    }

    /// What the records added up to, for whoever goes on later.
    pub(super) fn checkpoint(&self) -> Vec<CheckpointSum> {
        let sums = self.sums().map(|(key, record_count, sum)| CheckpointSum {
            meter_id: key.meter.id.to_string(),
            meter_name: key.meter.name.clone(),
            billing_region: key.billing_region.code().into(),
            trial: key.trial,
            record_count,
            quantity: sum.total().to_plain_string(),
        });
        sums.collect()
    }

    /// What the records added up to, by meter.
    pub(super) fn sums(&self) -> impl Iterator<Item = (UsageKey<&Meter>, i64, &DecimalSum)> {
        self.sums.iter().map(|(key, count, sum)| {
            let key =
                UsageKey { meter: &self.meters[key.meter].meter, billing_region: key.billing_region, trial: key.trial };
            (key, *count, sum)
        })
    }

    /// Adds the line of an encoded record.
    pub(crate) fn write(&mut self, record: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
        let start = out.len();
        if self.write_fast(record, out).is_some() {
            return Ok(());
        }
        out.truncate(start);
        self.write_plain(record, out)
    }

    /// The plain way, which knows everything and says what is wrong.
    pub(crate) fn write_plain(&mut self, record: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
        let message = proto::UsageRecord::decode(record).map_err(|error| malformed("record", error.to_string()))?;
        let record = self.plain.read(message)?;
        let written = {
            let mut csv = CsvWriter::new(&mut *out, self.format);
            csv.write(&record).and_then(|()| csv.flush())
        };
        written.map_err(|error| malformed("record", error.to_string()))?;
        let meter = self.meter_place(&record.meter);
        self.add(UsageKey { meter, billing_region: record.billing_region, trial: record.trial }, record.quantity);
        Ok(())
    }

    /// `None`: something is not as usual. The line may then be begun, and nothing else has happened.
    fn write_fast(&mut self, record: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let rest = self.tenant_part(record)?;
        out.extend_from_slice(&self.tenant.line);
        let rest = self.asset_part(rest)?;
        out.extend_from_slice(&self.asset.line);
        let rest = self.meter_part(rest)?;
        out.extend_from_slice(&self.meters[self.meter].part.line);
        let tail = Tail::read(rest)?;
        self.write_time(tail.start, out)?;
        out.push(b',');
        self.write_time(tail.end, out)?;
        out.push(b',');
        let quantity: Decimal = std::str::from_utf8(tail.quantity).ok()?.parse().ok()?;
        quantity.write_to(out);
        out.push(b',');
        let region = BillingRegion::from_code(i32::try_from(tail.billing_region).ok()?)?;
        out.extend_from_slice(region.as_str().as_bytes());
        out.push(b',');
        if tail.platform != 0 {
            let platform = Platform::from_code(i32::try_from(tail.platform).ok()?)?;
            out.extend_from_slice(platform.as_str().as_bytes());
        }
        let trial = tail.trial != 0;
        out.extend_from_slice(if trial { b",TRUE," } else { b",FALSE," });
        if let Some(expiry) = tail.trial_expiry {
            self.write_time(expiry, out)?;
        }
        out.extend_from_slice(self.format.line_end.as_bytes());
        self.add(UsageKey { meter: self.meter, billing_region: region, trial }, quantity);
        Some(())
    }

    /// Where a meter is.
    fn meter_place(&mut self, meter: &Meter) -> usize {
        self.meters.iter().position(|known| known.meter == *meter).unwrap_or_else(|| {
            // Without encoded fields it is found by no record of the fast way.
            self.meters.push(MeterPart { part: Part::default(), meter: meter.clone() });
            self.meters.len() - 1
        })
    }

    fn add(&mut self, key: UsageKey<usize>, quantity: Decimal) {
        if self.sums.get(self.sum).is_none_or(|(known, ..)| *known != key) {
            self.sum = self.sums.iter().position(|(known, ..)| *known == key).unwrap_or_else(|| {
                self.sums.push((key, 0, DecimalSum::default()));
                self.sums.len() - 1
            });
        }
        let (_, count, sum) = &mut self.sums[self.sum];
        *count += 1;
        sum.add(quantity);
    }

    /// Reads fields 1 and 2; returns what follows.
    fn tenant_part<'a>(&mut self, record: &'a [u8]) -> Option<&'a [u8]> {
        if let Some(rest) = self.tenant.strip(record, 2) {
            return Some(rest);
        }
        let mut fields = Fields::new(record);
        let mut line = Vec::new();
        for wanted in [1, 2] {
            let (number, Value::Bytes(id)) = fields.next()? else { return None };
            let id = std::str::from_utf8(id).ok()?;
            canonical_guid(id).filter(|_| number == wanted)?;
            line.extend_from_slice(id.as_bytes());
            line.push(b',');
        }
        self.tenant = Part { encoded: record[..record.len() - fields.rest.len()].to_vec(), line };
        Some(fields.rest)
    }

    /// Reads fields 3 to 5; returns what follows.
    fn asset_part<'a>(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        if let Some(after) = self.asset.strip(rest, 5) {
            return Some(after);
        }
        let mut fields = Fields::new(rest);
        let (mut number, mut value) = fields.next()?;
        // A name may be empty, and is then not there.
        let mut name = "";
        if let (3, Value::Bytes(text)) = (number, value) {
            name = std::str::from_utf8(text).ok()?;
            (number, value) = fields.next()?;
        }
        let (4, Value::Bytes(id)) = (number, value) else { return None };
        let id = std::str::from_utf8(id).ok()?;
        let (5, Value::Varint(code)) = fields.next()? else { return None };
        let asset_type = AssetType::from_code(i32::try_from(code).ok()?)?;

        // Nothing fails from here on; the buffers are used again, since assets change every few records.
        let Part { encoded, line } = &mut self.asset;
        encoded.clear();
        encoded.extend_from_slice(&rest[..rest.len() - fields.rest.len()]);
        line.clear();
        self.format.write_text(name, line);
        line.push(b',');
        self.format.write_text(id, line);
        line.push(b',');
        line.extend_from_slice(asset_type.as_str().as_bytes());
        line.push(b',');
        Some(fields.rest)
    }

    /// Reads fields 6 and 7; returns what follows.
    fn meter_part<'a>(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        // Meters take turns, often in the same order.
        let count = self.meters.len();
        for index in (self.meter..count).chain(0..self.meter.min(count)) {
            if let Some(after) = self.meters[index].part.strip(rest, 7) {
                self.meter = index;
                return Some(after);
            }
        }
        let mut fields = Fields::new(rest);
        let (6, Value::Bytes(name)) = fields.next()? else { return None };
        let (7, Value::Bytes(id)) = fields.next()? else { return None };
        let (name, id) = (std::str::from_utf8(name).ok()?, std::str::from_utf8(id).ok()?);
        let meter = Meter { id: canonical_guid(id)?, name: name.to_owned(), unit: String::new() };
        let mut line = Vec::new();
        self.format.write_text(name, &mut line);
        line.push(b',');
        line.extend_from_slice(id.as_bytes());
        line.push(b',');
        let part = Part { encoded: rest[..rest.len() - fields.rest.len()].to_vec(), line };
        match self.meters.iter().position(|known| known.meter == meter) {
            Some(index) => {
                self.meters[index].part = part;
                self.meter = index;
            }
            None => {
                self.meters.push(MeterPart { part, meter });
                self.meter = count;
            }
        }
        Some(fields.rest)
    }

    /// The text of an encoded timestamp.
    fn write_time(&mut self, encoded: &[u8], out: &mut Vec<u8>) -> Option<()> {
        // Hours and days differ in all bytes but the last, so all of them are mixed.
        let mixed = encoded.iter().fold(0_u32, |mixed, &byte| (mixed ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let known = &mut self.times[mixed as usize % KEPT_TIMES];
        if known.encoded != encoded || known.line.is_empty() {
            let time = prost_types::Timestamp::decode(encoded).ok()?;
            let time = UtcTime::from_unix(time.seconds, time.nanos).ok()?;
            *known = Part { encoded: encoded.to_vec(), line: time.to_string().into_bytes() };
        }
        out.extend_from_slice(&known.line);
        Some(())
    }
}

// === impl Part ===

impl Part {
    /// What follows the part in a record that begins with it, where all that follows are fields after `last`.
    fn strip<'a>(&self, encoded: &'a [u8], last: u8) -> Option<&'a [u8]> {
        if self.encoded.is_empty() {
            return None;
        }
        let rest = encoded.strip_prefix(self.encoded.as_slice())?;
        // The key of fields below 16 is one byte; the order of the others is looked at where they are read.
        (*rest.first()? >> 3 > last).then_some(rest)
    }
}

// === impl Tail ===

impl<'a> Tail<'a> {
    /// Fields 8 to 14, each at most once and in order.
    fn read(rest: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::new(rest);
        let mut tail = Self::default();
        let (8, Value::Bytes(start)) = fields.next()? else { return None };
        let (9, Value::Bytes(end)) = fields.next()? else { return None };
        let (10, Value::Bytes(quantity)) = fields.next()? else { return None };
        let (11, Value::Varint(billing_region)) = fields.next()? else { return None };
        (tail.start, tail.end, tail.quantity, tail.billing_region) = (start, end, quantity, billing_region);
        let mut last = 11;
        while let Some((number, value)) = fields.next() {
            if number <= last {
                return None;
            }
            match (number, value) {
                (12, Value::Varint(platform)) => tail.platform = platform,
                (13, Value::Varint(trial)) => tail.trial = trial,
                (14, Value::Bytes(expiry)) => tail.trial_expiry = Some(expiry),
                _ => return None,
            }
            last = number;
        }
        fields.rest.is_empty().then_some(tail)
    }
}

/// A GUID in the form that the contract has, which is also that of a line.
fn canonical_guid(text: &str) -> Option<MeterId> {
    let id: MeterId = text.parse().ok()?;
    (id.to_string() == text).then_some(id)
}

#[cfg(test)]
mod tests;
