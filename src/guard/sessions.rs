//! Sessions: load, save, delete, expiry (guard semantics, section 7).
