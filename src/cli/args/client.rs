//! Which server client commands ask, and as whom.

use std::path::PathBuf;

use clap::{Args as ClapArgs, builder::FalseyValueParser};
use secrecy::{ExposeSecret as _, SecretString};

use crate::client::ClientConfig;

#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Server")]
pub(in crate::cli) struct ServerArgs {
    /// The server's URL: http:// on this machine, https:// elsewhere.
    #[arg(long, env = "SCR_SERVER", default_value = "http://127.0.0.1:50051", value_name = "URL")]
    server: String,
    /// A bearer token. Other users of this machine can see command lines: SCR_TOKEN and --token-file keep it from them.
    #[arg(long, env = "SCR_TOKEN", hide_env_values = true)]
    token: Option<SecretString>,
    /// A file with the token.
    #[arg(long, env = "SCR_TOKEN_FILE", value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// The authorities that may have signed the server's certificate, PEM. Unset: those of this machine.
    #[arg(long, env = "SCR_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A client certificate, PEM, for servers that know callers by it.
    #[arg(long, env = "SCR_CLIENT_CERT", value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, env = "SCR_CLIENT_KEY", value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// Send the token over http:// to another machine, too.
    #[arg(long, env = "SCR_INSECURE_PLAINTEXT", value_parser = FalseyValueParser::new())]
    insecure_plaintext: bool,
}

// === impl ServerArgs ===

impl ServerArgs {
    pub(in crate::cli) fn config(&self) -> Result<ClientConfig, String> {
        let token = match &self.token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
                Some(SecretString::from(text.trim().to_owned()))
            }
            None => self.token.clone(),
        };
        Ok(ClientConfig {
            server: self.server.clone(),
            token: token.filter(|token| !token.expose_secret().is_empty()),
            authorities: self.ca_file.clone(),
            identity: self.client_cert.clone().zip(self.client_key.clone()),
            insecure_plaintext: self.insecure_plaintext,
        })
    }

    pub(in crate::cli) fn url(&self) -> &str {
        &self.server
    }
}
