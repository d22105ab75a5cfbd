//! Cryptography for TLS of the drivers.

/// Gives rustls the provider of the process, which the drivers use, unless another part of the process has given its own.
pub fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
