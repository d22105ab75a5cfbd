//! Banned addresses and networks, found by the longest prefix.
