//! Which store a pipeline commits to: the embedded log, or one Kafka cluster.

use millstream_core::Delivery;

use super::input::Topics;
use super::output::Cluster;
use super::properties::Properties;
use super::{Connection, KafkaOutput};
use crate::backend::{Choice, Clash};
use crate::spec::{SinkSpec, SourceSpec};

/// See [`crate::backend::choose`].
pub(crate) fn choose(
    source: &dyn SourceSpec,
    sinks: &[(&str, &dyn SinkSpec)],
    _delivery: Delivery,
) -> Result<Choice, Clash> {
    let outputs: Vec<(&str, &KafkaOutput)> =
        sinks.iter().filter_map(|(name, sink)| Some((*name, sink.kafka()?))).collect();
    let input = source.kafka().map(|input| ("the source".to_owned(), &input.connection));
    let named = outputs.iter().map(|(name, output)| (called(name), &output.connection));
    let Some((first, connection)) = input.into_iter().chain(named).next() else { return Ok(Choice::Local) };
    for (name, output) in &outputs {
        one_cluster((&first, connection), (name, &output.connection))?;
        if let Some(input) = source.kafka()
            && let Topics::Named(topics) = &input.topics
            && topics.contains(&output.topic)
        {
            let message =
                format!("{} writes to `{}`, which the source reads: it would never end", called(name), output.topic);
            return Err(clash(name, message, "write to another topic"));
        }
    }
    if let Some((name, _)) = sinks.iter().find(|(_, sink)| sink.embedded_log()) {
        let message =
            format!("{first} is in Kafka and {} in the embedded log, and one commit can't hold for both", called(name));
        let help = "write it to a Kafka topic (`type: kafka`) or to a file instead";
        return Err(clash(name, message, help));
    }
    let producer = producer(&outputs)?;
    let outputs = outputs.into_iter().map(|(_, output)| output.clone()).collect();
    Ok(Choice::Kafka(Box::new(Cluster { connection: connection.clone(), outputs, producer })))
}

/// An output's name in a sentence.
fn called(name: &str) -> String {
    match name {
        "dead_letters" => "`dead_letters`".to_owned(),
        name => format!("output `{name}`"),
    }
}

fn clash(output: &str, message: String, help: &str) -> Clash {
    Clash { output: Some(output.to_owned()), message, help: help.to_owned() }
}

/// One producer writes everything: it reaches one cluster, as one user.
fn one_cluster(first: (&str, &Connection), other: (&str, &Connection)) -> Result<(), Clash> {
    let ((first, one), (name, two)) = (first, other);
    if !one.same_cluster(two) {
        let (one, two) = (one.brokers(), two.brokers());
        let message = format!(
            "{first} is on the Kafka cluster {one} and {} on {two}, and one commit can't hold for both",
            called(name)
        );
        let help = "write to a topic of the first cluster and mirror it, or, if both are one cluster, name a broker that \
                    both have";
        return Err(clash(name, message, help));
    }
    if one.security != two.security {
        let message = format!(
            "{first} and {} reach one Kafka cluster as different users, and a transaction has one",
            called(name)
        );
        return Err(clash(name, message, "let both name the same `connection:`"));
    }
    Ok(())
}

/// The properties of all outputs' connections together.
fn producer(outputs: &[(&str, &KafkaOutput)]) -> Result<Properties, Clash> {
    let mut all = Properties::default();
    for (name, output) in outputs {
        for (property, value) in &output.connection.properties.0 {
            match all.0.insert(property.clone(), value.clone()) {
                Some(before) if before != *value => {
                    let message = format!(
                        "{} sets `{property}` to another value than an output before it, and one producer writes both",
                        called(name)
                    );
                    return Err(clash(name, message, "let both name the same `connection:`"));
                }
                _ => {}
            }
        }
    }
    Ok(all)
}
