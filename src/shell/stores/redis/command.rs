//! Commands of Redis, and the slot of a cluster that their key falls into.

use crate::http::fields::{TWO_DIGITS, write_decimal};
use std::fmt::Display;
use std::io::Write as _;

/// Records a hit in a sliding window.
const WINDOW: &str = include_str!("window.lua");
/// A step of a fixed window with escalation.
const ESCALATION: &str = include_str!("escalation.lua");

/// Slots of a cluster (Redis cluster specification).
pub const SLOTS: u16 = 16384;

/// Scripts of the server; each takes one key, and has a hash by which the server knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    Window,
    Escalation,
}

/// The calls of the scripts by their hashes, up to the key, in their sent form.
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

/// A command: its name, its key if it has one, arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    name: Name,
    /// The key and the arguments in their sent form (RESP), one behind the other, and their number.
    words: Vec<u8>,
    count: usize,
    /// The place of the key in these words.
    key: Option<(usize, usize)>,
}

impl Command {
    pub fn new(name: &'static str) -> Command {
        Command { name: Name::Plain(name), words: Vec::new(), count: 0, key: None }
    }

    /// A call of a script, which takes one key. `buffer` is that of an earlier command, or empty.
    pub fn script(script: Script, mut buffer: Vec<u8>) -> Command {
        buffer.clear();
        Command { name: Name::Script(script), words: buffer, count: 0, key: None }
    }

    /// The buffer, for another command.
    pub fn into_buffer(self) -> Vec<u8> {
        self.words
    }

    /// Makes a server keep all scripts.
    pub fn load_scripts() -> [Command; 2] {
        [WINDOW, ESCALATION].map(|text| Command::new("SCRIPT").arg("LOAD").arg(text))
    }

    /// Sets the key, which decides the server in a cluster and goes before all arguments.
    pub fn key(self, key: impl AsRef<str>) -> Command {
        self.prefixed_key("", key.as_ref())
    }

    /// Sets a key of two parts.
    pub fn prefixed_key(mut self, prefix: &str, key: &str) -> Command {
        debug_assert_eq!(self.count, 0, "a key goes before all arguments");
        let key_bytes = prefix.len() + key.len();
        write_length(b'$', key_bytes, &mut self.words);
        let start = self.words.len();
        self.words.extend_from_slice(prefix.as_bytes());
        self.words.extend_from_slice(key.as_bytes());
        self.key = Some((start, start + key_bytes));
        self.ended()
    }

    pub fn arg(mut self, argument: impl Display) -> Command {
        let start = self.words.len();
        // Writing into a Vec cannot fail.
        let _ = write!(self.words, "{argument}");
        let value_bytes = self.words.len() - start;
        // The length goes before the value, and is known only now.
        write_length(b'$', value_bytes, &mut self.words);
        self.words[start..].rotate_left(value_bytes);
        self.ended()
    }

    /// An argument that is a number.
    pub fn number(mut self, number: impl Into<u64>) -> Command {
        let number = number.into();
        write_length(b'$', decimal_bytes(number), &mut self.words);
        write_decimal(&mut self.words, number);
        self.ended()
    }

    /// The argument `NAME:NUMBER`.
    pub fn numbered(mut self, name: &str, number: u64) -> Command {
        write_length(b'$', name.len() + 1 + decimal_bytes(number), &mut self.words);
        self.words.extend_from_slice(name.as_bytes());
        self.words.push(b':');
        write_decimal(&mut self.words, number);
        self.ended()
    }

    fn ended(mut self) -> Command {
        self.words.extend_from_slice(b"\r\n");
        self.count += 1;
        self
    }

    /// The slot of the key, if the command has one.
    pub fn slot(&self) -> Option<u16> {
        self.key.map(|(start, end)| slot(&self.words[start..end]))
    }

    /// Writes the command (RESP). With `whole`, a script is sent as text, and the server keeps it from then on.
    pub fn write(&self, calls: &Calls, whole: bool, out: &mut Vec<u8>) {
        let before = match self.name {
            Name::Plain(_) => 1,
            Name::Script(_) => 3,
        };
        write_length(b'*', before + self.count, out);
        match self.name {
            Name::Plain(name) => write_word(name, out),
            Name::Script(script) if whole => write_call("EVAL", script.text(), out),
            Name::Script(script) => out.extend_from_slice(calls.of(script)),
        }
        out.extend_from_slice(&self.words);
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

/// The beginning of a call of a script with one key.
fn write_call(name: &str, script: &str, out: &mut Vec<u8>) {
    write_word(name, out);
    write_word(script, out);
    write_word("1", out);
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
        let calls = Calls::new();
        let mut out = Vec::new();
        let set = Command::new("SET").prefixed_key("p:", "k").arg("ä").arg("EX").number(60u32);
        set.numbered("n", 1234567890).write(&calls, false, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "*6\r\n$3\r\nSET\r\n$3\r\np:k\r\n$2\r\nä\r\n$2\r\nEX\r\n$2\r\n60\r\n$12\r\nn:1234567890\r\n"
        );
        for (number, text) in [(0, "0"), (9, "9"), (10, "10"), (u64::MAX, "18446744073709551615")] {
            assert_eq!(Command::new("X").number(number), Command::new("X").arg(text));
            assert_eq!(decimal_bytes(number), text.len());
        }
        assert_eq!(Command::new("GET").prefixed_key("{foo}", "bar").arg("x").slot(), Some(12182));
        let command = Command::script(Script::Window, b"old".into()).key("k").arg(1);
        for (whole, begin) in [(false, "*5\r\n$7\r\nEVALSHA\r\n$40\r\n"), (true, "*5\r\n$4\r\nEVAL\r\n$")] {
            out.clear();
            command.write(&calls, whole, &mut out);
            let text = String::from_utf8_lossy(&out);
            assert!(text.starts_with(begin) && text.ends_with("$1\r\n1\r\n$1\r\nk\r\n$1\r\n1\r\n"), "{text}");
        }
    }
}
