//! Rights in the database, by what an account is for. The owner of the tables migrates; nobody else changes a load.

use std::{fmt::Write as _, str::FromStr, time::Duration};

use tokio_postgres::error::SqlState;

use super::public::revoke_public_rights;
use crate::{
    database::{Scripts as _, Statements as _, connect},
    store::StoreError,
};

/// What an account is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Serves reports. It can change nothing.
    Reader,
    /// Imports usage and applies catalogs. It adds rows; those of loads that are there it can neither change nor delete.
    Writer,
}

/// An account, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub access: Access,
    /// The role's name in the database.
    pub role: String,
}

/// What came with grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// Roles that were missing and were created, without a login.
    pub new: Vec<String>,
    /// What a role may still do because everyone may: the role, what that is, and the statement that an administrator has to run.
    pub left: Vec<(String, &'static str, String)>,
}

/// A grant did not come to be; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The account may not create roles.
    #[error(
        "there is no role {role}, and this account may not create it: have an administrator run CREATE ROLE {role} first"
    )]
    MayNotCreate {
        /// The role that is missing, quoted.
        role: String,
    },
    /// The account does not own the tables.
    #[error("rights are given by the owner of the tables, which is the account that migrates: {0}")]
    NotOwner(String),
    /// It is one or the other.
    #[error("{role} is named twice; a writer may read, too")]
    Twice { role: String },
    /// The owner can do everything, and needs to.
    #[error("{role} owns the tables: it migrates, and its rights stay as they are. Name another role")]
    Owner { role: String },
    /// Rights on tables are worth nothing without the schema that they are in.
    #[error(
        "{role} may not use the schema {schema}, and this account may not allow it: have its owner run GRANT USAGE ON \
             SCHEMA {schema} TO {role} first"
    )]
    NoSchema {
        /// The role, quoted.
        role: String,
        /// The schema, quoted.
        schema: String,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Everything that this program reads.
pub(in crate::store) const TABLES: &str = "organization, tenant, tenant_name_suffix, organization_name_suffix, meter, price, price_tier, \
    uncharged_meter, asset, usage_import, usage_load, usage_total, usage_block, usage_month, usage_month_total, \
    unpublished_import, statement, statement_line, statement_report, statement_key, publication_clock, refinery_schema_history, usage_record, detailed_usage_report";
/// What is written once, and what declarations change.
const APPENDED: &str = "price, price_tier, uncharged_meter, asset, usage_import, usage_load, usage_block, usage_month, \
    statement, statement_line, statement_report, statement_key";
const DECLARED: &str = "organization, tenant, meter";
/// What an import notes for others, and strikes out when it is done.
const NOTED: &str = "unpublished_import";
const FUNCTIONS: &str = "ensure_usage_month, discard_unpublished_import, tick_publication_clock";
/// What readers call. Everyone may, where the database does not say otherwise.
const READ_FUNCTIONS: &str = "loads_in_force, packed_number, packed_wide_number";
const SEQUENCES: &str = "tenant_key_seq, meter_key_seq, price_id_seq, usage_import_id_seq, asset_key_seq, \
    load_id_seq, statement_id_seq, unpublished_import_id_seq";

impl FromStr for Grant {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "not of the form reader=ROLE or writer=ROLE";
        let (access, role) = text.split_once('=').ok_or(FORM)?;
        let access = match access {
            "reader" => Access::Reader,
            "writer" => Access::Writer,
            _ => return Err(FORM),
        };
        if role.is_empty() || role.contains('\0') {
            return Err(FORM);
        }
        Ok(Self { access, role: role.to_owned() })
    }
}

/// Gives roles exactly the rights of what they are for, and takes from everyone what they must not do. A role that is missing
/// is created, without a login.
pub async fn grant(database_url: &str, grants: &[Grant]) -> Result<Granted, GrantError> {
    for (index, grant) in grants.iter().enumerate() {
        if grants[..index].iter().any(|other| other.role == grant.role) {
            return Err(GrantError::Twice { role: grant.role.clone() });
        }
    }
    let mut granted = Granted::default();
    let mut client = connect(database_url, Duration::from_secs(10)).await.map_err(StoreError::from)?;
    let transaction = client.transaction().await.map_err(StoreError::from)?;
    for grant in grants {
        let row = transaction
            .fetch_one(
                "-- grant: role
                SELECT quote_ident($1) AS name, EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS present,
                       quote_ident(current_schema()) AS schema,
                       EXISTS (SELECT FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
                               WHERE c.oid = 'usage_block'::regclass AND r.rolname = $1) AS owner",
                &[&grant.role],
            )
            .await
            .map_err(StoreError::from)?;
        let column = |name: &str| row.try_get::<_, String>(name).map_err(StoreError::from);
        let (role, schema) = (column("name")?, column("schema")?);
        if row.try_get::<_, bool>("owner").map_err(StoreError::from)? {
            return Err(GrantError::Owner { role });
        }
        if !row.try_get::<_, bool>("present").map_err(StoreError::from)? {
            let created = transaction.run_script(&format!("-- grant: create role\nCREATE ROLE {role} NOLOGIN")).await;
            created.map_err(|error| match error.code() {
                Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                    GrantError::MayNotCreate { role: role.clone() }
                }
                _ => StoreError::from(error).into(),
            })?;
            granted.new.push(role.clone());
        }
        transaction.run_script(&statements(grant.access, &role, &schema)).await.map_err(|error| {
            match error.code() {
                Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                    GrantError::NotOwner(error.as_db_error().map(ToString::to_string).unwrap_or_default())
                }
                _ => StoreError::from(error).into(),
            }
        })?;
        // Without the right to give it, GRANT warns and goes on.
        let usable = "-- grant: schema\nSELECT has_schema_privilege($1, current_schema(), 'USAGE') AS usable";
        let row = transaction.fetch_one(usable, &[&grant.role]).await.map_err(StoreError::from)?;
        if !row.try_get::<_, bool>("usable").map_err(StoreError::from)? {
            return Err(GrantError::NoSchema { role, schema });
        }
        let left = revoke_public_rights(&transaction, &grant.role).await.map_err(StoreError::from)?;
        granted.left.extend(left.into_iter().map(|(what, revoke)| (role.clone(), what, revoke)));
    }
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(granted)
}

fn statements(access: Access, role: &str, schema: &str) -> String {
    let mut sql = format!(
        "-- grant: rights
        REVOKE ALL ON {TABLES} FROM {role};
        REVOKE ALL ON SEQUENCE {SEQUENCES} FROM {role};
        REVOKE ALL ON FUNCTION {FUNCTIONS}, {READ_FUNCTIONS} FROM {role};
        GRANT USAGE ON SCHEMA {schema} TO {role};
        GRANT SELECT ON {TABLES} TO {role};
        GRANT EXECUTE ON FUNCTION {READ_FUNCTIONS} TO {role};"
    );
    if access == Access::Writer {
        let written = write!(
            sql,
            "GRANT INSERT ON {APPENDED}, {DECLARED} TO {role};
            GRANT UPDATE ON {DECLARED} TO {role};
            GRANT INSERT, UPDATE, DELETE ON {NOTED} TO {role};
            GRANT UPDATE (superseded_at) ON price, uncharged_meter TO {role};
            GRANT USAGE ON SEQUENCE {SEQUENCES} TO {role};
            GRANT EXECUTE ON FUNCTION {FUNCTIONS} TO {role};"
        );
        // Writing to a String cannot fail.
        debug_assert!(written.is_ok());
    }
    sql
}
