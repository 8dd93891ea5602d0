//! The schema: migrations, partitions, and the shape that lets it spread out.

use secure_connect_reports::{
    auth::AuthConfig,
    service::{RunningServer, ServeError, ServerConfig},
    store::{self, SchemaError, Store, StoreConfig},
};

use crate::support::{
    Database,
    builder::{CATALOG, Row, csv},
};

fn server_config(database: &Database) -> ServerConfig {
    ServerConfig::new(database.config(), AuthConfig { insecure_no_auth: true, ..AuthConfig::default() })
}

/// The version that this program knows.
const NEWEST: u32 = 24;

#[tokio::test]
async fn replicas_may_migrate_at_once() {
    let database = Database::empty();
    let runs = (0..4).map(|_| {
        let url = database.url.clone();
        tokio::spawn(async move { store::migrate(&url).await })
    });
    let mut applied = 0;
    for run in runs.collect::<Vec<_>>() {
        applied += run.await.unwrap().unwrap().len();
    }
    assert_eq!(applied, usize::try_from(NEWEST).unwrap(), "each migration is applied once");
    let store = Store::new(&database.config()).unwrap();
    store::check_schema(&store).await.unwrap();
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let database = Database::empty();
    let sql = database.sql().await;
    let name = "latin1_of_a_test";
    sql.batch_execute(&format!("CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"))
        .await
        .unwrap();
    let url = database.url.replace(&current_name(&database).await, name);
    let refusal = store::migrate(&url).await.expect_err("a refusal");
    assert!(refusal.to_string().starts_with("the database is encoded in LATIN1, and names need UTF8"), "{refusal}");
    let config = ServerConfig { store: StoreConfig::new(&url), ..server_config(&database) };
    let served = RunningServer::bind(config).await.err().expect("a refusal");
    assert_eq!(served.to_string(), refusal.to_string());
    sql.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
}

async fn current_name(database: &Database) -> String {
    database.sql().await.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_schema_that_is_older_or_newer_is_not_served() {
    let database = Database::empty();
    let refusal = RunningServer::bind(server_config(&database)).await.err().expect("a refusal");
    assert!(matches!(refusal, ServeError::Schema(SchemaError::Older { found: 0, known: NEWEST })), "{refusal}");
    store::migrate(&database.url).await.unwrap();
    assert!(RunningServer::bind(server_config(&database)).await.is_ok());

    let sql = database.sql().await;
    let newer = "INSERT INTO refinery_schema_history VALUES (99, 'later', now()::text, '0')";
    sql.batch_execute(newer).await.unwrap();
    let refusal = RunningServer::bind(server_config(&database)).await.err().expect("a refusal");
    assert!(matches!(refusal, ServeError::Schema(SchemaError::Newer { found: 99, known: NEWEST })), "{refusal}");
    let refusal = store::migrate(&database.url).await.expect_err("a refusal");
    assert!(matches!(refusal, SchemaError::Newer { found: 99, known: NEWEST }), "{refusal}");
}

#[tokio::test]
async fn months_get_their_partitions_without_anyone_asking() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    database.import(&csv(&[Row::on("2021-12-31", "1"), Row::on("2022-02-01", "1"), Row::on("0009-03-01", "1")])).await;
    database.import(&csv(&[Row::on("2022-02-02", "1")])).await;
    let sql = database.sql().await;
    let partitions =
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'usage_block'::regclass ORDER BY 1";
    let names: Vec<String> = sql.query(partitions, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(names, ["usage_block_0009_03", "usage_block_2021_12", "usage_block_2022_02"]);

    // The next month's is there before anyone needs it.
    let present = chrono::Utc::now().date_naive();
    database.import(&csv(&[Row::on(&present.to_string(), "1")])).await;
    let next = present.checked_add_months(chrono::Months::new(1)).unwrap();
    let expected = [present, next].map(|day| day.format("usage_block_%Y_%m").to_string());
    let names: Vec<String> = sql.query(partitions, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(names[3..], expected);
}

#[tokio::test]
async fn a_new_partition_does_not_wait_for_a_running_report() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    let mut sql = database.sql().await;
    let reader = sql.transaction().await.unwrap();
    reader.query("SELECT * FROM usage_record", &[]).await.unwrap();
    let rows = csv(&[Row::on("2022-03-01", "1")]);
    let import = database.import(&rows);
    let report = tokio::time::timeout(std::time::Duration::from_secs(20), import).await.expect("no waiting");
    assert_eq!(report.loads.len(), 1);
    reader.rollback().await.unwrap();
}

#[tokio::test]
async fn what_runs_with_the_rights_of_the_owner_is_for_those_who_were_granted_it() {
    let database = Database::migrated();
    let sql = database.sql().await;
    let functions = "SELECT p.proname::text, EXISTS (
            SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0) AS is_public
        FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef ORDER BY 1";
    let functions = sql.query(functions, &[]).await.unwrap();
    let found: Vec<(String, bool)> = functions.iter().map(|row| (row.get(0), row.get(1))).collect();
    let names = ["discard_unpublished_import", "ensure_usage_month", "index_tenant_names", "tick_publication_clock"];
    assert_eq!(found, names.map(|name| (name.to_owned(), false)));
    assert!(sql.execute("SELECT ensure_usage_month('10000-01-01')", &[]).await.is_err());
}

/// Names that are written while the migration runs are there afterwards, and nobody waits for ever.
#[tokio::test]
async fn a_catalog_may_be_applied_while_suffixes_are_made() {
    let database = Database::migrated();
    database.apply(CATALOG).await;
    let sql = database.sql().await;
    let migration = |file: &str| std::fs::read_to_string(format!("migrations/{file}")).unwrap();
    sql.batch_execute(
        "DROP FUNCTION index_tenant_names() CASCADE; DROP TABLE tenant_name_suffix, organization_name_suffix;
        DROP FUNCTION name_suffixes(text); CREATE INDEX tenant_search ON tenant (tenant_key)",
    )
    .await
    .unwrap();
    let suffixes =
        "SELECT count(*) FROM tenant_name_suffix JOIN tenant USING (tenant_key) WHERE suffix = $1 AND plan = $1";
    // One that is under way is waited for, and one that comes later waits.
    let earlier = database.sql().await;
    earlier
        .batch_execute("BEGIN; UPDATE tenant SET search_text = 'early', plan = 'early' WHERE name = 'acme-hq'")
        .await
        .unwrap();
    let migrate = async {
        for file in ["V10__name_suffixes.sql", "V11__no_name_trigrams.sql"] {
            sql.batch_execute(&format!("BEGIN; {}; COMMIT", migration(file))).await.unwrap();
        }
    };
    let apply = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let later = database.sql().await;
        later.batch_execute("BEGIN; SELECT count(*) FROM tenant").await.unwrap();
        earlier.batch_execute("COMMIT").await.unwrap();
        later
            .batch_execute("UPDATE tenant SET search_text = 'late', plan = 'late' WHERE name = 'acme-lab'; COMMIT")
            .await
            .unwrap();
    };
    tokio::join!(migrate, apply);
    for text in ["early", "late"] {
        assert_eq!(sql.query_one(suffixes, &[&text]).await.unwrap().get::<_, i64>(0), 1, "{text}");
    }
}

#[tokio::test]
async fn every_column_is_described() {
    let database = Database::migrated();
    let sql = database.sql().await;
    let undescribed = "SELECT c.relname || '.' || a.attname
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
          AND c.relname <> 'refinery_schema_history' AND col_description(c.oid, a.attnum) IS NULL";
    let names: Vec<String> = sql.query(undescribed, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(names, [""; 0]);
}

#[tokio::test]
async fn every_function_is_described() {
    let database = Database::migrated();
    // Those of extensions have their own documentation.
    let functions = "SELECT p.oid::regprocedure::text, obj_description(p.oid, 'pg_proc') IS NOT NULL FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')";
    let rows = database.sql().await.query(functions, &[]).await.unwrap();
    let functions: Vec<(String, bool)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(functions.iter().any(|(name, _)| name.starts_with("loads_in_force(bigint")), "{functions:?}");
    let undescribed: Vec<_> = functions.iter().filter(|(_, described)| !described).collect();
    assert!(undescribed.is_empty(), "{undescribed:?}");
}

#[tokio::test]
async fn every_key_of_a_per_tenant_table_has_the_tenant_in_it() {
    let database = Database::migrated();
    let sql = database.sql().await;
    // Primary, unique and foreign keys of tables with a tenant key, other than those to reference tables.
    let without = "SELECT c.conrelid::regclass || ': ' || c.conname
        FROM pg_constraint c
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attname = 'tenant_key'
        WHERE c.contype IN ('p', 'u', 'f') AND c.conrelid <> 'tenant'::regclass
          -- Statements are of organizations, and stay on one node.
          AND c.conrelid NOT IN ('statement_line'::regclass, 'statement_report'::regclass)
          AND NOT a.attnum = ANY (c.conkey)
          AND NOT (c.contype = 'f' AND c.confrelid IN ('meter'::regclass, 'usage_import'::regclass))";
    let names: Vec<String> = sql.query(without, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(names, [""; 0]);
    let identities = "SELECT count(*) FROM information_schema.columns WHERE is_identity = 'YES'";
    assert_eq!(sql.query_one(identities, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn records_of_the_row_layout_are_carried_over_into_blocks() {
    let database = Database::empty();
    let sql = database.sql().await;
    let migration = |file: &str| std::fs::read_to_string(format!("migrations/{file}")).unwrap();
    for file in ["V1__reference_tables.sql", "V2__usage_tables.sql", "V3__importers.sql", "V4__tenant_order.sql"] {
        sql.batch_execute(&migration(file)).await.unwrap();
    }
    sql.batch_execute(
        "INSERT INTO organization VALUES (gen_random_uuid(), 'Acme', 'USD');
        INSERT INTO tenant (tenant_id, organization_id, organization_name, name, status, plan, trial, search_text)
            SELECT gen_random_uuid(), organization_id, name, 'acme', 3, 'essentials', false, 'acme' FROM organization;
        INSERT INTO meter (meter_id, name, unit) SELECT gen_random_uuid(), 'meter-' || n, 'h' FROM generate_series(1, 3) n;
        INSERT INTO asset (tenant_key, asset_type, asset_id, asset_name)
            SELECT 1, n % 5 + 1, 'id-' || n, '' FROM generate_series(1, 50) n;
        INSERT INTO usage_import (source, file_name, imported_by, published_at) VALUES ('s', 'f', 'me', now());
        INSERT INTO usage_load (tenant_key, usage_month, usage_day, source, import_id, digest, record_count, published_at)
            SELECT 1, '2022-02-01', '2022-02-01'::date + n, 's', 1, sha256(''), 1500 * n, now()
            FROM generate_series(1, 2) n;
        SELECT ensure_usage_month('2022-02-01');
        INSERT INTO usage_record
            SELECT 1, load_id, n % 50 + 1, n % 3 + 1, usage_day + interval '1 h' * (n % 20),
                usage_day + interval '21 h' + interval '1 s' * CASE WHEN load_id = 2 THEN n % 500 ELSE 0 END,
                CASE WHEN n = 1200 THEN usage_day + interval '1 s' END, '2022-02-01', n, n % 50 % 5 + 1, n % 4 + 1,
                CASE WHEN n % 3 > 0 THEN n % 3 END, n % 7 = 0,
                CASE WHEN load_id = 1 THEN (n % 977) * 0.0010
                     ELSE (('{0,0.00,7,2.50,12345678901234567890123456789012345678,0.10000000000000000000000000000000000000,' ||
                           '18446744073709551615,18446744073709551616.0,9223372036854775807,0.9223372036854775808}')::numeric[])
                          [n % 10 + 1] END
            FROM usage_load, generate_series(1, record_count) n;",
    )
    .await
    .unwrap();
    let columns = "tenant_key, usage_month, load_id, row_number, asset_key, meter_key, asset_type, period_start, period_end, \
        quantity, billing_region, platform, trial, trial_expiry";
    let records = format!("SELECT ({columns})::text FROM usage_record ORDER BY load_id, row_number");
    let report =
        r#"SELECT r::text FROM detailed_usage_report r ORDER BY "start", "assetId", "meterName", quantity, r::text"#;
    let mut found = Vec::new();
    for file in ["V5__usage_months.sql", "V6__usage_blocks.sql"] {
        // An import that is under way when the migration begins is carried over too.
        let importer = database.sql().await;
        importer.batch_execute("BEGIN; LOCK TABLE usage_record IN ROW EXCLUSIVE MODE").await.unwrap();
        let migrate = async {
            let statements = format!("BEGIN; {}; COMMIT", migration(file));
            sql.batch_execute(&statements).await.unwrap();
        };
        let import = async {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            let rows = "INSERT INTO usage_record
                SELECT 1, load_id, 1, 1, usage_day, usage_day + 1, NULL, '2022-02-01', record_count + 1, 2, 1, NULL, false, 7
                FROM usage_load WHERE load_id = 1 AND $1; UPDATE usage_load SET record_count = record_count + 1
                WHERE load_id = 1 AND $1; COMMIT"
                .replace("$1", if file.starts_with("V6") { "true" } else { "false" });
            importer.batch_execute(&rows).await.unwrap();
        };
        tokio::join!(migrate, import);
        let mut texts: Vec<String> = Vec::new();
        for query in [&records, report] {
            texts.extend(sql.query(query, &[]).await.unwrap().iter().map(|row| row.get::<_, String>(0)));
        }
        found.push(texts);
    }
    assert_eq!(found[0].len(), 2 * 4500);
    assert_eq!(found[1].len(), 2 * 4501);
    let late = found[1].iter().filter(|text| !found[0].contains(text));
    assert_eq!(late.count(), 2, "the record of the late import, and nothing else");
    let blocks = "SELECT count(*), count(trial_expiries) FROM usage_block";
    let blocks = sql.query_one(blocks, &[]).await.unwrap();
    assert_eq!((blocks.get::<_, i64>(0), blocks.get::<_, i64>(1)), (5, 2));

    // What records have in common is there once afterwards, and all records are as they were.
    let kinds = "SELECT sum(cardinality(kind_codes))::bigint, sum(cardinality(asset_keys))::bigint FROM usage_block";
    for file in ["V7__purge.sql", "V8__tenant_search.sql", "V9__usage_kinds.sql"] {
        sql.batch_execute(&format!("BEGIN; {}; COMMIT", migration(file))).await.unwrap();
    }
    let mut texts: Vec<String> = Vec::new();
    for query in [&records, report] {
        texts.extend(sql.query(query, &[]).await.unwrap().iter().map(|row| row.get::<_, String>(0)));
    }
    assert_eq!(texts, found[1]);
    let after = sql.query_one(kinds, &[]).await.unwrap();
    assert!(after.get::<_, i64>(0) < 4501, "{after:?}");
    assert_eq!(after.get::<_, i64>(1), 4501);
    let blocks = sql.query_one("SELECT count(*), count(trial_expiries) FROM usage_block", &[]).await.unwrap();
    assert_eq!((blocks.get::<_, i64>(0), blocks.get::<_, i64>(1)), (5, 2));

    // Neither does their packing change any, nor one of an asset whose key is far from the others.
    sql.batch_execute(
        "UPDATE usage_block SET asset_keys[7] = 9223372036854775807 WHERE load_id = 1 AND block_number = 1;
         UPDATE usage_block SET asset_keys[7] = 70000 WHERE load_id = 2 AND block_number = 1",
    )
    .await
    .unwrap();
    let all =
        async || -> Vec<String> { sql.query(&records, &[]).await.unwrap().iter().map(|row| row.get(0)).collect() };
    let before = all().await;
    for version in 10..=NEWEST {
        sql.batch_execute(&format!("BEGIN; {}; COMMIT", migration(&file_of(version)))).await.unwrap();
    }
    assert_eq!(all().await, before);
    let widths = "SELECT string_agg(concat_ws(' ', load_id, block_number, record_count, octet_length(asset_offsets) / record_count,
            octet_length(kind_indexes) / record_count, octet_length(coefficients) / record_count, octet_length(scales)), ', '
            ORDER BY load_id, block_number) FROM usage_block";
    let widths: String = sql.query_one(widths, &[]).await.unwrap().get(0);
    assert_eq!(
        widths,
        "1 1 1024 8 1 2 1, 1 2 477 1 1 2 477, 2 1 1024 3 2 16 1024, 2 2 1024 1 2 16 1024, 2 3 952 1 2 16 952"
    );
}

/// The file of a migration.
pub(crate) fn file_of(version: u32) -> String {
    let mut names =
        std::fs::read_dir("migrations").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.find(|name| name.starts_with(&format!("V{version}__"))).unwrap()
}

#[tokio::test]
async fn search_texts_are_carried_over() {
    let database = Database::empty();
    let sql = database.sql().await;
    let mut files: Vec<_> = std::fs::read_dir("migrations").unwrap().map(|entry| entry.unwrap().path()).collect();
    let version = |path: &std::path::Path| -> u32 {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name[1..name.find('_').unwrap()].parse().unwrap()
    };
    files.sort_by_key(|path| version(path));
    assert!(files[7].ends_with("V8__tenant_search.sql"), "{files:?}");
    let migration = |n: usize| std::fs::read_to_string(&files[n]).unwrap();
    for n in 0..7 {
        sql.batch_execute(&migration(n)).await.unwrap();
    }
    sql.batch_execute(
        "INSERT INTO organization VALUES (gen_random_uuid(), 'Ärger 1%', 'USD');
        INSERT INTO tenant (tenant_id, organization_id, organization_name, name, status, plan, trial, search_text)
            SELECT gen_random_uuid(), organization_id, name, 'Acme', 3, 'essentials', false,
                   E'acme\\x1f' || gen_random_uuid() || E'\\x1färger 1%' FROM organization",
    )
    .await
    .unwrap();
    sql.batch_execute(&migration(7)).await.unwrap();
    let text: String = sql.query_one("SELECT search_text FROM tenant", &[]).await.unwrap().get(0);
    assert_eq!(text, "acme\u{1f}ärger 1%");
    for n in 8..files.len() {
        sql.batch_execute(&migration(n)).await.unwrap();
    }
    let suffixes = async |table: &str| -> Vec<String> {
        let rows = sql.query(&format!("SELECT suffix FROM {table} ORDER BY suffix"), &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(suffixes("tenant_name_suffix").await, ["acme", "cme", "e", "me"]);
    let of_organization = [" 1%", "%", "1%", "er 1%", "ger 1%", "r 1%", "rger 1%", "ärger 1%"];
    assert_eq!(suffixes("organization_name_suffix").await, of_organization);
}
