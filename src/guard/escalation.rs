//! A fixed window with escalation: a pure state machine, and its memory store (guard semantics, section 6).
