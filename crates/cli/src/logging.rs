//! Log lines on standard error, as text or JSON, and out of the way of the progress bar.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use indicatif::ProgressBar;
use millstream_core::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::args::{LogArgs, LogFormat};
use crate::failure::Outcome;
use crate::{codes, output};

/// The bar that must be lifted while a line is written.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Says which bar is on the screen now.
pub fn set_bar(bar: Option<ProgressBar>) {
    *BAR.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = bar;
}

/// Starts logging for the rest of the process.
pub fn init(args: &LogArgs) -> Outcome {
    let level = if args.quiet { "warn" } else { args.log_level.as_str() };
    let filter = EnvFilter::builder().parse(level).map_err(|cause| {
        Error::new(codes::ARGUMENT, format!("`{level}` is not a log level"))
            .because(cause)
            .help("say error, warn, info, debug or trace; or, for one part, `info,millstream_engine=debug`")
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines);
    match args.log_format {
        LogFormat::Text => lines.with_ansi(output::color(&io::stderr())).with_target(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
    }
    Ok(())
}

/// Whether a bar makes sense: text for a person who looks at a terminal, which rows don't go to as well.
pub fn wants_bar(args: &LogArgs, writes_to_stdout: bool) -> bool {
    let free = !(writes_to_stdout && io::stdout().is_terminal());
    !args.quiet && args.log_format == LogFormat::Text && io::stderr().is_terminal() && free
}

struct Lines;

/// One line at a time: the subscriber formats a whole event before it writes.
struct Line;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bar = BAR.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        match bar {
            Some(bar) => bar.suspend(|| output::complain(bytes)),
            None => output::complain(bytes),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
