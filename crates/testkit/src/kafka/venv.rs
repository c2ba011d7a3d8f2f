//! The Python with confluent-kafka, in a venv of its own in the cache folder.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::failure::{Doing, Failure, Result};
use super::home::{cached, hash, run};
use super::source;

/// The interpreter of a venv with what `tests/kafka/requirements.txt` pins, made by the first that needs it.
pub(super) fn python() -> Result<PathBuf> {
    static PYTHON: OnceLock<Result<PathBuf>> = OnceLock::new();
    PYTHON.get_or_init(make).clone()
}

fn make() -> Result<PathBuf> {
    let requirements = source("requirements.txt");
    let pinned = std::fs::read(&requirements).doing(requirements.display())?;
    let ready = cached(&format!("kafka-venv-{:016x}", hash(&[&pinned])), |folder| {
        let python = std::env::var("MILLSTREAM_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let wanted = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";
        let problem = format!("`{python}` is missing, older than 3.11, or without venv");
        run(Command::new(&python).args(["-c", wanted]), &problem)?;
        run(Command::new(&python).args(["-m", "venv"]).arg(folder), "its venv can't be made")?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&requirements);
        run(&mut pip, "pip can't install tests/kafka/requirements.txt")
    });
    let ready = ready.map_err(|problem| {
        Failure::new(format!(
            "this test reads and writes Kafka with confluent-kafka, which comes from Python, and {problem}\n\
             help: install Python 3.11 or newer with its venv module (on Debian and Ubuntu: apt install python3-venv); \
             MILLSTREAM_PYTHON names another interpreter; the first time pip needs the network"
        ))
    })?;
    Ok(ready.join("bin/python"))
}
