//! What the guard asks of a store that several processes share, and what the store answers. Plain values: the shell carries
//! them to a client of Redis or MongoDB and back.

use ipnet::IpNet;

/// The numbers of a fixed window with escalation (guard semantics, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EscalationConstants {
    /// Requests that pass in one window.
    pub requests_max: u32,
    /// The window.
    pub window_ms: u64,
    /// So many violations block.
    pub block_after: u32,
    /// How long a block lasts.
    pub block_ms: u64,
    /// So many violations within `permanent_window_ms` block for ever; `None`: never.
    pub permanent_after: Option<u32>,
    /// How long a violation counts towards that.
    pub permanent_window_ms: u64,
}

/// What a fixed window with escalation says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EscalationVerdict {
    /// It passes.
    Pass,
    /// More than the window allows; the rest of the window, in milliseconds, at least 1.
    Over {
        /// Until the window ends.
        retry_after_ms: u64,
    },
    /// Blocked for so many milliseconds more.
    Blocked {
        /// Until the block ends.
        retry_after_ms: u64,
    },
    /// Blocked for ever.
    Permanent,
}

/// One question of a request. All questions of one request are asked together.
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
        /// Its numbers.
        constants: EscalationConstants,
    },
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
        /// Until the next one would pass, in milliseconds; 0 if one would pass now.
        retry_after_ms: u64,
    },
    /// To [`Check::Escalation`].
    Escalation(EscalationVerdict),
}

/// A store that has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFailure {
    /// No connection, or it broke.
    Unreachable,
    /// It answered with an error, or with something that is no answer.
    Refused,
    /// Not in time.
    Late,
}

/// What the store is told, without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOrder {
    /// A ban for all processes.
    Ban {
        /// What is banned.
        network: IpNet,
        /// Until then, in milliseconds since 1970; `None`: for ever.
        until_unix_ms: Option<u64>,
        /// Why.
        reason: Box<str>,
    },
    /// The end of a ban, for all processes.
    Unban(IpNet),
    /// Forgets what a fixed window with escalation has counted under this key.
    Forget(Box<str>),
    /// Forgets what such windows have counted under all keys that begin with this one, and have a hash behind a colon.
    ForgetAll(Box<str>),
}

/// What the store tells of its own accord.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreNews {
    /// Another process has banned.
    Banned {
        /// What.
        network: IpNet,
        /// Until then, in milliseconds since 1970; `None`: for ever.
        until_unix_ms: Option<u64>,
        /// Why.
        reason: Box<str>,
    },
    /// Another process has ended a ban.
    Unbanned(IpNet),
    /// All bans of the store: at connect, and every 30 s. Bans that came from the store and are not among these have ended.
    AllBans(Vec<(IpNet, Option<u64>, Box<str>)>),
    /// The store answers (again).
    Reached,
    /// The store had forgotten a script and was sent it again (section 5, `rate_limit_script_reloaded`).
    ScriptReloaded,
    /// The store does not answer, with the error's text without secrets.
    Lost(Box<str>),
}
