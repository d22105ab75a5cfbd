//! The files of the providers. An error in JSON refuses the whole document: half a set would admit the networks that it
//! lacks. Lines of a geofeed (RFC 8805) are independent, and faulty ones are left out, as long as they are the minority.

use super::provider::Provider;
use super::ranges::{CloudError, FILE_BYTES_MAX, Ranges};
use crate::guard::networks::{NetworkError, parse_network};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Deserialize;
use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Most characters of a faulty text that an error shows (chosen).
const FOUND_CHARS_MAX: usize = 80;

/// Reads the document of a provider.
pub fn parse(provider: Provider, content: &[u8]) -> Result<Ranges, CloudError> {
    if content.len() > FILE_BYTES_MAX {
        return Err(CloudError::TooLong(content.len()));
    }
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let ranges = match provider {
        Provider::Aws => aws(content),
        Provider::Gcp => gcp(content),
        Provider::Azure => azure(content),
        Provider::DigitalOcean | Provider::Linode => geofeed(content),
        Provider::Vultr => vultr(content),
    };
    ranges?.checked()
}

fn document<'d, T: Deserialize<'d>>(content: &'d [u8]) -> Result<T, CloudError> {
    serde_json::from_slice(content).map_err(|error| {
        let message: String = error.to_string().chars().take(FOUND_CHARS_MAX).collect();
        CloudError::Malformed(format!("expected the JSON of the provider: {}", message.escape_debug()))
    })
}

fn network(text: &str) -> Result<IpNet, CloudError> {
    parse_network(text).map_err(|error| {
        let head: String = text.chars().take(FOUND_CHARS_MAX).collect();
        let expected = match error {
            NetworkError::Malformed => "a network".to_owned(),
            NetworkError::HostBits(network) => network.to_string(),
        };
        CloudError::Malformed(format!("expected {expected}, found \"{}\"", head.escape_debug()))
    })
}

#[derive(Deserialize)]
struct Aws<'d> {
    #[serde(borrow)]
    prefixes: Vec<AwsRow<'d>>,
    #[serde(borrow)]
    ipv6_prefixes: Vec<AwsRow<'d>>,
}

#[derive(Deserialize)]
struct AwsRow<'d> {
    #[serde(borrow, alias = "ipv6_prefix")]
    ip_prefix: Cow<'d, str>,
    #[serde(borrow)]
    region: Cow<'d, str>,
    #[serde(borrow)]
    service: Cow<'d, str>,
}

/// `AMAZON` contains all services; networks outside of it are no addresses of customers (section 8).
fn aws(content: &[u8]) -> Result<Ranges, CloudError> {
    let document: Aws<'_> = document(content)?;
    let mut ranges = Ranges::default();
    for row in document.prefixes.iter().chain(&document.ipv6_prefixes) {
        let network = network(&row.ip_prefix)?;
        if row.service == "AMAZON" {
            ranges.push(network, &row.region);
        }
    }
    Ok(ranges)
}

#[derive(Deserialize)]
struct Gcp<'d> {
    #[serde(borrow)]
    prefixes: Vec<GcpRow<'d>>,
}

#[derive(Deserialize)]
struct GcpRow<'d> {
    #[serde(borrow, rename = "ipv4Prefix")]
    v4: Option<Cow<'d, str>>,
    #[serde(borrow, rename = "ipv6Prefix")]
    v6: Option<Cow<'d, str>>,
    #[serde(borrow)]
    scope: Cow<'d, str>,
}

fn gcp(content: &[u8]) -> Result<Ranges, CloudError> {
    let document: Gcp<'_> = document(content)?;
    let mut ranges = Ranges::default();
    for row in &document.prefixes {
        let texts = [&row.v4, &row.v6];
        for text in texts.into_iter().flatten() {
            ranges.push(network(text)?, &row.scope);
        }
        // A row without a network is skipped.
        ranges.skipped += usize::from(row.v4.is_none() && row.v6.is_none());
    }
    Ok(ranges)
}

#[derive(Deserialize)]
struct Azure<'d> {
    #[serde(borrow)]
    values: Vec<AzureTag<'d>>,
}

#[derive(Deserialize)]
struct AzureTag<'d> {
    #[serde(borrow)]
    name: Cow<'d, str>,
    #[serde(borrow)]
    properties: AzureProperties<'d>,
}

#[derive(Deserialize)]
struct AzureProperties<'d> {
    #[serde(borrow, rename = "addressPrefixes")]
    networks: Vec<Cow<'d, str>>,
}

/// `AzureCloud` has all networks, without regions; `AzureCloud.REGION` has the networks of a region. Regions come first,
/// because of equal networks the first is found.
fn azure(content: &[u8]) -> Result<Ranges, CloudError> {
    const ALL: &str = "AzureCloud";
    let document: Azure<'_> = document(content)?;
    let region = |tag: &AzureTag<'_>| tag.name.strip_prefix(ALL)?.strip_prefix('.').map(str::to_owned);
    let mut ranges = Ranges::default();
    for (tag, region) in document.values.iter().filter_map(|tag| Some((tag, region(tag)?))) {
        tag.properties
            .networks
            .iter()
            .try_for_each(|text| network(text).map(|network| ranges.push(network, &region)))?;
    }
    let Some(all) = document.values.iter().find(|tag| tag.name == ALL) else {
        return Err(CloudError::Malformed(format!("expected the tag {ALL}, found none")));
    };
    if all.properties.networks.is_empty() {
        return Err(CloudError::Empty);
    }
    all.properties
        .networks
        .iter()
        .try_for_each(|text| network(text).map(|network| ranges.push(network, "")))?;
    Ok(ranges)
}

/// `prefix,country,region,city,postal`, and `#` for comments (RFC 8805 2.1.1).
fn geofeed(content: &[u8]) -> Result<Ranges, CloudError> {
    let mut feed = Feed::default();
    for line in content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let text = std::str::from_utf8(line).unwrap_or_default();
        let mut cells = text.split(',').map(str::trim);
        let (prefix, country, region) = (cells.next(), cells.next(), cells.next());
        let region = region.filter(|region| !region.is_empty()).or(country);
        feed.push(prefix.unwrap_or_default(), region.unwrap_or_default());
    }
    feed.finish()
}

#[derive(Deserialize)]
struct Vultr<'d> {
    #[serde(borrow)]
    subnets: Vec<VultrRow<'d>>,
}

#[derive(Deserialize)]
struct VultrRow<'d> {
    #[serde(borrow)]
    ip_prefix: Option<Cow<'d, str>>,
    #[serde(borrow)]
    region: Option<Cow<'d, str>>,
}

fn vultr(content: &[u8]) -> Result<Ranges, CloudError> {
    let document: Vultr<'_> = document(content)?;
    let mut feed = Feed::default();
    for row in &document.subnets {
        feed.push(row.ip_prefix.as_deref().unwrap_or_default(), row.region.as_deref().unwrap_or_default());
    }
    feed.finish()
}

/// Lines of which faulty ones are left out.
#[derive(Default)]
struct Feed {
    ranges: Ranges,
    faulty: usize,
}

impl Feed {
    fn push(&mut self, prefix: &str, region: &str) {
        match parse_network(prefix) {
            Ok(network) if is_special(&network) => self.ranges.skipped += 1,
            Ok(network) => self.ranges.push(network, region),
            Err(_) => {
                self.ranges.skipped += 1;
                self.faulty += 1;
            }
        }
    }

    /// A text with more faults than networks is no geofeed, for example an error page.
    fn finish(self) -> Result<Ranges, CloudError> {
        if self.faulty > self.ranges.len() {
            let message = format!(
                "expected a geofeed, found {} faulty lines and {} networks",
                self.faulty,
                self.ranges.len()
            );
            return Err(CloudError::Malformed(message));
        }
        Ok(self.ranges)
    }
}

/// Blocks that belong to no provider (IANA's registries of special-purpose addresses), and still occur in feeds. Smaller
/// networks in a block for documentation are accepted: only the block itself is a mistake.
fn is_special(network: &IpNet) -> bool {
    const V4: [([u8; 4], u8); 8] = [
        ([0, 0, 0, 0], 8),
        ([10, 0, 0, 0], 8),
        ([100, 64, 0, 0], 10),
        ([127, 0, 0, 0], 8),
        ([169, 254, 0, 0], 16),
        ([172, 16, 0, 0], 12),
        ([192, 168, 0, 0], 16),
        ([224, 0, 0, 0], 3),
    ];
    // First group and prefix: 6to4, unique local, link-local and site-local, multicast, and addresses that begin with zeros.
    const V6: [(u16, u8); 5] = [(0x2002, 16), (0xfc00, 7), (0xfe80, 9), (0xff00, 8), (0, 16)];
    const DOCUMENTATION: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0);
    match network {
        IpNet::V4(v4) => V4.iter().any(|(octets, length)| {
            Ipv4Net::new(Ipv4Addr::from(*octets), *length).is_ok_and(|special| special.contains(v4))
        }),
        IpNet::V6(v6) => {
            let within = |first: u16, length: u8| {
                let special = Ipv6Net::new(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), length);
                special.is_ok_and(|special| special.contains(v6))
            };
            V6.iter().any(|(first, length)| within(*first, *length))
                || (v6.prefix_len() == 32 && v6.network() == DOCUMENTATION)
        }
    }
}
