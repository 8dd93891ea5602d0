//! What PostgreSQL lets every account do in a database, and one that may change nothing must not: files, in effect.

use tokio_postgres::{Transaction, error::SqlState};

use crate::database::{Scripts as _, Statements as _};

/// Something that everyone may do unless it is revoked.
struct PublicRight {
    /// What a role may do by it.
    what: &'static str,
    /// Whether the role `$1` may, in SQL.
    held: &'static str,
    /// Ends it. `{schema}` and `{database}` stand for those of this service.
    revoke: &'static str,
}

const PUBLIC_RIGHTS: [PublicRight; 3] = [
    PublicRight {
        what: "create temporary tables",
        held: "has_database_privilege($1, current_database(), 'TEMPORARY')",
        revoke: "REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC",
    },
    PublicRight {
        what: "create tables",
        held: "has_schema_privilege($1, current_schema(), 'CREATE')",
        revoke: "REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC",
    },
    PublicRight {
        what: "create large objects",
        held: "has_function_privilege($1, 'lo_creat(integer)', 'EXECUTE') OR \
               has_function_privilege($1, 'lo_create(oid)', 'EXECUTE') OR \
               has_function_privilege($1, 'lo_from_bytea(oid, bytea)', 'EXECUTE')",
        revoke: "REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC",
    },
];

/// Revokes what a role may do because everyone may, as far as this account may revoke it. Returns what is left, with the
/// statement that an administrator has to run.
pub(super) async fn revoke_public_rights(
    transaction: &Transaction<'_>,
    role: &str,
) -> Result<Vec<(&'static str, String)>, tokio_postgres::Error> {
    let names = "-- grant: names\n
        SELECT quote_ident(current_schema()) AS schema, quote_ident(current_database()) AS database";
    let row = transaction.fetch_one(names, &[]).await?;
    let (schema, database): (&str, &str) = (row.try_get("schema")?, row.try_get("database")?);
    let mut left = Vec::new();
    for right in &PUBLIC_RIGHTS {
        let held = format!("-- grant: public right\nSELECT {} AS held", right.held);
        let is_held = async || transaction.fetch_one(&held, &[&role]).await?.try_get::<_, bool>("held");
        if !is_held().await? {
            continue;
        }
        let revoke = right.revoke.replace("{schema}", schema).replace("{database}", database);
        // Without the right to revoke, some statements warn, and others fail.
        let script = format!("/* grant: revoke */ SAVEPOINT revoking; {revoke}; RELEASE SAVEPOINT revoking");
        match transaction.run_script(&script).await {
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                transaction.run_script("/* grant: keep */ ROLLBACK TO SAVEPOINT revoking").await?;
            }
            revoked => revoked?,
        }
        if is_held().await? {
            left.push((right.what, revoke));
        }
    }
    Ok(left)
}
