//! All callbacks of the host program.

use super::callback::{ConnectionCallback, NameCallback, RequestCallback};
use super::pages::OwnPages;
use crate::part::pages::Shared;
use std::fmt::{self, Debug};
use std::sync::Arc;

/// The callbacks of one engine.
#[derive(Clone, Default)]
pub struct Callbacks {
    /// Decides whether a client with that address may connect.
    pub connection: Option<Arc<ConnectionCallback>>,
    /// Decides about a request.
    pub request: Option<Arc<RequestCallback>>,
    /// Gives the addresses of a name.
    pub name: Option<Arc<NameCallback>>,
    /// Answers requests for weir's own pages.
    pub pages: Option<Shared<OwnPages>>,
}

impl Debug for Callbacks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Callbacks { connection, request, name, pages } = self;
        let set = [connection.is_some(), request.is_some(), name.is_some(), pages.is_some()];
        write!(out, "Callbacks({set:?})")
    }
}
