//! Random catalogs and random usage.

use std::collections::BTreeSet;

use num_rational::BigRational;
use proptest::prelude::*;
use secure_connect_reports::{contract::proto::RoundingMode, model::UtcTime};

use crate::support::builder::Row;

pub(super) const METERS: [&str; 4] =
    ["user_hours_essentials", "bandwidth_gib_essentials", "Endpoint hours, \"new\"", "bandwidth_gib_premium"];

/// What one case is about: its organization, tenants and month are its own, so that cases share a database.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) number: u32,
    /// Tells the meters of cases apart, and so their prices.
    pub(super) meters: u32,
    pub(super) currency: &'static str,
    /// Unit prices and ends of tiers, per meter; none: no price.
    pub(super) prices: Vec<Option<Vec<(u32, u32)>>>,
    /// Per meter.
    pub(super) half_even: Vec<bool>,
    pub(super) uncharged: Vec<bool>,
    pub(super) month: (i32, u32),
}

impl Case {
    pub(super) fn organization(&self) -> String {
        format!("aaaaaaaa-0000-4000-8000-{:012}", self.number)
    }

    pub(super) fn tenant(&self, n: u8) -> String {
        format!("bbbbbbbb-{n:04}-4000-8000-{:012}", self.number)
    }

    pub(super) fn month(&self) -> String {
        format!("{:04}-{:02}", self.month.0, self.month.1)
    }

    /// Name and id of a meter.
    pub(super) fn meter(&self, n: usize) -> (String, String) {
        (format!("{} {}", METERS[n], self.meters), format!("cccccccc-{n:04}-4000-8000-{:012}", self.meters))
    }

    pub(super) fn minor_digits(&self) -> u32 {
        match self.currency {
            "JPY" => 0,
            "KWD" => 3,
            _ => 2,
        }
    }

    pub(super) fn rounding(&self, meter: usize) -> RoundingMode {
        if self.half_even[meter] { RoundingMode::HalfEven } else { RoundingMode::HalfAwayFromZero }
    }

    /// The end (none: the last tier) and unit price of each tier of a meter's price.
    pub(super) fn tiers(&self, meter: usize) -> Option<Vec<(Option<BigRational>, BigRational)>> {
        let mut end = 0;
        let steps = self.prices[meter].as_ref()?.iter().map(|&(step, price)| {
            end += step;
            (Some(BigRational::from_integer(end.into())), BigRational::new(price.into(), 100_000.into()))
        });
        Some(steps.chain([(None, BigRational::new(17.into(), 1000.into()))]).collect())
    }

    pub(super) fn catalog(&self) -> String {
        let organization = self.organization();
        let mut text = format!(
            "[[organizations]]\nid = \"{organization}\"\nname = \"Org {}\"\ncurrency = \"{}\"\n",
            self.number, self.currency
        );
        for n in 0..2 {
            text += &format!(
                "[[tenants]]\nid = \"{}\"\norganization_id = \"{organization}\"\nname = \"t{n}\"\nplan = \"p\"\nstatus = \"NORMAL\"\n",
                self.tenant(n)
            );
        }
        for (n, uncharged) in self.uncharged.iter().enumerate() {
            let (name, id) = self.meter(n);
            let charged = if *uncharged { "charged = false\n" } else { "" };
            text += &format!("[[meters]]\nid = \"{id}\"\nname = '{name}'\nunit = \"unit\"\n{charged}");
        }
        for (n, tiers) in self.prices.iter().enumerate() {
            let (name, _) = self.meter(n);
            let Some(tiers) = tiers else { continue };
            let mut end = 0;
            let mut parts: Vec<String> = tiers
                .iter()
                .map(|(step, price)| {
                    end += step;
                    format!("{{ up_to = \"{end}\", unit_price = \"0.{price:05}\" }}")
                })
                .collect();
            parts.push("{ unit_price = \"0.017\" }".to_owned());
            text += &format!(
                "[[prices]]\nmeter = '{name}'\ncurrency = \"{}\"\neffective_from = \"0001-01\"\nrounding = \"{}\"\ntiers = [{}]\n",
                self.currency,
                if self.half_even[n] { "half_even" } else { "half_away_from_zero" },
                parts.join(", ")
            );
        }
        text
    }
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let tiers = prop::collection::vec((1..200_u32, 0..99_999_u32), 0..3);
    (
        prop::sample::select(vec!["USD", "JPY", "KWD"]),
        prop::collection::vec(prop::option::weighted(0.8, tiers), METERS.len()),
        prop::collection::vec((any::<bool>(), prop::bool::weighted(0.2)), METERS.len()),
        prop::sample::select(vec![(2022, 2), (2024, 2), (2022, 12), (2023, 1), (1999, 6)]),
    )
        .prop_map(|(currency, prices, settings, month)| {
            let (half_even, uncharged) = settings.into_iter().unzip();
            Case { number: 0, meters: 0, currency, prices, half_even, uncharged, month }
        })
}

/// A row as it might be delivered, for tenants and a month that are known later.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) tenant: u8,
    name: String,
    id: String,
    asset_type: &'static str,
    meter: usize,
    pub(super) day: u32,
    start_second: u32,
    seconds: u32,
    micros: u32,
    quantity: (u128, usize),
    region: &'static str,
    platform: &'static str,
    trial: bool,
    trial_expiry: &'static str,
}

pub(super) fn draft() -> impl Strategy<Value = Draft> {
    let name = prop::sample::select(vec![
        "Joe",
        "Smith, Jane",
        "\"quoted\"",
        "two\nlines",
        "cr\rlf\r\n",
        "=1+1",
        "東京",
        " padded ",
        "",
        "-",
        "a;b\tc",
        "𝄞",
    ]);
    let assets = (
        0..2_u8,
        name,
        prop::sample::select(vec!["joe@email.com", "a", "A", "é", "ep-1", "a,b", "\"", "long-long-long-id"]),
        prop::sample::select(vec!["USER", "TRANSPORT", "TENANT", "GATEWAY", "ENDPOINT"]),
        0..METERS.len(),
    );
    let period = (1..=4_u32, 0..86_400_u32, 1..=86_400_u32, prop::sample::select(vec![0_u32, 0, 0, 500_000, 1]));
    let amount = prop_oneof![
        3 => (0..100_000_u128, 0..6_usize),
        1 => (0..10_u128.pow(38), 0..=38_usize),
    ];
    let rest = (
        amount,
        prop::sample::select(vec!["AF", "AP", "EU", "NA"]),
        prop::sample::select(vec!["", "mcp", "azure"]),
        prop::bool::weighted(0.25),
        prop::sample::select(vec!["", "2022-02-15T00:00:00Z", "1999-01-01T00:00:00.25Z"]),
    );
    (assets, period, rest).prop_map(
        |((tenant, name, id, asset_type, meter), (day, start_second, seconds, micros), rest)| {
            let (quantity, region, platform, trial, trial_expiry) = rest;
            Draft {
                tenant,
                name: name.to_owned(),
                id: id.to_owned(),
                asset_type,
                meter,
                day,
                start_second,
                seconds,
                micros,
                quantity,
                region,
                platform,
                trial,
                trial_expiry,
            }
        },
    )
}

impl Draft {
    pub(super) fn row(&self, case: &Case) -> Row {
        let (year, month) = case.month;
        // The first two days, and the last two.
        let last =
            chrono::NaiveDate::from_ymd_opt(year, month, 1).unwrap() + chrono::Months::new(1) - chrono::Days::new(1);
        let day = if self.day <= 2 { self.day } else { chrono::Datelike::day(&last) - (self.day - 3) };
        let date = chrono::NaiveDate::from_ymd_opt(year, month, day).unwrap();
        let start =
            UtcTime::midnight(date).unix_micros() + i64::from(self.start_second) * 1_000_000 + i64::from(self.micros);
        let month: secure_connect_reports::model::Month = case.month().parse().unwrap();
        let end = (start + i64::from(self.seconds) * 1_000_000).min(month.end().unix_micros());
        let time = |micros| UtcTime::from_unix_micros(micros).unwrap().to_string();
        let (meter, meter_id) = case.meter(self.meter);
        let platform = if meter.starts_with("bandwidth_") { self.platform } else { "" };
        let (coefficient, scale) = self.quantity;
        let digits = format!("{coefficient:0width$}", width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let quantity = if scale == 0 { whole.to_owned() } else { format!("{whole}.{fraction}") };
        let fields = [
            case.organization(),
            case.tenant(self.tenant),
            self.name.clone(),
            self.id.clone(),
            self.asset_type.to_owned(),
            meter,
            meter_id,
            time(start),
            time(end),
            quantity,
            self.region.to_owned(),
            platform.to_owned(),
            if self.trial { "TRUE" } else { "FALSE" }.to_owned(),
            self.trial_expiry.to_owned(),
        ];
        Row(fields)
    }
}

/// The rows of drafts, without those that are there already in another guise.
pub(super) fn rows(drafts: &[Draft], case: &Case) -> Vec<Row> {
    let mut seen = BTreeSet::new();
    let key = |row: &Row| [1, 3, 4, 5, 7, 8, 10, 11, 12].map(|column| row.0[column].clone());
    drafts.iter().map(|draft| draft.row(case)).filter(|row| seen.insert(key(row))).collect()
}

/// The order of the report, said in another way than the service does.
pub(super) fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    const TYPES: [&str; 5] = ["USER", "TRANSPORT", "TENANT", "GATEWAY", "ENDPOINT"];
    rows.sort_by_key(|Row(row)| {
        let time = |text: &str| text.parse::<UtcTime>().unwrap();
        (
            row[7][..10].to_owned(),
            TYPES.iter().position(|name| *name == row[4]),
            (row[3].clone(), row[5].clone()),
            (time(&row[7]), time(&row[8])),
            (row[10].clone(), ["", "mcp", "azure"].iter().position(|name| *name == row[11]), row[12] == "TRUE"),
        )
    });
    rows
}
