//! Arrays of texts that repeat, and of exact decimals.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{ArrayRef, Decimal128Array, Decimal256Array, DictionaryArray, StringArray, types::Int32Type};
use arrow_buffer::i256;
use bigdecimal::{BigDecimal, num_bigint::BigInt};
use foldhash::fast::RandomState;

use super::decimal;
use crate::model::DecimalForm;

/// Texts, each once, in the order in which they came.
#[derive(Default)]
pub(crate) struct Texts<'a> {
    texts: Vec<&'a str>,
    /// They are gone with their batch, so their hashes may be quick ones.
    positions: HashMap<&'a str, i32, RandomState>,
    bytes: usize,
}

// === impl Texts ===

impl<'a> Texts<'a> {
    pub(crate) fn with_capacity(count: usize) -> Self {
        let positions = HashMap::with_capacity_and_hasher(count, RandomState::default());
        Self { texts: Vec::with_capacity(count), positions, bytes: 0 }
    }

    /// The position of a text, which is added if it is new.
    pub(crate) fn position(&mut self, text: &'a str) -> i32 {
        let (texts, bytes) = (&mut self.texts, &mut self.bytes);
        *self.positions.entry(text).or_insert_with(|| {
            texts.push(text);
            *bytes += text.len() + size_of::<i32>();
            // A batch has some thousands.
            i32::try_from(texts.len() - 1).unwrap_or(i32::MAX)
        })
    }

    /// How many bytes they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn to_array(&self) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(&self.texts))
    }
}

/// A column of texts, as a dictionary.
pub(crate) fn text_array<'a>(column: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    let mut texts = Texts::default();
    let keys: Vec<Option<i32>> = column.into_iter().map(|text| text.map(|text| texts.position(text))).collect();
    Arc::new(DictionaryArray::<Int32Type>::new(keys.into(), texts.to_array()))
}

/// A column of decimals; `None` where one of them has more digits than the form.
pub(crate) fn decimal_array<'a>(
    form: DecimalForm,
    column: impl IntoIterator<Item = Option<&'a BigDecimal>>,
) -> Option<ArrayRef> {
    let column = column.into_iter();
    if form.is_wide {
        let units = column.map(|number| each(number, |number| i256::from_string(&units(number, form)?.to_string())));
        let array = units.collect::<Option<Decimal256Array>>()?.with_data_type(decimal(form));
        array.validate_decimal_precision(form.precision()).ok()?;
        return Some(Arc::new(array));
    }
    let units = column.map(|number| each(number, |number| i128::try_from(units(number, form)?).ok()));
    let array = units.collect::<Option<Decimal128Array>>()?.with_data_type(decimal(form));
    array.validate_decimal_precision(form.precision()).ok()?;
    Some(Arc::new(array))
}

/// What becomes of a number that is there.
#[expect(clippy::option_option, reason = "no number, and a number that is too long, are different")]
fn each<T>(number: Option<&BigDecimal>, units: impl Fn(&BigDecimal) -> Option<T>) -> Option<Option<T>> {
    number.map_or(Some(None), |number| units(number).map(Some))
}

/// Whole units of the form; `None` where there is a rest.
fn units(number: &BigDecimal, form: DecimalForm) -> Option<BigInt> {
    let scaled = number.with_scale(form.scale.into());
    (scaled == *number).then(|| scaled.into_bigint_and_exponent().0)
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array as _, cast::AsArray as _};

    use super::*;
    use crate::contract::decimal_text;

    #[test]
    fn texts_are_there_once() {
        let array = text_array([Some("b"), None, Some(""), Some("b")]);
        let array = array.as_dictionary::<Int32Type>();
        assert_eq!(array.keys().iter().collect::<Vec<_>>(), [Some(0), None, Some(1), Some(0)]);
        assert_eq!(array.values().as_string::<i32>().iter().collect::<Vec<_>>(), [Some("b"), Some("")]);
    }

    #[test]
    fn decimals_are_exact_or_not_there() {
        let number = |text: &str| text.parse::<BigDecimal>().expect(text);
        let of = |scale, is_wide, text: &str| {
            let array = decimal_array(DecimalForm { scale, is_wide }, [None, Some(&number(text))])?;
            assert!(array.is_null(0));
            assert_eq!(array.data_type(), &decimal(DecimalForm { scale, is_wide }));
            assert_eq!((decimal_text(&array, 0), decimal_text(&text_array([Some("1")]), 0)), (None, None));
            decimal_text(&array, 1)
        };
        let (nines, long) = ("9".repeat(36), format!("{0}.{0}", "9".repeat(38)));
        for is_wide in [false, true] {
            assert_eq!(of(2, is_wide, "-1.5").as_deref(), Some("-1.50"));
            assert_eq!(of(2, is_wide, "1.500").as_deref(), Some("1.50"));
            assert_eq!(of(2, is_wide, "1.501"), None);
            assert_eq!(of(2, is_wide, &nines).as_deref(), Some(format!("{nines}.00").as_str()));
        }
        assert_eq!(of(2, false, &format!("1{nines}")), None);
        assert_eq!(of(38, false, &long), None);
        assert_eq!(of(38, true, &long).as_deref(), Some(long.as_str()));
        assert_eq!(of(38, true, &format!("1{long}")), None);
    }
}
