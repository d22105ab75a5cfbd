//! A content behind its coding.

use super::coding::{Coding, DecodeFault, Decoder, Take};

/// Decodes a content piece by piece, or passes it on if it is not coded.
#[derive(Debug)]
pub struct Content {
    decoder: Option<Decoder>,
    is_known: bool,
}

/// Why a content cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// By a coding that is not known, or by several.
    Coding,
    /// It cannot be decoded any further.
    Fault(DecodeFault),
    /// It has ended before its end.
    Cut,
}

impl Content {
    /// A content with these lines of Content-Encoding.
    pub fn new<'a>(codings: impl IntoIterator<Item = &'a [u8]>) -> Content {
        let coding = Coding::of(codings);
        Content { decoder: Decoder::new(coding), is_known: coding != Coding::Unknown }
    }

    /// More of the content. If the taker wants no more, what is left of the piece is not decoded.
    pub fn push(&mut self, piece: &[u8], take: &mut Take<'_>) -> Result<(), Unreadable> {
        if !self.is_known {
            return Err(Unreadable::Coding);
        }
        match &mut self.decoder {
            Some(decoder) => decoder.push(piece, take).map_err(Unreadable::Fault),
            None => {
                let _ = take(piece);
                Ok(())
            }
        }
    }

    /// The content has ended.
    pub fn end(&self) -> Result<(), Unreadable> {
        match &self.decoder {
            Some(decoder) if !decoder.is_complete() => Err(Unreadable::Cut),
            Some(_) | None if self.is_known => Ok(()),
            Some(_) | None => Err(Unreadable::Coding),
        }
    }
}
