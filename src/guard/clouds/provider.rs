//! Who runs clouds.

/// Who runs a cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// Amazon Web Services.
    Aws,
    /// Google Cloud.
    Gcp,
    /// Microsoft Azure.
    Azure,
    /// DigitalOcean.
    DigitalOcean,
    /// Linode (Akamai).
    Linode,
    /// Vultr.
    Vultr,
}

impl Provider {
    /// All of them, in the order of the enum.
    pub const ALL: [Provider; 6] = [
        Provider::Aws,
        Provider::Gcp,
        Provider::Azure,
        Provider::DigitalOcean,
        Provider::Linode,
        Provider::Vultr,
    ];

    /// The word of the guard file, of logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Aws => "aws",
            Provider::Gcp => "gcp",
            Provider::Azure => "azure",
            Provider::DigitalOcean => "digitalocean",
            Provider::Linode => "linode",
            Provider::Vultr => "vultr",
        }
    }

    /// The provider of that name, in any case.
    pub fn of_name(name: &str) -> Option<Provider> {
        Provider::ALL.into_iter().find(|provider| provider.name().eq_ignore_ascii_case(name))
    }
}
