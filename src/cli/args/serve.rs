//! What `serve` takes.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, ValueEnum, builder::FalseyValueParser};
use secrecy::SecretString;

use super::{DatabaseArgs, FocusArgs, LimitsArgs, PublishArgs, StatementKeyArgs};
use crate::{
    auth::{AuthConfig, CertificateConfig, ClaimPath, TokenConfig},
    reload::RELOAD_INTERVAL,
    service::TlsConfig,
    telemetry::{lines::WhenFull, logs::ServerLogs},
};

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct ServeArgs {
    /// The address and port to listen on. Port 0 picks a free port, and the log says which. An address other than
    /// loopback requires TLS, or `--insecure-plaintext`.
    #[arg(long, env = "SCR_LISTEN", default_value = "127.0.0.1:50051", value_name = "ADDRESS")]
    pub(in crate::cli) listen: SocketAddr,
    /// Turn off gRPC reflection.
    #[arg(long, env = "SCR_NO_REFLECTION", value_parser = FalseyValueParser::new())]
    pub(in crate::cli) no_reflection: bool,
    /// The address for metrics, by HTTP at `/metrics`, for Prometheus. Anyone who reaches the address can read them;
    /// they contain no customer data. Unset: no metrics.
    #[arg(long, env = "SCR_METRICS_LISTEN", value_name = "ADDRESS")]
    pub(in crate::cli) metrics_listen: Option<SocketAddr>,
    /// How long to serve as before after SIGTERM or SIGINT, while health says NOT_SERVING: the time that your load
    /// balancer needs to notice.
    #[arg(long, env = "SCR_STOP_DELAY_SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=31_536_000), value_name = "SECONDS")]
    pub(in crate::cli) stop_delay_seconds: u64,
    /// How long running calls may continue after that. They then end with `SHUTTING_DOWN`.
    #[arg(long, env = "SCR_DRAIN_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=31_536_000), value_name = "SECONDS")]
    pub(in crate::cli) drain_seconds: u64,
    /// Where to send traces, by OTLP over gRPC, for instance `http://127.0.0.1:4317` [default:
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, or no traces].
    #[arg(long, env = "SCR_OTLP_ENDPOINT", value_name = "URL")]
    pub(in crate::cli) otlp_endpoint: Option<String>,
    /// The file of the audit log, as JSON, to which lines are appended. It may be renamed or removed; the next line is
    /// then the first one of a new file [default: standard error, with the other lines].
    #[arg(long, env = "SCR_AUDIT_LOG", value_name = "FILE", help_heading = "Log")]
    audit_log: Option<PathBuf>,
    /// What happens when 8192 lines wait for the file of the audit log, for instance because its disk is full: their
    /// lines are dropped and counted, or calls are refused with `AUDIT_LOG_UNAVAILABLE` before they begin.
    #[arg(
        long,
        env = "SCR_AUDIT_LOG_WHEN_FULL",
        value_name = "ACTION",
        value_enum,
        default_value_t,
        requires = "audit_log",
        help_heading = "Log"
    )]
    audit_log_when_full: WhenFullArg,
    #[command(flatten)]
    pub(in crate::cli) callers: CallersArgs,
    #[command(flatten)]
    pub(in crate::cli) statement_key: StatementKeyArgs,
    #[command(flatten)]
    pub(in crate::cli) focus: FocusArgs,
    #[command(flatten)]
    pub(in crate::cli) tls: TlsArgs,
    #[command(flatten)]
    pub(in crate::cli) limits: LimitsArgs,
    /// Database connections for short calls.
    #[arg(long, env = "SCR_SHORT_CONNECTIONS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..), value_name = "COUNT", help_heading = "Database")]
    pub(in crate::cli) short_connections: u16,
    /// Database connections that report streams share.
    #[arg(long, env = "SCR_EXPORT_CONNECTIONS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..), value_name = "COUNT", help_heading = "Database")]
    pub(in crate::cli) export_connections: u16,
    /// How long a call may wait for a database connection, 1 to 3600. It then ends with `DATABASE_UNAVAILABLE`. With
    /// several hosts, they share this time.
    #[arg(
        long,
        env = "SCR_DATABASE_WAIT_SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=3600),
        value_name = "SECONDS",
        help_heading = "Database"
    )]
    pub(in crate::cli) database_wait_seconds: u64,
    #[command(flatten)]
    pub(in crate::cli) publish: PublishArgs,
    /// How long one SQL statement of a report may take. 0: no limit.
    #[arg(
        long,
        env = "SCR_STATEMENT_TIMEOUT_SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(..=2_000_000),
        value_name = "SECONDS",
        help_heading = "Database"
    )]
    pub(in crate::cli) statement_timeout_seconds: u64,
    /// The same database by an account that may import, for `ImportUsage` and `WithdrawUsage` [default: the value of
    /// `DATABASE_URL`].
    #[arg(
        long,
        env = "SCR_IMPORT_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Database"
    )]
    pub(in crate::cli) import_database_url: Option<SecretString>,
    /// The workers of Citus, as hosts of one URL, under the names that Citus knows them by, with the account of `DATABASE_URL`: records that
    /// `migrate --distribute` has spread are read where they are [default: by the database of `DATABASE_URL`].
    #[arg(
        long,
        env = "SCR_RECORDS_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Database"
    )]
    pub(in crate::cli) records_database_url: Option<SecretString>,
    #[command(flatten)]
    pub(in crate::cli) database: DatabaseArgs,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum WhenFullArg {
    #[default]
    Drop,
    Refuse,
}

/// Who may call.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Callers")]
pub(in crate::cli) struct CallersArgs {
    /// The issuer of tokens: their `iss`, and the URL where OpenID discovery starts. It has no user and password.
    #[arg(long, env = "SCR_OIDC_ISSUER", value_name = "URL")]
    oidc_issuer: Option<String>,
    /// A file with the issuer's keys as a JWK set, instead of discovery; requires `--oidc-issuer`. It is read again
    /// when it changes.
    #[arg(long, env = "SCR_JWKS", value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// The `aud` of tokens for this service. If there are several, one of them is enough. Required with
    /// `--oidc-issuer`.
    #[arg(long, env = "SCR_AUDIENCE", value_delimiter = ',', value_name = "NAME")]
    audience: Vec<String>,
    /// The claim that lists roles: a name, or a path such as `realm_access.roles`.
    #[arg(long, env = "SCR_ROLES_CLAIM", default_value = "roles", value_name = "CLAIM")]
    roles_claim: ClaimPath,
    /// The claim that lists organizations: their ids, or `*` for all.
    #[arg(long, env = "SCR_ORGANIZATIONS_CLAIM", default_value = "organizations", value_name = "CLAIM")]
    organizations_claim: ClaimPath,
    /// How far the issuer's clock may differ from this machine's clock, at most 600.
    #[arg(long, env = "SCR_CLOCK_LEEWAY_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(..=600), value_name = "SECONDS")]
    clock_leeway_seconds: u64,
    /// How old the issuer's keys may become while they cannot be fetched again, 60 to 31536000. Older ones are not used:
    /// calls with tokens get `ISSUER_UNAVAILABLE`. Keys of `--jwks` have no maximum age.
    #[arg(long, env = "SCR_MAX_KEY_AGE", default_value_t = 86_400, value_parser = clap::value_parser!(u64).range(60..=31_536_000), value_name = "SECONDS")]
    max_key_age: u64,
    /// A TOML file that maps names in client certificates to callers, such as `examples/client-certificates.toml`;
    /// requires `--tls-client-ca`. It is read again when it changes.
    #[arg(long, env = "SCR_CLIENT_CERTIFICATES", value_name = "FILE")]
    client_certificates: Option<PathBuf>,
    /// Turn off authentication: everyone on this machine may read and import everything. Loopback addresses only, and
    /// not together with an issuer or client certificates.
    #[arg(long, env = "SCR_INSECURE_NO_AUTH", value_parser = FalseyValueParser::new())]
    insecure_no_auth: bool,
}

/// TLS towards callers.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "TLS")]
pub(in crate::cli) struct TlsArgs {
    /// The server's certificate and its intermediate certificates, PEM. It is read again when it changes. Unset:
    /// plain text.
    #[arg(long, env = "SCR_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The private key of the server's certificate, PEM, without a password. It is read again when it changes.
    #[arg(long, env = "SCR_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// The certificate authorities of client certificates, PEM. It is read again when it changes. Unset: clients are
    /// not asked for a certificate.
    #[arg(long, env = "SCR_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Refuse connections without a client certificate, also when their calls bring a token.
    #[arg(long, env = "SCR_TLS_REQUIRE_CLIENT_CERTIFICATE", value_parser = FalseyValueParser::new())]
    tls_require_client_certificate: bool,
    /// Serve plain text on addresses other than loopback, because a proxy in front of the server speaks TLS.
    #[arg(long, env = "SCR_INSECURE_PLAINTEXT", value_parser = FalseyValueParser::new())]
    pub(in crate::cli) insecure_plaintext: bool,
}

// === impl ServeArgs ===

impl ServeArgs {
    pub(in crate::cli) fn logs(&self) -> ServerLogs {
        let when_full = match self.audit_log_when_full {
            WhenFullArg::Drop => WhenFull::Drop,
            WhenFullArg::Refuse => WhenFull::Reserved,
        };
        ServerLogs { audit_file: self.audit_log.clone().map(|path| (path, when_full)) }
    }
}

// === impl CallersArgs ===

impl CallersArgs {
    pub(in crate::cli) fn config(self) -> Result<AuthConfig, String> {
        let jwks = self.jwks;
        let tokens = match self.oidc_issuer {
            None if jwks.is_some() => {
                return Err("--jwks requires --oidc-issuer, the `iss` of the tokens".to_owned());
            }
            None => None,
            Some(issuer) => Some(TokenConfig {
                audiences: self.audience,
                jwks,
                roles_claim: self.roles_claim,
                organizations_claim: self.organizations_claim,
                leeway: Duration::from_secs(self.clock_leeway_seconds),
                max_key_age: Duration::from_secs(self.max_key_age),
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
            return Err("--tls-require-client-certificate requires --tls-client-ca, the certificate authorities of \
                 client certificates"
                .to_owned());
        }
        match (self.tls_cert, self.tls_key) {
            (None, None) if client_authorities.is_some() => {
                Err("--tls-client-ca requires --tls-cert and --tls-key".to_owned())
            }
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(TlsConfig {
                client_authorities,
                require_client_certificate: self.tls_require_client_certificate,
                ..TlsConfig::new(certificate, key)
            })),
            _ => Err("--tls-cert and --tls-key must be used together".to_owned()),
        }
    }
}
