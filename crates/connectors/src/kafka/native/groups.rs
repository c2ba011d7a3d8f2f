//! A consumer group seen from outside: its members, and its offsets set by hand.

use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys as sys;
use rdkafka_sys::types::RDKafkaRespErr;

use super::{Client, Code, Failure, PartitionList, Queue, c_string, milliseconds, owned};

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct GroupMember {
    /// As the group's coordinator named it.
    pub(in crate::kafka) id: String,
    pub(in crate::kafka) client_id: String,
    /// `group.instance.id`, for static members.
    pub(in crate::kafka) instance: Option<String>,
    /// What is assigned to it.
    pub(in crate::kafka) partitions: Vec<(String, u32)>,
}

/// An admin request's options and the event that answers it.
struct Request(NonNull<sys::rd_kafka_AdminOptions_t>);

impl Request {
    fn new(client: &Client, operation: sys::rd_kafka_admin_op_t, wait: Duration) -> Result<Self, Failure> {
        // SAFETY: the options are ours until they are destroyed; a time that can't be set leaves the default.
        unsafe {
            let options = sys::rd_kafka_AdminOptions_new(client.ptr(), operation);
            let options =
                NonNull::new(options).ok_or_else(|| Failure::new(RDKafkaRespErr::RD_KAFKA_RESP_ERR__INVALID_ARG))?;
            sys::rd_kafka_AdminOptions_set_request_timeout(options.as_ptr(), milliseconds(wait), ptr::null_mut(), 0);
            Ok(Self(options))
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // SAFETY: the options are ours.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.0.as_ptr()) }
    }
}

/// The event that answers a request; destroyed with what is borrowed from it.
struct Answer(NonNull<sys::rd_kafka_event_t>);

impl Answer {
    fn wait(queue: &Queue, wait: Duration) -> Result<Self, Failure> {
        // SAFETY: the queue is alive, and the event is ours.
        unsafe {
            // The request ends by itself before this wait does.
            let event = sys::rd_kafka_queue_poll(queue.ptr(), milliseconds(wait + Duration::from_secs(5)));
            let event =
                NonNull::new(event).ok_or_else(|| Failure::new(RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT))?;
            let answer = Self(event);
            let code = sys::rd_kafka_event_error(event.as_ptr());
            Failure::check(code).map_err(|failure| Failure {
                text: owned(sys::rd_kafka_event_error_string(event.as_ptr())),
                ..failure
            })?;
            Ok(answer)
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: the event is ours.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// The error inside an answer, if there is one.
///
/// # Safety
/// `error` is null or an error that is alive.
unsafe fn inner(error: *const sys::rd_kafka_error_t) -> Result<(), Failure> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the caller says so. The error's own text names the request, and often nothing else.
    Failure::check(unsafe { sys::rd_kafka_error_code(error) })
}

fn queue(client: &Arc<Client>) -> Result<Queue, Failure> {
    Queue::new(client).ok_or_else(|| Failure::new(RDKafkaRespErr::RD_KAFKA_RESP_ERR__FAIL))
}

/// The members of a group; none if there is no such group.
pub(in crate::kafka) fn members(
    client: &Arc<Client>,
    group: &str,
    wait: Duration,
) -> Result<Vec<GroupMember>, Failure> {
    let queue = queue(client)?;
    let request = Request::new(client, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, wait)?;
    let name = c_string(group);
    let mut names = [name.as_ptr()];
    // SAFETY: names, options and queue live during the call, which copies the first two. All that the answer holds is
    // copied before it is destroyed.
    unsafe {
        sys::rd_kafka_DescribeConsumerGroups(client.ptr(), names.as_mut_ptr(), 1, request.0.as_ptr(), queue.ptr());
        let answer = Answer::wait(&queue, wait)?;
        let result = sys::rd_kafka_event_DescribeConsumerGroups_result(answer.0.as_ptr());
        let mut count = 0;
        let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        if groups.is_null() || count == 0 {
            return Ok(Vec::new());
        }
        let described = *groups;
        match inner(sys::rd_kafka_ConsumerGroupDescription_error(described)) {
            Err(failure) if failure.code == Code::GroupIdNotFound => return Ok(Vec::new()),
            other => other?,
        }
        let count = sys::rd_kafka_ConsumerGroupDescription_member_count(described);
        Ok((0..count).map(|i| member(sys::rd_kafka_ConsumerGroupDescription_member(described, i))).collect())
    }
}

/// # Safety
/// `described` is part of an answer that is alive.
unsafe fn member(described: *const sys::rd_kafka_MemberDescription_t) -> GroupMember {
    // SAFETY: the caller says so; all is copied.
    unsafe {
        let instance = sys::rd_kafka_MemberDescription_group_instance_id(described);
        let assignment = sys::rd_kafka_MemberDescription_assignment(described);
        let list = match assignment.is_null() {
            true => ptr::null(),
            false => sys::rd_kafka_MemberAssignment_partitions(assignment),
        };
        let partitions = match list.is_null() {
            true => PartitionList::new(),
            false => PartitionList::copy_of(list),
        };
        GroupMember {
            id: owned(sys::rd_kafka_MemberDescription_consumer_id(described)),
            client_id: owned(sys::rd_kafka_MemberDescription_client_id(described)),
            instance: (!instance.is_null()).then(|| owned(instance)).filter(|id| !id.is_empty()),
            partitions: partitions.entries().into_iter().map(|e| (e.topic, e.partition)).collect(),
        }
    }
}

/// Sets offsets of a group that has no members. The broker refuses where it has some.
pub(in crate::kafka) fn alter_offsets(
    client: &Arc<Client>,
    group: &str,
    list: &PartitionList,
    wait: Duration,
) -> Result<(), Failure> {
    let queue = queue(client)?;
    let request = Request::new(client, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, wait)?;
    let name = c_string(group);
    // SAFETY: as for `members`; the order is ours, and destroyed after the call has copied it.
    unsafe {
        let mut order = sys::rd_kafka_AlterConsumerGroupOffsets_new(name.as_ptr(), list.ptr());
        sys::rd_kafka_AlterConsumerGroupOffsets(client.ptr(), &raw mut order, 1, request.0.as_ptr(), queue.ptr());
        sys::rd_kafka_AlterConsumerGroupOffsets_destroy(order);
        let answer = Answer::wait(&queue, wait)?;
        let result = sys::rd_kafka_event_AlterConsumerGroupOffsets_result(answer.0.as_ptr());
        let mut count = 0;
        let groups = sys::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &raw mut count);
        if groups.is_null() || count == 0 {
            return Ok(());
        }
        let altered = *groups;
        inner(sys::rd_kafka_group_result_error(altered))?;
        let list = sys::rd_kafka_group_result_partitions(altered);
        let list = match list.is_null() {
            true => PartitionList::new(),
            false => PartitionList::copy_of(list),
        };
        match list.entries().into_iter().find_map(|entry| entry.error) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }
}
