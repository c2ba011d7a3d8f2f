//! `millstream run`: a plan, an HTTP port, progress, signals, and the summary at the end.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millstream_core::{Error, Result};
use millstream_engine::{Live, Overrides, Phase, Plan, RunOptions, Summary};

use crate::args::{LogFormat, RunArgs};
use crate::failure::{Failure, Outcome};
use crate::http::discovery::{Announced, Announcement};
use crate::log::Log;
use crate::progress::Progress;
use crate::{codes, http, logging, plan, signals, summary};

/// Runs a pipeline to the end of its input, or until it is stopped.
pub fn run(args: &RunArgs) -> Outcome {
    logging::init(&args.log)?;
    let http = args.http.as_deref().map(http::parse_address).transpose()?;
    let overrides = Overrides {
        workers: args.workers.map(usize::from),
        batch_rows_max: args.batch_rows_max.map(|n| n as usize),
        data_dir: args.data_dir.as_deref().map(absolute).transpose()?,
    };
    let plan = Arc::new(plan::plan(&args.file, overrides, args.log.log_format, args.log.quiet)?);
    let address = http.unwrap_or(plan.http());
    let live = plan.live();
    let _watch = signals::watch(live.clone()).map_err(|cause| Failure::io("watching for signals", cause))?;
    let outcome = run_plan(args, &plan, address, &live);
    match outcome {
        Ok(summary) => conclude(args, &plan, &summary),
        Err(error) if args.log.log_format == LogFormat::Json => {
            tracing::error!(code = error.code().id, help = error.help_text(), "{error}");
            Err(Failure::Said(crate::failure::exit_for(error.code())))
        }
        Err(error) => Err(error.into()),
    }
}

/// A path of the command line starts from the current folder, not from that of the pipeline file.
fn absolute(path: &std::path::Path) -> Outcome<PathBuf> {
    std::path::absolute(path).map_err(|cause| Failure::io(format!("finding `{}`", path.display()), cause))
}

fn run_plan(
    args: &RunArgs,
    plan: &Arc<Plan>,
    address: Option<std::net::SocketAddr>,
    live: &Arc<Live>,
) -> Result<Summary> {
    // Said before anything is touched; `--fresh` forgets the state anyway.
    if !args.fresh && plan.env().data_dir().exists() {
        let report = plan.state_report()?;
        if !report.is_quiet() {
            report.to_string().lines().for_each(|line| tracing::info!("{line}"));
        }
    }
    let server = address.map(|address| {
        let server =
            http::Server::start(address, plan.name(), Log::new(plan.env().log()?, plan.env().sync()), live.clone())?;
        tracing::info!(address = %server.address(), "HTTP API");
        Ok(server)
    });
    let server = server.transpose()?;
    let announcer = server.as_ref().map(|server| announce_when_up(server.address(), plan, live));
    let progress = if args.log.quiet {
        None
    } else {
        let started = Progress::start(plan.name(), plan.bounded(), logging::wants_bar(&args.log), live.clone());
        Some(started.map_err(|cause| Error::new(codes::IO, "the progress thread can't start").because(cause))?)
    };
    let options = RunOptions { fresh: args.fresh, allow_state_loss: args.allow_state_loss };
    let result = millstream_engine::run(plan, &options, live);
    if let Some(progress) = progress {
        progress.finish();
    }
    if let Some(announcer) = announcer {
        announcer.take_back();
    }
    if let Some(server) = server {
        server.stop();
    }
    result
}

/// Announces the port once inputs and outputs are open: then the pipeline's topics exist.
struct Announcer {
    stop: std::sync::mpsc::Sender<()>,
    thread: Option<std::thread::JoinHandle<Option<Announced>>>,
}

fn announce_when_up(address: std::net::SocketAddr, plan: &Plan, live: &Arc<Live>) -> Announcer {
    let (stop, stopped) = std::sync::mpsc::channel();
    let (live, data_dir) = (live.clone(), plan.env().data_dir().to_owned());
    let announcement = Announcement { pid: std::process::id(), address, pipeline: plan.name().to_owned() };
    let announce = move || {
        while live.phase() == Phase::Starting {
            if stopped.recv_timeout(Duration::from_millis(5)) != Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                return None;
            }
        }
        let published = announcement.publish(&data_dir);
        published.map_err(|cause| tracing::warn!("other commands won't find the HTTP API: {cause}")).ok()
    };
    let thread = std::thread::Builder::new().name("announce".to_owned()).spawn(announce).ok();
    Announcer { stop, thread }
}

impl Announcer {
    fn take_back(self) {
        let _ = self.stop.send(());
        drop(self.thread.map(std::thread::JoinHandle::join));
    }
}

fn conclude(args: &RunArgs, plan: &Plan, summary: &Summary) -> Outcome {
    if args.log.quiet {
        return Ok(());
    }
    let (outputs, used) = (plan.output_descriptions(), summary::used());
    let text = match args.log.log_format {
        LogFormat::Text => summary::text(plan.name(), &args.file.display().to_string(), summary, &outputs, used),
        LogFormat::Json => {
            let summary = summary::json(plan.name(), summary, &outputs, used);
            format!("{}\n", serde_json::json!({ "level": "INFO", "message": "summary", "summary": summary }))
        }
    };
    std::io::stderr().lock().write_all(text.as_bytes()).map_err(|cause| Failure::io("writing to standard error", cause))
}
