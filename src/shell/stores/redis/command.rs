//! Commands of Redis, and the slot of a cluster that their key falls into.

use crate::http::fields::{TWO_DIGITS, write_decimal};
use std::fmt::Display;

/// Records hits in sliding windows.
const WINDOW: &str = include_str!("window.lua");
/// Steps of fixed windows with escalation.
const ESCALATION: &str = include_str!("escalation.lua");

/// Slots of a cluster (Redis cluster specification).
pub const SLOTS: u16 = 16384;

/// Scripts of the server; each takes any number of keys, and has a hash by which the server knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    Window,
    Escalation,
}

/// The calls of the scripts by their hashes, up to the number of keys, in their sent form.
#[derive(Debug)]
pub struct Calls {
    window: Box<[u8]>,
    escalation: Box<[u8]>,
}

impl Calls {
    pub fn new() -> Calls {
        let call = |text| {
            let mut words = Vec::new();
            write_call("EVALSHA", redis::Script::new(text).get_hash(), &mut words);
            words.into()
        };
        Calls { window: call(WINDOW), escalation: call(ESCALATION) }
    }

    fn of(&self, script: Script) -> &[u8] {
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

/// Words in their sent form (RESP), one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    bytes: Vec<u8>,
    count: usize,
}

impl Words {
    /// The number of words.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Adds a word of two parts.
    pub fn text(&mut self, first: &str, second: &str) {
        write_length(b'$', first.len() + second.len(), &mut self.bytes);
        self.bytes.extend_from_slice(first.as_bytes());
        self.bytes.extend_from_slice(second.as_bytes());
        self.end();
    }

    /// Adds a number.
    pub fn number(&mut self, number: impl Into<u64>) {
        let number = number.into();
        write_length(b'$', decimal_bytes(number), &mut self.bytes);
        write_decimal(&mut self.bytes, number);
        self.end();
    }

    /// Adds the word `NAME:NUMBER`.
    pub fn numbered(&mut self, name: &str, number: u64) {
        write_length(b'$', name.len() + 1 + decimal_bytes(number), &mut self.bytes);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(b':');
        write_decimal(&mut self.bytes, number);
        self.end();
    }

    fn end(&mut self) {
        self.bytes.extend_from_slice(b"\r\n");
        self.count += 1;
    }

    /// The first word.
    fn first(&self) -> Option<&[u8]> {
        let length_end = self.bytes.iter().position(|byte| *byte == b'\n')?;
        let length = std::str::from_utf8(self.bytes.get(1..length_end - 1)?).ok()?.parse::<usize>().ok()?;
        self.bytes.get(length_end + 1..length_end + 1 + length)
    }
}

/// A command: its name, its keys if it has some, arguments. The first key decides the server in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    name: Name,
    pub keys: Words,
    pub arguments: Words,
}

impl Command {
    pub fn new(name: &'static str) -> Command {
        Command { name: Name::Plain(name), keys: Words::default(), arguments: Words::default() }
    }

    /// A call of a script without keys yet.
    pub fn script(script: Script) -> Command {
        Command { name: Name::Script(script), keys: Words::default(), arguments: Words::default() }
    }

    /// Whether this is a call of that script.
    pub fn calls(&self, script: Script) -> bool {
        self.name == Name::Script(script)
    }

    /// Makes a server keep all scripts.
    pub fn load_scripts() -> [Command; 2] {
        [WINDOW, ESCALATION].map(|text| Command::new("SCRIPT").arg("LOAD").arg(text))
    }

    /// Adds a key.
    pub fn key(self, key: impl AsRef<str>) -> Command {
        self.prefixed_key("", key.as_ref())
    }

    /// Adds a key of two parts.
    pub fn prefixed_key(mut self, prefix: &str, key: &str) -> Command {
        self.keys.text(prefix, key);
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl Display) -> Command {
        self.arguments.text("", &argument.to_string());
        self
    }

    /// The slot of the first key, if the command has one.
    pub fn slot(&self) -> Option<u16> {
        self.keys.first().map(slot)
    }

    /// Writes the command (RESP). With `whole`, a script is sent as text, and the server keeps it from then on.
    pub fn write(&self, calls: &Calls, whole: bool, out: &mut Vec<u8>) {
        let before = match self.name {
            Name::Plain(_) => 1,
            Name::Script(_) => 3,
        };
        write_length(b'*', before + self.keys.count + self.arguments.count, out);
        match self.name {
            Name::Plain(name) => write_word(name, out),
            Name::Script(script) => {
                if whole {
                    write_call("EVAL", script.text(), out);
                } else {
                    out.extend_from_slice(calls.of(script));
                }
                write_word(&self.keys.count.to_string(), out);
            }
        }
        out.extend_from_slice(&self.keys.bytes);
        out.extend_from_slice(&self.arguments.bytes);
    }
}

fn decimal_bytes(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |digits| digits as usize + 1)
}

fn write_word(word: &str, out: &mut Vec<u8>) {
    write_length(b'$', word.len(), out);
    out.extend_from_slice(word.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The beginning of a call of a script, up to the number of keys.
fn write_call(name: &str, script: &str, out: &mut Vec<u8>) {
    write_word(name, out);
    write_word(script, out);
}

fn write_length(kind: u8, length: usize, out: &mut Vec<u8>) {
    match length {
        // Most words.
        0..10 => out.extend_from_slice(&[kind, b'0' + length as u8, b'\r', b'\n']),
        10..100 => {
            let [tens, ones] = TWO_DIGITS[length];
            out.extend_from_slice(&[kind, tens, ones, b'\r', b'\n']);
        }
        _ => {
            out.push(kind);
            write_decimal(out, length as u64);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The slot of a key: of the text in its first braces, if that is not empty.
pub fn slot(key: &[u8]) -> u16 {
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
        let calls = Calls::new();
        let mut out = Vec::new();
        let mut set = Command::new("SET").prefixed_key("p:", "k").arg("ä").arg("EX");
        set.arguments.number(60u32);
        set.arguments.numbered("n", 1234567890);
        set.write(&calls, false, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "*6\r\n$3\r\nSET\r\n$3\r\np:k\r\n$2\r\nä\r\n$2\r\nEX\r\n$2\r\n60\r\n$12\r\nn:1234567890\r\n"
        );
        for (number, text) in [(0, "0"), (9, "9"), (10, "10"), (u64::MAX, "18446744073709551615")] {
            let mut command = Command::new("X");
            command.arguments.number(number);
            assert_eq!(command, Command::new("X").arg(text));
            assert_eq!(decimal_bytes(number), text.len());
        }
        let long = "x".repeat(1000);
        for (key, expected) in [("bar", 12182), ("", 12182), (&long, 12182)] {
            let command = Command::new("GET").prefixed_key("{foo}", key).arg("x");
            assert_eq!(command.slot(), Some(expected), "{key}");
        }
        assert_eq!(Command::new("GET").key("").slot(), Some(0));
        assert_eq!(Command::new("PING").arg("x").slot(), None);
        let command = Command::script(Script::Window).key("k").key("l").arg(1);
        for (whole, begin) in [(false, "*6\r\n$7\r\nEVALSHA\r\n$40\r\n"), (true, "*6\r\n$4\r\nEVAL\r\n$")] {
            out.clear();
            command.write(&calls, whole, &mut out);
            let text = String::from_utf8_lossy(&out);
            let end = "$1\r\n2\r\n$1\r\nk\r\n$1\r\nl\r\n$1\r\n1\r\n";
            assert!(text.starts_with(begin) && text.ends_with(end), "{text}");
        }
    }
}
