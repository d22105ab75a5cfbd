//! The networks of one provider, and the checks of such a set.

use ipnet::IpNet;
use std::collections::BTreeMap;
use std::fmt;

/// Largest file (chosen): Azure's, the largest one, has about 4 MB.
pub const FILE_BYTES_MAX: usize = 64 << 20;

/// Most networks of a provider (chosen): Azure, with the most, has about 50,000.
pub(super) const NETWORKS_MAX: usize = 500_000;

/// Shortest accepted prefixes (cloud ranges): no provider has a larger network.
const PREFIX4_LEAST: u8 = 8;
const PREFIX6_LEAST: u8 = 16;

/// A set is refused if it has more than this many times the networks or the IPv4 addresses of the last one, or fewer than
/// that part of them, unless `cloud change-max` sets another number (chosen): no provider changes as much at once.
pub const CHANGE_MAX: u64 = 2;

/// The reason why a file is no set of networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloudError {
    /// More bytes than [`FILE_BYTES_MAX`].
    TooLong(usize),
    /// The file does not have the form of the provider; the text is printable.
    Malformed(String),
    /// The set is empty.
    Empty,
    /// More networks than a provider has.
    TooMany(usize),
    /// A network that is larger than a provider can have.
    TooWide(IpNet),
    /// The number of networks or IPv4 addresses differs too much from the last set.
    Changed {
        /// `networks` or `IPv4 addresses`.
        what: &'static str,
        /// The number in the last set.
        before: u64,
        /// The number in this set.
        now: u64,
        /// The largest allowed factor.
        change_max: u64,
    },
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloudError::TooLong(bytes) => write!(f, "{bytes} bytes: expected at most {FILE_BYTES_MAX}"),
            CloudError::Malformed(message) => f.write_str(message),
            CloudError::Empty => f.write_str("no networks: expected some"),
            CloudError::TooMany(count) => write!(f, "{count} networks: expected at most {NETWORKS_MAX}"),
            CloudError::TooWide(network) => {
                write!(
                    f,
                    "{network}: expected prefixes of at least {PREFIX4_LEAST} bits (IPv4) or {PREFIX6_LEAST} (IPv6)"
                )
            }
            CloudError::Changed { what, before, now, change_max } => {
                write!(
                    f,
                    "{now} {what}, {before} before: expected at most {change_max} times as many, or as few \
                     (cloud change-max)"
                )
            }
        }
    }
}

/// The networks of one provider with their regions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// Each network, and the index of its region in `regions`.
    networks: Vec<(IpNet, u32)>,
    /// In lower case; empty for an unknown region.
    regions: Vec<Box<str>>,
    place_of: BTreeMap<Box<str>, u32>,
    /// Lines of a geofeed that were left out.
    pub(super) skipped: usize,
}

impl Ranges {
    pub(super) fn push(&mut self, network: IpNet, region: &str) {
        let region = region.trim().to_ascii_lowercase().into_boxed_str();
        let place = match self.place_of.get(&region) {
            Some(place) => *place,
            None => {
                let place = self.regions.len() as u32;
                self.regions.push(region.clone());
                self.place_of.insert(region, place);
                place
            }
        };
        self.networks.push((network, place));
    }

    /// Each network with its region in lower case, which may be empty.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, &str)> {
        let region = |place: u32| self.regions.get(place as usize).map_or("", |region| region);
        self.networks.iter().map(move |(network, place)| (*network, region(*place)))
    }

    /// Number of networks; a network in several regions counts for each.
    pub fn len(&self) -> usize {
        self.networks.len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Faulty lines of a geofeed, and networks that are of no provider.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Checks that the set has networks, not too many, and none larger than a provider can have.
    pub(super) fn checked(self) -> Result<Ranges, CloudError> {
        let is_wide = |network: &IpNet| match network {
            IpNet::V4(v4) => v4.prefix_len() < PREFIX4_LEAST,
            IpNet::V6(v6) => v6.prefix_len() < PREFIX6_LEAST,
        };
        if let Some((network, _)) = self.networks.iter().find(|(network, _)| is_wide(network)) {
            return Err(CloudError::TooWide(*network));
        }
        match self.len() {
            0 => Err(CloudError::Empty),
            1..=NETWORKS_MAX => Ok(self),
            count => Err(CloudError::TooMany(count)),
        }
    }

    /// Checks whether this set may replace the last good one of its provider: it may be at most `change_max` times as large,
    /// or as small.
    pub fn check_change(&self, last: &Ranges, change_max: u64) -> Result<(), CloudError> {
        let counts = [
            ("networks", last.len() as u64, self.len() as u64),
            ("IPv4 addresses", last.v4_addresses(), self.v4_addresses()),
        ];
        let is_fine = |before: u64, now: u64| {
            now <= before.saturating_mul(change_max) && before <= now.saturating_mul(change_max)
        };
        // A set that had none of a kind before may begin with any number.
        match counts.into_iter().find(|(_, before, now)| *before > 0 && !is_fine(*before, *now)) {
            Some((what, before, now)) => Err(CloudError::Changed { what, before, now, change_max }),
            None => Ok(()),
        }
    }

    /// The number of IPv4 addresses in all networks; each counts once.
    fn v4_addresses(&self) -> u64 {
        let mut spans: Vec<(u64, u64)> = self
            .networks
            .iter()
            .filter_map(|(network, _)| match network {
                IpNet::V4(v4) => {
                    Some((v4.network().to_bits().into(), u64::from(v4.broadcast().to_bits()) + 1))
                }
                IpNet::V6(_) => None,
            })
            .collect();
        spans.sort_unstable();
        let count = |(total, covered): (u64, u64), (first, end): (u64, u64)| {
            (total + end.saturating_sub(first.max(covered)), covered.max(end))
        };
        spans.into_iter().fold((0, 0), count).0
    }
}
