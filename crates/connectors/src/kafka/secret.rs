//! Passwords, tokens and keys: from the pipeline file (`${ENV}`), or from a file of their own. Never printed.

use std::fmt;
use std::path::Path;

use millstream_core::{Error, Result};

use crate::codes::KAFKA_SECRET;

/// A secret, or where it is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// The secret itself.
    Value(String),
    /// A file with the secret, relative to the pipeline file. Read each time a client is made.
    File(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl Secret {
    /// The secret. A line end behind it in a file is not part of it.
    ///
    /// # Errors
    /// The file can't be read or holds nothing.
    pub(crate) fn read(&self, base_dir: &Path) -> Result<String> {
        let path = match self {
            Self::Value(value) => return Ok(value.clone()),
            Self::File(path) => base_dir.join(path),
        };
        let text = std::fs::read_to_string(&path).map_err(|e| {
            Error::new(KAFKA_SECRET, format!("the secret in `{}` can't be read", path.display()))
                .help("check the path (it is relative to the pipeline file) and the file's rights")
                .because(e)
        })?;
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err(Error::new(
                KAFKA_SECRET,
                format!("the file `{}` holds no secret: it is empty", path.display()),
            )
            .help("write the secret into it, and nothing else"));
        }
        Ok(secret.to_owned())
    }
}
