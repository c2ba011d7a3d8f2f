//! Which store a pipeline commits to: the embedded log, or one Kafka cluster.

use millstream_core::Delivery;

use super::output::{Acks, Cluster};
use super::properties::Properties;
use super::{Connection, KafkaOutput};
use crate::backend::Choice;
use crate::spec::{SinkSpec, SourceSpec};

/// See [`crate::backend::choose`].
pub(crate) fn choose(
    source: &dyn SourceSpec,
    sinks: &[(&str, &dyn SinkSpec)],
    delivery: Delivery,
) -> Result<Choice, String> {
    let outputs: Vec<(&str, &KafkaOutput)> =
        sinks.iter().filter_map(|(name, sink)| Some((*name, sink.kafka()?))).collect();
    let input = source.kafka().map(|input| ("the source".to_owned(), &input.connection));
    let named = outputs.iter().map(|(name, output)| (format!("output `{name}`"), &output.connection));
    let mut ends = input.into_iter().chain(named);
    let Some((first, connection)) = ends.next() else { return Ok(Choice::Local) };
    for (other, another) in ends {
        one_cluster((&first, connection), (&other, another))?;
    }
    if let Some((name, _)) = sinks.iter().find(|(_, sink)| sink.embedded_log()) {
        return Err(format!(
            "{first} is in Kafka and output `{name}` in the embedded log, and one commit can't hold for both; write \
             that output to a Kafka topic or to a file instead, or let a second pipeline copy it"
        ));
    }
    if let Some((name, _)) = outputs.iter().find(|(_, output)| output.acks == Acks::Leader)
        && delivery == Delivery::ExactlyOnce
    {
        return Err(format!("output `{name}` says `acks: 1`, and a transaction needs all replicas; write `acks: all`"));
    }
    let producer = producer(&outputs)?;
    let outputs = outputs.into_iter().map(|(_, output)| output.clone()).collect();
    Ok(Choice::Kafka(Box::new(Cluster { connection: connection.clone(), outputs, producer })))
}

/// One producer writes everything: it reaches one cluster, as one user.
fn one_cluster(first: (&str, &Connection), other: (&str, &Connection)) -> Result<(), String> {
    let ((first, one), (other, two)) = (first, other);
    if !one.same_cluster(two) {
        return Err(format!(
            "{first} is on the Kafka cluster {} and {other} on {}, and one commit can't hold for both; mirror the topic \
             to one cluster, or split the pipeline: a first one to a topic there, a second one from it",
            one.brokers(),
            two.brokers(),
        ));
    }
    if one.security != two.security {
        return Err(format!(
            "{first} and {other} reach the Kafka cluster {} as different users, and one transaction has one; let both \
             name the same `connection:`",
            one.brokers()
        ));
    }
    Ok(())
}

/// The properties of all outputs' connections together.
fn producer(outputs: &[(&str, &KafkaOutput)]) -> Result<Properties, String> {
    let mut all = Properties::default();
    for (name, output) in outputs {
        for (property, value) in &output.connection.properties.0 {
            match all.0.insert(property.clone(), value.clone()) {
                Some(before) if before != *value => {
                    return Err(format!(
                        "output `{name}` sets `{property}` to another value than an output before it, and one producer \
                         writes both; let both name the same `connection:`"
                    ));
                }
                _ => {}
            }
        }
    }
    Ok(all)
}
