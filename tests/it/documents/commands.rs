//! The commands of the pages, run in a shell as a reader would run them, and held against the outputs that are shown.
//!
//! A page is run in its order, in a new folder with `examples/`, with the program and grpcurl in PATH. What a block exports
//! is there in later blocks. `serve` goes on beside them. No test takes the documented port: servers choose one, and it
//! stands in the place of 50051 from then on.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::blocks::{Commands, Marker, agrees, commands, project, read};
use crate::support::{Database, program, serving::Serving};

/// The pages with commands that are run.
pub(super) const RUN: [&str; 10] = [
    "README.md",
    "docs/api.md",
    "docs/columns.md",
    "docs/concepts.md",
    "docs/database.md",
    "docs/finance.md",
    "docs/focus.md",
    "docs/issuers.md",
    "docs/operations.md",
    "docs/security.md",
];

const CLIENT_COMMANDS: [&str; 9] = [
    "grpcurl ",
    "flight.connect",
    " tenants",
    " tenant ",
    " usage ",
    " costs ",
    " loads ",
    " statement ",
    " healthcheck",
];
const KEY: &str = "demo-output/development-key";
const CORRECTION: &str = "examples/usage/corrections/2022-02-02-contoso-hq.csv";

/// What is there before the first command of a page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Before {
    /// Not even a database: the program brings its own.
    Nothing,
    EmptyDatabase,
    Migrated,
    /// What the README's first report has made.
    FirstReport,
    /// What the demo has made of the samples.
    Demo,
}

/// A reader of a page.
struct Reader {
    page: &'static str,
    folder: tempfile::TempDir,
    database: Option<Database>,
    server: Option<Serving>,
    /// The last server that was started.
    port: Option<u16>,
    /// Names that the page uses for things of the reader's, and what they are here.
    mine: Vec<(String, String)>,
}

// === impl Reader ===

impl Reader {
    fn new(page: &'static str, before: Before) -> Self {
        // A private PostgreSQL may run as another account, which must reach the folder.
        let folder = tempfile::Builder::new().prefix("scr docs ").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("bin")).unwrap();
        std::os::unix::fs::symlink(project("examples"), path("examples")).unwrap();
        let name = "secure-connect-reports";
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_secure-connect-reports"), path("bin").join(name)).unwrap();
        let python = format!("#!/bin/sh\nexec '{}' \"$@\"\n", project("target/tools/venv/bin/python").display());
        std::fs::write(path("bin/python3"), python).unwrap();
        std::fs::set_permissions(path("bin/python3"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let database = match before {
            Before::Nothing => None,
            Before::EmptyDatabase => Some(Database::empty()),
            _ => Some(Database::migrated()),
        };
        let mut reader = Self { page, folder, database, server: None, port: None, mine: Vec::new() };
        reader.setup(before);
        reader
    }

    fn setup(&mut self, before: Before) {
        let token =
            format!("secure-connect-reports token --organization '*' --role Reports,UsageImport --key-dir {KEY}");
        let mut script = String::new();
        if before >= Before::FirstReport {
            script.push_str("secure-connect-reports catalog apply examples/catalog.toml\n");
            script.push_str("secure-connect-reports import examples/usage/*.csv\n");
        }
        if before == Before::Demo {
            script.push_str(&format!("secure-connect-reports import {CORRECTION}\n{token}\n"));
        } else if before >= Before::Migrated {
            script.push_str(&format!("export SCR_TOKEN=$({token})\n"));
        }
        let (ok, output) = self.shell(&script);
        assert!(ok, "{output}");
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("exported.sh")
    }

    /// A shell in the folder, with nothing set but what a reader would have set.
    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        let cleaned = program();
        for (name, _) in cleaned.get_envs() {
            command.env_remove(name);
        }
        let mut path = vec![self.folder.path().join("bin"), project("target/tools")];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let database = self.database.iter().map(|database| ("DATABASE_URL", &database.url));
        command
            .args(["-eu", "-c", script])
            .current_dir(self.folder.path())
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("HOME", self.folder.path())
            .env("SCR_DATA_DIR", self.folder.path().join("data"))
            // Issuers of the pages are nobody's: they are not to be looked for outside this machine.
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .envs(database);
        command
    }

    /// What was exported before, the block, and what is exported now.
    fn script(&self, block: &str) -> String {
        let state = format!("'{}'", self.state().display());
        let address = self.port.map(|port| format!("export SCR_SERVER=http://127.0.0.1:{port}\n")).unwrap_or_default();
        let before = if self.state().exists() { format!(". {state}\n") } else { String::new() };
        format!("{before}{address}{block}\nunset SCR_SERVER\nexport -p > {state}\n")
    }

    /// Whether it succeeds, and everything that it prints.
    fn shell(&self, block: &str) -> (bool, String) {
        let output = self.folder.path().join("output.txt");
        let file = std::fs::File::create(&output).unwrap();
        let mut command = self.command(&self.script(block));
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let status = command.status().expect("a shell");
        (status.success(), std::fs::read_to_string(output).unwrap())
    }

    /// The text with what is the reader's own in the place of the page's names.
    fn mine(&self, text: &str) -> String {
        let port = self.port.map_or_else(|| "50051".to_owned(), |port| port.to_string());
        let text = text.replace(":50051", &format!(":{port}"));
        self.mine.iter().fold(text, |text, (theirs, mine)| text.replace(theirs, mine))
    }

    /// And the other way round.
    fn theirs(&self, text: &str) -> String {
        let Some(port) = self.port else { return text.to_owned() };
        text.replace(&format!(":{port}"), ":50051")
    }

    /// Starts a server by a block that ends with `serve`, and waits until it serves.
    fn serve(&mut self, block: &str) {
        let block = block
            .replace("--listen 0.0.0.0:50051 ", "")
            .replace("secure-connect-reports serve", "exec secure-connect-reports serve --listen 127.0.0.1:0");
        self.server = None;
        let script = self.script(&self.mine(&block));
        let serving = Serving::spawn(self.command(&script).stdin(Stdio::null()));
        self.port = serving.url.rsplit(':').next().and_then(|port| port.parse().ok());
        let deadline = Instant::now() + Duration::from_secs(30);
        while !serving.everything().contains("INFO serving") {
            assert!(Instant::now() < deadline, "{}: {}", self.page, serving.everything());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.server = Some(serving);
    }

    fn run(&mut self, commands: &Commands) {
        let Commands { block, output } = commands;
        let place = format!("{}:{}\n{}", self.page, block.line, block.text);
        if matches!(block.marker, Some(Marker::NotRun(_))) {
            return;
        }
        let found = if block.text.contains("secure-connect-reports serve ") {
            self.serve(&block.text);
            self.server.as_ref().unwrap().everything()
        } else {
            if self.server.is_none() && CLIENT_COMMANDS.iter().any(|command| block.text.contains(command)) {
                self.serve(&format!(
                    "secure-connect-reports serve --oidc-issuer https://development.invalid \
                     --audience secure-connect-reports --jwks {KEY}/jwks.json"
                ));
            }
            let mut script = self.mine(&block.text);
            if block.language == "python" {
                script = format!("python3 - <<'END'\n{script}END\n");
            }
            let (ok, found) = self.shell(&script);
            let is_right = ok != (block.marker == Some(Marker::Fails));
            assert!(is_right, "{place}{} and prints\n{found}", if ok { "succeeds" } else { "fails" });
            found
        };
        let Some(output) = output.as_ref().filter(|output| output.marker.is_none()) else { return };
        let found = self.theirs(&found);
        if output.language == "json" {
            let [documented, found] = [&output.text, &found].map(|text| {
                serde_json::from_str::<serde_json::Value>(text).unwrap_or_else(|error| panic!("{place}{error}: {text}"))
            });
            assert_eq!(documented, found, "{place}");
        } else {
            assert!(agrees(&output.text, &found), "{place}is shown with\n{}\nand prints\n{found}", output.text);
        }
    }
}

fn read_and_run(page: &'static str, before: Before) -> Reader {
    run_with(Reader::new(page, before))
}

fn run_with(mut reader: Reader) -> Reader {
    assert!(project("target/tools/grpcurl").exists(), "grpcurl is missing: run `make tools`");
    let commands = commands(&read(reader.page));
    assert!(!commands.is_empty(), "{} has no commands", reader.page);
    for commands in &commands {
        reader.run(commands);
    }
    reader
}

#[test]
fn the_readme_makes_a_first_report() {
    let reader = read_and_run("README.md", Before::Nothing);
    let report = std::fs::read_to_string(reader.folder.path().join("contoso-hq_detailed_usage_2022-02.csv")).unwrap();
    assert!(report.starts_with("organizationId,tenantId,assetName,"), "{report}");
}

#[test]
fn the_concepts_are_as_shown() {
    read_and_run("docs/concepts.md", Before::FirstReport);
}

#[test]
fn finance_gets_its_answers() {
    read_and_run("docs/finance.md", Before::FirstReport);
}

#[test]
fn the_api_answers_as_shown() {
    read_and_run("docs/api.md", Before::Demo);
}

#[test]
fn columns_are_read_as_shown() {
    read_and_run("docs/columns.md", Before::FirstReport);
}

#[test]
fn bills_by_focus_are_as_shown() {
    read_and_run("docs/focus.md", Before::FirstReport);
}

#[test]
fn operations_work_as_shown() {
    read_and_run("docs/operations.md", Before::Migrated);
}

#[test]
fn issuers_are_set_up_as_shown() {
    read_and_run("docs/issuers.md", Before::Migrated);
}

#[test]
fn security_is_set_up_as_shown() {
    read_and_run("docs/security.md", Before::FirstReport);
}

#[test]
fn database_accounts_are_made_as_shown() {
    let mut reader = Reader::new("docs/database.md", Before::EmptyDatabase);
    let url = &reader.database.as_ref().unwrap().url;
    let socket_folder = url.split('\'').nth(1).expect("a host").to_owned();
    reader.mine = vec![
        ("-h db.example".to_owned(), format!("-h {socket_folder}")),
        ("@db.example/reports".to_owned(), format!("@/reports?host={}", socket_folder.replace('/', "%2F"))),
    ];
    let reader = run_with(reader);
    let server = reader.server.as_ref().expect("the page starts a server");
    assert!(Path::new(&socket_folder).exists() && server.everything().contains("INFO serving"));
}
