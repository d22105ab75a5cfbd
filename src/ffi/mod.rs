//! The proxy for programs in C: `weir.h`, `libweir.a` and `libweir.so` (feature `capi`, `scripts/capi`).
//!
//! Every function of the header is here, and its comment is the comment in the header (cbindgen writes `weir.h` from these
//! files; `scripts/test-capi` fails if the header is not current). The Rust interface is complete without this room, which
//! adds only the border: pointers are checked for null, texts for UTF-8, sizes for the members of this version, and a panic
//! ends at the border as a status.

// The border consists of pointers whose validity a program in C has promised. Every function of this room is unsafe for that reason; the other places that may
// be unsafe are single files (SECURITY.md).
#![allow(unsafe_code)]
// The names of the header.
#![allow(non_camel_case_types)]

mod border;
mod callbacks;
mod calls;
mod configuration;
mod messages;
mod proxy;
mod signals;

pub use border::{
    WEIR_ABI_VERSION, weir_abi_version, weir_status, weir_status_text, weir_text, weir_version,
};
pub use callbacks::{
    WEIR_NAME_ASK, WEIR_NAME_FOUND, WEIR_NAME_NOT_FOUND, weir_addresses, weir_addresses_add, weir_options,
    weir_request, weir_request_client, weir_request_field, weir_request_host, weir_request_is_refresh,
    weir_request_method, weir_request_path, weir_request_port, weir_request_target, weir_request_user,
    weir_ruling, weir_ruling_answer, weir_ruling_answer_field, weir_ruling_dial, weir_ruling_note,
    weir_ruling_refuse,
};
pub use configuration::{
    weir_config, weir_config_file, weir_config_free, weir_config_memory_only, weir_config_new,
    weir_config_set, weir_config_text,
};
pub use messages::{WEIR_MESSAGE_ERROR, WEIR_MESSAGE_INFO, WEIR_MESSAGE_WARNING};
pub use proxy::{
    weir_address, weir_ban, weir_drain, weir_fd, weir_free, weir_name_found, weir_new, weir_next_timeout_ms,
    weir_poll, weir_proxy, weir_refresh_addresses, weir_reload, weir_save_cache, weir_stats, weir_stats_text,
    weir_stop, weir_unban,
};
