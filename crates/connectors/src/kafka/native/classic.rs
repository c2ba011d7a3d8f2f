//! The members of a group of the classic protocol, asked for by a process that goes on for long.
//!
//! librdkafka's admin requests to a group's coordinator can end the whole process by a failed assertion when the
//! connection drops at the wrong moment (librdkafka issue 4605), so only short-lived commands make them
//! ([`super::members`]). The older request used here has no such fault, but hands the assignments over as the members wrote
//! them: see Kafka's `ConsumerProtocolAssignment`.

use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys as sys;

use super::groups::GroupMember;
use super::{Client, Failure, c_string, milliseconds, owned};

/// The members of a group; none if there is no such group. May block for as long as `wait`.
pub(in crate::kafka) fn classic_members(
    client: &Arc<Client>,
    group: &str,
    wait: Duration,
) -> Result<Vec<GroupMember>, Failure> {
    let name = c_string(group);
    let mut list: *const sys::rd_kafka_group_list = ptr::null();
    // SAFETY: the name lives during the call; without an error the list is ours until it is destroyed, and all that is
    // taken from it is copied before.
    unsafe {
        Failure::check(sys::rd_kafka_list_groups(client.ptr(), name.as_ptr(), &raw mut list, milliseconds(wait)))?;
        let mut members = Vec::new();
        for group in slice((*list).groups, (*list).group_cnt) {
            members.extend(slice(group.members, group.member_cnt).iter().map(|found| GroupMember {
                id: owned(found.member_id),
                client_id: owned(found.client_id),
                instance: None,
                partitions: partitions(slice(found.member_assignment.cast::<u8>(), found.member_assignment_size)),
            }));
        }
        sys::rd_kafka_group_list_destroy(list);
        Ok(members)
    }
}

/// # Safety
/// There are `count` values that live for as long as `'a`, or none.
unsafe fn slice<'a, T>(start: *const T, count: i32) -> &'a [T] {
    match usize::try_from(count) {
        // SAFETY: the caller says so.
        Ok(count) if count > 0 && !start.is_null() => unsafe { std::slice::from_raw_parts(start, count) },
        _ => &[],
    }
}

/// What an assignment holds; nothing where it can't be read, as in a member that was assigned nothing yet.
fn partitions(assignment: &[u8]) -> Vec<(String, u32)> {
    let mut rest = assignment;
    let mut found = Vec::new();
    let read = |found: &mut Vec<_>, rest: &mut &[u8]| -> Option<()> {
        let _version = take::<2>(rest)?;
        for _ in 0..i32::from_be_bytes(take(rest)?) {
            let length = usize::try_from(i16::from_be_bytes(take(rest)?)).ok()?;
            let (topic, after) = rest.split_at_checked(length)?;
            *rest = after;
            let topic = String::from_utf8_lossy(topic);
            for _ in 0..i32::from_be_bytes(take(rest)?) {
                found.push((topic.to_string(), u32::from_be_bytes(take(rest)?)));
            }
        }
        Some(())
    };
    match read(&mut found, &mut rest) {
        Some(()) => found,
        None => Vec::new(),
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_and_broken_ones_are_nothing() {
        let written =
            b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\x03\0\0\0\x07\0\x02bc\0\0\0\x01\0\0\0\0\xff\xff\xff\xff";
        let read = partitions(written);
        assert_eq!(read, [("a".to_owned(), 3), ("a".to_owned(), 7), ("bc".to_owned(), 0)]);
        for end in 0..written.len() - 4 {
            assert!(partitions(&written[..end]).is_empty(), "{end}");
        }
        assert!(partitions(b"\0\x01\x7f\xff\xff\xff").is_empty());
    }
}
