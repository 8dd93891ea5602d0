//! The list of prices that are in force in a month.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    InvalidField, PageSize, ReportError, manifest,
    price_in_force::prices_in_force,
    token::{self, Kind, short_digest},
};
use crate::{
    model::{BillingRegion, Currency, Meter, Month, Pricing, UtcTime},
    store::{ListedPrice, ListedPrices, MeterKey, Meters, SnapshotTime, Store},
};

/// How many meters are read at once.
const PART: usize = 100;
/// The approximate size limit of a page: clients refuse messages of more than 4 MiB by default.
const MAX_BYTES: usize = 2 << 20;

#[derive(Clone, Debug)]
pub struct PricesRequest {
    pub month: Month,
    /// Only in this currency.
    pub currency: Option<Currency>,
    /// Only of this meter, by its name; empty: of every meter.
    pub meter_name: String,
    /// The price lists as they were at this time; `None`: now.
    pub as_of: Option<UtcTime>,
    pub page_size: PageSize,
    /// From the previous page; empty: the first page.
    pub page_token: String,
}

#[derive(Clone, Debug)]
pub struct Prices {
    /// By meter name, currency and region; that for all regions first.
    pub prices: Vec<MeterPrice>,
    /// Empty on the last page.
    pub next_page_token: String,
}

/// A price that is in force, or that a meter has none.
#[derive(Clone, Debug)]
pub struct MeterPrice {
    pub meter: Arc<Meter>,
    /// `None`: the meter is not charged.
    pub price: Option<PriceInForce>,
    /// When that was published.
    pub applied_at: UtcTime,
}

#[derive(Clone, Debug)]
pub struct PriceInForce {
    pub currency: Currency,
    /// `None`: every region without a price of its own.
    pub billing_region: Option<BillingRegion>,
    pub effective_from: Month,
    pub pricing: Pricing,
}

/// Where a price stands in the order of the list: meter, currency (empty: not charged), and the number of the region (0: all).
type Position = (String, String, i16);

/// The content of a page token: a digest of the query, its snapshot, and the last price of the page.
#[derive(Serialize, Deserialize)]
struct PageToken {
    #[serde(rename = "q")]
    query: [u8; 8],
    #[serde(rename = "s")]
    snapshot: i64,
    #[serde(rename = "p")]
    last: Position,
}

/// Takes prices, in order, until it is full.
struct Page {
    size: usize,
    bytes: usize,
    after: Option<Position>,
    prices: Vec<MeterPrice>,
    has_more: bool,
}

/// Lists the prices that are in force in a month, as bills use them.
///
/// # Errors
///
/// [`ReportError::Invalid`] for a meter that there is not, and for the token of another query.
pub async fn list_prices(store: &Store, request: &PricesRequest) -> Result<Prices, ReportError> {
    let query = PageToken::query(request);
    let token = PageToken::open(&request.page_token, query)?;
    let snapshot = async {
        match &token {
            Some((snapshot, _)) => manifest::snapshot_of_token(store, *snapshot, "page_token").await,
            None => manifest::snapshot(store, request.as_of).await,
        }
    };
    let (snapshot, meters) = tokio::join!(snapshot, store.meters());
    let (snapshot, meters) = (snapshot?, meters?);
    let mut page = Page::new(request.page_size, token.map(|(_, last)| last));
    let asked = page.without_those_before(asked_meters(&meters, &request.meter_name)?);
    for part in asked.chunks(PART) {
        let keys: Vec<MeterKey> = part.iter().map(|(key, _)| *key).collect();
        let listed = store.list_prices(&keys, request.currency, request.month, snapshot).await?;
        page.take_part(part, listed, request.month);
        if page.has_more {
            break;
        }
    }
    let last = page.prices.last().filter(|_| page.has_more);
    let next_page_token = last.map_or_else(String::new, |last| PageToken::seal(query, snapshot, last));
    Ok(Prices { prices: page.prices, next_page_token })
}

/// The meters of a name, or all, in the order of their names.
fn asked_meters(meters: &Meters, name: &str) -> Result<Vec<(MeterKey, Arc<Meter>)>, InvalidField> {
    let all = (0..).map_while(|position| meters.at(position).cloned());
    if name.is_empty() {
        return Ok(all.collect());
    }
    let named: Vec<MeterKey> = meters.alike(name).collect();
    if named.is_empty() {
        return Err(InvalidField::new("meter_name", format!("there is no meter {name:?}")));
    }
    Ok(all.filter(|(key, _)| named.contains(key)).collect())
}

// === impl MeterPrice ===

impl MeterPrice {
    fn position(&self) -> Position {
        let (currency, region) = match &self.price {
            None => (String::new(), 0),
            Some(price) => (price.currency.code().to_owned(), price.billing_region.map_or(0, BillingRegion::code)),
        };
        (self.meter.name.clone(), currency, region)
    }

    fn size(&self) -> usize {
        let tiers = self.price.as_ref().map_or(0, |price| price.pricing.model.tiers().len());
        256 + self.meter.name.len() + self.meter.unit.len() + 128 * tiers
    }
}

// === impl Page ===

impl Page {
    fn new(size: PageSize, after: Option<Position>) -> Self {
        Self { size: size.get().into(), bytes: 0, after, prices: Vec::new(), has_more: false }
    }

    /// Those of which prices may be on this page.
    fn without_those_before(&self, mut meters: Vec<(MeterKey, Arc<Meter>)>) -> Vec<(MeterKey, Arc<Meter>)> {
        if let Some((name, ..)) = &self.after {
            meters.retain(|(_, meter)| meter.name >= *name);
        }
        meters
    }

    /// Takes what is in force of some meters, which are in order.
    fn take_part(&mut self, meters: &[(MeterKey, Arc<Meter>)], listed: ListedPrices, month: Month) {
        let mut by_meter: BTreeMap<(MeterKey, &'static str), Vec<ListedPrice>> = BTreeMap::new();
        for price in listed.prices {
            by_meter.entry((price.price.meter, price.currency.code())).or_default().push(price);
        }
        for (key, meter) in meters {
            if let Some(&applied_at) = listed.uncharged.get(key) {
                self.take(MeterPrice { meter: Arc::clone(meter), price: None, applied_at });
                continue;
            }
            let in_currencies = by_meter.range((*key, "")..).take_while(|((of, _), _)| of == key);
            for ListedPrice { price, currency, applied_at } in
                in_currencies.flat_map(|(_, prices)| prices_in_force(prices, month))
            {
                let price = PriceInForce {
                    currency: *currency,
                    billing_region: price.billing_region,
                    effective_from: price.effective_from,
                    pricing: price.pricing.clone(),
                };
                self.take(MeterPrice { meter: Arc::clone(meter), price: Some(price), applied_at: *applied_at });
            }
        }
    }

    fn take(&mut self, price: MeterPrice) {
        if self.has_more || self.after.as_ref().is_some_and(|after| *after >= price.position()) {
            return;
        }
        self.bytes += price.size();
        let is_full = self.prices.len() == self.size || self.bytes > MAX_BYTES;
        if is_full && !self.prices.is_empty() {
            self.has_more = true;
            return;
        }
        self.prices.push(price);
    }
}

// === impl PageToken ===

impl PageToken {
    /// A digest that identifies the query.
    fn query(request: &PricesRequest) -> [u8; 8] {
        let PricesRequest { month, currency, meter_name, as_of, .. } = request;
        let currency = currency.map(Currency::code).unwrap_or_default();
        let as_of = as_of.map(|time| time.to_string()).unwrap_or_default();
        short_digest(format!("{month} {currency} {as_of} {meter_name}").as_bytes())
    }

    fn seal(query: [u8; 8], snapshot: SnapshotTime, last: &MeterPrice) -> String {
        let payload = Self { query, snapshot: snapshot.time().unix_micros(), last: last.position() };
        // Strings and numbers can always be serialized.
        token::seal(Kind::Prices, &serde_json::to_vec(&payload).unwrap_or_default())
    }

    /// The snapshot and the last price of a request's token; `None` if it is empty.
    fn open(page_token: &str, query: [u8; 8]) -> Result<Option<(UtcTime, Position)>, InvalidField> {
        const FIELD: &str = "page_token";
        if page_token.is_empty() {
            return Ok(None);
        }
        let payload = token::open(Kind::Prices, page_token).map_err(|error| InvalidField::new(FIELD, error))?;
        let damaged = || InvalidField::new(FIELD, token::InvalidToken::Damaged);
        let token: Self = serde_json::from_slice(&payload).map_err(|_| damaged())?;
        if token.query != query {
            return Err(InvalidField::new(
                FIELD,
                "a token of another request; repeat the request of the previous page",
            ));
        }
        let snapshot = UtcTime::from_unix_micros(token.snapshot).ok_or_else(damaged)?;
        Ok(Some((snapshot, token.last)))
    }
}
