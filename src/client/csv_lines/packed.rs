//! Packed records as lines: what assets and dimensions have in a line is made once for a message, and copied from then on.

use std::ops::Range;

use super::{Attributes, CsvLines, Period};
use crate::{
    client::{ClientError, packed_records::PackedRecords},
    contract::{part_length, write_decimal},
    model::{Part, UsageKey},
};

/// Where the texts are that dimensions have in a line.
struct CommonTexts {
    before_asset: Range<usize>,
    after_asset: Range<usize>,
    after_quantity: Range<usize>,
    day: i32,
    key: UsageKey<usize>,
    /// Where its records are added up, once there is one.
    total: Option<usize>,
}

// === impl CsvLines ===

impl CsvLines {
    /// Adds lines. A record with a part that is not as usual goes the plain way.
    pub(super) fn write_packed(&mut self, packed: &PackedRecords<'_>, out: &mut Vec<u8>) -> Result<(), ClientError> {
        let mut texts = Vec::new();
        let assets: Vec<_> = packed.assets.iter().map(|asset| self.asset_text(asset, &mut texts)).collect();
        let mut dimensions: Vec<_> = packed.dimensions.iter().map(|of| self.common_texts(of, &mut texts)).collect();
        let mut unpacked = Vec::new();
        for record in packed.records() {
            let start = out.len();
            if let (Some(asset), Some(common)) = (&assets[record.asset], &mut dimensions[record.dimensions])
                && self.check.may_follow(self.day, common.day)
            {
                out.extend_from_slice(&texts[common.before_asset.clone()]);
                out.extend_from_slice(&texts[asset.clone()]);
                out.extend_from_slice(&texts[common.after_asset.clone()]);
                if let Some(quantity) = write_decimal(record.quantity, out) {
                    out.push(b',');
                    out.extend_from_slice(&texts[common.after_quantity.clone()]);
                    let total = *common.total.get_or_insert_with(|| self.totals.slot(&common.key));
                    self.totals.add_to(total, quantity);
                    self.day = common.day;
                    continue;
                }
                out.truncate(start);
            }
            packed.unpack(*record, &mut unpacked);
            self.write_plain(&unpacked, out)?;
        }
        Ok(())
    }

    fn asset_text(&mut self, asset: &[u8], texts: &mut Vec<u8>) -> Option<Range<usize>> {
        let rest = self.read_asset(asset)?;
        rest.is_empty().then(|| append(&self.asset.line, texts))
    }

    fn common_texts(&mut self, dimensions: &[u8], texts: &mut Vec<u8>) -> Option<CommonTexts> {
        let rest = match self.tenant.strip(Part::Tenant, dimensions) {
            Some(rest) => rest,
            None => self.read_tenant(dimensions)?,
        };
        let rest = self.read_meter(rest)?;
        let (period, rest) = rest.split_at(part_length(Part::Period, rest));
        let period = self.periods.get(period, || Period::read(period, &self.check, self.format))?;
        let attributes = self.attributes.get(rest, || Attributes::read(rest, &self.check, self.format))?;
        let after_asset = append(&self.meters[self.meter].part.line, texts).start..append(&period.line, texts).end;
        Some(CommonTexts {
            before_asset: append(&self.tenant.line, texts),
            after_asset,
            after_quantity: append(&attributes.line, texts),
            day: period.day,
            key: UsageKey { meter: self.meter, billing_region: attributes.billing_region, trial: attributes.trial },
            total: None,
        })
    }
}

/// Appends a text; returns where it is.
fn append(text: &[u8], texts: &mut Vec<u8>) -> Range<usize> {
    let start = texts.len();
    texts.extend_from_slice(text);
    start..texts.len()
}
