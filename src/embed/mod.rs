//! The one way to run weir, for its own daemon and for programs that contain a proxy.
//!
//! A [`Configuration`] has the options of the daemon, as values or as the text of a configuration file. A [`Builder`] adds
//! what only a program can give: sockets that listen already, a receiver of the access log. It builds a [`Proxy`]. The host
//! program calls [`Proxy::run`], or [`Proxy::poll`] from a loop of its own. A [`Control`] gives commands to a running proxy,
//! from any thread.
//!
//! A proxy installs neither signal handler nor logger, and changes nothing of the process without [`Builder::owns_process`].
//! Its messages go to the facade of the `log` crate. It starts threads only for what needs them: one for each worker beyond the
//! first (`workers`), one for passwords with slow hashes (`auth-file`), one that loads the cache (`cache-file`), those of a shared
//! store, of fetched networks of clouds and of events (lines of the guard file), one for health checks (routes of the gateway
//! file), one for the values of pages (`Builder::pages`, feature `pages`), and one that follows the addresses of the machine
//! ([`Builder::follow_addresses`]). `docs/architecture.md` has the name of each thread. The daemon adds the threads for its logs,
//! `weir ctl`, monitoring systems and the service manager.

mod addresses;
mod builder;
#[cfg(feature = "admin")]
mod cache_commands;
#[cfg(feature = "cloud")]
mod cloud_fetching;
mod clouds;
mod configuration;
mod control;
mod descriptors;
mod follower;
mod gateway_commands;
mod gateway_part;
mod guard_commands;
mod guard_parts;
mod guard_settings;
mod health;
mod listeners;
mod proxy;
mod sizing;

pub use crate::config::{Origin, Problem, Problems};
pub use crate::shell::{Failure, Time};
pub use builder::{BuildError, Builder};
pub use configuration::Configuration;
pub use control::{Control, Reloaded};
pub use guard_commands::BanError;
pub use listeners::ListenError;
pub use proxy::{Proxy, Status};

// For the daemon, which opens them before it gives up the rights to do so.
#[doc(hidden)]
pub use crate::cache::command as cache_command;
#[doc(hidden)]
pub use crate::gateway::command as gateway_command;
#[doc(hidden)]
pub use crate::guard::command as guard_command;
#[doc(hidden)]
pub use crate::metrics::Form;
#[cfg(feature = "mongodb")]
#[doc(hidden)]
pub use crate::shell::stores::mongodb::prepare as prepare_mongodb;
#[doc(hidden)]
pub use crate::shell::threads;
#[doc(hidden)]
pub use crate::shell::{CacheFile, Health, MemoryGauge, parent, try_bind};
#[cfg(feature = "admin")]
#[doc(hidden)]
pub use crate::shell::{
    ControlSocket, MetricsListener, Predecessor, Reply, SocketFile, ask_daemon, take_over,
};
#[doc(hidden)]
pub use crate::text::json_text;
#[doc(hidden)]
pub use configuration::{Compiled, addresses_to_bind, compile, loaded, loops, random_seed, warn_of_skipped};
#[doc(hidden)]
pub use descriptors::needed as descriptors_needed;
#[doc(hidden)]
pub use listeners::Listeners;
#[doc(hidden)]
pub use sizing::size;
