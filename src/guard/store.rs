//! The questions of the guard to a store that several processes share, and the answers. Plain values: the shell carries them
//! to a client of Redis or MongoDB and back.

use ipnet::IpNet;
use std::net::IpAddr;

/// The numbers of a fixed window with escalation (guard semantics, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EscalationConstants {
    /// Requests that pass in one window.
    pub requests_max: u32,
    /// The window.
    pub window_ms: u64,
    /// Number of violations from which on each one blocks.
    pub block_after: u32,
    /// Duration of a block.
    pub block_ms: u64,
    /// Number of violations within `permanent_window_ms` that block permanently; `None` for never.
    pub permanent_after: Option<u32>,
    /// How long a violation counts towards a permanent block.
    pub permanent_window_ms: u64,
}

/// The verdict of a fixed window with escalation on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EscalationVerdict {
    /// The request passes.
    Pass,
    /// More requests than the window allows.
    Over {
        /// The rest of the window in milliseconds, at least 1.
        retry_after_ms: u64,
    },
    /// Blocked for so many milliseconds more.
    Blocked {
        /// The rest of the block in milliseconds.
        retry_after_ms: u64,
    },
    /// Blocked for ever.
    Permanent,
}

/// What a request has done to a fixed window with escalation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EscalationStep {
    /// The verdict on the request.
    pub verdict: EscalationVerdict,
    /// Whether the request itself is a violation. One of a key that was blocked before is none.
    pub is_violation: bool,
    /// If it passes: milliseconds until the next request would pass, too; 0 if it would pass now.
    pub next_after_ms: u64,
}

/// One question of a request. All questions of one request are sent together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Records a hit in a sliding window, whatever the answer (section 5).
    Window {
        /// Behind the prefix: namespace and key, such as `rate_limit:rate:192.0.2.1`.
        key: Box<str>,
        /// Requests that pass.
        limit: u32,
        /// The window.
        window_ms: u64,
    },
    /// One step of a fixed window with escalation (section 6).
    Escalation {
        /// Behind the prefix: namespace and key.
        key: Box<str>,
        /// The numbers of the directive.
        constants: EscalationConstants,
    },
}

impl Check {
    /// Behind the prefix: namespace and key.
    pub fn key(&self) -> &str {
        match self {
            Check::Window { key, .. } | Check::Escalation { key, .. } => key,
        }
    }
}

/// The answer to one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Check::Window`].
    Window {
        /// Whether this hit is within the limit.
        within: bool,
        /// Hits that are left in the window.
        left: u32,
        /// Milliseconds until the next request would pass; 0 if it would pass now.
        retry_after_ms: u64,
    },
    /// To [`Check::Escalation`].
    Escalation(EscalationStep),
}

impl Answer {
    /// The verdict of a fixed window with escalation.
    pub fn verdict(self) -> Option<EscalationVerdict> {
        match self {
            Answer::Escalation(step) => Some(step.verdict),
            Answer::Window { .. } => None,
        }
    }
}

/// A store that has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFailure {
    /// No connection, or it broke.
    Unreachable,
    /// The store answered with an error, or with something that is no answer.
    Refused,
    /// The answer did not arrive in time.
    Late,
    /// The key of the question holds something else. The store has answered: other questions are not concerned.
    WrongType,
}

impl StoreFailure {
    /// Whether the failure is one of the store, and not of the key that was asked for.
    pub fn is_of_store(self) -> bool {
        match self {
            StoreFailure::Unreachable | StoreFailure::Refused | StoreFailure::Late => true,
            StoreFailure::WrongType => false,
        }
    }
}

/// An order to the store, without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOrder {
    /// A ban for all processes.
    Ban {
        /// The banned network.
        network: IpNet,
        /// The end in milliseconds since 1970; `None` for a permanent ban.
        until_unix_ms: Option<u64>,
        /// Why.
        reason: Box<str>,
    },
    /// The end of a ban, for all processes.
    Unban(IpNet),
    /// Removes the state of a fixed window with escalation under this key.
    Forget(Box<str>),
    /// Removes the state of such windows under all keys that begin with this one and end with a colon and a hash.
    ForgetAll(Box<str>),
    /// Tells all processes that the state of a client was removed, so that they remove theirs.
    Unblock(IpAddr),
}

impl StoreOrder {
    /// Whether only stores that carry messages between processes take the order.
    pub fn needs_messages(&self) -> bool {
        match self {
            StoreOrder::Ban { .. } | StoreOrder::Unban(_) | StoreOrder::Unblock(_) => true,
            StoreOrder::Forget(_) | StoreOrder::ForgetAll(_) => false,
        }
    }
}

/// News that the store sends without a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreNews {
    /// Another process has banned a network.
    Banned {
        /// The banned network.
        network: IpNet,
        /// The end in milliseconds since 1970; `None` for a permanent ban.
        until_unix_ms: Option<u64>,
        /// Why.
        reason: Box<str>,
    },
    /// Another process has ended a ban.
    Unbanned(IpNet),
    /// Bans of this process have gone from the store, and no process has ended them.
    Vanished(Vec<IpNet>),
    /// Another process has removed the state of a client.
    Unblocked(IpAddr),
    /// All bans of the store: at connect, and every 30 s. Bans of the store that are missing here have ended.
    AllBans(Vec<(IpNet, Option<u64>, Box<str>)>),
    /// The store answers (again).
    Reached,
    /// The store had forgotten a script and was sent it again (section 5, `rate_limit_script_reloaded`).
    ScriptReloaded,
    /// The store does not answer; contains the error's text without secrets.
    Lost(Box<str>),
    /// Something that an operator should know of, as a sentence without secrets.
    Warning(Box<str>),
}
