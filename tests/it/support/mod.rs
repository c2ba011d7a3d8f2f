//! What the tests share: the binary, a Python with the oracles, a folder for each job, seeded randomness.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

mod python;

pub use python::python;

/// No run of a test takes longer than this on a slow machine; one that does hangs.
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent")
}

/// The binary under test: `MILLSTREAM_BIN`, or what cargo builds now, in the profile of these tests.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("MILLSTREAM_BIN") {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
}

/// `cargo test` of this package alone would not build the binary, or leave an old one; cargo knows best.
fn build() -> PathBuf {
    let tests = std::env::current_exe().expect("a test knows its own path");
    // <target>/<profile>/deps/it-<hash>
    let profile = tests.ancestors().nth(2).expect("target/profile/deps");
    let target = profile.parent().expect("the target folder");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--workspace", "--bins", "--target-dir"]).arg(target).current_dir(root());
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let output = command.output().expect("cargo starts");
    assert!(output.status.success(), "cargo build failed:\n{}", String::from_utf8_lossy(&output.stderr));
    profile.join(format!("millstream{}", std::env::consts::EXE_SUFFIX))
}

/// A number from the environment, to lengthen a test.
pub fn number_from_env(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, it is {text:?}")),
        Err(_) => default,
    }
}

/// How a run of the binary ended.
#[derive(Debug)]
pub struct Run {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Fails the test with everything the binary said unless it ended with this exit code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "exit code; it said:\n{}{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub fn expect_success(self) -> Self {
        self.expect_code(0)
    }

    /// Everything it printed.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A folder with a pipeline and what it needs, removed at the end of the test.
pub struct Job {
    folder: TempDir,
}

impl Job {
    pub fn new(pipeline: &str) -> Self {
        let job = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        job.write("pipeline.yaml", pipeline.as_bytes());
        job
    }

    /// Another folder with all that is in this one: the same events in the same topics, with the same times of arrival.
    pub fn duplicate(&self) -> Self {
        let job = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        copy_tree(self.folder.path(), job.folder.path());
        job
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap_or_else(|e| panic!("writing {name}: {e}"));
    }

    pub fn copy(&self, from: &Path, name: &str) {
        std::fs::copy(from, self.path(name)).unwrap_or_else(|e| panic!("copying {}: {e}", from.display()));
    }

    /// A file's bytes; empty if it is not there.
    pub fn read(&self, name: &str) -> Vec<u8> {
        match std::fs::read(self.path(name)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => panic!("reading {name}: {error}"),
        }
    }

    /// A file's lines as JSON.
    #[track_caller]
    pub fn json_lines(&self, name: &str) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.read(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}: {e} in {line}")))
            .collect()
    }

    /// The binary with these arguments, in this folder, with nothing on its standard input.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        // What the binary prints must not depend on who runs the tests.
        command.env("NO_COLOR", "1").env_remove("RUST_LOG");
        command
    }

    /// Runs the binary to its end.
    pub fn millstream(&self, arguments: &[&str]) -> Run {
        finish(self.command(arguments), b"")
    }

    /// Runs the binary to its end with these bytes on its standard input.
    pub fn millstream_with_input(&self, arguments: &[&str], input: &[u8]) -> Run {
        finish(self.command(arguments), input)
    }

    /// `run pipeline.yaml` without progress, to its end.
    pub fn run(&self) -> Run {
        self.millstream(&["run", "pipeline.yaml", "--quiet"])
    }

    /// `run pipeline.yaml`, killed without warning after a while. Whether it had ended before.
    pub fn run_and_kill_after(&self, pause: Duration) -> bool {
        let mut command = self.command(&["run", "pipeline.yaml", "--quiet"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
        let ended = wait(&mut child, pause);
        if ended.is_none() {
            child.kill().expect("the run can be killed");
            child.wait().expect("a killed run ends");
        }
        ended.is_some()
    }

    /// Keeps the folder and says where it is, for a test that is about to fail.
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}

/// The files below a folder whose names end so, in order.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Copies a folder.
pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("a folder can be read") {
        let entry = entry.expect("an entry");
        let name = entry.file_name();
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &to.join(name));
        } else {
            std::fs::copy(entry.path(), to.join(name)).expect("a file can be copied");
        }
    }
}

/// Runs a command to its end with these bytes on its standard input.
pub fn finish(mut command: Command, input: &[u8]) -> Run {
    use std::io::{Read, Write};
    let feed = !input.is_empty();
    command.stdin(if feed { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let (mut stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    std::thread::scope(|threads| {
        if let Some(mut stdin) = child.stdin.take() {
            // A binary that ends early closes the pipe; its exit code tells.
            threads.spawn(move || drop(stdin.write_all(input)));
        }
        let read = |pipe: &mut dyn Read| {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).expect("the output can be read");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let stdout = threads.spawn(move || read(&mut stdout));
        let stderr = threads.spawn(move || read(&mut stderr));
        let status = wait(&mut child, RUN_LIMIT);
        if status.is_none() {
            child.kill().expect("the run can be killed");
            child.wait().expect("a killed run ends");
        }
        let (stdout, stderr) = (stdout.join().expect("reads"), stderr.join().expect("reads"));
        let status = status.unwrap_or_else(|| panic!("no end after {RUN_LIMIT:?}; it said:\n{stdout}{stderr}"));
        Run { status, stdout, stderr }
    })
}

/// Waits that long for a process to end by itself.
pub fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Seeded randomness (splitmix64), so that a failure can be repeated.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The fraud example's pipeline with parts of its text replaced. Each part must be there.
pub fn fraud_pipeline(replace: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(root().join("examples/fraud/pipeline.yaml")).expect("the example is there");
    for (from, to) in replace {
        assert!(text.contains(from), "examples/fraud/pipeline.yaml has no {from:?} any more");
        text = text.replace(from, to);
    }
    text
}

/// A folder with the fraud example's model and the given pipeline, and generated `events.ndjson` and `merchants.csv`.
pub fn fraud_job(pipeline: &str, events: u64, seed: u64, bad_fraction: f64) -> Job {
    let job = Job::new(pipeline);
    job.copy(&root().join("examples/fraud/model.json"), "model.json");
    let (events, seed, bad) = (events.to_string(), seed.to_string(), bad_fraction.to_string());
    job.millstream(&[
        "generate",
        "fraud",
        "--events",
        &events,
        "--seed",
        &seed,
        "--bad-fraction",
        &bad,
        "--output",
        "events.ndjson",
        "--merchants-output",
        "merchants.csv",
    ])
    .expect_success();
    job
}

/// Puts `events.ndjson` of a fraud job into the topic `transactions`, by card; what has no card under one other key.
pub fn fraud_topic(job: &Job, partitions: &str) {
    let events = String::from_utf8(job.read("events.ndjson")).expect("generated events are UTF-8");
    let has_card = |line: &&str| line.contains(r#""card_id":"c"#) && line.ends_with('}');
    let (of_cards, others): (Vec<&str>, Vec<&str>) = events.lines().partition(has_card);
    job.write("of_cards.ndjson", of_cards.join("\n").as_bytes());
    job.write("others.ndjson", others.join("\n").as_bytes());
    job.millstream(&["topic", "create", "transactions", "--partitions", partitions]).expect_success();
    let produce = ["topic", "produce", "transactions", "--quiet", "--input"];
    job.millstream(&[&produce[..], &["of_cards.ndjson", "--key-field", "card_id"]].concat()).expect_success();
    job.millstream(&[&produce[..], &["others.ndjson", "--key", "none"]].concat()).expect_success();
}
