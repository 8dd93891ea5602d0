//! A connection string as libpq reads it.
//!
//! The driver knows most of the string. It does not know the settings for certificates, and of `sslmode` it knows less
//! than libpq: those are taken out here.

/// The settings that are taken out of a connection string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SslSettings {
    pub(super) mode: Option<String>,
    pub(super) root: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    /// Names of settings that the driver does not know.
    pub(super) unknown: Vec<String>,
}

/// What the driver reads.
const KNOWN: [&str; 20] = [
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "sslnegotiation",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
    "sslmode",
    "sslrootcert",
];

pub(super) const NOT_A_URL: &str = "not a PostgreSQL connection URL or key-value string";

// === impl SslSettings ===

impl SslSettings {
    fn set(&mut self, name: &str, value: &str) -> bool {
        let slot = match name {
            "sslmode" => &mut self.mode,
            "sslrootcert" => &mut self.root,
            "sslcert" => &mut self.certificate,
            "sslkey" => &mut self.key,
            _ => {
                if !KNOWN.contains(&name) {
                    self.unknown.push(name.to_owned());
                }
                return false;
            }
        };
        *slot = Some(value.to_owned());
        true
    }

    /// What may be wrong with a string that the driver refuses. It names settings, and no values.
    pub(super) fn refusal(&self) -> String {
        if self.unknown.is_empty() {
            NOT_A_URL.to_owned()
        } else {
            format!("not supported here: {}", self.unknown.join(", "))
        }
    }
}

/// Takes the settings for TLS out of a connection string. `None`: it is not one.
pub(super) fn split(database_url: &str) -> Option<(String, SslSettings)> {
    let is_url = ["postgres://", "postgresql://"].iter().any(|scheme| database_url.starts_with(scheme));
    if is_url { split_url(database_url) } else { split_pairs(database_url) }
}

fn split_url(url: &str) -> Option<(String, SslSettings)> {
    let mut settings = SslSettings::default();
    // A question mark in a password is written %3F.
    let Some((front, query)) = url.split_once('?') else { return Some((url.to_owned(), settings)) };
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decoded(value)?;
        if !settings.set(name, &value) {
            kept.push(pair);
        }
    }
    let url = if kept.is_empty() { front.to_owned() } else { format!("{front}?{}", kept.join("&")) };
    Some((url, settings))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            bytes.push(digit(rest.next())? << 4 | digit(rest.next())?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// `name = value` pairs; a value may stand in single quotes, and a backslash takes the next character as it is.
fn split_pairs(pairs: &str) -> Option<(String, SslSettings)> {
    let mut settings = SslSettings::default();
    let mut kept = String::new();
    let mut characters = pairs.char_indices().peekable();
    loop {
        while characters.next_if(|(_, character)| character.is_whitespace()).is_some() {}
        let Some(&(start, _)) = characters.peek() else { return Some((kept, settings)) };
        let mut name = String::new();
        while let Some((_, character)) = characters.next_if(|&(_, character)| character != '=') {
            name.push(character);
        }
        characters.next()?;
        while characters.next_if(|(_, character)| character.is_whitespace()).is_some() {}
        let quoted = characters.next_if(|&(_, character)| character == '\'').is_some();
        let mut value = String::new();
        loop {
            match characters.next() {
                Some((_, '\\')) => value.push(characters.next()?.1),
                Some((_, '\'')) if quoted => break,
                Some((_, character)) if !quoted && character.is_whitespace() => break,
                Some((_, character)) => value.push(character),
                None if quoted => return None,
                None => break,
            }
        }
        let end = characters.peek().map_or(pairs.len(), |&(index, _)| index);
        if !settings.set(name.trim_end(), &value) {
            kept.push_str(&pairs[start..end]);
            if !kept.ends_with(char::is_whitespace) {
                kept.push(' ');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssl(mode: &str, root: &str) -> SslSettings {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        SslSettings { mode: some(mode), root: some(root), ..SslSettings::default() }
    }

    #[test]
    fn settings_for_tls_are_taken_out_and_the_rest_stays() {
        for (url, rest, settings) in [
            ("postgres://u:p@h/d", "postgres://u:p@h/d", ssl("", "")),
            ("postgres://h/d?sslmode=verify-full", "postgres://h/d", ssl("verify-full", "")),
            (
                "postgresql://h/d?connect_timeout=3&sslmode=verify-ca&sslrootcert=%2Fa%20b&target_session_attrs=read-write",
                "postgresql://h/d?connect_timeout=3&target_session_attrs=read-write",
                ssl("verify-ca", "/a b"),
            ),
            ("host=/tmp/a user=joe", "host=/tmp/a user=joe ", ssl("", "")),
            ("host=a sslmode=require user='j o e'", "host=a user='j o e' ", ssl("require", "")),
            (
                r"sslrootcert = '/a\'s b' host=a password='it\'s sslmode=x'",
                r"host=a password='it\'s sslmode=x' ",
                ssl("", "/a's b"),
            ),
        ] {
            assert_eq!(split(url), Some((rest.to_owned(), settings)), "{url}");
        }
        for url in ["host", "host='a", "postgres://h/d?sslmode", "postgres://h/d?sslrootcert=%zz", "a=\\"] {
            assert_eq!(split(url), None, "{url}");
        }
    }
}
