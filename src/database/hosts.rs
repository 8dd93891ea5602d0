//! Connecting to a database that has several hosts. The driver tries them one after the other, as libpq does, but waits
//! without end for one that accepts a connection and then says nothing; here each has a share of the time.

use std::{
    future::Future,
    io::ErrorKind,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use deadpool_postgres::Connect;
use tokio::task::JoinHandle;
use tokio_postgres::{
    Client, Config, Connection, Error, Socket,
    config::{Host, LoadBalanceHosts},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

const DEFAULT_PORT: u16 = 5432;
/// How long a host that said nothing comes last.
const SILENT_FOR: Duration = Duration::from_secs(30);

type Connected = (Client, Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>);

#[derive(Clone)]
pub(super) struct Hosts {
    hosts: Arc<[OneHost]>,
    load_balance: LoadBalanceHosts,
    tls: MakeRustlsConnect,
    /// How long each may take, where there is another one.
    share: Duration,
}

struct OneHost {
    config: Config,
    /// When it last took longer than its share.
    silent: Mutex<Option<Instant>>,
}

// === impl Hosts ===

impl Hosts {
    /// Those of a configuration. `limit` is how long callers wait for a connection.
    pub(super) fn new(config: &Config, tls: MakeRustlsConnect, limit: Duration) -> Self {
        let share = share(config, limit);
        let each = if is_even(config) { count(config) } else { 1 };
        let hosts = (0..each).map(|n| {
            let mut config = if each == 1 { config.clone() } else { one_host(config, n) };
            // A name may have several addresses, each of which has this long.
            if each > 1 && config.get_connect_timeout().is_none_or(|limit| *limit > share / 2) {
                config.connect_timeout(share / 2);
            }
            OneHost { config, silent: Mutex::default() }
        });
        Self { hosts: hosts.collect(), load_balance: config.get_load_balance_hosts(), tls, share }
    }

    /// Connects to the first one that answers and is as the configuration wants it. Those that did not answer lately come
    /// last, and the last of all is waited for as long as the caller likes.
    pub(super) async fn connect(&self) -> Result<Connected, Error> {
        let mut order: Vec<&OneHost> = self.hosts.iter().collect();
        if self.load_balance == LoadBalanceHosts::Random {
            fastrand::shuffle(&mut order);
        }
        order.sort_by_key(|host| host.is_silent());
        let last = order.pop();
        for host in order {
            let name = host.config.get_hosts();
            let error = match tokio::time::timeout(self.share, host.config.connect(self.tls.clone())).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            match error.as_ref().map_or(Some(ErrorKind::TimedOut), io_error) {
                Some(ErrorKind::TimedOut) => {
                    tracing::warn!("a host of the database does not answer: {name:?}");
                    host.set_silent();
                }
                // It is a standby, and a primary is wanted, or the other way round.
                Some(ErrorKind::PermissionDenied) => {}
                _ => tracing::warn!(?error, "a host of the database is passed over: {name:?}"),
            }
        }
        match last {
            Some(host) => host.config.connect(self.tls.clone()).await,
            // There is one at least.
            None => Config::new().connect(self.tls.clone()).await,
        }
    }
}

impl Connect for Hosts {
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        Box::pin(async move {
            let (client, connection) = Self::connect(self).await?;
            let task = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::warn!(%error, "a database connection ended");
                }
            });
            Ok((client, task))
        })
    }
}

// === impl OneHost ===

impl OneHost {
    fn is_silent(&self) -> bool {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.is_some_and(|since| since.elapsed() < SILENT_FOR)
    }

    fn set_silent(&self) {
        *self.silent.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// Each of the hosts, with its port and a configuration for it alone.
pub(super) fn each_host(config: &Config) -> Vec<(String, u16, Config)> {
    let host = |n| {
        let name = match config.get_hosts().get(n) {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => config.get_hostaddrs().get(n).map(ToString::to_string).unwrap_or_default(),
        };
        let port = config.get_ports().get(n).or_else(|| config.get_ports().first()).copied();
        (name, port.unwrap_or(DEFAULT_PORT), one_host(config, n))
    };
    (0..count(config)).map(host).collect()
}

/// Whether what a host needs is there for each: what is not is for the driver to refuse.
fn is_even(config: &Config) -> bool {
    let fits = |length: usize| length == 0 || length == count(config);
    fits(config.get_hosts().len())
        && fits(config.get_hostaddrs().len())
        && (fits(config.get_ports().len()) || config.get_ports().len() == 1)
}

/// What the system, or the driver in its words, said.
fn io_error(error: &Error) -> Option<ErrorKind> {
    let cause = std::error::Error::source(error)?.downcast_ref::<std::io::Error>()?;
    Some(cause.kind())
}

/// How many hosts a configuration has.
fn count(config: &Config) -> usize {
    config.get_hosts().len().max(config.get_hostaddrs().len())
}

/// What each host has of the time for a connection.
pub(super) fn share(config: &Config, limit: Duration) -> Duration {
    limit / u32::try_from(count(config)).unwrap_or(u32::MAX).max(1)
}

/// The configuration for one host of several.
fn one_host(config: &Config, n: usize) -> Config {
    let mut one = Config::new();
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(password) = config.get_password() {
        one.password(password);
    }
    if let Some(database) = config.get_dbname() {
        one.dbname(database);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    if let Some(name) = config.get_application_name() {
        one.application_name(name);
    }
    match config.get_hosts().get(n) {
        Some(Host::Tcp(host)) => _ = one.host(host),
        Some(Host::Unix(path)) => _ = one.host_path(path),
        None => {}
    }
    if let Some(address) = config.get_hostaddrs().get(n) {
        one.hostaddr(*address);
    }
    if let Some(port) = config.get_ports().get(n).or_else(|| config.get_ports().first()) {
        one.port(*port);
    }
    if let Some(limit) = config.get_connect_timeout() {
        one.connect_timeout(*limit);
    }
    if let Some(limit) = config.get_tcp_user_timeout() {
        one.tcp_user_timeout(*limit);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.ssl_mode(config.get_ssl_mode());
    one.ssl_negotiation(config.get_ssl_negotiation());
    one.keepalives(config.get_keepalives());
    one.keepalives_idle(config.get_keepalives_idle());
    one.target_session_attrs(config.get_target_session_attrs());
    one.channel_binding(config.get_channel_binding());
    one.load_balance_hosts(config.get_load_balance_hosts());
    one
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    #[test]
    fn each_host_has_all_the_settings() {
        let settings = "user=joe password=secret dbname=d options='-c x=1' application_name=a sslmode=require \
            sslnegotiation=direct connect_timeout=3 tcp_user_timeout=4 keepalives=1 keepalives_idle=5 \
            keepalives_interval=6 keepalives_retries=7 target_session_attrs=read-write channel_binding=require \
            load_balance_hosts=random";
        let together = format!("host=one,/two,three hostaddr=127.0.0.1,127.0.0.2,127.0.0.3 port=1,2,3 {settings}");
        let together = Config::from_str(&together).expect("sound");
        for (n, host) in ["one", "/two", "three"].into_iter().enumerate() {
            let alone = format!("host={host} hostaddr=127.0.0.{} port={} {settings}", n + 1, n + 1);
            assert_eq!(one_host(&together, n), Config::from_str(&alone).expect("sound"), "{host}");
        }
        let one_port = Config::from_str("host=one,two port=7").expect("sound");
        assert_eq!(one_host(&one_port, 1), Config::from_str("host=two port=7").expect("sound"));
        assert_eq!(share(&one_port, Duration::from_secs(10)), Duration::from_secs(5));
        for (config, even) in [
            ("host=one,two port=7", true),
            ("host=one,two hostaddr=127.0.0.1,127.0.0.2", true),
            ("host=one,two,three port=7,8", false),
            ("host=one,two hostaddr=127.0.0.1", false),
        ] {
            assert_eq!(is_even(&Config::from_str(config).expect("sound")), even, "{config}");
        }
    }
}
