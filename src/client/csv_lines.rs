//! Encoded records as lines of CSV, without a message, a record or a text per field in between.
//!
//! What repeats from record to record is read and written once, and copied from then on: the parts of the tenant,
//! the asset and the meter, the period, and what follows the quantity. Whatever a record has that this way does not know,
//! such as fields in another order, goes the plain way: a message, a record of the model, [`CsvWriter`]. Both write the
//! same bytes; a test holds them to that.

use prost::Message as _;

use super::{ClientError, checkpoint::CheckpointSum};
use crate::{
    contract::{CsvFormat, CsvWriter, Fields, RecordReader, Value, billing_region, proto},
    model::{AssetType, BillingRegion, Decimal, DecimalSum, Meter, MeterId, Platform, UsageKey, UtcTime},
};

/// How many bits of a part's mixed bytes say where it is kept.
const KEPT_BITS: u32 = 6;
// Keys of fields: number << 3 | wire type (Protocol Buffers' "Encoding").
const START: u8 = 8 << 3 | 2;
const END: u8 = 9 << 3 | 2;
const QUANTITY: u8 = 10 << 3 | 2;

/// Makes lines of records, and adds the records up.
pub struct CsvLines {
    format: CsvFormat,
    plain: RecordReader,
    /// Fields 1 and 2.
    tenant: Part,
    /// Fields 3 to 5.
    asset: Part,
    meters: Vec<MeterPart>,
    /// The meter of the last record.
    meter: usize,
    /// Fields 8 and 9.
    periods: Kept<Vec<u8>>,
    /// Fields 11 to 14.
    tails: Kept<Tail>,
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

/// Parts that come again and again, and what they were read as, each in the place that its bytes lead to. Records of a day
/// have few of them.
struct Kept<T>(Vec<Option<(Vec<u8>, T)>>);

/// What follows the quantity of a record.
struct Tail {
    line: Vec<u8>,
    billing_region: BillingRegion,
    trial: bool,
}

// === impl CsvLines ===

impl CsvLines {
    pub fn new(format: CsvFormat) -> Self {
        Self {
            format,
            plain: RecordReader::default(),
            tenant: Part::default(),
            asset: Part::default(),
            meters: Vec::new(),
            meter: 0,
            periods: Kept::new(),
            tails: Kept::new(),
            sums: Vec::new(),
            sum: 0,
        }
    }

    /// Goes on from what records added up to before.
    pub(super) fn resumed(format: CsvFormat, sums: &[CheckpointSum]) -> Result<Self, ClientError> {
        let mut lines = Self::new(format);
        for sum in sums {
            let id = sum.meter_id.parse().map_err(|_| ClientError::malformed("checkpoint", &sum.meter_id))?;
            let meter = lines.meter_place(&Meter { id, name: sum.meter_name.clone(), unit: String::new() });
            let quantity = sum.quantity.parse().map_err(|_| ClientError::malformed("checkpoint", &sum.quantity))?;
            let key = UsageKey { meter, billing_region: billing_region(sum.billing_region)?, trial: sum.trial };
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
    pub fn write(&mut self, record: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
        let start = out.len();
        if self.write_fast(record, out).is_some() {
            return Ok(());
        }
        out.truncate(start);
        self.write_plain(record, out)
    }

    /// The plain way, which knows everything and says what is wrong.
    pub fn write_plain(&mut self, record: &[u8], out: &mut Vec<u8>) -> Result<(), ClientError> {
        let message =
            proto::UsageRecord::decode(record).map_err(|error| ClientError::malformed("record", error.to_string()))?;
        let record = self.plain.read(message)?;
        let written = {
            let mut csv = CsvWriter::new(&mut *out, self.format);
            csv.write(&record).and_then(|()| csv.flush())
        };
        written.map_err(|error| ClientError::malformed("record", error.to_string()))?;
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
        let mut rest = self.period_part(rest, out)?;
        let digits = delimited(QUANTITY, &mut rest)?;
        let quantity = Decimal::from_plain(digits).ok()?;
        if Decimal::is_plain(digits) {
            out.extend_from_slice(digits);
        } else {
            quantity.write_to(out);
        }
        let line_end = self.format.line_end;
        let tail = self.tails.get(rest, || Tail::read(rest, line_end.as_bytes()))?;
        out.extend_from_slice(&tail.line);
        let key = UsageKey { meter: self.meter, billing_region: tail.billing_region, trial: tail.trial };
        self.add(key, quantity);
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

    /// Reads fields 8 and 9, and writes them; returns what follows.
    fn period_part<'a>(&mut self, fields: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
        let mut rest = fields;
        let (start, end) = (delimited(START, &mut rest)?, delimited(END, &mut rest)?);
        let period = self.periods.get(&fields[..fields.len() - rest.len()], || {
            Some(format!("{},{},", time(start)?, time(end)?).into_bytes())
        })?;
        out.extend_from_slice(period);
        Some(rest)
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

impl Tail {
    /// Fields 11 to 14, each at most once and in order.
    fn read(rest: &[u8], line_end: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(rest);
        let (11, Value::Varint(region)) = fields.next()? else { return None };
        let billing_region = BillingRegion::from_code(i32::try_from(region).ok()?)?;
        let (mut platform, mut trial, mut expiry) = (None, false, None);
        let mut last = 11;
        while let Some((number, value)) = fields.next() {
            if number <= last {
                return None;
            }
            match (number, value) {
                (12, Value::Varint(0)) => {}
                (12, Value::Varint(code)) => platform = Some(Platform::from_code(i32::try_from(code).ok()?)?),
                (13, Value::Varint(value)) => trial = value != 0,
                (14, Value::Bytes(encoded)) => expiry = Some(time(encoded)?),
                _ => return None,
            }
            last = number;
        }
        if !fields.rest.is_empty() {
            return None;
        }
        let platform = platform.map(Platform::as_str).unwrap_or_default();
        let trial_text = if trial { "TRUE" } else { "FALSE" };
        let expiry = expiry.map(|expiry| expiry.to_string()).unwrap_or_default();
        let mut line = format!(",{billing_region},{platform},{trial_text},{expiry}").into_bytes();
        line.extend_from_slice(line_end);
        Some(Self { line, billing_region, trial })
    }
}

// === impl Kept ===

impl<T> Kept<T> {
    fn new() -> Self {
        Self(std::iter::repeat_with(|| None).take(1 << KEPT_BITS).collect())
    }

    /// What a part is; `make` reads one that is not kept.
    fn get(&mut self, encoded: &[u8], make: impl FnOnce() -> Option<T>) -> Option<&T> {
        let kept = &mut self.0[place(encoded)];
        if kept.as_ref().is_none_or(|(kept, _)| kept != encoded) {
            *kept = Some((encoded.to_vec(), make()?));
        }
        kept.as_ref().map(|(_, part)| part)
    }
}

/// Where a part is kept, by all of its bytes: periods that follow each other differ in a few bits.
fn place(encoded: &[u8]) -> usize {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = encoded.as_chunks();
    let mix = |mixed: u64, word: u64| (mixed ^ word).wrapping_mul(MIX).rotate_left(29);
    let mixed = words.iter().fold(0, |mixed, word| mix(mixed, u64::from_le_bytes(*word)));
    let mixed = rest.iter().fold(mixed, |mixed, &byte| mix(mixed, byte.into()));
    (mixed.wrapping_mul(MIX) >> (u64::BITS - KEPT_BITS)) as usize
}

/// The value of a field that comes next, where it has a key of one byte and fewer than 128 bytes.
fn delimited<'a>(key: u8, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let [first, length @ ..0x80, after @ ..] = *rest else { return None };
    let (value, after) = after.split_at_checked(usize::from(*length)).filter(|_| *first == key)?;
    *rest = after;
    Some(value)
}

/// An encoded timestamp.
fn time(encoded: &[u8]) -> Option<UtcTime> {
    let time = prost_types::Timestamp::decode(encoded).ok()?;
    UtcTime::from_unix(time.seconds, time.nanos).ok()
}

/// A GUID in the form that the contract has, which is also that of a line.
fn canonical_guid(text: &str) -> Option<MeterId> {
    let id: MeterId = text.parse().ok()?;
    (id.to_string() == text).then_some(id)
}

#[cfg(test)]
mod tests;
