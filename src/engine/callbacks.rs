//! All that the program around the proxy decides, in one place.

use super::callback::{ConnectionCallback, NameCallback, RequestCallback};
use super::pages::OwnPages;
use std::fmt::{self, Debug};
use std::sync::Arc;

/// The callbacks of one engine.
#[derive(Clone, Default)]
pub struct Callbacks {
    /// Whether a client, at that address, may connect.
    pub connection: Option<Arc<ConnectionCallback>>,
    /// What becomes of a request.
    pub request: Option<Arc<RequestCallback>>,
    /// Where a name leads.
    pub name: Option<Arc<NameCallback>>,
    /// What answers requests for weir itself.
    pub pages: Option<Arc<OwnPages>>,
}

impl Debug for Callbacks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Callbacks { connection, request, name, pages } = self;
        let set = [connection.is_some(), request.is_some(), name.is_some(), pages.is_some()];
        write!(out, "Callbacks({set:?})")
    }
}
