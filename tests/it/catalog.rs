//! `catalog apply`: all or nothing, and errors that name the entry and field.

use secure_connect_reports::{
    catalog::{self, CatalogFormat},
    store::{self, CatalogChanges, CatalogError, Changes},
};

use crate::support::{
    Database,
    builder::{CATALOG, Row, TENANT, csv},
};

async fn apply(database: &Database, text: &str) -> Result<CatalogChanges, String> {
    let catalog = catalog::read(text, CatalogFormat::Toml).map_err(|error| error.to_string())?;
    match store::apply_catalog(&database.config(), &catalog).await {
        Ok(changes) => Ok(changes),
        Err(CatalogError::Invalid(error)) => Err(error.to_string()),
        Err(error) => panic!("{error}"),
    }
}

fn changes(created: usize, updated: usize, unchanged: usize) -> Changes {
    Changes { created, updated, unchanged }
}

async fn count(database: &Database, table: &str) -> i64 {
    let sql = database.sql().await;
    sql.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_second_run_changes_nothing() {
    let database = Database::migrated();
    let first = apply(&database, CATALOG).await.unwrap();
    let expected = CatalogChanges {
        organizations: changes(2, 0, 0),
        tenants: changes(3, 0, 0),
        meters: changes(2, 0, 0),
        prices: changes(2, 0, 0),
        published_at: first.published_at,
    };
    assert!(first.published_at.is_some());
    assert_eq!(first, expected);
    let second = apply(&database, CATALOG).await.unwrap();
    let expected = CatalogChanges {
        organizations: changes(0, 0, 2),
        tenants: changes(0, 0, 3),
        meters: changes(0, 0, 2),
        prices: changes(0, 0, 2),
        published_at: None,
    };
    assert_eq!(second, expected);
    // The same amount with other zeros is the same price.
    let padded = CATALOG.replace("\"0.085\"", "\"0.08500\"").replace("\"50\"", "\"50.0\"");
    assert_eq!(apply(&database, &padded).await.unwrap(), expected);
    assert_eq!(count(&database, "price").await, 2);
}

#[tokio::test]
async fn what_a_file_names_is_updated_and_the_rest_stays() {
    let database = Database::migrated();
    apply(&database, CATALOG).await.unwrap();
    let update = r#"
        [[organizations]]
        id = "aaaaaaaa-0000-4000-8000-000000000001"
        name = "Acme Corporation"
        currency = "USD"
        [[tenants]]
        id = "bbbbbbbb-0000-4000-8000-000000000002"
        organization_id = "aaaaaaaa-0000-4000-8000-000000000001"
        name = "acme-archive"
        plan = "premium"
        status = "CANCELLED"
    "#;
    let done = apply(&database, update).await.unwrap();
    assert_eq!((done.organizations, done.tenants), (changes(0, 1, 0), changes(0, 1, 0)));
    let server = database.serve();
    let mut client = server.client().await;
    let tenants = client.tenants("corporation", None).await.unwrap();
    let names: Vec<_> = tenants.iter().map(|tenant| (tenant.name.as_str(), tenant.plan.as_str())).collect();
    assert_eq!(names, [("acme-archive", "premium"), ("acme-hq", "essentials")]);
    assert_eq!(client.tenants("acme-lab", None).await.unwrap(), []);
}

#[tokio::test]
async fn json_says_the_same_as_toml() {
    let database = Database::migrated();
    apply(&database, CATALOG).await.unwrap();
    let json = r#"{
        "tenants": [{
            "id": "bbbbbbbb-0000-4000-8000-000000000002",
            "organization_id": "aaaaaaaa-0000-4000-8000-000000000001",
            "name": "acme-lab", "plan": "essentials", "status": "SUSPENDED",
            "trial": true, "trial_expiry": "2022-02-15T00:00:00Z"
        }],
        "prices": [{
            "meter": "bandwidth_gib_essentials", "currency": "USD", "effective_from": "2022-01",
            "tiers": [
                {"up_to": "50", "unit_price": "0"}, {"up_to": "1000", "unit_price": "0.085"}, {"unit_price": "0.06"}
            ]
        }]
    }"#;
    let catalog = catalog::read(json, CatalogFormat::Json).unwrap();
    let done = store::apply_catalog(&database.config(), &catalog).await.unwrap();
    assert_eq!((done.tenants, done.prices), (changes(0, 0, 1), changes(0, 0, 1)));
}

#[test]
fn problems_name_the_entry_and_the_field() {
    let organization = |rest: &str| {
        format!(
            "[[organizations]]\nid = \"aaaaaaaa-0000-4000-8000-000000000001\"\nname = \"A\"\ncurrency = \"USD\"\n{rest}"
        )
    };
    let tiers = |tiers: &str| {
        format!("[[prices]]\nmeter = \"m\"\ncurrency = \"USD\"\neffective_from = \"2022-01\"\ntiers = {tiers}\n")
    };
    for (text, problem) in [
        ("[[organizations]]\nid = \"x\"\nname = \"A\"\ncurrency = \"USD\"", "organizations[0].id: \"x\": not a GUID"),
        (&organization("color = \"red\""), "organizations[0].color: unknown field `color`"),
        (
            &organization(
                "[[organizations]]\nid = \"aaaaaaaa-0000-4000-8000-000000000001\"\nname = \"B\"\ncurrency = \"USD\"",
            ),
            "organizations[1]: has the same id as organizations[0]",
        ),
        ("[[organizations]]\nname = \"A\"\ncurrency = \"USD\"", "organizations[0]: missing field `id`"),
        (&organization("").replace("USD", "usd"), "organizations[0].currency: \"usd\": not an ISO 4217 currency code"),
        (&organization("").replace("\"A\"", "\"\""), "organizations[0].name: must not be empty"),
        (&organization("").replace("\"A\"", "\"a\\nb\""), "organizations[0].name: contains a control character"),
        (&tiers("[]"), "prices[0].tiers: needs at least one tier"),
        (&tiers("[{ up_to = \"5\", unit_price = \"1\" }]"), "prices[0].tiers[0].up_to: must be omitted"),
        (&tiers("[{ unit_price = \"1\" }, { unit_price = \"2\" }]"), "prices[0].tiers[0].up_to: is missing"),
        (
            &tiers("[{ up_to = \"0\", unit_price = \"1\" }, { unit_price = \"2\" }]"),
            "prices[0].tiers[0].up_to: \"0\" is not above the tier's start, 0",
        ),
        (
            &tiers(
                "[{ up_to = \"9\", unit_price = \"1\" }, { up_to = \"9.0\", unit_price = \"1\" }, { unit_price = \"2\" }]",
            ),
            "prices[0].tiers[1].up_to: \"9.0\" is not above the tier's start, 9",
        ),
        (&tiers("[{ unit_price = \"-1\" }]"), "prices[0].tiers[0].unit_price: \"-1\": is negative"),
        (&tiers("[{ unit_price = \"1,5\" }]"), "prices[0].tiers[0].unit_price: \"1,5\": not a decimal number"),
        (
            &tiers("[{ unit_price = 0.5 }]"),
            "prices[0].tiers[0].unit_price: invalid type: floating point `0.5`, expected a string (write decimals in quotes",
        ),
        (
            &tiers("[{ unit_price = \"1\" }]").replace("2022-01", "2022-13"),
            "prices[0].effective_from: \"2022-13\": the month must be 1 to 12, not 13",
        ),
        ("[[organizations]\n", "TOML parse error at line 1"),
    ] {
        let error = catalog::read(text, CatalogFormat::Toml).expect_err(text).to_string();
        assert!(error.starts_with(problem), "{text}\n{error}");
    }
    let error = catalog::read("{", CatalogFormat::Json).expect_err("no JSON").to_string();
    assert!(error.starts_with("not JSON: EOF"), "{error}");
}

#[tokio::test]
async fn a_catalog_with_a_problem_changes_nothing() {
    let database = Database::migrated();
    let text = format!(
        "{CATALOG}
        [[tenants]]
        id = \"bbbbbbbb-0000-4000-8000-000000000009\"
        organization_id = \"aaaaaaaa-0000-4000-8000-000000000009\"
        name = \"orphan\"
        plan = \"essentials\"
        status = \"NORMAL\"
        [[prices]]
        meter = \"nothing\"
        currency = \"USD\"
        effective_from = \"2022-01\"
        tiers = [{{ unit_price = \"1\" }}]"
    );
    assert_eq!(
        apply(&database, &text).await.unwrap_err(),
        "tenants[3].organization_id: \"aaaaaaaa-0000-4000-8000-000000000009\": there is no such organization, in the file \
         or in the database\n\
         prices[2].meter: \"nothing\": there is no such meter, in the file or in the database"
    );
    for table in ["organization", "tenant", "meter", "price", "price_tier"] {
        assert_eq!(count(&database, table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn what_reports_show_cannot_be_changed_once_there_is_usage() {
    let database = Database::migrated();
    apply(&database, CATALOG).await.unwrap();
    // A slip can be mended as long as nothing shows it.
    let euros = CATALOG.replacen("\"USD\"", "\"EUR\"", 1);
    assert_eq!(apply(&database, &euros).await.unwrap().organizations, changes(0, 1, 1));
    assert_eq!(apply(&database, CATALOG).await.unwrap().organizations, changes(0, 1, 1));

    database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    let moved = CATALOG.replacen(
        &format!("id = \"{TENANT}\"\norganization_id = \"aaaaaaaa-0000-4000-8000-000000000001\""),
        &format!("id = \"{TENANT}\"\norganization_id = \"aaaaaaaa-0000-4000-8000-000000000002\""),
        1,
    );
    let renamed = CATALOG.replace("\"user_hours_essentials\"", "\"user_hours\"");
    let rescaled = CATALOG.replace("\"hour\"", "\"minute\"");
    for (text, place) in [
        (&euros, "organizations[0].currency: "),
        (&moved, "tenants[0].organization_id: "),
        (&renamed, "meters[0]: "),
        (&rescaled, "meters[0]: "),
    ] {
        assert_ne!(text, CATALOG);
        let error = apply(&database, text).await.unwrap_err();
        assert!(error.starts_with(place), "{error}");
    }
}

#[tokio::test]
async fn the_database_itself_refuses_gaps_in_tiers() {
    let database = Database::migrated();
    apply(&database, CATALOG).await.unwrap();
    let sql = database.sql().await;
    let price = "INSERT INTO price (meter_key, currency, effective_from, applied_at)
                 SELECT meter_key, 'EUR', '2022-01-01', now() FROM meter LIMIT 1 RETURNING price_id";
    let price: i64 = sql.query_one(price, &[]).await.unwrap().get(0);
    let tier = async |number: i16, from: &str, up_to: &str, previous: &str| {
        let insert = format!("INSERT INTO price_tier VALUES ({price}, {number}, {from}, {up_to}, {previous}, 1)");
        sql.batch_execute(&insert).await.is_ok()
    };
    assert!(!tier(1, "5", "10", "NULL").await, "the first tier starts at 0");
    assert!(tier(1, "0", "10", "NULL").await);
    assert!(!tier(2, "11", "20", "10").await, "a gap");
    assert!(!tier(2, "9", "20", "9").await, "an overlap");
    assert!(!tier(2, "0", "20", "NULL").await, "a second first tier");
    assert!(!tier(2, "10", "10", "10").await, "an empty tier");
    assert!(tier(2, "10", "NULL", "10").await);
    assert!(!tier(3, "10", "20", "10").await, "two tiers after one");
}
