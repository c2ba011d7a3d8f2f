//! A Python with the oracles, in a venv of its own in the cache folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::root;

/// The interpreter of a venv that has what `tests/requirements.txt` pins, made by the first test that needs it.
///
/// `None` if `MILLSTREAM_TEST_PYTHON=off`: then the caller says that it was left out and returns.
pub fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON
        .get_or_init(|| {
            if std::env::var("MILLSTREAM_TEST_PYTHON").is_ok_and(|v| v == "off") {
                return None;
            }
            Some(venv().unwrap_or_else(|problem| {
                panic!(
                    "this test compares with DuckDB and XGBoost, which come from Python, and {problem}\n\
                     help: install Python 3.11 or newer with its venv module (on Debian and Ubuntu: \
                     apt install python3-venv); MILLSTREAM_PYTHON names another interpreter, and \
                     MILLSTREAM_TEST_PYTHON=off leaves out what needs one"
                )
            }))
        })
        .as_deref()
}

fn venv() -> Result<PathBuf, String> {
    let requirements = root().join("tests/requirements.txt");
    let pinned = std::fs::read(&requirements).map_err(|e| format!("{}: {e}", requirements.display()))?;
    let hash = pinned.iter().fold(0xCBF2_9CE4_8422_2325u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3));
    let cache = cache_folder()?;
    let ready = cache.join(format!("venv-{hash:016x}"));
    let interpreter = |folder: &Path| folder.join("bin/python");
    if interpreter(&ready).exists() {
        return Ok(interpreter(&ready));
    }
    let python = std::env::var("MILLSTREAM_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let wanted = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";
    run(
        Command::new(&python).args(["-c", wanted]),
        &format!("`{python}` is missing, older than 3.11, or without venv"),
    )?;
    // Made aside and moved into place when complete: a stopped test leaves no half of one.
    std::fs::create_dir_all(&cache).map_err(|e| format!("{}: {e}", cache.display()))?;
    let building = cache.join(format!("venv-{hash:016x}.{}", std::process::id()));
    run(Command::new(&python).args(["-m", "venv"]).arg(&building), "its venv can't be made")?;
    let mut pip = Command::new(interpreter(&building));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&requirements);
    run(&mut pip, "pip can't install tests/requirements.txt")?;
    if std::fs::rename(&building, &ready).is_err() {
        // Another test run was faster.
        drop(std::fs::remove_dir_all(&building));
    }
    Ok(interpreter(&ready))
}

fn cache_folder() -> Result<PathBuf, String> {
    if let Some(cache) = std::env::var_os("MILLSTREAM_CACHE") {
        return Ok(PathBuf::from(cache));
    }
    let home = std::env::var_os("HOME").ok_or("neither MILLSTREAM_CACHE nor HOME is set")?;
    Ok(Path::new(&home).join(".cache/millstream"))
}

fn run(command: &mut Command, problem: &str) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{problem} ({e})"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{problem}:\n{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}
