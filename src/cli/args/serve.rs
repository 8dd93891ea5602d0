//! What `serve` takes.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, builder::FalseyValueParser};
use secrecy::SecretString;

use super::{DatabaseArgs, LimitsArgs};
use crate::{
    auth::{AuthConfig, CertificateConfig, ClaimPath, TokenConfig},
    reload::RELOAD_INTERVAL,
    service::TlsConfig,
};

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct ServeArgs {
    /// Where to listen; port 0 picks a free one, and the log says which.
    #[arg(long, env = "SCR_LISTEN", default_value = "127.0.0.1:50051")]
    pub(in crate::cli) listen: SocketAddr,
    /// Do not let callers ask which services and messages there are.
    #[arg(long, env = "SCR_NO_REFLECTION", value_parser = FalseyValueParser::new())]
    pub(in crate::cli) no_reflection: bool,
    /// Where metrics are to be had by HTTP, for Prometheus. Unset: nowhere. They name no customers, and anyone who
    /// reaches the address can read them.
    #[arg(long, env = "SCR_METRICS_LISTEN", value_name = "ADDRESS")]
    pub(in crate::cli) metrics_listen: Option<SocketAddr>,
    /// How long to serve as before after SIGTERM or SIGINT, while health says NOT_SERVING: for load balancers to notice.
    #[arg(long, env = "SCR_STOP_DELAY_SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=31_536_000), value_name = "SECONDS")]
    pub(in crate::cli) stop_delay_seconds: u64,
    /// How long calls that are running may go on after that.
    #[arg(long, env = "SCR_DRAIN_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=31_536_000), value_name = "SECONDS")]
    pub(in crate::cli) drain_seconds: u64,
    /// Where traces are sent, by OTLP over gRPC, for instance http://127.0.0.1:4317. Unset: to
    /// OTEL_EXPORTER_OTLP_ENDPOINT, or nowhere.
    #[arg(long, env = "SCR_OTLP_ENDPOINT", value_name = "URL")]
    pub(in crate::cli) otlp_endpoint: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) callers: CallersArgs,
    #[command(flatten)]
    pub(in crate::cli) tls: TlsArgs,
    #[command(flatten)]
    pub(in crate::cli) limits: LimitsArgs,
    /// Database connections for short calls.
    #[arg(long, env = "SCR_SHORT_CONNECTIONS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..), value_name = "COUNT", help_heading = "Database")]
    pub(in crate::cli) short_connections: u16,
    /// Database connections that report streams take turns on.
    #[arg(long, env = "SCR_EXPORT_CONNECTIONS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..), value_name = "COUNT", help_heading = "Database")]
    pub(in crate::cli) export_connections: u16,
    /// How long to wait for a connection to the database, a free one or a new one.
    #[arg(
        long,
        env = "SCR_DATABASE_WAIT_SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=3600),
        value_name = "SECONDS",
        help_heading = "Database"
    )]
    pub(in crate::cli) database_wait_seconds: u64,
    /// How long one statement in the database may take; 0: as long as it likes.
    #[arg(
        long,
        env = "SCR_STATEMENT_TIMEOUT_SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(..=2_000_000),
        value_name = "SECONDS",
        help_heading = "Database"
    )]
    pub(in crate::cli) statement_timeout_seconds: u64,
    /// The same database by an account that may import, for ImportUsage. Unset: that of DATABASE_URL does both.
    #[arg(
        long,
        env = "SCR_IMPORT_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Database"
    )]
    pub(in crate::cli) import_database_url: Option<SecretString>,
    #[command(flatten)]
    pub(in crate::cli) database: DatabaseArgs,
}

/// Who may call.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Callers")]
pub(in crate::cli) struct CallersArgs {
    /// The issuer of tokens: their `iss`, and where OpenID discovery starts.
    #[arg(long, env = "SCR_OIDC_ISSUER", value_name = "URL")]
    oidc_issuer: Option<String>,
    /// The issuer's keys as a JWK set, instead of discovery. Read again when it changes.
    #[arg(long, env = "SCR_JWKS", value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// The `aud` of tokens that are meant for this service. Of several, any will do.
    #[arg(long, env = "SCR_AUDIENCE", value_delimiter = ',', value_name = "NAME")]
    audience: Vec<String>,
    /// The claim that lists roles: a name, or a path such as realm_access.roles.
    #[arg(long, env = "SCR_ROLES_CLAIM", default_value = "roles", value_name = "CLAIM")]
    roles_claim: ClaimPath,
    /// The claim that lists organizations: their ids, or * for all.
    #[arg(long, env = "SCR_ORGANIZATIONS_CLAIM", default_value = "organizations", value_name = "CLAIM")]
    organizations_claim: ClaimPath,
    /// How far the issuer's clock may be from this machine's.
    #[arg(long, env = "SCR_CLOCK_LEEWAY_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(..=600), value_name = "SECONDS")]
    clock_leeway_seconds: u64,
    /// Which client certificates stand for whom: a TOML file. Read again when it changes.
    #[arg(long, env = "SCR_CLIENT_CERTIFICATES", value_name = "FILE")]
    client_certificates: Option<PathBuf>,
    /// Ask nobody who they are: everyone on this machine may see and import everything. Loopback addresses only.
    #[arg(long, env = "SCR_INSECURE_NO_AUTH", value_parser = FalseyValueParser::new())]
    insecure_no_auth: bool,
}

/// TLS towards callers.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "TLS")]
pub(in crate::cli) struct TlsArgs {
    /// The server's certificate and those between it and a root, PEM. Read again when it changes.
    #[arg(long, env = "SCR_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, env = "SCR_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// The authorities of client certificates, PEM. Unset: clients are not asked for a certificate.
    #[arg(long, env = "SCR_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Refuse connections without a client certificate, also when their calls bring a token.
    #[arg(long, env = "SCR_TLS_REQUIRE_CLIENT_CERTIFICATE", value_parser = FalseyValueParser::new())]
    tls_require_client_certificate: bool,
    /// Speak plain text on addresses other than loopback: something in front of the server speaks TLS for it.
    #[arg(long, env = "SCR_INSECURE_PLAINTEXT", value_parser = FalseyValueParser::new())]
    pub(in crate::cli) insecure_plaintext: bool,
}

// === impl CallersArgs ===

impl CallersArgs {
    pub(in crate::cli) fn config(self) -> Result<AuthConfig, String> {
        let jwks = self.jwks;
        let tokens = match self.oidc_issuer {
            None if jwks.is_some() => {
                return Err("--jwks needs --oidc-issuer: the `iss` of the tokens that its keys sign".to_owned());
            }
            None => None,
            Some(issuer) => Some(TokenConfig {
                audiences: self.audience,
                jwks,
                roles_claim: self.roles_claim,
                organizations_claim: self.organizations_claim,
                leeway: Duration::from_secs(self.clock_leeway_seconds),
                ..TokenConfig::new(issuer, "")
            }),
        };
        let certificates =
            self.client_certificates.map(|callers| CertificateConfig { callers, reload_interval: RELOAD_INTERVAL });
        Ok(AuthConfig { tokens, certificates, insecure_no_auth: self.insecure_no_auth })
    }
}

// === impl TlsArgs ===

impl TlsArgs {
    pub(in crate::cli) fn config(self) -> Result<Option<TlsConfig>, String> {
        let client_authorities = self.tls_client_ca;
        if self.tls_require_client_certificate && client_authorities.is_none() {
            return Err("--tls-require-client-certificate needs --tls-client-ca: who may have signed it".to_owned());
        }
        match (self.tls_cert, self.tls_key) {
            (None, None) if client_authorities.is_some() => {
                Err("--tls-client-ca needs --tls-cert and --tls-key".to_owned())
            }
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(TlsConfig {
                client_authorities,
                require_client_certificate: self.tls_require_client_certificate,
                ..TlsConfig::new(certificate, key)
            })),
            _ => Err("--tls-cert and --tls-key go together".to_owned()),
        }
    }
}
