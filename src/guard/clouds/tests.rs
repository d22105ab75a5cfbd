use super::*;
use crate::guard::clouds::{CHANGE_MAX, CloudError, Ranges, parse};
use crate::guard::directives;
use std::sync::Arc;

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/guard/clouds/", $name)).as_slice()
    };
}

fn samples() -> [(Provider, &'static [u8]); 6] {
    [
        (Provider::Aws, sample!("aws-ip-ranges.json")),
        (Provider::Gcp, sample!("gcp-cloud.json")),
        (Provider::Azure, sample!("azure-ServiceTags_Public_20251201.json")),
        (Provider::DigitalOcean, sample!("digitalocean-google.csv")),
        (Provider::Linode, sample!("linode-geoip.csv")),
        (Provider::Vultr, sample!("vultr-geofeed.json")),
    ]
}

fn clouds() -> Clouds {
    let set = |(provider, content)| (provider, Arc::new(parse(provider, content).unwrap()));
    Clouds::new(samples().into_iter().map(set).collect())
}

fn selector(line: &str, clouds: &Clouds) -> Selector {
    Selector::new(&directives::parse(line.as_bytes()).unwrap().clouds[0], clouds)
}

fn details(clouds: &Clouds, address: &str) -> Option<String> {
    let found = clouds.details(address.parse().unwrap())?;
    Some(format!("{} {} {}", found.provider.name(), found.network, found.region).trim().to_owned())
}

/// The table of look-ups: each row of cloud-ranges/README.md, with other addresses.
#[test]
fn ours_8_the_longest_match_is_what_a_look_up_gives() {
    let clouds = clouds();
    for (address, expected) in [
        ("198.51.100.1", Some("aws 198.51.100.0/25 eu-central-1")),
        ("198.51.100.40", Some("aws 198.51.100.32/27 global")),
        ("198.51.100.200", Some("aws 198.51.100.200/32 us-east-1")),
        ("198.51.100.201", None),
        ("203.0.113.9", None),
        ("192.0.2.40", Some("gcp 192.0.2.40/32 global")),
        ("192.0.2.41", None),
        ("2001:db8:2000::1", Some("gcp 2001:db8:2000::/44 us-east4")),
        ("203.0.113.70", Some("azure 203.0.113.64/26 northeurope")),
        ("203.0.113.130", Some("azure 203.0.113.128/27")),
        ("2001:db8:3000:8::1", Some("azure 2001:db8:3000::/36")),
        ("2001:db8:3100::1", Some("azure 2001:db8:3100::/40 northeurope")),
        ("198.51.100.130", Some("digitalocean 198.51.100.128/27 nl-nh")),
        ("198.51.100.161", Some("digitalocean 198.51.100.160/28 sg")),
        ("192.0.2.65", Some("linode 192.0.2.64/26 de-he")),
        ("192.0.2.200", Some("linode 192.0.2.192/27 us-ga")),
        ("192.0.2.130", None),
        ("192.0.2.225", Some("vultr 192.0.2.224/28 us-nj")),
        ("2001:db8:6000::1", Some("vultr 2001:db8:6000::/48 jp-13")),
        ("2001:db8:7000::1", None),
        ("2002::1", None),
        ("10.1.0.1", None),
        ("10.0.0.1", None),
        ("::1", None),
    ] {
        assert_eq!(details(&clouds, address).as_deref(), expected, "{address}");
    }
}

#[test]
fn ours_8_addresses_that_are_mapped_are_looked_up_as_ipv4() {
    assert_eq!(
        details(&clouds(), "::ffff:198.51.100.1").as_deref(),
        Some("aws 198.51.100.0/25 eu-central-1")
    );
    let selector = selector("cloud deny client aws", &clouds());
    assert!(selector.denies("::ffff:198.51.100.1".parse().unwrap()).is_some());
}

#[test]
fn fault_13_5_ipv6_of_aws_counts() {
    let clouds = clouds();
    assert_eq!(details(&clouds, "2001:db8:1000::1").as_deref(), Some("aws 2001:db8:1000::/36 eu-central-1"));
    assert!(selector("cloud deny client aws", &clouds).denies("2001:db8:1000::1".parse().unwrap()).is_some());
}

#[test]
fn fault_13_5_a_default_route_is_refused() {
    let wide = |network: &str| Err(CloudError::TooWide(network.parse().unwrap()));
    for (content, expected) in [
        (sample!("faults/gcp-default-route.json"), wide("0.0.0.0/0")),
        (sample!("faults/gcp-default-route-6.json"), wide("2000::/3")),
        (sample!("faults/gcp-too-wide.json"), wide("34.0.0.0/7")),
    ] {
        assert_eq!(parse(Provider::Gcp, content), expected);
    }
    assert_eq!(parse(Provider::Linode, b"0.0.0.0/0,US,,,"), wide("0.0.0.0/0"));
    // The widest allowed networks.
    let widest = br#"{"prefixes": [{"ipv4Prefix": "34.0.0.0/8", "scope": "a"}, {"ipv6Prefix": "2600::/16", "scope": "a"}]}"#;
    assert_eq!(parse(Provider::Gcp, widest).map(|ranges| ranges.len()), Ok(2));
}

/// One network that is too wide discards the whole set, in every form, and the widest allowed one does not.
#[test]
fn ours_8_prefixes_have_a_least_length() {
    let gcp =
        |network: &str, key: &str| format!(r#"{{"prefixes": [{{"{key}": "{network}", "scope": "a"}}]}}"#);
    let aws = |v4: &str, v6: &str| {
        let row = |key: &str, network: &str| {
            format!(r#"[{{"{key}": "{network}", "region": "r", "service": "AMAZON"}}]"#)
        };
        format!(r#"{{"prefixes": {}, "ipv6_prefixes": {}}}"#, row("ip_prefix", v4), row("ipv6_prefix", v6))
    };
    let feed = |network: &str| format!("5.0.0.0/16,DE,,,\n{network},DE,,,\n");
    for (provider, content, wide) in [
        (Provider::Gcp, gcp("34.0.0.0/7", "ipv4Prefix"), Some("34.0.0.0/7")),
        (Provider::Gcp, gcp("34.0.0.0/8", "ipv4Prefix"), None),
        (Provider::Gcp, gcp("2600::/15", "ipv6Prefix"), Some("2600::/15")),
        (Provider::Gcp, gcp("2600::/16", "ipv6Prefix"), None),
        (Provider::Aws, aws("3.0.0.0/8", "2600::/16"), None),
        (Provider::Aws, aws("2.0.0.0/7", "2600::/16"), Some("2.0.0.0/7")),
        (Provider::Aws, aws("3.0.0.0/8", "2000::/3"), Some("2000::/3")),
        (Provider::Linode, feed("6.0.0.0/8"), None),
        (Provider::Linode, feed("6.0.0.0/7"), Some("6.0.0.0/7")),
        (Provider::Linode, feed("::/0"), Some("::/0")),
    ] {
        let found = parse(provider, content.as_bytes()).err();
        assert_eq!(found, wide.map(|wide| CloudError::TooWide(wide.parse().unwrap())), "{content}");
    }
}

#[test]
fn guard_8_faulty_documents_are_refused_as_a_whole() {
    for (name, provider, content) in [
        ("host bits", Provider::Aws, sample!("faults/aws-host-bits.json")),
        ("host bits of another service", Provider::Aws, sample!("faults/aws-host-bits-elsewhere.json")),
        ("no service", Provider::Aws, sample!("faults/aws-missing-field.json")),
        ("no ipv6_prefixes", Provider::Aws, sample!("faults/aws-missing-ipv6.json")),
        ("truncated", Provider::Aws, sample!("faults/aws-truncated.json")),
        ("no AzureCloud", Provider::Azure, sample!("faults/azure-no-azurecloud.json")),
        ("mostly faulty", Provider::Linode, sample!("faults/linode-mostly-faulty.csv")),
    ] {
        let found = parse(provider, content);
        assert!(matches!(found, Err(CloudError::Malformed(_))), "{name}: {found:?}");
    }
    for provider in Provider::ALL {
        let found = parse(provider, sample!("faults/error-page.html"));
        assert!(matches!(found, Err(CloudError::Malformed(_))), "{provider:?}: {found:?}");
        assert!(
            parse(provider, b"\xff\x00").is_err_and(|error| !error.to_string().contains(char::is_control))
        );
    }
    for (provider, content) in [
        (Provider::Aws, sample!("faults/aws-empty.json")),
        (Provider::Aws, sample!("faults/aws-other-services.json")),
        (Provider::Azure, sample!("faults/azure-empty.json")),
        (Provider::Vultr, sample!("faults/vultr-only-special.json")),
        (Provider::Linode, b"# nothing\n"),
    ] {
        assert_eq!(parse(provider, content), Err(CloudError::Empty), "{provider:?}");
    }
}

#[test]
fn guard_8_faulty_lines_of_geofeeds_are_left_out_and_counted() {
    let count = |provider| {
        let (_, content) = samples().into_iter().find(|(other, _)| *other == provider).unwrap();
        let ranges = parse(provider, content).unwrap();
        (ranges.len(), ranges.skipped())
    };
    assert_eq!(count(Provider::DigitalOcean), (4, 0));
    // A row without prefix, and one with host bits.
    assert_eq!(count(Provider::Linode), (3, 2));
    // An empty prefix, and special-purpose blocks.
    assert_eq!(count(Provider::Vultr), (2, 4));
}

#[test]
fn ours_8_a_set_that_changes_beyond_reason_is_refused() {
    let set = |lines: &str| parse(Provider::Linode, lines.as_bytes()).unwrap();
    let lines = |count: usize| -> Ranges {
        set(&(0..count).map(|n| format!("5.{}.{}.0/24,DE,,,\n", n / 256, n % 256)).collect::<String>())
    };
    let last = lines(100);
    for (count, is_fine) in [(100, true), (200, true), (50, true), (201, false), (49, false)] {
        assert_eq!(lines(count).check_change(&last, CHANGE_MAX).is_ok(), is_fine, "{count}");
    }
    let error = CloudError::Changed { what: "networks", before: 100, now: 201, change_max: 2 };
    assert_eq!(lines(201).check_change(&last, CHANGE_MAX), Err(error));
    assert!(lines(201).check_change(&last, 3).is_ok() && lines(99).check_change(&last, 1).is_err());
    // As many networks, and far more addresses; addresses that are covered twice count once.
    let wide = set(&format!("8.0.0.0/8,US,,,\n{}", "8.1.0.0/16,US,,,\n".repeat(99)));
    assert_eq!(
        wide.check_change(&last, CHANGE_MAX),
        Err(CloudError::Changed { what: "IPv4 addresses", before: 25_600, now: 1 << 24, change_max: 2 })
    );
    let six = set("2001:db8:1::/48,DE,,,\n");
    assert!(set("2001:db8:1::/48,DE,,,\n5.0.0.0/16,DE,,,\n").check_change(&six, CHANGE_MAX).is_ok());
}

#[test]
fn guard_8_any_network_outside_the_exceptions_denies() {
    let clouds = clouds();
    for (line, address, expected) in [
        ("aws", "198.51.100.1", Some("198.51.100.0/25")),
        ("aws", "198.51.100.40", Some("198.51.100.32/27")),
        ("aws except aws:GLOBAL", "198.51.100.40", Some("198.51.100.0/25")),
        ("aws except aws:eu-central-1", "198.51.100.40", Some("198.51.100.32/27")),
        ("aws except aws:global,aws:eu-central-1", "198.51.100.40", None),
        ("aws except aws:eu-central-1", "198.51.100.1", None),
        ("aws except aws:eu-central-1", "2001:db8:1000::1", None),
        ("aws except aws:eu-central-1", "198.51.100.200", Some("198.51.100.200/32")),
        ("aws except aws:eu-west-1", "198.51.100.1", Some("198.51.100.0/25")),
        ("aws", "192.0.2.40", None),
        ("aws,gcp", "192.0.2.40", Some("192.0.2.40/32")),
        // Azure's list of all networks has no region; the list of the region contains the address.
        ("azure", "203.0.113.70", Some("203.0.113.64/26")),
        ("azure except azure:northeurope", "203.0.113.70", None),
        ("azure except azure:northeurope", "2001:db8:3100::1", None),
        ("azure except azure:northeurope", "2001:db8:3000::1", Some("2001:db8:3000::/36")),
        ("azure except azure:northeurope", "203.0.113.130", Some("203.0.113.128/27")),
        ("azure except azure:westus", "203.0.113.70", Some("203.0.113.64/26")),
        ("linode,vultr", "10.0.0.1", None),
    ] {
        let selector = selector(&format!("cloud deny client {line}"), &clouds);
        let found = selector.denies(address.parse().unwrap()).map(|(_, network)| network.to_string());
        assert_eq!(found.as_deref(), expected, "{line}: {address}");
    }
}

#[test]
fn guard_8_before_the_first_success_no_client_is_in_a_cloud() {
    let none = Clouds::default();
    assert_eq!(details(&none, "198.51.100.1"), None);
    let selector = selector("cloud deny destination aws,azure", &none);
    assert!(selector.is_empty() && selector.denies("198.51.100.1".parse().unwrap()).is_none());
}

#[test]
fn guard_8_a_refreshed_set_replaces_that_of_its_provider_as_a_whole() {
    let before = clouds();
    let feed = parse(Provider::Linode, b"192.0.2.64/27,DE,,,").unwrap();
    let after = before.with(Provider::Linode, Arc::new(feed));
    assert_eq!(details(&after, "192.0.2.65").as_deref(), Some("linode 192.0.2.64/27 de"));
    assert_eq!(details(&after, "192.0.2.200"), None);
    assert_eq!(details(&before, "192.0.2.200").as_deref(), Some("linode 192.0.2.192/27 us-ga"));
    assert_eq!(details(&after, "198.51.100.1").as_deref(), Some("aws 198.51.100.0/25 eu-central-1"));
    let named = |provider| after.ranges(provider).map(|ranges| ranges.len());
    assert_eq!((named(Provider::Linode), named(Provider::Vultr)), (Some(1), Some(2)));
}
