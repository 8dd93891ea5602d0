//! The columns of FOCUS, and the names in them that only the provider knows.

use std::collections::BTreeMap;

use secure_connect_reports::{
    auth::AuthConfig,
    contract::proto::{FocusVersion, GetFocusCostsRequest},
    reports::FocusProvider,
    service::ServerConfig,
};

use super::focus::{cells, charges, request};
use crate::{
    statements::books::Books,
    support::{
        Server,
        builder::{ORG, Row, csv},
        calls::flight_path,
    },
};

/// What stands in the rows of each version, in order.
const BOTH: [&str; 38] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut names = [&BOTH, more].concat();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_the_providers_and_columns_those_of_the_version() {
    let books = Books::open().await;
    books.database.import(&csv(&[Row::on("2022-02-01", "100")])).await;
    let focus = FocusProvider {
        provider_name: "Provider".to_owned(),
        publisher_name: "Publisher".to_owned(),
        invoice_issuer_name: "Reseller".to_owned(),
        host_provider_name: Some("Host".to_owned()),
        service_name: "Remote access".to_owned(),
        service: "Network Security".parse().unwrap(),
    };
    let named = Server::start(ServerConfig {
        focus,
        ..ServerConfig::new(books.database.config(), AuthConfig { insecure_no_auth: true, ..AuthConfig::default() })
    });
    let mut found = BTreeMap::new();
    for (version, code) in [("1.2", FocusVersion::FocusVersion12), ("1.4", FocusVersion::FocusVersion14)] {
        let mut path = flight_path("focus_costs", ORG, "2022-02");
        path.path.push(version.to_owned());
        let by_path = named.columns(path).await.remove(0);
        let by_command = charges(&named, &GetFocusCostsRequest { version: code.into(), ..request([2, 2]) }).await;
        assert_eq!(by_path.rows(), by_command.rows());
        assert_eq!(by_path.metadata()["focusVersion"], version);
        let schema = by_path.schema.clone();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let row = by_path.rows().remove(0);
        let provider: Vec<String> = names
            .iter()
            .zip(&row)
            .filter(|(name, _)| name.ends_with("Name") || name.starts_with("Service"))
            .map(|(name, cell)| format!("{name} {cell}"))
            .collect();
        found.insert(version, provider);
        let more: &[&str] = if version == "1.2" {
            &["ProviderName", "PublisherName"]
        } else {
            &["HostProviderName", "ServiceProviderName"]
        };
        assert_eq!(names, with(more));
    }
    let same = [
        "BillingAccountName Acme",
        "InvoiceIssuerName Reseller",
        "RegionName Europe",
        "ResourceName ",
        "ServiceCategory Networking",
        "ServiceName Remote access",
        "ServiceSubcategory Network Security",
        "SubAccountName acme-hq",
    ];
    for (version, more) in [
        ("1.2", ["ProviderName Provider", "PublisherName Publisher"]),
        ("1.4", ["HostProviderName Host", "ServiceProviderName Provider"]),
    ] {
        let mut expected = [&same[..], &more].concat();
        expected.sort_unstable();
        assert_eq!(found[version], expected);
    }
    // Where nothing is said of them: version 1.2, and the service's own name.
    let plain = books.server.columns(flight_path("focus_costs", ORG, "2022-02")).await.remove(0);
    assert_eq!(
        cells(&plain, &["ProviderName", "PublisherName", "InvoiceIssuerName", "ServiceSubcategory"]),
        [["Secure Connect", "Secure Connect", "Secure Connect", "Network Connectivity"]]
    );
}

/// The page says of each column where it is from, and names no other.
#[test]
fn the_page_has_all_columns() {
    let page = std::fs::read_to_string(crate::clients::project("docs/focus.md")).unwrap();
    let table = page.split("## The columns\n").nth(1).unwrap().split("## What is left out").next().unwrap();
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let found: Vec<&str> = cells.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`')).collect();
    let mut sorted = found.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, with(&["HostProviderName", "ProviderName", "PublisherName", "ServiceProviderName"]));
}
