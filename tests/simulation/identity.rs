//! Origins that authenticate connections (RFC 4559): every response names the user of its connection, and no other
//! client may get it.

use super::book::{Book, Checked, parse_answer};
use super::dice::Dice;
use super::http::Head;
use super::messages::{Ask, Key, Kind};

/// Of a hundred requests to an origin that authenticates, so many have credentials, and so many answers offer it.
const CREDENTIALS_PERCENT: u64 = 30;
const OFFERS_PERCENT: u64 = 15;

/// The origin's state of a connection.
#[derive(Debug, Default)]
pub struct Identity {
    /// The only client that may use it from now on.
    owner: Option<u32>,
    /// The user that has authenticated it.
    user: Option<u32>,
    /// The answer that comes next offers it.
    offers: bool,
}

impl Identity {
    /// A request has come.
    pub fn take_request(
        &mut self,
        dice: &mut Dice,
        authenticates: bool,
        key: Key,
        head: &Head,
    ) -> Checked<()> {
        if let Some(owner) = self.owner.filter(|owner| *owner != key.client) {
            return Err(format!("{key}: asked over the connection of client {owner}: {head:?}"));
        }
        if let Some(user) = head.all("authorization").find_map(|value| value.strip_prefix("NTLM ")) {
            if user != key.client.to_string() || !authenticates {
                return Err(format!("{key}: another client's credentials: {head:?}"));
            }
            (self.owner, self.user) = (Some(key.client), Some(key.client));
        }
        self.offers = authenticates && dice.percent(OFFERS_PERCENT);
        if self.offers {
            self.owner = Some(key.client);
        }
        Ok(())
    }

    /// Whether responses are for one client only.
    pub fn is_for_one_client(&self) -> bool {
        self.owner.is_some()
    }

    /// Writes the user of the connection, and an offer to authenticate, into a final head.
    pub fn write_identity(&self, answer: &mut Vec<u8>) {
        let line =
            answer.windows(2).position(|pair| pair == b"\r\n").filter(|_| answer.starts_with(b"HTTP/1."));
        let Some(end) = line else { return };
        let user = self.user.map(|user| format!("X-Identity: {user}\r\n"));
        let offer = self.offers.then(|| "WWW-Authenticate: Basic realm=\"sim\", NTLM\r\n".to_string());
        let lines: String = user.into_iter().chain(offer).collect();
        answer.splice(end + 2..end + 2, lines.into_bytes());
    }
}

/// The client's state of its authentication at the origins.
#[derive(Debug, Default)]
pub struct Session {
    /// The origin that knows it, and over which connection.
    known: Option<(usize, u32)>,
}

impl Session {
    /// An answer of an origin has come.
    pub fn take_answer(&mut self, key: Key, host: usize, head: &Head) -> Checked<()> {
        let Some((_, serial)) = parse_answer(head) else { return Ok(()) };
        let user = head.get("x-identity").and_then(|user| user.parse::<u32>().ok());
        if user.is_some_and(|user| user != key.client) {
            return Err(format!("{key}: answered as client {user:?}: {head:?}"));
        }
        if self.known.is_some_and(|(known, over)| known == host && over != serial) {
            return Err(format!(
                "{key}: over another connection than the one it has authenticated: {head:?}"
            ));
        }
        if user.is_some() {
            self.known = Some((host, serial));
        } else if head.get("www-authenticate").is_some() && self.known.is_some_and(|(known, _)| known != host)
        {
            // One connection at most waits for it, and now it is another one.
            self.known = None;
        }
        Ok(())
    }
}

impl Ask {
    /// Its credentials for a connection, if it is to have any.
    pub fn draw_credentials(&mut self, dice: &mut Dice, authenticates: bool) {
        let kind = matches!(self.kind, Kind::Plain | Kind::Shared | Kind::Upgrade);
        self.authenticates = authenticates && kind && dice.percent(CREDENTIALS_PERCENT);
    }

    /// The line of these.
    pub fn credentials_line(&self) -> String {
        if self.authenticates {
            format!("Authorization: NTLM {}\r\n", self.key.client)
        } else {
            String::new()
        }
    }
}

impl Book {
    /// Whether the client may have an upstream connection of its own, with which its connection ends.
    pub fn may_be_pinned(&self, key: Key) -> bool {
        let before = (0..=key.number).filter_map(|number| self.records.get(&Key { number, ..key }));
        before.into_iter().any(|record| self.scenario.hosts[record.ask.host].authenticates)
    }
}
