//! A process that runs a pipeline, and what can be done to it.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::support::{Job, wait};

/// From SIGTERM to the end of a process, on a machine that is busy with other things.
const STOP_MAX: Duration = Duration::from_secs(60);

/// A running process; dropped, it is killed.
pub struct Instance {
    name: String,
    child: Child,
    log: PathBuf,
    paused: bool,
}

impl Instance {
    /// Starts `run pipeline.yaml` with further arguments; what it says goes to a file of the job.
    pub fn start(job: &Job, name: &str, arguments: &[&str]) -> Self {
        let log = job.path(&format!("{name}.log"));
        let said = std::fs::File::create(&log).expect("a log file can be made");
        let all = [&["run", "pipeline.yaml", "--quiet", "--http", "off"], arguments].concat();
        let mut command = job.command(&all);
        let child = command.stdout(Stdio::null()).stderr(said).spawn().expect("the binary starts");
        Self { name: name.to_owned(), child, log, paused: false }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Fails the test if it ended.
    #[track_caller]
    pub fn expect_running(&mut self) {
        if let Some(status) = self.ended() {
            panic!("{} ended by itself, {status}; it said:\n{}", self.name, self.said());
        }
    }

    /// Waits until it ends by itself, which it must not do well, and says what it said.
    #[track_caller]
    pub fn expect_failure(mut self) -> String {
        let status = wait(&mut self.child, STOP_MAX);
        let said = self.said();
        let Some(status) = status else { panic!("{} has not ended after {STOP_MAX:?}:\n{said}", self.name) };
        assert!(!status.success(), "{} ended well; it said:\n{said}", self.name);
        said
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("sh").args(["-c", r#"kill -s "$1" "$2""#, "sh", signal, &pid]).status();
        assert!(status.is_ok_and(|status| status.success()), "{} takes no {signal}:\n{}", self.name, self.said());
    }

    /// Holds it where it is (SIGSTOP).
    pub fn pause(&mut self) {
        self.signal("STOP");
        self.paused = true;
    }

    /// Lets it go on.
    pub fn resume(&mut self) {
        self.signal("CONT");
        self.paused = false;
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Ends it without warning.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Asks it to end (SIGTERM).
    pub fn ask_to_end(&self) {
        self.signal("TERM");
    }

    /// Waits until it ends by itself; fails the test unless that is with this exit code, and says what it said.
    #[track_caller]
    pub fn expect_code(mut self, code: i32) -> String {
        let status = wait(&mut self.child, STOP_MAX);
        let said = self.said();
        let Some(status) = status else { panic!("{} has not ended after {STOP_MAX:?}:\n{said}", self.name) };
        assert_eq!(status.code(), Some(code), "exit code of {}, which said:\n{said}", self.name);
        said
    }

    /// SIGTERM, and it commits what it read and ends well.
    #[track_caller]
    pub fn leave(self) -> String {
        self.ask_to_end();
        self.expect_code(0)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.end();
    }
}
