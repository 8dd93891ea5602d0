//! Searches go by an index of the suffixes of names. They must find what looking at every name finds.

use secure_connect_reports::{
    catalog::{self, CatalogFormat},
    contract::proto::{ListTenantsRequest, Tenant},
    store,
};
use serde_json::json;

use crate::support::{Database, Server, rng};

/// A text of few different characters, so that texts have much in common. Some are special to SQL, or take more bytes.
fn text(rng: &mut fastrand::Rng, longest: usize) -> String {
    let characters: Vec<char> = "aab-%_\\'ÄßIΣ 東1".chars().collect();
    (0..rng.usize(1..=longest)).map(|_| characters[rng.usize(..characters.len())]).collect()
}

/// Upper and lower case of these texts as one.
fn fold(text: &str) -> String {
    text.replace('Σ', "σ").replace('Ä', "ä").replace('I', "i")
}

fn name(rng: &mut fastrand::Rng, longest: usize) -> String {
    format!("x{}x", text(rng, longest))
}

fn organization_id(n: usize) -> String {
    format!("aaaaaaaa-0000-4000-8000-{n:012}")
}

/// Organizations that all have another name than before, and tenants by name and organization.
async fn apply(database: &Database, rng: &mut fastrand::Rng, tenants: &[(String, usize)]) {
    let organizations: Vec<_> =
        (0..5).map(|n| json!({"id": organization_id(n), "name": name(rng, 30), "currency": "EUR"})).collect();
    let tenants: Vec<_> = tenants
        .iter()
        .enumerate()
        .map(|(n, (name, organization))| {
            json!({"id": format!("dddddddd-0000-4000-8000-{n:012}"), "organization_id": organization_id(*organization),
                   "name": name, "plan": "essentials", "status": "NORMAL"})
        })
        .collect();
    let file = json!({"organizations": organizations, "tenants": tenants}).to_string();
    let catalog = catalog::read(&file, CatalogFormat::Json).unwrap();
    store::apply_catalog(&database.config(), &catalog).await.unwrap();
}

async fn list(server: &Server, search: &str) -> Vec<Tenant> {
    let request = ListTenantsRequest { search: search.to_owned(), page_size: 1000, ..Default::default() };
    let answer = server.stub().await.list_tenants(request).await.unwrap().into_inner();
    assert_eq!(usize::try_from(answer.total_size).unwrap(), answer.tenants.len());
    answer.tenants
}

#[tokio::test]
async fn a_search_finds_what_has_the_text_in_it_whatever_was_renamed_or_moved() {
    let database = Database::migrated();
    let mut rng = rng();
    let mut tenants: Vec<(String, usize)> = Vec::new();
    for round in 0..3 {
        // Some tenants get another name, some go to another organization, some stay as they are, and some are new.
        for n in 0..60 + 30 * round {
            let new = (name(&mut rng, 40), rng.usize(..5));
            match tenants.get_mut(n) {
                None => tenants.push(new),
                Some(tenant) if n % 3 == 0 => tenant.0 = new.0,
                Some(tenant) if n % 3 == 1 => tenant.1 = new.1,
                Some(_) => {}
            }
        }
        apply(&database, &mut rng, &tenants).await;
        let server = database.serve();
        let all = list(&server, "").await;
        assert_eq!(all.len(), tenants.len());
        let mut matches = 0;
        for n in 0..60 {
            // Some text, or a part of a name that is there, of any length.
            let text = match n % 3 {
                0 => text(&mut rng, 3),
                1 => all[n].name.clone(),
                _ => all[n].organization_name.clone(),
            };
            let text: String = text.chars().skip(rng.usize(..3)).take(rng.usize(1..=40)).collect();
            let wanted = fold(&text);
            let has = |text: &str| fold(text).contains(&wanted);
            let expected: Vec<&Tenant> = all
                .iter()
                .filter(|tenant| has(&tenant.name) || has(&tenant.organization_name) || has(&tenant.tenant_id))
                .collect();
            matches += expected.len();
            assert_eq!(list(&server, &text).await.iter().collect::<Vec<_>>(), expected, "{text:?} in round {round}");
        }
        assert!(matches > 60, "{matches}");
    }
    assert_index(&database).await;
}

#[tokio::test]
async fn an_organization_is_found_as_long_as_it_has_tenants() {
    let database = Database::migrated();
    let scene = |first: &str, second: &str| {
        let organization = |n: usize, name: &str| json!({"id": organization_id(n), "name": name, "currency": "EUR"});
        let tenant = |name: &str, of: &str| {
            let n = usize::from(of == "South");
            json!({"id": format!("dddddddd-0000-4000-8000-{:>012}", name.len()), "organization_id": organization_id(n),
                   "name": name, "plan": "essentials", "status": "NORMAL"})
        };
        json!({"organizations": [organization(0, "North"), organization(1, "South")],
               "tenants": [tenant("one", first), tenant("other", second)]})
    };
    for (first, second) in [("North", "North"), ("North", "South"), ("South", "South"), ("South", "North")] {
        let catalog = catalog::read(&scene(first, second).to_string(), CatalogFormat::Json).unwrap();
        store::apply_catalog(&database.config(), &catalog).await.unwrap();
        let server = database.serve();
        for organization in ["North", "South"] {
            let expected: Vec<&str> = [("one", first), ("other", second)]
                .into_iter()
                .filter_map(|(name, of)| (of == organization).then_some(name))
                .collect();
            let found = list(&server, &organization.to_uppercase()).await;
            let names: Vec<&str> = found.iter().map(|tenant| tenant.name.as_str()).collect();
            assert_eq!(names, expected, "{organization}: {first} {second}");
        }
        assert_index(&database).await;
    }
}

#[tokio::test]
async fn a_sigma_is_a_sigma_wherever_it_stands() {
    let database = Database::migrated();
    let tenants = [("ΟΔΟΣΑΚΗΣ".to_owned(), 0), ("οδος".to_owned(), 0)];
    apply(&database, &mut rng(), &tenants).await;
    let server = database.serve();
    for (search, count) in [("ΟΔΟΣ", 2), ("οδος", 2), ("οδοσ", 2), ("Σ", 2), ("ΚΗΣ", 1), ("κης", 1), ("ης", 1)]
    {
        assert_eq!(list(&server, search).await.len(), count, "{search}");
    }
}

/// The index has what names have, and nothing of former ones.
async fn assert_index(database: &Database) {
    let difference = "WITH kept AS (
            SELECT suffix, tenant_key::text FROM tenant_name_suffix
            UNION ALL SELECT suffix, organization_id::text FROM organization_name_suffix
        ), needed AS (
            SELECT suffix, tenant_key::text FROM tenant, name_suffixes(split_part(search_text, U&'\\001F', 1))
            UNION ALL
            SELECT DISTINCT suffix, organization_id::text
            FROM tenant, name_suffixes(split_part(search_text, U&'\\001F', 2))
        )
        SELECT (SELECT count(*) FROM needed), (SELECT count(*) FROM (TABLE kept EXCEPT ALL TABLE needed) AS more),
               (SELECT count(*) FROM (TABLE needed EXCEPT ALL TABLE kept) AS less)";
    let row = database.sql().await.query_one(difference, &[]).await.unwrap();
    assert!(row.get::<_, i64>(0) > 0);
    assert_eq!((row.get::<_, i64>(1), row.get::<_, i64>(2)), (0, 0));
}
