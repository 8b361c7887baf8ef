//! Rules of delivery that a test switches off, to see that it would notice their absence. Only
//! builds with debug assertions have the switch; in any other every rule holds.

use std::sync::OnceLock;

/// The environment variable that names a rule to break.
const VARIABLE: &str = "HOST_TEST_CONTROL";

/// A rule that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// `offsets-outside-transaction`: they are committed by themselves, behind the outputs.
    OffsetsOutsideTransaction,
    /// `no-rewind`: after a failure the next records are read, not those that were not committed.
    NoRewind,
    /// `keep-producer`: a producer goes on after a commit of which a request may have been retried
    /// (rule 9).
    KeepProducer,
    /// `keep-state`: what is in memory after a last commit that failed is committed on leaving
    /// (rule 13).
    KeepState,
    /// `no-member-check`: another member id than that under which partitions were assigned is not
    /// looked at (rule 2).
    NoMemberCheck,
    /// `commit-when-lost`: partitions that the group has taken away without asking are given up like
    /// any other, with a commit, whoever this member is by then (rule 7).
    CommitWhenLost,
    /// `timer-by-output`: a commit is due only once there was an output.
    TimerByOutput,
    /// `no-probation`: the errors of new rules are not looked at before a commit.
    NoProbation,
    /// `swap-in-transaction`: new rules are taken whenever they are there, without a commit of what
    /// the old ones made, and a worker in whose hands these are goes on until then.
    SwapInTransaction,
    /// `stand-still`: a worker never comes back from its first commit (rule 14).
    StandStill,
}

impl Control {
    /// Whether this rule is broken.
    pub fn is_on(self) -> bool {
        cfg!(debug_assertions) && chosen() == Some(self)
    }
}

fn chosen() -> Option<Control> {
    static CHOSEN: OnceLock<Option<Control>> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let control = match std::env::var(VARIABLE).ok()?.as_str() {
            "offsets-outside-transaction" => Control::OffsetsOutsideTransaction,
            "no-rewind" => Control::NoRewind,
            "keep-producer" => Control::KeepProducer,
            "keep-state" => Control::KeepState,
            "no-member-check" => Control::NoMemberCheck,
            "commit-when-lost" => Control::CommitWhenLost,
            "timer-by-output" => Control::TimerByOutput,
            "no-probation" => Control::NoProbation,
            "swap-in-transaction" => Control::SwapInTransaction,
            "stand-still" => Control::StandStill,
            _ => return None,
        };
        tracing::error!(?control, "a rule of delivery is broken on purpose: for tests only");
        Some(control)
    })
}
