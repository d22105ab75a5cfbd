//! HTTP as the peers understand it: a reader that is simpler than weir's, stricter, and shares nothing with it.

/// A message head, as text: what weir writes is ASCII here.
#[derive(Clone, Debug)]
pub struct Head {
    pub line: String,
    fields: Vec<(String, String)>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Head, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "a head that is no text".to_string())?;
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_string();
        let mut fields = Vec::new();
        for field in lines {
            let (name, value) = field.split_once(": ").ok_or(format!("no field: {field:?}"))?;
            let token = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if name.is_empty() || !name.chars().all(token) || value.chars().any(|c| c.is_ascii_control()) {
                return Err(format!("a bad field: {field:?}"));
            }
            fields.push((name.to_ascii_lowercase(), value.to_string()));
        }
        if line.chars().any(|c| c.is_ascii_control()) {
            return Err(format!("a bad first line: {line:?}"));
        }
        Ok(Head { line, fields })
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub fn lists(&self, name: &str, member: &str) -> bool {
        self.all(name).flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(member))
    }

    /// How long the fields say that the body is; two opinions are one too many.
    pub fn framing(&self) -> Result<Option<Framing>, String> {
        let lengths: Vec<_> = self.all("content-length").collect();
        let codings: Vec<_> = self.all("transfer-encoding").collect();
        match (lengths.as_slice(), codings.as_slice()) {
            ([], []) => Ok(None),
            ([length], []) => {
                let length = length.parse().map_err(|_| format!("a bad length: {length:?}"))?;
                Ok(Some(Framing::Length(length)))
            }
            ([], ["chunked"]) => Ok(Some(Framing::Chunked)),
            both => Err(format!("ambiguous framing: {both:?}")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// The items of a stream, in order.
#[derive(Debug)]
pub enum Item {
    Head(Head),
    Payload(Vec<u8>),
    /// The message is complete; the lines of its trailer section.
    End(Vec<String>),
}

#[derive(Debug)]
enum Mode {
    Head,
    /// A head was given out: the reader must be told what follows.
    Published,
    Length(u64),
    Raw,
    Size,
    Chunk(u64),
    ChunkEnd,
    Trailers(Vec<String>),
}

/// Reads messages from a stream that arrives in pieces.
#[derive(Debug)]
pub struct Reader {
    buffer: Vec<u8>,
    mode: Mode,
}

impl Reader {
    pub fn new() -> Reader {
        Reader { buffer: Vec::new(), mode: Mode::Head }
    }

    pub fn sender(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Between two messages, with nothing of the next one.
    pub fn is_between(&self) -> bool {
        matches!(self.mode, Mode::Head) && self.buffer.is_empty()
    }

    /// In a body that the end of the stream completes.
    pub fn is_raw(&self) -> bool {
        matches!(self.mode, Mode::Raw)
    }

    /// Says what follows the head that was given out.
    pub fn begin(&mut self, framing: Framing) {
        assert!(matches!(self.mode, Mode::Published), "a body without a head");
        self.mode = match framing {
            Framing::None => Mode::Length(0),
            Framing::Length(length) => Mode::Length(length),
            Framing::Chunked => Mode::Size,
            Framing::UntilClose => Mode::Raw,
        };
    }

    /// The message had no body and is over: for interim responses.
    pub fn skip(&mut self) {
        self.mode = Mode::Head;
    }

    /// From here on everything is payload.
    pub fn open_tunnel(&mut self) {
        self.mode = Mode::Raw;
    }

    pub fn next(&mut self) -> Result<Option<Item>, String> {
        loop {
            match &mut self.mode {
                Mode::Published => return Ok(None),
                Mode::Head => {
                    let Some(end) = find(&self.buffer, b"\r\n\r\n") else { return Ok(None) };
                    let head = Head::parse(&self.buffer[..end])?;
                    self.buffer.drain(..end + 4);
                    self.mode = Mode::Published;
                    return Ok(Some(Item::Head(head)));
                }
                Mode::Length(0) => {
                    self.mode = Mode::Head;
                    return Ok(Some(Item::End(Vec::new())));
                }
                Mode::Length(left) | Mode::Chunk(left) if *left > 0 => {
                    let count = (*left).min(self.buffer.len() as u64);
                    *left -= count;
                    return Ok(self.payload(count as usize));
                }
                Mode::Length(_) => return Ok(None),
                Mode::Raw => {
                    let count = self.buffer.len();
                    return Ok(self.payload(count));
                }
                Mode::Size => {
                    let Some(line) = self.line()? else { return Ok(None) };
                    let hex = line.split(';').next().unwrap_or_default();
                    let size = u64::from_str_radix(hex, 16).map_err(|_| format!("chunk size {line:?}"))?;
                    self.mode = if size == 0 { Mode::Trailers(Vec::new()) } else { Mode::Chunk(size) };
                }
                Mode::Chunk(_) => self.mode = Mode::ChunkEnd,
                Mode::ChunkEnd => {
                    let Some(line) = self.line()? else { return Ok(None) };
                    if !line.is_empty() {
                        return Err(format!("{line:?} behind a chunk"));
                    }
                    self.mode = Mode::Size;
                }
                Mode::Trailers(_) => {
                    let Some(line) = self.line()? else { return Ok(None) };
                    let Mode::Trailers(lines) = &mut self.mode else { return Ok(None) };
                    if line.is_empty() {
                        let lines = std::mem::take(lines);
                        self.mode = Mode::Head;
                        return Ok(Some(Item::End(lines)));
                    }
                    lines.push(line);
                }
            }
        }
    }

    fn payload(&mut self, count: usize) -> Option<Item> {
        (count > 0).then(|| Item::Payload(self.buffer.drain(..count).collect()))
    }

    fn line(&mut self) -> Result<Option<String>, String> {
        let Some(end) = find(&self.buffer, b"\r\n") else {
            let long = self.buffer.len() > 20_000;
            return if long { Err("an endless line".to_string()) } else { Ok(None) };
        };
        let line: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
        String::from_utf8(line).map(Some).map_err(|_| "a line that is no text".to_string())
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A chunked body: the payload cut at random, with extensions, blanks and zeros now and then.
pub fn chunked(payload: &[u8], trailers: &[String], dice: &mut super::dice::Dice) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 64);
    let mut rest = payload;
    while !rest.is_empty() {
        let most = dice.pick(&[1usize, 5, 17, 4096, 4095, 10_000, 70_000]);
        // A body of a thousand chunks is enough.
        let count =
            dice.between(1, most as u64).max(payload.len() as u64 / 200).min(rest.len() as u64) as usize;
        let extension = if dice.percent(10) { ";name=\"a;b\"" } else { "" };
        let zeros = if dice.percent(10) { "00000000000000000" } else { "" };
        let blanks = dice.pick(&["", "", "", "", "", " ", "     ", "\t"]);
        out.extend_from_slice(format!("{zeros}{count:x}{blanks}{extension}\r\n").as_bytes());
        out.extend_from_slice(&rest[..count]);
        out.extend_from_slice(b"\r\n");
        rest = &rest[count..];
    }
    out.extend_from_slice(b"0\r\n");
    for trailer in trailers {
        out.extend_from_slice(trailer.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}
