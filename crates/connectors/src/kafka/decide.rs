//! What to do when a call of a transaction fails: pure, and held by a table.
//!
//! Four things can be true of a failure. The same call may be made *again*: nobody knows yet how it went. The transaction
//! must be *aborted*; its records are kept, so they are sent again in the next one. The group has *moved* on, which is an
//! abort after which some tasks may be someone else's. Or the producer is *cut* off: only a new one can find out what holds.
//! Everything else is *refused*, and no patience helps.

use super::native::{Code, Failure};

/// The call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Init,
    Begin,
    Produce,
    Deliver,
    Offsets,
    Commit,
    Abort,
}

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Again,
    Abort,
    Moved,
    Cut,
    Refused,
}

/// Which of the transaction's tasks still have their leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leases {
    /// At least one.
    Held,
    /// None: there is nothing left to commit.
    Ended,
}

/// What follows when the transaction is out of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send what is left again.
    Send,
    /// Everything belongs to others.
    Leave,
    /// The run ends with an error.
    Stop,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Make the same call again.
    Same,
    /// Abort, then go on.
    Abort(Next),
    /// Make a new producer, read what was committed, then go on.
    Replace(Next),
    /// End with an error and leave the transaction to the broker, which aborts it; after [`Call::Commit`] the outcome is
    /// unknown.
    Stop,
}

/// What a failure of a call means.
pub(super) fn classify(call: Call, failure: &Failure) -> Class {
    match failure.code {
        Code::MessageSizeTooLarge
        | Code::InvalidMessageSize
        | Code::MessageBatchTooLarge
        | Code::OffsetMetadataTooLarge
        | Code::InvalidCommitOffsetSize
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::InvalidTopic
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::InvalidTransactionTimeout
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::PolicyViolation
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature
        | Code::UnsupportedForMessageFormat
        | Code::UnsupportedCompressionType
        | Code::SaslAuthenticationFailed
        | Code::InvalidRequiredAcks => Class::Refused,
        Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::FencedInstanceId
        | Code::StaleMemberEpoch
        | Code::FencedMemberEpoch
        | Code::RebalanceInProgress
        | Code::AssignmentLost
        | Code::UnknownGroup
            if !failure.fatal =>
        {
            Class::Moved
        }
        _ if failure.fatal => Class::Cut,
        Code::InvalidProducerEpoch
        | Code::ProducerFenced
        | Code::Fenced
        | Code::Fatal
        | Code::InvalidTransactionalState => Class::Cut,
        _ if failure.abortable => Class::Abort,
        _ if failure.retriable => Class::Again,
        // An abort that fails for no known reason, or a call in a state that it should not be in: begin anew.
        _ => match call {
            Call::Init => Class::Again,
            Call::Abort | Call::Begin | Call::Commit => Class::Cut,
            Call::Produce | Call::Deliver | Call::Offsets => Class::Abort,
        },
    }
}

/// What to do about it. `giving_up`: the run ends, and its patience is over.
pub(super) fn decide(call: Call, class: Class, leases: Leases, giving_up: bool) -> Action {
    let next = match (leases, giving_up) {
        (Leases::Ended, _) => Next::Leave,
        (Leases::Held, true) => Next::Stop,
        (Leases::Held, false) => Next::Send,
    };
    match (class, call) {
        // Nothing is known to be wrong, but time is up.
        (Class::Again, _) if giving_up => Action::Stop,
        (Class::Again, _) => Action::Same,
        (Class::Refused, Call::Init | Call::Abort | Call::Begin) => Action::Stop,
        (Class::Refused, _) => Action::Abort(Next::Stop),
        (Class::Cut, _) if giving_up => Action::Stop,
        (Class::Cut, _) => Action::Replace(next),
        // No transaction is open, or it can't be ended.
        (Class::Abort | Class::Moved, Call::Init | Call::Begin | Call::Abort) if giving_up => Action::Stop,
        (Class::Abort | Class::Moved, Call::Init | Call::Begin | Call::Abort) => Action::Replace(next),
        (Class::Abort | Class::Moved, _) => Action::Abort(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: Code) -> Failure {
        Failure { code, fatal: false, retriable: false, abortable: false, text: String::new() }
    }

    #[test]
    fn failures_mean() {
        let fatal = |code| Failure { fatal: true, ..failure(code) };
        let retriable = |code| Failure { retriable: true, ..failure(code) };
        let abortable = |code| Failure { abortable: true, ..failure(code) };
        let table = [
            // The broker is down while it commits: how it went is not known, so the same call.
            (Call::Commit, retriable(Code::OperationTimedOut), Class::Again),
            (Call::Commit, retriable(Code::BrokerTransportFailure), Class::Again),
            (Call::Offsets, retriable(Code::NotCoordinator), Class::Again),
            // A record that was not delivered.
            (Call::Commit, abortable(Code::Inconsistent), Class::Abort),
            (Call::Deliver, failure(Code::MessageTimedOut), Class::Abort),
            (Call::Produce, failure(Code::State), Class::Abort),
            // A rebalance.
            (Call::Offsets, abortable(Code::IllegalGeneration), Class::Moved),
            (Call::Offsets, abortable(Code::UnknownMemberId), Class::Moved),
            (Call::Offsets, abortable(Code::StaleMemberEpoch), Class::Moved),
            (Call::Offsets, abortable(Code::FencedInstanceId), Class::Moved),
            // A zombie, or a transaction that the broker timed out.
            (Call::Commit, fatal(Code::InvalidProducerEpoch), Class::Cut),
            (Call::Commit, fatal(Code::ProducerFenced), Class::Cut),
            (Call::Offsets, fatal(Code::InvalidTransactionalState), Class::Cut),
            (Call::Abort, fatal(Code::InvalidTransactionalState), Class::Cut),
            (Call::Produce, failure(Code::Fatal), Class::Cut),
            (Call::Offsets, fatal(Code::FencedInstanceId), Class::Cut),
            // A state that it should not be in.
            (Call::Commit, failure(Code::State), Class::Cut),
            (Call::Begin, failure(Code::State), Class::Cut),
            (Call::Abort, failure(Code::Conflict), Class::Cut),
            (Call::Init, failure(Code::State), Class::Again),
            // No patience helps.
            (Call::Deliver, failure(Code::MessageSizeTooLarge), Class::Refused),
            (Call::Deliver, failure(Code::TopicAuthorizationFailed), Class::Refused),
            (Call::Offsets, abortable(Code::GroupAuthorizationFailed), Class::Refused),
            (Call::Init, fatal(Code::TransactionalIdAuthorizationFailed), Class::Refused),
            (Call::Offsets, abortable(Code::OffsetMetadataTooLarge), Class::Refused),
        ];
        for (call, failure, class) in table {
            assert_eq!(classify(call, &failure), class, "{call:?} {failure:?}");
        }
    }

    #[test]
    fn decisions() {
        use Action::{Abort, Replace, Same, Stop};
        use Leases::{Ended, Held};
        let table = [
            (Call::Commit, Class::Again, Held, false, Same),
            (Call::Commit, Class::Again, Held, true, Stop),
            // Whoever lost the tasks must still learn how its transaction ended before it begins the next.
            (Call::Commit, Class::Again, Ended, false, Same),
            (Call::Offsets, Class::Moved, Held, false, Abort(Next::Send)),
            (Call::Offsets, Class::Moved, Ended, false, Abort(Next::Leave)),
            (Call::Offsets, Class::Moved, Held, true, Abort(Next::Stop)),
            (Call::Deliver, Class::Abort, Held, false, Abort(Next::Send)),
            (Call::Deliver, Class::Refused, Held, false, Abort(Next::Stop)),
            (Call::Deliver, Class::Refused, Ended, false, Abort(Next::Stop)),
            (Call::Init, Class::Refused, Held, false, Stop),
            (Call::Commit, Class::Cut, Held, false, Replace(Next::Send)),
            (Call::Commit, Class::Cut, Ended, false, Replace(Next::Leave)),
            (Call::Commit, Class::Cut, Held, true, Stop),
            (Call::Abort, Class::Cut, Held, false, Replace(Next::Send)),
            (Call::Abort, Class::Abort, Held, false, Replace(Next::Send)),
            (Call::Begin, Class::Abort, Held, false, Replace(Next::Send)),
            (Call::Abort, Class::Again, Held, false, Same),
        ];
        for (call, class, leases, giving_up, action) in table {
            assert_eq!(decide(call, class, leases, giving_up), action, "{call:?} {class:?} {leases:?} {giving_up}");
        }
    }
}
