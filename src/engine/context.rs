//! The context that every machine is lent with an event: the time, the leaves, and the queues to the shell and to the
//! other machines.

use super::Action;
use super::cache::message::{FillEvent, Message};
use super::callbacks::Callbacks;
use super::connections::Connections;
use super::effect::Effect;
use super::metrics::status_class;
use super::settings::Settings;
use super::timer::Deadlines;
use super::transaction::log_record::{CacheUse, LogRecord, Verdict};
use crate::engine::ids::PeerId;
use crate::http::date::http_date;
use crate::metrics::Metrics;
use crate::net::{BLOCK_BYTES, Pool};
use crate::policy::Policy;
use crate::time::Now;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// Log records kept for reuse (chosen: more than end in one turn of the loop).
const SPARE_RECORDS_MAX: usize = 256;

/// Most bytes of text that a kept log record may own (chosen: several times the usual need of a record).
const SPARE_TEXT_BYTES_MAX: usize = 1024;

/// One context for each engine.
pub(in crate::engine) struct Context {
    /// The time of the present event.
    pub now: Now,
    pub settings: Arc<Settings>,
    pub policy: Arc<Policy>,
    /// The callbacks of the host program.
    pub callbacks: Callbacks,
    pub pool: Pool,
    pub timers: Deadlines,
    pub metrics: Metrics,
    pub connections: Connections,
    /// Actions for the shell.
    pub actions: VecDeque<Action>,
    /// Effects for other machines, in the order of the requests.
    pub effects: VecDeque<Effect>,
    /// Buffer for heads that are written.
    pub scratch: Vec<u8>,
    /// Buffer for bytes that are dropped.
    pub discard_buffer: Box<[u8]>,
    /// The end of the drain, in milliseconds since the loop started; `None` while weir is not stopping.
    pub drain_deadline_ms: Option<u64>,
    // Boxes, because that is how they travel: an action stays small, and nothing is allocated.
    #[allow(clippy::vec_box)]
    spare_records: Vec<Box<LogRecord>>,
    pub date: DateField,
}

/// The value of the field Date, written once a second.
pub(in crate::engine) struct DateField {
    text: String,
    unix_s: u64,
}

impl DateField {
    /// Updates the date before it is written.
    pub fn refresh(&mut self, now: Now) {
        if self.unix_s != now.unix_s() {
            self.unix_s = now.unix_s();
            self.text.clear();
            self.text.extend(http_date(self.unix_s).map(char::from));
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Context {
    pub fn new(settings: Settings, policy: Arc<Policy>) -> Context {
        let mut context = Context {
            now: Now::default(),
            pool: Pool::new(settings.blocks_max),
            settings: Arc::new(settings),
            policy,
            callbacks: Callbacks::default(),
            timers: Deadlines::default(),
            metrics: Metrics::default(),
            connections: Connections::default(),
            actions: VecDeque::new(),
            effects: VecDeque::new(),
            scratch: Vec::new(),
            discard_buffer: vec![0; BLOCK_BYTES].into_boxed_slice(),
            drain_deadline_ms: None,
            spare_records: Vec::new(),
            date: DateField { text: String::new(), unix_s: u64::MAX },
        };
        context.divide_heap();
        context
    }

    /// Divides the heap beside the blocks by the settings and callbacks that hold.
    pub fn divide_heap(&mut self) {
        let collects = self.settings.guard.is_some() || self.callbacks.pages.is_some();
        self.pool.set_largest(Settings::largest(self.settings.head.head_bytes_max, collects));
    }

    pub fn now_ms(&self) -> u64 {
        self.now.monotonic_ms()
    }

    /// Whether the order to stop was given.
    pub fn is_draining(&self) -> bool {
        self.drain_deadline_ms.is_some()
    }

    /// Puts a connection on the run queue.
    pub fn wake(&mut self, id: PeerId) {
        self.connections.wake(id);
    }

    /// Sets the one timer of a connection to `after_ms` milliseconds from now.
    pub fn set_timer(&mut self, id: PeerId, after_ms: u64) {
        self.timers.set(id, self.now.monotonic_ms(), after_ms);
    }

    /// Queues an effect, which the dispatcher carries out when this machine has returned.
    pub fn send(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// Sends an event of a key to the other loops.
    pub fn send_to_loops(&mut self, hash: u64, event: FillEvent) {
        self.actions.push_back(Action::SendToLoops(Message { hash, event }));
    }

    /// Queues an effect before all others.
    pub fn send_first(&mut self, effect: Effect) {
        self.effects.push_front(effect);
    }

    /// The value of the field Date, and the buffer for the head that contains it.
    pub fn date_and_scratch(&mut self) -> (&str, &mut Vec<u8>) {
        self.date.refresh(self.now);
        (self.date.as_str(), &mut self.scratch)
    }

    /// A blank log record.
    pub fn take_record(&mut self, client: SocketAddr) -> Box<LogRecord> {
        match self.spare_records.pop() {
            Some(mut record) => {
                record.reset(client);
                record
            }
            None => Box::new(LogRecord::new(client)),
        }
    }

    /// A log record for reuse, which the next transaction resets.
    pub fn take_used_record(&mut self, client: SocketAddr) -> Box<LogRecord> {
        self.spare_records.pop().unwrap_or_else(|| Box::new(LogRecord::new(client)))
    }

    /// Takes a written log record back for reuse.
    pub fn recycle(&mut self, record: Box<LogRecord>) {
        // Records with long texts are dropped: each would keep the memory of its longest target.
        if self.spare_records.len() < SPARE_RECORDS_MAX && record.text_capacity() <= SPARE_TEXT_BYTES_MAX {
            self.spare_records.push(record);
        }
    }

    /// Counts the content of a log record and hands the record to the shell.
    pub fn log(&mut self, record: Box<LogRecord>) {
        match record.verdict {
            Verdict::Allowed => self.metrics.allowed += 1,
            Verdict::Refused => self.metrics.blocked += 1,
            Verdict::Malformed => self.metrics.malformed += 1,
            Verdict::Failed => self.metrics.failed += 1,
        }
        // No client gets the response to a refresh.
        if record.cache != CacheUse::Refresh {
            self.metrics.statuses[status_class(record.status)] += 1;
        }
        self.metrics.count_cache(&record);
        self.metrics.count_times(&record);
        self.actions.push_back(Action::Log(record));
    }

    /// Wakes waiting connections if memory was returned.
    pub fn share_returned_memory(&mut self) {
        if self.pool.take_returned() {
            if self.pool.take_heap_returned() {
                self.connections.retry_heap();
            }
            self.connections.unpark_next(&self.pool);
        }
    }

    /// Releases memory that is kept for reuse.
    pub fn shrink(&mut self) {
        self.spare_records = Vec::new();
        self.connections.shrink();
        self.actions.shrink_to_fit();
        self.effects.shrink_to_fit();
    }
}
