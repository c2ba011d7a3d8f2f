//! A folder of its own for each test, and the binary in it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Long enough for a machine that builds something else meanwhile.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a command did.
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Done {
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

/// A folder that goes when the test ends.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn command(&self, args: &[&str]) -> Command {
        command_in(self.0.path(), args)
    }

    pub fn run(&self, args: &[&str]) -> Done {
        self.run_with(args, "")
    }

    pub fn run_with(&self, args: &[&str], input: &str) -> Done {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // A command that ends early closes the pipe.
        let feeding = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let output = child.wait_with_output().unwrap();
        feeding.join().unwrap();
        Done {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn command_in(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.current_dir(folder).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
    command.env_remove("RUST_BACKTRACE").env("HTTP_PROXY", "http://127.0.0.1:1");
    command
}

/// A run in the background; killed when dropped.
pub struct Running {
    child: Child,
    pub address: String,
    errors: Option<std::thread::JoinHandle<String>>,
}

impl Running {
    /// Starts `run FILE` with JSON logs and waits until its HTTP port is announced in `data_dir`.
    pub fn start(folder: &Folder, file: &str, data_dir: &str) -> Self {
        let mut child = folder.command(&["run", file, "--log-format", "json"]).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).fold(String::new(), |all, line| all + &line + "\n")
        });
        let mut running = Self { child, address: String::new(), errors: Some(errors) };
        let announcement = folder.path(data_dir).join("http.json");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(address) = address(&announcement) {
                running.address = address;
                return running;
            }
            if let Some(status) = running.child.try_wait().unwrap() {
                panic!("the run ended with {status}:\n{}", running.errors.take().unwrap().join().unwrap());
            }
            assert!(Instant::now() < deadline, "no announcement");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Waits for the end: the exit code and standard error.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        (status.code(), self.errors.take().unwrap().join().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address(announcement: &Path) -> Option<String> {
    let text = std::fs::read_to_string(announcement).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    Some(value.get("address")?.as_str()?.to_owned())
}

/// Tries until it gives something.
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "it never came: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// NDJSON as values.
pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}
