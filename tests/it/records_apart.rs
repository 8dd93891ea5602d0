//! Records and assets may lie on another machine than what is published: so a statement about them names the tenant, by which that
//! machine is found, and reads nothing that lies elsewhere.

use std::{collections::BTreeSet, path::Path};

use crate::support::{Database, sources};

/// What lies with the records. The view is of records alone.
const APART: [&str; 3] = ["asset", "usage_block", "usage_record"];
/// What a table's name stands behind.
const BEFORE_TABLES: [&str; 5] = ["FROM", "JOIN", "INTO", "UPDATE", "COPY"];
const BEGINNINGS: [&str; 9] = ["--", "/*", "COPY", "WITH", "SELECT", "INSERT", "UPDATE", "DELETE", "SET"];
/// What ends a list of tables.
const BEHIND_TABLES: [&str; 6] = ["WHERE", "GROUP", "ORDER", "LIMIT", "UNION", "SET"];

/// The words of a statement without its comments, and its brackets and commas.
fn words(statement: &str) -> Vec<String> {
    let mut text = String::new();
    for line in statement.replace("\\n", "\n").lines() {
        text += line.split("--").next().unwrap_or_default();
        text.push(' ');
    }
    while let Some((start, end)) = text.find("/*").zip(text.find("*/")) {
        text.replace_range(start..end + 2, " ");
    }
    for mark in ["(", ")", ",", ";"] {
        text = text.replace(mark, &format!(" {mark} "));
    }
    text.split_whitespace().map(str::to_owned).collect()
}

/// Which of these tables and functions it reads or writes.
fn used<'a>(words: &[String], relations: &'a BTreeSet<String>, functions: &'a BTreeSet<String>) -> BTreeSet<&'a str> {
    let mut used = BTreeSet::new();
    // For each bracket that is open, whether a comma in it has a table behind it.
    let mut lists = vec![false];
    for (word, next) in words.iter().zip(words.iter().skip(1)) {
        let upper = word.to_uppercase();
        match word.as_str() {
            "(" => lists.push(false),
            ")" => drop(lists.pop()),
            _ => {}
        }
        let Some(in_list) = lists.last_mut() else { panic!("brackets do not match: {words:?}") };
        if BEHIND_TABLES.contains(&upper.as_str()) {
            *in_list = false;
        }
        let is_before = BEFORE_TABLES.contains(&upper.as_str());
        *in_list |= upper == "FROM";
        if is_before || word == "," && *in_list {
            used.extend(relations.get(next).map(String::as_str));
        }
        if next == "(" {
            used.extend(functions.get(word).map(String::as_str));
        }
    }
    used
}

/// What is wrong with a statement, if it is about records.
fn fault(statement: &str, known: (&BTreeSet<String>, &BTreeSet<String>), names_tenant: bool) -> Option<String> {
    let words = words(statement);
    let used = used(&words, known.0, known.1);
    let (apart, others): (Vec<&str>, Vec<&str>) = used.into_iter().partition(|name| APART.contains(name));
    if apart.is_empty() {
        return None;
    }
    if !others.is_empty() {
        return Some(format!("{apart:?} with {others:?}: {statement}"));
    }
    // Compared with something, or the first of the columns that are written.
    let is_named = names_tenant || statement.contains("tenant_key = ") || statement.contains("(tenant_key,");
    (!is_named).then(|| format!("{apart:?} of no tenant: {statement}"))
}

/// The texts between quotes, as far as they may be SQL.
fn literals(source: &str) -> impl Iterator<Item = &str> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let begins = |text: &&str| BEGINNINGS.iter().any(|beginning| text.trim_start().starts_with(beginning));
    source.split('"').filter(begins)
}

async fn names(sql: &tokio_postgres::Client, query: &str) -> BTreeSet<String> {
    sql.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn statements_about_records_can_run_where_these_are() {
    let database = Database::migrated();
    let sql = database.sql().await;
    let relations =
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')";
    let relations = names(&sql, relations).await;
    let functions = "SELECT proname::text FROM pg_proc p WHERE pronamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')";
    let functions = names(&sql, functions).await;
    let known = (&relations, &functions);

    let (mut faults, mut about_records) = (Vec::new(), 0);
    for (path, text) in sources(Path::new("src")) {
        for literal in literals(&text) {
            // The columns that are copied in stand in a list of their own.
            let has_list =
                literal.contains("FROM STDIN") && text.contains("LOCATION_COLUMNS: [&str; 4] = [\"tenant_key\"");
            faults.extend(fault(literal, known, has_list).map(|fault| format!("{path}: {fault}")));
            about_records +=
                usize::from(APART.iter().any(|table| used(&words(literal), &relations, &functions).contains(table)));
        }
    }
    assert_eq!(faults, [""; 0]);
    assert!(about_records >= 10, "{about_records}");

    // Functions that work on records plan each of their statements for itself.
    let bodies =
        "SELECT p.proname::text, l.lanname::text, p.prosrc FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        WHERE p.pronamespace = 'public'::regnamespace AND l.lanname IN ('sql', 'plpgsql')";
    for row in sql.query(bodies, &[]).await.unwrap() {
        let (name, language, body): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        // A loop's query is a statement, too.
        let body = body.replace("LOOP", ";");
        let statements = body.split(';');
        let about = statements.clone().filter(|statement| {
            let used = used(&words(statement), &relations, &functions);
            APART.iter().any(|table| used.contains(table))
        });
        if about.count() == 0 {
            continue;
        }
        assert_eq!(language, "plpgsql", "{name}");
        let faults: Vec<String> = statements.filter_map(|statement| fault(statement, known, false)).collect();
        assert_eq!(faults, [""; 0], "{name}");
    }
}

/// The rule sees what breaks it.
#[test]
fn what_breaks_the_rule_is_seen() {
    let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<String>>();
    let (relations, functions) = (set(&["asset", "usage_block", "usage_load", "tenant"]), set(&["loads_in_force"]));
    let fault = |statement| fault(statement, (&relations, &functions), false);
    for sound in [
        "-- a\n SELECT asset_key FROM asset WHERE tenant_key = $1",
        "-- a\n SELECT * FROM usage_load JOIN tenant USING (tenant_key)",
        "COPY (/* FROM tenant */ SELECT load_id FROM usage_block WHERE tenant_key = {}) TO STDOUT",
        "-- a\n SELECT FROM unnest($1) w CROSS JOIN LATERAL (SELECT * FROM asset WHERE tenant_key = w.t) a",
    ] {
        assert_eq!(fault(sound), None, "{sound}");
    }
    for broken in [
        "-- a\n SELECT tenant_key, asset_key FROM asset WHERE asset_key = $1",
        "-- a\n SELECT FROM asset a, tenant t WHERE a.tenant_key = t.tenant_key",
        "-- a\n DELETE FROM usage_block WHERE tenant_key = $1 AND NOT EXISTS (SELECT FROM usage_load)",
        "-- a\n SELECT FROM loads_in_force(1, $2, $3, $4) l JOIN usage_block USING (tenant_key, load_id)",
    ] {
        assert!(fault(broken).is_some(), "{broken}");
    }
}

/// Citus passes the text on that a statement stands in, and its machines take one statement at a time. What a block runs stands for
/// itself. Options of columns it does not know.
#[test]
fn migrations_change_tables_that_may_lie_apart_within_blocks() {
    let mut faults = Vec::new();
    for (path, text) in sources(Path::new("migrations")) {
        let version = path.rsplit_once("/V").and_then(|(_, name)| name.split_once("__")).map(|(version, _)| version);
        // Those before ran before anything could lie apart.
        if version.and_then(|version| version.parse::<u32>().ok()).expect("a version") <= 24 {
            continue;
        }
        // What stands between `$$` and `$$` is a block, or a function's body.
        let outside: String = text.split("$$").step_by(2).collect();
        faults.extend(changes_of_tables_apart(&outside).map(|statement| format!("{path}: {statement}")));
    }
    assert_eq!(faults, [""; 0], "put them into DO $$ BEGIN ... END $$");

    let outside = "ALTER TABLE asset ADD COLUMN a int; CREATE INDEX i ON usage_block (a); COMMENT ON TABLE asset IS 'x'; DROP INDEX i";
    let found: Vec<String> = changes_of_tables_apart(outside).collect();
    assert_eq!(found, ["ALTER TABLE asset ADD COLUMN a int", "CREATE INDEX i ON usage_block ( a )", "DROP INDEX i"]);
}

fn changes_of_tables_apart(script: &str) -> impl Iterator<Item = String> {
    script.split(';').map(words).filter_map(|words| {
        let begins = |with: &str| words.join(" ").to_uppercase().starts_with(with);
        let is_change = begins("ALTER TABLE") || begins("CREATE INDEX") || begins("CREATE UNIQUE INDEX");
        let is_apart = words.iter().any(|word| APART.contains(&word.as_str()));
        (is_change && is_apart || begins("DROP INDEX")).then(|| words.join(" "))
    })
}
