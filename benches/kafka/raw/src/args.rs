//! `--name value` pairs.

use std::collections::HashMap;
use std::str::FromStr;

use crate::Result;

/// What the command line said.
pub struct Args(HashMap<String, String>);

impl Args {
    /// Takes the words after the tool's name.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut pairs = HashMap::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or_else(|| format!("`{word}` is not of the form --name value"))?;
            let value = words.next().ok_or_else(|| format!("--{name} has no value"))?;
            pairs.insert(name.to_owned(), value);
        }
        Ok(Self(pairs))
    }

    /// A value that must be there.
    pub fn text(&self, name: &str) -> Result<&str> {
        self.0.get(name).map(String::as_str).ok_or_else(|| format!("--{name} is missing"))
    }

    /// A value that may be there.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A value with a default.
    pub fn number<T: FromStr>(&self, name: &str, otherwise: T) -> Result<T> {
        match self.0.get(name) {
            None => Ok(otherwise),
            Some(text) => text.parse().map_err(|_| format!("--{name} {text} is not a number of the right kind")),
        }
    }
}
