//! TLS and SASL: the options, and the librdkafka properties they stand for.

use std::path::Path;

use millstream_config::codes::{MISSING_FIELD, NO_EFFECT, STRUCTURE, WRONG_TYPE};
use millstream_config::decode::{Cx, Decode, Place};
use millstream_config::tree::{Meaning, Node, Value};
use millstream_config::{Diagnostic, Span, Spanned, Text, spec, spec_enum};
use millstream_core::Result;
use rdkafka::ClientConfig;
use serde_json::{Value as Json, json};

use super::secret::Secret;

spec! {
    /// How a connection to Kafka is encrypted, and how this side proves who it is.
    pub(crate) struct SecurityOptions {
        /// TLS: `true` for servers with certificates of a public authority, or a map of more.
        tls: TlsChoice = optional,
        /// SASL.
        sasl: Spanned<SaslOptions> = optional,
    }
}

spec! {
    /// Encryption. Certificates and keys are PEM: a file's path, relative to the pipeline file, or the PEM text itself.
    pub(crate) struct TlsOptions {
        /// The certificates that servers may be signed with. Default: those of the system.
        ca: Text = optional,
        /// This side's certificate (mTLS).
        certificate: Text = optional,
        /// The key of `certificate`.
        key: Text = optional,
        /// The password of `key`.
        key_password: Text = optional,
        /// A file with the password of `key`.
        key_password_file: Text = optional,
        /// Whether the server's certificate is verified, its host name included.
        verify: Spanned<bool> = default(Spanned::new(true, Span::default())),
    }
}

spec! {
    /// Who this side is.
    pub(crate) struct SaslOptions {
        /// How that is proved.
        mechanism: Spanned<Mechanism> = required,
        /// The user's name, for all but `oauthbearer`.
        username: Text = optional,
        /// The password; `${VARIABLE}` takes it from the environment.
        password: Text = optional,
        /// A file with the password, relative to the pipeline file.
        password_file: Text = optional,
        /// The token of `oauthbearer`.
        token: Text = optional,
        /// A file with the token, which is read again whenever a new one is due.
        token_file: Text = optional,
    }
}

spec_enum! {
    /// How a user is proved.
    pub(crate) enum Mechanism {
        /// The password is sent as it is: use it with `tls`.
        Plain = "plain",
        /// The password is not sent.
        ScramSha256 = "scram_sha_256",
        /// The password is not sent.
        ScramSha512 = "scram_sha_512",
        /// A token is sent: use it with `tls`.
        OauthBearer = "oauthbearer",
    }
}

impl Mechanism {
    fn sasl_name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }
}

/// `tls: true`, or a map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TlsChoice {
    Off,
    On(Box<TlsOptions>),
}

impl Decode for TlsChoice {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) => match scalar.meaning() {
                Meaning::Bool(false) => Some(Self::Off),
                Meaning::Bool(true) => {
                    let nothing = Node { value: Value::Map(Vec::new()), span: node.span };
                    TlsOptions::decode(&nothing, cx).map(Box::new).map(Self::On)
                }
                _ => {
                    cx.wrong_type(node, &Self::describe(), "`tls: true`, or `tls: { ca: ca.pem }`");
                    None
                }
            },
            _ => TlsOptions::decode(node, cx).map(Box::new).map(Self::On),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [{ "type": "boolean" }, TlsOptions::schema()] })
    }

    fn describe() -> String {
        "`true`, `false` or a map of fields".to_owned()
    }
}

/// What the options mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Security {
    tls: Option<Tls>,
    sasl: Option<Sasl>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tls {
    ca: Option<Pem>,
    certificate: Option<Pem>,
    key: Option<Pem>,
    key_password: Option<Secret>,
    verify: bool,
}

#[derive(Clone, PartialEq, Eq)]
enum Pem {
    File(String),
    Inline(String),
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Inline(_) => f.write_str("Inline(…)"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Sasl {
    Password { mechanism: Mechanism, username: String, password: Secret },
    Token(Secret),
}

impl Pem {
    fn of(text: &Text) -> Self {
        match text.value.trim_start().starts_with("-----BEGIN") {
            true => Self::Inline(text.value.clone()),
            false => Self::File(text.value.clone()),
        }
    }

    fn set(&self, what: &str, base_dir: &Path, config: &mut ClientConfig) {
        match self {
            Self::File(path) => {
                config.set(format!("ssl.{what}.location"), base_dir.join(path).display().to_string());
            }
            Self::Inline(pem) => {
                config.set(format!("ssl.{what}.pem"), pem);
            }
        }
    }
}

impl Security {
    /// What the options mean; `None` if `cx` was told that they don't fit together.
    pub(crate) fn check(options: SecurityOptions, owner: Span, cx: &mut Cx) -> Option<Self> {
        let tls = match options.tls {
            Some(TlsChoice::On(tls)) => Some(check_tls(*tls, owner, cx)?),
            Some(TlsChoice::Off) | None => None,
        };
        let sasl = match options.sasl {
            Some(sasl) => Some(check_sasl(sasl.value, cx)?),
            None => None,
        };
        Some(Self { tls, sasl })
    }

    /// Whether passwords and tokens would be sent for everyone to read.
    pub(crate) fn is_readable(&self) -> bool {
        let readable = match &self.sasl {
            None => false,
            Some(Sasl::Token(_)) => true,
            Some(Sasl::Password { mechanism, .. }) => *mechanism == Mechanism::Plain,
        };
        self.tls.is_none() && readable
    }

    /// Sets the properties.
    pub(crate) fn apply(&self, base_dir: &Path, config: &mut ClientConfig) -> Result<()> {
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => return Ok(()),
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            for (what, pem) in [("ca", &tls.ca), ("certificate", &tls.certificate), ("key", &tls.key)] {
                match pem {
                    Some(pem) => pem.set(what, base_dir, config),
                    // The TLS library is linked in and knows no system folders; librdkafka does.
                    None if what == "ca" => {
                        config.set("ssl.ca.location", "probe");
                    }
                    None => {}
                }
            }
            if let Some(password) = &tls.key_password {
                config.set("ssl.key.password", password.read(base_dir)?);
            }
            if !tls.verify {
                config.set("enable.ssl.certificate.verification", "false");
            }
        }
        match &self.sasl {
            None => {}
            Some(Sasl::Token(_)) => {
                config.set("sasl.mechanism", Mechanism::OauthBearer.sasl_name());
            }
            Some(Sasl::Password { mechanism, username, password }) => {
                config.set("sasl.mechanism", mechanism.sasl_name());
                config.set("sasl.username", username);
                config.set("sasl.password", password.read(base_dir)?);
            }
        }
        Ok(())
    }

    /// The properties that [`Security::apply`] sets: a `client:` may not set them too.
    pub(crate) fn sets(&self, property: &str) -> bool {
        let tls = self.tls.is_some() && (property.starts_with("ssl.ca.") || property.starts_with("ssl.certificate."));
        let key = self.tls.is_some() && property.starts_with("ssl.key.");
        tls || key || (self.tls.is_some() && property == "enable.ssl.certificate.verification")
    }

    pub(crate) fn token(&self) -> Option<&Secret> {
        match &self.sasl {
            Some(Sasl::Token(token)) => Some(token),
            Some(Sasl::Password { .. }) | None => None,
        }
    }
}

fn check_tls(options: TlsOptions, owner: Span, cx: &mut Cx) -> Option<Tls> {
    let key_password = secret(options.key_password, options.key_password_file, "key_password", cx)?;
    match (&options.certificate, &options.key) {
        (Some(certificate), None) => {
            let message = "`certificate` has no `key`";
            cx.error(MISSING_FIELD, certificate.span, message, "add its private key: `key: client.key`");
            return None;
        }
        (None, Some(key)) => {
            let message = "`key` has no `certificate`";
            cx.error(MISSING_FIELD, key.span, message, "add the certificate it belongs to: `certificate: client.pem`");
            return None;
        }
        (None, None) if key_password.is_some() => {
            let message = "the password of a key has no effect without `key`";
            cx.error(NO_EFFECT, owner, message, "add `certificate` and `key`, or remove the password");
            return None;
        }
        _ => {}
    }
    let pem = |text: &Option<Text>| text.as_ref().map(Pem::of);
    Some(Tls {
        ca: pem(&options.ca),
        certificate: pem(&options.certificate),
        key: pem(&options.key),
        key_password,
        verify: options.verify.value,
    })
}

fn check_sasl(options: SaslOptions, cx: &mut Cx) -> Option<Sasl> {
    let mechanism = options.mechanism.value;
    let name = mechanism.sasl_name();
    let place = Place { name: "`sasl`".to_owned(), span: options.mechanism.span };
    cx.within(place, |cx| {
        let mut useless = |text: &Option<Text>, field: &str| {
            let Some(text) = text else { return false };
            let message = format!("`{field}` has no effect with the mechanism {name}");
            cx.push(Diagnostic::error(NO_EFFECT, text.span, message).help(format!("remove `{field}`")));
            true
        };
        if mechanism == Mechanism::OauthBearer {
            let useless = [
                useless(&options.username, "username"),
                useless(&options.password, "password"),
                useless(&options.password_file, "password_file"),
            ];
            if useless.contains(&true) {
                return None;
            }
            return needed(options.token, options.token_file, "token", &options.mechanism, cx).map(Sasl::Token);
        }
        if [useless(&options.token, "token"), useless(&options.token_file, "token_file")].contains(&true) {
            return None;
        }
        let Some(username) = options.username else {
            let message = format!("{name} needs a `username`");
            cx.error(MISSING_FIELD, options.mechanism.span, message, "add `username:` beside `mechanism:`");
            return None;
        };
        let password = needed(options.password, options.password_file, "password", &options.mechanism, cx)?;
        Some(Sasl::Password { mechanism, username: username.value, password })
    })
}

/// The secret, which must be there in one of its two forms.
fn needed(
    value: Option<Text>,
    file: Option<Text>,
    name: &str,
    mechanism: &Spanned<Mechanism>,
    cx: &mut Cx,
) -> Option<Secret> {
    if let Some(found) = secret(value, file, name, cx)? {
        return Some(found);
    }
    let message = format!("{} needs a `{name}`", mechanism.value.sasl_name());
    let help = format!("add `{name}: ${{VARIABLE}}`, or `{name}_file: PATH`");
    cx.error(MISSING_FIELD, mechanism.span, message, help);
    None
}

/// A secret in one of its two forms, or none; the outer `None` is one in both.
fn secret(value: Option<Text>, file: Option<Text>, name: &str, cx: &mut Cx) -> Option<Option<Secret>> {
    match (value, file) {
        (Some(_), Some(file)) => {
            let message = format!("both `{name}` and `{name}_file` are given");
            cx.error(STRUCTURE, file.span, message, "leave one of the two away");
            None
        }
        (Some(value), None) if value.value.contains('\0') => {
            cx.error(WRONG_TYPE, value.span, format!("`{name}` holds a zero byte"), "Kafka's clients take none");
            None
        }
        (Some(value), None) => Some(Some(Secret::Value(value.value))),
        (None, Some(file)) => Some(Some(Secret::File(file.value))),
        (None, None) => Some(None),
    }
}
