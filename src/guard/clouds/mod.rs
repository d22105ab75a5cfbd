//! Networks of cloud providers.

mod provider;

pub use provider::Provider;
