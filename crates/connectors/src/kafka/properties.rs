//! librdkafka properties by name. What they hold may be a secret, so it is never printed.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;

/// Properties of a `client:`, checked against librdkafka. `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Properties(pub(crate) BTreeMap<String, String>);

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Properties {
    /// Sets all of them.
    pub(crate) fn apply(&self, config: &mut ClientConfig) {
        config.extend(self.0.clone());
    }
}
