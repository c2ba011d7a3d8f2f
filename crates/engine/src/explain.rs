//! What a plan is, for people: `millstream explain`.

use std::fmt::{self, Write as _};
use std::time::Duration;

use millstream_connectors::backend::Choice;
use millstream_core::{Delivery, OutputKind};

use crate::plan::{Plan, PlannedOutput, StepKind};
use crate::predict::Scorer;

/// Renders the plan, the state each step keeps, guarantees and settings.
pub(crate) fn explain(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    let _ = write(plan, &mut text);
    text
}

fn write(plan: &Plan, out: &mut String) -> fmt::Result {
    let settings = &plan.settings;
    writeln!(out, "pipeline {}", plan.name)?;
    writeln!(
        out,
        "  delivery {}, an epoch closes when the input is drained or after {}",
        settings.delivery,
        span(settings.epoch_max)
    )?;
    writeln!(
        out,
        "  {} worker{}, micro-batches of up to {} rows, snapshots every {} (keeping {}), a commit survives {}",
        settings.workers,
        if settings.workers == 1 { "" } else { "s" },
        settings.batch_rows_max,
        span(settings.snapshot_every),
        settings.snapshots_keep,
        match (&plan.backend, settings.sync) {
            (Choice::Kafka(_), _) => "what the topics' replicas survive",
            (Choice::Local, true) => "a loss of power",
            (Choice::Local, false) => "a crash of the process",
        },
    )?;
    place(plan, out)?;
    source(plan, out)?;
    for step in &plan.steps {
        let input = step.input.checked_sub(1).map_or(plan.source.name.as_str(), |i| plan.steps[i].name.as_str());
        match &step.kind {
            StepKind::Sql(query) => {
                writeln!(out, "\nstep {} (sql) from {input}", step.name)?;
                indent(out, &query.explain())?;
                if !query.is_stateful() {
                    writeln!(out, "  state: none")?;
                }
            }
            StepKind::Predict(predict) => {
                writeln!(out, "\nstep {} (predict) from {input}", step.name)?;
                match &predict.scorer {
                    Scorer::Model { model, output, .. } => {
                        writeln!(out, "  model {} version {}: {}", model.name, model.version, model.model.describe())?;
                        writeln!(out, "  digest {}", model.model.digest())?;
                        let names: Vec<_> =
                            model.model.signature().inputs.iter().map(|i| i.name.as_deref().unwrap_or("?")).collect();
                        writeln!(out, "  inputs {}; output {}", names.join(", "), name_of(*output))?;
                    }
                    Scorer::Rules { name, rules, default, .. } => {
                        writeln!(out, "  rules {name}: the first of {} that is true, else {default}", rules.len())?;
                    }
                }
                writeln!(out, "  state: none")?;
            }
        }
    }
    for output in &plan.outputs {
        write_output(plan, output, out)?;
    }
    match &plan.dead_letters {
        Some(output) => write_output(plan, output, out)?,
        None => writeln!(out, "\ndead letters: none; the run stops at the first bad event")?,
    }
    Ok(())
}

/// Where commits and state are.
fn place(plan: &Plan, out: &mut String) -> fmt::Result {
    match &plan.backend {
        Choice::Local => writeln!(out, "  commits to the embedded log in {}", plan.env.data_dir().display())?,
        Choice::Kafka(cluster) => {
            let how = match plan.settings.delivery {
                Delivery::ExactlyOnce => "each epoch of a worker in one transaction",
                _ => "positions after the outputs were acknowledged, without a transaction",
            };
            writeln!(out, "  commits to the Kafka cluster {}: {how}", cluster.brokers())?;
        }
    }
    let warm = match plan.settings.standby {
        0 => String::new(),
        1 => ", and 1 warm copy in another process".to_owned(),
        n => format!(", and {n} warm copies in other processes"),
    };
    writeln!(out, "  snapshots in {}{warm}", plan.settings.state)
}

fn source(plan: &Plan, out: &mut String) -> fmt::Result {
    let source = &plan.source;
    writeln!(out, "\nsource {}: {}", source.name, source.spec.describe())?;
    let partitions = source.spec.declared_partitions().map_or("as many partitions as it has".to_owned(), |p| match p {
        1 => "1 partition, one task".to_owned(),
        p => format!("{p} partitions, as many tasks"),
    });
    let end = if source.spec.bounded() { "ends by itself" } else { "does not end" };
    writeln!(out, "  {partitions}; {end}; can give {}", source.spec.delivery())?;
    if let Some(input) = source.spec.kafka() {
        writeln!(out, "  {}", input.explain(&plan.name))?;
    }
    match source.event_time {
        None => writeln!(out, "  watermark: none (no `event_time`)")?,
        Some((column, _)) => {
            let idle = source.idle_after.map_or("never idle".to_owned(), |d| format!("idle after {}", span(d)));
            writeln!(
                out,
                "  watermark: greatest `{}` seen minus {}; {idle}",
                source.columns.field(column).name(),
                span(Duration::from_nanos(u64::try_from(source.lateness_ns).unwrap_or(0))),
            )?;
        }
    }
    for (name, check) in &source.checks {
        writeln!(out, "  check {name}: {}", check.text)?;
    }
    Ok(())
}

fn write_output(plan: &Plan, output: &PlannedOutput, out: &mut String) -> fmt::Result {
    writeln!(out, "\noutput {}: {}", output.name, output.spec.describe())?;
    if !output.context.dead_letters {
        let input = output.input.checked_sub(1).map_or(plan.source.name.as_str(), |i| plan.steps[i].name.as_str());
        let filter = output.filter.as_ref().map_or(String::new(), |f| format!(" where {}", f.text));
        writeln!(out, "  rows of {input}{filter}")?;
    }
    let given = output.spec.delivery().min(plan.source.spec.delivery());
    // Without a transaction, what was written before a crash is written again.
    let in_kafka = matches!(plan.backend, Choice::Kafka(_));
    let given = if in_kafka { given.min(plan.settings.delivery) } else { given };
    let how = match (output.spec.kafka().is_some(), in_kafka, given) {
        (true, _, Delivery::ExactlyOnce) => {
            ", in the epoch's transaction: for consumers with isolation.level=read_committed"
        }
        (true, _, _) => ": written before the position is committed",
        (false, true, Delivery::ExactlyOnce) => ": rows are published after their commit, which says how far they go",
        (false, ..) => "",
    };
    writeln!(out, "  guarantee: {given}{how}")
}

fn indent(out: &mut String, text: &str) -> fmt::Result {
    text.lines().try_for_each(|line| writeln!(out, "    {line}"))
}

fn span(duration: Duration) -> String {
    millstream_config::duration::show(duration)
}

fn name_of(output: OutputKind) -> &'static str {
    match output {
        OutputKind::Prediction => "prediction",
        OutputKind::Raw => "raw",
        OutputKind::Class => "class",
    }
}
