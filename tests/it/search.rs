//! Searches go by an index of the suffixes of names. They must find what looking at every name finds.

use secure_connect_reports::{
    catalog::{self, CatalogFormat},
    proto::{ListTenantsRequest, Tenant},
    store,
};
use serde_json::json;

use crate::support::{Database, Server};

/// Numbers that look random, and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    /// A text of few different characters, so that texts have much in common. Some are special to SQL, or take more bytes.
    fn text(&mut self, longest: usize) -> String {
        let characters: Vec<char> = "aab-%_\\'ÄßI 東1".chars().collect();
        (0..=self.below(longest)).map(|_| characters[self.below(characters.len())]).collect()
    }

    fn name(&mut self, longest: usize) -> String {
        format!("x{}x", self.text(longest))
    }
}

fn organization_id(n: usize) -> String {
    format!("aaaaaaaa-0000-4000-8000-{n:012}")
}

/// Organizations that all have another name than before, and tenants by name and organization.
async fn apply(database: &Database, numbers: &mut Numbers, tenants: &[(String, usize)]) {
    let organizations: Vec<_> =
        (0..5).map(|n| json!({"id": organization_id(n), "name": numbers.name(30), "currency": "EUR"})).collect();
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
    store::apply_catalog(&database.url, &catalog).await.unwrap();
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
    let mut numbers = Numbers(2022);
    let mut tenants: Vec<(String, usize)> = Vec::new();
    for round in 0..3 {
        // Some tenants get another name, some go to another organization, some stay as they are, and some are new.
        for n in 0..60 + 30 * round {
            let new = (numbers.name(40), numbers.below(5));
            match tenants.get_mut(n) {
                None => tenants.push(new),
                Some(tenant) if n % 3 == 0 => tenant.0 = new.0,
                Some(tenant) if n % 3 == 1 => tenant.1 = new.1,
                Some(_) => {}
            }
        }
        apply(&database, &mut numbers, &tenants).await;
        let server = database.serve();
        let all = list(&server, "").await;
        assert_eq!(all.len(), tenants.len());
        let mut matches = 0;
        for n in 0..60 {
            // Some text, or a part of a name that is there, of any length.
            let text = match n % 3 {
                0 => numbers.text(3),
                1 => all[n].name.clone(),
                _ => all[n].organization_name.clone(),
            };
            let text: String = text.chars().skip(numbers.below(3)).take(1 + numbers.below(40)).collect();
            let lower = text.to_lowercase();
            let has = |text: &str| text.to_lowercase().contains(&lower);
            let expected: Vec<&Tenant> = all
                .iter()
                .filter(|tenant| has(&tenant.name) || has(&tenant.organization_name) || has(&tenant.tenant_id))
                .collect();
            matches += expected.len();
            assert_eq!(list(&server, &text).await.iter().collect::<Vec<_>>(), expected, "{text:?} in round {round}");
        }
        assert!(matches > 60, "{matches}");
    }
    // The index has what names have, and nothing of former ones.
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
    assert!(row.get::<_, i64>(0) > 1000);
    assert_eq!((row.get::<_, i64>(1), row.get::<_, i64>(2)), (0, 0));
}
