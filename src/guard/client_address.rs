//! Whose request it is, when trusted proxies stand before weir (guard semantics, section 2).
