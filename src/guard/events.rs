//! What the guard tells of what it did: a bounded ring, JSON lines.
