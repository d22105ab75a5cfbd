//! The PROXY protocol's header, versions 1 and 2.
