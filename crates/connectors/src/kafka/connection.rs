//! How a Kafka cluster is reached.

use std::path::Path;

use millstream_core::Result;
use rdkafka::ClientConfig;

use super::properties::Properties;
use super::secret::Secret;
use super::security::Security;

/// A cluster, and how clients prove who they are. Nothing of it is a secret in `Debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// `host:port`, in the order of the file.
    pub(crate) brokers: Vec<String>,
    pub(crate) security: Security,
    /// The connection's `client:`, for consumers and producers alike.
    pub(crate) properties: Properties,
}

impl Connection {
    /// A cluster without security, reached through `brokers`.
    pub fn plain(brokers: &str) -> Self {
        let brokers = brokers.split(',').map(|b| b.trim().to_owned()).filter(|b| !b.is_empty()).collect();
        Self { brokers, security: Security::default(), properties: Properties::default() }
    }

    /// A client's configuration: brokers, security, `client:`. The caller adds its own, which stand above. Relative
    /// paths start from `base_dir`, the folder of the pipeline file ([`crate::Env::base_dir`]).
    ///
    /// # Errors
    /// The file of a secret can't be read.
    pub(crate) fn client_config(&self, base_dir: &Path) -> Result<ClientConfig> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers());
        self.security.apply(base_dir, &mut config)?;
        self.properties.apply(&mut config);
        Ok(config)
    }

    /// The token of SASL OAUTHBEARER: to be read again each time librdkafka asks for one, see [`super::token`].
    pub(crate) fn token(&self) -> Option<&Secret> {
        self.security.token()
    }

    /// `bootstrap.servers`.
    pub fn brokers(&self) -> String {
        self.brokers.join(",")
    }

    /// Whether both are surely the same cluster: they have a broker in common.
    pub(crate) fn same_cluster(&self, other: &Self) -> bool {
        let with_port = |broker: &String| match broker.rsplit_once(':') {
            Some(_) => broker.to_lowercase(),
            None => format!("{}:9092", broker.to_lowercase()),
        };
        let others: Vec<String> = other.brokers.iter().map(with_port).collect();
        self.brokers.iter().any(|broker| others.contains(&with_port(broker)))
    }
}
