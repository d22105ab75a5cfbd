//! A path in the form in which it is compared with prefixes.
