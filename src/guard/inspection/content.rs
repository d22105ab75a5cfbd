//! A content with its coding.

use super::coding::{Coding, DecodeFault, Decoder, Take};

/// Decodes a content piece by piece, or returns it unchanged if it has no coding.
#[derive(Debug)]
pub struct Content {
    coding: Coding,
    /// `None` before the first piece.
    decoder: Option<Decoder>,
}

/// The reason why a content cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The coding is unknown, or there are several.
    Coding,
    /// The content cannot be decoded any further.
    Fault(DecodeFault),
    /// The content is incomplete.
    Cut,
}

impl Content {
    /// A content with these lines of Content-Encoding.
    pub fn new<'a>(codings: impl IntoIterator<Item = &'a [u8]>) -> Content {
        Content { coding: Coding::of(codings), decoder: None }
    }

    /// The present heap of the decoder, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.decoder.as_ref().map_or(0, Decoder::heap_bytes)
    }

    /// Decodes the next piece of the content. If the receiver breaks, the rest of the piece is not decoded.
    pub fn push(&mut self, piece: &[u8], take: &mut Take<'_>) -> Result<(), Unreadable> {
        if self.coding == Coding::Unknown {
            return Err(Unreadable::Coding);
        }
        if self.decoder.is_none() {
            self.decoder = Decoder::new(self.coding);
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
        let is_complete = self.decoder.as_ref().is_some_and(Decoder::is_complete);
        match self.coding {
            Coding::Unknown => Err(Unreadable::Coding),
            Coding::Identity => Ok(()),
            Coding::Gzip | Coding::Deflate | Coding::Brotli if is_complete => Ok(()),
            Coding::Gzip | Coding::Deflate | Coding::Brotli => Err(Unreadable::Cut),
        }
    }
}
