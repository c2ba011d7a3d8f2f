//! How a command ends: exit codes, and errors as people read them.

use std::fmt::Write as _;
use std::process::ExitCode;

use millstream_connectors::codes::OUTPUT_CLOSED;
use millstream_core::{Code, Error};

use crate::{codes, output};

/// What a command gives back.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why a command ended early.
#[derive(Debug)]
pub enum Failure {
    /// Something to say.
    Error(Error),
    /// Everything is said already; only the exit code is left.
    Said(Exit),
    /// Whoever read standard output went away: the end, quietly.
    BrokenPipe,
}

/// The exit codes; see [`crate::args::EXIT_CODES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Failed = 1,
    Usage = 2,
    Pipeline = 3,
    State = 4,
    Bug = 101,
    StoppedAtOnce = 130,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Failure {
    /// A stream or file of the command that failed.
    pub fn io(what: impl std::fmt::Display, cause: std::io::Error) -> Self {
        if cause.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::BrokenPipe;
        }
        Self::Error(Error::new(codes::IO, format!("{what} failed")).because(cause))
    }

    /// Prints what is left to say and gives the exit code.
    pub fn report(self) -> ExitCode {
        let exit = match self {
            Self::BrokenPipe => return ExitCode::SUCCESS,
            Self::Said(exit) => exit,
            // Whoever read the rows has seen enough.
            Self::Error(error) if error.code() == OUTPUT_CLOSED => return ExitCode::SUCCESS,
            Self::Error(error) => {
                output::complain(render(&error));
                exit_for(error.code())
            }
        };
        ExitCode::from(exit as u8)
    }
}

/// Which exit code belongs to an error: by the range of its code.
pub fn exit_for(code: Code) -> Exit {
    match code.id.get(2..4) {
        _ if code == codes::ARGUMENT || code == codes::NOT_LOOPBACK => Exit::Usage,
        _ if code == codes::TOPIC_IN_USE => Exit::State,
        // A wrong topic name says nothing about the state.
        Some("06") if code.id.starts_with("MS062") => Exit::Failed,
        Some("01") => Exit::Pipeline,
        Some("06") => Exit::State,
        _ => Exit::Failed,
    }
}

/// An error with its code, what to do, and its causes; every line ends with a line feed.
pub fn render(error: &Error) -> String {
    let mut text = format!("error[{}]: {}\n", error.code(), error.message());
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let own = next.downcast_ref::<Error>();
        // An `Error` prints its causes in its own line; the chain below would say them twice.
        let line = own.map_or_else(|| next.to_string(), |e| format!("[{}] {}", e.code(), e.message()));
        let _ = writeln!(text, "  because: {line}");
        cause = next.source();
    }
    if let Some(help) = help_of(error) {
        let _ = writeln!(text, "  help: {}", help.replace('\n', "\n        "));
    }
    text
}

/// The error's own help, or the nearest one among its causes.
fn help_of(error: &Error) -> Option<&str> {
    if let Some(help) = error.help_text() {
        return Some(help);
    }
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        if let Some(help) = next.downcast_ref::<Error>().and_then(Error::help_text) {
            return Some(help);
        }
        cause = next.source();
    }
    None
}

/// Turns a panic into a message for whoever meets it: it is our bug, not theirs.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        if millstream_engine::panic_is_caught() {
            return;
        }
        let what = panic.payload_as_str().unwrap_or("no message");
        let place =
            panic.location().map(|l| format!(" at {}:{}:{}", l.file(), l.line(), l.column())).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        output::complain(format!(
            "error: this is a bug in millstream {}: {what}\n  where: thread `{thread}`{place}\n  help: committed results are \
             safe, and the next run resumes after them; please report this message with the pipeline file\n",
            env!("CARGO_PKG_VERSION"),
        ));
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            output::complain(format!("{}\n", std::backtrace::Backtrace::force_capture()));
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_and_help_are_said_once() {
        let inner = Error::new(codes::IO, "`a.ndjson` failed")
            .help("close it\nthen try again")
            .because(std::io::Error::other("disk"));
        let outer = Error::new(codes::RECORD, "no record").because(inner);
        assert_eq!(
            render(&outer),
            "error[MS0706]: no record\n  because: [MS0707] `a.ndjson` failed\n  because: disk\n  help: close it\n        then try again\n"
        );
    }

    #[test]
    fn ranges_have_exit_codes() {
        assert_eq!(exit_for(codes::NOT_LOOPBACK), Exit::Usage);
        assert_eq!(exit_for(codes::IO), Exit::Failed);
        assert_eq!(exit_for(millstream_core::codes::UNKNOWN_TYPE), Exit::Pipeline);
        assert_eq!(exit_for(millstream_core::codes::STATE_CORRUPT), Exit::State);
    }
}
