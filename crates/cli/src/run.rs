//! `millstream run`: a plan, an HTTP port, progress, signals, and the summary at the end.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millstream_connectors::log::LogStore;
use millstream_core::{Error, Result};
use millstream_engine::{Live, Overrides, Phase, Plan, RunOptions, Summary, WayOut};

use crate::args::{LogFormat, RebuildFrom, RunArgs, StateChoice};
use crate::background::Background;
use crate::failure::{Failure, Outcome, exit_for};
use crate::http::discovery::Announcement;
use crate::log::Log;
use crate::progress::Progress;
use crate::{codes, http, logging, output, plan, signals, summary};

/// How often the log looks for records that need not be kept any longer.
const MAINTAIN_EVERY: Duration = Duration::from_secs(30);

/// Runs a pipeline to the end of its input, or until it is stopped.
pub fn run(args: &RunArgs) -> Outcome {
    logging::init(&args.log)?;
    match load_and_run(args) {
        // Whoever reads JSON reads all of it as JSON.
        Err(Failure::Error(error)) if args.log.log_format == LogFormat::Json => {
            tracing::error!(code = error.code().id, help = error.help_text(), "{error}");
            Err(Failure::Said(exit_for(error.code())))
        }
        outcome => outcome,
    }
}

fn load_and_run(args: &RunArgs) -> Outcome {
    let http = args.http.as_deref().map(http::parse_address).transpose()?;
    let overrides = Overrides {
        workers: args.workers.map(usize::from),
        batch_rows_max: args.batch_rows_max.map(|n| n as usize),
        data_dir: args.data_dir.as_deref().map(absolute).transpose()?,
    };
    let plan = plan::plan(&args.file, true, overrides, args.log.log_format, args.log.quiet)?;
    let live = plan.live();
    let _watch = signals::watch(live.clone()).map_err(|cause| Failure::io("watching for signals", cause))?;
    let summary = run_plan(args, &plan, http.unwrap_or(plan.http()), &live)?;
    conclude(args, &plan, &summary);
    Ok(())
}

/// A path of the command line starts from the current folder, not from that of the pipeline file.
fn absolute(path: &std::path::Path) -> Outcome<PathBuf> {
    std::path::absolute(path).map_err(|cause| Failure::io(format!("finding `{}`", path.display()), cause))
}

fn run_plan(args: &RunArgs, plan: &Arc<Plan>, address: Option<SocketAddr>, live: &Arc<Live>) -> Result<Summary> {
    // Said before anything is touched; `--fresh` forgets the state anyway.
    if !args.fresh && plan.env().data_dir().exists() {
        let report = plan.state_report()?;
        if !report.is_quiet() {
            report.to_string().lines().for_each(|line| tracing::info!("{line}"));
        }
    }
    // Several processes that read Kafka may run from one folder, and only one could have the log.
    let log = if plan.uses_log() { Some(plan.env().log()?) } else { None };
    let server = address.map(|address| {
        let log = log.clone().map(|log| Log::new(log, plan.env().sync()));
        http::Server::start(address, plan.name(), log, live.clone())
    });
    let server = server.transpose()?;
    if let Some(server) = &server {
        plan.env().set_http(server.address());
    }
    let thread = |cause| Error::new(codes::IO, "a thread of the command line can't start").because(cause);
    let _maintain = log.clone().map(maintain).transpose().map_err(thread)?;
    let announced = match &server {
        Some(server) => {
            tracing::info!(address = %server.address(), "HTTP API");
            // Whoever looks for a process that reads Kafka asks the group, which knows them all.
            match log {
                Some(_) => Some(announce_when_up(server.address(), plan, live).map_err(thread)?),
                None => None,
            }
        }
        None => None,
    };
    let progress = if args.log.quiet {
        None
    } else {
        let to_stdout = plan.output_descriptions().iter().any(|(_, place)| place == "standard output");
        let bar = logging::wants_bar(&args.log, to_stdout);
        Some(Progress::start(plan.name(), plan.bounded(), bar, live.clone()).map_err(thread)?)
    };
    let way_out = match (args.state, args.rebuild_from) {
        (Some(StateChoice::Empty), _) => Some(WayOut::Empty),
        (None, Some(RebuildFrom::Earliest)) => Some(WayOut::Earliest),
        (None, None) => None,
    };
    let options = RunOptions { fresh: args.fresh, way_out };
    let result = millstream_engine::run(plan, &options, live);
    drop(progress);
    // Taken back before the port closes, so that nobody is sent to a closed one.
    drop(announced);
    drop(server);
    result
}

/// Announces the port once inputs and outputs are open: then the pipeline's topics exist.
fn announce_when_up(address: SocketAddr, plan: &Plan, live: &Arc<Live>) -> std::io::Result<Background> {
    let (live, data_dir) = (live.clone(), plan.env().data_dir().to_owned());
    let announcement = Announcement { pid: std::process::id(), address, pipeline: plan.name().to_owned() };
    let mut held = Vec::new();
    Background::spawn("announce", Duration::from_millis(5), move || {
        if live.phase() == Phase::Starting {
            return ControlFlow::Continue(());
        }
        match announcement.publish(&data_dir) {
            // Taken back when it is dropped, at the end.
            Ok(announced) => held.push(announced),
            Err(cause) => tracing::warn!("other commands won't find the HTTP API: {cause}"),
        }
        ControlFlow::Break(())
    })
}

/// Removes records that need not be kept any longer.
fn maintain(log: Arc<LogStore>) -> std::io::Result<Background> {
    Background::spawn("retention", MAINTAIN_EVERY, move || {
        match log.maintain() {
            Ok(0) => {}
            Ok(removed) => tracing::debug!(removed, "retention"),
            Err(error) => tracing::warn!(code = error.code().id, "{error}"),
        }
        ControlFlow::Continue(())
    })
}

fn conclude(args: &RunArgs, plan: &Plan, summary: &Summary) {
    if args.log.quiet {
        return;
    }
    let (outputs, used) = (plan.output_descriptions(), summary::used());
    let text = match args.log.log_format {
        LogFormat::Text => summary::text(plan.name(), &args.file.display().to_string(), summary, &outputs, used),
        LogFormat::Json => {
            let summary = summary::json(plan.name(), summary, &outputs, used);
            format!("{}\n", serde_json::json!({ "level": "INFO", "message": "summary", "summary": summary }))
        }
    };
    output::complain(text);
}
