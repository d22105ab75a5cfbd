//! Commands of Redis, and the slot of a cluster that their key falls into.

use crate::http::fields::write_decimal;
use std::fmt::Display;
use std::io::Write as _;

/// Records a hit in a sliding window.
const WINDOW: &str = include_str!("window.lua");
/// A step of a fixed window with escalation.
const ESCALATION: &str = include_str!("escalation.lua");

/// Slots of a cluster (Redis cluster specification).
pub const SLOTS: u16 = 16384;

/// Scripts of the server; each has a hash by which the server knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    Window,
    Escalation,
}

/// The hashes of the scripts, computed once.
#[derive(Debug)]
pub struct Hashes {
    window: Box<str>,
    escalation: Box<str>,
}

impl Hashes {
    pub fn new() -> Hashes {
        let hash = |text| redis::Script::new(text).get_hash().into();
        Hashes { window: hash(WINDOW), escalation: hash(ESCALATION) }
    }

    fn of(&self, script: Script) -> &str {
        match script {
            Script::Window => &self.window,
            Script::Escalation => &self.escalation,
        }
    }
}

impl Script {
    fn text(self) -> &'static str {
        match self {
            Script::Window => WINDOW,
            Script::Escalation => ESCALATION,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Plain(&'static str),
    Script(Script),
}

/// A command: its name, its key if it has one, arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    name: Name,
    key: Option<String>,
    /// The arguments in their sent form (RESP), one behind the other, and their number.
    arguments: Vec<u8>,
    count: usize,
}

/// Room for the arguments of a check of a request (chosen).
const ARGUMENTS_BYTES: usize = 96;

impl Command {
    pub fn new(name: &'static str) -> Command {
        Command { name: Name::Plain(name), key: None, arguments: Vec::new(), count: 0 }
    }

    pub fn script(script: Script) -> Command {
        let arguments = Vec::with_capacity(ARGUMENTS_BYTES);
        Command { name: Name::Script(script), key: None, arguments, count: 0 }
    }

    /// Makes a server keep all scripts.
    pub fn load_scripts() -> [Command; 2] {
        [WINDOW, ESCALATION].map(|text| Command::new("SCRIPT").arg("LOAD").arg(text))
    }

    /// Sets the key, which decides the server in a cluster.
    pub fn key(mut self, key: String) -> Command {
        self.key = Some(key);
        self
    }

    pub fn arg(mut self, argument: impl Display) -> Command {
        let start = self.arguments.len();
        // Writing into a Vec cannot fail.
        let _ = write!(self.arguments, "{argument}");
        let value_bytes = self.arguments.len() - start;
        // The length goes before the value, and is known only now.
        write_length(b'$', value_bytes, &mut self.arguments);
        self.arguments[start..].rotate_left(value_bytes);
        self.arguments.extend_from_slice(b"\r\n");
        self.count += 1;
        self
    }

    /// The slot of the key, if the command has one.
    pub fn slot(&self) -> Option<u16> {
        self.key.as_ref().map(|key| slot(key.as_bytes()))
    }

    /// Writes the command (RESP). With `whole`, a script is sent as text, and the server keeps it from then on.
    pub fn write(&self, hashes: &Hashes, whole: bool, out: &mut Vec<u8>) {
        let key = usize::from(self.key.is_some());
        let words = match self.name {
            Name::Plain(_) => 1 + key,
            Name::Script(_) => 3 + key,
        };
        write_length(b'*', words + self.count, out);
        match self.name {
            Name::Plain(name) => write_word(name, out),
            Name::Script(script) => {
                write_word(if whole { "EVAL" } else { "EVALSHA" }, out);
                write_word(if whole { script.text() } else { hashes.of(script) }, out);
                write_word(if key == 1 { "1" } else { "0" }, out);
            }
        }
        self.key.iter().for_each(|key| write_word(key, out));
        out.extend_from_slice(&self.arguments);
    }
}

fn write_word(word: &str, out: &mut Vec<u8>) {
    write_length(b'$', word.len(), out);
    out.extend_from_slice(word.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_length(kind: u8, length: usize, out: &mut Vec<u8>) {
    out.push(kind);
    write_decimal(out, length as u64);
    out.extend_from_slice(b"\r\n");
}

/// The slot of a key: of the text in its first braces, if that is not empty.
fn slot(key: &[u8]) -> u16 {
    let open = key.iter().position(|byte| *byte == b'{');
    let tag = open.and_then(|open| {
        let rest = &key[open + 1..];
        rest.iter().position(|byte| *byte == b'}').filter(|close| *close > 0).map(|close| &rest[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM (Redis cluster specification, appendix A).
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As CLUSTER KEYSLOT says.
    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, expected) in [
            ("", 0),
            ("foo", 12182),
            ("{foo}bar", 12182),
            ("a{foo}{bar}", 12182),
            ("somekey", 11058),
            ("foo{}{bar}", 8363),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn commands_are_written_as_arrays_of_words() {
        let hashes = Hashes::new();
        let mut out = Vec::new();
        Command::new("SET").key("k".to_owned()).arg("ä").arg("EX").arg(60).write(&hashes, false, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nä\r\n$2\r\nEX\r\n$2\r\n60\r\n"
        );
        let command = Command::script(Script::Window).key("k".to_owned()).arg(1);
        for (whole, begin) in [(false, "*5\r\n$7\r\nEVALSHA\r\n$40\r\n"), (true, "*5\r\n$4\r\nEVAL\r\n$")] {
            out.clear();
            command.write(&hashes, whole, &mut out);
            let text = String::from_utf8_lossy(&out);
            assert!(text.starts_with(begin) && text.ends_with("$1\r\n1\r\n$1\r\nk\r\n$1\r\n1\r\n"), "{text}");
        }
    }
}
