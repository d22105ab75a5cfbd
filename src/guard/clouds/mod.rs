//! Networks of cloud providers (guard semantics, section 8).
//!
//! [`parse()`] reads the document of a provider into [`Ranges`]. Only whole sets are accepted: a faulty or empty set, or one
//! that is too large for a provider, is refused, and the last good set stays. [`Clouds`] has the sets of all providers,
//! replaced as a whole; a [`Selector`] is one line of the guard file compiled against it. The shell fetches:
//! [`refresh_delay_ms`] gives the time, and [`azure_file`] the address.

mod azure_page;
mod parse;
mod provider;
mod ranges;
mod schedule;
mod selector;
mod snapshot;

pub use azure_page::{AZURE_AGE_DAYS_MAX, AzureFile, azure_age_days, azure_file};
pub use parse::parse;
pub use provider::Provider;
pub use ranges::{CHANGE_MAX, CloudError, FILE_BYTES_MAX, Ranges};
pub use schedule::{REFRESH_MS, REFRESH_MS_LEAST, REFRESH_MS_MOST, refresh_delay_ms};
pub use selector::Selector;
pub use snapshot::{Clouds, Details};
