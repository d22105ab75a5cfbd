//! The cloud providers, and the addresses of their networks' documents.

/// A cloud provider.
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
    /// All providers, in the order of the enum.
    pub const ALL: [Provider; 6] = [
        Provider::Aws,
        Provider::Gcp,
        Provider::Azure,
        Provider::DigitalOcean,
        Provider::Linode,
        Provider::Vultr,
    ];

    /// The word in the guard file, logs and metrics.
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

    /// The address of the document. For Azure it is a page, in which [`azure_file`](super::azure_file) finds the file.
    pub fn url(self) -> &'static str {
        match self {
            Provider::Aws => "https://ip-ranges.amazonaws.com/ip-ranges.json",
            Provider::Gcp => "https://www.gstatic.com/ipranges/cloud.json",
            Provider::Azure => "https://www.microsoft.com/en-us/download/details.aspx?id=56519",
            Provider::DigitalOcean => "https://www.digitalocean.com/geo/google.csv",
            Provider::Linode => "https://geoip.linode.com/",
            Provider::Vultr => "https://geofeed.constant.com/?json",
        }
    }

    /// The name that the provider gives the file, without its ending, and the ending.
    fn published(self) -> (&'static str, &'static str) {
        match self {
            Provider::Aws => ("ip-ranges", "json"),
            Provider::Gcp => ("cloud", "json"),
            Provider::Azure => ("ServiceTags_Public_", "json"),
            Provider::DigitalOcean => ("google", "csv"),
            Provider::Linode => ("geoip", "csv"),
            Provider::Vultr => ("geofeed", "json"),
        }
    }

    /// The name of the file with the last fetched document in a directory of ranges. It differs from all names of operators'
    /// files, so that neither replaces the other.
    pub fn fetched_file_name(self) -> String {
        let (_, ending) = self.published();
        format!("fetched-{}.{ending}", self.name())
    }

    /// The provider of a file in a directory of ranges: the file has the provider's own name for it, or begins with the
    /// provider, as `aws.json` and `aws-ip-ranges.json`. Of several files of one provider the last name in the order of bytes
    /// is the newest: the names of Azure contain a date.
    pub fn of_file_name(name: &str) -> Option<Provider> {
        let (stem, ending) = name.rsplit_once('.')?;
        Provider::ALL.into_iter().find(|provider| {
            let (published, expected) = provider.published();
            let is_published = stem == published || (published.ends_with('_') && stem.starts_with(published));
            let after_provider = stem.strip_prefix(provider.name());
            let is_own = after_provider.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
            ending == expected && (is_published || is_own)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_8_files_are_known_by_their_names() {
        for (name, expected) in [
            ("aws-ip-ranges.json", Some(Provider::Aws)),
            ("ip-ranges.json", Some(Provider::Aws)),
            ("aws.json", Some(Provider::Aws)),
            ("gcp-cloud.json", Some(Provider::Gcp)),
            ("cloud.json", Some(Provider::Gcp)),
            ("azure-ServiceTags_Public_20251208.json", Some(Provider::Azure)),
            ("ServiceTags_Public_20251208.json", Some(Provider::Azure)),
            ("digitalocean-google.csv", Some(Provider::DigitalOcean)),
            ("google.csv", Some(Provider::DigitalOcean)),
            ("linode-geoip.csv", Some(Provider::Linode)),
            ("geoip.csv", Some(Provider::Linode)),
            ("vultr-geofeed.json", Some(Provider::Vultr)),
            ("geofeed.json", Some(Provider::Vultr)),
            ("azure-download-page.html", None),
            ("README.md", None),
            ("aws-ip-ranges.json.tmp", None),
            ("aws-ip-ranges.csv", None),
            ("awsome.json", None),
            ("my-ip-ranges.json", None),
            ("json", None),
            ("", None),
        ] {
            assert_eq!(Provider::of_file_name(name), expected, "{name}");
        }
    }

    #[test]
    fn guard_8_providers_have_names_and_addresses_of_their_own() {
        for provider in Provider::ALL {
            assert_eq!(Provider::of_name(&provider.name().to_uppercase()), Some(provider));
            assert!(provider.url().starts_with("https://"));
            let same = |other: &&Provider| other.name() == provider.name() || other.url() == provider.url();
            assert_eq!(Provider::ALL.iter().filter(same).count(), 1);
        }
        assert_eq!(Provider::of_name("oracle"), None);
        for provider in Provider::ALL {
            assert_eq!(Provider::of_file_name(&provider.fetched_file_name()), None);
        }
    }
}
