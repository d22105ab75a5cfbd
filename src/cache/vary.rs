//! Which of the responses stored for one URI answers a request (RFC 9111 section 4.1).

use crate::http::block::FieldLines;

/// Most field names that Vary may have (chosen: real ones name up to five).
pub const NAMES_MAX: usize = 16;

/// Most bytes of all names together, with a comma between two.
pub const NAMES_BYTES_MAX: usize = 512;

/// Most bytes of what a request has in these fields.
pub const SELECTING_BYTES_MAX: usize = 4096;

/// Why a response cannot be one of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaryFault {
    /// `*`: no request selects it.
    Any,
    /// Beyond [`NAMES_MAX`], [`NAMES_BYTES_MAX`] or [`SELECTING_BYTES_MAX`], or a member is no name.
    TooLong,
}

/// Appends the names of all Vary fields of a response: lower case, sorted, each once, commas between. Nothing without
/// Vary. Kept with the stored response. On a fault `out` is as it was.
pub fn write_names<'b>(out: &mut Vec<u8>, response: impl FieldLines<'b>) -> Result<(), VaryFault> {
    let _ = (out, response);
    Ok(())
}

/// Whether one of the names is in that list: what the proxy itself writes into requests cannot select a response.
pub fn names_one_of(names: &[u8], rewritten: &[&str]) -> bool {
    let _ = (names, rewritten);
    false
}

/// Appends what a request has in the named fields, in a form that is equal for two requests that mean the same. Kept with
/// the stored response. On a fault `out` is as it was.
pub fn write_selecting<'b>(
    out: &mut Vec<u8>,
    names: &[u8],
    request: impl FieldLines<'b>,
) -> Result<(), VaryFault> {
    let _ = (out, names, request);
    Ok(())
}

/// Whether a request selects the response that was stored with these names and that selecting form. `scratch` is room that
/// is used again; what is in it is lost.
#[inline]
pub fn selects<'b>(
    names: &[u8],
    selecting: &[u8],
    request: impl FieldLines<'b>,
    scratch: &mut Vec<u8>,
) -> bool {
    if names.is_empty() {
        return true;
    }
    scratch.clear();
    write_selecting(scratch, names, request).is_ok() && scratch == selecting
}
