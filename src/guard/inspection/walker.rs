//! The walker of a body, by its media type.

use super::form::Form;
use super::json::Json;
use super::media::{Content, boundary_of, content_of};
use super::multipart::Multipart;
use super::part::{Part, PartKind, Sink};
use super::runs::Runs;
use super::window::Window;

/// Splits a body into parts as it arrives: names, values, texts. Its memory is bounded by a few windows.
#[derive(Debug)]
pub struct Walker {
    body: Body,
    /// For JSON in a value.
    inner: Json,
}

#[derive(Debug)]
enum Body {
    Form(Box<Form>),
    Json(Box<Json>),
    Multipart(Box<Multipart>),
    Binary(Runs),
    /// A text of blanks so far: JSON if it begins like JSON.
    Unknown,
    Text(Window),
}

impl Walker {
    /// The walker of a content with these fields Content-Type. With several types none can be relied on.
    pub fn new<'a>(media_types: impl IntoIterator<Item = &'a [u8]>) -> Walker {
        let mut media_types = media_types.into_iter();
        let media_type = media_types.next().unwrap_or_default();
        let media_type = if media_types.all(|other| other == media_type) { media_type } else { b"" };
        let body = match (boundary_of(media_type), content_of(media_type)) {
            (Some(boundary), _) => Body::Multipart(Box::new(Multipart::new(&boundary))),
            (None, Content::Form) => Body::Form(Box::default()),
            (None, Content::Json) => Body::Json(Box::default()),
            (None, Content::Binary) => Body::Binary(Runs::default()),
            (None, Content::Text) => Body::Unknown,
        };
        Walker { body, inner: Json::default() }
    }

    /// More of the body.
    pub fn push(&mut self, mut piece: &[u8], out: &mut Sink<'_>) {
        let Walker { body, inner } = self;
        if let Body::Unknown = body {
            piece = piece.trim_ascii_start();
            let Some(first) = piece.first() else { return };
            *body = match first {
                b'{' | b'[' => Body::Json(Box::default()),
                _ => Body::Text(Window::default()),
            };
        }
        let out = &mut |part: Part<'_>| show(part, inner, out);
        match body {
            Body::Form(form) => form.push(piece, out),
            Body::Json(json) => json.push(piece, out),
            Body::Multipart(multipart) => multipart.push(piece, out),
            Body::Binary(runs) => runs.push(piece, b"", out),
            Body::Text(window) => {
                window.push(piece, &mut |bytes| out(Part::new(PartKind::Text, b"", bytes)));
            }
            Body::Unknown => {}
        }
    }

    /// The body has ended.
    pub fn end(&mut self, out: &mut Sink<'_>) {
        let Walker { body, inner } = self;
        let out = &mut |part: Part<'_>| show(part, inner, out);
        match body {
            Body::Form(form) => form.end(out),
            Body::Json(json) => json.end(out),
            Body::Multipart(multipart) => multipart.end(out),
            Body::Binary(runs) => runs.end(b"", out),
            Body::Text(window) => {
                window.end(&mut |bytes| out(Part::new(PartKind::Text, b"", bytes)));
            }
            Body::Unknown => {}
        }
    }

    /// Whether only printable runs of the body are shown, because the application does not read it as text.
    pub fn is_binary(&self) -> bool {
        matches!(self.body, Body::Binary(_))
    }

    /// The windows that are filled at the same time.
    pub fn windows(&self) -> usize {
        match &self.body {
            Body::Multipart(multipart) => multipart.windows(),
            Body::Form(_) | Body::Json(_) | Body::Binary(_) | Body::Text(_) | Body::Unknown => 1,
        }
    }

    /// Whether received bytes were not shown yet: they are shown with the next ones.
    pub fn is_pending(&self) -> bool {
        match &self.body {
            Body::Form(form) => form.is_pending(),
            Body::Json(json) => json.is_pending(),
            Body::Multipart(multipart) => multipart.is_pending(),
            Body::Binary(runs) => runs.is_pending(),
            Body::Text(window) => window.is_pending(),
            Body::Unknown => false,
        }
    }
}

/// Shows a part, and the parts of JSON in it. JSON in a value is walked only once.
fn show(part: Part<'_>, inner: &mut Json, out: &mut Sink<'_>) {
    out(part);
    let holds_json = match part.kind {
        PartKind::Name | PartKind::Value => {
            matches!(part.bytes.trim_ascii_start().first(), Some(b'{' | b'['))
        }
        PartKind::Header | PartKind::FileName | PartKind::Text | PartKind::Operator => false,
    };
    if holds_json {
        inner.begin_in(part.field);
        inner.push(part.bytes, out);
        inner.end(out);
    }
}
