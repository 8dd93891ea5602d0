//! A small catalog, and rows of usage by their fields.

use secure_connect_reports::model::Column;

pub(crate) const ORG: &str = "aaaaaaaa-0000-4000-8000-000000000001";
pub(crate) const ORG_EUR: &str = "aaaaaaaa-0000-4000-8000-000000000002";
pub(crate) const TENANT: &str = "bbbbbbbb-0000-4000-8000-000000000001";
pub(crate) const TENANT_2: &str = "bbbbbbbb-0000-4000-8000-000000000002";
pub(crate) const TENANT_EUR: &str = "bbbbbbbb-0000-4000-8000-000000000003";
pub(crate) const HOURS: &str = "user_hours_essentials";
pub(crate) const HOURS_ID: &str = "cccccccc-0000-4000-8000-000000000001";
pub(crate) const GIB: &str = "bandwidth_gib_essentials";
pub(crate) const GIB_ID: &str = "cccccccc-0000-4000-8000-000000000002";

/// Two organizations, three tenants, two meters; prices in USD only.
pub(crate) const CATALOG: &str = r#"
[[organizations]]
id = "aaaaaaaa-0000-4000-8000-000000000001"
name = "Acme"
currency = "USD"
[[organizations]]
id = "aaaaaaaa-0000-4000-8000-000000000002"
name = "Zeta"
currency = "EUR"
[[tenants]]
id = "bbbbbbbb-0000-4000-8000-000000000001"
organization_id = "aaaaaaaa-0000-4000-8000-000000000001"
name = "acme-hq"
plan = "essentials"
status = "NORMAL"
[[tenants]]
id = "bbbbbbbb-0000-4000-8000-000000000002"
organization_id = "aaaaaaaa-0000-4000-8000-000000000001"
name = "acme-lab"
plan = "essentials"
status = "SUSPENDED"
trial = true
trial_expiry = 2022-02-15T00:00:00Z
[[tenants]]
id = "bbbbbbbb-0000-4000-8000-000000000003"
organization_id = "aaaaaaaa-0000-4000-8000-000000000002"
name = "zeta-hq"
plan = "essentials"
status = "NORMAL"
[[meters]]
id = "cccccccc-0000-4000-8000-000000000001"
name = "user_hours_essentials"
unit = "hour"
[[meters]]
id = "cccccccc-0000-4000-8000-000000000002"
name = "bandwidth_gib_essentials"
unit = "GiB"
[[prices]]
meter = "user_hours_essentials"
currency = "USD"
effective_from = "2022-01"
tiers = [{ unit_price = "0.01" }]
[[prices]]
meter = "bandwidth_gib_essentials"
currency = "USD"
effective_from = "2022-01"
tiers = [{ up_to = "50", unit_price = "0" }, { up_to = "1000", unit_price = "0.085" }, { unit_price = "0.06" }]
"#;

/// A row of usage; every field is a text, so that wrong ones can be written too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row(pub(crate) [String; 14]);

impl Row {
    /// An hour of a user of [`TENANT`], from this moment on.
    pub(crate) fn new(start: &str, end: &str, quantity: &str) -> Self {
        let fields =
            [ORG, TENANT, "Joe", "joe@email.com", "USER", HOURS, HOURS_ID, start, end, quantity, "EU", "", "FALSE", ""];
        Self(fields.map(str::to_owned))
    }

    /// The first hour of a day such as `2022-02-01`.
    pub(crate) fn on(day: &str, quantity: &str) -> Self {
        Self::new(&format!("{day}T00:00:00Z"), &format!("{day}T01:00:00Z"), quantity)
    }

    pub(crate) fn with(mut self, column: &str, value: &str) -> Self {
        let position = Column::NAMES.iter().position(|name| *name == column).expect("a column");
        value.clone_into(&mut self.0[position]);
        self
    }

    pub(crate) fn asset(self, id: &str) -> Self {
        self.with("assetId", id)
    }

    /// Of an asset with a long name, so that a report of such rows is large on the wire, too, where little else repeats.
    pub(crate) fn bulky(self, asset: usize) -> Self {
        self.asset(&format!("asset-{asset:05}")).with("assetName", &format!("{asset:0200}"))
    }

    pub(crate) fn bandwidth(self) -> Self {
        self.with("meterName", GIB).with("meterId", GIB_ID)
    }

    pub(crate) fn of(self, organization: &str, tenant: &str) -> Self {
        self.with("organizationId", organization).with("tenantId", tenant)
    }
}

/// A file of rows.
pub(crate) fn csv(rows: &[Row]) -> String {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(Column::NAMES).unwrap();
    for row in rows {
        out.write_record(&row.0).unwrap();
    }
    String::from_utf8(out.into_inner().unwrap()).unwrap()
}
