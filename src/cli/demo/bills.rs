//! The steps about bills that stay.

use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use super::{CONTOSO, Demo, LARGE_MONTH, SAMPLE_MONTH, own_program, quoted, run_command, samples, title};
use crate::{
    cli::{CommandError, output::say},
    statement::StatementKey,
};

// === impl Demo ===

impl Demo {
    /// A month is closed, a day comes late, and the customer checks the statement.
    pub(super) async fn close_steps(&self, output_dir: &Path, staff: &str) -> Result<(), CommandError> {
        let path = |name: &str| output_dir.join(name).display().to_string();
        let key = path("statement-key.pem");
        write_key(&key).map_err(|error| format!("{key}: {error}"))?;

        title("Closing February: its bill becomes a statement, which is signed and never changes")?;
        let close = ["close", "--organization", CONTOSO, "--month", SAMPLE_MONTH, "--statement-key", &key];
        self.database_command(&close).await?;

        title("A day of February comes late: it is an adjustment on the bill of March")?;
        self.database_command(&["import", &path(samples::LATE_DAY)]).await?;
        let costs = ["costs", "--organization", CONTOSO, "--month", SAMPLE_MONTH, "--to", LARGE_MONTH];
        self.client_command(&costs, staff).await?;
        self.client_command(&["loads", "--tenant", "contoso-hq", "--month", SAMPLE_MONTH], staff).await?;

        title("Why did the bill of February change? The statement against what its usage would cost now")?;
        let months = ["--base", SAMPLE_MONTH, "--target", SAMPLE_MONTH, "--target-current", "--top", "3"];
        self.client_command(&[&["costs", "compare", "--organization", CONTOSO][..], &months].concat(), staff).await?;

        title("What does each asset cost? The shares of a line add up to it")?;
        let assets = ["--by", "asset", "--meter", "user_hours_essentials", "--tenant", "contoso-hq", "--current"];
        self.client_command(
            &[&["costs", "--organization", CONTOSO, "--month", SAMPLE_MONTH][..], &assets].concat(),
            staff,
        )
        .await?;

        title("The customer checks the statement, without the server, from its own files")?;
        let (statement, keys) = (path("statement-2022-02.json"), path("statement-keys.json"));
        let get = ["statement", "get", "--organization", CONTOSO, "--month", SAMPLE_MONTH];
        self.client_command_to(&statement, &get, staff).await?;
        self.client_command_to(&keys, &["statement", "keys"], staff).await?;
        let number = statement_number(&statement)?;
        let mut verify = vec!["statement", "verify", &statement];
        let details = ["contoso-hq", "contoso-lab"].map(|tenant| (tenant, path(&format!("{tenant}_{number}.csv"))));
        for (tenant, file) in &details {
            let usage =
                ["usage", "--tenant", tenant, "--month", SAMPLE_MONTH, "--statement", &number, "-o", file, "--force"];
            self.client_command(&usage, staff).await?;
            verify.push(file);
        }
        verify.extend(["--key", &keys]);
        run_command(&verify, &[]).await
    }

    /// The same, into a file.
    async fn client_command_to(&self, file: &str, command: &[&str], token: &str) -> Result<(), CommandError> {
        say!("$ secure-connect-reports {} > {}", quoted(command), quoted(&[file]))?;
        let mut process = own_program()?;
        process.args(command).env("SCR_SERVER", &self.server).env("SCR_TOKEN", token);
        let output = process.stderr(std::process::Stdio::inherit()).output().await?;
        if !output.status.success() {
            return Err(format!("the command above failed ({})", output.status).into());
        }
        Ok(std::fs::write(file, &output.stdout).map_err(|error| format!("{file}: {error}"))?)
    }
}

/// Makes a key that only this account can read.
fn write_key(path: &str) -> std::io::Result<()> {
    let _ = std::fs::remove_file(path);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(StatementKey::new_pem()?.as_bytes())
}

/// The number of a statement in a file.
fn statement_number(file: &str) -> Result<String, CommandError> {
    let document: serde_json::Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let number = document["statement"]["number"].as_str();
    Ok(number.ok_or_else(|| format!("{file} has no number"))?.to_owned())
}
