//! Properties for any bytes: one function per target, which asserts them.
//!
//! `tests/fuzz_replay.rs` runs the functions over the corpus and over mutations of it, on any toolchain and in every
//! test run; the crate beside this folder hands them to libFuzzer. Where possible a target does more than wait for a
//! panic: it compares the code with a [`reference`] that reads in one go, slowly and simply, or with itself and the
//! bytes in other pieces.

pub mod bodies;
pub mod cache_file;
pub mod caching;
pub mod chunked;
pub mod configuration;
pub mod dates;
pub mod dns;
pub mod dns_reference;
pub mod edits;
pub mod fields;
pub mod framing;
pub mod guard;
pub mod heads;
pub mod json;
pub mod log;
pub mod names;
pub mod pieces;
pub mod reference;
pub mod reply;
pub mod rules;
pub mod users;

/// A target: returns if all holds, panics if not.
pub type Target = fn(&[u8]);

/// All of them by name: that of the corpus folder, and of the libFuzzer program.
pub const ALL: [(&str, Target); 28] = [
    ("ban_file", guard::ban_file),
    ("body_parts", bodies::body_parts),
    ("cache_control", caching::cache_control),
    ("cache_exchange", caching::cache_exchange),
    ("cache_file", cache_file::cache_file),
    ("chunked", chunked::chunked),
    ("cloud_ranges", guard::cloud_ranges),
    ("command_line", configuration::command_line),
    ("configuration", configuration::configuration),
    ("dates", dates::dates),
    ("dns", dns::dns),
    ("edits", edits::edits),
    ("field_lists", fields::field_lists),
    ("guard_file", guard::guard_file),
    ("http_date_text", caching::http_date_text),
    ("log_entry", log::log_entry),
    ("proxy_header", guard::proxy_header),
    ("range", caching::range),
    ("reply", reply::reply),
    ("request_framing", framing::request_framing),
    ("request_head", heads::request_head),
    ("request_stream", framing::request_stream),
    ("response_head", heads::response_head),
    ("response_stream", framing::response_stream),
    ("rule_file", rules::rule_file),
    ("system_files", names::system_files),
    ("target", names::target),
    ("user_file", users::user_file),
];
