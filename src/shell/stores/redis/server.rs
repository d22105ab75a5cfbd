//! One server: its connection, and its outstanding replies.
//!
//! A pipeline is written whole, then its replies are read until a deadline. Replies that have not arrived by then are
//! outstanding: the connection stays, the replies are dropped when they arrive, and no command is sent before that. So a
//! short pause of the server costs its questions but no new connection. If replies are outstanding for longer than the read
//! time-out, the connection is closed. The times of a reply count from the last byte that has come: the crate reads each to its
//! end, however slowly it comes.

use super::address::moved_to;
use super::command::{Calls, Command};
use redis::{Client, Connection, ConnectionAddr, ConnectionInfo, RedisError, RedisResult, Value};
use std::time::{Duration, Instant};

/// Time after which an unreachable server is tried again; it doubles with each failure (chosen).
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// Longest time between two attempts (chosen: a little shorter than the interval of the guard's breaker).
const RETRY_LAST: Duration = Duration::from_millis(800);

/// Memory for the commands of one pipeline that is kept for the next (chosen: as many questions as go together).
const PIPELINE_KEPT_BYTES: usize = 64 * 1024;

/// A command without effect.
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// The time-outs of a server.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Time-out of one reply.
    pub reply: Duration,
    pub connect: Duration,
    /// Time after which a connection without replies is closed.
    pub give_up: Duration,
}

/// The reason why a server has not answered a command.
#[derive(Debug)]
pub enum Silence {
    /// No connection, or it broke.
    Gone(String),
    /// The connection had been good and was closed before the first reply: the server has restarted meanwhile.
    Stale,
    /// The connection is open, but the replies did not arrive in time.
    Late,
}

/// One server.
pub struct Server {
    info: ConnectionInfo,
    timeouts: Timeouts,
    connection: Option<Connection>,
    /// The commands of one pipeline in their sent form.
    pipeline: Vec<u8>,
    /// Whether replies are outstanding, since when, and how many.
    is_behind: bool,
    behind_since: Instant,
    owed: usize,
    retry_at: Option<Instant>,
    retry_after: Duration,
    connect_error: String,
}

impl Server {
    pub fn new(info: ConnectionInfo, timeouts: Timeouts) -> Server {
        Server {
            info,
            timeouts,
            connection: None,
            pipeline: Vec::new(),
            is_behind: false,
            behind_since: Instant::now(),
            owed: 0,
            retry_at: None,
            retry_after: RETRY_FIRST,
            connect_error: String::new(),
        }
    }

    /// A server like this one, at another address.
    pub fn elsewhere(&self, host: &str, port: u16) -> Server {
        Server::new(moved_to(&self.info, host, port), self.timeouts)
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> String {
        self.info.addr().to_string()
    }

    /// The host alone.
    pub fn host(&self) -> String {
        let address = self.address();
        address.rsplit_once(':').map_or(address.clone(), |(host, _)| host.to_owned())
    }

    /// Whether commands can be sent without connecting first.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Whether the server has been waited for in vain and has not caught up.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Connects, unless the last attempt has failed just now. Returns whether a new connection was made.
    pub fn connect(&mut self) -> Result<bool, String> {
        if self.connection.is_some() {
            return Ok(false);
        }
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(self.connect_error.clone());
        }
        match open(&self.info, self.timeouts) {
            Ok(connection) => {
                (self.connection, self.is_behind) = (Some(connection), false);
                (self.retry_at, self.retry_after) = (None, RETRY_FIRST);
                Ok(true)
            }
            Err(error) => {
                self.retry_at = Some(Instant::now() + self.retry_after);
                self.retry_after = (self.retry_after * 2).min(RETRY_LAST);
                self.connect_error = error;
                Err(self.connect_error.clone())
            }
        }
    }

    /// A separate connection, for a subscription.
    pub fn separate_connection(&self) -> Result<Connection, String> {
        open(&self.info, self.timeouts)
    }

    /// Gives the connection up.
    pub fn disconnect(&mut self) {
        (self.connection, self.is_behind, self.owed) = (None, false, 0);
    }

    /// Writes commands, after all outstanding replies have arrived.
    pub fn send<'a>(
        &mut self,
        commands: impl Iterator<Item = (&'a Command, bool)>,
        calls: &Calls,
        end: Instant,
    ) -> Result<(), Silence> {
        self.catch_up(end)?;
        self.pipeline.clear();
        self.pipeline.shrink_to(PIPELINE_KEPT_BYTES);
        for (command, whole) in commands {
            command.write(calls, whole, &mut self.pipeline);
        }
        let Some(connection) = &mut self.connection else {
            return Err(Silence::Gone("no connection".to_owned()));
        };
        match connection.send_packed_command(&self.pipeline) {
            Ok(()) => Ok(()),
            Err(error) if error.is_connection_dropped() => {
                self.disconnect();
                Err(Silence::Stale)
            }
            Err(error) => Err(self.lose(&error)),
        }
    }

    /// Reads the replies to `count` commands, and stops at the first that does not arrive until `end`.
    pub fn receive(&mut self, count: usize, end: Instant) -> (Vec<Value>, Result<(), Silence>) {
        let mut replies = Vec::with_capacity(count);
        while replies.len() < count {
            let reply = match &mut self.connection {
                Some(connection) => connection.recv_response(),
                None => return (replies, Err(Silence::Gone("no connection".to_owned()))),
            };
            match reply {
                Ok(reply) => replies.push(reply),
                Err(error) if error.is_timeout() => {
                    self.fall_behind(count - replies.len() - 1);
                    return (replies, Err(Silence::Late));
                }
                Err(error) if replies.is_empty() && error.is_connection_dropped() => {
                    self.disconnect();
                    return (replies, Err(Silence::Stale));
                }
                Err(error) => {
                    let silence = self.lose(&error);
                    return (replies, Err(silence));
                }
            }
            if replies.len() < count && Instant::now() >= end {
                self.fall_behind(count - replies.len());
                return (replies, Err(Silence::Late));
            }
        }
        (replies, Ok(()))
    }

    /// Records outstanding replies.
    fn fall_behind(&mut self, owed: usize) {
        (self.is_behind, self.owed, self.behind_since) = (true, owed, Instant::now());
        self.keep_one_owed();
    }

    /// The crate skips a late reply by itself, without a sign of its arrival. So one more reply is always kept outstanding.
    fn keep_one_owed(&mut self) {
        let Some(connection) = self.connection.as_mut().filter(|_| self.owed == 0) else { return };
        match connection.send_packed_command(PING) {
            Ok(()) => self.owed = 1,
            Err(_) => self.disconnect(),
        }
    }

    fn catch_up(&mut self, end: Instant) -> Result<(), Silence> {
        while self.is_behind {
            let Some(connection) = &mut self.connection else { break };
            match connection.recv_response() {
                Ok(_) => self.owed -= 1,
                Err(error) if error.is_timeout() => {
                    self.owed -= 1;
                    self.keep_one_owed();
                    if self.behind_since.elapsed() >= self.timeouts.give_up {
                        self.disconnect();
                    }
                    return Err(Silence::Late);
                }
                Err(error) => return Err(self.lose(&error)),
            }
            self.is_behind = self.owed > 0;
            if self.is_behind && Instant::now() >= end {
                return Err(Silence::Late);
            }
        }
        Ok(())
    }

    fn lose(&mut self, error: &RedisError) -> Silence {
        self.disconnect();
        if error.is_timeout() { Silence::Late } else { Silence::Gone(error.to_string()) }
    }
}

/// Connects. An error is a text without secrets.
fn open(info: &ConnectionInfo, timeouts: Timeouts) -> Result<Connection, String> {
    let has_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    connected(info, timeouts).map_err(|error| match error.is_timeout() && has_tls {
        // The crate shakes hands with the first command.
        true => "no answer in time to the TLS handshake, or to the first command".to_owned(),
        false => error.to_string(),
    })
}

/// Connects, and sees whether the server answers: a server that is stopped is still connected to by its kernel.
fn connected(info: &ConnectionInfo, timeouts: Timeouts) -> RedisResult<Connection> {
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    let redis = info.redis_settings().clone().set_skip_set_lib_name();
    let info = info.clone().set_tcp_settings(tcp).set_redis_settings(redis);
    let mut connection = Client::open(info)?.get_connection_with_timeout(timeouts.connect)?;
    connection.set_read_timeout(Some(timeouts.connect))?;
    connection.set_write_timeout(Some(timeouts.reply))?;
    redis::cmd("PING").exec(&mut connection)?;
    connection.set_read_timeout(Some(timeouts.reply))?;
    Ok(connection)
}
