//! `ListPrices`: all pages, held against the request.

use bigdecimal::{BigDecimal, Zero as _};

use super::{
    Client, ClientError,
    exact::exact,
    pages::{Retained, has_contents, read_page},
    report_check::check_as_of,
};
use crate::{
    contract::{
        Fields, WireValue,
        proto::{self, ListPricesResponse, Price},
    },
    model::{Currency, Month, UtcTime, composed},
};

const PAGE_SIZE: usize = 1000;
const PRICES: u32 = 1;
/// The number of `Price.tiers`.
const TIERS: u32 = 10;

#[derive(Clone, Debug)]
pub struct PricesQuery {
    pub month: Month,
    /// Only in this currency.
    pub currency: Option<Currency>,
    /// Only of this meter, by its name.
    pub meter_name: Option<String>,
    /// The price lists as they were at this time; `None`: now.
    pub as_of: Option<UtcTime>,
}

// === impl Client ===

impl Client {
    /// Lists the prices that are in force in a month, by meter name, currency and region. Reads all pages.
    ///
    /// # Errors
    ///
    /// [`ClientError::WrongAnswer`] if prices repeat, are out of order or not those that were asked for, or have gaps between
    /// their tiers.
    pub async fn prices(&mut self, query: &PricesQuery) -> Result<Vec<Price>, ClientError> {
        let mut request = query.to_request();
        let mut prices: Vec<Price> = Vec::new();
        let mut retained = Retained::default();
        loop {
            let bytes = self.unary("ListPrices", &request).await?;
            retained.add(bytes.len())?;
            let page = read(&bytes)?;
            request.page_token.clone_from(&page.next_page_token);
            if page.prices.is_empty() && !page.next_page_token.is_empty() {
                return Err(ClientError::wrong("a page is empty, and not the last one"));
            }
            for price in page.prices {
                query.check(&price)?;
                if prices.last().is_some_and(|last| position(last) >= position(&price)) {
                    return Err(ClientError::wrong("its prices are not in order, or come twice"));
                }
                prices.push(price);
            }
            if request.page_token.is_empty() {
                return Ok(prices);
            }
        }
    }
}

/// Decodes a page.
fn read(page: &[u8]) -> Result<ListPricesResponse, ClientError> {
    let mut fields = Fields::new(page);
    while let Some((number, value)) = fields.next() {
        if let (PRICES, WireValue::Bytes(price)) = (number, value)
            && !has_contents(price, &[TIERS])
        {
            return Err(ClientError::wrong("a price has an empty tier"));
        }
    }
    read_page(page, PRICES, PAGE_SIZE)
}

/// Where a price stands in the order.
fn position(price: &Price) -> (&str, &str, i32) {
    (&price.meter_name, &price.currency, price.billing_region)
}

// === impl PricesQuery ===

impl PricesQuery {
    fn to_request(&self) -> proto::ListPricesRequest {
        proto::ListPricesRequest {
            month: Some(self.month.into()),
            currency: self.currency.map(|currency| currency.code().to_owned()).unwrap_or_default(),
            meter_name: self.meter_name.clone().unwrap_or_default(),
            as_of: self.as_of.map(Into::into),
            page_size: i32::try_from(PAGE_SIZE).unwrap_or_default(),
            page_token: String::new(),
        }
    }

    fn check(&self, price: &Price) -> Result<(), ClientError> {
        let name = &price.meter_name;
        if self.meter_name.as_deref().is_some_and(|asked| composed(asked) != composed(name)) {
            return Err(ClientError::wrong(format!("a price is of the meter {name:?}")));
        }
        let applied_at = price.applied_at.and_then(|time| UtcTime::from_unix(time.seconds, time.nanos).ok());
        check_as_of(applied_at, self.as_of)?;
        if price.not_charged {
            let is_plain = price.currency.is_empty() && price.billing_region == 0 && price.tiers.is_empty();
            let wrong = || ClientError::wrong(format!("{name:?} is not charged, and has a price"));
            return is_plain.then_some(()).ok_or_else(wrong);
        }
        if self.currency.is_some_and(|asked| asked.code() != price.currency) {
            return Err(ClientError::wrong(format!("a price is in {:?}", price.currency)));
        }
        price.currency.parse::<Currency>().map_err(|_| ClientError::malformed("currency", &price.currency))?;
        let from = price.effective_from.and_then(|month| Month::new(month.year, month.month).ok());
        if from.is_none_or(|from| from > self.month) {
            return Err(ClientError::wrong(format!("a price of {name:?} is of a later month")));
        }
        if has_gaps(&price.tiers)? {
            return Err(ClientError::wrong(format!("the tiers of {name:?} do not follow each other")));
        }
        Ok(())
    }
}

/// Whether tiers do not begin at 0, go up, and end with the one that has no end.
fn has_gaps(tiers: &[proto::PriceTier]) -> Result<bool, ClientError> {
    let read = |field: &str, text: &str| exact(text).ok_or_else(|| ClientError::malformed(field, text));
    // Where the next one has to start; none behind the last.
    let mut start = Some(BigDecimal::zero());
    for tier in tiers {
        read("unit_price", &tier.unit_price)?;
        let from = read("from", &tier.from)?;
        let to = if tier.to.is_empty() { None } else { Some(read("to", &tier.to)?) };
        if start.as_ref() != Some(&from) || to.as_ref().is_some_and(|to| *to <= from) {
            return Ok(true);
        }
        start = to;
    }
    Ok(start.is_some())
}
