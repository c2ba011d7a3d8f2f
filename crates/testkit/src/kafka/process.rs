//! Processes that do not outlive the test process, however it ends.
//!
//! Each program runs under a small `sh` that holds the reading end of a pipe whose writing end only the test process
//! has. When the test process is gone (returned, panicked, killed) the pipe ends and the shell kills the program. A
//! signal of the parent's death (`PR_SET_PDEATHSIG`) would be Linux only and fires when the *thread* that spawned
//! ends, which for a test is the end of the test.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::failure::{Doing, Failure, Result};

/// Runs `"$@"` and ends with it; kills it when descriptor 3, the pipe, ends.
const SUPERVISE: &str = r#"
exec 3<&0
"$@" </dev/null >&2 3<&- &
program=$!
{ read -r _ <&3; kill -KILL "$program"; } >/dev/null 2>&1 &
watcher=$!
echo "$program"
exec >/dev/null
wait "$program"
status=$?
kill -KILL "$watcher"
exit "$status"
"#;

/// Removes a folder when the pipe ends; the programs that write there are being killed meanwhile.
const SWEEP: &str = r#"
read -r _
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    rm -rf "$1"
    [ -e "$1" ] || exit 0
    sleep 0.5
done
"#;

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Tries until it is true or the time is over; says which.
pub(super) fn wait_until(timeout: Duration, mut condition: impl FnMut() -> Result<bool>) -> Result<bool> {
    let deadline = Instant::now() + timeout;
    loop {
        if condition()? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        sleep(POLL);
    }
}

fn shell(script: &str) -> Command {
    let mut shell = Command::new("sh");
    // A group of its own: what a terminal or a test runner sends to the tests' group does not end the supervision.
    shell.args(["-c", script, "sh"]).stdin(Stdio::piped()).process_group(0);
    shell
}

/// A running program; dropped, it is killed.
pub(super) struct Supervised {
    shell: Child,
    lifeline: Option<ChildStdin>,
    pid: String,
}

impl Supervised {
    /// Starts a program, what it prints is added to `log`.
    pub(super) fn spawn(program: &Command, log: &Path) -> Result<Self> {
        let log_file = OpenOptions::new().create(true).append(true).open(log).doing(log.display())?;
        let mut command = shell(SUPERVISE);
        command.arg(program.get_program()).args(program.get_args()).stdout(Stdio::piped()).stderr(log_file);
        let mut shell = command.spawn().doing("`sh` can't be started")?;
        let lifeline = shell.stdin.take();
        let mut pid = String::new();
        if let Some(stdout) = shell.stdout.take() {
            BufReader::new(stdout).read_line(&mut pid).doing("no process id from `sh`")?;
        }
        Ok(Self { shell, lifeline, pid: pid.trim().to_owned() })
    }

    pub(super) fn pid(&self) -> &str {
        &self.pid
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.shell.try_wait().doing("a process can't be looked at")
    }

    /// Sends a signal (`TERM`, `STOP`, `CONT`) to the program, not to its supervisor.
    pub(super) fn signal(&mut self, signal: &str) -> Result<()> {
        if let Some(status) = self.ended()? {
            return Err(Failure::new(format!("no signal {signal} for a process that has ended ({status})")));
        }
        let status = Command::new("sh")
            .args(["-c", r#"kill -s "$1" "$2""#, "sh", signal, &self.pid])
            .status()
            .doing("`sh` can't be started")?;
        if status.success() { Ok(()) } else { Err(Failure::new(format!("process {} takes no {signal}", self.pid))) }
    }

    /// Waits for its end; says whether it came in time.
    pub(super) fn wait(&mut self, timeout: Duration) -> Result<bool> {
        wait_until(timeout, || Ok(self.ended()?.is_some()))
    }

    /// SIGKILL; it is gone when this returns.
    pub(super) fn kill(&mut self) {
        drop(self.lifeline.take());
        drop(self.shell.wait());
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A temporary folder that is removed even if the test process is killed.
pub(super) struct Folder {
    path: std::path::PathBuf,
    sweeper: Child,
}

impl Folder {
    pub(super) fn new(parent: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("millstream-kafka-").tempdir_in(parent);
        let path = folder.doing(format_args!("no temporary folder in {}", parent.display()))?.keep();
        let mut sweeper = shell(SWEEP);
        sweeper.arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
        let sweeper = sweeper.spawn().doing("`sh` can't be started")?;
        Ok(Self { path, sweeper })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.sweeper.stdin.take());
        drop(self.sweeper.wait());
    }
}
