//! Which server client commands ask, and as whom.

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, builder::FalseyValueParser};
use secrecy::SecretString;

use crate::client::ClientConfig;

#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Server")]
pub(in crate::cli) struct ServerArgs {
    /// The URL of the server: `http://` on this machine, `https://` elsewhere.
    #[arg(long, env = "SCR_SERVER", default_value = "http://127.0.0.1:50051", value_name = "URL")]
    server: String,
    /// The bearer token to send; `healthcheck` sends none. Other users of this machine can see command lines: prefer
    /// `SCR_TOKEN` or `--token-file`.
    #[arg(long, env = "SCR_TOKEN", hide_env_values = true)]
    token: Option<SecretString>,
    /// A file with the token; not together with `--token`.
    #[arg(long, env = "SCR_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The certificate authorities to trust for the server's certificate, PEM [default: those of this machine].
    #[arg(long, env = "SCR_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A client certificate, PEM; requires `--client-key`.
    #[arg(long, env = "SCR_CLIENT_CERT", value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// The private key of the client certificate, PEM, without a password.
    #[arg(long, env = "SCR_CLIENT_KEY", value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// The name that the server's certificate must have [default: the host of the URL].
    #[arg(long, env = "SCR_TLS_SERVER_NAME", value_name = "NAME")]
    tls_server_name: Option<String>,
    /// Send the token over `http://` to other machines, too.
    #[arg(long, env = "SCR_INSECURE_PLAINTEXT_TOKEN", value_parser = FalseyValueParser::new())]
    insecure_plaintext_token: bool,
}

/// Which server, and how long to wait for it.
#[derive(Clone, Debug, ClapArgs)]
pub(in crate::cli) struct ReadArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// How long a call may go on without any progress, retries included: when the server cannot be reached, the
    /// connection is lost, or no answer arrives. 0: no retries, and at most 30 seconds without an answer.
    #[arg(long, env = "SCR_RETRY_FOR", value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(..=31_536_000))]
    retry_for: u64,
}

// === impl ReadArgs ===

impl ReadArgs {
    pub(in crate::cli) fn config(&self) -> Result<ClientConfig, String> {
        Ok(ClientConfig { retry_for: Duration::from_secs(self.retry_for), ..self.server.config()? })
    }
}

// === impl ServerArgs ===

impl ServerArgs {
    pub(in crate::cli) fn config(&self) -> Result<ClientConfig, String> {
        let token = self.token.clone();
        let token = match self.token_file.clone() {
            None => token,
            Some(_) if token.is_some() => return Err("--token and --token-file cannot be used together".to_owned()),
            Some(path) => {
                let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                Some(SecretString::from(text.trim().to_owned()))
            }
        };
        let identity = match (self.client_cert.clone(), self.client_key.clone()) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => return Err("--client-cert and --client-key must be used together".to_owned()),
        };
        Ok(ClientConfig {
            token,
            authorities: self.ca_file.clone(),
            identity,
            server_name: self.tls_server_name.clone(),
            insecure_plaintext: self.insecure_plaintext_token,
            ..ClientConfig::new(self.server.clone())
        })
    }

    pub(in crate::cli) fn url(&self) -> &str {
        &self.server
    }
}
