//! What ends a run when a write can't be had, and what to do about it.

use millstream_core::Error;

use super::native::Code;
use super::write::{Failed, Write};
use crate::codes::KAFKA_COMMIT;

impl Write<'_> {
    /// The error that a failed write ends the run with.
    pub(super) fn ended(&self, failed: &Failed, unknown: bool) -> Error {
        let at = match &failed.record {
            Some((topic, partition, _)) => format!("to partition {partition} of topic `{topic}` "),
            None => String::new(),
        };
        let mut message = format!("an epoch can't be written {at}to Kafka");
        if at.is_empty() {
            message = "an epoch can't be committed to Kafka".to_owned();
        }
        if unknown {
            message.push_str(", and whether it was is not known; the next run finds out and goes on from there");
        }
        Error::new(KAFKA_COMMIT, message).help(way_out(failed)).because(failed.failure.clone())
    }
}

fn way_out(failed: &Failed) -> String {
    match failed.failure.code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
            let size = match &failed.record {
                Some((_, _, bytes)) if *bytes > 0 => format!(" (it has {bytes} bytes before compression)"),
                _ => String::new(),
            };
            format!(
                "a record is larger than the topic takes{size}: raise `max.message.bytes` of the topic, or send less"
            )
        }
        Code::TopicAuthorizationFailed => "let this user write to the topic (ACL `Write`)".to_owned(),
        Code::GroupAuthorizationFailed => "let this user read with the group (ACL `Read` on the group)".to_owned(),
        Code::TransactionalIdAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            "let this user write transactions (ACL `Write` on the transactional ids that begin with `millstream-`)"
                .to_owned()
        }
        Code::InvalidTransactionTimeout => {
            "raise `transaction.max.timeout.ms` of the brokers to 10 s at least".to_owned()
        }
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            "create the topic, or the partition, and start again".to_owned()
        }
        _ => "look at the broker's log, then start again: the pipeline goes on from its last commit".to_owned(),
    }
}
