//! A sliding window, exact, in memory (guard semantics, section 5).
