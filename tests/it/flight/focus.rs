//! Bills as rows of FOCUS.

use bigdecimal::BigDecimal;
use secure_connect_reports::{
    contract::proto::{GetFocusCostsRequest, YearMonth},
    model::plain,
};

use crate::{
    statements::books::Books,
    support::{
        Server,
        builder::{GIB_ID, HOURS_ID, ORG, Row, TENANT, TENANT_2, csv},
        columns::{Columns, command},
    },
};

pub(super) fn request(months: [u32; 2]) -> GetFocusCostsRequest {
    let month = |month: u32| Some(YearMonth { year: 2022, month: month.cast_signed() });
    GetFocusCostsRequest {
        organization_id: ORG.to_owned(),
        start_month: month(months[0]),
        end_month: month(months[1]),
        ..Default::default()
    }
}

pub(crate) async fn charges(server: &Server, request: &GetFocusCostsRequest) -> Columns {
    let mut slices = server.columns(command("GetFocusCostsRequest", request)).await;
    assert_eq!(slices.len(), 1);
    slices.remove(0)
}

/// Some of the columns, by their names.
pub(crate) fn cells(columns: &Columns, names: &[&str]) -> Vec<Vec<String>> {
    let positions: Vec<usize> = names.iter().map(|name| columns.schema.index_of(name).unwrap()).collect();
    columns.rows().iter().map(|row| positions.iter().map(|&position| row[position].clone()).collect()).collect()
}

pub(crate) fn sum(columns: &Columns, name: &str) -> String {
    let numbers = cells(columns, &[name]).into_iter().map(|row| row[0].parse::<BigDecimal>().unwrap());
    plain(&numbers.sum())
}

/// Usage with tiers, trials, a line that is rounded up and one that is rounded down.
fn february() -> String {
    csv(&[
        Row::on("2022-02-01", "30.5").bandwidth().asset("one"),
        Row::on("2022-02-02", "1030").bandwidth().asset("two").with("assetName", "").with("assetType", "ENDPOINT"),
        Row::on("2022-02-02", "12.345").asset("ann"),
        Row::on("2022-02-03", "8").with("trial", "TRUE").with("trialExpiry", "2022-02-15T00:00:00Z").of(ORG, TENANT_2),
        Row::on("2022-02-04", "0.6").of(ORG, TENANT_2).with("billingRegion", "AP"),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_charges_by_tier_and_their_rounding() {
    let books = Books::open().await;
    books.database.import(&february()).await;
    let found = charges(&books.server, &request([2, 2])).await;
    let names = [
        "SubAccountName",
        "ChargeCategory",
        "ChargeDescription",
        "PricingQuantity",
        "ListUnitPrice",
        "ListCost",
        "BilledCost",
    ];
    let row = |cells: [&str; 7]| cells.map(str::to_owned).to_vec();
    let (gib, hours) = ("bandwidth_gib_essentials in Europe", "user_hours_essentials in Europe");
    assert_eq!(
        cells(&found, &names),
        [
            row(["acme-hq", "Usage", &format!("{gib}, 0 to 50 GiB, at 0 USD per GiB"), "50", "0", "0", "0"]),
            row([
                "acme-hq",
                "Usage",
                &format!("{gib}, 50 to 1000 GiB, at 0.085 USD per GiB"),
                "950",
                "0.085",
                "80.75",
                "80.75"
            ]),
            row([
                "acme-hq",
                "Usage",
                &format!("{gib}, over 1000 GiB, at 0.06 USD per GiB"),
                "60.5",
                "0.06",
                "3.63",
                "3.63"
            ]),
            row([
                "acme-hq",
                "Usage",
                &format!("{hours}, at 0.01 USD per hour"),
                "12.345",
                "0.01",
                "0.12345",
                "0.12345"
            ]),
            row(["acme-hq", "Adjustment", &format!("Rounding of {hours}"), "", "", "-0.00345", "-0.00345"]),
            row([
                "acme-lab",
                "Usage",
                "user_hours_essentials in Asia and the Pacific, at 0.01 USD per hour",
                "0.6",
                "0.01",
                "0.006",
                "0.006"
            ]),
            row([
                "acme-lab",
                "Adjustment",
                "Rounding of user_hours_essentials in Asia and the Pacific",
                "",
                "",
                "0.004",
                "0.004"
            ]),
            row(["acme-lab", "Usage", &format!("{hours}, under trial"), "8", "0", "0", "0"]),
        ]
    );
    let costs = books.costs("2022-02", "2022-02").await;
    assert_eq!(sum(&found, "BilledCost"), plain(&costs.totals[0].amount_due.parse().unwrap()));
    assert_eq!(found.summary["totals"][0]["amountDue"], costs.totals[0].amount_due);
    assert_eq!([&found.summary["unpricedLineCount"], &found.summary["incompleteReportCount"]], ["0", "0"]);

    // What there is besides, of a tier, of a rounding and of a trial.
    let others = [
        "ConsumedQuantity",
        "ConsumedUnit",
        "PricingUnit",
        "PricingCategory",
        "SkuId",
        "SkuMeter",
        "SkuPriceId",
        "SkuPriceDetails",
        "ResourceId",
        "ContractedCost",
        "ContractedUnitPrice",
        "EffectiveCost",
        "ChargeClass",
        "InvoiceId",
    ];
    let found_others = cells(&found, &others);
    let row = |cells: [&str; 14]| cells.map(str::to_owned).to_vec();
    let (gib, hours) = ("bandwidth_gib_essentials", "user_hours_essentials");
    let tier = format!("{GIB_ID}/EU/50-1000");
    assert_eq!(
        found_others[1],
        row([
            "950",
            "GiB",
            "GiB",
            "Standard",
            GIB_ID,
            gib,
            &tier,
            r#"{"x_TierFrom":"50","x_TierTo":"1000"}"#,
            "",
            "80.75",
            "0.085",
            "80.75",
            "",
            ""
        ])
    );
    assert_eq!(found_others[4], row(["", "", "", "", HOURS_ID, hours, "", "", "", "-0.00345", "", "-0.00345", "", ""]));
    let trial = format!("{HOURS_ID}/EU/trial");
    assert_eq!(
        found_others[7],
        row([
            "8",
            "hour",
            "hour",
            "Standard",
            HOURS_ID,
            hours,
            &trial,
            r#"{"x_Trial":true}"#,
            "",
            "0",
            "0",
            "0",
            "",
            ""
        ])
    );
    assert_eq!(found_others[2][6..8], [format!("{GIB_ID}/EU/1000+"), r#"{"x_TierFrom":"1000"}"#.to_owned()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn assets_have_their_shares_and_their_part_of_each_tier() {
    let books = Books::open().await;
    books.database.import(&february()).await;
    let found = charges(
        &books.server,
        &GetFocusCostsRequest { by_asset: true, tenant_id: TENANT.to_owned(), ..request([2, 2]) },
    )
    .await;
    let names =
        ["ResourceType", "ResourceId", "ResourceName", "PricingQuantity", "ListUnitPrice", "ListCost", "BilledCost"];
    let row = |asset: &str, id: &str, rest: [&str; 5]| {
        [vec![asset.to_owned(), format!("{TENANT}/{asset}/{id}")], rest.map(str::to_owned).to_vec()].concat()
    };
    // 30.5 of 1060.5 GiB, and the rest: of 50 free ones, of 950 and of 60.5.
    assert_eq!(
        cells(&found, &names),
        [
            row("USER", "one", ["Joe", "1.438000943", "0", "0", "0"]),
            row("USER", "one", ["Joe", "27.322017916", "0.085", "2.32237152286", "2.33"]),
            row("USER", "one", ["Joe", "1.739981141", "0.06", "0.10439886846", "0.1"]),
            row("ENDPOINT", "two", ["", "48.561999057", "0", "0", "0"]),
            row("ENDPOINT", "two", ["", "922.677982084", "0.085", "78.42762847714", "78.42"]),
            row("ENDPOINT", "two", ["", "58.760018859", "0.06", "3.52560113154", "3.53"]),
            row("USER", "ann", ["Joe", "12.345", "0.01", "0.12345", "0.12"]),
        ]
    );
    assert_eq!(found.metadata().get("recordCount"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_of_a_closed_month_is_a_correction_on_a_later_bill() {
    let books = Books::open().await;
    books.database.import(&csv(&[Row::on("2022-02-01", "100"), Row::on("2022-02-01", "7").bandwidth()])).await;
    let statement = books.close("2022-02").await.statement.expect("a statement").number.to_string();
    books.database.import(&csv(&[Row::on("2022-02-02", "50"), Row::on("2022-03-01", "10")])).await;
    for by_asset in [false, true] {
        let found = charges(&books.server, &GetFocusCostsRequest { by_asset, ..request([2, 3]) }).await;
        let names = [
            "BillingPeriodStart",
            "ChargePeriodStart",
            "ChargePeriodEnd",
            "ChargeCategory",
            "ChargeClass",
            "InvoiceId",
            "PricingQuantity",
            "BilledCost",
            "ListCost",
        ];
        let row = |cells: [&str; 9]| cells.map(str::to_owned).to_vec();
        let (february, march, april) = ("2022-02-01T00:00:00Z", "2022-03-01T00:00:00Z", "2022-04-01T00:00:00Z");
        let mut expected = vec![
            row([february, february, march, "Usage", "", &statement, "7", "0", "0"]),
            row([february, february, march, "Usage", "", &statement, "100", "1", "1"]),
            row([march, march, april, "Usage", "", "", "10", "0.1", "0.1"]),
        ];
        // Behind lines, and before what lines are shared among.
        let correction = if by_asset { 0 } else { 3 };
        expected.insert(correction, row([march, february, march, "Usage", "Correction", "", "", "0.5", "0.5"]));
        assert_eq!(cells(&found, &names), expected);
        let description = cells(&found, &["ChargeDescription", "ResourceId", "SkuPriceId"]);
        assert_eq!(
            description[correction],
            ["Correction of user_hours_essentials in Europe, usage of 2022-02", "", ""]
        );
    }
    // As it was before the correction.
    let moment = crate::statements::books::present(&books.database).await;
    books.database.import(&csv(&[Row::on("2022-03-02", "10")])).await;
    let then = charges(&books.server, &GetFocusCostsRequest { as_of: Some(moment), ..request([3, 3]) }).await;
    assert_eq!(sum(&then, "BilledCost"), "0.6");
    assert_eq!(sum(&charges(&books.server, &request([3, 3])).await, "BilledCost"), "0.7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_price_is_said_and_what_is_not_charged_is_free() {
    let books = Books::open().await;
    let unpriced = "[[meters]]\nid = \"cccccccc-0000-4000-8000-000000000009\"\nname = \"new\"\nunit = \"unit\"\n";
    books.database.apply(unpriced).await;
    let of_new = |row: Row| row.with("meterName", "new").with("meterId", "cccccccc-0000-4000-8000-000000000009");
    books.database.import(&csv(&[of_new(Row::on("2022-02-01", "3")), Row::on("2022-02-03", "4")])).await;
    let gaps = |found: &Columns| {
        [&found.summary["unpricedLineCount"], &found.summary["incompleteReportCount"]]
            .map(|count| count.as_str().unwrap().to_owned())
    };
    for by_asset in [false, true] {
        let found = charges(&books.server, &GetFocusCostsRequest { by_asset, ..request([2, 2]) }).await;
        assert_eq!(cells(&found, &["SkuMeter"]), [["user_hours_essentials"]]);
        assert_eq!(gaps(&found), ["1", "1"], "2022-02-02 is missing");
    }
    books.database.apply(&unpriced.replace("unit = ", "charged = false\nunit = ")).await;
    for by_asset in [false, true] {
        let found = charges(&books.server, &GetFocusCostsRequest { by_asset, ..request([2, 2]) }).await;
        let names = ["ChargeDescription", "PricingQuantity", "ListUnitPrice", "BilledCost", "SkuPriceDetails"];
        assert_eq!(cells(&found, &names)[0], ["new in Europe, not charged", "3", "0", "0", r#"{"x_NotCharged":true}"#]);
        assert_eq!(gaps(&found), ["0", "1"]);
    }
    // A month without a bill has columns, and totals.
    let none = charges(&books.server, &request([5, 5])).await;
    assert_eq!((none.rows().len(), none.summary["totals"][0]["amountDue"].as_str()), (0, Some("0.00")));
}
