//! What loads and months add up to, as PostgreSQL writes an array of `usage_sum`.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt::Write as _,
};

use bigdecimal::{BigDecimal, Zero as _};

use crate::{
    database::numeric::parse_sum,
    model::{UsageKey, plain},
    store::{MeterKey, NewTotal, StoreError, usage_key::billing_region},
};

type Key = UsageKey<MeterKey>;

/// Sums, from which what was added before can be taken away again.
#[derive(Debug, Default)]
pub(super) struct Sums(BTreeMap<Key, (i64, BigDecimal)>);

/// The totals of a load.
pub(super) fn totals_text(totals: &[NewTotal]) -> String {
    text(totals.iter().map(|total| (total.key, i64::from(total.record_count), total.quantity.to_plain_string())))
}

fn text(sums: impl Iterator<Item = (Key, i64, String)>) -> String {
    let mut text = "{".to_owned();
    for (key, record_count, quantity) in sums {
        let comma = if text.len() > 1 { "," } else { "" };
        let (meter, region, trial) = (key.meter.0, key.billing_region.code(), if key.trial { 't' } else { 'f' });
        let written = write!(text, "{comma}\"({meter},{region},{trial},{record_count},{quantity})\"");
        // Writing to a String cannot fail.
        debug_assert!(written.is_ok());
    }
    text.push('}');
    text
}

// === impl Sums ===

impl Sums {
    pub(super) fn add(&mut self, totals: &[NewTotal]) {
        for total in totals {
            self.change(total.key, total.record_count.into(), &total.quantity);
        }
    }

    /// Adds what [`to_text`](Self::to_text) or [`totals_text`] has written.
    pub(super) fn add_text(&mut self, text: &str) -> Result<(), StoreError> {
        for sum in parse(text) {
            let (key, record_count, quantity) = sum?;
            self.change(key, record_count, &quantity);
        }
        Ok(())
    }

    pub(super) fn take_away_text(&mut self, text: &str) -> Result<(), StoreError> {
        for sum in parse(text) {
            let (key, record_count, quantity) = sum?;
            self.change(key, -record_count, &-quantity);
        }
        Ok(())
    }

    fn change(&mut self, key: Key, record_count: i64, quantity: &BigDecimal) {
        match self.0.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert((record_count, quantity.clone()));
            }
            Entry::Occupied(mut sum) => {
                let (count, sum) = sum.get_mut();
                *count += record_count;
                *sum += quantity;
            }
        }
    }

    /// Those that have records, in order. An error where more was taken away than was there.
    pub(super) fn to_text(&self) -> Result<String, StoreError> {
        let is_less = |(count, quantity): &(i64, BigDecimal)| {
            *count < 0 || *quantity < BigDecimal::zero() || *count == 0 && !quantity.is_zero()
        };
        if self.0.values().any(is_less) {
            return Err(StoreError::corrupt("a month adds up to less than its loads"));
        }
        let with_records = self.0.iter().filter(|(_, (count, _))| *count > 0);
        Ok(text(with_records.map(|(&key, (count, quantity))| (key, *count, plain(quantity)))))
    }
}

/// Of `{"(meter,region,trial,records,quantity)",…}`: no part of it needs a quote of its own.
fn parse(text: &str) -> impl Iterator<Item = Result<(Key, i64, BigDecimal), StoreError>> {
    let sums = text.split('"').skip(1).step_by(2);
    sums.map(move |sum| parse_one(sum).ok_or_else(|| StoreError::Corrupt(format!("{sum:?} is not a sum of usage"))))
}

fn parse_one(text: &str) -> Option<(Key, i64, BigDecimal)> {
    let mut fields = text.strip_prefix('(')?.strip_suffix(')')?.split(',');
    let meter = MeterKey(fields.next()?.parse().ok()?);
    let billing_region = billing_region(fields.next()?.parse().ok()?).ok()?;
    let trial = match fields.next()? {
        "t" => true,
        "f" => false,
        _ => return None,
    };
    let (record_count, quantity) = (fields.next()?.parse().ok()?, parse_sum(fields.next()?).ok()?);
    fields.next().is_none().then_some((UsageKey { meter, billing_region, trial }, record_count, quantity))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::BillingRegion;

    fn totals() -> impl Strategy<Value = Vec<NewTotal>> {
        let regions = prop::sample::select(vec![BillingRegion::Af, BillingRegion::Eu]);
        let quantity =
            (0..10_u128.pow(38), 0..=38_i64).prop_map(|(digits, scale)| BigDecimal::new(digits.into(), scale));
        let total = ((0..3_i64, regions, any::<bool>()), 1..1000_i32, quantity).prop_map(
            |((meter, billing_region, trial), record_count, quantity)| NewTotal {
                key: UsageKey { meter: MeterKey(meter), billing_region, trial },
                quantity,
                record_count,
            },
        );
        prop::collection::vec(total, 0..8)
    }

    proptest! {
        /// Whatever is added and taken away again: what is left is what was never taken away.
        #[test]
        fn what_is_taken_away_leaves_the_rest(loads in prop::collection::vec((totals(), any::<bool>()), 0..6)) {
            let (mut sums, mut expected) = (Sums::default(), Sums::default());
            for (totals, stays) in &loads {
                sums.add(totals);
                if *stays {
                    expected.add_text(&totals_text(totals)).expect("totals");
                }
            }
            let whole = sums.to_text().expect("sums");
            for (totals, _) in loads.iter().filter(|(_, stays)| !stays) {
                sums.take_away_text(&totals_text(totals)).expect("totals");
            }
            prop_assert_eq!(sums.to_text().expect("sums"), expected.to_text().expect("sums"));
            let mut again = Sums::default();
            again.add_text(&whole).expect("sums");
            prop_assert_eq!(again.to_text().expect("sums"), whole);
        }
    }

    #[test]
    fn sums_are_written_as_postgresql_does() {
        let mut sums = Sums::default();
        for part in [r#"{"(7,3,f,2,0.50)","(12,1,t,1,4)"}"#, "{}", r#"{"(7,3,f,1,1.5)"}"#] {
            sums.add_text(part).expect("sums");
        }
        assert_eq!(sums.to_text().expect("sums"), r#"{"(7,3,f,3,2)","(12,1,t,1,4)"}"#);
        sums.take_away_text(r#"{"(12,1,t,1,4.00)"}"#).expect("sums");
        assert_eq!(sums.to_text().expect("sums"), r#"{"(7,3,f,3,2)"}"#);
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        for text in [
            r#"{"(7,9,f,1,1)"}"#,
            r#"{"(7,3,x,1,1)"}"#,
            r#"{"(7,3,f,,1)"}"#,
            r#"{"(7,3,f,1,NaN)"}"#,
            r#"{"(7,3,f,1,1,1)"}"#,
            r#"{"(7,3,f,1)"}"#,
        ] {
            assert!(Sums::default().add_text(text).is_err(), "{text}");
        }
        for text in [r#"{"(7,3,f,2,1)"}"#, r#"{"(7,3,f,1,1.1)"}"#, r#"{"(7,3,f,1,0.9)"}"#, r#"{"(7,3,t,1,1)"}"#] {
            let mut sums = Sums::default();
            sums.add_text(r#"{"(7,3,f,1,1)"}"#).expect("sums");
            sums.take_away_text(text).expect("sums");
            assert!(sums.to_text().is_err(), "{text}");
        }
    }
}
