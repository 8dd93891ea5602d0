//! Accounts in the database: who owns, who writes, who reads.

use secure_connect_reports::{
    auth::AuthConfig,
    service::ServerConfig,
    store::{self, StoreConfig},
};
use tokio_postgres::error::SqlState;
use tonic::{Code, transport::Channel};

use crate::support::{
    Database, Server,
    builder::{CATALOG, Row, csv},
    calls::{Rpc, reason},
    program,
};

/// What the owner's triggers do, done for a table of one's own.
const OWNERS_TRIGGER: &str = "CREATE TEMP TABLE mine (tenant_key bigint, organization_id uuid, search_text text);
    CREATE TRIGGER mine AFTER INSERT ON mine REFERENCING NEW TABLE AS new_tenant
        FOR EACH STATEMENT EXECUTE FUNCTION index_tenant_names()";

/// A database with accounts of its own, whose names are those of no other test.
struct Accounts {
    database: Database,
    reader: String,
    writer: String,
}

impl Accounts {
    async fn new(name: &str) -> Self {
        let database = Database::with_catalog().await;
        let [reader, writer] = ["reader", "writer"].map(|kind| format!("{name} {kind}"));
        let grants = [format!("reader={reader}"), format!("writer={writer}")].map(|grant| grant.parse().unwrap());
        store::grant(&database.url, &grants).await.unwrap();
        let logins = format!("ALTER ROLE \"{reader}\" LOGIN; ALTER ROLE \"{writer}\" LOGIN");
        database.sql().await.batch_execute(&logins).await.unwrap();
        Self { database, reader, writer }
    }

    fn url(&self, role: &str) -> String {
        self.database.url.replace("user=postgres", &format!("user='{role}'"))
    }

    async fn connect(&self, role: &str) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.url(role), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

#[tokio::test]
async fn a_reader_serves_every_report_and_can_change_nothing() {
    let accounts = Accounts::new("read").await;
    accounts.database.import(&csv(&[Row::on("2022-02-01", "1")])).await;
    let open = AuthConfig { insecure_no_auth: true, ..AuthConfig::default() };
    let server = Server::start(ServerConfig::new(StoreConfig::new(accounts.url(&accounts.reader)), open));
    let channel = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    for rpc in Rpc::all().into_iter().filter(|rpc| rpc.role() == "Reports") {
        rpc.call(&channel, &[]).await.unwrap();
    }
    assert_eq!(server.february().await, csv(&[Row::on("2022-02-01", "1")]));

    let owner = accounts.database.sql().await;
    let tables = owner
        .query(
            "SELECT c.oid::regclass::text AS name FROM pg_class c
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')
              AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')",
            &[],
        )
        .await
        .unwrap();
    assert!(tables.len() >= 13, "{}", tables.len());
    let reader = accounts.connect(&accounts.reader).await;
    for table in tables {
        let name: String = table.get("name");
        for statement in [
            format!("DELETE FROM {name}"),
            format!("TRUNCATE {name}"),
            format!("INSERT INTO {name} SELECT * FROM {name}"),
            format!("LOCK TABLE {name} IN EXCLUSIVE MODE"),
            format!("ALTER TABLE {name} RENAME TO gone"),
        ] {
            let error = reader.batch_execute(&format!("BEGIN; {statement}")).await.unwrap_err();
            let code = [SqlState::WRONG_OBJECT_TYPE, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE];
            let view = ["detailed_usage_report", "usage_record", "usage_total", "usage_month_total"]
                .contains(&name.as_str())
                && error.code().is_some_and(|found| code.contains(found));
            assert!(view || error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}: {error:?}");
            reader.batch_execute("ROLLBACK").await.unwrap();
        }
    }
    for statement in [
        "UPDATE usage_load SET digest = digest",
        "UPDATE publication_clock SET last_published_at = now()",
        "UPDATE price SET superseded_at = now()",
        "UPDATE uncharged_meter SET superseded_at = now()",
        "UPDATE organization SET name = name",
        "SELECT nextval('load_id_seq')",
        "SELECT ensure_usage_month('2050-01-01')",
        "SELECT discard_unpublished_import(1)",
        "SELECT bring_back_publication_clock()",
        "CREATE TEMPORARY TABLE mine (number integer)",
        "CREATE TABLE mine (number integer)",
        "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "SELECT lo_creat(-1)",
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, 'text')",
        "SELECT lo_import('/etc/hostname')",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "CREATE SCHEMA mine",
        "COMMENT ON TABLE tenant IS 'mine'",
        OWNERS_TRIGGER,
    ] {
        let error = reader.batch_execute(statement).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}");
    }
}

#[tokio::test]
async fn a_writer_imports_and_applies_catalogs_and_can_change_or_delete_no_row_of_a_load() {
    let accounts = Accounts::new("write").await;
    let database = Database::at(&accounts.url(&accounts.writer));
    // A new organization and a new price, a renamed one, and a changed price; usage of new months; a restatement.
    let changed = CATALOG
        .replace("\"Acme\"", "\"Acme Ltd\"")
        .replace("0.085", "0.09")
        .replace("2022-01\"\ntiers = [{ unit", "2022-02\"\ntiers = [{ unit");
    database.apply(&changed.replace("unit = \"hour\"", "unit = \"hour\"\ncharged = false")).await;
    database.apply(&changed).await;
    database.import(&csv(&[Row::on("2022-02-01", "1"), Row::on("2031-05-01", "1")])).await;
    database.import(&csv(&[Row::on("2022-02-01", "2")])).await;

    let withdrawn = crate::support::program()
        .args(["withdraw", "--tenant", crate::support::builder::TENANT, "--day", "2022-02-01"])
        .env("DATABASE_URL", &database.url)
        .output()
        .unwrap();
    assert!(withdrawn.status.success(), "{withdrawn:?}");
    let writer = accounts.connect(&accounts.writer).await;
    for statement in [
        OWNERS_TRIGGER,
        "DELETE FROM usage_block",
        "DELETE FROM usage_load",
        "DELETE FROM usage_month",
        "DELETE FROM asset",
        "DELETE FROM price",
        "DELETE FROM uncharged_meter",
        "DELETE FROM tenant",
        "UPDATE usage_block SET coefficients = NULL",
        "UPDATE usage_load SET published_at = now()",
        "UPDATE usage_load SET totals = '{}'",
        "UPDATE usage_month SET totals = '{}'",
        "UPDATE asset SET asset_name = ''",
        "UPDATE price_tier SET unit_price = 0",
        "UPDATE price SET currency = 'EUR'",
        "UPDATE uncharged_meter SET applied_at = now()",
        "UPDATE publication_clock SET last_published_at = '2099-01-01'",
        "UPDATE usage_import SET imported_by = 'nobody'",
        "TRUNCATE usage_block",
        "DROP TABLE usage_block",
        "CREATE TABLE mine ()",
        "INSERT INTO refinery_schema_history VALUES (99, '', '', '')",
    ] {
        let error = writer.batch_execute(statement).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}");
    }
    // What it may take back is what nobody has published.
    let counts = "WITH records AS MATERIALIZED (SELECT count(*) AS records FROM usage_record)
        SELECT records, (SELECT count(*) FROM usage_load) FROM records";
    let before = writer.query_one(counts, &[]).await.unwrap();
    writer
        .batch_execute(
            "INSERT INTO unpublished_import
             SELECT 7, now(), array_agg(tenant_key), array_agg(usage_month), array_agg(load_id) FROM usage_load;
             SELECT discard_unpublished_import(7)",
        )
        .await
        .unwrap();
    let after = writer.query_one(counts, &[]).await.unwrap();
    // Two days, a restatement, and what withdrew it.
    assert_eq!((after.get::<_, i64>(0), after.get::<_, i64>(1)), (3, 4));
    assert_eq!(before.get::<_, i64>(0), 3);
}

#[tokio::test]
async fn a_server_reads_by_one_account_and_imports_by_another() {
    let accounts = Accounts::new("serve").await;
    let open = || AuthConfig { insecure_no_auth: true, ..AuthConfig::default() };
    let reader = StoreConfig::new(accounts.url(&accounts.reader));
    let channel = |server: &Server| {
        let endpoint = Channel::from_shared(server.url()).unwrap();
        async move { endpoint.connect().await }
    };
    let import_usage = |channel: Channel| async move {
        use secure_connect_reports::contract::proto::usage_import_service_client::UsageImportServiceClient;
        let record = crate::scope::record(crate::support::builder::ORG, crate::support::builder::TENANT);
        let message =
            secure_connect_reports::contract::proto::ImportUsageRequest { records: vec![record], ..Default::default() };
        UsageImportServiceClient::new(channel).import_usage(tokio_stream::iter([message])).await
    };
    let server = Server::start(ServerConfig::new(reader.clone(), open()));
    let status = import_usage(channel(&server).await.unwrap()).await.unwrap_err();
    assert_eq!(reason(&status), (Code::FailedPrecondition, "DATABASE_RIGHT_MISSING".to_owned()));
    assert!(!status.message().contains("permission"), "{status}");
    drop(server);
    let import_store = Some(StoreConfig::new(accounts.url(&accounts.writer)));
    let server = Server::start(ServerConfig { import_store, ..ServerConfig::new(reader, open()) });
    let report = import_usage(channel(&server).await.unwrap()).await.unwrap().into_inner();
    assert_eq!((report.record_count, report.loads.len()), (1, 1));
}

#[tokio::test]
async fn migrate_gives_the_rights_and_takes_those_that_are_no_longer_meant() {
    let database = Database::empty();
    let migrate = |grants: &str| {
        let output =
            program().args(["migrate", "--grant-to", grants]).env("DATABASE_URL", &database.url).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let (ok, text, error) = migrate("reader=m_one,writer=m_two");
    assert!(ok, "{error}");
    assert!(
        text.contains(
            "m_one may read, but not change anything\nm_two may read, import usage, apply catalogs and close months\n"
        ),
        "{text}"
    );
    assert!(text.contains("m_two is new and cannot log in"), "{text}");
    let sql = database.sql().await;
    let may = |role: &'static str| {
        let sql = &sql;
        async move {
            let query = "SELECT has_table_privilege($1, 'usage_load', 'INSERT'),
                has_function_privilege($1, 'ensure_usage_month(date)', 'EXECUTE'),
                has_sequence_privilege($1, 'load_id_seq', 'USAGE'), rolcanlogin FROM pg_roles WHERE rolname = $1";
            let row = sql.query_one(query, &[&role]).await.unwrap();
            [0, 1, 2, 3].map(|column| row.get::<_, bool>(column))
        }
    };
    assert_eq!(may("m_one").await, [false; 4]);
    assert_eq!(may("m_two").await, [true, true, true, false]);
    sql.batch_execute("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC").await.unwrap();
    for role in ["m_one", "m_two"] {
        let reads = "SELECT has_function_privilege($1, 'loads_in_force(bigint, date, date, timestamptz)', 'EXECUTE')";
        assert!(sql.query_one(reads, &[&role]).await.unwrap().get::<_, bool>(0), "{role}");
    }
    let (ok, _, error) = migrate("writer=m_one,reader=m_two");
    assert!(ok, "{error}");
    assert_eq!(may("m_one").await, [true, true, true, false]);
    assert_eq!(may("m_two").await, [false; 4]);
    let (ok, _, error) = migrate("owner=m_one");
    assert!(!ok && error.contains("reader=ROLE or writer=ROLE"), "{error}");

    // Who does not own the tables can give nothing away.
    sql.batch_execute("ALTER ROLE m_one LOGIN").await.unwrap();
    let url = database.url.replace("user=postgres", "user=m_one");
    let error = store::grant(&url, &["reader=m_two".parse().unwrap()]).await.unwrap_err();
    assert!(error.to_string().contains("owner of the tables"), "{error}");
    let error = store::grant(&database.url, &["reader=postgres".parse().unwrap()]).await.unwrap_err();
    assert!(error.to_string().contains("postgres owns the tables"), "{error}");
    sql.batch_execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC; REVOKE USAGE ON SCHEMA public FROM m_two")
        .await
        .unwrap();
    sql.batch_execute("CREATE ROLE m_owner LOGIN; ALTER TABLE usage_block OWNER TO m_owner").await.unwrap();
    let error = store::grant(&url, &["reader=m_three".parse().unwrap()]).await.unwrap_err();
    assert!(error.to_string().contains("CREATE ROLE m_three"), "{error}");
}

/// Large objects are the superuser's to keep from everyone.
#[tokio::test]
async fn what_an_owner_may_not_take_from_everyone_is_said() {
    let database = Database::empty();
    let sql = database.sql().await;
    let name: String = sql.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0);
    let owner = format!(
        "CREATE ROLE left_owner LOGIN CREATEROLE; ALTER DATABASE {name} OWNER TO left_owner;
         GRANT ALL ON SCHEMA public TO left_owner"
    );
    sql.batch_execute(&owner).await.unwrap();
    let url = database.url.replace("user=postgres", "user=left_owner");
    let mut migrate = program();
    migrate.args(["migrate", "--grant-to", "reader=left_reader"]).env("DATABASE_URL", url);
    let output = migrate.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let left = "left_reader may still create large objects, as everyone may: have an administrator run REVOKE EXECUTE ON FUNCTION \
        lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC\n";
    assert!(text.contains(left), "{text}");
    assert!(!text.contains("temporary"), "{text}");
    let temporary = "SELECT has_database_privilege('left_reader', current_database(), 'TEMPORARY')";
    assert!(!sql.query_one(temporary, &[]).await.unwrap().get::<_, bool>(0));
}
