//! `statement`.

mod document;
mod verify;

use serde_json::json;

use super::{
    CommandError,
    args::{Format, StatementCommand, StatementGetArgs, StatementListArgs},
    output::{Rows, month, note, print_json, print_json_text, text_or_null, time},
    tenants::connect,
};
use crate::{
    client::WholeStatement,
    contract::proto::{Statement, StatementKey},
    statement::PublicKey,
};
use document::Document;

pub(super) async fn run(command: StatementCommand) -> Result<(), CommandError> {
    match command {
        StatementCommand::List(args) => list(args).await,
        StatementCommand::Get(args) => get(args).await,
        StatementCommand::Keys(args) => {
            let keys = connect(&args.server).await?.statement_keys().await?;
            print_keys(&keys)
        }
        StatementCommand::Verify(args) => verify::run(&args),
    }
}

async fn list(args: StatementListArgs) -> Result<(), CommandError> {
    let mut client = connect(&args.server).await?;
    let organization = client.find_organization(&args.organization).await?;
    let statements = client.statements(organization).await?;
    match args.format {
        Format::Table => {
            let count = statements.len();
            let headers = vec!["NUMBER", "MONTH", "CLOSED AT", "LINES", "ADJUSTMENTS", "TOTAL", "CURRENCY", "SIGNED"];
            let rows = statements.into_iter().map(|statement| {
                let signed = if statement.signature.is_empty() { "no" } else { "yes" };
                vec![
                    statement.number,
                    month(statement.billing_month),
                    time(statement.closed_at),
                    statement.line_total,
                    statement.adjustment_total,
                    statement.total,
                    statement.currency,
                    signed.to_owned(),
                ]
            });
            Rows { headers, numbers: vec![3, 4, 5], rows: rows.collect() }.print_table()?;
            note(&format!("{count} statements"));
            Ok(())
        }
        Format::Csv => {
            let headers = vec![
                "number",
                "organizationId",
                "organizationName",
                "billingMonth",
                "currency",
                "lineTotal",
                "adjustmentTotal",
                "total",
                "lineCount",
                "adjustmentCount",
                "horizon",
                "closedAt",
                "closedBy",
                "digest",
                "keyId",
            ];
            let rows = statements.into_iter().map(|statement| {
                vec![
                    statement.number,
                    statement.organization_id,
                    statement.organization_name,
                    month(statement.billing_month),
                    statement.currency,
                    statement.line_total,
                    statement.adjustment_total,
                    statement.total,
                    statement.line_count.to_string(),
                    statement.adjustment_count.to_string(),
                    time(statement.horizon),
                    time(statement.closed_at),
                    statement.closed_by,
                    statement.digest,
                    statement.key_id,
                ]
            });
            Ok(Rows { headers, numbers: Vec::new(), rows: rows.collect() }.print_csv()?)
        }
        Format::Json => Ok(print_json(&statements.into_iter().map(to_json).collect())?),
    }
}

fn to_json(statement: Statement) -> serde_json::Value {
    json!({
        "number": statement.number,
        "organizationId": statement.organization_id,
        "organizationName": statement.organization_name,
        "billingMonth": month(statement.billing_month),
        "currency": statement.currency,
        "lineTotal": statement.line_total,
        "adjustmentTotal": statement.adjustment_total,
        "total": statement.total,
        "lineCount": statement.line_count,
        "adjustmentCount": statement.adjustment_count,
        "horizon": time(statement.horizon),
        "closedAt": time(statement.closed_at),
        "closedBy": statement.closed_by,
        "digest": statement.digest,
        "keyId": text_or_null(statement.key_id),
    })
}

async fn get(args: StatementGetArgs) -> Result<(), CommandError> {
    let mut client = connect(&args.server).await?;
    let organization = client.find_organization(&args.organization).await?;
    print_document(client.statement(organization, args.month).await?)
}

/// Prints a statement as a document, if it agrees with its digests.
pub(super) fn print_document(whole: WholeStatement) -> Result<(), CommandError> {
    let document = Document::from_messages(whole)?;
    document.check_digests().map_err(|error| format!("the server's statement is wrong: {error}; do not use it"))?;
    // What is signed is the canonical form, whatever the escapes of the file.
    Ok(print_json_text(&document.to_text()?)?)
}

fn print_keys(keys: &[StatementKey]) -> Result<(), CommandError> {
    let mut set = Vec::new();
    for key in keys {
        let public: [u8; 32] =
            key.public_key.as_slice().try_into().map_err(|_| format!("key {} is not of 32 bytes", key.key_id))?;
        let public = PublicKey(public);
        if public.id() != key.key_id {
            return Err(format!("key {:?} is not named by its thumbprint", key.key_id).into());
        }
        set.push(
            json!({"kty": "OKP", "crv": "Ed25519", "kid": key.key_id, "x": public.x(), "use": "sig", "alg": "EdDSA"}),
        );
    }
    Ok(print_json(&json!({ "keys": set }))?)
}
